//! Joins the audit logs of several nodes: each puts its signed heads where the others see them, and writes
//! theirs into its own log. Whoever cuts one node's log off would have to change all of them. And each notes in its
//! own folder what it has put there: a database that knows less was put in place of a newer one.

use std::collections::HashMap;

use crate::app::services::Services;
use crate::audit::head;
use crate::custody::CustodyError;
use crate::kernel::clock::Timestamp;
use crate::model::audit_head::AuditHead;
use crate::model::event::{EventDraft, EventKind, WITNESSED};
use crate::store::{Committed, Stored, Tx};

const MOST: usize = 1000;

/// What this process has seen already.
#[derive(Default)]
pub(super) struct Witness {
    sizes: HashMap<String, u64>,
    has_told: bool,
}

impl Witness {
    /// One round.
    pub(super) async fn look(&mut self, services: &Services, node: &str) -> Result<(), CustodyError> {
        let heads = services.store.page::<AuditHead>(None, MOST).await?;
        let shared = heads.iter().find(|head| head.node == node);
        let own = services.audit.newest_head().ok().flatten();
        let size = own.as_deref().and_then(|note| head::check(note, None).ok()).map_or(0, |head| head.size);
        // Before the newest head is put there: after that nothing would show that the database had gone back.
        services.custody.compare_published(shared.map(Stored::record)).await?;
        let mut tx = Tx::new();
        match (shared, own) {
            (Some(shared), _) if shared.size > size => self.tell_cut_off(services, shared.size, size),
            (Some(shared), Some(note)) if shared.size < size => {
                tx.update(shared, &here(node, size, note, services.clock.now()));
            }
            (None, Some(note)) => {
                tx.insert(&here(node, size, note, services.clock.now()));
            }
            _ => {}
        }
        if !tx.is_empty() && services.store.commit(tx).await? == Committed::Done {
            services.custody.note_published(size)?;
        }
        for other in heads.iter().filter(|head| head.node != node) {
            if self.sizes.insert(other.node.clone(), other.size) != Some(other.size) {
                let mut event = EventDraft::new(EventKind::Service, WITNESSED);
                event.reasons.push(other.note.clone());
                services.audit.record_soon(event);
            }
        }
        Ok(())
    }

    /// Our own log is shorter than what the others have seen of it.
    fn tell_cut_off(&mut self, services: &Services, seen: u64, size: u64) {
        if std::mem::replace(&mut self.has_told, true) {
            return;
        }
        tracing::error!(seen, size, "this node's audit log is shorter than what other nodes have seen of it");
        let mut event = EventDraft::new(EventKind::Service, "audit.cut_off");
        event.reasons.push(format!("other nodes have seen {seen} entries, a head covers {size} here"));
        services.audit.record_soon(event);
    }
}

fn here(node: &str, size: u64, note: String, at: Timestamp) -> AuditHead {
    AuditHead { node: node.to_owned(), size, note, at }
}
