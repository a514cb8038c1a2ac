//! Registering an agent, and the changes of its state.

use std::collections::BTreeMap;

use crate::agents::{AgentError, Agents};
use crate::kernel::ids::{AgentId, ProviderSlug, UserId};
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::kernel::text::clean;
use crate::model::agent::{Agent, AgentKind, AgentState};
use crate::model::credential::SignIn;
use crate::model::event::{EventDraft, EventKind};
use crate::model::user::{User, UserState};
use crate::store::{Committed, StoreError, Tx};

/// What an admin states about a new agent.
#[derive(Clone, Debug)]
pub struct NewAgent {
    /// Kind.
    pub kind: AgentKind,
    /// Name to show.
    pub name: String,
    /// What it is for, in words that employees read.
    pub purpose: String,
    /// The person who answers for it.
    pub owner: UserId,
    /// The most that it can ever be granted.
    pub ceiling: BTreeMap<ProviderSlug, ScopeSet>,
    /// What it asks for when it names no scope.
    pub default_scopes: BTreeMap<ProviderSlug, ScopeSet>,
    /// The `aud` values that ID tokens must have to be shown by it.
    pub subject_audiences: Vec<String>,
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
        check(&new)?;
        let owner = self.store.get::<User>(new.owner.as_str()).await?;
        if owner.is_none_or(|owner| owner.state != UserState::Active) {
            return Err(AgentError::UnknownOwner(new.owner));
        }
        let now = self.clock.now();
        let (secret, plain) = self.new_secret(now);
        let agent = Agent {
            id: AgentId::generate(&*self.entropy),
            kind: new.kind,
            name: clean(new.name.trim(), NAME_MAX),
            purpose: clean(new.purpose.trim(), PURPOSE_MAX),
            owner: new.owner,
            ceiling: new.ceiling,
            default_scopes: new.default_scopes,
            subject_audiences: new.subject_audiences,
            secrets: vec![secret],
            sign_in: SignIn::default(),
            state: AgentState::Active,
            created_at: now,
        };
        let mut event = self.admin_event("agent.registered", &agent.id, by);
        event.user = Some(agent.owner.clone());
        self.audit.record(event).await?;
        let mut tx = Tx::new();
        tx.insert(&agent);
        match self.store.commit(tx).await? {
            Committed::Done => Ok((agent, plain)),
            Committed::Conflict => Err(StoreError::Contended { key: agent.id.to_string() }.into()),
        }
    }

    /// Suspends, resumes or retires an agent; in force on the next request (contract, invariant 7).
    ///
    /// # Errors
    /// When there is no such agent, it is retired, or nothing can be written.
    pub async fn set_state(&self, id: &AgentId, change: AgentChange, by: &str) -> Result<Agent, AgentError> {
        let before = self.get(id).await?.ok_or_else(|| AgentError::NotFound(id.clone()))?;
        changed(&before, change)?;
        self.audit.record(self.admin_event(change.action(), id, by)).await?;
        self.store
            .update::<Agent, AgentError>(id.as_str(), |agent| Ok(Some(changed(agent, change)?)))
            .await?;
        let after = self.get(id).await?.ok_or_else(|| AgentError::NotFound(id.clone()))?;
        Ok(after.record().clone())
    }

    pub(super) fn admin_event(&self, action: &str, agent: &AgentId, by: &str) -> EventDraft {
        let mut event = EventDraft::new(EventKind::Admin, action);
        event.agent = Some(agent.clone());
        event.admin = Some(clean(by, 200));
        event
    }
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

const NAME_MAX: usize = 100;
const PURPOSE_MAX: usize = 500;

fn check(new: &NewAgent) -> Result<(), AgentError> {
    let invalid = |field, problem: String| Err(AgentError::Invalid { field, problem });
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > NAME_MAX {
        return invalid("name", format!("write 1 to {NAME_MAX} characters that employees will recognise"));
    }
    if new.purpose.trim().is_empty() || new.purpose.chars().count() > PURPOSE_MAX {
        return invalid("purpose", format!("say in 1 to {PURPOSE_MAX} characters what the agent is for"));
    }
    for (provider, defaults) in &new.default_scopes {
        let ceiling = new.ceiling.get(provider).cloned().unwrap_or_default();
        let above = defaults.difference(&ceiling);
        if !above.is_empty() {
            let problem =
                format!("`{above}` at `{provider}` is not in the ceiling; add it there or leave it out");
            return invalid("default_scopes", problem);
        }
    }
    let is_audience =
        |text: &String| !text.is_empty() && text.len() <= 512 && !text.contains(char::is_control);
    if new.subject_audiences.len() > 10 || !new.subject_audiences.iter().all(is_audience) {
        return invalid("subject_audiences", "list at most 10 values of 1 to 512 characters".to_owned());
    }
    Ok(())
}
