//! When credentials were last used: coarse, so that signing in does not mean writing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::agents::Agents;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::AgentId;
use crate::model::credential::CredentialUse;
use crate::store::{StoreError, Tx};

/// How often a use is written down.
const EVERY: Duration = Duration::from_secs(3600);
/// The most that is remembered, and that waits to be written; forgetting costs one look-up.
const MOST: usize = 20_000;
/// Uses that are written as one.
const TOGETHER: usize = 200;

/// What this node knows to be written down, and what it has yet to write.
#[derive(Default)]
pub(super) struct LastUse {
    known: RwLock<HashMap<String, Timestamp>>,
    waiting: Mutex<HashMap<String, CredentialUse>>,
}

impl LastUse {
    fn is_recent(&self, key: &str, now: Timestamp) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(key).is_some_and(|at| now.since(*at) < EVERY)
    }

    fn remember(&self, key: String, at: Timestamp) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, at);
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, CredentialUse>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agents {
    /// Notes that a credential is in use. It is written down soon, with others: who signs in for the first time in an
    /// hour does not wait for a disk. Nothing depends on it: a crash may lose what was noted in the last seconds.
    pub(super) fn note_use(&self, agent: &AgentId, credential: &str) {
        let key = CredentialUse::key_of(agent, credential);
        let now = self.clock.now();
        if self.last_use.is_recent(&key, now) {
            return;
        }
        self.last_use.remember(key.clone(), now);
        let mut waiting = self.last_use.waiting();
        if waiting.len() < MOST {
            let used = CredentialUse { agent: agent.clone(), credential: credential.to_owned(), at: now };
            waiting.entry(key).or_insert(used);
        }
    }

    /// Writes down what was noted, at most once an hour for all nodes together.
    ///
    /// # Errors
    /// When the store cannot be used; then it is left at that until the next hour.
    pub async fn write_uses(&self) -> Result<(), StoreError> {
        let noted: Vec<_> = std::mem::take(&mut *self.last_use.waiting()).into_iter().collect();
        for some in noted.chunks(TOGETHER) {
            let mut tx = Tx::new();
            for (key, used) in some {
                match self.store.get::<CredentialUse>(key).await? {
                    Some(known) if used.at.since(known.at) < EVERY => {
                        self.last_use.remember(key.clone(), known.at);
                    }
                    _ => {
                        tx.put(used);
                    }
                }
            }
            if !tx.is_empty() {
                // Unconditional: there is nothing that it could conflict with.
                let _ = self.store.commit(tx).await?;
            }
        }
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
        let written = self.store.get::<CredentialUse>(&key).await?.map(|known| known.at);
        let noted = self.last_use.waiting().get(&key).map(|used| used.at);
        Ok(match (written, noted) {
            (Some(written), Some(noted)) if noted.since(written) < EVERY => Some(written),
            (written, noted) => noted.or(written),
        })
    }

    /// Forgets about a credential that is gone.
    pub(super) async fn forget_use(&self, agent: &AgentId, credential: &str) -> Result<(), StoreError> {
        let key = CredentialUse::key_of(agent, credential);
        self.last_use.waiting().remove(&key);
        if let Some(known) = self.store.get::<CredentialUse>(&key).await? {
            let mut tx = Tx::new();
            tx.delete(&known);
            // A conflict means that it was used at this very moment.
            let _ = self.store.commit(tx).await?;
        }
        Ok(())
    }
}
