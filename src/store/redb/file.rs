//! The file below redb: what is read from it is what was read or written there before.
//!
//! redb looks at its pages' checksums when it opens a file, and not when it reads one again later. A page that a drive
//! bends in between would be taken at its word, and a key that is there could seem to be missing: a revocation, say.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher as _;
use std::io;
use std::ops::{Bound, Range};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{BackendError, StorageBackend};

use crate::store::disk::Disk;

/// redb's pages are as large, or a multiple of it, and begin at a multiple of it.
const BLOCK: u64 = 4096;
const UNSEEN: u64 = 0;

/// A file with a sum of each block in memory: 2 MiB for a GiB. Its syncs can be made to fail in tests. Other processes
/// are kept out by the folder's lock.
pub(super) struct CheckedFile {
    file: File,
    disk: Arc<dyn Disk>,
    /// With a key of this process's own, so that nobody can make another block with the same sum.
    hasher: RandomState,
    /// Of each block, since it was first read or written; [`UNSEEN`] before. Opening reads them all.
    sums: RwLock<Vec<u64>>,
}

impl CheckedFile {
    pub(super) fn new(file: File, disk: Arc<dyn Disk>) -> Self {
        Self { file, disk, hasher: RandomState::new(), sums: RwLock::default() }
    }

    fn sums_of(&self, blocks: &[u8]) -> Vec<u64> {
        blocks.chunks(usize_of(BLOCK)).map(|block| self.hasher.hash_one(block).max(UNSEEN + 1)).collect()
    }

    /// Reads whole blocks, and compares them.
    fn read_blocks(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)?;
        let (first, found) = (usize_of(offset / BLOCK), self.sums_of(out));
        let mut is_new = false;
        for (nth, found) in (first..).zip(&found) {
            match self.seen().get(nth) {
                Some(known) if known == found => {}
                None | Some(&UNSEEN) => is_new = true,
                Some(_) => {
                    let at = nth as u64 * BLOCK;
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("the block at byte {at} is not what was written there"),
                    ));
                }
            }
        }
        if is_new {
            note(&mut self.seen_mut(), first, &found);
        }
        Ok(())
    }

    /// The blocks in which a range lies; the last one may be cut off by the file's end.
    fn around(&self, offset: u64, length: usize) -> io::Result<(u64, Vec<u8>, Range<usize>)> {
        let start = offset - offset % BLOCK;
        let end = (offset + length as u64).next_multiple_of(BLOCK).min(self.len()?);
        let inside = usize_of(offset - start);
        let blocks = vec![0; usize_of(end.saturating_sub(start)).max(inside + length)];
        Ok((start, blocks, inside..inside + length))
    }

    fn seen(&self) -> RwLockReadGuard<'_, Vec<u64>> {
        self.sums.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen_mut(&self) -> RwLockWriteGuard<'_, Vec<u64>> {
        self.sums.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the blocks are given whole.
fn is_aligned(offset: u64, bytes: &[u8]) -> bool {
    offset.is_multiple_of(BLOCK) && (bytes.len() as u64).is_multiple_of(BLOCK)
}

fn note(sums: &mut Vec<u64>, first: usize, found: &[u64]) {
    if sums.len() < first + found.len() {
        sums.resize(first + found.len(), UNSEEN);
    }
    for (sum, found) in sums.iter_mut().skip(first).zip(found) {
        *sum = *found;
    }
}

/// Offsets are of a file that is read into memory in parts: it has no more bytes than there are addresses.
fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl StorageBackend for CheckedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if is_aligned(offset, out) {
            return self.read_blocks(offset, out);
        }
        let (start, mut blocks, wanted) = self.around(offset, out.len())?;
        self.read_blocks(start, &mut blocks)?;
        out.copy_from_slice(blocks.get(wanted).unwrap_or_default());
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let former = self.len()?;
        self.file.set_len(len)?;
        // A block that was or is cut off by the end has another sum now.
        self.seen_mut().truncate(usize_of(former.min(len) / BLOCK));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data(&self.file)
    }

    // INVARIANT: redb never reads a page while it writes it: what readers may still see is not written over.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if is_aligned(offset, data) {
            self.file.write_all_at(data, offset)?;
            note(&mut self.seen_mut(), usize_of(offset / BLOCK), &self.sums_of(data));
            return Ok(());
        }
        let (start, mut blocks, changed) = self.around(offset, data.len())?;
        self.read_blocks(start, &mut blocks)?;
        if let Some(part) = blocks.get_mut(changed) {
            part.copy_from_slice(data);
        }
        self.file.write_all_at(data, offset)?;
        note(&mut self.seen_mut(), usize_of(start / BLOCK), &self.sums_of(&blocks));
        Ok(())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        let _ = (start, end);
        Ok(true)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        let _ = (start, end);
        Ok(())
    }
}

impl std::fmt::Debug for CheckedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CheckedFile({:?})", self.file)
    }
}
