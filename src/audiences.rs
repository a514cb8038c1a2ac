//! Audiences: the registry of internal back ends, their credentials, and what employees have switched off.

mod authenticate;
mod handed_out;
mod register;

use std::sync::Arc;

use crate::audiences::handed_out::HandedOut;
use crate::audit::{AuditError, AuditLog};
use crate::kernel::clock::Clock;
use crate::kernel::entropy::Entropy;
use crate::kernel::ids::{AudienceId, UserId};
use crate::kernel::throttle::Throttle;
use crate::model::audience::{Audience, OptOut};
use crate::model::event::{EventDraft, EventKind};
use crate::store::{Committed, Store, StoreError, Stored, Tx};
use crate::vault::Vault;

pub use authenticate::{AudienceAuthError, AuthenticatedAudience};
pub use register::AudienceTerms;

/// The longest that a delegation JWT may live (invariant 7).
pub const LONGEST_TOKEN_S: u64 = 3600;
/// How long one lives where nothing is stated.
pub const USUAL_TOKEN_S: u64 = 300;

/// The registry of audiences.
#[derive(Clone)]
pub struct Audiences {
    store: Store,
    vault: Arc<Vault>,
    audit: AuditLog,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    throttle: Arc<Throttle>,
    handed_out: Arc<HandedOut>,
}

/// Why an audience could not be registered, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum AudienceError {
    /// None has that id.
    #[error("there is no audience `{0}`")]
    NotFound(AudienceId),
    /// Another one has the identifier.
    #[error("another audience has the identifier `{0}`")]
    Taken(String),
    /// Somebody else has changed it.
    #[error("the audience was changed since it was read")]
    Changed,
    /// A stated value cannot be taken.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which value.
        field: &'static str,
        /// What is wrong with it, and what to write instead.
        problem: String,
    },
    /// The store could not be used.
    #[error("the store could not be used")]
    Store(#[from] StoreError),
    /// The audit log could not be written, so nothing was changed.
    #[error("the audit log could not be written")]
    Audit(#[from] AuditError),
}

impl Audiences {
    /// The registry over a store.
    pub fn new(
        store: Store,
        vault: Arc<Vault>,
        audit: AuditLog,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { store, vault, audit, clock, entropy, throttle: Arc::default(), handed_out: Arc::default() }
    }

    /// One audience.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn get(&self, id: &AudienceId) -> Result<Option<Stored<Audience>>, StoreError> {
        self.store.get::<Audience>(id.as_str()).await
    }

    /// The audience that agents call by that identifier.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn named(&self, identifier: &str) -> Result<Option<Stored<Audience>>, StoreError> {
        self.store.find_unique::<Audience>("identifier", identifier).await
    }

    /// All audiences: an organisation has dozens, not thousands.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn all(&self) -> Result<Vec<Stored<Audience>>, StoreError> {
        const PAGE: usize = 200;
        let mut all: Vec<Stored<Audience>> = Vec::new();
        loop {
            let after = all.last().map(|last| last.id.to_string());
            let page = self.store.page::<Audience>(after.as_deref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Whether the user has switched it off.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn is_off_for(&self, user: &UserId, audience: &AudienceId) -> Result<bool, StoreError> {
        Ok(self.store.get::<OptOut>(&OptOut::key_of(user, audience)).await?.is_some())
    }

    /// Switches an audience off or on for a user: in force on the next request. Twice is as good as once.
    ///
    /// # Errors
    /// When there is no such audience, or nothing can be written.
    pub async fn switch(&self, user: &UserId, audience: &AudienceId, on: bool) -> Result<(), AudienceError> {
        let (this, user, audience) = (self.clone(), user.clone(), audience.clone());
        // On a task of its own: whoever asks may go away, and what is switched off must be in the log.
        let switching = tokio::spawn(async move { this.switch_now(&user, &audience, on).await });
        switching.await.unwrap_or(Err(AudienceError::Store(StoreError::TooSlow)))
    }

    async fn switch_now(&self, user: &UserId, audience: &AudienceId, on: bool) -> Result<(), AudienceError> {
        self.get(audience).await?.ok_or_else(|| AudienceError::NotFound(audience.clone()))?;
        let stored = self.store.get::<OptOut>(&OptOut::key_of(user, audience)).await?;
        if stored.is_none() == on {
            return Ok(());
        }
        let action = if on { "audience.switched_on" } else { "audience.switched_off" };
        let mut event = EventDraft::new(EventKind::Grant, action);
        event.user = Some(user.clone());
        event.audience = Some(audience.clone());
        let mut tx = Tx::new();
        match &stored {
            Some(off) => tx.delete(off),
            None => {
                tx.insert(&OptOut { user: user.clone(), audience: audience.clone(), at: self.clock.now() })
            }
        };
        // Switching off comes before the log, which may be on a full disk; switching on waits for it.
        if on {
            self.audit.record(event.clone()).await?;
        }
        let committed = self.store.commit(tx).await?;
        if !on {
            self.audit.record(event).await?;
        }
        match committed {
            Committed::Done => Ok(()),
            // Somebody else, who is the same person, was quicker with the same wish.
            Committed::Conflict => Ok(()),
        }
    }

    fn admin_event(&self, action: &str, audience: &AudienceId, by: &str) -> EventDraft {
        let mut event = EventDraft::new(EventKind::Admin, action);
        event.audience = Some(audience.clone());
        event.admin = Some(crate::kernel::text::clean(by, 200));
        event
    }
}
