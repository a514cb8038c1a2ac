//! A usable access token of a connection, for use at the gateway only.

use std::sync::Arc;
use std::time::Duration;

use crate::connections::alive::spread;
use crate::connections::configured::text_of;
use crate::connections::flight::Landed;
use crate::connections::judge::{self, Freshness};
use crate::connections::refresh::{Refreshed, Want};
use crate::connections::{ConnectionError, Connections, Inner};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::ConnectionId;
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::model::connection::{CachedToken, Connection, ConnectionState, ReauthReason};
use crate::model::sealed::{Context, SealError, Sealed, Sealer as _};
use crate::providers::template::ErrorClass;
use crate::store::{StoreError, UpdateError};

/// An access token for use at the gateway. It is never released.
#[derive(Clone, Debug)]
pub struct ProviderAccess {
    /// The token.
    pub token: Arc<SecretString>,
    /// What the provider says that it opens.
    pub scopes: ScopeSet,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// Which one it is, for saying that it was found stale.
    pub generation: u64,
}

/// Why there is no usable token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LeaseError {
    /// No such connection.
    #[error("there is no such connection")]
    UnknownConnection,
    /// It was disconnected.
    #[error("the account was disconnected")]
    Disconnected,
    /// Only the user can repair it, by consenting again.
    #[error("the user has to connect the account again")]
    NeedsReauth(ReauthReason),
    /// The store was restored from a backup, and nobody has said yet that its refresh tokens may be spent.
    #[error(
        "the store was restored from a backup: an administrator has to say that the deployment it was taken \
         from runs no more, before its refresh tokens are spent"
    )]
    HeldBack,
    /// A refresh is under way and takes longer than a caller should wait.
    #[error("the token is still being renewed; try again in a few seconds")]
    StillRefreshing,
    /// The provider has trouble, or we are backing off; when to try again.
    #[error("the provider cannot be asked now; try again in {} s", after.as_secs().max(1))]
    RetryLater {
        /// How long to wait.
        after: Duration,
    },
    /// The provider's administrator, or ours, has to act first.
    #[error("the provider refuses; it needs an administrator: {}", judge::class_word(*class))]
    Refused {
        /// What the provider asks for.
        class: ErrorClass,
    },
    /// The provider issues no token of that kind.
    #[error("the provider issues no such token")]
    NoToken,
    /// The provider cannot be used.
    #[error("the provider cannot be used: {0}")]
    Provider(#[source] Arc<ConnectionError>),
    /// A sealed token of ours does not open.
    #[error("a sealed token does not open")]
    Sealed(#[from] SealError),
    /// The store could not be used.
    #[error("the store could not be used")]
    Store(#[source] Arc<StoreError>),
}

impl LeaseError {
    /// When trying again makes sense, if waiting is all that is needed.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RetryLater { after } => Some(*after),
            Self::StillRefreshing => Some(Duration::from_secs(2)),
            _ => None,
        }
    }
}

impl From<StoreError> for LeaseError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<ConnectionError> for LeaseError {
    fn from(error: ConnectionError) -> Self {
        Self::Provider(Arc::new(error))
    }
}

impl Connections {
    /// An access token with all that the connection holds. Refreshes when the kept one is about to end;
    /// waits at most ten seconds for that, while the refresh itself goes on.
    ///
    /// # Errors
    /// See [`LeaseError`].
    pub async fn lease(&self, id: &ConnectionId) -> Result<ProviderAccess, LeaseError> {
        let inner = &self.inner;
        let connection = inner.store.get::<Connection>(id.as_str()).await?;
        let connection = connection.ok_or(LeaseError::UnknownConnection)?;
        let flight = || format!("lease/{id}");
        match inner.usable(&connection) {
            Some((Freshness::Fresh, access)) => {
                if inner.is_open_question(&connection) {
                    inner.board(flight(), |inner| lease_flight(inner, id.clone()));
                }
                return inner.access_of(id, access);
            }
            Some((Freshness::Ending, access)) => {
                let access = inner.access_of(id, access)?;
                if connection.state == ConnectionState::Active {
                    inner.board(flight(), |inner| lease_flight(inner, id.clone()));
                }
                return Ok(access);
            }
            Some((Freshness::Over, _)) | None => {}
        }
        match inner.fly(flight(), |inner| lease_flight(inner, id.clone())).await? {
            Landed::Access(access) => Ok(access),
            Landed::Minted(_) | Landed::Settled => Err(LeaseError::StillRefreshing),
        }
    }

    /// Says that a provider's API has refused this access token: the next lease obtains another. Does
    /// nothing when that has happened meanwhile, or when the token is so new that another one would
    /// hardly fare better. Returns whether another one will be obtained.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn invalidate_access(&self, id: &ConnectionId, generation: u64) -> Result<bool, StoreError> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let is_it = |connection: &Connection| {
            let stale = connection.access.as_ref().is_some_and(|access| access.generation == generation);
            stale && !judge::is_just_obtained(connection.refreshed_at, now)
        };
        let found = inner.store.get::<Connection>(id.as_str()).await?;
        if !found.is_some_and(|connection| is_it(&connection)) {
            return Ok(false);
        }
        let changed = inner
            .patient
            .update::<Connection, std::convert::Infallible>(id.as_str(), |connection| {
                Ok(is_it(connection).then(|| Connection { access: None, ..connection.clone() }))
            })
            .await;
        inner.opened.forget(id.as_str());
        match changed {
            Ok(_) => Ok(true),
            Err(UpdateError::Store(error)) => Err(error),
            Err(UpdateError::Refused(never)) => match never {},
        }
    }
}

async fn lease_flight(inner: Arc<Inner>, id: ConnectionId) -> Result<Landed, LeaseError> {
    match inner.refresh(&id, &Want::Access).await? {
        Refreshed::Already(connection) | Refreshed::Saved { connection, .. } => {
            let access = connection.access.as_ref().ok_or(LeaseError::NoToken)?;
            Ok(Landed::Access(inner.access_of(&id, access)?))
        }
    }
}

impl Inner {
    /// Whether the outcome of an earlier refresh is to be asked for now: a provider's grace runs even
    /// while the access token is good.
    fn is_open_question(&self, connection: &Connection) -> bool {
        connection.intent.is_some() && judge::still_waits(&connection.backoff, self.clock.now()).is_none()
    }

    /// The kept access token, if the connection's state lets it be used.
    pub(super) fn usable<'c>(&self, connection: &'c Connection) -> Option<(Freshness, &'c CachedToken)> {
        let may_be_used = match connection.state {
            // Whatever became of the refresh token, this one was given and holds until its end.
            ConnectionState::Active
            | ConnectionState::InDoubt { .. }
            | ConnectionState::NeedsReauth { reason: ReauthReason::AnswerLost, .. } => true,
            ConnectionState::NeedsReauth { .. } | ConnectionState::Disconnected { .. } => false,
        };
        let access = connection.access.as_ref().filter(|_| may_be_used)?;
        let freshness = judge::freshness(
            access.expires_at,
            connection.refreshed_at,
            self.clock.now(),
            spread(&connection.id),
        );
        Some((freshness, access))
    }

    pub(super) fn access_of(
        &self,
        id: &ConnectionId,
        access: &CachedToken,
    ) -> Result<ProviderAccess, LeaseError> {
        let context = Connection::access_context(id, access.generation);
        let token = self.opened_token(id.as_str(), context, &access.token)?;
        Ok(ProviderAccess {
            token,
            scopes: access.scopes.clone(),
            expires_at: access.expires_at,
            generation: access.generation,
        })
    }

    /// Opens a sealed token, or finds it opened.
    pub(super) fn opened_token(
        &self,
        record: &str,
        context: Context<'_>,
        sealed: &Sealed,
    ) -> Result<Arc<SecretString>, SealError> {
        if let Some(token) = self.opened.find(record, context.generation) {
            return Ok(token);
        }
        let opened = self.vault.open(context, sealed)?;
        let token = Arc::new(text_of(opened).ok_or(SealError::DoesNotOpen)?);
        self.opened.keep(record, context.generation, Arc::clone(&token));
        Ok(token)
    }
}
