//! The audit log: append-only, chained, with signed heads, and durable before anything is released.
//!
//! Entries live in segment files of their own, not in the store: one `fdatasync` serves every request
//! that is waiting. See `docs/adr/0003-audit-log.md` for the formats.

pub mod chain;
pub mod export;
pub mod head;
pub mod join;
pub mod verify;

mod copy;
mod entry;
mod queue;
mod recent;
mod resume;
mod segment;
mod walk;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

use crate::audit::entry::{Done, Entry};
use crate::audit::queue::Queue;
use crate::audit::recent::Recent;
use crate::audit::verify::BadEntry;
use crate::audit::writer::Writer;
use crate::kernel::clock::Clock;
use crate::kernel::entropy::Entropy;
use crate::kernel::ids::{AgentId, DeploymentId, EventId, GrantId, ProviderSlug, UserId};
use crate::model::event::{Event, EventDraft, EventKind};
use crate::store::disk::{Disk, RealDisk};
use crate::store::latch::Latch;
use crate::vault::AuditSigner;

pub use segment::written;

/// How long a caller waits for its entry (invariant 8: our own parts answer within 2 s, so the
/// refusal must be on its way before).
const PATIENCE: Duration = Duration::from_millis(1500);
/// Entries that may wait. Outcomes have the upper half to themselves: a decision can still be refused,
/// an outcome tells of what has happened already.
const WAITING: usize = 8192;

/// What went wrong with the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuditError {
    /// The disk is full: the entry was not written. Answer 503 and stay up.
    #[error(
        "the audit log's disk is full, nothing was written: free some space on the disk of the data folder"
    )]
    Full,
    /// A write or a sync failed: the process must end.
    #[error("the audit log has failed and takes no more entries: the process must be restarted")]
    Failed,
    /// The entry was not durable in time. It may still be written.
    #[error("the audit log is too slow: try again")]
    TooSlow,
    /// The service is ending.
    #[error("the audit log is closed: the service is ending")]
    Closed,
    /// Another process writes this log.
    #[error("the audit log in `{}` is in use by another process", .dir.display())]
    InUse {
        /// The log's folder.
        dir: PathBuf,
    },
    /// The folder cannot be used.
    #[error("the audit log `{}` cannot be used: {problem}", .path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The log does not verify.
    #[error("the audit log was damaged or changed: {0}; keep it as it is, and run `valetkey audit verify`")]
    Damaged(BadEntry),
}

/// Which events to return; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of that agent.
    pub agent: Option<AgentId>,
    /// About that user.
    pub user: Option<UserId>,
    /// Under that grant.
    pub grant: Option<GrantId>,
    /// At that provider.
    pub provider: Option<ProviderSlug>,
    /// Of that kind.
    pub kind: Option<EventKind>,
    /// Older than that position.
    pub before_seq: Option<u64>,
}

/// The node that the log in a folder names in its newest head: none where no others share its store.
pub fn node_of(dir: &Path) -> Option<String> {
    let note = segment::read_head_file(dir).ok().flatten()?;
    let origin = head::check(&note, None).ok()?.origin;
    origin.splitn(4, '/').nth(3).map(ToOwned::to_owned)
}

/// The audit log. Cheap to clone; dropping the last clone signs and closes it.
#[derive(Clone)]
pub struct AuditLog(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    queue: Arc<Queue>,
    recent: Arc<Recent>,
    latch: Arc<Latch>,
    entropy: Arc<dyn Entropy>,
    lag: Histogram,
    thread: Option<JoinHandle<()>>,
}

impl AuditLog {
    /// Opens the log in `dir`, or begins it. A torn last line, as a power cut leaves it, is cut off
    /// and told in an event; any other damage is refused.
    ///
    /// # Errors
    /// When the log does not verify, is in use, or cannot be written.
    pub fn open(
        dir: &Path,
        signer: AuditSigner,
        deployment: DeploymentId,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        reserve_bytes: u64,
    ) -> Result<AuditLog, AuditError> {
        let disk = Reserve { disk: Arc::new(RealDisk), bytes: reserve_bytes };
        Self::open_on(disk, dir, signer, deployment, clock, entropy)
    }

    /// [`AuditLog::open`] on a given disk.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(
        reserve: Reserve,
        dir: &Path,
        signer: AuditSigner,
        deployment: DeploymentId,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<AuditLog, AuditError> {
        let recent = Arc::new(Recent::default());
        let resumed = resume::resume(dir, &signer, &deployment, &recent)?;
        let repair = resumed.repair.clone();
        let latch = Arc::new(Latch::default());
        let queue = Arc::new(Queue::default());
        let unstarted =
            |e: std::io::Error| AuditError::Folder { path: dir.to_owned(), problem: e.to_string() };
        let writer = Writer::new(resumed, signer, clock, reserve, Arc::clone(&recent), Arc::clone(&latch))
            .map_err(unstarted)?;
        let lag = Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 2.0]);
        let of_writer = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&of_writer))
            .map_err(unstarted)?;
        let log = AuditLog(Arc::new(Inner {
            dir: dir.to_owned(),
            queue,
            recent,
            latch,
            entropy,
            lag,
            thread: Some(thread),
        }));
        if let Some(reason) = repair {
            let mut draft = EventDraft::new(EventKind::Service, "audit.repaired");
            draft.reasons.push(reason);
            log.record_soon(draft);
        }
        Ok(log)
    }

    /// Names what this room measures.
    pub fn register_figures(&self, registry: &mut Registry) {
        let words = "How long an entry that something waits for takes to be durable";
        registry.register("audit_lag_seconds", words, self.0.lag.clone());
    }

    /// Writes an entry; it is durable when this returns.
    ///
    /// # Errors
    /// When it is not. After [`AuditError::TooSlow`] it may still be written.
    pub async fn record(&self, draft: EventDraft) -> Result<EventId, AuditError> {
        let (id, written) = self.begin(draft);
        written.await?;
        Ok(id)
    }

    /// Writes an entry without waiting for it: for outcomes.
    pub fn record_soon(&self, draft: EventDraft) -> EventId {
        let id = EventId::generate(self.0.entropy.as_ref());
        if let Err(error) = self.enqueue(id.clone(), &draft, None, WAITING) {
            tracing::warn!(event.id = %id, %error, "an outcome could not be written to the audit log");
        }
        id
    }

    /// Begins to write an entry; the future ends when it is durable. Nothing may be released before.
    pub fn begin(
        &self,
        draft: EventDraft,
    ) -> (EventId, impl Future<Output = Result<(), AuditError>> + Send + 'static) {
        let id = EventId::generate(self.0.entropy.as_ref());
        let (done, outcome) = oneshot::channel();
        let (begun, lag) = (Instant::now(), self.0.lag.clone());
        let queued = self.enqueue(id.clone(), &draft, Some(done), WAITING / 2);
        let written = async move {
            queued?;
            let ended = tokio::time::timeout(PATIENCE, outcome).await;
            lag.observe(begun.elapsed().as_secs_f64());
            match ended {
                Ok(Ok(result)) => result,
                // The writer went away without an answer.
                Ok(Err(_)) => Err(AuditError::Failed),
                Err(_) => Err(AuditError::TooSlow),
            }
        };
        (id, written)
    }

    /// The newest events that pass the filter, newest first, from the last ten thousand.
    pub fn recent(&self, filter: &EventFilter, limit: usize) -> Vec<Event> {
        self.0.recent.select(filter, limit)
    }

    /// The events that complete these ones, from the last ten thousand.
    pub fn outcomes(&self, of: &[EventId]) -> Vec<Event> {
        self.0.recent.outcomes(of)
    }

    /// The newest signed head, for others to keep: whoever has seen it can tell when this log is cut off.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn newest_head(&self) -> Result<Option<String>, AuditError> {
        segment::read_head_file(&self.0.dir)
            .map_err(|e| AuditError::Folder { path: self.0.dir.clone(), problem: e.to_string() })
    }

    /// Signs a last head and stops writing. Entries that come later are refused.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        self.0.queue.close(Some(done));
        // An error means that the writer has ended already.
        let _ = closed.await;
    }

    /// Whether a write or a sync has failed: the process must end.
    pub fn failed(&self) -> bool {
        self.0.latch.is_set()
    }

    /// Ends when a write or a sync has failed.
    pub async fn failed_signal(&self) {
        self.0.latch.wait().await;
    }

    fn enqueue(
        &self,
        id: EventId,
        draft: &EventDraft,
        done: Option<Done>,
        most: usize,
    ) -> Result<(), AuditError> {
        if self.0.latch.is_set() {
            return Err(AuditError::Failed);
        }
        self.0.queue.push(Entry::new(id, draft, done).ok_or(AuditError::Failed)?, most)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer ends when the queue does; waiting for it makes the last head durable.
        self.queue.close(None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditLog")
    }
}

/// A disk, and how much of it is left to others.
#[derive(Clone)]
pub struct Reserve {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// With less than this free, nothing is written.
    pub bytes: u64,
}
