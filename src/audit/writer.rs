//! The one thread that writes the log: takes what is waiting, appends it, syncs once, answers all.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::audit::chain::{self, Link};
use crate::audit::copy::HeadCopy;
use crate::audit::entry::{Entry, Remembered};
use crate::audit::queue::{Next, Queue};
use crate::audit::recent::Recent;
use crate::audit::resume::Resumed;
use crate::audit::{AuditError, Reserve, head, segment};
use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::ids::DeploymentId;
use crate::store::disk::is_full;
use crate::store::latch::Latch;
use crate::vault::AuditSigner;

const HEAD_EVERY: u64 = 1000;
const HEAD_AFTER: Duration = Duration::from_secs(60);
/// Entries that are written and synced together, at most.
pub(super) const GROUP: u64 = 512;
const SEGMENT_BYTES: u64 = 64 << 20;
/// The space that a segment is given ahead of its end, as zeros: a sync of bytes that go into it leaves the file
/// system's journal alone, which halves what it takes.
const ROOM: usize = 512 << 10;
/// A buffer that is larger than this is not kept for the next group.
const LARGEST_BUFFER: usize = 1 << 20;
/// Where the durable log ends.
#[derive(Clone, Copy)]
struct End {
    seq: u64,
    link: Link,
    length: u64,
}

/// How far the segment has its space already.
#[derive(Clone, Copy)]
enum Room {
    UpTo(u64),
    /// The disk had none to give. The next segment asks again.
    None,
}

pub(super) struct Writer {
    dir: PathBuf,
    deployment: DeploymentId,
    file: File,
    number: u64,
    end: End,
    room: Room,
    last_signed: u64,
    /// When the oldest unsigned entry was written.
    unsigned_since: Option<Instant>,
    signer: AuditSigner,
    clock: Arc<dyn Clock>,
    reserve: Reserve,
    recent: Arc<Recent>,
    latch: Arc<Latch>,
    copy: HeadCopy,
    /// The memory of the last group's lines.
    lines: Vec<u8>,
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
    ) -> io::Result<Self> {
        let copy = HeadCopy::start(resumed.dir.clone(), Arc::clone(&latch))?;
        Ok(Self {
            dir: resumed.dir,
            deployment: resumed.deployment,
            file: resumed.file,
            number: resumed.number,
            end: End { seq: resumed.seq, link: resumed.link, length: resumed.length },
            room: Room::UpTo(resumed.length),
            last_signed: resumed.last_signed,
            unsigned_since: (resumed.seq > resumed.last_signed).then(Instant::now),
            signer,
            clock,
            reserve,
            recent,
            latch,
            copy,
            lines: Vec::new(),
            _lock: resumed.lock,
        })
    }

    /// Writes until the log is closed, or the last handle is dropped.
    pub(super) fn run(mut self, queue: &Queue) {
        let latch = Arc::clone(&self.latch);
        if catch_unwind(AssertUnwindSafe(|| self.serve(queue))).is_err() {
            latch.set();
        }
        queue.abandon();
    }

    fn serve(&mut self, queue: &Queue) {
        let mut group = Vec::new();
        let mut last_awaited = 0;
        loop {
            // No group reaches past the entry at which a head is due.
            let most = GROUP.min(HEAD_EVERY.saturating_sub(self.end.seq - self.last_signed)).max(1);
            let most = usize::try_from(most).unwrap_or(1);
            let patience = self.unsigned_since.map(|since| HEAD_AFTER.saturating_sub(since.elapsed()));
            match queue.next(&mut group, most, patience, last_awaited) {
                Next::Group { awaited } => last_awaited = awaited,
                Next::TimedOut => last_awaited = 0,
                Next::Closed(closing) => {
                    self.sign_off();
                    self.leave_no_room();
                    self.copy.finish();
                    for done in closing {
                        // Nobody waiting any more is no failure.
                        let _ = done.send(());
                    }
                    return;
                }
            }
            self.write_group(&mut group);
        }
    }

    /// Appends a group and answers it. An empty group only signs a head that is due.
    fn write_group(&mut self, group: &mut Vec<Entry>) {
        let at = self.clock.now();
        let mut lines = std::mem::take(&mut self.lines);
        lines.clear();
        let mut end = self.end;
        for entry in group.iter() {
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
        let written = self.append(&mut lines);
        if written.is_err() && head.is_some() && group.is_empty() {
            // A head that found no room is tried again with the next entry, not in a loop.
            self.unsigned_since = None;
        }
        self.answer(group, &written, at);
        if written.is_ok() {
            self.end = end;
            self.after(head);
        }
        lines.shrink_to(LARGEST_BUFFER);
        self.lines = lines;
    }

    /// Tells everyone who waits. Events are in the recent list by then: who recorded one finds it there.
    fn answer(&self, group: &mut Vec<Entry>, written: &Result<(), AuditError>, at: Timestamp) {
        let mut waiting = Vec::with_capacity(group.len());
        let mut events = Vec::with_capacity(group.len());
        for (entry, seq) in group.drain(..).zip(self.end.seq + 1..) {
            let Entry { id, subject, json, done } = entry;
            match done {
                Some(done) => waiting.push(done),
                None if written.is_err() => {
                    tracing::warn!(event.id = %id, "an outcome could not be written to the audit log");
                }
                None => {}
            }
            events.push(Remembered { seq, id, at, subject, json });
        }
        if written.is_ok() {
            self.recent.extend(events);
        }
        for done in waiting {
            // The caller may have given up waiting; the entry stands all the same.
            let _ = done.send(written.clone());
        }
    }

    /// Writes and syncs, or leaves the log as it was.
    fn append(&mut self, lines: &mut Vec<u8>) -> Result<(), AuditError> {
        if self.latch.is_set() {
            return Err(AuditError::Failed);
        }
        let disk = Arc::clone(&self.reserve.disk);
        let spare = match disk.free_bytes(&self.dir) {
            Ok(free) => free.saturating_sub(lines.len() as u64).checked_sub(self.reserve.bytes),
            Err(e) => return Err(self.fail("free space cannot be asked for", &e)),
        };
        let Some(spare) = spare else { return Err(AuditError::Full) };
        let end = self.end.length + lines.len() as u64;
        let makes_room = matches!(self.room, Room::UpTo(room) if end > room) && spare >= ROOM as u64;
        match self.write(lines, makes_room) {
            // A quota may leave space for the entries, if not for the room: what is free says nothing of quotas.
            Err(AuditError::Full) if makes_room => self.write(lines, false),
            written => written,
        }
    }

    /// Writes and syncs, with room behind it or without.
    fn write(&mut self, lines: &mut Vec<u8>, makes_room: bool) -> Result<(), AuditError> {
        let (length, disk) = (lines.len(), Arc::clone(&self.reserve.disk));
        let end = self.end.length + length as u64;
        if makes_room {
            lines.resize(length + ROOM, 0);
        }
        let written = disk
            .append(&mut self.file, lines)
            .and_then(|()| disk.sync_data(&self.file))
            .and_then(|()| if makes_room { self.file.seek(SeekFrom::Start(end)).map(drop) } else { Ok(()) });
        lines.truncate(length);
        match written {
            Ok(()) if makes_room => self.room = Room::UpTo(end + ROOM as u64),
            Ok(()) => {}
            Err(e) if is_full(&e) => return Err(self.take_back()),
            Err(e) => return Err(self.fail("a write or sync failed", &e)),
        }
        Ok(())
    }

    /// Goes back to the last whole entry. What was not synced is cut away with the room, so that a later sync cannot
    /// be mistaken for its.
    fn take_back(&mut self) -> AuditError {
        self.room = Room::None;
        let end = self.end.length;
        let cut = self.file.set_len(end).and_then(|()| self.file.seek(SeekFrom::Start(end)));
        match cut.and_then(|_| self.reserve.disk.sync_data(&self.file)) {
            Ok(()) => AuditError::Full,
            Err(e) => self.fail("a partial entry could not be cut off", &e),
        }
    }

    /// A segment that is left ends where the log ends. Where that fails, its readers leave the zeros out.
    fn leave_no_room(&mut self) {
        if let Err(error) = self.file.set_len(self.end.length) {
            tracing::warn!(%error, "the room that an audit segment was given could not be given back");
        }
    }

    /// What follows a durable group: the copy of the head, and the next segment.
    fn after(&mut self, head: Option<String>) {
        if self.unsigned_since.is_none() {
            self.unsigned_since = Some(Instant::now());
        }
        if let Some(note) = head {
            self.last_signed = self.end.seq;
            self.unsigned_since = None;
            self.copy.keep(note);
        }
        if self.end.length >= SEGMENT_BYTES {
            self.roll();
        }
    }

    fn roll(&mut self) {
        let line = chain::segment_line(&self.deployment, self.end.seq + 1, &self.end.link);
        match segment::create(&self.dir, self.number + 1, &line) {
            Ok(file) => {
                self.leave_no_room();
                self.file = file;
                self.number += 1;
                self.end.length = line.len() as u64;
                self.room = Room::UpTo(self.end.length);
            }
            // This segment grows on; the next group tries again.
            Err(e) if is_full(&e) => tracing::warn!("no room for a new audit segment"),
            Err(e) => drop(self.fail("a new segment could not be begun", &e)),
        }
    }

    fn sign_off(&mut self) {
        if self.end.seq > self.last_signed && !self.latch.is_set() {
            let note = head::sign(&self.signer, self.end.seq, &self.end.link, self.clock.now());
            let mut line = chain::head_line(&note);
            let length = line.len() as u64;
            if self.append(&mut line).is_ok() {
                self.end.length += length;
                self.after(Some(note));
            }
        }
    }

    fn fail(&self, what: &str, error: &io::Error) -> AuditError {
        tracing::error!(%error, "audit log: {what}; the process must end");
        self.latch.set();
        AuditError::Failed
    }
}
