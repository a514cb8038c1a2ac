//! Browser sessions, and the OAuth transactions that a browser has open at a provider.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ConnectionId, InteractionId, ProviderSlug, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::record::{Record, SealedField};
use crate::model::sealed::{Context, Sealed};
use crate::model::user::Role;

/// Who is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "who")]
pub enum Principal {
    /// An employee.
    User {
        /// Which.
        user: UserId,
    },
    /// An admin, signed in with a password.
    Admin {
        /// Which.
        email: String,
        /// What they may do.
        role: Role,
    },
}

/// A browser session; the cookie's value is known by its digest only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Digest of the cookie's value.
    pub digest: TokenDigest,
    /// Who is signed in.
    pub principal: Principal,
    /// When they signed in; the session ends 8 hours later.
    pub created_at: Timestamp,
    /// When it was last used; it ends after 30 idle minutes.
    pub seen_at: Timestamp,
}

/// A session ends after this time without use.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// And after this time in any case.
pub const ABSOLUTE: Duration = Duration::from_secs(8 * 3600);

impl Session {
    /// Whether it still holds.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now.since(self.seen_at) < IDLE && now.since(self.created_at) < ABSOLUTE
    }
}

impl Record for Session {
    const KIND: &'static str = "session";

    fn key(&self) -> String {
        self.digest.hex()
    }
}

/// Why a browser was sent to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "purpose")]
pub enum Purpose {
    /// To sign in to Valetkey; where to go afterwards is one of our own pages, by id.
    SignIn {
        /// The interaction to return to.
        then: Option<InteractionId>,
    },
    /// To obtain or widen a connection for an interaction.
    Connect {
        /// The interaction.
        interaction: InteractionId,
        /// The connection being repaired or widened; the account must be the same.
        connection: Option<ConnectionId>,
    },
    /// To make a connection usable again, from the user's own page.
    Reconnect {
        /// The connection; the account must be the same.
        connection: ConnectionId,
    },
}

/// A browser's open OAuth transaction at a provider. Found by the digest of `state`; used once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Transaction {
    /// Digest of the `state` that was sent.
    pub state: TokenDigest,
    /// Digest of the cookie of the browser that began it.
    pub browser: TokenDigest,
    /// Who began it; `None` for a sign-in.
    pub user: Option<UserId>,
    /// At which provider.
    pub provider: ProviderSlug,
    /// Why.
    pub purpose: Purpose,
    /// The scopes that were asked for.
    pub scopes: ScopeSet,
    /// The sealed PKCE verifier, where PKCE is used.
    pub verifier: Option<Sealed>,
    /// The nonce, where an ID token is expected.
    pub nonce: Option<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it lapses: ten minutes after the page that led to it was opened.
    #[serde(default = "over")]
    pub expires_at: Timestamp,
}

/// A transaction that was stored before it knew its own end has lapsed.
const fn over() -> Timestamp {
    Timestamp::from_secs(0)
}

impl Transaction {
    /// What the PKCE verifier is bound to; `id` is the record's key.
    pub fn verifier_context(id: &str) -> Context<'_> {
        Context { kind: Self::KIND, id, field: "verifier", generation: 0 }
    }
}

impl Record for Transaction {
    const KIND: &'static str = "transaction";
    const SEALED: &'static [SealedField] =
        &[SealedField { path: &["verifier"], field: "verifier", generation: None }];

    fn key(&self) -> String {
        self.state.hex()
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("browser", self.browser.hex())]
    }
}
