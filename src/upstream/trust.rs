//! Public keys of those who vouch for agents: of agents themselves, and of the platforms they run on.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::jose::KeySet;
use crate::net::Call;
use crate::providers::template::ErrorClass;
use crate::providers::urls;
use crate::upstream::Upstream;
use crate::upstream::failure::{Cause, UpstreamError};

/// How long fetching may take: an agent waits for it at the door.
const DEADLINE: Duration = Duration::from_secs(4);

/// Who publishes keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publisher<'a> {
    /// Whoever serves this URL (RFC 7517).
    Url(&'a str),
    /// This issuer, where its metadata say (OpenID Connect Discovery 1.0, section 4).
    Issuer(&'a str),
}

/// What an issuer of workload tokens says about itself, as far as it is used.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

/// Whether keys may be fetched from there: an https URL of a public host name. Addresses behind the name are
/// judged at every dial.
pub fn is_key_url(text: &str) -> bool {
    urls::endpoint(text).is_ok()
}

impl Publisher<'_> {
    /// What it is kept under: a URL and an issuer may read the same.
    fn cache_key(self) -> String {
        match self {
            Self::Url(url) => format!("url {url}"),
            Self::Issuer(issuer) => format!("issuer {issuer}"),
        }
    }
}

impl Upstream {
    /// The keys that are published there, kept for an hour.
    ///
    /// # Errors
    /// When there are none to be had.
    pub async fn published_keys(&self, place: Publisher<'_>) -> Result<Arc<KeySet>, UpstreamError> {
        self.inner.published.get(&place.cache_key(), self.now(), |_| self.fetch_published(place)).await
    }

    /// Newer keys than the ones that were seen, because a token names one that is not among them. Fetched at
    /// most once a minute: anybody can send such a token.
    pub async fn newer_published_keys(
        &self,
        place: Publisher<'_>,
        seen: &Arc<KeySet>,
    ) -> Option<Arc<KeySet>> {
        let fetch = || self.fetch_published(place);
        self.inner.published.renew(&place.cache_key(), seen, self.now(), fetch).await
    }

    async fn fetch_published(&self, place: Publisher<'_>) -> Result<KeySet, UpstreamError> {
        let url = match place {
            Publisher::Url(url) => url.to_owned(),
            Publisher::Issuer(issuer) => {
                let at = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
                let body = self.fetch_trusted(&at).await?;
                let metadata: Metadata = serde_json::from_slice(&body)
                    .map_err(|_| unusable("the issuer's metadata cannot be read"))?;
                // A document that speaks for another issuer could lend this one's name to its keys.
                if metadata.issuer != issuer {
                    return Err(unusable("the issuer's metadata name another issuer"));
                }
                metadata.jwks_uri
            }
        };
        let body = self.fetch_trusted(&url).await?;
        KeySet::published(&body).map_err(|_| unusable("the published keys cannot be used"))
    }

    async fn fetch_trusted(&self, url: &str) -> Result<Vec<u8>, UpstreamError> {
        let url = urls::endpoint(url).map_err(|_| unusable("keys are published at no usable URL"))?;
        // An admin registered whoever names this host.
        self.inner.net.allow_hosts(url.host_str().map(str::to_owned));
        let answer = self.dial(Call::get(Url::clone(&url)), DEADLINE).await?;
        if !answer.is_success() {
            return Err(unusable("published keys cannot be fetched"));
        }
        Ok(answer.body.expose().to_vec())
    }
}

fn unusable(words: &'static str) -> UpstreamError {
    UpstreamError::new(ErrorClass::Retry, Cause::Metadata, words)
}
