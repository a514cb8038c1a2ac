//! The pipeline's stages for internal back ends: agent, stop, user, registration, the employee's switch,
//! scopes. The same order as at providers; the registration stands where the grant does.

use crate::agents::Authenticated;
use crate::audit::{AuditError, AuditLog};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::agent::{Agent, AgentKind};
use crate::model::audience::{Audience, AudienceState, OptOut};
use crate::model::event::{EventDraft, Verdict};
use crate::model::stop::Stops;
use crate::model::user::User;
use crate::policy::decide::{Refusal, RefusalCode, agent_stage, refuse, user_stage};
use crate::policy::permit::{CallContext, Recorded};
use crate::policy::{Decider, permit};
use crate::store::{StoreError, Stored};

/// An agent wants to act at an internal back end.
pub struct Delegation<'a> {
    /// For whom; `None` = for itself.
    pub user: Option<&'a UserId>,
    /// Where.
    pub audience: &'a Stored<Audience>,
    /// The scopes asked for; `None` = all that the registration gives.
    pub asked: Option<&'a ScopeSet>,
    /// What the token of a parent agent holds, where this agent was sent by one: never more than that.
    pub at_most: Option<&'a ScopeSet>,
    /// The agents that stand behind it: each must be admitted itself.
    pub behind: &'a [AgentId],
}

/// The pipeline has permitted an agent to act at a back end. Private fields: only [`Decider::delegate`]
/// makes one.
#[derive(Debug)]
pub struct DelegationPermit {
    agent: AgentId,
    user: Option<Stored<User>>,
    audience: Stored<Audience>,
    scopes: ScopeSet,
}

impl DelegationPermit {
    /// Who acts.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// For whom.
    pub fn user(&self) -> Option<&User> {
        self.user.as_deref()
    }

    /// Where.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// What the token may hold.
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// Writes the decision down.
    ///
    /// # Errors
    /// When it cannot be made durable: then nothing may be released.
    pub async fn record(self, audit: &AuditLog, context: &CallContext) -> Result<Recorded<Self>, AuditError> {
        let draft = EventDraft {
            agent: Some(self.agent.clone()),
            user: self.user.as_ref().map(|user| user.id.clone()),
            audience: Some(self.audience.id.clone()),
            verdict: Some(Verdict::Permit),
            reasons: vec!["the back end's registration admits this agent".to_owned()],
            scopes: Some(self.scopes.clone()),
            ..context.draft()
        };
        permit::record(self, audit, draft).await
    }
}

impl Decider {
    /// Decides whether an agent may act at a back end, on what the store holds now.
    ///
    /// # Errors
    /// When the store cannot be read; the caller then refuses (deny by default).
    pub async fn delegate(
        &self,
        agent: &Authenticated<Agent>,
        request: &Delegation<'_>,
    ) -> Result<Result<DelegationPermit, Refusal>, StoreError> {
        let facts = self.delegation_facts(request).await?;
        let judged = judge(agent, request, &facts, self.clock.now());
        Ok(judged.map(|scopes| DelegationPermit {
            agent: agent.id.clone(),
            user: facts.user,
            audience: request.audience.clone(),
            scopes,
        }))
    }

    /// The stages that need no audience: whether this agent acts for that user at all at present.
    ///
    /// # Errors
    /// When the store cannot be read; the caller then refuses (deny by default).
    pub async fn may_delegate(
        &self,
        agent: &Authenticated<Agent>,
        user: Option<&UserId>,
        behind: &[AgentId],
    ) -> Result<Result<(), Refusal>, StoreError> {
        let facts = self.standing_facts(user, behind).await?;
        Ok(standing(agent, (user, behind), &facts, self.clock.now()))
    }

    /// Whether what a delegation JWT says would still be issued now: for introspection. Releases nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn still_delegated(&self, agent: &Agent, request: &Delegation<'_>) -> Result<bool, StoreError> {
        let facts = self.delegation_facts(request).await?;
        Ok(judge(agent, request, &facts, self.clock.now()).is_ok())
    }

    async fn delegation_facts(&self, request: &Delegation<'_>) -> Result<Facts, StoreError> {
        let facts = self.standing_facts(request.user, request.behind).await?;
        let Some(id) = request.user else { return Ok(facts) };
        let off = OptOut::key_of(id, &request.audience.id);
        Ok(Facts { is_off: self.store.get::<OptOut>(&off).await?.is_some(), ..facts })
    }

    async fn standing_facts(&self, user: Option<&UserId>, actors: &[AgentId]) -> Result<Facts, StoreError> {
        let stops = self.store.get::<Stops>(Stops::KEY).await?;
        let mut behind = Vec::with_capacity(actors.len());
        for actor in actors {
            behind.push(self.store.get::<Agent>(actor.as_str()).await?);
        }
        let user = match user {
            Some(id) => self.store.get::<User>(id.as_str()).await?,
            None => None,
        };
        Ok(Facts { stops, user, is_off: false, behind })
    }
}

/// What a delegation rests on.
struct Facts {
    stops: Option<Stored<Stops>>,
    user: Option<Stored<User>>,
    /// Whether the user has switched the back end off.
    is_off: bool,
    /// Those who stand behind the agent, as the register has them; `None` for one that is gone.
    behind: Vec<Option<Stored<Agent>>>,
}

/// Agent, stop, user: for this agent, and for each that stands behind it.
fn standing(
    agent: &Agent,
    (user, behind): (Option<&UserId>, &[AgentId]),
    facts: &Facts,
    now: Timestamp,
) -> Result<(), Refusal> {
    agent_stage(agent, now)?;
    for actor in &facts.behind {
        let gone = || refuse(RefusalCode::AgentNotActive, "an agent that stands behind is gone");
        let actor = actor.as_deref().ok_or_else(gone)?;
        agent_stage(actor, now)?;
        if user.is_some() {
            user_stage(actor, facts.user.as_deref())?;
        }
    }
    let actors = || behind.iter().chain([&agent.id]);
    let stop =
        facts.stops.as_ref().and_then(|stops| actors().find_map(|actor| stops.refusing(actor, user, None)));
    if let Some(stop) = stop {
        let words =
            format!("an administrator has stopped this ({}); it goes on when the stop is lifted", stop.id);
        return Err(refuse(RefusalCode::Stopped, words));
    }
    match user {
        Some(_) => user_stage(agent, facts.user.as_deref()),
        None if agent.kind != AgentKind::Autonomous => {
            let words = "only an autonomous agent acts as itself: show the user by token exchange";
            Err(refuse(RefusalCode::AgentNotActive, words))
        }
        None => Ok(()),
    }
}

fn judge(
    agent: &Agent,
    request: &Delegation<'_>,
    facts: &Facts,
    now: Timestamp,
) -> Result<ScopeSet, Refusal> {
    standing(agent, (request.user, request.behind), facts, now)?;
    let user = facts.user.as_deref();
    let registered = facts.behind.iter().filter_map(Option::as_deref).chain([agent]);
    let admitted = registered
        .map(|actor| {
            let admitted = request.audience.admits(&actor.id, user);
            actor.reach_at(request.audience, &admitted)
        })
        .reduce(|held, next| held.intersection(&next))
        .unwrap_or_default();
    if request.audience.state != AudienceState::Active || facts.is_off || admitted.is_empty() {
        return Err(Refusal::closed_audience());
    }
    let held = match request.at_most {
        Some(most) => admitted.intersection(most),
        None => admitted,
    };
    let scopes = request.asked.unwrap_or(&held).clone();
    let above = scopes.difference(&held);
    if scopes.is_empty() || !above.is_empty() {
        let words = format!("not within what the audience's registration gives this agent: {above}");
        return Err(refuse(RefusalCode::InvalidScope, words));
    }
    Ok(scopes)
}
