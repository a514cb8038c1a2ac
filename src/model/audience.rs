//! Audiences: internal back ends that accept delegation JWTs. A registration says which agents may
//! reach one, for whom and with which scopes: it is the grant.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, AudienceId, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::record::Record;
use crate::model::user::User;

/// A registered back end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Audience {
    /// Identifier, and its OAuth client id for introspection.
    pub id: AudienceId,
    /// What agents write as `audience` and what stands in `aud`: an absolute URI.
    pub identifier: String,
    /// Name to show.
    pub name: String,
    /// What it holds, in words that employees read.
    pub purpose: String,
    /// The scopes that it knows.
    pub scopes: ScopeSet,
    /// What it learns of the user.
    pub claims: Vec<UserClaim>,
    /// How its tokens are signed.
    pub algorithm: Algorithm,
    /// How long its tokens live, in seconds.
    pub token_life_s: u64,
    /// Who may reach it.
    pub admissions: Vec<Admission>,
    /// The types of `authorization_details` that it narrows by itself (RFC 9396).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail_types: Vec<String>,
    /// The classes of data that it holds: an agent that is restricted to some must have all of these in its
    /// list, and reaches no back end that says none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub data_classes: BTreeSet<String>,
    /// Whether its own authorization server takes identity assertions of ours, and how it knows our agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_jag: Option<IdJagTerms>,
    /// Digest of its client secret.
    pub secret: TokenDigest,
    /// Whether tokens are issued for it.
    pub state: AudienceState,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// Agents that may reach a back end, for these people, with these scopes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admission {
    /// Which agents.
    pub agents: Vec<AgentId>,
    /// For whom.
    #[serde(rename = "for")]
    pub people: People,
    /// With which scopes at most.
    pub scopes: ScopeSet,
}

/// How an authorization server that takes identity assertions of ours knows our agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdJagTerms {
    /// Their client ids there; an agent that is not listed has its own id.
    pub client_ids: BTreeMap<AgentId, String>,
}

/// For whom an agent may act at a back end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum People {
    /// Every user.
    Everyone,
    /// The agent itself, with nobody behind it.
    Itself,
    /// These users.
    Users(Vec<UserId>),
    /// Members of any of these groups.
    Groups(Vec<String>),
}

/// What a back end can learn of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserClaim {
    /// E-mail.
    Email,
    /// Name.
    Name,
    /// Department.
    Department,
    /// Groups.
    Groups,
}

/// How delegation JWTs are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037).
    #[default]
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518), for libraries that know no Ed25519.
    #[serde(rename = "ES256")]
    Es256,
}

/// Whether a back end takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudienceState {
    /// Tokens are issued for it.
    Active,
    /// None are, and none pass introspection.
    Disabled,
}

impl Algorithm {
    /// Its JOSE name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }
}

impl Audience {
    /// What an agent may hold here for a user, or for itself when there is none.
    pub fn admits(&self, agent: &AgentId, user: Option<&User>) -> ScopeSet {
        let fits = |people: &People| match (people, user) {
            (People::Everyone, Some(_)) => true,
            (People::Itself, user) => user.is_none(),
            (People::Users(users), Some(user)) => users.contains(&user.id),
            (People::Groups(groups), Some(user)) => {
                user.groups.iter().any(|member_of| groups.contains(member_of))
            }
            (_, None) => false,
        };
        let admitting = self
            .admissions
            .iter()
            .filter(|admission| admission.agents.contains(agent) && fits(&admission.people));
        let held = admitting.fold(ScopeSet::new(), |held, admission| held.union(&admission.scopes));
        held.intersection(&self.scopes)
    }
}

impl Record for Audience {
    const KIND: &'static str = "audience";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("identifier", self.identifier.clone())]
    }
}

/// An employee has switched a back end off for themselves: no agent reaches it for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptOut {
    /// Who.
    pub user: UserId,
    /// Which back end.
    pub audience: AudienceId,
    /// Since when.
    pub at: Timestamp,
}

impl OptOut {
    /// The record's key.
    pub fn key_of(user: &UserId, audience: &AudienceId) -> String {
        format!("{user}/{audience}")
    }
}

impl Record for OptOut {
    const KIND: &'static str = "audience_opt_out";

    fn key(&self) -> String {
        Self::key_of(&self.user, &self.audience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::entropy::SeededEntropy;
    use crate::model::user::{Lifecycle, UserState};

    #[test]
    fn an_agent_is_admitted_for_the_people_that_are_listed_and_with_the_scopes_that_exist() {
        let entropy = SeededEntropy::new(3);
        let scopes = |text: &str| ScopeSet::parse(text).unwrap();
        let (agent, other) = (AgentId::generate(&entropy), AgentId::generate(&entropy));
        let user = |groups: &[&str]| User {
            id: UserId::generate(&entropy),
            issuer: "https://example.okta.com".to_owned(),
            subject: "s".to_owned(),
            email: None,
            name: "Alice Example".to_owned(),
            department: None,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            state: UserState::Active,
            created_at: Timestamp::from_secs(0),
            last_sign_in: None,
            lifecycle: Lifecycle::default(),
        };
        let (member, stranger) = (user(&["staff"]), user(&["guests"]));
        let admission = |people: People, text: &str| Admission {
            agents: vec![agent.clone()],
            people,
            scopes: scopes(text),
        };
        let audience = Audience {
            id: AudienceId::generate(&entropy),
            identifier: "https://hr.example.com".to_owned(),
            name: "HR".to_owned(),
            purpose: "Leave".to_owned(),
            scopes: scopes("leave.read leave.write sync"),
            claims: Vec::new(),
            algorithm: Algorithm::EdDsa,
            token_life_s: 300,
            admissions: vec![
                admission(People::Groups(vec!["staff".to_owned()]), "leave.read removed"),
                admission(People::Users(vec![stranger.id.clone()]), "leave.write"),
                admission(People::Itself, "sync"),
            ],
            detail_types: Vec::new(),
            data_classes: BTreeSet::new(),
            id_jag: None,
            secret: TokenDigest::from_bytes([1; 32]),
            state: AudienceState::Active,
            created_at: Timestamp::from_secs(0),
        };
        assert_eq!(audience.admits(&agent, Some(&member)), scopes("leave.read"));
        assert_eq!(audience.admits(&agent, Some(&stranger)), scopes("leave.write"));
        assert_eq!(audience.admits(&agent, Some(&user(&[]))), ScopeSet::new());
        assert_eq!(audience.admits(&agent, None), scopes("sync"));
        assert_eq!(audience.admits(&other, Some(&member)), ScopeSet::new());
        assert_eq!(audience.admits(&other, None), ScopeSet::new());
    }
}
