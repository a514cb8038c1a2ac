//! Sending the browser to the provider.

use std::collections::BTreeMap;

use serde::Deserialize;

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
