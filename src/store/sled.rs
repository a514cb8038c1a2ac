//! The embedded backend: sled, made durable.
//!
//! sled's own `flush()` does not reach the drive, so every group of commits is followed by `fdatasync`
//! on a descriptor of our own. One thread commits for all: it checks preconditions one after the other,
//! applies what holds as one batch, syncs once, and answers everyone. What it is writing stays invisible
//! until it is durable, so that nothing can be built on a value that a power cut takes back.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};
use tokio::sync::{mpsc, oneshot};

use crate::store::StoreError;
use crate::store::backend::{Backend, Batch, Committed, Page};
use crate::store::disk::{Disk, RealDisk};
use crate::store::folder::{Folder, refuse};
use crate::store::latch::Latch;

const CACHE_BYTES: u64 = 64 << 20;
const QUEUE: usize = 4096;
const GROUP: usize = 512;
const GROUP_BYTES: usize = 4 << 20;
/// In the database itself: that it was begun by us, and in which layout.
const BEGUN: &[u8] = b"m/initialised";
const LAYOUT: &[u8] = b"1";

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Job {
    Commit(Batch, Reply<Committed>),
    Sync(Reply<()>),
}

/// Values as they were before the group that is being written; `None` where there was nothing.
type Before = HashMap<Bytes, Option<Bytes>>;

/// A store on disk.
pub struct SledBackend {
    shared: Arc<Shared>,
    /// `None` only while dropping.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Last: the folder is released when everything else is closed.
    _folder: Folder,
}

struct Shared {
    db: sled::Db,
    before: RwLock<Before>,
    /// Odd while a group becomes visible.
    version: AtomicU64,
    latch: Latch,
}

struct Committer {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    reserve: u64,
    file: File,
}

impl SledBackend {
    /// Opens the store in a data folder, or begins it: `<dir>/store/`. With less than `reserve` bytes
    /// free on the disk, commits are refused and nothing is written.
    ///
    /// # Errors
    /// When another process has the folder, it was set up but is empty now, or files are damaged.
    pub fn open(dir: &Path, reserve: u64) -> Result<SledBackend, StoreError> {
        Self::open_on(Arc::new(RealDisk), dir, reserve)
    }

    /// [`SledBackend::open`] on a given disk.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, reserve: u64) -> Result<SledBackend, StoreError> {
        let folder = Folder::claim(dir)?;
        if let Some(name) = folder.doubtful_file_system() {
            tracing::warn!(folder = %dir.display(), file_system = name, "syncs may not be durable here: use ext4 or xfs");
        }
        let db_file = folder.store().join("db");
        let is_there = std::fs::metadata(&db_file).is_ok_and(|meta| meta.len() > 0);
        if folder.is_marked() && !is_there {
            return Err(folder.missing());
        }
        let db = open_guarded(&folder.store())?;
        let file = File::open(&db_file).map_err(|e| refuse(dir, &e))?;
        begin(&folder, &db, &file)?;
        folder.make_private()?;
        let (version, latch) = (AtomicU64::new(0), Latch::default());
        let shared = Arc::new(Shared { db, before: RwLock::default(), version, latch });
        let committer = Committer { shared: Arc::clone(&shared), disk, dir: dir.to_owned(), reserve, file };
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || committer.run(queue))
            .map_err(|e| refuse(dir, &e))?;
        Ok(SledBackend { shared, jobs: Some(jobs), thread: Some(thread), _folder: folder })
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

impl Drop for SledBackend {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Backend for SledBackend {
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

impl Shared {
    /// sled can panic on damaged pages; that is a failure of the store, not of the request. After a failure
    /// nothing is read either: a revocation may be among what was lost.
    fn guarded<T>(&self, read: impl FnOnce(&Self) -> sled::Result<T>) -> Result<T, StoreError> {
        if self.latch.is_set() {
            return Err(StoreError::Failed);
        }
        match catch_unwind(AssertUnwindSafe(|| read(self))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                tracing::error!(%error, "store: a read failed; the process must end");
                self.latch.set();
                Err(StoreError::Failed)
            }
            Err(_) => {
                self.latch.set();
                Err(StoreError::Failed)
            }
        }
    }

    // INVARIANT: `before` is held while sled is read. The committer publishes the former values under
    // the write lock before it applies a batch, so no reader can see a new value between the two.
    fn get(&self, key: &[u8]) -> sled::Result<Option<Bytes>> {
        let before = self.before.read().unwrap_or_else(PoisonError::into_inner);
        match before.get(key) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.db.get(key)?.map(shared)),
        }
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> sled::Result<Page> {
        let before = self.before.read().unwrap_or_else(PoisonError::into_inner);
        let start = after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        // As many more as could turn out to be new and invisible.
        let mut page = std::collections::BTreeMap::new();
        for entry in self.db.range::<&[u8], _>((start, Bound::Unbounded)).take(limit + before.len()) {
            let (key, value) = entry?;
            if !key.starts_with(prefix) {
                break;
            }
            page.insert(shared(key), shared(value));
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

impl Committer {
    fn run(self, mut queue: mpsc::Receiver<Job>) {
        let shared = Arc::clone(&self.shared);
        if catch_unwind(AssertUnwindSafe(|| self.serve(&mut queue))).is_err() {
            shared.latch.set();
        }
    }

    fn serve(&self, queue: &mut mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = Group::default();
            group.add(first);
            while group.jobs < GROUP && group.bytes < GROUP_BYTES {
                let Ok(job) = queue.try_recv() else { break };
                group.add(job);
            }
            let result = self.commit(&group);
            group.answer(&result);
        }
    }

    /// The outcome of each commit of the group, or one error for all.
    fn commit(&self, group: &Group) -> Result<Vec<Committed>, StoreError> {
        if self.shared.latch.is_set() {
            return Err(StoreError::Failed);
        }
        match self.disk.free_bytes(&self.dir) {
            Ok(free) if free.saturating_sub(group.bytes as u64) < self.reserve => {
                return Err(StoreError::Full);
            }
            Ok(_) => {}
            Err(e) => return Err(self.fail(&sled::Error::Io(e))),
        }
        let written = self.apply(group);
        // Only a success makes new values visible; after a failure nobody knows what is durable.
        if written.is_ok() {
            self.publish();
        }
        written.map_err(|e| self.fail(&e))
    }

    fn apply(&self, group: &Group) -> sled::Result<Vec<Committed>> {
        let db = &self.shared.db;
        let mut after: HashMap<Bytes, Option<Bytes>> = HashMap::new();
        let mut outcomes = Vec::with_capacity(group.commits.len());
        for (batch, _) in &group.commits {
            let mut holds = true;
            for (key, expect) in &batch.expect {
                holds = match after.get(key) {
                    Some(value) => expect.holds(value.as_deref()),
                    None => expect.holds(db.get(key)?.as_deref()),
                };
                if !holds {
                    break;
                }
            }
            if holds {
                after.extend(batch.write.iter().cloned());
            }
            outcomes.push(if holds { Committed::Done } else { Committed::Conflict });
        }
        if after.is_empty() && group.syncs.is_empty() {
            return Ok(outcomes);
        }
        let mut former = Before::with_capacity(after.len());
        let mut changes = sled::Batch::default();
        for (key, value) in after {
            former.insert(key.clone(), db.get(&key)?.map(shared));
            match value {
                Some(value) => changes.insert(key.as_ref(), value.as_ref()),
                None => changes.remove(key.as_ref()),
            }
        }
        *self.before() = former;
        db.apply_batch(changes)?;
        db.flush()?;
        self.disk.sync_data(&self.file)?;
        Ok(outcomes)
    }

    /// Makes the group visible. Who has read the version before, and the old value after it, keeps that value
    /// under a version that is over; between the two steps there is no version.
    fn publish(&self) {
        let mut before = self.before();
        self.shared.version.fetch_add(1, Ordering::SeqCst);
        before.clear();
        drop(before);
        self.shared.version.fetch_add(1, Ordering::SeqCst);
    }

    fn before(&self) -> std::sync::RwLockWriteGuard<'_, Before> {
        self.shared.before.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: &sled::Error) -> StoreError {
        tracing::error!(%error, "store: a write or sync failed; the process must end");
        self.shared.latch.set();
        StoreError::Failed
    }
}

/// sled's own bytes, without copying: a value is read far more often than it is written.
fn shared(bytes: sled::IVec) -> Bytes {
    Bytes::from_owner(bytes)
}

#[derive(Default)]
struct Group {
    commits: Vec<(Batch, Reply<Committed>)>,
    syncs: Vec<Reply<()>>,
    jobs: usize,
    bytes: usize,
}

impl Group {
    fn add(&mut self, job: Job) {
        self.jobs += 1;
        match job {
            Job::Commit(batch, reply) => {
                let size =
                    |(key, value): &(Bytes, Option<Bytes>)| key.len() + value.as_ref().map_or(0, Bytes::len);
                self.bytes += batch.write.iter().map(size).sum::<usize>();
                self.commits.push((batch, reply));
            }
            Job::Sync(reply) => self.syncs.push(reply),
        }
    }

    /// Callers that have gone away are no failure: what they asked for is done all the same.
    fn answer(self, result: &Result<Vec<Committed>, StoreError>) {
        for (at, (_, reply)) in self.commits.into_iter().enumerate() {
            let outcome = match result {
                Ok(outcomes) => outcomes.get(at).copied().ok_or(StoreError::Failed),
                Err(error) => Err(error.clone()),
            };
            let _ = reply.send(outcome);
        }
        for reply in self.syncs {
            let _ = reply.send(result.as_ref().map(|_| ()).map_err(Clone::clone));
        }
    }
}

/// Opens the database and reads all of it once, so that damage shows now and not at first use. sled can
/// panic on damaged files: on a thread of its own that is an answer, not the end of the process.
fn open_guarded(path: &Path) -> Result<sled::Db, StoreError> {
    let owned = path.to_owned();
    let opening = std::thread::Builder::new().name("store-open".to_owned()).spawn(move || {
        let db = open_patiently(&owned)?;
        for entry in db.iter() {
            entry?;
        }
        Ok(db)
    });
    let corrupt = |problem: String| StoreError::Corrupt { path: path.to_owned(), problem };
    match opening.map(JoinHandle::join) {
        Ok(Ok(Ok(db))) => Ok(db),
        Ok(Ok(Err(sled::Error::Io(e)))) if e.kind() != std::io::ErrorKind::InvalidData => {
            Err(refuse(path, &e))
        }
        Ok(Ok(Err(error))) => Err(corrupt(error.to_string())),
        Ok(Err(_)) => Err(corrupt("the database cannot be read".to_owned())),
        Err(e) => Err(refuse(path, &e)),
    }
}

/// A database that was closed in this process a moment ago may still be held by sled's own threads.
/// Other processes are kept out by the folder's lock.
fn open_patiently(path: &Path) -> sled::Result<sled::Db> {
    let config = || sled::Config::new().path(path).flush_every_ms(None).cache_capacity(CACHE_BYTES);
    for _ in 0..40 {
        match config().open() {
            Err(sled::Error::Io(e)) if e.to_string().contains("lock") => {
                std::thread::sleep(Duration::from_millis(50));
            }
            other => return other,
        }
    }
    config().open()
}

/// Writes, once, that this database was begun; afterwards it must say so.
fn begin(folder: &Folder, db: &sled::Db, file: &File) -> Result<(), StoreError> {
    let broken = |e: &sled::Error| StoreError::Corrupt { path: folder.store(), problem: e.to_string() };
    match db.get(BEGUN).map_err(|e| broken(&e))? {
        Some(layout) if layout == LAYOUT => {}
        Some(_) => {
            let problem = "its store was written by a newer version of Valetkey".to_owned();
            return Err(StoreError::Folder { dir: folder.dir().to_owned(), problem });
        }
        None if folder.is_marked() => return Err(folder.missing()),
        None if !db.is_empty() => {
            let problem = "its `store` folder holds a database of something else".to_owned();
            return Err(StoreError::Folder { dir: folder.dir().to_owned(), problem });
        }
        None => {
            db.insert(BEGUN, LAYOUT).and_then(|_| db.flush()).map_err(|e| broken(&e))?;
            file.sync_all()
                .and_then(|()| File::open(folder.store())?.sync_all())
                .map_err(|e| refuse(folder.dir(), &e))?;
        }
    }
    if folder.is_marked() { Ok(()) } else { folder.mark() }
}
