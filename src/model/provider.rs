//! Providers: templates that an admin has configured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::ProviderSlug;
use crate::model::record::{Record, SealedField};
use crate::model::sealed::{Context, Sealed};

/// A configured provider. The client secret is sealed under [`Provider::secret_context`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Provider {
    /// Name, unique; also the path of its callback and its gateway.
    pub slug: ProviderSlug,
    /// The template that it follows.
    pub template: String,
    /// OAuth client id (app id, corp id) at the provider.
    pub client_id: String,
    /// The sealed client secret.
    pub client_secret: Sealed,
    /// What the template asks of the company: tenant id, corp id, issuer. Fills `{placeholders}`.
    pub company: BTreeMap<String, String>,
    /// Whether it may be used.
    pub enabled: bool,
    /// When it was configured.
    pub created_at: Timestamp,
    /// Counts configurations of the secret; part of what it is bound to.
    pub generation: u64,
}

impl Provider {
    /// What the client secret is bound to.
    pub fn secret_context(&self) -> Context<'_> {
        Context {
            kind: Self::KIND,
            id: self.slug.as_str(),
            field: "client_secret",
            generation: self.generation,
        }
    }
}

impl Record for Provider {
    const KIND: &'static str = "provider";
    const SEALED: &'static [SealedField] = &[SealedField {
        path: &["client_secret"],
        field: "client_secret",
        generation: Some(&["generation"]),
    }];

    fn key(&self) -> String {
        self.slug.to_string()
    }
}

/// An app token (client credentials) of a provider, cached for routes that take no user token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AppToken {
    /// The provider.
    pub provider: ProviderSlug,
    /// The sealed token.
    pub token: Sealed,
    /// When it was obtained.
    pub obtained_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// Counts fetches; part of what the token is bound to.
    pub generation: u64,
}

impl AppToken {
    /// What the token is bound to.
    pub fn context(provider: &ProviderSlug, generation: u64) -> Context<'_> {
        Context { kind: Self::KIND, id: provider.as_str(), field: "token", generation }
    }
}

impl Record for AppToken {
    const KIND: &'static str = "app_token";
    const SEALED: &'static [SealedField] =
        &[SealedField { path: &["token"], field: "token", generation: Some(&["generation"]) }];

    fn key(&self) -> String {
        self.provider.to_string()
    }
}
