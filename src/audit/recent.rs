//! The newest events in memory, for pages and lists.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock};

use crate::audit::EventFilter;
use crate::audit::entry::Remembered;
use crate::kernel::ids::EventId;
use crate::model::event::Event;

const KEPT: usize = 10_000;

#[derive(Default)]
pub(super) struct Recent(RwLock<VecDeque<Remembered>>);

impl Recent {
    pub(super) fn extend(&self, new: impl IntoIterator<Item = Remembered>) {
        let mut events = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for event in new {
            if events.len() >= KEPT {
                events.pop_front();
            }
            events.push_back(event);
        }
    }

    pub(super) fn select(&self, filter: &EventFilter, limit: usize) -> Vec<Event> {
        let events = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let passing = events.iter().rev().filter(|event| event.passes(filter));
        passing.take(limit).filter_map(Remembered::event).collect()
    }

    /// How those events ended, as far as it is known.
    pub(super) fn outcomes(&self, of: &[EventId]) -> Vec<Event> {
        let events = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let completing = events.iter().rev().filter(|event| event.completes(of));
        completing.take(of.len()).filter_map(Remembered::event).collect()
    }
}
