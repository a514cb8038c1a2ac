//! Token endpoints: redeeming, refreshing, revoking, app tokens.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A token endpoint: code redemption, refresh (same endpoint, other fields), or app tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEndpoint {
    /// The endpoint; left out only with `discovery`, which then states it.
    #[serde(default)]
    pub url: String,
    /// How parameters travel.
    #[serde(default)]
    pub format: TokenFormat,
    /// How the client authenticates.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// The vendor's names for OAuth parameters that differ: `client_id = "clientId"`. A parameter
    /// mapped to the empty string is not sent.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
    /// Fixed parameters, sent as they are.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Where things are in the answer.
    #[serde(default)]
    pub answer: TokenAnswer,
}

/// How parameters travel to a token endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFormat {
    /// POST, `application/x-www-form-urlencoded`.
    #[default]
    Form,
    /// POST, JSON object.
    Json,
    /// GET, query. Such URLs are never logged.
    Query,
}

/// Client authentication at the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// In the body (`client_secret_post`), or wherever `format` puts parameters.
    #[default]
    Post,
    /// HTTP Basic (`client_secret_basic`).
    Basic,
}

/// Where things are in a token answer: names of members, dots for nesting (`data.access_token`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenAnswer {
    /// A member that says whether a 200 is a success.
    pub ok: Option<OkMember>,
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: String,
    /// Its life in seconds.
    pub refresh_expires_in: String,
    /// The access token's life in seconds; integers or digits in a string.
    pub expires_in: String,
    /// The granted scopes.
    pub scope: String,
    /// The ID token.
    pub id_token: String,
    /// The access token's life where the answer does not say, in seconds.
    pub default_expires_in: u64,
}

impl Default for TokenAnswer {
    fn default() -> Self {
        Self {
            ok: None,
            access_token: "access_token".to_owned(),
            refresh_token: "refresh_token".to_owned(),
            refresh_expires_in: "refresh_token_expires_in".to_owned(),
            expires_in: "expires_in".to_owned(),
            scope: "scope".to_owned(),
            id_token: "id_token".to_owned(),
            default_expires_in: 300,
        }
    }
}

/// A member that distinguishes success from failure inside HTTP 200.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OkMember {
    /// Its name.
    pub member: String,
    /// Its value on success, as text: `0` also matches the number 0.
    pub equals: String,
    /// Whether an answer without it is a success.
    #[serde(default)]
    pub absent_is_ok: bool,
}

/// What a refresh does.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// What becomes of the token that was spent.
    pub rotation: Rotation,
    /// Seconds during which a spent token still works; only with `rotation = "grace"`.
    #[serde(default)]
    pub grace_s: u64,
    /// Whether re-use of a spent token kills the whole family. Unknown counts as yes.
    pub reuse_detection: bool,
    /// What a `scope` parameter does.
    pub narrowing: Narrowing,
    /// Scopes that every narrowed refresh must name too, or the refresh token could be lost.
    #[serde(default)]
    pub always: Vec<String>,
    /// The refresh token's life in seconds, where the answer does not say; 0 = unknown.
    #[serde(default)]
    pub lifetime_s: u64,
    /// Whether a new refresh token inherits the end of the one that was spent: renewing ahead of time then gains
    /// nothing.
    #[serde(default)]
    pub fixed_life: bool,
    /// Days after consent when only a new consent helps; 0 = no such limit.
    #[serde(default)]
    pub consent_days: u32,
    /// Whether an un-narrowed refresh must name its scopes.
    #[serde(default)]
    pub send_scope: bool,
}

/// What becomes of a refresh token that was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// A new one comes, the old one dies at once.
    Strict,
    /// A new one comes, the old one works for `grace_s` seconds.
    Grace,
    /// The old one goes on working, whether or not a new one comes.
    KeepsOld,
}

/// What a `scope` parameter does on refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Narrowing {
    /// The access token holds only the scopes named. Only such providers' tokens can ever leave.
    Narrows,
    /// It changes nothing.
    Ignored,
    /// It is refused.
    Rejected,
}

/// Revoking a token (RFC 7009 or like it).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The endpoint; left out only with `discovery`, which then states it.
    #[serde(default)]
    pub url: String,
    /// How the client authenticates.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// Whether revoking a refresh token ends the tokens of its own consent alone, and not those of the user's other
    /// consents to this client. Unknown counts as `false`.
    #[serde(default)]
    pub apart: bool,
    /// Whether a single access token can be revoked too.
    #[serde(default)]
    pub access_tokens: bool,
    /// A member that says whether a 200 is a success. An empty body is one.
    #[serde(default)]
    pub ok: Option<OkMember>,
}
