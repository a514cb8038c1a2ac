//! When credentials were last used: coarse, so that signing in does not mean writing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::agents::Agents;
use crate::agents::credentials::secret_name;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::AgentId;
use crate::model::agent::Agent;
use crate::model::credential::CredentialUse;
use crate::store::{Committed, StoreError, Tx};

/// As the uses of the ways to sign in without a secret are named.
pub const WAYS: [&str; 3] = ["private_key_jwt", "workload", "certificate"];

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

    fn wait_again(&self, some: &[(String, CredentialUse)]) {
        let mut waiting = self.waiting();
        for (key, used) in some {
            if waiting.len() < MOST {
                waiting.entry(key.clone()).or_insert_with(|| used.clone());
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, CredentialUse>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an agent still signs in with it: secrets come and go, ways to do without one have a name each.
fn has(agent: &Agent, credential: &str) -> bool {
    WAYS.contains(&credential) || agent.secrets.iter().any(|secret| secret_name(secret) == credential)
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

    /// Writes down what was noted, at most once an hour for all nodes together. What cannot be written waits for
    /// the next time.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn write_uses(&self) -> Result<(), StoreError> {
        let noted: Vec<_> = std::mem::take(&mut *self.last_use.waiting()).into_iter().collect();
        for (at, some) in noted.chunks(TOGETHER).enumerate() {
            match self.write_some(some).await {
                Ok(Committed::Done) => {}
                Ok(Committed::Conflict) => self.last_use.wait_again(some),
                Err(error) => {
                    noted.chunks(TOGETHER).skip(at).for_each(|rest| self.last_use.wait_again(rest));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn write_some(&self, some: &[(String, CredentialUse)]) -> Result<Committed, StoreError> {
        let (mut tx, mut agents) = (Tx::new(), HashMap::new());
        let mut is_due = false;
        for (key, used) in some {
            if !agents.contains_key(&used.agent) {
                agents.insert(used.agent.clone(), self.get(&used.agent).await?);
            }
            // What was forgotten meanwhile stays forgotten: nothing would remove it again.
            let Some(Some(agent)) = agents.get(&used.agent) else { continue };
            if !has(agent, &used.credential) {
                continue;
            }
            match self.store.get::<CredentialUse>(key).await? {
                Some(known) if used.at.since(known.at) < EVERY => {
                    self.last_use.remember(key.clone(), known.at);
                }
                _ => {
                    is_due = true;
                    tx.require_unchanged(agent).put(used);
                }
            }
        }
        if is_due { self.store.commit(tx).await } else { Ok(Committed::Done) }
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
