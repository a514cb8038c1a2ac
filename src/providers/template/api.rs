//! APIs, and the scopes with the calls that each opens.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::kernel::data_class::DataClass;
use crate::kernel::scope::Scope;
use crate::kernel::text::Localized;
use crate::providers::template::{OkMember, SendToken};

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
    /// Hosts that answers of routes with `follow` may redirect to: `files.example.com`, or
    /// `*.example.com` for every name below it.
    #[serde(default)]
    pub storage_hosts: Vec<String>,
    /// Top-level members of an answer that hold the address of its next page: rewritten to the gateway.
    #[serde(default)]
    pub links: Vec<String>,
    /// Top-level members of an answer that count what it lists: left out where a limit drops items.
    #[serde(default)]
    pub counts: Vec<String>,
    /// Parameters that pick what is listed by what is in it (`$search`, `$filter`). Where a limit leaves items out
    /// of an answer, such a parameter would tell of them by what is missing, so it is refused unless the limit is
    /// joined with it.
    #[serde(default)]
    pub searches: Vec<String>,
    /// The parameter that picks members of objects, as a comma-separated list: what a limit compares is
    /// added to it.
    #[serde(default)]
    pub select: Option<String>,
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
    /// The classes of data that it opens. None: `unclassified`, closed to agents that are restricted to some.
    #[serde(default)]
    pub data_classes: BTreeSet<DataClass>,
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
    /// Whether the answer may be a redirect to storage, which is then fetched by the gateway and without a
    /// token: the address in it opens the file to whoever has it. GET only.
    #[serde(default)]
    pub follow: bool,
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
