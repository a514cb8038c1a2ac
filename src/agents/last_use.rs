//! When credentials were last used: coarse, so that signing in does not mean writing.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::agents::Agents;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::AgentId;
use crate::model::credential::CredentialUse;
use crate::store::{StoreError, Tx};

/// How often a use is written down.
const EVERY: Duration = Duration::from_secs(3600);
/// The most that is remembered; forgetting costs one look-up.
const MOST: usize = 20_000;

/// What this node knows to be written down.
#[derive(Default)]
pub(super) struct LastUse(RwLock<HashMap<String, Timestamp>>);

impl LastUse {
    fn is_recent(&self, key: &str, now: Timestamp) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(key).is_some_and(|at| now.since(*at) < EVERY)
    }

    fn remember(&self, key: String, at: Timestamp) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, at);
    }
}

impl Agents {
    /// Writes down that a credential is in use, at most once an hour for all nodes together. Nothing depends
    /// on it: a failure is left at that until the next hour.
    pub(super) async fn note_use(&self, agent: &AgentId, credential: &str) {
        let key = CredentialUse::key_of(agent, credential);
        let now = self.clock.now();
        if self.last_use.is_recent(&key, now) {
            return;
        }
        // First, so that others who come at this moment do not do the same.
        self.last_use.remember(key.clone(), now);
        if let Err(error) = self.write_use(agent, credential, &key, now).await {
            tracing::debug!(error = %error, agent.id = %agent, "the use of a credential was not written down");
        }
    }

    async fn write_use(
        &self,
        agent: &AgentId,
        credential: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let known = self.store.get::<CredentialUse>(key).await?;
        if let Some(known) = known.filter(|known| now.since(known.at) < EVERY) {
            self.last_use.remember(key.to_owned(), known.at);
            return Ok(());
        }
        let mut tx = Tx::new();
        tx.put(&CredentialUse { agent: agent.clone(), credential: credential.to_owned(), at: now });
        // Unconditional: there is nothing that it could conflict with.
        let _ = self.store.commit(tx).await?;
        Ok(())
    }

    /// When a credential was last used, to the hour: `None` when it never was.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn last_used(
        &self,
        agent: &AgentId,
        credential: &str,
    ) -> Result<Option<Timestamp>, StoreError> {
        let key = CredentialUse::key_of(agent, credential);
        Ok(self.store.get::<CredentialUse>(&key).await?.map(|known| known.at))
    }

    /// Forgets about a credential that is gone.
    pub(super) async fn forget_use(&self, agent: &AgentId, credential: &str) -> Result<(), StoreError> {
        let key = CredentialUse::key_of(agent, credential);
        if let Some(known) = self.store.get::<CredentialUse>(&key).await? {
            let mut tx = Tx::new();
            tx.delete(&known);
            // A conflict means that it was used at this very moment.
            let _ = self.store.commit(tx).await?;
        }
        Ok(())
    }
}
