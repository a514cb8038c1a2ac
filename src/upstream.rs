//! OAuth and OpenID Connect towards providers: authorize, redeem, identify, refresh, revoke.
//!
//! The `oauth2` and `openidconnect` crates build authorization URLs and PKCE and check ID tokens. Token
//! answers are read by `providers::dialect` from buffers that are wiped: the crates' own token type is a
//! plain string, and their parse errors carry the body.

mod authorize;
mod cache;
mod callback;
mod dial;
mod discovery;
mod endpoints;
mod exchange;
mod failure;
mod id_jag;
mod id_token;
mod identity;
mod keys;
mod lookup;
mod refresh;
mod revoke;
mod security_event;
mod skew;
mod trust;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::entropy::Entropy;
use crate::kernel::secret::SecretString;
use crate::net::HttpClient;
use crate::providers::Configured;

pub use crate::providers::dialect::TokenHint;
pub use authorize::AuthorizeRequest;
pub use callback::CallbackError;
pub use exchange::{Redeemed, Redemption};
pub use failure::{Cause, Delivered, IdTokenProblem, UpstreamError};
pub use id_jag::{BadAssertion, IdJag};
pub use id_token::IdClaims;
pub use lookup::{LOOKUP_DEADLINE, LOOKUP_MOST, LookupError};
pub use refresh::RawAnswer;
pub use revoke::Revoked;
pub use security_event::{EventTokenProblem, KeyPlace, UnverifiedEvent};
pub use trust::{Publisher, Unsigned, is_key_url};

/// The client towards providers. Clones share one.
#[derive(Clone)]
pub struct Upstream {
    inner: Arc<Inner>,
}

struct Inner {
    net: HttpClient,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metadata: cache::FetchCache<discovery::Metadata>,
    keys: cache::FetchCache<keys::Keys>,
    published: cache::FetchCache<crate::jose::KeySet>,
    app_tokens: RwLock<HashMap<String, KeptToken>>,
    skew: skew::Watch,
}

/// An app token for look-ups of identities, until shortly before it expires.
struct KeptToken {
    token: Arc<SecretString>,
    until: Timestamp,
}

impl Upstream {
    /// A client that dials through `net`.
    pub fn new(net: HttpClient, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let inner = Inner {
            net,
            entropy,
            metadata: cache::FetchCache::new(Arc::clone(&clock)),
            keys: cache::FetchCache::new(Arc::clone(&clock)),
            published: cache::FetchCache::new(Arc::clone(&clock)),
            clock,
            app_tokens: RwLock::default(),
            skew: skew::Watch::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Allows the hosts that a provider's template names to be dialled through an outbound proxy. Every
    /// call in here does so by itself; whoever dials a provider's API elsewhere calls this first.
    pub fn admit(&self, configured: &Configured) {
        self.inner.net.allow_hosts(endpoints::hosts(configured));
    }

    /// Whether a provider can be used as it is configured: its metadata and keys can be read, and it
    /// takes our client secret where that can be seen without a user.
    ///
    /// # Errors
    /// The first thing that does not work.
    pub async fn probe(&self, configured: &Configured) -> Result<(), UpstreamError> {
        let endpoints = self.endpoints(configured).await?;
        if !endpoints.jwks_url.is_empty() {
            self.keys(&endpoints.jwks_url).await?;
        }
        if configured.loaded.template.app_token.is_some() {
            self.app_token(configured).await?;
        }
        Ok(())
    }

    /// Fetches a provider's keys, if it has some: they will be needed, and the answer tells its time.
    ///
    /// # Errors
    /// When they cannot be fetched.
    pub async fn greet(&self, configured: &Configured) -> Result<(), UpstreamError> {
        let endpoints = self.endpoints(configured).await?;
        if !endpoints.jwks_url.is_empty() {
            self.keys(&endpoints.jwks_url).await?;
        }
        Ok(())
    }

    /// The issuer that a provider's ID tokens name.
    ///
    /// # Errors
    /// When it has to be discovered, and cannot be.
    pub async fn issuer(&self, configured: &Configured) -> Result<String, UpstreamError> {
        Ok(self.endpoints(configured).await?.issuer)
    }

    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    fn kept_app_token(&self, key: &str) -> Option<Arc<SecretString>> {
        let kept = self.inner.app_tokens.read().unwrap_or_else(PoisonError::into_inner);
        let token = kept.get(key).filter(|token| self.now() < token.until)?;
        Some(Arc::clone(&token.token))
    }

    fn keep_app_token(&self, key: String, token: Arc<SecretString>, until: Timestamp) {
        let mut kept = self.inner.app_tokens.write().unwrap_or_else(PoisonError::into_inner);
        kept.insert(key, KeptToken { token, until });
    }
}
