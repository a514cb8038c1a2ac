//! The `valetkey` binary: parses arguments, runs the command, sets the exit code.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match valetkey::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:#}` joins the causes; none of our errors holds a secret.
            let _ = writeln!(std::io::stderr().lock(), "valetkey: {error:#}");
            ExitCode::FAILURE
        }
    }
}
