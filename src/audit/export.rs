//! Exports a log as one file that verifies by itself.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::audit::segment;
use crate::audit::verify::{Lines, Next};

/// Writes all whole lines of the log in `dir` to a new file with mode 0600, and returns how many.
/// Works while the log is being written.
///
/// # Errors
/// When the file exists, or something cannot be read or written.
pub fn export(dir: &Path, to: &Path) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut out = BufWriter::new(file);
    let mut count = 0;
    for path in segment::list(dir)? {
        let mut lines = Lines::open(&path)?;
        while let Next::Line(line, _) = lines.next()? {
            out.write_all(line)?;
            out.write_all(b"\n")?;
            count += 1;
        }
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(count)
}
