//! Connections: one upstream account of one user at one provider, and the life of its tokens.

use serde::{Deserialize, Serialize};

use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ConnectionId, GrantId, ProviderSlug, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::record::{Record, SealedField};
use crate::model::sealed::{Context, Sealed};

/// The upstream account, as the template's stable key names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The company that the account belongs to (tenant id, corp id, tenant key, issuer).
    pub company: String,
    /// The account's stable subject there.
    pub subject: String,
    /// A name to show: e-mail or nick name. Not a key.
    pub label: String,
    /// Other identifiers that routes are pinned to, by the template's names (`union_id`, `userid`).
    pub pins: std::collections::BTreeMap<String, String>,
}

/// Whether a connection can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum ConnectionState {
    /// Works.
    Active,
    /// A refresh was begun and its outcome is not known.
    InDoubt {
        /// Since when.
        since: Timestamp,
    },
    /// Only the user can repair it, by consenting again.
    NeedsReauth {
        /// Why.
        reason: ReauthReason,
        /// Since when.
        since: Timestamp,
    },
    /// Disconnected; kept for the record.
    Disconnected {
        /// When.
        at: Timestamp,
    },
}

/// Why a user has to consent again, shown to them in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReauthReason {
    /// The provider refused the refresh token: expired, revoked or used.
    RefreshTokenRefused,
    /// The provider asks for a stronger sign-in.
    StepUp,
    /// The provider's answer to a refresh was lost, and trying again could kill a live token.
    AnswerLost,
    /// The consent's fixed life is over.
    ConsentExpired,
    /// The provider issued no refresh token.
    NoRefreshToken,
    /// The account or the user is gone at the provider.
    AccountGone,
    /// A consent for something else has left out what agents use the account for.
    ScopesLeftOut,
}

/// A refresh that was begun: written before the call, cleared with its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshIntent {
    /// A random name of this attempt.
    pub attempt: String,
    /// The generation whose token is being spent.
    pub generation: u64,
    /// When the token was first spent, be it by an earlier attempt: the provider's grace counts from here.
    pub started_at: Timestamp,
    /// How many attempts before this one ended without a known outcome.
    #[serde(default)]
    pub lost: u32,
    /// Whether an answer came that could not be read. It lies in the spool of the node that received it, and may
    /// hold the next token: others must not show the old one meanwhile.
    #[serde(default)]
    pub unread: bool,
}

/// Who may dial: decides nothing about who may save.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The process that holds it.
    pub owner: String,
    /// Counts leases of this connection.
    pub epoch: u64,
    /// When it lapses.
    pub until: Timestamp,
}

/// After failures: how many in a row, and when to try again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Failures in a row.
    pub failures: u32,
    /// No dial before this moment.
    pub not_before: Option<Timestamp>,
    /// The class of the last failure, in the template's words.
    pub last_error: Option<String>,
}

/// An access token that is kept, sealed, until it expires.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CachedToken {
    /// The sealed token.
    pub token: Sealed,
    /// What the provider says that it opens.
    pub scopes: ScopeSet,
    /// Whether the provider stated the scopes itself (invariant 2 asks for it).
    pub scopes_stated: bool,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// The generation after that of the refresh token which it was obtained with; part of what it is bound to.
    pub generation: u64,
}

/// One upstream account of one user at one provider. The refresh token lives here, sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connection {
    /// Identifier.
    pub id: ConnectionId,
    /// Whose account it is.
    pub user: UserId,
    /// At which provider.
    pub provider: ProviderSlug,
    /// Which account there.
    pub account: Account,
    /// Whether it can be used.
    pub state: ConnectionState,
    /// Whether it is the user's default account at this provider.
    pub is_default: bool,
    /// What the provider has granted, in the template's scope names.
    pub scopes: ScopeSet,
    /// Counts refresh tokens. It alone conditions the save of a new one.
    pub generation: u64,
    /// The sealed refresh token, where the provider has such.
    pub refresh_token: Option<Sealed>,
    /// The access token that came with the newest generation; used at the gateway, never released.
    pub access: Option<CachedToken>,
    /// When the refresh token expires, if known.
    pub refresh_expires_at: Option<Timestamp>,
    /// When the newest consent's tokens arrived.
    #[serde(default)]
    pub consented_at: Option<Timestamp>,
    /// When the consent itself ends, if the provider has such a limit.
    pub consent_expires_at: Option<Timestamp>,
    /// A refresh whose outcome has not been stored yet.
    pub intent: Option<RefreshIntent>,
    /// Who may dial.
    pub lease: Option<Lease>,
    /// After failures.
    pub backoff: Backoff,
    /// When it was made.
    pub created_at: Timestamp,
    /// When tokens were last obtained.
    pub refreshed_at: Timestamp,
}

impl Connection {
    /// What the refresh token of a generation is bound to.
    pub fn refresh_context(id: &ConnectionId, generation: u64) -> Context<'_> {
        Context { kind: Self::KIND, id: id.as_str(), field: "refresh_token", generation }
    }

    /// The index of what a start has to finish.
    pub const UNSETTLED: &'static str = "unsettled";
    /// In [`Connection::UNSETTLED`]: a refresh was begun, and its outcome is not stored.
    pub const REFRESH: &'static str = "refresh";
    /// In [`Connection::UNSETTLED`]: it was disconnected, and its tokens are not revoked and wiped yet.
    pub const FAREWELL: &'static str = "farewell";

    /// What a start has to finish, if anything: the value of the index [`Connection::UNSETTLED`].
    pub fn unsettled(&self) -> Option<&'static str> {
        match self.state {
            ConnectionState::Disconnected { .. } => {
                (self.refresh_token.is_some() || self.access.is_some()).then_some(Self::FAREWELL)
            }
            _ => self.intent.is_some().then_some(Self::REFRESH),
        }
    }

    /// The value of the index by user and provider.
    pub fn user_provider_index(user: &UserId, provider: &ProviderSlug) -> String {
        format!("{user}/{provider}")
    }

    /// The value of the unique index: one connection for one account of one user. Length-prefixed, so
    /// that no company and subject can pass for another pair.
    pub fn account_index(user: &UserId, provider: &ProviderSlug, account: &Account) -> String {
        let Account { company, subject, .. } = account;
        format!("{user}/{provider}/{}:{company}{subject}", company.len())
    }

    /// What the access token of a generation is bound to.
    pub fn access_context(id: &ConnectionId, generation: u64) -> Context<'_> {
        Context { kind: Self::KIND, id: id.as_str(), field: "access_token", generation }
    }
}

impl Record for Connection {
    const KIND: &'static str = "connection";
    const SEALED: &'static [SealedField] = &[
        SealedField { path: &["refresh_token"], field: "refresh_token", generation: Some(&["generation"]) },
        SealedField {
            path: &["access", "token"],
            field: "access_token",
            generation: Some(&["access", "generation"]),
        },
    ];

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        let mut indexes = vec![
            ("user", self.user.to_string()),
            ("user_provider", Self::user_provider_index(&self.user, &self.provider)),
        ];
        indexes.extend(self.unsettled().map(|what| (Self::UNSETTLED, what.to_owned())));
        indexes
    }

    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("account", Self::account_index(&self.user, &self.provider, &self.account))]
    }
}

/// A provider token minted for one grant and one scope set; the only kind that may leave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrantToken {
    /// The grant.
    pub grant: GrantId,
    /// The connection that it was minted from.
    pub connection: ConnectionId,
    /// What was asked for, bookkeeping scopes left out.
    pub asked: ScopeSet,
    /// The token.
    pub token: CachedToken,
    /// When we revoke it upstream: because it would outlive what is allowed for tokens that have
    /// left (invariant 7), or because its grant has ended.
    #[serde(default)]
    pub revoke_at: Option<Timestamp>,
    /// Keyed digest of the token, by which the agent that holds it can give it back.
    #[serde(default)]
    pub digest: Option<TokenDigest>,
    /// Whether a newer token took its place; it is only kept until it is revoked or dead.
    #[serde(default)]
    pub set_aside: bool,
}

impl GrantToken {
    /// What the token is bound to; `id` is the record's key.
    pub fn context(id: &str, generation: u64) -> Context<'_> {
        Context { kind: Self::KIND, id, field: "token", generation }
    }

    /// The record's key: the grant and what was asked.
    pub fn key_of(grant: &GrantId, asked: &ScopeSet) -> String {
        format!("{grant}/{asked}")
    }

    /// When it stops working, by itself or because we revoke it.
    pub fn ends_at(&self) -> Timestamp {
        self.revoke_at.map_or(self.token.expires_at, |at| at.min(self.token.expires_at))
    }
}

impl Record for GrantToken {
    const KIND: &'static str = "grant_token";
    const SEALED: &'static [SealedField] = &[SealedField {
        path: &["token", "token"],
        field: "token",
        generation: Some(&["token", "generation"]),
    }];

    fn key(&self) -> String {
        let key = Self::key_of(&self.grant, &self.asked);
        // Two spaces never stand in a scope set's text, so this is no other set's key.
        if self.set_aside { format!("{key}  {}", self.token.generation) } else { key }
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        let mut indexes =
            vec![("connection", self.connection.to_string()), ("grant", self.grant.to_string())];
        indexes.extend(self.digest.map(|digest| ("digest", digest.hex())));
        indexes
    }
}

/// A refresh token beside that of its connection: one that arrived after the generation had moved on, which is kept
/// until the account is disconnected; or one that is to be revoked, which is noted here until it is dead, or has
/// been tried for long.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StrayToken {
    /// The connection.
    pub connection: ConnectionId,
    /// The attempt that obtained it.
    pub attempt: String,
    /// The sealed refresh token, bound to this record.
    pub refresh_token: Sealed,
    /// When it arrived, or came to be of no use: its revocation is tried for 30 days from then.
    pub at: Timestamp,
    /// When it is to be revoked upstream, or, while that is tried, to be tried again; none for one that is kept.
    #[serde(default)]
    pub revoke_at: Option<Timestamp>,
    /// Of a former consent's token: its last generation. Tokens that agents were handed under it end with it.
    #[serde(default)]
    pub former: Option<u64>,
}

impl StrayToken {
    /// The record's key.
    pub fn key_of(connection: &ConnectionId, attempt: &str) -> String {
        format!("{connection}/{attempt}")
    }

    /// What the token is bound to; `id` is the record's key.
    pub fn context(id: &str) -> Context<'_> {
        Context { kind: Self::KIND, id, field: "refresh_token", generation: 0 }
    }
}

impl Record for StrayToken {
    const KIND: &'static str = "stray_token";
    const SEALED: &'static [SealedField] =
        &[SealedField { path: &["refresh_token"], field: "refresh_token", generation: None }];

    fn key(&self) -> String {
        Self::key_of(&self.connection, &self.attempt)
    }
}
