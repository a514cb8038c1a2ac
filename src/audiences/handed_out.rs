//! Delegation JWTs that have left. Back ends check them by keys alone, so what is changed here does not end them:
//! reports list them until they end by themselves (invariant 7).
//!
//! No token waits for this to be written: the decision's event is durable by then and says that one left. So
//! this is written beside the answer, a few times within a token's life.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use crate::audiences::Audiences;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, UserId};
use crate::model::record::Record as _;
use crate::model::token::DelegatedTokens;
use crate::store::{Committed, StoreError, Tx};

/// The most that this node keeps in mind; forgetting costs one look-up.
const MOST: usize = 20_000;
/// How often a change that met another node's is tried again.
const TRIES: usize = 4;

/// What this node has handed out lately.
#[derive(Default)]
pub(super) struct HandedOut(RwLock<HashMap<String, DelegatedTokens>>);

impl HandedOut {
    fn covers(&self, key: &str, end: Timestamp) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(key).is_some_and(|tokens| tokens.end_by >= end)
    }

    fn remember(&self, tokens: DelegatedTokens) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(tokens.key(), tokens);
    }

    fn forget(&self, key: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn of(&self, is_meant: impl Fn(&DelegatedTokens) -> bool) -> Vec<DelegatedTokens> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.values().filter(|tokens| is_meant(tokens)).cloned().collect()
    }
}

impl Audiences {
    /// Notes that a token leaves which lives so long. Its end is kept with a quarter of its life on top, so that
    /// not every token means writing.
    pub fn note_handed_out(&self, mut tokens: DelegatedTokens, life: Duration) {
        let (key, end) = (tokens.key(), self.clock.now().plus(life));
        if self.handed_out.covers(&key, end) {
            return;
        }
        tokens.end_by = end.plus(life / 4);
        // First, so that others who come at this moment do not do the same, and a report finds it at once.
        self.handed_out.remember(tokens.clone());
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(error) = this.write_handed_out(&tokens).await {
                this.handed_out.forget(&key);
                tracing::warn!(error = %error, agent.id = %tokens.agent, "a token that left is in the log only");
            }
        });
    }

    async fn write_handed_out(&self, tokens: &DelegatedTokens) -> Result<(), StoreError> {
        let key = tokens.key();
        for _ in 0..TRIES {
            let mut tx = Tx::new();
            match self.store.get::<DelegatedTokens>(&key).await? {
                Some(known) if known.end_by >= tokens.end_by => return Ok(()),
                Some(known) => tx.update(&known, tokens),
                None => tx.insert(tokens),
            };
            if self.store.commit(tx).await? == Committed::Done {
                return Ok(());
            }
        }
        Err(StoreError::Contended { key })
    }

    /// The tokens that may be alive at back ends for a user, by end.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn handed_out_for(&self, user: &UserId) -> Result<Vec<DelegatedTokens>, StoreError> {
        let mine = self.handed_out.of(|tokens| tokens.user.as_ref() == Some(user));
        self.still_alive("user", user.as_str(), mine).await
    }

    /// The tokens of an agent that may be alive at back ends, by end.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn handed_out_to(&self, agent: &AgentId) -> Result<Vec<DelegatedTokens>, StoreError> {
        let mine = self.handed_out.of(|tokens| tokens.agent == *agent);
        self.still_alive("agent", agent.as_str(), mine).await
    }

    async fn still_alive(
        &self,
        index: &'static str,
        value: &str,
        mine: Vec<DelegatedTokens>,
    ) -> Result<Vec<DelegatedTokens>, StoreError> {
        let stored = self.store.find::<DelegatedTokens>(index, value).await?;
        let mut latest: BTreeMap<String, DelegatedTokens> = BTreeMap::new();
        for tokens in stored.iter().map(|stored| stored.record().clone()).chain(mine) {
            let known = latest.entry(tokens.key()).or_insert_with(|| tokens.clone());
            known.end_by = known.end_by.max(tokens.end_by);
        }
        let now = self.clock.now();
        let mut alive: Vec<DelegatedTokens> =
            latest.into_values().filter(|tokens| now < tokens.end_by).collect();
        alive.sort_by_key(|tokens| tokens.end_by);
        Ok(alive)
    }
}
