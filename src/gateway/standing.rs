//! A decision grows old. It is made again before anything is sent or released on it, and while a stream lasts.
//!
//! How long a call takes is the agent's choice as much as the provider's: a body may come slowly, a token may
//! have to be renewed first, an answer may be late. Whoever suspends the agent meanwhile, revokes the grant or
//! narrows it, must not find the call carried out afterwards (invariant 7).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::gateway::Gateway;
use crate::gateway::denial::Denial;
use crate::gateway::enforce::permitted;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::AgentId;
use crate::kernel::said::Said;
use crate::model::limit::Limit;
use crate::policy::{Action, Permit, Request, Terms};
use crate::providers::routes::CompiledRoute;
use crate::tokens::VerifiedToken;

/// For how long a decision is as good as new. Most calls are sent and answered within it.
const FRESH: Duration = Duration::from_secs(1);
/// How often the decision behind a stream is made again.
pub(super) const RECHECK: Duration = Duration::from_secs(30);
/// When to come again after the limits were changed.
const SOON: Duration = Duration::from_secs(1);

/// When something was, by the clock and by the time that has passed: a clock that was set back must not make
/// an old decision young.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    at: Timestamp,
    by: Instant,
}

impl Moment {
    pub(super) fn now(gateway: &Gateway) -> Self {
        Self { at: gateway.clock.now(), by: Instant::now() }
    }

    fn age(self, gateway: &Gateway) -> Duration {
        gateway.clock.now().since(self.at).max(self.by.elapsed())
    }
}

/// A permit, and what it takes to have its decision made again.
pub(super) struct Leave {
    pub(super) permit: Permit,
    pub(super) standing: Standing,
}

impl AsRef<Terms> for Leave {
    fn as_ref(&self) -> &Terms {
        &self.permit
    }
}

impl Leave {
    /// The same leave where it is fresh, else one that is decided anew.
    ///
    /// # Errors
    /// What has become of the permission.
    pub(super) async fn renewed(mut self) -> Result<Self, Denial> {
        if let Some(permit) = self.standing.renew().await? {
            self.permit = permit;
        }
        Ok(self)
    }
}

/// A call's decision: when it was made, and what it takes to make it again.
#[derive(Clone)]
pub(super) struct Standing {
    gateway: Gateway,
    verified: Arc<VerifiedToken>,
    api: String,
    route: String,
    /// What the call is held inside.
    limits: Vec<Limit>,
    decided: Moment,
}

impl Standing {
    /// What was decided on what was read at that moment, or later.
    pub(super) fn new(
        gateway: &Gateway,
        verified: &Arc<VerifiedToken>,
        route: &CompiledRoute,
        (terms, decided): (&Terms, Moment),
    ) -> Self {
        Self {
            gateway: gateway.clone(),
            verified: Arc::clone(verified),
            api: route.api.clone(),
            route: route.pattern.clone(),
            limits: terms.limits().to_vec(),
            decided,
        }
    }

    /// Whose call it is.
    pub(super) fn agent(&self) -> &AgentId {
        &self.verified.agent.id
    }

    /// The present moment.
    pub(super) fn now(&self) -> Moment {
        Moment::now(&self.gateway)
    }

    /// How long ago that was.
    pub(super) fn since(&self, moment: Moment) -> Duration {
        moment.age(&self.gateway)
    }

    /// Makes the decision again unless it is fresh.
    ///
    /// # Errors
    /// What has become of the permission.
    pub(super) async fn renew(&mut self) -> Result<Option<Permit>, Denial> {
        let now = Moment::now(&self.gateway);
        let permit = self.confirmed().await?;
        if permit.is_some() {
            self.decided = now;
        }
        Ok(permit)
    }

    /// The same, without taking note of it.
    ///
    /// # Errors
    /// What has become of the permission.
    pub(super) async fn confirmed(&self) -> Result<Option<Permit>, Denial> {
        if self.decided.age(&self.gateway) < FRESH {
            return Ok(None);
        }
        self.decide().await.map(Some)
    }

    /// Whether a stream has lasted so long that the decision behind it has to be made again.
    pub(super) fn is_due(&self) -> bool {
        self.decided.age(&self.gateway) >= RECHECK
    }

    /// Makes the decision behind a stream again.
    ///
    /// # Errors
    /// What has become of the permission; what cannot be known does not hold.
    pub(super) async fn check(&mut self) -> Result<(), Denial> {
        self.decided = Moment::now(&self.gateway);
        self.decide().await.map(drop)
    }

    /// The decision as things stand now. The call was held inside the limits of the first one: with others
    /// beside those it would have to be judged again.
    async fn decide(&self) -> Result<Permit, Denial> {
        let claims = &self.verified.claims;
        let agent = self.gateway.tokens.still_holds(&self.verified).await?;
        let provider = self.gateway.connections.configured(&claims.provider).await?;
        let mut routes = provider.loaded.routes.iter();
        let route = routes.find(|route| route.api == self.api && route.pattern == self.route);
        let route = route.ok_or_else(Self::narrowed)?;
        let action = Action::Call {
            grant: &claims.grant,
            token_scopes: &claims.scopes,
            token_limits: &claims.limits,
            route,
        };
        let request = Request { agent: &agent, user: &claims.user, provider: &provider, action };
        let permit = permitted(self.gateway.decider.decide(&request).await?)?;
        let is_within = permit.limits().iter().all(|limit| self.limits.contains(limit));
        if is_within { Ok(permit) } else { Err(Self::narrowed()) }
    }

    fn narrowed() -> Denial {
        Denial::unavailable("what the agent may do was changed while the call was under way: try again", SOON)
    }
}

/// The denial of an answer whose permission ended while the provider took its time. What changes something
/// has happened by then, and nobody must be told to try it again.
pub(super) fn withheld(denial: Denial, is_safe: bool) -> Denial {
    if is_safe {
        return denial.adding(Said::plain("the provider's answer is withheld"));
    }
    let words =
        Said::plain("the provider has answered, so check before trying again; its answer is withheld");
    if denial.status == 503 {
        return Denial::upstream(502, "what the agent may do has changed, or cannot be known").adding(words);
    }
    denial.adding(words)
}
