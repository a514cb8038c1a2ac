//! Grants: what a user permits one agent to do with one connection.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, ConnectionId, GrantId, InteractionId, ProviderSlug, UserId};
use crate::kernel::scope::{Scope, ScopeSet};
use crate::model::limit::Limit;
use crate::model::record::Record;

/// Whether a grant holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum GrantState {
    /// Holds until it expires.
    Active,
    /// Withdrawn.
    Revoked {
        /// When.
        at: Timestamp,
        /// By whom, in words: the user, an admin, a new consent.
        by: RevokedBy,
    },
}

/// Who ended a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokedBy {
    /// The employee.
    User,
    /// An admin.
    Admin,
    /// The agent gave it back.
    Agent,
    /// A newer consent for the same agent and connection took its place.
    NewConsent,
    /// The connection was disconnected.
    Disconnected,
}

/// How a grant is made narrower.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tightening {
    /// The scopes that stay; none stated = all.
    pub scopes: Option<ScopeSet>,
    /// Limits that are added.
    pub limits: Vec<Limit>,
    /// An earlier end.
    pub expires_at: Option<Timestamp>,
}

/// A user's permission for one agent to use one connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// Identifier.
    pub id: GrantId,
    /// Who permits.
    pub user: UserId,
    /// Who may act.
    pub agent: AgentId,
    /// With which connection.
    pub connection: ConnectionId,
    /// When the person picked this account, beside their default one, for an agent that had named none. Then the
    /// agent gets it without naming it; of several such, the one that was picked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picked_at: Option<Timestamp>,
    /// At which provider.
    pub provider: ProviderSlug,
    /// What the agent may do, each until its end: see [`Grant::scopes_at`].
    pub scopes: ScopeSet,
    /// The scopes that end before the grant does: they were agreed to earlier, for less long.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ends: BTreeMap<Scope, Timestamp>,
    /// Bounds beyond scopes.
    pub limits: Vec<Limit>,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// The agent's own words at the time of asking.
    pub reason: Option<String>,
    /// The agent's task at the time of asking.
    pub task: Option<String>,
    /// The consent that it came from.
    pub interaction: InteractionId,
    /// Whether it holds.
    pub state: GrantState,
    /// When it was agreed.
    pub created_at: Timestamp,
}

impl Grant {
    /// Whether it holds at that moment.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.state == GrantState::Active && now < self.expires_at
    }

    /// What the agent may do at that moment: the scopes that have not ended.
    pub fn scopes_at(&self, now: Timestamp) -> Cow<'_, ScopeSet> {
        if self.ends.values().all(|end| now < *end) {
            return Cow::Borrowed(&self.scopes);
        }
        Cow::Owned(self.scopes.iter().filter(|scope| now < self.end_of(scope)).cloned().collect())
    }

    /// When a scope ends.
    pub fn end_of(&self, scope: &Scope) -> Timestamp {
        self.ends.get(scope).map_or(self.expires_at, |end| self.expires_at.min(*end))
    }

    /// When the first of those scopes ends.
    pub fn first_end_of(&self, scopes: &ScopeSet) -> Timestamp {
        scopes.iter().map(|scope| self.end_of(scope)).min().unwrap_or(self.expires_at)
    }

    /// The grant with less: it never gains by this.
    #[must_use]
    pub fn tightened(&self, by: &Tightening) -> Self {
        let mut narrower = self.clone();
        if let Some(scopes) = &by.scopes {
            narrower.scopes = self.scopes.intersection(scopes);
            narrower.ends.retain(|scope, _| narrower.scopes.contains(scope));
        }
        for limit in &by.limits {
            if !narrower.limits.contains(limit) {
                narrower.limits.push(limit.clone());
            }
        }
        narrower.expires_at = by.expires_at.map_or(self.expires_at, |end| end.min(self.expires_at));
        narrower
    }

    /// Whether it allows what another state of it allows.
    pub fn allows_as(&self, other: &Self) -> bool {
        self.scopes == other.scopes
            && self.ends == other.ends
            && self.limits == other.limits
            && self.expires_at == other.expires_at
    }

    /// The value of the index by agent, user and provider.
    pub fn holder_index(agent: &AgentId, user: &UserId, provider: &ProviderSlug) -> String {
        [agent.as_str(), "/", user.as_str(), "/", provider.as_str()].concat()
    }
}

impl Record for Grant {
    const KIND: &'static str = "grant";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        let mut indexes = vec![("user", self.user.to_string()), ("agent", self.agent.to_string())];
        // What decides does not read through what has ended: a new consent ends the one before it, so there is one per
        // agent and connection, however often they were given and withdrawn.
        if self.state == GrantState::Active {
            indexes.push(("holder", Self::holder_index(&self.agent, &self.user, &self.provider)));
            indexes.push(("connection", self.connection.to_string()));
        }
        indexes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::entropy::SeededEntropy;
    use crate::model::limit::Bound;

    #[test]
    fn a_tightened_grant_never_gains() {
        let entropy = SeededEntropy::new(5);
        let scopes = |text: &str| ScopeSet::parse(text).unwrap();
        let at = Timestamp::from_secs;
        let grant = Grant {
            id: GrantId::generate(&entropy),
            user: UserId::generate(&entropy),
            agent: AgentId::generate(&entropy),
            connection: ConnectionId::generate(&entropy),
            picked_at: None,
            provider: "entra".parse().unwrap(),
            scopes: scopes("a b"),
            ends: BTreeMap::from([("b".parse().unwrap(), at(500))]),
            limits: vec![Limit::general(Bound::ReadOnly {})],
            expires_at: at(1_000),
            reason: None,
            task: None,
            interaction: InteractionId::generate(&entropy),
            state: GrantState::Active,
            created_at: at(0),
        };
        let by = Tightening {
            scopes: Some(scopes("a c")),
            limits: vec![Limit::general(Bound::Once {}), Limit::general(Bound::ReadOnly {})],
            expires_at: Some(at(2_000)),
        };
        let narrower = grant.tightened(&by);
        assert_eq!(narrower.scopes, scopes("a"), "what was not granted is not granted");
        assert!(narrower.ends.is_empty());
        assert_eq!(narrower.limits.len(), 2);
        assert_eq!(narrower.expires_at, at(1_000), "a later end is none");
        assert!(narrower.tightened(&by).allows_as(&narrower), "again changes nothing");
        assert!(grant.tightened(&Tightening::default()).allows_as(&grant));
        assert!(!narrower.allows_as(&grant));
    }
}
