//! What the OAuth endpoints do: token exchange, polling, introspection, revocation. Knows no HTTP;
//! `web` parses requests into [`Params`] and writes answers.

mod answer;
mod ask;
mod bind;
mod client;
mod delegate;
mod details;
pub mod dpop;
mod error;
mod exchange;
mod id_jag;
mod introspect;
mod keys;
mod mint;
mod params;
mod poll;
mod revoke;
mod sub_agent;
mod subject;
mod verify;

pub use answer::{Interaction, IssuedToken, TokenAnswer};
pub use ask::AskAnswer;
pub use client::{ClientAuthentication, ClientProof};
pub use delegate::DelegationAnswer;
pub use error::TokenError;
pub use id_jag::{Vouched, VouchedRequest};
pub use introspect::{Introspection, Introspector};
pub use keys::{KeyError, SigningKeys};
pub use params::{Params, RequestInfo};
pub use verify::{Scheme, ShownToken, StandingToken, VerifiedToken, VerifyError};

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::agents::Agents;
use crate::audiences::Audiences;
use crate::audit::AuditLog;
use crate::connections::Connections;
use crate::interactions::Interactions;
use crate::kernel::clock::Clock;
use crate::kernel::entropy::Entropy;
use crate::kernel::ids::ProviderSlug;
use crate::policy::Decider;
use crate::store::Store;
use crate::upstream::Upstream;
use crate::vault::Vault;

/// Token exchange (RFC 8693).
pub const GRANT_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// Polling an interaction (the shape of OpenID CIBA).
pub const GRANT_CIBA: &str = "urn:openid:params:grant-type:ciba";
/// Acting as itself (RFC 6749, section 4.4).
pub const GRANT_CLIENT: &str = "client_credentials";
/// An assertion as a grant (RFC 7523, section 2.1): an identity assertion authorization grant.
pub const GRANT_JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// An identity assertion authorization grant (draft-ietf-oauth-identity-assertion-authz-grant).
pub const TYPE_ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
/// The type of a gateway token.
pub const TYPE_GATEWAY: &str = "urn:valetkey:token-type:gateway";
/// The type of a provider token.
pub const TYPE_ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
/// A user named by id or e-mail.
pub const TYPE_USER: &str = "urn:valetkey:token-type:user";
/// An ID token.
pub const TYPE_ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// A JWT of a trusted issuer.
pub const TYPE_JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// How long a gateway token lives.
pub const GATEWAY_TOKEN_LIFE: Duration = Duration::from_secs(300);
/// The longest that a provider token that was handed out may live (invariant 7).
pub const PROVIDER_TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// How old the proof of a user's presence may be.
pub const SUBJECT_TOKEN_AGE: Duration = Duration::from_secs(600);

/// The rooms that the OAuth endpoints work with.
#[derive(Clone)]
pub struct Tokens {
    /// The store.
    pub store: Store,
    /// The vault.
    pub vault: Arc<Vault>,
    /// The log.
    pub audit: AuditLog,
    /// Agents.
    pub agents: Agents,
    /// Internal back ends.
    pub audiences: Audiences,
    /// What signs delegation JWTs.
    pub keys: SigningKeys,
    /// Connections.
    pub connections: Connections,
    /// Interactions.
    pub interactions: Interactions,
    /// The pipeline.
    pub decider: Decider,
    /// Checks ID tokens.
    pub upstream: Upstream,
    /// The provider that employees sign in with; its ID tokens prove presence.
    pub sign_in: Option<ProviderSlug>,
    /// Makes nonces, and remembers which proofs of possession were used.
    pub proofs: dpop::Proofs,
    /// Our own base URL.
    pub issuer: Url,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Tokens {
    /// The absolute URL of a path of ours.
    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.issuer.as_str().trim_end_matches('/'))
    }
}
