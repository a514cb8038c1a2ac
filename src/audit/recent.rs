//! The newest events in memory, for pages and lists.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock};

use crate::audit::EventFilter;
use crate::model::event::Event;

const KEPT: usize = 10_000;

#[derive(Default)]
pub(super) struct Recent(RwLock<VecDeque<Event>>);

impl Recent {
    pub(super) fn push(&self, event: Event) {
        self.extend([event]);
    }

    pub(super) fn extend(&self, new: impl IntoIterator<Item = Event>) {
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
        events.iter().rev().filter(|event| passes(filter, event)).take(limit).cloned().collect()
    }
}

fn passes(filter: &EventFilter, event: &Event) -> bool {
    fn same<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
        wanted.is_none_or(|wanted| found == Some(wanted))
    }
    let draft = &event.draft;
    same(filter.agent.as_ref(), draft.agent.as_ref())
        && same(filter.user.as_ref(), draft.user.as_ref())
        && same(filter.grant.as_ref(), draft.grant.as_ref())
        && same(filter.provider.as_ref(), draft.provider.as_ref())
        && same(filter.kind.as_ref(), Some(&draft.kind))
        && filter.before_seq.is_none_or(|before| event.seq < before)
}
