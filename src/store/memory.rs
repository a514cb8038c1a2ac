//! A backend in memory, for tests and throwaway use.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};

use crate::store::StoreError;
use crate::store::backend::{Backend, Batch, Committed, Page};
use crate::store::latch::Latch;

/// Keeps everything in a sorted map. What it holds is gone with it.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    entries: Mutex<BTreeMap<Bytes, Bytes>>,
    full: AtomicBool,
    latch: Latch,
}

impl MemoryBackend {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Behaves like a full disk from now on, or no longer.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Behaves as after a failed sync from now on.
    pub fn fail(&self) {
        self.latch.set();
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Bytes, Bytes>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, batch: &Batch) -> Result<Committed, StoreError> {
        if self.latch.is_set() {
            return Err(StoreError::Failed);
        }
        batch.check_sizes()?;
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::Full);
        }
        let mut entries = self.entries();
        let holds =
            |(key, expect): &(Bytes, super::Expect)| expect.holds(entries.get(key).map(Bytes::as_ref));
        if !batch.expect.iter().all(holds) {
            return Ok(Committed::Conflict);
        }
        for (key, value) in &batch.write {
            match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            };
        }
        Ok(Committed::Done)
    }
}

impl Backend for MemoryBackend {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        future::ready(Ok(self.entries().get(key).cloned())).boxed()
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        let start = after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        let page = self
            .entries()
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        future::ready(Ok(page)).boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        future::ready(self.apply(&batch)).boxed()
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        future::ready(if self.failed() { Err(StoreError::Failed) } else { Ok(()) }).boxed()
    }

    fn failed(&self) -> bool {
        self.latch.is_set()
    }

    fn failed_signal(&self) -> BoxFuture<'_, ()> {
        self.latch.wait().boxed()
    }
}
