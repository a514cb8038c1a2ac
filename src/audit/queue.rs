//! Entries on their way to the writer, which takes all that are there in one step. Whoever adds one wakes the
//! writer only if it sleeps, and only for what it sleeps for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::audit::AuditError;
use crate::audit::entry::Entry;

/// How long an entry that nobody waits for may wait for one that somebody does.
const OUTCOME_MAY_WAIT: Duration = Duration::from_millis(5);
/// With this many callers in the last group, the next one is given a moment to grow as large.
const CROWD: usize = 8;
const CROWD_MAY_WAIT: Duration = Duration::from_micros(300);

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    /// How many of them somebody waits for.
    awaited: usize,
    sleeps: Sleeps,
    is_closed: bool,
    has_ended: bool,
    /// Told when all is written.
    closing: Vec<oneshot::Sender<()>>,
}

/// What the writer sleeps for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Sleeps {
    #[default]
    No,
    UntilAny,
    UntilAwaited,
}

/// What the writer does next.
pub(super) enum Next {
    /// Write these, of which somebody waits for so many.
    Group { awaited: usize },
    /// Nothing has come.
    TimedOut,
    /// Nothing will come any more. Tell these when all is done.
    Closed(Vec<oneshot::Sender<()>>),
}

impl Queue {
    /// Adds an entry, unless `most` wait already.
    pub(super) fn push(&self, entry: Entry, most: usize) -> Result<(), AuditError> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(AuditError::Closed);
        }
        if state.entries.len() >= most {
            return Err(AuditError::TooSlow);
        }
        let is_awaited = entry.done.is_some();
        state.awaited += usize::from(is_awaited);
        state.entries.push(entry);
        let wakes = match state.sleeps {
            Sleeps::No => false,
            Sleeps::UntilAny => true,
            Sleeps::UntilAwaited => is_awaited,
        };
        if wakes {
            state.sleeps = Sleeps::No;
            drop(state);
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Takes no more entries; what is there is written. Tells `done` afterwards, or drops it when the writer has
    /// ended already.
    pub(super) fn close(&self, done: Option<oneshot::Sender<()>>) {
        let mut state = self.lock();
        state.is_closed = true;
        if !state.has_ended {
            state.closing.extend(done);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// The writer has ended: whoever still waits is told by what is dropped here.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        (state.is_closed, state.has_ended) = (true, true);
        state.awaited = 0;
        state.entries = Vec::new();
        state.closing = Vec::new();
    }

    /// Waits for entries and moves up to `most` of them into `group`, which must be empty. A sync costs the same
    /// for one entry as for a hundred, so it is not spent on entries that nobody waits for, and after a
    /// large group it waits a moment for the next one to grow as large.
    pub(super) fn next(
        &self,
        group: &mut Vec<Entry>,
        most: usize,
        patience: Option<Duration>,
        last_awaited: usize,
    ) -> Next {
        let mut state = self.lock();
        if state.entries.is_empty() && !state.is_closed {
            state = self.sleep(state, Sleeps::UntilAny, patience);
        }
        if state.entries.is_empty() {
            return if state.is_closed {
                Next::Closed(std::mem::take(&mut state.closing))
            } else {
                Next::TimedOut
            };
        }
        if state.awaited == 0 && !state.is_closed {
            state = self.sleep(state, Sleeps::UntilAwaited, Some(OUTCOME_MAY_WAIT));
        }
        let is_smaller = state.awaited > 0 && state.awaited < last_awaited;
        if is_smaller && last_awaited >= CROWD && state.entries.len() < most && !state.is_closed {
            drop(state);
            std::thread::sleep(CROWD_MAY_WAIT);
            state = self.lock();
        }
        if state.entries.len() <= most {
            std::mem::swap(&mut state.entries, group);
        } else {
            group.extend(state.entries.drain(..most));
        }
        let left = state.entries.iter().filter(|entry| entry.done.is_some()).count();
        let awaited = state.awaited - left;
        state.awaited = left;
        Next::Group { awaited }
    }

    /// Sleeps until something has come that was slept for, the queue is closed, or time is up.
    fn sleep<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        sleeps: Sleeps,
        patience: Option<Duration>,
    ) -> MutexGuard<'s, State> {
        state.sleeps = sleeps;
        let asleep = |state: &mut State| state.sleeps != Sleeps::No && !state.is_closed;
        let mut state = match patience {
            None => self.arrived.wait_while(state, asleep).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = self.arrived.wait_timeout_while(state, patience, asleep);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.sleeps = Sleeps::No;
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
