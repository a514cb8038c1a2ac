//! Making a grant narrower. It can only lose: what is allowed again needs a new consent.

use crate::connections::{Connections, GrantError, LiveToken, grants};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{GrantId, UserId};
use crate::model::event::Outcome;
use crate::model::grant::{Grant, Tightening};
use crate::model::limit::MOST_LIMITS;
use crate::store::{Committed, StoreError, Tx};

/// A grant after it was made narrower.
#[derive(Debug)]
pub struct Tightened {
    /// The grant.
    pub grant: Grant,
    /// Whether that changed anything.
    pub changed: bool,
    /// Provider tokens that have left before and could not be revoked: they end by themselves.
    pub still_alive: Vec<LiveToken>,
}

impl Connections {
    /// Makes a grant narrower for the user who gave it. In force on return; doing it again changes nothing.
    ///
    /// # Errors
    /// When there is no such live grant of that user, nothing would be left of it, or nothing can be written.
    pub async fn tighten(
        &self,
        user: &UserId,
        id: &GrantId,
        by: &Tightening,
    ) -> Result<Tightened, GrantError> {
        let (connections, user, id, by) = (self.clone(), user.clone(), id.clone(), by.clone());
        self.inner.outlasting(async move { connections.made_narrower(&user, &id, &by).await }).await
    }

    async fn made_narrower(
        &self,
        user: &UserId,
        id: &GrantId,
        by: &Tightening,
    ) -> Result<Tightened, GrantError> {
        let inner = &self.inner;
        for _ in 0..inner.tries() {
            let now = inner.clock.now();
            let found = self.grant(id).await?.filter(|grant| &grant.user == user && grant.is_live(now));
            let stored = found.ok_or(GrantError::NotFound)?;
            let narrower = stored.tightened(by);
            if narrower.scopes_at(now).is_empty() || narrower.expires_at <= now {
                return Err(GrantError::Empty);
            }
            if narrower.limits.len() > MOST_LIMITS {
                return Err(GrantError::TooManyLimits);
            }
            let changes = changes(&stored, &narrower, now);
            if changes.is_empty() {
                let still_alive = self.live_tokens(id).await?;
                return Ok(Tightened { grant: narrower, changed: false, still_alive });
            }
            let mut tx = Tx::new();
            tx.update(&stored, &narrower);
            grants::revoke_tokens(&mut tx, &inner.store, id, now).await?;
            // As with an end: it comes first, and must not wait for a log whose disk is full.
            if inner.store.commit(tx).await? == Committed::Done {
                let mut event = grants::grant_event("grant.tightened", &narrower);
                event.scopes = Some(narrower.scopes.clone());
                event.reasons = changes;
                event.outcome = Some(Outcome::Done);
                let logged = inner.audit.record(event).await;
                let ending = inner.spawn_ending(id.clone());
                // It goes on without us when the provider is slow.
                let _ = tokio::time::timeout(inner.waits.revocation, ending).await;
                logged?;
                let still_alive = self.live_tokens(id).await?;
                return Ok(Tightened { grant: narrower, changed: true, still_alive });
            }
        }
        Err(GrantError::Store(StoreError::Contended { key: id.to_string() }))
    }
}

/// What was taken away, in words for the log.
fn changes(before: &Grant, after: &Grant, now: Timestamp) -> Vec<String> {
    let mut changes = Vec::new();
    let gone = before.scopes_at(now).difference(&after.scopes);
    if !gone.is_empty() {
        changes.push(format!("no longer granted: {gone}"));
    }
    if after.expires_at < before.expires_at {
        changes.push(format!("ends at {}", after.expires_at.rfc3339()));
    }
    for limit in after.limits.iter().filter(|limit| !before.limits.contains(limit)) {
        // A list of fifty folders would fill the log.
        let text = serde_json::to_string(limit).unwrap_or_default();
        changes.push(format!("limited: {}", crate::kernel::text::clean(&text, 300)));
    }
    changes
}
