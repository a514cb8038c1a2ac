//! Budgets: so many calls, items or bytes in a period, or a single call ever.
//!
//! INVARIANT: what is released was taken from every budget in force before, durably. So neither calls at the
//! same moment, nor other nodes, nor a restart exceed one; what is lost in a crash is what was taken and not
//! yet used, never more than one block of each answer that was under way.

mod account;
mod items;
mod meter;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;

use crate::gateway::Gateway;
use crate::gateway::budget::account::{Account, Refused};
use crate::gateway::denial::Denial;
use crate::gateway::enforce::OutboundCall;
use crate::gateway::stream::Chunks;
use crate::kernel::clock::{Clock, Timestamp};
use crate::model::limit::Limit;
use crate::model::token::GatewayClaims;
use crate::model::usage::{Count, Measure};
use crate::net::http::Method;
use crate::policy::Terms;
use crate::store::{Store, StoreError};

/// Status, headers and body of an answer as they go out.
pub(super) type Released = (u16, Vec<(String, Vec<u8>)>, Chunks);

/// What a call is charged to. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tab {
    store: Store,
    clock: Arc<dyn Clock>,
    accounts: Arc<[Arc<Account>]>,
}

/// Some of a budget that is not used yet. Dropping it gives the rest back.
struct Taken {
    tab: Tab,
    measure: Measure,
    /// From which period, for each account that has been asked.
    since: Vec<Timestamp>,
    left: u64,
}

impl Tab {
    /// The accounts of a call; none where no limit in force is counted.
    pub(super) fn of(gateway: &Gateway, terms: &Terms, token: Option<&GatewayClaims>) -> Option<Self> {
        let is_counted = |limit: &&Limit| limit.bound.is_counted();
        if !terms.limits().iter().any(|limit| limit.bound.is_counted()) {
            return None;
        }
        let grant = terms.grant();
        let own = terms.limits_beside_grant();
        let of_token = token.map(|claims| Account {
            grant: grant.id.clone(),
            token: Some(claims.token.clone()),
            ends_at: claims.expires_at,
            limits: own.iter().filter(is_counted).cloned().collect(),
        });
        let of_grant = Account {
            grant: grant.id.clone(),
            token: None,
            ends_at: grant.expires_at,
            limits: grant.limits.iter().filter(is_counted).cloned().collect(),
        };
        let both = of_token.into_iter().chain([of_grant]);
        Some(Self {
            store: gateway.store.clone(),
            clock: Arc::clone(&gateway.clock),
            accounts: both.filter(|account| !account.limits.is_empty()).map(Arc::new).collect(),
        })
    }

    /// Pays for an answer that is about to be released.
    ///
    /// # Errors
    /// When not enough is left: then nothing is released.
    pub(super) async fn pay(&self, call: &OutboundCall, released: Released) -> Result<Released, Denial> {
        // An answer to HEAD has no body, whatever length it announces (RFC 9110, section 9.3.2).
        if call.method == Method::HEAD {
            return Ok(released);
        }
        let released = self.pay_for_items(released, &call.gives).await?;
        self.pay_for_bytes(released).await
    }

    /// Counts a permitted call, durably, before it is dialled.
    pub(super) async fn charge_call(&self) -> Result<(), Denial> {
        let now = self.clock.now();
        for (at, account) in self.accounts.iter().enumerate() {
            let charged = account.change(&self.store, |usage| usage.after_call(&account.limits, now)).await;
            if let Err(refused) = charged {
                for paid in self.accounts.iter().take(at) {
                    paid.correct(&self.store, |usage| Some(usage.without_call(&paid.limits, now))).await;
                }
                return Err(self.denial(refused));
            }
        }
        Ok(())
    }

    /// What each account would say to one more call; nothing is counted.
    pub(super) async fn look(&self) -> Result<(), Denial> {
        let now = self.clock.now();
        for account in self.accounts.iter() {
            let usage = account.usage(&self.store).await?;
            let after = usage.after_call(&account.limits, now);
            after.map_err(|exhausted| self.denial(Refused::Exhausted(exhausted)))?;
        }
        Ok(())
    }

    /// How much is left; `None` where it has no budget.
    async fn room(&self, measure: Measure) -> Result<Option<u64>, StoreError> {
        let now = self.clock.now();
        let mut room: Option<u64> = None;
        for account in self.accounts.iter() {
            let Some(most) = account.most(measure) else { continue };
            let left = most.saturating_sub(account.usage(&self.store).await?.used(measure, now));
            room = Some(room.map_or(left, |room| room.min(left)));
        }
        Ok(room)
    }

    fn counts(&self, measure: Measure) -> bool {
        self.accounts.iter().any(|account| account.most(measure).is_some())
    }

    /// Takes up to `wanted`, and no less than `needed`. On a task of its own: when whoever waits goes away,
    /// what was taken is given back.
    async fn take(&self, measure: Measure, needed: u64, wanted: u64) -> Result<Taken, Refused> {
        let accounts = self.accounts.iter().filter(|account| account.most(measure).is_some());
        let tab = Self { accounts: accounts.cloned().collect(), ..self.clone() };
        let taking = tokio::spawn(tab.take_now(measure, needed, wanted));
        taking.await.unwrap_or(Err(Refused::Store(StoreError::Busy)))
    }

    async fn take_now(self, measure: Measure, needed: u64, wanted: u64) -> Result<Taken, Refused> {
        let now = self.clock.now();
        let mut taken = Taken { tab: self.clone(), measure, since: Vec::new(), left: wanted.max(needed) };
        for account in self.accounts.iter() {
            let count = account.take(&self.store, measure, needed, taken.left, now).await?;
            // The account that has least decides; those before it get the difference back.
            taken.give_back(taken.left.saturating_sub(count.used)).await;
            taken.since.push(count.since);
            taken.left = count.used;
        }
        Ok(taken)
    }

    fn denial(&self, refused: Refused) -> Denial {
        match refused {
            Refused::Store(error) => error.into(),
            Refused::Exhausted(exhausted) => words::denial(exhausted, self.clock.now()),
        }
    }
}

impl Taken {
    /// Uses some of it; how much there was of what was wanted.
    fn spend(&mut self, wanted: u64) -> u64 {
        let spent = wanted.min(self.left);
        self.left -= spent;
        spent
    }

    async fn give_back(&self, unused: u64) {
        for (account, since) in self.tab.accounts.iter().zip(&self.since).filter(|_| unused > 0) {
            let unused = Count { since: *since, used: unused };
            account.correct(&self.tab.store, |usage| usage.after_return(self.measure, unused)).await;
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let left = std::mem::take(&mut self.left);
        let (Ok(runtime), true) = (tokio::runtime::Handle::try_current(), left > 0) else { return };
        let since = std::mem::take(&mut self.since);
        let rest = Self { tab: self.tab.clone(), measure: self.measure, since, left: 0 };
        runtime.spawn(async move { rest.give_back(left).await });
    }
}
