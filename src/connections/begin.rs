//! Sending a browser to a provider.

use std::time::Duration;

use url::Url;

use crate::connections::{ConnectionError, Connections, Inner};
use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ProviderSlug, UserId};
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::model::sealed::Sealer as _;
use crate::model::session::{Purpose, Transaction};
use crate::providers::Configured;
use crate::providers::template::{IdentitySource, Pkce};
use crate::store::{Committed, StoreError, Tx};
use crate::upstream::{AuthorizeRequest, UpstreamError};

/// How long a browser has from opening the page that leads to the provider.
const TRANSACTION_LIFE: Duration = Duration::from_secs(600);

/// How long a page waits to learn where the provider's consent is.
const PAGE_PATIENCE: Duration = Duration::from_millis(1500);

/// How many transactions one browser may have open; the oldest makes room.
const OPEN_PER_BROWSER: usize = 20;

/// What `state` digests are for.
pub(super) const STATE_PURPOSE: &str = "oauth-state";

/// A trip to a provider.
#[derive(Debug)]
pub struct Begin<'a> {
    /// To which provider.
    pub provider: &'a ProviderSlug,
    /// Why.
    pub purpose: Purpose,
    /// Digest of the cookie of the browser that goes.
    pub browser: TokenDigest,
    /// Who goes; `None` for a sign-in.
    pub user: Option<UserId>,
    /// When the page was opened from which it goes: the ten minutes count from there.
    pub opened_at: Timestamp,
    /// What is asked for there: where a consent replaces the former one, the union with what is held.
    pub scopes: &'a ScopeSet,
}

/// Why a browser could not be sent to a provider.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The provider cannot be used.
    #[error(transparent)]
    Provider(#[from] ConnectionError),
    /// The authorization URL could not be made.
    #[error("the provider's authorization address could not be made")]
    Upstream(#[from] UpstreamError),
    /// The store could not be used.
    #[error("the store could not be used")]
    Store(#[from] StoreError),
    /// Our own address is not fit for redirects.
    #[error("the redirect address cannot be made from the issuer")]
    RedirectUri,
}

impl Connections {
    /// Opens a transaction and returns the address that the browser must visit.
    ///
    /// # Errors
    /// When the provider cannot be used or the transaction cannot be stored.
    pub async fn begin(&self, begin: Begin<'_>) -> Result<Url, BeginError> {
        let inner = &self.inner;
        let configured = inner.configured(begin.provider).await?;
        let login = matches!(begin.purpose, Purpose::SignIn { .. });
        let redirect_uri = inner.redirect_uri(begin.provider, login).ok_or(BeginError::RedirectUri)?;
        let state = inner.upstream.new_state(&configured);
        let verifier = uses_pkce(&configured).then(|| inner.upstream.new_verifier());
        let nonce = expects_id_token(&configured, login).then(|| inner.upstream.new_nonce());
        let url = inner
            .upstream
            .authorize_url(
                &configured,
                &AuthorizeRequest {
                    redirect_uri: &redirect_uri,
                    state: state.expose_str(),
                    nonce: nonce.as_deref(),
                    pkce_verifier: verifier.as_ref(),
                    scopes: begin.scopes,
                    login,
                },
            )
            .await?;
        inner.open_transaction(begin, &state, verifier.as_ref(), nonce).await?;
        Ok(url)
    }

    /// The origin that [`Connections::begin`] sends browsers to. Nothing when it is not known soon enough
    /// for a page to name it.
    pub async fn authorize_origin(&self, provider: &ProviderSlug) -> Option<String> {
        let configured = self.inner.configured(provider).await.ok()?;
        let origin = self.inner.upstream.authorize_origin(&configured);
        match tokio::time::timeout(PAGE_PATIENCE, origin).await {
            Ok(Ok(origin)) => Some(origin),
            Ok(Err(error)) => {
                tracing::warn!(%provider, %error, "where the provider's consent is could not be found out");
                None
            }
            Err(_) => None,
        }
    }

    /// Deletes the transactions that nobody came back for. Returns how many.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn sweep_transactions(&self) -> Result<usize, StoreError> {
        let inner = &self.inner;
        let (mut swept, mut after) = (0, None::<String>);
        loop {
            let page = inner.store.page::<Transaction>(after.as_deref(), 200).await?;
            let Some(last) = page.last() else { return Ok(swept) };
            after = Some(last.state.hex());
            let now = inner.clock.now();
            for stored in page.iter().filter(|stored| stored.expires_at < now) {
                let mut tx = Tx::new();
                tx.delete(stored);
                swept += usize::from(inner.store.commit(tx).await? == Committed::Done);
            }
        }
    }
}

impl Inner {
    async fn open_transaction(
        &self,
        begin: Begin<'_>,
        state: &SecretString,
        verifier: Option<&SecretString>,
        nonce: Option<String>,
    ) -> Result<(), StoreError> {
        let digest = self.vault.state_digest(STATE_PURPOSE, state.expose_str());
        let key = digest.hex();
        let sealed = verifier.map(|verifier| {
            self.vault.seal(Transaction::verifier_context(&key), verifier.expose_str().as_bytes())
        });
        let transaction = Transaction {
            state: digest,
            browser: begin.browser,
            user: begin.user,
            provider: begin.provider.clone(),
            purpose: begin.purpose,
            scopes: begin.scopes.clone(),
            verifier: sealed,
            nonce,
            created_at: self.clock.now(),
            expires_at: begin.opened_at.plus(TRANSACTION_LIFE),
        };
        let mut open = self.store.find::<Transaction>("browser", &begin.browser.hex()).await?;
        open.sort_by_key(|stored| stored.created_at);
        let surplus = (open.len() + 1).saturating_sub(OPEN_PER_BROWSER);
        let mut tx = Tx::new();
        tx.insert(&transaction);
        for oldest in open.iter().take(surplus) {
            tx.delete(oldest);
        }
        if self.patient.commit(tx).await? == Committed::Conflict {
            // One of the oldest was used meanwhile; the new one is all that matters.
            let mut tx = Tx::new();
            tx.insert(&transaction);
            if self.patient.commit(tx).await? == Committed::Conflict {
                return Err(StoreError::Contended { key });
            }
        }
        Ok(())
    }

    /// One redirect address per provider (RFC 9700, section 4.4): an answer meant for another provider
    /// cannot arrive here.
    pub(super) fn redirect_uri(&self, provider: &ProviderSlug, login: bool) -> Option<Url> {
        let base = self.issuer.as_str().trim_end_matches('/');
        let path = if login { "login/callback".to_owned() } else { format!("callback/{provider}") };
        Url::parse(&format!("{base}/{path}")).ok()
    }
}

fn uses_pkce(configured: &Configured) -> bool {
    configured.loaded.template.authorize.as_ref().is_none_or(|authorize| authorize.pkce == Pkce::S256)
}

fn expects_id_token(configured: &Configured, login: bool) -> bool {
    login || configured.loaded.template.identity.source == IdentitySource::IdToken
}
