//! What a provider's errors mean.

use serde::Deserialize;

/// What an error means. All conditions that are stated must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorRule {
    /// Where it is seen: `token` (redeeming and refreshing) or `api`.
    pub at: ErrorPlace,
    /// HTTP status.
    #[serde(default)]
    pub status: Option<u16>,
    /// The member that holds the code (`error`, `code`, `errcode`, `error_codes.0`).
    #[serde(default)]
    pub member: Option<String>,
    /// Values of that member, as text; numbers match their digits.
    #[serde(default)]
    pub values: Vec<String>,
    /// What it means.
    pub class: ErrorClass,
}

/// Where an error is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorPlace {
    /// At the token endpoint.
    Token,
    /// At an API.
    Api,
}

/// What an error asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// Passing trouble: try again later.
    Retry,
    /// The user must consent again.
    Reauth,
    /// The user must sign in more strongly.
    StepUp,
    /// The provider's administrator must act.
    Admin,
    /// Our own registration or secret at the provider is wrong.
    Config,
    /// The account is gone.
    Gone,
    /// The access token is stale: obtain another, once.
    StaleToken,
    /// The request itself was wrong.
    Request,
    /// Nothing known: keep everything, try again with care.
    Unknown,
}
