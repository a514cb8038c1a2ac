//! What can still act as a person, and what an agent can still do.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::audiences::Audiences;
use crate::connections::{Connections, LiveToken};
use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::ids::{AgentId, AudienceId, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::agent::{Agent, AgentKind, AgentState};
use crate::model::audience::{Audience, AudienceState, People};
use crate::model::connection::Connection;
use crate::model::grant::Grant;
use crate::model::interaction::Interaction;
use crate::model::session::{Principal, Session};
use crate::model::stop::Stops;
use crate::model::token::DelegatedTokens;
use crate::model::user::{User, UserState};
use crate::policy::decide::{agent_stage, user_stage};
use crate::policy::reach::reach;
use crate::store::{Store, StoreError, Stored};

const PAGE: usize = 200;

/// Reads reports together.
#[derive(Clone)]
pub struct Reports {
    store: Store,
    connections: Connections,
    audiences: Audiences,
    clock: Arc<dyn Clock>,
}

/// A grant that holds, or one that has ended and has left a token that still works.
#[derive(Debug)]
pub struct GrantLine {
    /// The grant.
    pub grant: Grant,
    /// Whether it holds.
    pub holds: bool,
    /// What the agent is called.
    pub agent: String,
    /// Why it is of no use at present, although it holds.
    pub refused: Option<String>,
    /// Provider tokens that have left: only their end, or the provider, can stop them.
    pub tokens: Vec<LiveToken>,
}

/// An internal back end that an agent reaches.
#[derive(Debug)]
pub struct ReachLine {
    /// Which.
    pub audience: AudienceId,
    /// As tokens name it.
    pub identifier: String,
    /// Which agent.
    pub agent: AgentId,
    /// What the agent is called.
    pub agent_name: String,
    /// With what at most.
    pub scopes: ScopeSet,
    /// For whom, in an agent's report.
    pub people: Option<People>,
    /// A token that has left is checked by the back end alone: it ends after so many seconds at the latest.
    pub token_life_s: u64,
}

/// Delegation JWTs that have left: the back end checks them alone, so only their end, or the back end, can stop
/// them.
#[derive(Debug)]
pub struct LeftLine {
    /// Where they work.
    pub audience: AudienceId,
    /// As tokens name it.
    pub identifier: String,
    /// Whose.
    pub agent: AgentId,
    /// What the agent is called.
    pub agent_name: String,
    /// For whom; `None` = the agent itself.
    pub user: Option<UserId>,
    /// None of them lives longer.
    pub end_by: Timestamp,
}

/// What can still act as a person.
#[derive(Debug)]
pub struct PersonReport {
    /// Who.
    pub user: User,
    /// Grants.
    pub grants: Vec<GrantLine>,
    /// Accounts that are connected.
    pub connections: Vec<Stored<Connection>>,
    /// Internal back ends, for each agent.
    pub reach: Vec<ReachLine>,
    /// Tokens that may be alive at internal back ends, whatever is closed here by now.
    pub left: Vec<LeftLine>,
    /// Agents that the person answers for.
    pub agents: Vec<Stored<Agent>>,
    /// Browsers that are signed in.
    pub sessions: usize,
    /// Questions that the person could still answer.
    pub questions: usize,
}

/// What an agent can still do.
#[derive(Debug)]
pub struct AgentReport {
    /// Which.
    pub agent: Agent,
    /// Why everything is refused at present.
    pub refused: Option<String>,
    /// Grants.
    pub grants: Vec<GrantLine>,
    /// Internal back ends.
    pub reach: Vec<ReachLine>,
    /// Tokens that may be alive at internal back ends, whatever is closed here by now.
    pub left: Vec<LeftLine>,
}

impl Reports {
    /// Wires it.
    pub fn new(store: Store, connections: Connections, audiences: Audiences, clock: Arc<dyn Clock>) -> Self {
        Self { store, connections, audiences, clock }
    }

    /// What can still act as a person; nothing when nobody has that id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of_person(&self, id: &UserId) -> Result<Option<PersonReport>, StoreError> {
        let Some(user) = self.store.get::<User>(id.as_str()).await? else { return Ok(None) };
        let now = self.clock.now();
        let stops = self.store.get::<Stops>(Stops::KEY).await?;
        let grants = self.connections.grants_of_user(id).await?;
        let agents = self.store.find::<Agent>("owner", id.as_str()).await?;
        let asked = self.store.find::<Interaction>("user", id.as_str()).await?;
        Ok(Some(PersonReport {
            grants: self.grant_lines(grants, stops.as_deref(), now).await?,
            connections: self.connections.of_user(id).await?,
            reach: self.reach_of(&user, stops.as_deref(), now).await?,
            left: left_lines(&self.store, &self.audiences, self.audiences.handed_out_for(id).await?).await?,
            agents: agents.into_iter().filter(|agent| agent.state != AgentState::Retired).collect(),
            sessions: self.sessions(&user, now).await?,
            questions: if user.state == UserState::Active {
                asked.iter().filter(|asked| asked.is_open(now)).count()
            } else {
                0
            },
            user: user.record().clone(),
        }))
    }

    /// What an agent can still do; nothing when there is none of that id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of_agent(&self, id: &AgentId) -> Result<Option<AgentReport>, StoreError> {
        let Some(agent) = self.store.get::<Agent>(id.as_str()).await? else { return Ok(None) };
        let now = self.clock.now();
        let stops = self.store.get::<Stops>(Stops::KEY).await?;
        let refused = agent_stage(&agent, now).err().map(|refusal| refusal.reasons.join("; "));
        let stopped = stops.as_ref().and_then(|stops| stops.refusing(id, None, None));
        let grants = self.connections.grants_of_agent(id).await?;
        let mut reach = Vec::new();
        for audience in self.audiences.all().await? {
            if audience.state == AudienceState::Active && refused.is_none() {
                reach.extend(admitted(&audience, &agent));
            }
        }
        Ok(Some(AgentReport {
            grants: self.grant_lines(grants, stops.as_deref(), now).await?,
            reach,
            left: left_lines(&self.store, &self.audiences, self.audiences.handed_out_to(id).await?).await?,
            refused: refused.or_else(|| stopped.map(|stop| format!("stopped: {}", stop.reason))),
            agent: agent.record().clone(),
        }))
    }

    async fn grant_lines(
        &self,
        grants: Vec<Stored<Grant>>,
        stops: Option<&Stops>,
        now: Timestamp,
    ) -> Result<Vec<GrantLine>, StoreError> {
        let mut lines = Vec::new();
        for grant in grants {
            let (holds, tokens) = (grant.is_live(now), self.connections.live_tokens(&grant.id).await?);
            if !holds && tokens.is_empty() {
                continue;
            }
            let agent = self.store.get::<Agent>(grant.agent.as_str()).await?;
            let user = self.store.get::<User>(grant.user.as_str()).await?;
            let refused = match &agent {
                None => Some("the agent is gone".to_owned()),
                Some(agent) => {
                    match agent_stage(agent, now).and_then(|()| user_stage(agent, user.as_deref())) {
                        Err(refusal) => Some(refusal.reasons.join("; ")),
                        Ok(()) => self.out_of_reach(agent, &grant).await,
                    }
                }
            };
            let stop = stops
                .and_then(|stops| stops.refusing(&grant.agent, Some(&grant.user), Some(&grant.provider)));
            lines.push(GrantLine {
                holds,
                agent: agent.map_or_else(|| grant.agent.to_string(), |agent| agent.name.clone()),
                refused: refused.or_else(|| stop.map(|stop| format!("stopped: {}", stop.reason))),
                tokens,
                grant: grant.record().clone(),
            });
        }
        Ok(lines)
    }

    /// Why nothing of a grant can be used, where that is so: it is above the agent by now.
    async fn out_of_reach(&self, agent: &Agent, grant: &Grant) -> Option<String> {
        let provider = self.connections.configured(&grant.provider).await.ok()?;
        let held = grant.scopes.intersection(&reach(agent, &provider));
        held.is_empty().then(|| "the agent's ceiling and classes of data leave nothing of it".to_owned())
    }

    /// The back ends at which agents act for that person now.
    async fn reach_of(
        &self,
        user: &User,
        stops: Option<&Stops>,
        now: Timestamp,
    ) -> Result<Vec<ReachLine>, StoreError> {
        let mut lines = Vec::new();
        for audience in self.audiences.all().await? {
            if audience.state != AudienceState::Active
                || self.audiences.is_off_for(&user.id, &audience.id).await?
            {
                continue;
            }
            let agents: BTreeSet<&AgentId> =
                audience.admissions.iter().flat_map(|admission| &admission.agents).collect();
            for id in agents {
                let Some(agent) = self.store.get::<Agent>(id.as_str()).await? else { continue };
                let stands = agent_stage(&agent, now).and_then(|()| user_stage(&agent, Some(user))).is_ok();
                let is_stopped =
                    stops.is_some_and(|stops| stops.refusing(id, Some(&user.id), None).is_some());
                let scopes = agent.reach_at(&audience, &audience.admits(id, Some(user)));
                if stands && !is_stopped && !scopes.is_empty() {
                    lines.push(ReachLine { scopes, ..line(&audience, &agent) });
                }
            }
        }
        Ok(lines)
    }

    async fn sessions(&self, user: &User, now: Timestamp) -> Result<usize, StoreError> {
        if user.state != UserState::Active {
            return Ok(0);
        }
        let (mut count, mut after) = (0, None::<String>);
        loop {
            let page = self.store.page::<Session>(after.as_deref(), PAGE).await?;
            let is_theirs = |session: &&Stored<Session>| {
                session.principal == (Principal::User { user: user.id.clone() })
                    && session.is_live(now)
                    && !user.was_signed_out_since(session.created_at)
            };
            count += page.iter().filter(is_theirs).count();
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.digest.hex()),
                _ => return Ok(count),
            }
        }
    }
}

/// What has left, with names. What is gone by now is called by its id.
pub(super) async fn left_lines(
    store: &Store,
    audiences: &Audiences,
    left: Vec<DelegatedTokens>,
) -> Result<Vec<LeftLine>, StoreError> {
    let mut lines = Vec::new();
    for tokens in left {
        let audience = audiences.get(&tokens.audience).await?;
        let agent = store.get::<Agent>(tokens.agent.as_str()).await?;
        lines.push(LeftLine {
            identifier: audience
                .map_or_else(|| tokens.audience.to_string(), |audience| audience.identifier.clone()),
            agent_name: agent.map_or_else(|| tokens.agent.to_string(), |agent| agent.name.clone()),
            audience: tokens.audience,
            agent: tokens.agent,
            user: tokens.user,
            end_by: tokens.end_by,
        });
    }
    Ok(lines)
}

fn line(audience: &Audience, agent: &Agent) -> ReachLine {
    ReachLine {
        audience: audience.id.clone(),
        identifier: audience.identifier.clone(),
        agent: agent.id.clone(),
        agent_name: agent.name.clone(),
        scopes: ScopeSet::new(),
        people: None,
        token_life_s: audience.token_life_s,
    }
}

/// What a back end's registration gives an agent, by whom it may act for.
fn admitted(audience: &Audience, agent: &Agent) -> Vec<ReachLine> {
    let is_of_use = |people: &People| match agent.kind {
        AgentKind::Autonomous => *people == People::Itself,
        AgentKind::Personal | AgentKind::Assistant => *people != People::Itself,
    };
    let admissions = audience.admissions.iter();
    let theirs = admissions.filter(|one| one.agents.contains(&agent.id) && is_of_use(&one.people));
    theirs
        .map(|one| ReachLine {
            scopes: agent.reach_at(audience, &one.scopes.intersection(&audience.scopes)),
            people: Some(one.people.clone()),
            ..line(audience, agent)
        })
        .filter(|line| !line.scopes.is_empty())
        .collect()
}
