//! Registering an agent, and every change of what the register holds of it.

use std::collections::BTreeMap;

use crate::agents::differences::differences;
use crate::agents::{AgentError, Agents, check};
use crate::kernel::ids::{AgentId, EventId, ProviderSlug};
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::kernel::text::clean;
use crate::model::agent::{Agent, AgentKind, AgentSecret, AgentState, Entry, Owner, PastChange};
use crate::model::credential::SignIn;
use crate::model::event::{EventDraft, EventKind};
use crate::store::{Committed, StoreError, Tx};

/// How often a change that met another one is tried again.
const TRIES: usize = 8;

/// What an admin states about an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAgent {
    /// Kind.
    pub kind: AgentKind,
    /// Name to show.
    pub name: String,
    /// What it is for, in words that employees read.
    pub purpose: String,
    /// Who answers for it.
    pub owner: Owner,
    /// The most that it can ever be granted.
    pub ceiling: BTreeMap<ProviderSlug, ScopeSet>,
    /// What it asks for when it names no scope.
    pub default_scopes: BTreeMap<ProviderSlug, ScopeSet>,
    /// The `aud` values that ID tokens must have to be shown by it.
    pub subject_audiences: Vec<String>,
    /// How it signs in without a secret. `None` = as it is, or for a new one in no such way.
    pub sign_in: Option<SignIn>,
    /// What else the register holds of it.
    pub entry: Entry,
}

impl NewAgent {
    /// What is stated about an agent now.
    pub fn of(agent: &Agent) -> Self {
        Self {
            kind: agent.kind,
            name: agent.name.clone(),
            purpose: agent.purpose.clone(),
            owner: agent.owner.clone(),
            ceiling: agent.ceiling.clone(),
            default_scopes: agent.default_scopes.clone(),
            subject_audiences: agent.subject_audiences.clone(),
            sign_in: None,
            entry: agent.entry.clone(),
        }
    }
}

/// A change of an agent's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentChange {
    /// Refuse it until it is resumed.
    Suspend,
    /// Let it act again.
    Resume,
    /// Refuse it for ever; its secrets are deleted.
    Retire,
}

impl AgentChange {
    const fn action(self) -> &'static str {
        match self {
            Self::Suspend => "agent.suspended",
            Self::Resume => "agent.resumed",
            Self::Retire => "agent.retired",
        }
    }
}

impl Agents {
    /// Registers an agent; its first secret is shown this once. `by` is the admin, for the log.
    ///
    /// # Errors
    /// When a value cannot be taken, the owner is unknown, or nothing can be written.
    pub async fn register(&self, new: NewAgent, by: &str) -> Result<(Agent, SecretString), AgentError> {
        let new = self.checked_new(new).await?;
        let (secret, plain) = self.new_secret(self.clock.now());
        let agent = self.agent_of(new, vec![secret]);
        let mut event = self.admin_event("agent.registered", &agent.id, by);
        event.user = agent.owner.user().cloned();
        let event = self.audit.record(event).await?;
        let mut tx = Tx::new();
        tx.insert(&agent);
        tx.insert(&self.past_change(&agent.id, "agent.registered", by, Vec::new(), event));
        match self.store.commit(tx).await? {
            Committed::Done => Ok((agent, plain)),
            Committed::Conflict => Err(StoreError::Contended { key: agent.id.to_string() }.into()),
        }
    }

    /// Suspends, resumes or retires an agent; in force on the next request (invariant 7).
    ///
    /// # Errors
    /// When there is no such agent, it is retired, or nothing can be written.
    pub async fn set_state(&self, id: &AgentId, change: AgentChange, by: &str) -> Result<Agent, AgentError> {
        self.edit(id, change.action(), by, |agent| changed(agent, change)).await
    }

    /// Changes what is stated about an agent, all but its kind; in force on the next request.
    ///
    /// # Errors
    /// When there is no such agent, it is retired, a value cannot be taken, nothing can be written, or it is not
    /// the version any more that was read, where one is named.
    pub async fn restate(
        &self,
        id: &AgentId,
        by: &str,
        as_read: Option<&str>,
        change: impl Fn(NewAgent) -> NewAgent,
    ) -> Result<Agent, AgentError> {
        let ways = self.rehearse(id, &change).await?.sign_in;
        let restated = |agent: &Agent| {
            let stated = change(NewAgent::of(agent));
            // As they were checked: thumbprints have one form then.
            let sign_in = stated.sign_in.as_ref().map(|_| ways.clone());
            restated(agent, NewAgent { sign_in, ..stated })
        };
        self.edit_as_read(id, "agent.changed", by, as_read, restated).await
    }

    /// What an agent would be after [`Agents::restate`]; changes nothing.
    ///
    /// # Errors
    /// As there.
    pub async fn rehearse(
        &self,
        id: &AgentId,
        change: impl Fn(NewAgent) -> NewAgent,
    ) -> Result<Agent, AgentError> {
        let before = self.get(id).await?.ok_or_else(|| AgentError::NotFound(id.clone()))?;
        let stated = change(NewAgent::of(&before));
        let sign_in = self.checked_sign_in(stated.sign_in.clone()).await?;
        let after = restated(&before, NewAgent { sign_in, ..stated })?;
        if after.owner != before.owner {
            self.check_owner(&after.owner).await?;
        }
        Ok(after)
    }

    /// What [`Agents::register`] would make; makes nothing.
    ///
    /// # Errors
    /// As there.
    pub async fn rehearse_new(&self, new: NewAgent) -> Result<Agent, AgentError> {
        let new = self.checked_new(new).await?;
        Ok(self.agent_of(new, Vec::new()))
    }

    async fn checked_new(&self, new: NewAgent) -> Result<NewAgent, AgentError> {
        check::terms(&new)?;
        self.check_owner(&new.owner).await?;
        let sign_in = self.checked_sign_in(new.sign_in.clone()).await?;
        Ok(NewAgent { sign_in, ..new })
    }

    async fn checked_sign_in(&self, ways: Option<SignIn>) -> Result<Option<SignIn>, AgentError> {
        let Some(ways) = ways else { return Ok(None) };
        let checked = self.checked_ways(ways).await;
        checked.map(Some).map_err(|error| match error {
            AgentError::Invalid { field, problem } => {
                AgentError::Invalid { field: "sign_in", problem: format!("{field}: {problem}") }
            }
            other => other,
        })
    }

    fn agent_of(&self, new: NewAgent, secrets: Vec<AgentSecret>) -> Agent {
        Agent {
            id: AgentId::generate(&*self.entropy),
            kind: new.kind,
            name: clean(new.name.trim(), check::NAME_MAX),
            purpose: clean(new.purpose.trim(), check::PURPOSE_MAX),
            owner: new.owner,
            ceiling: new.ceiling,
            default_scopes: new.default_scopes,
            subject_audiences: new.subject_audiences,
            secrets,
            sign_in: new.sign_in.unwrap_or_default(),
            state: AgentState::Active,
            created_at: self.clock.now(),
            entry: new.entry,
        }
    }

    /// Hands an agent over to somebody else, who answers for it from now on.
    ///
    /// # Errors
    /// As [`Agents::restate`]. A personal agent stays its owner's: it holds what that person has granted it.
    pub async fn hand_over(&self, id: &AgentId, to: &Owner, by: &str) -> Result<Agent, AgentError> {
        let change = |stated: NewAgent| NewAgent { owner: to.clone(), ..stated };
        self.rehearse(id, change).await?;
        self.edit(id, "agent.handed_over", by, |agent| restated(agent, change(NewAgent::of(agent)))).await
    }

    /// Changes an agent: logged first, then written together with its history. A change that changes nothing
    /// leaves no trace.
    pub(super) async fn edit(
        &self,
        id: &AgentId,
        action: &str,
        by: &str,
        change: impl Fn(&Agent) -> Result<Agent, AgentError>,
    ) -> Result<Agent, AgentError> {
        self.edit_as_read(id, action, by, None, change).await
    }

    async fn edit_as_read(
        &self,
        id: &AgentId,
        action: &str,
        by: &str,
        as_read: Option<&str>,
        change: impl Fn(&Agent) -> Result<Agent, AgentError>,
    ) -> Result<Agent, AgentError> {
        for _ in 0..TRIES {
            let before = self.get(id).await?.ok_or_else(|| AgentError::NotFound(id.clone()))?;
            if as_read.is_some_and(|version| version != before.version()) {
                return Err(AgentError::Changed);
            }
            let after = change(&before)?;
            let changes = differences(&before, &after);
            if changes.is_empty() {
                return Ok(after);
            }
            let mut event = self.admin_event(action, id, by);
            event.reasons.clone_from(&changes);
            let event = self.audit.record(event).await?;
            let mut tx = Tx::new();
            tx.update(&before, &after);
            tx.insert(&self.past_change(id, action, by, changes, event));
            if self.store.commit(tx).await? == Committed::Done {
                return Ok(after);
            }
        }
        Err(StoreError::Contended { key: id.to_string() }.into())
    }

    /// What was changed of an agent, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn history(&self, id: &AgentId) -> Result<Vec<PastChange>, StoreError> {
        let found = self.store.find::<PastChange>("agent", id.as_str()).await?;
        Ok(found.iter().rev().map(|change| change.record().clone()).collect())
    }

    pub(super) fn admin_event(&self, action: &str, agent: &AgentId, by: &str) -> EventDraft {
        let mut event = EventDraft::new(EventKind::Admin, action);
        event.agent = Some(agent.clone());
        event.admin = Some(clean(by, 200));
        event
    }

    fn past_change(
        &self,
        agent: &AgentId,
        action: &str,
        by: &str,
        changes: Vec<String>,
        event: EventId,
    ) -> PastChange {
        PastChange {
            agent: agent.clone(),
            at: self.clock.now(),
            by: clean(by, 200),
            action: action.to_owned(),
            changes,
            event,
        }
    }
}

fn restated(agent: &Agent, stated: NewAgent) -> Result<Agent, AgentError> {
    agent.state.suspend()?;
    check::terms(&stated)?;
    if stated.kind != agent.kind {
        let problem = "stays as it is: register another agent".to_owned();
        return Err(AgentError::Invalid { field: "kind", problem });
    }
    if agent.kind == AgentKind::Personal && stated.owner != agent.owner {
        let problem = "a personal agent stays with its owner: register one for the other person".to_owned();
        return Err(AgentError::Invalid { field: "owner", problem });
    }
    Ok(Agent {
        name: clean(stated.name.trim(), check::NAME_MAX),
        purpose: clean(stated.purpose.trim(), check::PURPOSE_MAX),
        owner: stated.owner,
        ceiling: stated.ceiling,
        default_scopes: stated.default_scopes,
        subject_audiences: stated.subject_audiences,
        sign_in: stated.sign_in.unwrap_or_else(|| agent.sign_in.clone()),
        entry: stated.entry,
        ..agent.clone()
    })
}

fn changed(agent: &Agent, change: AgentChange) -> Result<Agent, AgentError> {
    let mut agent = agent.clone();
    match change {
        AgentChange::Suspend => agent.state = agent.state.suspend()?,
        AgentChange::Resume => agent.state = agent.state.resume()?,
        AgentChange::Retire => {
            agent.state = AgentState::Retired;
            agent.secrets.clear();
            agent.sign_in = SignIn::default();
        }
    }
    Ok(agent)
}
