//! The shape of a template: one file per provider in `providers/`, no secrets, no code.
//!
//! A vendor's oddity is data here first; what data cannot say is a named quirk (an enum value below),
//! documented where it is declared. No code names a provider.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::kernel::scope::{Scope, ScopeSet};
use crate::kernel::text::Localized;

/// A provider template. Texts may hold `{placeholders}` that name an entry of `company`, filled once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Version of this shape; 1.
    pub schema: u32,
    /// The provider's name.
    pub name: Localized,
    /// The vendor's documentation that the file was written from.
    pub docs: String,
    /// What an admin must state about the company. Keys are placeholder names.
    #[serde(default)]
    pub company: BTreeMap<String, CompanyField>,
    /// OpenID Connect discovery, instead of stating endpoints.
    #[serde(default)]
    pub discovery: Option<Discovery>,
    /// Sending the browser to the provider. Required unless discovered.
    #[serde(default)]
    pub authorize: Option<Authorize>,
    /// Redeeming the code. Required unless discovered; absent where the provider issues no user
    /// token and `identity.source = "code"` says who consented.
    #[serde(default)]
    pub token: Option<TokenEndpoint>,
    /// Refreshing. Absent where the provider has no refresh token.
    #[serde(default)]
    pub refresh: Option<Refresh>,
    /// Revoking. Absent where the provider cannot.
    #[serde(default)]
    pub revoke: Option<Revoke>,
    /// Tokens of the app itself, for routes that take no user token.
    #[serde(default)]
    pub app_token: Option<TokenEndpoint>,
    /// How the account is identified.
    pub identity: Identity,
    /// What the provider's errors mean. First match wins; none = `retry` for 5xx and 429, else `unknown`.
    #[serde(default)]
    pub errors: Vec<ErrorRule>,
    /// The provider's APIs, by the name used in gateway paths.
    #[serde(default)]
    pub api: BTreeMap<String, Api>,
    /// Scopes, each with what it opens.
    #[serde(default)]
    pub scope: Vec<ScopeEntry>,
}

/// One thing that an admin states about the company.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompanyField {
    /// What to ask for.
    pub title: Localized,
    /// An example, shown in forms and errors.
    pub example: String,
    /// What values are allowed.
    pub format: CompanyFormat,
    /// The value when none is stated; absent = required.
    #[serde(default)]
    pub default: Option<String>,
}

/// Allowed values of a company field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompanyFormat {
    /// A UUID.
    Uuid,
    /// Letters, digits, `_` and `-`.
    Word,
    /// A DNS host name with at least one dot; no port, no IP address.
    Host,
    /// An https origin with optional path, no query: an issuer.
    Issuer,
}

/// OpenID Connect discovery (`{issuer}/.well-known/openid-configuration`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discovery {
    /// The issuer, usually a placeholder.
    pub issuer: String,
}

/// The authorization request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorize {
    /// The endpoint; left out only with `discovery`, which then states it.
    #[serde(default)]
    pub url: String,
    /// Name of the client id parameter. Empty = it is not sent, because `params` names the app in the
    /// vendor's own way.
    #[serde(default = "default_client_id_param")]
    pub client_id_param: String,
    /// PKCE. Off only by this explicit key.
    #[serde(default)]
    pub pkce: Pkce,
    /// Fixed parameters, sent as they are.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// How the scopes that the user agreed to are sent.
    #[serde(default)]
    pub scopes: ScopeParam,
    /// A literal fragment at the end of the URL, without `#`.
    #[serde(default)]
    pub fragment: Option<String>,
    /// Which characters a `state` may have there.
    #[serde(default)]
    pub state_alphabet: StateAlphabet,
    /// Names under which the code may come back, in order. If several come they must be equal.
    #[serde(default = "default_code_params")]
    pub code_params: Vec<String>,
    /// Whether `iss` comes back (RFC 9207). `required` refuses an answer without it.
    #[serde(default)]
    pub iss: IssParam,
    /// What happens to an earlier consent of the same user and app.
    #[serde(default)]
    pub consent: ConsentSemantics,
}

fn default_client_id_param() -> String {
    "client_id".to_owned()
}

fn default_code_params() -> Vec<String> {
    vec!["code".to_owned()]
}

/// Whether and how PKCE is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Pkce {
    /// `S256`, always.
    #[default]
    S256,
    /// The provider has none.
    #[serde(rename = "off")]
    Off,
}

/// How scopes are sent to the authorization endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeParam {
    /// `asked`: the vendor's names of the agreed scopes plus `always`. `fixed`: only `always`, because
    /// the vendor's permissions are not values of `scope`.
    #[serde(default)]
    pub send: SendScopes,
    /// Values that are always sent: `openid`, `offline_access`.
    #[serde(default)]
    pub always: Vec<String>,
    /// Separator.
    #[serde(default = "default_separator")]
    pub separator: String,
    /// The most that one request may hold; 0 = no limit.
    #[serde(default)]
    pub max: usize,
}

fn default_separator() -> String {
    " ".to_owned()
}

impl Default for ScopeParam {
    fn default() -> Self {
        Self { send: SendScopes::default(), always: Vec::new(), separator: default_separator(), max: 0 }
    }
}

/// Which scopes are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendScopes {
    /// What was agreed.
    #[default]
    Asked,
    /// The fixed list only.
    Fixed,
}

/// The alphabet of `state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateAlphabet {
    /// Letters, digits, `-` and `_`.
    #[default]
    Base64url,
    /// Letters and digits only.
    Alphanumeric,
}

/// Whether `iss` is expected in the authorization response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssParam {
    /// Not promised; checked when it comes.
    #[default]
    Optional,
    /// Promised; an answer without it is refused.
    Required,
}

/// What a new consent does to a former one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentSemantics {
    /// It replaces it: requests ask for the union, or other agents would lose their scopes.
    #[default]
    Replaces,
    /// It adds to it.
    Accumulates,
    /// The vendor has no scopes at consent: an account once connected holds all that the app may do.
    Whole,
}

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
    /// Whether a single access token can be revoked too.
    #[serde(default)]
    pub access_tokens: bool,
    /// A member that says whether a 200 is a success. An empty body is one.
    #[serde(default)]
    pub ok: Option<OkMember>,
}

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

/// What an error asks for (ARCHITECTURE E 5).
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

/// One API of a provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Its origin, without path and without a slash at the end: `https://graph.microsoft.com`. Routes
    /// state the vendor's whole path, and so does the gateway's `{path}`.
    pub base: String,
    /// How it takes a token.
    #[serde(default)]
    pub send: SendToken,
    /// A member that says whether a 200 is a success.
    #[serde(default)]
    pub ok: Option<OkMember>,
    /// Request headers that pass, beside `accept`, `accept-language`, `content-type`, `range` and the
    /// conditional ones.
    #[serde(default)]
    pub request_headers: Vec<String>,
    /// Whether path literals are compared without regard to case (Microsoft Graph does).
    #[serde(default)]
    pub case_insensitive: bool,
    /// Query parameters that are refused, compared without regard to case: they would bring along what
    /// other scopes open (`$expand`).
    #[serde(default)]
    pub refuse_query: Vec<String>,
}

/// One scope.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeEntry {
    /// Valetkey's name of it: the vendor's own where there is one.
    pub name: Scope,
    /// What is sent to the vendor, where it differs.
    #[serde(default)]
    pub vendor: Option<String>,
    /// A few words.
    pub title: Localized,
    /// What it lets an agent do, in plain words.
    pub description: Localized,
    /// What it can do; everything but `read` starts unticked.
    pub access: Access,
    /// How much harm it can do.
    pub risk: Risk,
    /// Whether at the vendor it opens more than the routes below: its token never leaves.
    #[serde(default)]
    pub leaky: bool,
    /// Whether it is bookkeeping (`offline_access`, `openid`): never asked for, never counted.
    #[serde(default)]
    pub bookkeeping: bool,
    /// What it opens.
    #[serde(default)]
    pub routes: Vec<RouteEntry>,
}

/// What a scope can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Looks only.
    Read,
    /// Changes or deletes.
    Write,
    /// Sends in the user's name.
    Send,
    /// Gives others access.
    Share,
}

/// How much harm a scope can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
}

/// One call that a scope opens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteEntry {
    /// The API's name.
    pub api: String,
    /// `METHOD /path/{id}`: a `{name}` stands for exactly one whole segment, and is no company
    /// placeholder. Vendor paths as documented.
    pub call: String,
    /// Which token it takes.
    #[serde(default)]
    pub token: RouteToken,
    /// For `token = "app"` without a pin: says that the app's own data is meant, not a user's.
    #[serde(default)]
    pub app_data: bool,
    /// Scopes that are needed as well.
    #[serde(default)]
    pub also: Vec<Scope>,
    /// Path parameters that must be the user: parameter = pin. Another value is refused.
    #[serde(default)]
    pub pin_path: BTreeMap<String, String>,
    /// Query parameters that are overwritten with the user: parameter = pin.
    #[serde(default)]
    pub pin_query: BTreeMap<String, String>,
    /// Members of a JSON body that are overwritten with the user: member = pin.
    #[serde(default)]
    pub pin_body: BTreeMap<String, String>,
    /// Top-level members of a JSON body that are refused: they would name others beside the user.
    #[serde(default)]
    pub refuse_body: Vec<String>,
}

/// Which token a route takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteToken {
    /// The user's.
    #[default]
    User,
    /// The app's; such a route must pin the user somewhere, or say `app_data = true`.
    App,
}

impl Template {
    /// The entry of a scope.
    pub fn scope_entry(&self, name: &Scope) -> Option<&ScopeEntry> {
        self.scope.iter().find(|entry| &entry.name == name)
    }

    /// The scopes that people can grant: all but bookkeeping.
    pub fn grantable(&self) -> ScopeSet {
        self.scope.iter().filter(|entry| !entry.bookkeeping).map(|entry| entry.name.clone()).collect()
    }

    /// The bookkeeping scopes.
    pub fn bookkeeping(&self) -> ScopeSet {
        self.scope.iter().filter(|entry| entry.bookkeeping).map(|entry| entry.name.clone()).collect()
    }
}
