//! Delegation JWTs that have left. Back ends check them by keys alone, so what is changed here does not end them:
//! reports list them until they end by themselves (invariant 7).
//!
//! What is listed lives a quarter of a token's life longer than the token that it was listed for. So most tokens find
//! themselves listed already, and only the first in such a quarter waits for a write.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::audiences::Audiences;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, UserId};
use crate::model::record::Record as _;
use crate::model::token::DelegatedTokens;
use crate::store::{Committed, StoreError, Tx};

/// The most that this node keeps in mind; forgetting costs one look-up.
const MOST: usize = 20_000;
/// How many are written at a time at most: other writes need the store, too.
const LINES: usize = 16;
/// How often a change that met another node's is tried again.
const TRIES: usize = 4;
/// How long a token waits until it is listed.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What this node knows to be listed.
#[derive(Default)]
pub(super) struct HandedOut {
    /// Until when, by key.
    listed: RwLock<HashMap<String, Timestamp>>,
    /// Whoever is not listed waits in the line of its key: of those who come at one moment one writes.
    lines: [Mutex<()>; LINES],
    hasher: RandomState,
}

impl HandedOut {
    fn covers(&self, key: &str, end: Timestamp) -> bool {
        let listed = self.listed.read().unwrap_or_else(PoisonError::into_inner);
        listed.get(key).is_some_and(|until| *until >= end)
    }

    fn remember(&self, key: String, until: Timestamp) {
        let mut listed = self.listed.write().unwrap_or_else(PoisonError::into_inner);
        if listed.len() >= MOST {
            listed.clear();
        }
        listed.insert(key, until);
    }

    fn line(&self, key: &str) -> &Mutex<()> {
        let [first, ..] = &self.lines;
        let at = self.hasher.hash_one(key) % LINES as u64;
        self.lines.get(usize::try_from(at).unwrap_or(0)).unwrap_or(first)
    }
}

impl Audiences {
    /// Lists a token that is about to leave, which lives so long and ends at its `end_by`. Durable when it returns,
    /// and only then the token may leave.
    ///
    /// # Errors
    /// When it could not be written in time.
    pub async fn note_handed_out(&self, token: &DelegatedTokens, life: Duration) -> Result<(), StoreError> {
        let key = token.key();
        if self.handed_out.covers(&key, token.end_by) {
            return Ok(());
        }
        let listed = async {
            let _turn = self.handed_out.line(&key).lock().await;
            if !self.handed_out.covers(&key, token.end_by) {
                let until = self.list(&key, token, token.end_by.plus(life / 4)).await?;
                self.handed_out.remember(key.clone(), until);
            }
            Ok(())
        };
        timeout(PATIENCE, listed).await.unwrap_or(Err(StoreError::TooSlow))
    }

    /// Says until when the token is listed: what another node, or a former process, has written may be enough.
    async fn list(
        &self,
        key: &str,
        token: &DelegatedTokens,
        end_by: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        let listed = DelegatedTokens { end_by, ..token.clone() };
        for _ in 0..TRIES {
            let mut tx = Tx::new();
            match self.store.get::<DelegatedTokens>(key).await? {
                Some(known) if known.end_by >= token.end_by => return Ok(known.end_by),
                Some(known) => tx.update(&known, &listed),
                None => tx.insert(&listed),
            };
            if self.store.commit(tx).await? == Committed::Done {
                return Ok(end_by);
            }
        }
        Err(StoreError::Contended { key: key.to_owned() })
    }

    /// The tokens that may be alive at back ends for a user, by end.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn handed_out_for(&self, user: &UserId) -> Result<Vec<DelegatedTokens>, StoreError> {
        self.still_alive("user", user.as_str()).await
    }

    /// The tokens of an agent that may be alive at back ends, by end.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn handed_out_to(&self, agent: &AgentId) -> Result<Vec<DelegatedTokens>, StoreError> {
        self.still_alive("agent", agent.as_str()).await
    }

    async fn still_alive(
        &self,
        index: &'static str,
        value: &str,
    ) -> Result<Vec<DelegatedTokens>, StoreError> {
        let now = self.clock.now();
        let listed = self.store.find::<DelegatedTokens>(index, value).await?;
        let mut alive: Vec<DelegatedTokens> = listed
            .iter()
            .map(|tokens| tokens.record().clone())
            .filter(|tokens| now < tokens.end_by)
            .collect();
        alive.sort_by_key(|tokens| tokens.end_by);
        Ok(alive)
    }
}
