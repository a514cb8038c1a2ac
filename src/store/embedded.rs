//! What the engines on disk share: the folder, one committer thread, and what readers may see.
//!
//! One thread commits for all: it checks preconditions one after the other, applies what holds as one
//! batch that is durable when the engine returns, and answers everyone. What it is writing stays invisible
//! until it is durable, so that nothing can be built on a value that a power cut takes back. With every
//! batch goes a tally of all that the store holds; at the next start it must agree with what is read.

mod committer;
mod group;
mod opening;
pub(super) mod tally;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};
use tokio::sync::{mpsc, oneshot};

use crate::store::StoreError;
use crate::store::backend::{Backend, Batch, Committed, Page};
use crate::store::disk::Disk;
use crate::store::embedded::committer::Committer;
use crate::store::embedded::group::{Job, QUEUE, Reply};
use crate::store::folder::{Folder, refuse};
use crate::store::latch::Latch;

/// A change of one key; `None` removes.
pub type Change = (Bytes, Option<Bytes>);

/// A storage engine in files of this machine.
pub trait Engine: Send + Sync + Sized + 'static {
    /// Its name in the settings.
    const NAME: &'static str;
    /// The file within the `store` folder that holds the data.
    const FILE: &'static str;

    /// Opens the engine's files in a folder, or makes them. May panic on damaged files.
    ///
    /// # Errors
    /// When they cannot be opened, or are seen to be damaged.
    fn open(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, EngineError>;

    /// The value under a key.
    ///
    /// # Errors
    /// When it cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Hands over entries in key order from a bound on, until `take` says that it has enough.
    ///
    /// # Errors
    /// When one cannot be read.
    fn range(
        &self,
        from: Bound<&[u8]>,
        take: &mut dyn FnMut(Bytes, Bytes) -> bool,
    ) -> Result<(), EngineError>;

    /// Applies changes as one; durable, on the drive, when it returns.
    ///
    /// # Errors
    /// When that cannot be said. Nothing is then known of what the disk holds.
    fn apply(&self, changes: &[Change]) -> Result<(), EngineError>;
}

/// What an engine reports.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The file system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The engine found its own files damaged.
    #[error("{0}")]
    Damaged(String),
}

/// Values as they were before the group that is being written; `None` where there was nothing.
type Before = HashMap<Bytes, Option<Bytes>>;

/// A store on disk.
pub struct Embedded<E: Engine> {
    shared: Arc<Shared<E>>,
    /// `None` only while dropping.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Last: the folder is released when everything else is closed.
    _folder: Folder,
}

struct Shared<E> {
    engine: E,
    path: PathBuf,
    before: RwLock<Before>,
    /// Odd while a group becomes visible.
    version: AtomicU64,
    latch: Latch,
}

impl<E: Engine> Embedded<E> {
    /// Opens the store in a data folder, or begins it: `<dir>/store/`. With less than `reserve` bytes
    /// free on the disk, commits are refused and nothing is written.
    ///
    /// # Errors
    /// When another process has the folder, it was set up with another engine, it was set up but is empty
    /// now, or files are damaged.
    pub fn open(dir: &Path, reserve: u64) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(crate::store::disk::RealDisk), dir, reserve)
    }

    /// [`Embedded::open`] on a given disk.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, reserve: u64) -> Result<Self, StoreError> {
        let opened = opening::open::<E>(&disk, dir)?;
        let shared = Arc::new(Shared {
            engine: opened.engine,
            path: opened.folder.store().join(E::FILE),
            before: RwLock::default(),
            version: AtomicU64::new(0),
            latch: Latch::default(),
        });
        let committer =
            Committer::new(Arc::clone(&shared), disk, dir, reserve, opened.tally, opened.high_water);
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || committer.run(queue))
            .map_err(|e| refuse(dir, &e))?;
        Ok(Self { shared, jobs: Some(jobs), thread: Some(thread), _folder: opened.folder })
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        if self.shared.latch.is_set() {
            return Err(StoreError::Failed);
        }
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(StoreError::Failed)?;
        jobs.try_send(job(reply)).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Failed,
        })?;
        // The committer went away without an answer: it has failed.
        answer.await.unwrap_or(Err(StoreError::Failed))
    }
}

impl<E: Engine> Drop for Embedded<E> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl<E: Engine> Backend for Embedded<E> {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        future::ready(self.shared.guarded(|shared| shared.get(key))).boxed()
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        future::ready(self.shared.guarded(|shared| shared.scan(prefix, after, limit))).boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move {
            batch.check_sizes()?;
            self.ask(|reply| Job::Commit(batch, reply)).await
        }
        .boxed()
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ask(Job::Sync).boxed()
    }

    /// This process alone has the folder, so every commit is one of ours.
    fn version(&self) -> Option<u64> {
        let version = self.shared.version.load(Ordering::SeqCst);
        (version.is_multiple_of(2) && !self.shared.latch.is_set()).then_some(version)
    }

    fn failed(&self) -> bool {
        self.shared.latch.is_set()
    }

    fn failed_signal(&self) -> BoxFuture<'_, ()> {
        self.shared.latch.wait().boxed()
    }
}

impl<E: Engine> Shared<E> {
    /// An engine can panic on damaged pages; that is a failure of the store, not of the request. After a
    /// failure nothing is read either: a revocation may be among what was lost.
    fn guarded<T>(&self, read: impl FnOnce(&Self) -> Result<T, EngineError>) -> Result<T, StoreError> {
        if self.latch.is_set() {
            return Err(StoreError::Failed);
        }
        let problem = match catch_unwind(AssertUnwindSafe(|| read(self))) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the engine gave up on what it read".to_owned(),
        };
        Err(self.give_up("a read", &problem))
    }

    /// From here on nothing is read or written. Whoever reads the log learns which file it was, and what to do.
    fn give_up(&self, what: &str, problem: &str) -> StoreError {
        tracing::error!(
            file = %self.path.display(), %problem,
            "store: {what} failed; the process must end; if it does not start again, restore a backup with \
             `valetkey vault restore`"
        );
        self.latch.set();
        StoreError::Failed
    }

    // INVARIANT: `before` is held while the engine is read. The committer publishes the former values under
    // the write lock before it applies a batch, so no reader can see a new value between the two.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let before = self.before.read().unwrap_or_else(PoisonError::into_inner);
        match before.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.engine.get(key),
        }
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Page, EngineError> {
        let before = self.before.read().unwrap_or_else(PoisonError::into_inner);
        let start = after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        // As many more as could turn out to be new and invisible.
        let enough = limit.saturating_add(before.len());
        let mut page = BTreeMap::new();
        if enough > 0 {
            self.engine.range(start, &mut |key, value| {
                if !key.starts_with(prefix) {
                    return false;
                }
                page.insert(key, value);
                page.len() < enough
            })?;
        }
        for (key, value) in before.iter() {
            let is_after = after.is_none_or(|after| key.as_ref() > after);
            if key.starts_with(prefix) && is_after {
                match value {
                    Some(value) => page.insert(key.clone(), value.clone()),
                    None => page.remove(key),
                };
            }
        }
        Ok(page.into_iter().take(limit).collect())
    }
}
