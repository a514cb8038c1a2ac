//! Interactions: what only a person can do, with a page and a deadline.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::kernel::ids::{AgentId, ConnectionId, GrantId, InteractionId, ProviderSlug, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::agreement::Agreement;
use crate::model::limit::Limit;
use crate::model::record::Record;

/// The token type that the agent wants in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestedToken {
    /// A token for the gateway.
    Gateway,
    /// A provider token where invariant 2 allows it, else a gateway token.
    Provider,
}

/// What an interaction asks: frozen when it is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Who asks.
    pub agent: AgentId,
    /// Who is asked.
    pub user: UserId,
    /// About which provider.
    pub provider: ProviderSlug,
    /// About which connection, if the agent named one.
    pub connection: Option<ConnectionId>,
    /// All that the agent asks for now.
    pub scopes: ScopeSet,
    /// Suggested limits.
    pub limits: Vec<Limit>,
    /// The token type wanted in the end.
    pub token: RequestedToken,
    /// A limit of the grant that has been in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub widens: Option<Widening>,
}

/// A limit of a grant, and the wider one that would take its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Widening {
    /// As it is.
    pub former: Limit,
    /// As it would be; none = it would be lifted.
    pub wider: Option<Limit>,
}

impl Widening {
    /// What is asked for, and the marks of what gives way to it, by whether the person allows it.
    pub fn settled(&self, is_allowed: bool) -> (Option<Limit>, Option<String>) {
        if is_allowed {
            (self.wider.clone(), Some(self.former.mark()))
        } else {
            (Some(self.former.clone()), None)
        }
    }
}

impl Question {
    /// A digest of the whole question, for finding the interaction that asks the same.
    pub fn fingerprint(&self) -> String {
        let canonical = serde_json::to_vec(self).unwrap_or_default();
        encode::hex(digest::digest(&digest::SHA256, &canonical).as_ref())
    }
}

/// Where an interaction stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum InteractionState {
    /// Nobody has answered.
    Pending,
    /// Agreed on our page; the provider's own consent is outstanding. Grants nothing yet.
    AtProvider {
        /// What was agreed.
        agreement: Agreement,
    },
    /// Agreed, and the provider's consent is there; what was to be picked from the provider's lists is
    /// outstanding. Grants nothing yet.
    Choosing {
        /// What was agreed, with the scopes that the provider has granted.
        agreement: Agreement,
        /// The account.
        connection: ConnectionId,
    },
    /// The last step is confirmed.
    Granted {
        /// The grant that came of it.
        grant: GrantId,
        /// Whether the agent has collected its token.
        collected: bool,
        /// Whether the grant was there before the question, so that nobody had to be asked.
        #[serde(default)]
        before: bool,
    },
    /// The person said no, here or at the provider.
    Refused {
        /// When.
        at: Timestamp,
    },
}

/// A consent that was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Interaction {
    /// Identifier, part of the link.
    pub id: InteractionId,
    /// What is asked.
    pub question: Question,
    /// Digest of the handle with which the agent polls.
    pub auth_req_id: TokenDigest,
    /// The agent's own words.
    pub binding_message: Option<String>,
    /// The agent's task.
    pub task: Option<String>,
    /// Where it stands.
    pub state: InteractionState,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the link ends, 24 hours later.
    pub expires_at: Timestamp,
    /// When the agent last polled, for `slow_down`.
    pub polled_at: Option<Timestamp>,
    /// Seconds that the agent has to leave between polls: five more each time that it asks too soon.
    #[serde(default = "first_interval")]
    pub interval_s: u32,
    /// Which of the places for open questions of this agent to this user it takes.
    pub place: u8,
}

/// Seconds between polls at first.
pub const fn first_interval() -> u32 {
    5
}

impl Interaction {
    /// The value of the index by agent and user.
    pub fn asker_index(agent: &AgentId, user: &UserId) -> String {
        format!("{agent}/{user}")
    }

    /// The same interaction, its token collected or not. Nothing changes where there is none.
    #[must_use]
    pub fn clone_collected(&self, is_collected: bool) -> Self {
        let mut changed = self.clone();
        if let InteractionState::Granted { collected, .. } = &mut changed.state {
            *collected = is_collected;
        }
        changed
    }

    /// Whether the grant was there before, so that nobody was asked.
    pub fn was_granted_before(&self) -> bool {
        matches!(self.state, InteractionState::Granted { before: true, .. })
    }

    /// Whether nobody has answered to the end.
    pub fn is_undecided(&self) -> bool {
        matches!(
            self.state,
            InteractionState::Pending
                | InteractionState::AtProvider { .. }
                | InteractionState::Choosing { .. }
        )
    }

    /// Whether an answer is still possible.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.is_undecided() && now < self.expires_at
    }
}

impl Record for Interaction {
    const KIND: &'static str = "interaction";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![
            ("asker", Self::asker_index(&self.question.agent, &self.question.user)),
            ("user", self.question.user.to_string()),
        ]
    }

    fn unique(&self) -> Vec<(&'static str, String)> {
        let mut unique = vec![("auth_req_id", self.auth_req_id.hex())];
        // While it can be answered, no second interaction may ask the same.
        if self.is_undecided() {
            unique.push(("question", self.question.fingerprint()));
            // Nor may two take one place: counting alone would let many at the same moment slip past.
            let asker = Self::asker_index(&self.question.agent, &self.question.user);
            unique.push(("place", format!("{asker}/{}", self.place)));
        }
        unique
    }
}
