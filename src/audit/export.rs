//! Exports a log as one file that verifies by itself.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::audit::chain::{self, Line};
use crate::audit::segment;
use crate::audit::verify::{Lines, Next};

/// What an export holds, counted as the verifier counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Entries.
    pub entries: u64,
    /// Signed heads.
    pub heads: u64,
}

/// Writes all whole lines of the log in `dir` to a new file with mode 0600, and tells what they are.
/// Works while the log is being written.
///
/// # Errors
/// When the file exists, or something cannot be read or written.
pub fn export(dir: &Path, to: &Path) -> io::Result<Exported> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut out = BufWriter::new(file);
    let mut told = Exported::default();
    for path in segment::list(dir)? {
        let mut lines = Lines::open(&path)?;
        while let Next::Line(line, _) = lines.next()? {
            out.write_all(line)?;
            out.write_all(b"\n")?;
            match chain::parse(line) {
                Some(Line::Entry { .. }) => told.entries += 1,
                Some(Line::Head(_)) => told.heads += 1,
                // What does not verify is exported as it is.
                Some(Line::Segment(_)) | None => {}
            }
        }
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(told)
}
