//! Whose account it is, and how tokens are sent.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::providers::template::OkMember;

/// How the account behind a consent is identified.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Where the identity comes from.
    pub source: IdentitySource,
    /// The issuer of ID tokens.
    #[serde(default)]
    pub issuer: String,
    /// Where the keys of ID tokens are.
    #[serde(default)]
    pub jwks_url: String,
    /// The endpoint, for `userinfo` and `code`.
    #[serde(default)]
    pub url: String,
    /// How the token is sent there, for `userinfo` (user token) and `code` (app token).
    #[serde(default)]
    pub send: SendToken,
    /// A member that says whether a 200 is a success.
    #[serde(default)]
    pub ok: Option<OkMember>,
    /// Where the stable subject is: a claim, or a member path. Absent there = refused.
    pub subject: String,
    /// Text that only subjects of other companies contain; such an account is refused. Empty = none.
    #[serde(default)]
    pub foreign_mark: String,
    /// Where the company is: a claim, a member path, `token:<member>` for the token answer, or
    /// `config` when the connection's endpoint already belongs to one company only.
    pub company: String,
    /// The company field that it must equal; empty only with `company = "config"`.
    #[serde(default)]
    pub company_equals: String,
    /// Where a name to show is, in order of preference.
    pub label: Vec<String>,
    /// Other identifiers that routes are pinned to: name = claim or member path.
    #[serde(default)]
    pub pins: BTreeMap<String, String>,
    /// A second look-up for pins, made with the app token (DingTalk: the user id behind a union id).
    #[serde(default)]
    pub pin_lookup: Option<PinLookup>,
}

/// Where an identity comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentitySource {
    /// An ID token that came with the code redemption, verified.
    IdToken,
    /// An endpoint that takes the user token.
    Userinfo,
    /// An endpoint that takes the app token and the code itself: there is no user token.
    Code,
}

/// A look-up of one more identifier.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinLookup {
    /// POSTed to, with the app token.
    pub url: String,
    /// How the token is sent.
    pub send: SendToken,
    /// The JSON body: member = name of a pin already known.
    pub body: BTreeMap<String, String>,
    /// A member that says whether a 200 is a success.
    #[serde(default)]
    pub ok: Option<OkMember>,
    /// What is learnt: name of the pin = member path.
    pub pins: BTreeMap<String, String>,
}

/// How an API takes its token: exactly one of header or query.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendToken {
    /// A header's name; `Authorization` is sent with `Bearer `, any other with the bare token.
    #[serde(default)]
    pub header: Option<String>,
    /// A query parameter's name.
    #[serde(default)]
    pub query: Option<String>,
}

impl Default for SendToken {
    fn default() -> Self {
        Self { header: Some("Authorization".to_owned()), query: None }
    }
}
