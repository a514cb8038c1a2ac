//! Gateway tokens: what is inside, and which were revoked one by one. Delegation JWTs: which may be alive.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, AudienceId, GrantId, ProviderSlug, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::limit::Limit;
use crate::model::record::Record;

/// What a token is bound to: whoever shows it shows as well that they hold this. Written as the `cnf` claim
/// (RFC 7800).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Thumbprint of the key whose proofs it needs (RFC 9449, section 6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jkt: Option<String>,
    /// Thumbprint of the client certificate that it needs (RFC 8705, section 3.1).
    #[serde(rename = "x5t#S256", default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

impl Binding {
    /// The `token_type` of a token with that binding.
    pub const fn token_type(binding: Option<&Self>) -> &'static str {
        match binding {
            Some(Self { jkt: Some(_), .. }) => "DPoP",
            _ => "Bearer",
        }
    }
}

/// What a gateway token says. It travels sealed inside the token itself: opaque to the agent, no
/// record to write when it is issued, nothing to look up but what may have changed since.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GatewayClaims {
    /// The token's own random name.
    #[serde(rename = "t")]
    pub token: String,
    /// Who may use it.
    #[serde(rename = "a")]
    pub agent: AgentId,
    /// For whom.
    #[serde(rename = "u")]
    pub user: UserId,
    /// At which provider.
    #[serde(rename = "p")]
    pub provider: ProviderSlug,
    /// Under which grant.
    #[serde(rename = "g")]
    pub grant: GrantId,
    /// With which scopes, at most.
    #[serde(rename = "s")]
    pub scopes: ScopeSet,
    /// Limits beside the grant's.
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// When it was issued.
    #[serde(rename = "i")]
    pub issued_at: Timestamp,
    /// When it ends.
    #[serde(rename = "x")]
    pub expires_at: Timestamp,
    /// The agent's task at the time of asking.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// What it is bound to.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

/// A gateway token that was revoked before its end. Kept until then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevokedToken {
    /// The token's name.
    pub token: String,
    /// When it would have ended.
    pub expires_at: Timestamp,
}

impl Record for RevokedToken {
    const KIND: &'static str = "revoked_token";

    fn key(&self) -> String {
        self.token.clone()
    }
}

/// Delegation JWTs of an agent for a user that have left for a back end: only the back end, and their end, can
/// stop them. Kept until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegatedTokens {
    /// Whose.
    pub agent: AgentId,
    /// For whom; `None` = the agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Where they work.
    pub audience: AudienceId,
    /// None of them lives longer.
    pub end_by: Timestamp,
}

impl Record for DelegatedTokens {
    const KIND: &'static str = "delegated_tokens";

    fn key(&self) -> String {
        let user = self.user.as_ref().map_or("-", UserId::as_str);
        format!("{}/{}/{user}", self.audience, self.agent)
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        let user = self.user.iter().map(|user| ("user", user.to_string()));
        user.chain([("agent", self.agent.to_string())]).collect()
    }
}
