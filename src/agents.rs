//! Agents: the registry of non-human identities, their client secrets, and who they prove to be.

mod assertion;
mod authenticate;
mod certificate;
mod check;
mod credentials;
mod differences;
mod last_use;
mod presets;
mod register;
mod search;
#[cfg(test)]
mod tests;
mod trust;
mod watch;
mod ways;

use std::sync::Arc;

use url::Url;

use crate::audit::{AuditError, AuditLog};
use crate::kernel::clock::Clock;
use crate::kernel::entropy::Entropy;
use crate::kernel::ids::{AgentId, TrustSourceId, UserId};
use crate::kernel::throttle::Throttle;
use crate::model::agent::{Agent, AgentIsRetired};
use crate::store::{Store, StoreError, Stored, UpdateError};
use crate::upstream::Upstream;
use crate::vault::Vault;

pub use authenticate::{Attempt, AuthError, Authenticated, Presented, Proof};
pub use certificate::{ShownCertificate, authority_names};
pub use credentials::{SECRET_OVERLAP, secret_name};
pub use last_use::WAYS;
pub use presets::{Pin, Place, Preset, presets};
pub use register::{AgentChange, NewAgent};
pub use search::{Flagged, Found, Search};
pub use trust::{NewTokenIssuer, NewTrust};
pub use watch::{Flag, Owners};

/// The registry of agents.
#[derive(Clone)]
pub struct Agents {
    store: Store,
    vault: Arc<Vault>,
    audit: AuditLog,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    upstream: Upstream,
    /// Our own identifier, as metadata and assertions have it: without a slash at the end.
    issuer: String,
    throttle: Arc<Throttle>,
    suspends_ownerless: bool,
    last_use: Arc<last_use::LastUse>,
}

/// Why an agent could not be registered, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No agent has that id.
    #[error("there is no agent `{0}`")]
    NotFound(AgentId),
    /// No trust source has that id.
    #[error("there is no trust source `{0}`")]
    NoTrustSource(TrustSourceId),
    /// The person who is to answer for it is not known, or may not act.
    #[error("owner: `{0}` is no active user, and no team with one")]
    UnknownOwner(String),
    /// A stated value cannot be taken.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which value.
        field: &'static str,
        /// What is wrong with it, and what to write instead.
        problem: String,
    },
    /// Somebody else has changed it.
    #[error("the agent was changed since it was read")]
    Changed,
    /// The agent is retired.
    #[error(transparent)]
    Retired(#[from] AgentIsRetired),
    /// The store could not be used.
    #[error("the store could not be used")]
    Store(#[from] StoreError),
    /// The audit log could not be written, so nothing was changed.
    #[error("the audit log could not be written")]
    Audit(#[from] AuditError),
}

impl From<UpdateError<AgentError>> for AgentError {
    fn from(error: UpdateError<AgentError>) -> Self {
        match error {
            UpdateError::Refused(refused) => refused,
            UpdateError::Store(store) => Self::Store(store),
        }
    }
}

impl Agents {
    /// The registry over a store.
    pub fn new(
        store: Store,
        vault: Arc<Vault>,
        audit: AuditLog,
        upstream: Upstream,
        issuer: &Url,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let issuer = issuer.as_str().trim_end_matches('/').to_owned();
        let (throttle, last_use) = (Arc::default(), Arc::default());
        let suspends_ownerless = false;
        Self { store, vault, audit, clock, entropy, upstream, issuer, throttle, suspends_ownerless, last_use }
    }

    /// Whether agents that nobody answers for are suspended, and not only flagged.
    #[must_use]
    pub fn suspending_ownerless(self, suspends_ownerless: bool) -> Self {
        Self { suspends_ownerless, ..self }
    }

    /// One agent.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn get(&self, id: &AgentId) -> Result<Option<Stored<Agent>>, StoreError> {
        self.store.get::<Agent>(id.as_str()).await
    }

    /// Agents in the order of their ids, a page at a time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(
        &self,
        after: Option<&AgentId>,
        limit: usize,
    ) -> Result<Vec<Stored<Agent>>, StoreError> {
        self.store.page::<Agent>(after.map(AgentId::as_str), limit).await
    }

    /// The agents that one person answers for.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of_owner(&self, owner: &UserId) -> Result<Vec<Stored<Agent>>, StoreError> {
        self.store.find::<Agent>("owner", owner.as_str()).await
    }
}
