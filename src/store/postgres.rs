//! The backend for several nodes: one table of keys and values in PostgreSQL, or behind its wire.
//!
//! Every read goes to the database, so that what one node has revoked is refused by every other on its next
//! request. Reads and commits that wait share round trips and transactions. All of it runs on a thread of its
//! own: a caller that goes away, or whose runtime ends, leaves nothing half done.

mod address;
mod commits;
mod frozen;
mod guarantees;
mod name;
mod plan;
mod reads;
mod schema;
mod session;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};
use tokio::sync::{mpsc, oneshot};

use crate::kernel::entropy::Entropy;
use crate::kernel::secret::SecretString;
use crate::store::StoreError;
use crate::store::backend::{Backend, Batch, Committed, Frozen, Page};
use crate::store::latch::Latch;
use crate::store::postgres::address::Address;
use crate::store::postgres::commits::{Commit, Lane};
use crate::store::postgres::frozen::FrozenRows;
pub use crate::store::postgres::guarantees::{Doubt, Examined};
use crate::store::postgres::reads::Read;

const READERS: usize = 4;
/// Commits of the same record go the same way, so that a node does not wait for itself.
const COMMITTERS: usize = 2;
const QUEUE: usize = 4096;
/// How long an orderly end waits for what is being committed. Longer only helps where the database is gone in
/// the middle of a commit, and then nobody here can find out.
const FAREWELL: Duration = Duration::from_secs(5);

/// A store in PostgreSQL.
pub struct PostgresBackend {
    /// For sessions of their own.
    address: Address,
    reads: Vec<mpsc::Sender<Read>>,
    commits: Vec<mpsc::Sender<Commit>>,
    turn: AtomicUsize,
    latch: Arc<Latch>,
    doubts: Vec<String>,
    shown: String,
    /// Ends with the thread.
    ended: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl PostgresBackend {
    /// Connects to `postgres://user:password@host/name`, and brings its tables to this version. `entropy` must
    /// not be seeded where several nodes share the database: it names transactions.
    ///
    /// # Errors
    /// When the URL cannot be used, the database cannot be reached within seconds, or a newer version of
    /// Valetkey has changed its tables.
    pub fn open(url: &SecretString, entropy: Arc<dyn Entropy>) -> Result<PostgresBackend, StoreError> {
        let address = Address::parse(url)?;
        let shown = address.shown();
        let (opened, outcome) = std::sync::mpsc::channel();
        let (reads, read_queues): (Vec<_>, Vec<_>) = (0..READERS).map(|_| mpsc::channel(QUEUE)).unzip();
        let (commits, commit_queues): (Vec<_>, Vec<_>) =
            (0..COMMITTERS).map(|_| mpsc::channel(QUEUE)).unzip();
        let (latch, own) = (Arc::new(Latch::default()), address.clone());
        let failed = |e: std::io::Error| StoreError::Database { problem: e.to_string() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (tell, ended) = std::sync::mpsc::channel();
        let end = End { latch: Arc::clone(&latch), _tell: tell };
        let work = async move {
            let doubts = match schema::migrate(&address).await {
                Ok(()) => guarantees::examine(&address).await.map_err(session::Broken::into_error),
                Err(error) => Err(error),
            };
            let is_open = doubts.is_ok();
            if opened.send(doubts).is_err() || !is_open {
                return;
            }
            let readers = read_queues.into_iter().map(|queue| reads::serve(address.clone(), queue));
            let readers: Vec<_> = readers.map(tokio::spawn).collect();
            let committers = commit_queues.into_iter().map(|queue| {
                let (address, entropy) = (address.clone(), Arc::clone(&entropy));
                Lane { address, entropy, session: None, settled: Vec::new() }.serve(queue)
            });
            let committers: Vec<_> = committers.map(tokio::spawn).collect();
            // Each ends when its queue does, and everything in it has its answer.
            for lane in committers.into_iter().chain(readers) {
                drop(lane.await);
            }
        };
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                let _end = end;
                runtime.block_on(work);
            })
            .map_err(failed)?;
        let gone = || StoreError::Database { problem: "its thread has ended".to_owned() };
        let examined = outcome.recv().map_err(|_| gone())??;
        let told = |doubt: &Doubt| format!("{}; {}", doubt.problem, doubt.remedy);
        let doubts: Vec<_> = examined.doubts.iter().map(told).collect();
        for doubt in &doubts {
            tracing::warn!(database = %shown, "{doubt}");
        }
        let turn = AtomicUsize::new(0);
        let ended = Mutex::new(ended);
        Ok(PostgresBackend { address: own, reads, commits, turn, latch, doubts, shown, ended })
    }

    /// Asks a database about its settings and its clock, and changes nothing there. On a thread of its own, so that
    /// it can be called from anywhere.
    ///
    /// # Errors
    /// When the URL cannot be used, or the database cannot be asked within seconds.
    pub fn examine(url: &SecretString) -> Result<Examined, StoreError> {
        ask(url, async |address| guarantees::examine(address).await)
    }

    /// One value as it lies in a database, and its hosts and name. Nothing is changed there: where there are no
    /// tables, none is made, and there is no value. From anywhere, like [`PostgresBackend::examine`].
    ///
    /// # Errors
    /// When the URL cannot be used, or the database cannot be asked within seconds.
    pub fn glance(url: &SecretString, key: &[u8]) -> Result<(Option<Bytes>, String), StoreError> {
        ask(url, async |address| Ok((reads::glance(address, key).await?, address.shown())))
    }

    /// What the database's settings put at risk, in words; also logged when it was opened.
    pub fn doubts(&self) -> &[String] {
        &self.doubts
    }

    /// Hosts and name of the database, without user and password.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    async fn read<T>(
        &self,
        read: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Read,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let at = self.turn.fetch_add(1, Ordering::Relaxed) % READERS;
        let lane = self.reads.get(at).ok_or(StoreError::Failed)?;
        lane.try_send(read(reply)).map_err(|e| refused(&e))?;
        match tokio::time::timeout(reads::PATIENCE, answer).await {
            Ok(answer) => answer.unwrap_or(Err(StoreError::Failed)),
            Err(_) => Err(StoreError::TooSlow),
        }
    }
}

/// Asks something of a database on a thread of its own.
fn ask<T: Send>(
    url: &SecretString,
    question: impl AsyncFnOnce(&Address) -> Result<T, session::Broken> + Send,
) -> Result<T, StoreError> {
    let address = Address::parse(url)?;
    let failed = |e: std::io::Error| StoreError::Database { problem: e.to_string() };
    let ask = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        runtime.block_on(question(&address)).map_err(session::Broken::into_error)
    };
    let broke = || StoreError::Database { problem: "asking it broke off".to_owned() };
    std::thread::scope(|scope| scope.spawn(ask).join()).unwrap_or_else(|_| Err(broke()))
}

/// Nothing is answered once the thread has ended, be it by a panic: the process must end too.
struct End {
    latch: Arc<Latch>,
    _tell: std::sync::mpsc::Sender<()>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.latch.set();
    }
}

fn refused<T>(error: &mpsc::error::TrySendError<T>) -> StoreError {
    match error {
        mpsc::error::TrySendError::Full(_) => StoreError::Busy,
        mpsc::error::TrySendError::Closed(_) => StoreError::Failed,
    }
}

impl Drop for PostgresBackend {
    fn drop(&mut self) {
        self.reads.clear();
        self.commits.clear();
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(FAREWELL) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tracing::error!(database = %self.shown, "leaving while the outcome of a commit is not known");
        }
    }
}

impl Backend for PostgresBackend {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        self.read(|reply| Read::Get(Bytes::copy_from_slice(key), reply)).boxed()
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        let (prefix, after) = (Bytes::copy_from_slice(prefix), after.map(Bytes::copy_from_slice));
        self.read(move |reply| Read::Scan { prefix, after, limit, reply }).boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        async move {
            batch.check_sizes()?;
            let expected = batch.expect.first().map(|(key, _)| key);
            let mut hasher = DefaultHasher::new();
            expected.or(batch.write.first().map(|(key, _)| key)).hash(&mut hasher);
            let at = usize::try_from(hasher.finish() % COMMITTERS as u64).unwrap_or(0);
            let lane = self.commits.get(at).ok_or(StoreError::Failed)?;
            let (reply, answer) = oneshot::channel();
            lane.try_send(Commit { batch, reply }).map_err(|e| refused(&e))?;
            // The lane went away without an answer: what became of it is not known here.
            answer.await.unwrap_or(Err(StoreError::Failed))
        }
        .boxed()
    }

    /// What is committed is durable, as far as the engine keeps what it promises.
    fn sync(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        future::ready(if self.failed() { Err(StoreError::Failed) } else { Ok(()) }).boxed()
    }

    fn is_shared(&self) -> bool {
        true
    }

    /// On a session of its own, so that nobody's reads wait for it.
    fn frozen(&self) -> BoxFuture<'_, Result<Option<Box<dyn Frozen>>, StoreError>> {
        async move {
            let rows = FrozenRows::open(&self.address).await.map_err(session::Broken::into_error)?;
            Ok(Some(Box::new(rows) as Box<dyn Frozen>))
        }
        .boxed()
    }

    fn failed(&self) -> bool {
        self.latch.is_set()
    }

    fn failed_signal(&self) -> BoxFuture<'_, ()> {
        self.latch.wait().boxed()
    }
}
