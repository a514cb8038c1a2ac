//! An entry on its way into the log, and as it is remembered afterwards.

use std::cell::RefCell;

use tokio::sync::oneshot;

use crate::audit::{AuditError, EventFilter};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, EventId, GrantId, ProviderSlug, UserId};
use crate::model::event::{Event, EventDraft, EventKind};

/// Tells whoever waits for an entry how it went.
pub(super) type Done = oneshot::Sender<Result<(), AuditError>>;

/// A buffer that is larger than this is not kept for the next entry.
const LARGEST_BUFFER: usize = 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An entry that waits to be written. Its JSON is made by the caller's thread: the writer is one for all.
pub(super) struct Entry {
    pub(super) id: EventId,
    pub(super) subject: Subject,
    pub(super) json: Box<[u8]>,
    pub(super) done: Option<Done>,
}

impl Entry {
    /// `None` when the draft has no JSON form.
    pub(super) fn new(id: EventId, draft: &EventDraft, done: Option<Done>) -> Option<Self> {
        Some(Self { id, subject: Subject::of(draft), json: json(draft)?, done })
    }
}

/// What events are looked for by.
pub(super) struct Subject {
    kind: EventKind,
    agent: Option<AgentId>,
    user: Option<UserId>,
    grant: Option<GrantId>,
    provider: Option<ProviderSlug>,
    refers_to: Option<EventId>,
}

impl Subject {
    fn of(draft: &EventDraft) -> Self {
        Self {
            kind: draft.kind,
            agent: draft.agent.clone(),
            user: draft.user.clone(),
            grant: draft.grant.clone(),
            provider: draft.provider.clone(),
            refers_to: draft.refers_to.clone(),
        }
    }
}

/// An event as it is remembered: its line, not its members, which are many small pieces of memory that another
/// thread would have to give back one by one.
pub(super) struct Remembered {
    pub(super) seq: u64,
    pub(super) id: EventId,
    pub(super) at: Timestamp,
    pub(super) subject: Subject,
    pub(super) json: Box<[u8]>,
}

impl Remembered {
    /// An event that was read from the log.
    pub(super) fn new(event: &Event) -> Option<Self> {
        let Event { seq, id, at, draft } = event;
        Some(Self { seq: *seq, id: id.clone(), at: *at, subject: Subject::of(draft), json: json(draft)? })
    }

    pub(super) fn passes(&self, filter: &EventFilter) -> bool {
        fn same<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
            wanted.is_none_or(|wanted| found == Some(wanted))
        }
        let subject = &self.subject;
        same(filter.agent.as_ref(), subject.agent.as_ref())
            && same(filter.user.as_ref(), subject.user.as_ref())
            && same(filter.grant.as_ref(), subject.grant.as_ref())
            && same(filter.provider.as_ref(), subject.provider.as_ref())
            && same(filter.kind.as_ref(), Some(&subject.kind))
            && filter.before_seq.is_none_or(|before| self.seq < before)
    }

    /// Whether it says how one of those events ended.
    pub(super) fn completes(&self, events: &[EventId]) -> bool {
        self.subject.refers_to.as_ref().is_some_and(|id| events.contains(id))
    }

    pub(super) fn event(&self) -> Option<Event> {
        // INVARIANT: what was written from a draft reads back as one.
        let draft = serde_json::from_slice(&self.json).ok()?;
        Some(Event { seq: self.seq, id: self.id.clone(), at: self.at, draft })
    }
}

fn json(draft: &EventDraft) -> Option<Box<[u8]>> {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        serde_json::to_writer(&mut *buffer, draft).ok()?;
        let json = Box::from(buffer.as_slice());
        buffer.shrink_to(LARGEST_BUFFER);
        Some(json)
    })
}
