//! Agents: non-human identities with an owner.

mod change;
mod entry;
mod owner;

pub use change::PastChange;
pub use entry::{Circle, Entry, KNOWN_PLATFORMS};
pub use owner::Owner;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, ProviderSlug};
use crate::kernel::scope::{NO_SCOPES, ScopeSet};
use crate::model::audience::Audience;
use crate::model::credential::SignIn;
use crate::model::record::Record;

/// What kind of agent it is; decides for whom it may act (invariant 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentKind {
    /// Acts for its owner only.
    Personal,
    /// Acts for any user whose fresh token it shows.
    Assistant,
    /// Acts as itself.
    Autonomous,
}

/// Where an agent is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// May act.
    Active,
    /// Refused until resumed.
    Suspended,
    /// Refused for ever.
    Retired,
}

/// A change of state that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a retired agent stays retired: create a new one")]
pub struct AgentIsRetired;

impl AgentState {
    /// The state after suspending.
    ///
    /// # Errors
    /// When the agent is retired.
    pub fn suspend(self) -> Result<Self, AgentIsRetired> {
        match self {
            Self::Active | Self::Suspended => Ok(Self::Suspended),
            Self::Retired => Err(AgentIsRetired),
        }
    }

    /// The state after resuming.
    ///
    /// # Errors
    /// When the agent is retired.
    pub fn resume(self) -> Result<Self, AgentIsRetired> {
        match self {
            Self::Active | Self::Suspended => Ok(Self::Active),
            Self::Retired => Err(AgentIsRetired),
        }
    }
}

/// A client secret: the store knows it by its digest only. Two may be live while rotating.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentSecret {
    /// Digest of the secret.
    pub digest: TokenDigest,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working; `None` for the newest one.
    pub expires_at: Option<Timestamp>,
}

/// A registered agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Agent {
    /// Identifier, and OAuth client id.
    pub id: AgentId,
    /// Kind.
    pub kind: AgentKind,
    /// Name to show.
    pub name: String,
    /// What it is for, shown on the consent page.
    pub purpose: String,
    /// Who answers for it.
    pub owner: Owner,
    /// The most that it can ever be granted, per provider.
    pub ceiling: BTreeMap<ProviderSlug, ScopeSet>,
    /// What it asks for when it names no scope and has no grant, per provider.
    pub default_scopes: BTreeMap<ProviderSlug, ScopeSet>,
    /// The `aud` values that an ID token must have, exactly one of them, to be shown by this agent.
    pub subject_audiences: Vec<String>,
    /// Client secrets, by digest.
    pub secrets: Vec<AgentSecret>,
    /// How it may sign in without a secret.
    #[serde(default, skip_serializing_if = "SignIn::is_empty")]
    pub sign_in: SignIn,
    /// State.
    pub state: AgentState,
    /// When it was registered.
    pub created_at: Timestamp,
    /// What else the register holds of it. Records from before it existed have an empty one.
    #[serde(default)]
    pub entry: Entry,
}

impl Agent {
    /// The state that counts now: an agent that has expired is refused as a suspended one is.
    pub fn state_at(&self, now: Timestamp) -> AgentState {
        match self.state {
            AgentState::Active if self.is_expired(now) => AgentState::Suspended,
            state => state,
        }
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.entry.expires_at.is_some_and(|end| end <= now)
    }

    /// What of these scopes of an internal back end it reaches: under its ceiling there, and nothing where the
    /// back end holds a class of data that it may not touch. Without a ceiling, the back end's own registration
    /// is the bound.
    pub fn reach_at(&self, audience: &Audience, scopes: &ScopeSet) -> ScopeSet {
        if !self.entry.may_touch(audience.data_classes.iter().map(String::as_str)) {
            return NO_SCOPES.clone();
        }
        match &self.entry.audiences {
            None => scopes.clone(),
            Some(ceilings) => ceilings.get(&audience.identifier).unwrap_or(&NO_SCOPES).intersection(scopes),
        }
    }

    /// The ceiling at one provider; empty when the agent may not use it.
    pub fn ceiling_at(&self, provider: &ProviderSlug) -> &ScopeSet {
        self.ceiling.get(provider).unwrap_or(&NO_SCOPES)
    }

    /// The default scopes at one provider.
    pub fn defaults_at(&self, provider: &ProviderSlug) -> &ScopeSet {
        self.default_scopes.get(provider).unwrap_or(&NO_SCOPES)
    }
}

impl Record for Agent {
    const KIND: &'static str = "agent";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("owner", self.owner.to_string())]
    }
}
