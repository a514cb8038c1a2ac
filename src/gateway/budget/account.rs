//! The counters of a grant, or of a token with limits of its own.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::GrantId;
use crate::model::limit::Limit;
use crate::model::usage::{Count, Exhausted, Measure, Usage};
use crate::store::{Committed, Store, StoreError, Tx, UpdateError, Updated};

/// Whose counters they are, and the limits that they are held against.
pub(super) struct Account {
    pub(super) grant: GrantId,
    pub(super) token: Option<String>,
    pub(super) ends_at: Timestamp,
    pub(super) limits: Vec<Limit>,
}

/// Why an account gives nothing.
#[derive(Debug)]
pub(super) enum Refused {
    /// There is not enough left.
    Exhausted(Exhausted),
    /// The store failed: what is not known to be left is not given.
    Store(StoreError),
}

impl From<UpdateError<Exhausted>> for Refused {
    fn from(error: UpdateError<Exhausted>) -> Self {
        match error {
            UpdateError::Refused(exhausted) => Self::Exhausted(exhausted),
            UpdateError::Store(error) => Self::Store(error),
        }
    }
}

impl Account {
    /// What was used so far.
    pub(super) async fn usage(&self, store: &Store) -> Result<Usage, StoreError> {
        let stored = store.get::<Usage>(&self.key()).await?;
        Ok(stored.map_or_else(|| self.unused(), |stored| stored.record().clone()))
    }

    /// What it allows of something in a period.
    pub(super) fn most(&self, measure: Measure) -> Option<u64> {
        let budgets = self.limits.iter().filter_map(|limit| limit.bound.budget());
        budgets.filter(|(of, _)| *of == measure).map(|(_, most)| most).min()
    }

    pub(super) async fn take(
        &self,
        store: &Store,
        measure: Measure,
        needed: u64,
        wanted: u64,
        now: Timestamp,
    ) -> Result<Count, Refused> {
        // The change may be worked out several times; what counts is what the last one took.
        let last = Mutex::new(Count { since: now, used: 0 });
        self.change(store, |usage| {
            let (after, count) = usage.after_taking(measure, needed, wanted, &self.limits, now)?;
            *last.lock().unwrap_or_else(PoisonError::into_inner) = count;
            Ok(after)
        })
        .await?;
        Ok(last.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the counters, durably.
    pub(super) async fn change(
        &self,
        store: &Store,
        change: impl Fn(&Usage) -> Result<Usage, Exhausted>,
    ) -> Result<(), Refused> {
        loop {
            let updated = store.update(&self.key(), |usage| change(usage).map(Some)).await?;
            if !matches!(updated, Updated::Missing) {
                return Ok(());
            }
            let mut tx = Tx::new();
            tx.insert(&change(&self.unused()).map_err(Refused::Exhausted)?);
            // A conflict: another call has just opened the account.
            if store.commit(tx).await.map_err(Refused::Store)? == Committed::Done {
                return Ok(());
            }
        }
    }

    /// Takes something back. When that fails the budget has less than it could have, never more.
    pub(super) async fn correct(&self, store: &Store, change: impl Fn(&Usage) -> Option<Usage>) {
        let corrected = store.update(&self.key(), |usage| Ok::<_, Infallible>(change(usage))).await;
        if let Err(error) = corrected {
            tracing::warn!(%error, grant.id = %self.grant, "what was left of a budget is not given back");
        }
    }

    fn key(&self) -> String {
        Usage::key_of(&self.grant, self.token.as_deref())
    }

    fn unused(&self) -> Usage {
        Usage::new(self.grant.clone(), self.token.clone(), self.ends_at)
    }
}
