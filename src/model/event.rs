//! Entries of the audit log. Made of identifiers, closed vocabularies and cleaned text: there is no
//! field that a secret type fits into.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{
    AgentId, AudienceId, ConnectionId, EventId, GrantId, InteractionId, ProviderSlug, StopId, UserId,
};
use crate::kernel::said::Said;
use crate::kernel::scope::ScopeSet;

/// The action of an event that tells of another node's signed head; its reason is the head itself.
pub const WITNESSED: &str = "audit.witnessed";

/// What an event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A token was asked for: decision and reasons.
    TokenDecision,
    /// What became of it.
    TokenOutcome,
    /// A gateway call: decision and reasons.
    GatewayDecision,
    /// What became of it.
    GatewayOutcome,
    /// An interaction was opened, answered, refused, or withdrawn.
    Interaction,
    /// A grant came to be or ended.
    Grant,
    /// A connection was made, repaired, or ended.
    Connection,
    /// A refresh was begun or ended.
    Refresh,
    /// Someone signed in or out, or tried to.
    SignIn,
    /// An admin changed something.
    Admin,
    /// A stop was set or lifted.
    Stop,
    /// A token that we issued was revoked.
    Revocation,
    /// The service started or stopped.
    Service,
}

/// How a decision came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Permitted.
    Permit,
    /// Refused.
    Deny,
    /// A person must help.
    NeedsPerson,
}

/// How something that was begun has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not done, or the provider says that it failed; the reasons say how.
    Failed,
    /// The provider has answered, but the answer, or the rest of it, was not released.
    Withheld,
    /// It may have been done: the provider's answer was lost, or whoever asked has gone away.
    Unknown,
}

/// What is to be written down. Every field is optional but the kind; `reasons` and `action` are in
/// our own words, never copied from a request or an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventDraft {
    /// What it tells of.
    pub kind: EventKind,
    /// What happened, as a short stable code such as `grant.revoked`.
    pub action: String,
    /// Who acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// For whom, or which person acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The admin who acted, by e-mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// At which provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderSlug>,
    /// At which internal back end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<AudienceId>,
    /// With which connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionId>,
    /// Under which grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// In which interaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interaction: Option<InteractionId>,
    /// Which stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopId>,
    /// The decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Those of the reasons that can be told in another language.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
    /// Which scopes it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<ScopeSet>,
    /// Method and route pattern of a gateway call, as the template writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The path that was called, cleaned; without its query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The HTTP status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How many bytes were released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The event that this one completes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refers_to: Option<EventId>,
    /// The agent's task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The agent's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_message: Option<String>,
    /// W3C trace context of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<std::net::IpAddr>,
}

impl EventDraft {
    /// A draft with everything else left open.
    pub fn new(kind: EventKind, action: &str) -> Self {
        Self {
            kind,
            action: action.to_owned(),
            agent: None,
            user: None,
            admin: None,
            provider: None,
            audience: None,
            connection: None,
            grant: None,
            interaction: None,
            stop: None,
            verdict: None,
            reasons: Vec::new(),
            said: Vec::new(),
            scopes: None,
            route: None,
            path: None,
            outcome: None,
            status: None,
            bytes: None,
            refers_to: None,
            task: None,
            binding_message: None,
            traceparent: None,
            client_address: None,
        }
    }
}

/// An entry as it stands in the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Position in the log, from 1.
    pub seq: u64,
    /// Identifier.
    pub id: EventId,
    /// When it was written.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub draft: EventDraft,
}
