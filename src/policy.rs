//! The one decision pipeline: token exchange, every gateway call and every interaction go through it.
//!
//! Facts are loaded, then judged in a fixed order by a pure function: agent state and reach, stop,
//! user, grant (scopes, expiry), connection. The result is a value that the next step requires.

mod decide;
mod delegate;
mod departure;
mod explain;
mod facts;
mod permit;
mod reach;
mod report;
mod request;
mod stops;

pub use decide::{Decision, NeedsPerson, Refusal, RefusalCode};
pub use delegate::{Delegation, DelegationPermit};
pub use departure::{Departed, DepartureError, Departures};
pub use explain::Explain;
pub use permit::{CallContext, Permit, Recorded, Recording, Terms};
pub use reach::reach;
pub use report::{AgentReport, GrantLine, LeftLine, PersonReport, ReachLine, Reports};
pub use request::{Action, Request};
pub use stops::{KillSwitch, StopError, Stopped};

use std::sync::Arc;

use tracing::Instrument as _;

use crate::kernel::clock::Clock;
use crate::kernel::ids::UserId;
use crate::kernel::scope::ScopeSet;
use crate::kernel::trace;
use crate::model::agent::Agent;
use crate::providers::Configured;
use crate::store::{Store, StoreError};

/// Makes decisions.
#[derive(Clone)]
pub struct Decider {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Decider {
    /// A decider over that store.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Decides one request on what the store holds now.
    ///
    /// # Errors
    /// When the store cannot be read; the caller then refuses (deny by default).
    pub async fn decide(&self, request: &Request<'_>) -> Result<Decision, StoreError> {
        let span = tracing::trace_span!(target: trace::TARGET, "decision", outcome = tracing::field::Empty);
        let decision = self.judge(request.subject(), &request.action).instrument(span.clone()).await?;
        let outcome = match &decision {
            Decision::Permit(_) => "permit",
            Decision::Refusal(_) => "refusal",
            Decision::NeedsPerson(_) => "needs_person",
        };
        span.record("outcome", outcome);
        Ok(decision.proven())
    }

    /// What would be decided if that agent asked: for explaining. Nobody has proven to be the agent, so no
    /// permit comes of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn rehearse(
        &self,
        agent: &Agent,
        user: &UserId,
        provider: &Configured,
        action: &Action<'_>,
    ) -> Result<Decision<Terms>, StoreError> {
        self.judge(request::Subject { agent, user, provider }, action).await
    }

    async fn judge(
        &self,
        subject: request::Subject<'_>,
        action: &Action<'_>,
    ) -> Result<Decision<Terms>, StoreError> {
        let facts = facts::load(&self.store, subject, action).await?;
        Ok(decide::judge(subject, action, &facts, self.clock.now()))
    }

    /// Whether an agent may be granted these scopes by that user now: the same stages that a token
    /// passes, before the grant exists.
    ///
    /// # Errors
    /// The refusal, or that the store cannot be read.
    pub async fn may_be_granted(
        &self,
        agent: &Agent,
        user: &UserId,
        provider: &Configured,
        scopes: &ScopeSet,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let facts = facts::load_standing(&self.store, user).await?;
        let subject = request::Subject { agent, user, provider };
        Ok(decide::standing(subject, &facts, self.clock.now())
            .and_then(|()| decide::within_ceiling(subject, scopes)))
    }
}
