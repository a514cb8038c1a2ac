//! The `valetkey` binary: parses arguments, runs the command, sets the exit code.

use std::io::Write;
use std::process::ExitCode;

/// Requests make and drop many small texts, and events are dropped by another thread than made them:
/// docs/performance.md has what the system's allocator costs there.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<mimalloc::MiMalloc> =
    zeroizing_alloc::ZeroAlloc(mimalloc::MiMalloc);

fn main() -> ExitCode {
    match valetkey::cli::run() {
        Ok(code) => code,
        Err(error) => {
            // `{:#}` joins the causes; none of our errors holds a secret.
            let _ = writeln!(std::io::stderr().lock(), "valetkey: {error:#}");
            ExitCode::FAILURE
        }
    }
}
