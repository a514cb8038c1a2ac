//! What a browser brings back from a provider.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::audit::AuditError;
use crate::connections::adopt::Consent;
use crate::connections::begin::STATE_PURPOSE;
use crate::connections::configured::text_of;
use crate::connections::{ConnectionError, Connections, Inner, is_disconnected};
use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ConnectionId, ProviderSlug, UserId};
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::Secret;
use crate::model::connection::Connection;
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
    /// The account was disconnected while the store could not take what this consent brought.
    #[error("the account was disconnected before this consent could be stored")]
    Disconnected {
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
            | Self::Disconnected { purpose }
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
    /// See [`CompleteError`]. After `Store` what came may be stored yet: it is held for a while. A foreign browser or
    /// user redeems no code and leaves the transaction to its owner (invariant 3).
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
        let (held_up, told) = oneshot::channel();
        // The code is as good as spent: what it brings is stored, or given back, whatever becomes of this request.
        let work = inner.outlasting(async move { task.come_back(configured, stored, params, held_up).await });
        tokio::select! {
            done = work => done,
            // It goes on without us.
            Ok(error) = told => Err(error.into()),
        }
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
        held_up: oneshot::Sender<StoreError>,
    ) -> Result<Completed, CompleteError> {
        self.use_up(&stored).await?;
        let transaction = stored.record().clone();
        let redeemed = self.redeem(&configured, &transaction, params.expose()).await?;
        drop(params);
        if let Purpose::SignIn { .. } = &transaction.purpose {
            let (purpose, id_claims) = (transaction.purpose, redeemed.id_claims);
            return Ok(Completed { purpose, connection: None, id_claims });
        }
        let user = transaction.user.clone().ok_or(CompleteError::OtherUser)?;
        let consent = Consent { configured, transaction, user, redeemed, at: self.clock.now() };
        self.adopt(&consent, held_up).await
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
}

/// Why what came of a trip is not what was asked for, if it is not.
pub(super) fn refusal(
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
pub(super) fn takes_away(configured: &Configured, held: &Connection, asked: &ScopeSet) -> bool {
    let authorize = configured.loaded.template.authorize.as_ref();
    let consent = authorize.map(|authorize| authorize.consent).unwrap_or_default();
    consent == ConsentSemantics::Replaces && !is_disconnected(held) && !held.scopes.is_subset(asked)
}
