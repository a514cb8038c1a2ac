//! What a browser brings back from a provider.

use std::sync::Arc;

use crate::audit::AuditError;
use crate::connections::begin::STATE_PURPOSE;
use crate::connections::configured::text_of;
use crate::connections::discard::consents_are_apart;
use crate::connections::{ConnectionError, Connections, Inner, is_disconnected, judge};
use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ConnectionId, ProviderSlug, UserId};
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::Secret;
use crate::model::connection::{Backoff, Connection, ConnectionState, ReauthReason};
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::sealed::{SealError, Sealer as _};
use crate::model::session::{Purpose, Transaction};
use crate::providers::Configured;
use crate::providers::template::ConsentSemantics;
use crate::store::{Committed, StoreError, Stored, Tx};
use crate::upstream::{CallbackError, IdClaims, Redeemed, Redemption, UpstreamError};

/// What came of a trip to a provider.
#[derive(Debug)]
pub struct Completed {
    /// Why the browser was sent there.
    pub purpose: Purpose,
    /// The connection that was made or renewed; `None` for a sign-in.
    pub connection: Option<Connection>,
    /// What the ID token says, where there was one.
    pub id_claims: Option<IdClaims>,
}

/// Why a trip to a provider came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CompleteError {
    /// The answer belongs to no open transaction of ours; it may have been used already.
    #[error("this answer belongs to no open sign-in or consent; it may have been used already")]
    UnknownState,
    /// The person took too long.
    #[error("this sign-in or consent took more than ten minutes")]
    Expired,
    /// Another browser began it. It stays open for its owner.
    #[error("this consent was begun in another browser")]
    OtherBrowser,
    /// Another user began it. It stays open for its owner.
    #[error("this consent was begun by another user")]
    OtherUser,
    /// The person said no at the provider.
    #[error("the provider says that access was denied")]
    Denied {
        /// What it was for.
        purpose: Purpose,
    },
    /// The provider's answer cannot be used.
    #[error("the provider's answer cannot be used: {cause}")]
    BadAnswer {
        /// What it was for.
        purpose: Purpose,
        /// What is wrong with it.
        #[source]
        cause: CallbackError,
    },
    /// The account is not the one that the connection belongs to.
    #[error("this is another account than the one being renewed")]
    OtherAccount {
        /// What it was for.
        purpose: Purpose,
    },
    /// The account is connected already, with scopes that this consent leaves out.
    #[error("this account is connected already, and the consent would take scopes away from it")]
    AccountConnected {
        /// What it was for.
        purpose: Purpose,
    },
    /// The code could not be redeemed, or the account is not one of the configured company.
    #[error("the provider did not give access: {cause}")]
    Upstream {
        /// What it was for.
        purpose: Purpose,
        /// What happened.
        #[source]
        cause: Box<UpstreamError>,
    },
    /// The provider cannot be used.
    #[error(transparent)]
    Provider(#[from] ConnectionError),
    /// A sealed value of ours does not open.
    #[error("a sealed value does not open")]
    Sealed(#[from] SealError),
    /// The store could not be used.
    #[error("the store could not be used")]
    Store(#[from] StoreError),
    /// The audit log could not be written.
    #[error("the audit log could not be written")]
    Audit(#[from] AuditError),
}

impl CompleteError {
    /// What the trip was for, once that is known.
    pub fn purpose(&self) -> Option<&Purpose> {
        match self {
            Self::Denied { purpose }
            | Self::BadAnswer { purpose, .. }
            | Self::OtherAccount { purpose }
            | Self::AccountConnected { purpose }
            | Self::Upstream { purpose, .. } => Some(purpose),
            _ => None,
        }
    }
}

/// No provider was given a longer `state` than this.
const STATE_MAX: usize = 256;

impl Connections {
    /// Takes a provider's answer: checks that it came back to the browser and the user that began it,
    /// uses the transaction up, redeems the code, and stores the connection before returning.
    ///
    /// # Errors
    /// See [`CompleteError`]. A foreign browser or user redeems no code and leaves the transaction to its
    /// owner (invariant 3).
    pub async fn complete(
        &self,
        provider: &ProviderSlug,
        params: &[(String, String)],
        browser: &TokenDigest,
        user: Option<&UserId>,
    ) -> Result<Completed, CompleteError> {
        let inner = &self.inner;
        let stored = inner.find_transaction(provider, params).await?;
        check_owner(&stored, browser, user, inner.clock.now())?;
        let configured = inner.configured(provider).await?;
        let (task, params) = (Arc::clone(inner), Secret::new(params.to_vec()));
        // The code is as good as spent: what it brings is stored whatever becomes of this request.
        inner.outlasting(async move { task.come_back(configured, stored, params).await }).await
    }
}

fn check_owner(
    transaction: &Transaction,
    browser: &TokenDigest,
    user: Option<&UserId>,
    now: Timestamp,
) -> Result<(), CompleteError> {
    if transaction.expires_at < now {
        return Err(CompleteError::Expired);
    }
    if !transaction.browser.matches(browser) {
        return Err(CompleteError::OtherBrowser);
    }
    match (&transaction.purpose, &transaction.user, user) {
        // Whoever signs in is not known yet.
        (Purpose::SignIn { .. }, _, _) => Ok(()),
        (_, Some(owner), Some(user)) if owner == user => Ok(()),
        _ => Err(CompleteError::OtherUser),
    }
}

impl Inner {
    async fn find_transaction(
        &self,
        provider: &ProviderSlug,
        params: &[(String, String)],
    ) -> Result<Stored<Transaction>, CompleteError> {
        let mut states = params.iter().filter(|(name, _)| name == "state").map(|(_, value)| value);
        let state = states.next().filter(|state| !state.is_empty() && state.len() <= STATE_MAX);
        let (Some(state), None) = (state, states.next()) else { return Err(CompleteError::UnknownState) };
        let key = self.vault.state_digest(STATE_PURPOSE, state).hex();
        let found = self.store.get::<Transaction>(&key).await?;
        found.filter(|stored| &stored.provider == provider).ok_or(CompleteError::UnknownState)
    }

    /// Uses the transaction up, redeems the code, and stores what it brings.
    async fn come_back(
        self: &Arc<Self>,
        configured: Arc<Configured>,
        stored: Stored<Transaction>,
        params: Secret<Vec<(String, String)>>,
    ) -> Result<Completed, CompleteError> {
        self.use_up(&stored).await?;
        let transaction = stored.record().clone();
        let redeemed = self.redeem(&configured, &transaction, params.expose()).await?;
        drop(params);
        let renewed = match &transaction.purpose {
            Purpose::SignIn { .. } => {
                let (purpose, id_claims) = (transaction.purpose, redeemed.id_claims);
                return Ok(Completed { purpose, connection: None, id_claims });
            }
            Purpose::Reconnect { connection } => Some(connection.clone()),
            Purpose::Connect { connection, .. } => connection.clone(),
        };
        self.connect(&configured, transaction, renewed, redeemed).await
    }

    /// Single use: of two answers with the same `state`, one finds the transaction gone.
    async fn use_up(&self, stored: &Stored<Transaction>) -> Result<(), CompleteError> {
        let mut tx = Tx::new();
        tx.delete(stored);
        match self.patient.commit(tx).await? {
            Committed::Done => Ok(()),
            Committed::Conflict => Err(CompleteError::UnknownState),
        }
    }

    async fn redeem(
        &self,
        configured: &Configured,
        transaction: &Transaction,
        params: &[(String, String)],
    ) -> Result<Redeemed, CompleteError> {
        let purpose = || transaction.purpose.clone();
        let code = self.upstream.callback_code(configured, params).await.map_err(|cause| match cause {
            CallbackError::Denied => CompleteError::Denied { purpose: purpose() },
            cause => CompleteError::BadAnswer { purpose: purpose(), cause },
        })?;
        let key = transaction.state.hex();
        let verifier = match &transaction.verifier {
            Some(sealed) => {
                let opened = self.vault.open(Transaction::verifier_context(&key), sealed)?;
                Some(text_of(opened).ok_or(SealError::DoesNotOpen)?)
            }
            None => None,
        };
        let login = matches!(transaction.purpose, Purpose::SignIn { .. });
        let redirect_uri = self
            .redirect_uri(&transaction.provider, login)
            .ok_or(ConnectionError::Invalid("the redirect address cannot be made from the issuer"))?;
        let nonce = transaction.nonce.clone();
        let redemption = Redemption { code, redirect_uri, verifier, nonce, login };
        let redeemed = self.dialer.redeem(configured, &redemption).await;
        redeemed.map_err(|cause| CompleteError::Upstream { purpose: purpose(), cause: Box::new(cause) })
    }

    async fn connect(
        self: &Arc<Self>,
        configured: &Configured,
        transaction: Transaction,
        renewed: Option<ConnectionId>,
        redeemed: Redeemed,
    ) -> Result<Completed, CompleteError> {
        let Some(user) = &transaction.user else { return Err(CompleteError::OtherUser) };
        for _ in 0..self.tries() {
            let value = Connection::account_index(user, &configured.slug, &redeemed.account);
            let existing = self.store.find_unique::<Connection>("account", &value).await?;
            let is_connected = existing.as_ref().is_some_and(|existing| !is_disconnected(existing));
            let refusal = match refusal(configured, &transaction, renewed.as_ref(), existing.as_deref()) {
                Some(refusal) if !is_connected || consents_are_apart(configured) => {
                    if let Some(of) = existing.map(|existing| existing.id.clone()).or(renewed) {
                        self.give_back(configured, &of, &redeemed.tokens).await?;
                    }
                    return Err(refusal);
                }
                // INVARIANT: what may be the account's only live token by now is kept. Where nothing is known of
                // former consents, this one may have ended the token that we hold.
                refusal => refusal,
            };
            let connection =
                self.connected(configured, &transaction, user, existing.as_ref(), &redeemed).await?;
            let mut tx = Tx::new();
            match &existing {
                Some(existing) => tx.update(existing, &connection),
                None => tx.insert(&connection),
            };
            let former = existing.as_ref().and_then(|held| self.former(configured, held, &redeemed.tokens));
            if let Some(former) = &former {
                tx.insert(former);
            }
            // INVARIANT: the new refresh token is durable before anything depends on it; only then is it told.
            if self.written(self.store.commit(tx)).await? == Committed::Done {
                self.audit.record(connected_event(&connection, existing.is_some(), &transaction)).await?;
                if let Some(refusal) = refusal {
                    return Err(refusal);
                }
                return Ok(Completed {
                    purpose: transaction.purpose,
                    connection: Some(connection),
                    id_claims: redeemed.id_claims,
                });
            }
        }
        Err(CompleteError::Store(StoreError::Contended { key: configured.slug.to_string() }))
    }

    async fn connected(
        &self,
        configured: &Configured,
        transaction: &Transaction,
        user: &UserId,
        existing: Option<&Stored<Connection>>,
        redeemed: &Redeemed,
    ) -> Result<Connection, CompleteError> {
        let now = self.clock.now();
        let template = &configured.loaded.template;
        let mut connection = match existing {
            Some(existing) => existing.record().clone(),
            None => Connection {
                id: ConnectionId::generate(&*self.entropy),
                user: user.clone(),
                provider: configured.slug.clone(),
                account: redeemed.account.clone(),
                state: ConnectionState::Active,
                is_default: false,
                scopes: ScopeSet::new(),
                generation: 0,
                refresh_token: None,
                access: None,
                refresh_expires_at: None,
                consent_expires_at: None,
                intent: None,
                lease: None,
                backoff: Backoff::default(),
                created_at: now,
                refreshed_at: now,
            },
        };
        let mut held = existing.map(|existing| existing.scopes.clone());
        if is_disconnected(&connection) {
            // Connected anew: nothing of what it was counts.
            held = None;
            connection.refresh_token = None;
            connection.access = None;
        }
        connection.state = ConnectionState::Active;
        connection.scopes = judge::scopes_after_consent(
            template,
            held.as_ref(),
            &transaction.scopes,
            redeemed.tokens.scopes.as_ref(),
        );
        connection.account = redeemed.account.clone();
        connection.refresh_expires_at = None;
        connection.consent_expires_at = judge::consent_end(template, now);
        let others = self.of_user_at(user, &configured.slug).await?;
        connection.is_default = !others.iter().any(|other| other.id != connection.id && other.is_default);
        self.take_tokens(&mut connection, template, &redeemed.tokens, true, now)?;
        match existing.filter(|held| takes_away(configured, held, &transaction.scopes)) {
            // Agents that use the account would be refused by the provider, and nobody would learn why.
            Some(held) => {
                connection.scopes = connection.scopes.union(&held.scopes);
                Ok(judge::needs_reauth(&connection, ReauthReason::ScopesLeftOut, now))
            }
            None => Ok(connection),
        }
    }
}

/// Why what came of a trip is not what was asked for, if it is not.
fn refusal(
    configured: &Configured,
    transaction: &Transaction,
    renewed: Option<&ConnectionId>,
    existing: Option<&Connection>,
) -> Option<CompleteError> {
    let purpose = || transaction.purpose.clone();
    if renewed.is_some_and(|id| existing.is_none_or(|existing| &existing.id != id)) {
        return Some(CompleteError::OtherAccount { purpose: purpose() });
    }
    let takes_away = existing.is_some_and(|held| takes_away(configured, held, &transaction.scopes));
    takes_away.then(|| CompleteError::AccountConnected { purpose: purpose() })
}

/// Whether a consent to `asked` would take scopes away from the user's other agents on this account. The union was
/// asked for where the account was known beforehand; but whoever connects another account may come back with one
/// that is connected, and what it holds may have grown while they were away.
fn takes_away(configured: &Configured, held: &Connection, asked: &ScopeSet) -> bool {
    let authorize = configured.loaded.template.authorize.as_ref();
    let consent = authorize.map(|authorize| authorize.consent).unwrap_or_default();
    consent == ConsentSemantics::Replaces && !is_disconnected(held) && !held.scopes.is_subset(asked)
}

fn connected_event(connection: &Connection, renewed: bool, transaction: &Transaction) -> EventDraft {
    let action = if renewed { "connection.renewed" } else { "connection.made" };
    let mut event = EventDraft::new(EventKind::Connection, action);
    event.user = Some(connection.user.clone());
    event.provider = Some(connection.provider.clone());
    event.connection = Some(connection.id.clone());
    event.scopes = Some(connection.scopes.clone());
    event.outcome = Some(Outcome::Done);
    if let Purpose::Connect { interaction, .. } = &transaction.purpose {
        event.interaction = Some(interaction.clone());
    }
    event
}
