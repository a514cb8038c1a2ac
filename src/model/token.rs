//! Gateway tokens: what is inside, and which were revoked one by one.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, GrantId, ProviderSlug, UserId};
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
