//! What a storage engine must do, over keys and bytes: read, scan, commit, sync, and say when it has failed. The rest has
//! an answer for engines that cannot do it.

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};

use crate::store::{MAX_KEY, MAX_VALUE, StoreError};

/// A page of a scan, in key order.
pub type Page = Vec<(Bytes, Bytes)>;

/// A storage engine.
///
/// What [`Backend::get`] and [`Backend::scan`] return is durable: a write becomes visible with its
/// commit's sync, never before.
pub trait Backend: Send + Sync + 'static {
    /// The value under a key.
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;

    /// Up to `limit` entries whose keys start with `prefix` and are greater than `after`.
    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>>;

    /// Checks all preconditions, then applies all writes, as one; durable when it returns.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>>;

    /// Makes everything durable that was committed; for backups.
    fn sync(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// A number that becomes another one with every commit that changes what is read, before the first reader
    /// can see the change: what was read at a version that is still the present one need not be read again.
    /// `None` where that cannot be said at the moment, or ever: where other processes commit too.
    fn version(&self) -> Option<u64> {
        None
    }

    /// Whether other processes may commit, too.
    fn is_shared(&self) -> bool {
        false
    }

    /// A way to read everything as it is at one moment, whatever other processes commit meanwhile. `None` where none
    /// may commit.
    fn frozen(&self) -> BoxFuture<'_, Result<Option<Box<dyn Frozen>>, StoreError>> {
        future::ready(Ok(None)).boxed()
    }

    /// Whether a write or a sync has failed.
    fn failed(&self) -> bool;

    /// Ends when a write or a sync has failed.
    fn failed_signal(&self) -> BoxFuture<'_, ()>;
}

/// Everything as it was at one moment.
pub trait Frozen: Send {
    /// Chooses the moment: now. Called once, before anything is read.
    fn freeze(&mut self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Up to `limit` entries whose keys are greater than `after`, as they were at that moment.
    fn page<'a>(
        &'a mut self,
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>>;
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Committed {
    /// All of it is durable.
    Done,
    /// A precondition did not hold; nothing was written.
    Conflict,
}

/// What a key must hold for a batch to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// Exactly these bytes.
    Is(Bytes),
    /// Nothing, or a number ([`number`]) that is no greater. Where other processes commit too, this is looked at
    /// and not held: a commit that raises the number may be overtaken by one that had looked, for as long as
    /// that takes (seconds).
    AtMost(u32),
}

/// A number as [`Expect::AtMost`] reads it: four bytes, big-endian.
pub fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

impl Expect {
    /// Whether a value is what was expected.
    pub fn holds(&self, value: Option<&[u8]>) -> bool {
        match (self, value) {
            (Self::Absent, None) => true,
            (Self::Is(expected), Some(value)) => expected == value,
            (Self::AtMost(most), Some(value)) => number(value).is_some_and(|number| number <= *most),
            (Self::AtMost(_), None) => true,
            (Self::Absent, Some(_)) | (Self::Is(_), None) => false,
        }
    }
}

/// Writes that happen together or not at all, if their preconditions hold.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// What must hold.
    pub expect: Vec<(Bytes, Expect)>,
    /// What is written; `None` removes. A later write of the same key wins.
    pub write: Vec<(Bytes, Option<Bytes>)>,
}

impl Batch {
    /// Refuses what a backend could not keep safely.
    ///
    /// # Errors
    /// When a key or value is too long.
    pub fn check_sizes(&self) -> Result<(), StoreError> {
        for (key, value) in &self.write {
            let bytes = value.as_ref().map_or(0, Bytes::len);
            let name =
                || String::from_utf8_lossy(key.get(..80.min(key.len())).unwrap_or_default()).into_owned();
            if key.len() > MAX_KEY {
                let problem = format!("its key has {} bytes, at most {MAX_KEY} are possible", key.len());
                return Err(StoreError::Codec { key: name(), problem });
            }
            if bytes > MAX_VALUE {
                return Err(StoreError::TooLarge { key: name(), bytes });
            }
        }
        Ok(())
    }
}
