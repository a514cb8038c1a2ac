//! Public keys of those who vouch for agents: of agents themselves, and of the platforms they run on.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::jose::{Claims, KeySet, Problem, Token};
use crate::net::Call;
use crate::providers::template::ErrorClass;
use crate::providers::urls;
use crate::upstream::Upstream;
use crate::upstream::dial::in_time;
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

/// The same, for a fetch that goes on when whoever began it goes away.
enum Place {
    Url(String),
    Issuer(String),
}

/// Why a token's claims are not believed.
#[derive(Debug)]
pub enum Unsigned {
    /// The keys cannot be had.
    Keys(UpstreamError),
    /// None of them has signed it.
    Token(Problem),
}

impl From<UpstreamError> for Unsigned {
    fn from(error: UpstreamError) -> Self {
        Self::Keys(error)
    }
}

impl From<Problem> for Unsigned {
    fn from(problem: Problem) -> Self {
        Self::Token(problem)
    }
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

    fn to_owned(self) -> Place {
        match self {
            Self::Url(url) => Place::Url(url.to_owned()),
            Self::Issuer(issuer) => Place::Issuer(issuer.to_owned()),
        }
    }
}

impl Upstream {
    /// The claims of a token that a published key has signed. Keys are kept for an hour; keys that are not known
    /// yet are looked for at most once a minute, for anybody can send a token that names one.
    ///
    /// # Errors
    /// When no such key has signed it, or the keys cannot be had in time.
    pub async fn signed_claims(&self, token: &Token<'_>, place: Publisher<'_>) -> Result<Claims, Unsigned> {
        let checked = async {
            let keys = self.published_keys(place).await?;
            match token.verified(&keys) {
                Err(Problem::UnknownKey) => match self.newer_published_keys(place, &keys).await {
                    Some(newer) => Ok(token.verified(&newer)?),
                    None => Err(Problem::UnknownKey.into()),
                },
                checked => Ok(checked?),
            }
        };
        in_time(checked).await
    }

    async fn published_keys(&self, place: Publisher<'_>) -> Result<Arc<KeySet>, UpstreamError> {
        let (key, place) = (place.cache_key(), place.to_owned());
        self.inner.published.get(&key, |_| self.clone().fetch_published(place)).await
    }

    async fn newer_published_keys(&self, place: Publisher<'_>, seen: &Arc<KeySet>) -> Option<Arc<KeySet>> {
        let (key, place) = (place.cache_key(), place.to_owned());
        self.inner.published.renew(&key, seen, || self.clone().fetch_published(place)).await
    }

    async fn fetch_published(self, place: Place) -> Result<KeySet, UpstreamError> {
        let url = match place {
            Place::Url(url) => url,
            Place::Issuer(issuer) => {
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
