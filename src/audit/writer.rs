//! The one thread that writes the log: takes what is waiting, appends it, syncs once, answers all.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::audit::chain::{self, Link};
use crate::audit::recent::Recent;
use crate::audit::resume::Resumed;
use crate::audit::{AuditError, Reserve, head, segment};
use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::ids::{DeploymentId, EventId};
use crate::model::event::{Event, EventDraft};
use crate::store::disk::is_full;
use crate::store::latch::Latch;
use crate::vault::AuditSigner;

const HEAD_EVERY: u64 = 1000;
const HEAD_AFTER: Duration = Duration::from_secs(60);
const GROUP: u64 = 512;
const SEGMENT_BYTES: u64 = 64 << 20;
/// How long an entry that nobody waits for may wait for one that somebody does.
const OUTCOME_MAY_WAIT: Duration = Duration::from_millis(5);
/// With this many callers in the last group, the next one is given a moment to grow as large.
const CROWD: usize = 8;
const CROWD_MAY_WAIT: Duration = Duration::from_micros(300);

pub(super) enum Job {
    Entry(Box<Entry>),
    Close(oneshot::Sender<()>),
}

/// An entry that waits to be written. Its JSON is made by the caller's thread: the writer is one for all.
pub(super) struct Entry {
    id: EventId,
    draft: EventDraft,
    json: Vec<u8>,
    done: Option<oneshot::Sender<Result<(), AuditError>>>,
}

impl Entry {
    pub(super) fn new(
        id: EventId,
        draft: EventDraft,
        done: Option<oneshot::Sender<Result<(), AuditError>>>,
    ) -> Option<Self> {
        let json = serde_json::to_vec(&draft).ok()?;
        Some(Self { id, draft, json, done })
    }
}

/// What is written together.
#[derive(Default)]
struct Group {
    entries: Vec<Entry>,
    /// How many of them somebody waits for.
    waiters: usize,
    closing: Option<oneshot::Sender<()>>,
}

impl Group {
    fn add(&mut self, job: Job) {
        match job {
            Job::Entry(entry) => {
                self.waiters += usize::from(entry.done.is_some());
                self.entries.push(*entry);
            }
            Job::Close(done) => self.closing = Some(done),
        }
    }
}

/// Where the durable log ends.
#[derive(Clone, Copy)]
struct End {
    seq: u64,
    link: Link,
    length: u64,
}

pub(super) struct Writer {
    dir: PathBuf,
    deployment: DeploymentId,
    file: File,
    number: u64,
    end: End,
    last_signed: u64,
    /// When the oldest unsigned entry was written.
    unsigned_since: Option<Instant>,
    signer: AuditSigner,
    clock: Arc<dyn Clock>,
    reserve: Reserve,
    recent: Arc<Recent>,
    latch: Arc<Latch>,
    is_crowded: bool,
    /// Held, not read: another process is kept out as long as this thread lives.
    _lock: File,
}

impl Writer {
    pub(super) fn new(
        resumed: Resumed,
        signer: AuditSigner,
        clock: Arc<dyn Clock>,
        reserve: Reserve,
        recent: Arc<Recent>,
        latch: Arc<Latch>,
    ) -> Self {
        Self {
            dir: resumed.dir,
            deployment: resumed.deployment,
            file: resumed.file,
            number: resumed.number,
            end: End { seq: resumed.seq, link: resumed.link, length: resumed.length },
            last_signed: resumed.last_signed,
            unsigned_since: (resumed.seq > resumed.last_signed).then(Instant::now),
            signer,
            clock,
            reserve,
            recent,
            latch,
            is_crowded: false,
            _lock: resumed.lock,
        }
    }

    /// Writes until the log is closed, or the last handle is dropped.
    pub(super) fn run(mut self, queue: &Receiver<Job>, waiting: &AtomicUsize) {
        let latch = Arc::clone(&self.latch);
        if catch_unwind(AssertUnwindSafe(|| self.serve(queue, waiting))).is_err() {
            latch.set();
        }
    }

    fn serve(&mut self, queue: &Receiver<Job>, waiting: &AtomicUsize) {
        loop {
            let mut group = Group::default();
            match self.wait(queue) {
                Ok(job) => group.add(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.sign_off(),
            }
            // No group reaches past the entry at which a head is due.
            let most = GROUP.min(HEAD_EVERY.saturating_sub(self.end.seq - self.last_signed)).max(1);
            if !group.entries.is_empty() {
                self.gather(&mut group, queue, most);
            }
            waiting.fetch_sub(group.entries.len(), Ordering::Relaxed);
            self.is_crowded = group.waiters >= CROWD;
            self.write_group(group.entries);
            if let Some(done) = group.closing {
                self.sign_off();
                // Nobody waiting any more is no failure.
                let _ = done.send(());
                return;
            }
        }
    }

    /// Takes what else is there. A sync costs the same for one entry as for a hundred, so it is not spent
    /// on entries that nobody waits for, and under load it waits a moment for the others to come.
    fn gather(&self, group: &mut Group, queue: &Receiver<Job>, most: u64) {
        let until = Instant::now() + OUTCOME_MAY_WAIT;
        let mut may_pause = self.is_crowded;
        while group.closing.is_none() && (group.entries.len() as u64) < most {
            let next = if group.waiters == 0 {
                queue.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
            } else {
                queue.try_recv().ok()
            };
            match next {
                Some(job) => group.add(job),
                None if group.waiters > 0 && may_pause => {
                    may_pause = false;
                    std::thread::sleep(CROWD_MAY_WAIT);
                }
                None => break,
            }
        }
    }

    fn wait(&self, queue: &Receiver<Job>) -> Result<Job, RecvTimeoutError> {
        match self.unsigned_since {
            Some(since) => queue.recv_timeout(HEAD_AFTER.saturating_sub(since.elapsed())),
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Appends a group and answers it. An empty group only signs a head that is due.
    fn write_group(&mut self, group: Vec<Entry>) {
        let at = self.clock.now();
        let mut lines = Vec::with_capacity(group.len() * 768);
        let mut end = self.end;
        for entry in &group {
            end.seq += 1;
            end.link = chain::append_entry(&mut lines, &end.link, end.seq, &entry.id, at, &entry.json);
        }
        let due = self.unsigned_since.is_some_and(|since| since.elapsed() >= HEAD_AFTER);
        let head = (due || end.seq - self.last_signed >= HEAD_EVERY)
            .then(|| head::sign(&self.signer, end.seq, &end.link, at));
        if let Some(note) = &head {
            lines.extend_from_slice(&chain::head_line(note));
        }
        if lines.is_empty() {
            return;
        }
        end.length += lines.len() as u64;
        let written = self.append(&lines);
        if written.is_err() && head.is_some() && group.is_empty() {
            // A head that found no room is tried again with the next entry, not in a loop.
            self.unsigned_since = None;
        }
        self.answer(group, &written, at);
        if written.is_ok() {
            self.end = end;
            self.after(head.as_deref());
        }
    }

    /// Tells everyone who waits. Events are in the recent list by then: who recorded one finds it there.
    fn answer(&self, group: Vec<Entry>, written: &Result<(), AuditError>, at: Timestamp) {
        let mut waiting = Vec::with_capacity(group.len());
        let mut events = Vec::with_capacity(group.len());
        for (entry, seq) in group.into_iter().zip(self.end.seq + 1..) {
            match entry.done {
                Some(done) => waiting.push(done),
                None if written.is_err() => {
                    tracing::warn!(event.id = %entry.id, "an outcome could not be written to the audit log");
                }
                None => {}
            }
            events.push(Event { seq, id: entry.id, at, draft: entry.draft });
        }
        if written.is_ok() {
            self.recent.extend(events);
        }
        for done in waiting {
            // The caller may have given up waiting; the entry stands all the same.
            let _ = done.send(written.clone());
        }
    }

    /// Writes and syncs, or leaves the file as it was.
    fn append(&mut self, lines: &[u8]) -> Result<(), AuditError> {
        if self.latch.is_set() {
            return Err(AuditError::Failed);
        }
        let disk = Arc::clone(&self.reserve.disk);
        match disk.free_bytes(&self.dir) {
            Ok(free) if free.saturating_sub(lines.len() as u64) < self.reserve.bytes => {
                return Err(AuditError::Full);
            }
            Ok(_) => {}
            Err(e) => return Err(self.fail("free space cannot be asked for", &e)),
        }
        let written = disk.append(&mut self.file, lines).and_then(|()| disk.sync_data(&self.file));
        let Err(error) = written else { return Ok(()) };
        if !is_full(&error) {
            return Err(self.fail("a write or sync failed", &error));
        }
        // Back to the last whole entry. What was not synced is cut away with it, so that a later sync
        // cannot be mistaken for its.
        match self.file.set_len(self.end.length).and_then(|()| disk.sync_data(&self.file)) {
            Ok(()) => Err(AuditError::Full),
            Err(e) => Err(self.fail("a partial entry could not be cut off", &e)),
        }
    }

    /// What follows a durable group: the copy of the head, and the next segment.
    fn after(&mut self, head: Option<&str>) {
        if self.unsigned_since.is_none() {
            self.unsigned_since = Some(Instant::now());
        }
        if let Some(note) = head {
            self.last_signed = self.end.seq;
            self.unsigned_since = None;
            match segment::write_head_file(&self.dir, note) {
                Ok(()) => {}
                Err(e) if is_full(&e) => tracing::warn!("no room for the copy of the audit log's head"),
                Err(e) => drop(self.fail("the copy of the head could not be written", &e)),
            }
        }
        if self.end.length >= SEGMENT_BYTES {
            self.roll();
        }
    }

    fn roll(&mut self) {
        let line = chain::segment_line(&self.deployment, self.end.seq + 1, &self.end.link);
        match segment::create(&self.dir, self.number + 1, &line) {
            Ok(file) => {
                self.file = file;
                self.number += 1;
                self.end.length = line.len() as u64;
            }
            // This segment grows on; the next group tries again.
            Err(e) if is_full(&e) => tracing::warn!("no room for a new audit segment"),
            Err(e) => drop(self.fail("a new segment could not be begun", &e)),
        }
    }

    fn sign_off(&mut self) {
        if self.end.seq > self.last_signed && !self.latch.is_set() {
            let note = head::sign(&self.signer, self.end.seq, &self.end.link, self.clock.now());
            let line = chain::head_line(&note);
            if self.append(&line).is_ok() {
                self.end.length += line.len() as u64;
                self.after(Some(&note));
            }
        }
    }

    fn fail(&self, what: &str, error: &io::Error) -> AuditError {
        tracing::error!(%error, "audit log: {what}; the process must end");
        self.latch.set();
        AuditError::Failed
    }
}
