//! The few things asked of a disk that can go wrong, as a trait: tests put a failing one in its place.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// A disk.
pub trait Disk: Send + Sync + 'static {
    /// Bytes that an unprivileged process may still write on the disk of that folder.
    ///
    /// # Errors
    /// When the folder cannot be asked.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Writes all bytes at the file's position. A failure may leave a part of them written.
    ///
    /// # Errors
    /// When not all could be written.
    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()>;

    /// Returns when the file's data is on stable storage.
    ///
    /// # Errors
    /// When it is not, and perhaps never will be: the kernel may have dropped what it could not write.
    fn sync_data(&self, file: &File) -> io::Result<()>;
}

/// The machine's disk.
#[derive(Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Whether an error says that the disk, or the user's share of it, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
