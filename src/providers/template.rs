//! The shape of a template: one file per provider in `providers/`, no secrets, no code.
//!
//! A vendor's oddity is data here first; what data cannot say is a named quirk (an enum value below),
//! documented where it is declared. No code names a provider.

mod api;
mod authorize;
mod errors;
mod identity;
mod limit;
mod token;

pub use api::{Access, Api, Risk, RouteEntry, RouteToken, ScopeEntry};
pub use authorize::{Authorize, ConsentSemantics, IssParam, Pkce, ScopeParam, SendScopes, StateAlphabet};
pub use errors::{ErrorClass, ErrorPlace, ErrorRule};
pub use identity::{Identity, IdentitySource, PinLookup, SendToken};
pub use limit::{
    CallEntry, Field, Filter, LimitEntry, NameRef, ObjectEntry, ObjectList, ObjectPlace, Place, Test,
    TimeForm, Window, WindowPlace,
};
pub use token::{
    ClientAuth, Narrowing, OkMember, Refresh, Revoke, Rotation, TokenAnswer, TokenEndpoint, TokenFormat,
};

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::kernel::scope::{Scope, ScopeSet};
use crate::kernel::text::Localized;
use crate::model::limit::{Limit, LimitKind};

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
    /// The kinds of things that limits bound.
    #[serde(default)]
    pub object: BTreeMap<String, ObjectEntry>,
    /// The limits that the vendor's APIs can express.
    #[serde(default)]
    pub limit: Vec<LimitEntry>,
    /// What calls name, carry and give.
    #[serde(default)]
    pub call: Vec<CallEntry>,
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

impl Template {
    /// The entry of a scope.
    pub fn scope_entry(&self, name: &Scope) -> Option<&ScopeEntry> {
        self.scope.iter().find(|entry| &entry.name == name)
    }

    /// Whether people can grant that scope.
    pub fn is_grantable(&self, name: &Scope) -> bool {
        self.scope_entry(name).is_some_and(|entry| !entry.bookkeeping)
    }

    /// The entry of a limit on one API.
    pub fn limit_entry(&self, kind: LimitKind, api: &str) -> Option<&LimitEntry> {
        self.limit.iter().find(|entry| entry.kind == kind && entry.api == api)
    }

    /// Whether a limit can be enforced here. General bounds can everywhere.
    pub fn offers(&self, limit: &Limit) -> bool {
        match &limit.api {
            None => limit.kind().is_general(),
            Some(api) => self.limit_entry(limit.kind(), api).is_some(),
        }
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
