//! OpenID Connect discovery (OpenID Connect Discovery 1.0, section 4).

use std::sync::Arc;

use serde::Deserialize;
use url::Url;

use crate::net::Call;
use crate::providers::template::{ClientAuth, ErrorClass};
use crate::providers::urls;
use crate::upstream::Upstream;
use crate::upstream::dial::DEADLINE;
use crate::upstream::failure::{Cause, UpstreamError};

/// What a provider says about itself, as far as it is used.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) jwks_uri: String,
    #[serde(default)]
    pub(super) userinfo_endpoint: Option<String>,
    #[serde(default)]
    pub(super) revocation_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

impl Metadata {
    fn parse(issuer: &str, body: &[u8]) -> Result<Self, UpstreamError> {
        let metadata: Self =
            serde_json::from_slice(body).map_err(|_| unusable("the provider's metadata cannot be read"))?;
        // A document that speaks for another issuer could lend this one's name to its keys (RFC 8414, 3.3).
        if metadata.issuer != issuer {
            return Err(unusable("the provider's metadata names another issuer"));
        }
        let required = [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri];
        let optional = [&metadata.userinfo_endpoint, &metadata.revocation_endpoint];
        let all = required.into_iter().chain(optional.into_iter().flatten());
        if all.into_iter().any(|endpoint| urls::endpoint(endpoint).is_err()) {
            return Err(unusable("the provider's metadata names an endpoint that may not be called"));
        }
        Ok(metadata)
    }

    /// How the client authenticates where the template leaves it to discovery; Basic is the default
    /// (OpenID Connect Discovery 1.0, section 3).
    pub(super) fn client_auth(&self) -> ClientAuth {
        let offers = |method: &str| {
            self.token_endpoint_auth_methods_supported
                .as_ref()
                .is_some_and(|methods| methods.iter().any(|offered| offered == method))
        };
        if offers("client_secret_post") && !offers("client_secret_basic") {
            ClientAuth::Post
        } else {
            ClientAuth::Basic
        }
    }

    /// Whether the provider says that it cannot do PKCE with S256. Saying nothing is no denial: some
    /// that can do not say so.
    pub(super) fn denies_s256(&self) -> bool {
        self.code_challenge_methods_supported
            .as_ref()
            .is_some_and(|methods| !methods.iter().any(|method| method == "S256"))
    }

    /// Whether secrets would go to another host than before.
    fn has_moved(&self, before: &Metadata) -> bool {
        let host = |text: &str| Url::parse(text).ok().and_then(|url| url.host_str().map(str::to_owned));
        host(&self.token_endpoint) != host(&before.token_endpoint)
    }
}

impl Upstream {
    /// The metadata of an issuer, kept for an hour.
    pub(super) async fn metadata(&self, issuer: &str) -> Result<Arc<Metadata>, UpstreamError> {
        let (this, place) = (self.clone(), issuer.to_owned());
        let fetch = |before: Option<Arc<Metadata>>| async move {
            let metadata = this.fetch_metadata(&place).await?;
            if before.is_some_and(|before| metadata.has_moved(&before)) {
                tracing::warn!(
                    issuer = place,
                    "the provider's metadata names another token host than before; it is not believed"
                );
                return Err(unusable("the provider's metadata names another token host than before"));
            }
            Ok(metadata)
        };
        self.inner.metadata.get(issuer, fetch).await
    }

    async fn fetch_metadata(&self, issuer: &str) -> Result<Metadata, UpstreamError> {
        let text = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let url = urls::endpoint(&text).map_err(|_| unusable("the issuer is not a usable URL"))?;
        let answer = self.dial(Call::get(url), DEADLINE).await?;
        if !answer.is_success() {
            return Err(unusable("the provider has no metadata at its issuer"));
        }
        let metadata = Metadata::parse(issuer, answer.body.expose())?;
        let named = [Some(&metadata.token_endpoint), Some(&metadata.jwks_uri)];
        let optional = [metadata.userinfo_endpoint.as_ref(), metadata.revocation_endpoint.as_ref()];
        let hosts = named.into_iter().chain(optional).flatten().filter_map(|text| Url::parse(text).ok());
        self.inner.net.allow_hosts(hosts.filter_map(|url| url.host_str().map(str::to_owned)));
        Ok(metadata)
    }
}

fn unusable(words: &'static str) -> UpstreamError {
    UpstreamError::new(ErrorClass::Config, Cause::Metadata, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(change: impl FnOnce(&mut serde_json::Value)) -> Result<Metadata, UpstreamError> {
        let mut document = serde_json::json!({
            "issuer": "https://id.example.com",
            "authorization_endpoint": "https://id.example.com/authorize",
            "token_endpoint": "https://tokens.example.com/token",
            "jwks_uri": "https://id.example.com/keys",
            "unknown_member": [1, 2],
        });
        change(&mut document);
        Metadata::parse("https://id.example.com", document.to_string().as_bytes())
    }

    #[test]
    fn the_issuer_must_be_the_one_that_was_asked() {
        assert!(document(|_| {}).is_ok());
        for issuer in ["https://id.example.com/", "https://evil.example", "https://ID.example.com"] {
            let refused = document(|d| d["issuer"] = issuer.into()).unwrap_err();
            assert_eq!(refused.words, "the provider's metadata names another issuer");
        }
    }

    #[test]
    fn endpoints_must_be_public_https() {
        for endpoint in
            ["http://id.example.com/t", "https://127.0.0.1/t", "https://localhost/t", "javascript:x", ""]
        {
            assert!(document(|d| d["token_endpoint"] = endpoint.into()).is_err(), "{endpoint}");
            assert!(document(|d| d["revocation_endpoint"] = endpoint.into()).is_err(), "{endpoint}");
        }
        for body in ["", "[]", "<html>", "{\"issuer\": 5}"] {
            assert!(Metadata::parse("https://id.example.com", body.as_bytes()).is_err());
        }
    }

    #[test]
    fn client_authentication_and_pkce_follow_the_document() {
        let plain = document(|_| {}).unwrap();
        assert_eq!(plain.client_auth(), ClientAuth::Basic);
        assert!(!plain.denies_s256());
        let other = document(|d| {
            d["token_endpoint_auth_methods_supported"] = serde_json::json!(["client_secret_post"]);
            d["code_challenge_methods_supported"] = serde_json::json!(["plain"]);
        });
        let other = other.unwrap();
        assert_eq!(other.client_auth(), ClientAuth::Post);
        assert!(other.denies_s256());
        assert!(
            document(|d| d["token_endpoint"] = "https://moved.example.com/t".into())
                .unwrap()
                .has_moved(&plain)
        );
    }
}
