//! Providers' signature keys (RFC 7517).

use std::sync::Arc;

use openidconnect::core::CoreJsonWebKey;
use serde::Deserialize;
use serde_json::Value;

use crate::kernel::encode;
use crate::net::Call;
use crate::providers::template::ErrorClass;
use crate::providers::urls;
use crate::upstream::Upstream;
use crate::upstream::dial::DEADLINE;
use crate::upstream::failure::{Cause, UpstreamError};

/// The most keys that are kept of one provider.
const MAX_KEYS: usize = 64;
/// RSA keys with fewer bytes can be broken.
const MIN_RSA_BYTES: usize = 256;
/// RSA keys with more bytes are there to keep us busy.
const MAX_RSA_BYTES: usize = 1024;

/// The keys of a provider that its ID tokens may be signed with.
#[derive(Debug)]
pub(super) struct Keys(Vec<CoreJsonWebKey>);

impl Keys {
    pub(super) fn to_vec(&self) -> Vec<CoreJsonWebKey> {
        self.0.clone()
    }

    /// Only public keys of the two algorithms that are accepted; an empty set is no set.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(body).ok()?;
        let usable = set.keys.into_iter().filter(is_usable).take(MAX_KEYS);
        let keys: Vec<CoreJsonWebKey> = usable.filter_map(|key| serde_json::from_value(key).ok()).collect();
        (!keys.is_empty()).then_some(Self(keys))
    }
}

fn is_usable(key: &Value) -> bool {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let length = |name: &str| text(name).and_then(encode::from_base64url).map_or(0, |bytes| bytes.len());
    let signs = text("use").is_none_or(|usage| usage == "sig");
    // A private key in public is broken.
    let is_public = key.get("d").is_none();
    let fits = match text("kty") {
        Some("RSA") => {
            (MIN_RSA_BYTES..=MAX_RSA_BYTES).contains(&length("n"))
                && text("alg").is_none_or(|alg| alg == "RS256")
        }
        Some("EC") => text("crv") == Some("P-256") && text("alg").is_none_or(|alg| alg == "ES256"),
        // Never `oct`: a shared secret would let whoever knows a public key forge tokens.
        _ => false,
    };
    signs && is_public && fits
}

impl Upstream {
    /// The keys at a URL, kept for an hour.
    pub(super) async fn keys(&self, url: &str) -> Result<Arc<Keys>, UpstreamError> {
        self.inner.keys.get(url, |_| self.clone().fetch_keys(url.to_owned())).await
    }

    /// Newer keys than the ones that were seen, because a token names one that is not among them.
    pub(super) async fn newer_keys(&self, url: &str, seen: &Arc<Keys>) -> Option<Arc<Keys>> {
        self.inner.keys.renew(url, seen, || self.clone().fetch_keys(url.to_owned())).await
    }

    async fn fetch_keys(self, url: String) -> Result<Keys, UpstreamError> {
        let unusable = |words| UpstreamError::new(ErrorClass::Retry, Cause::Metadata, words);
        let url =
            urls::endpoint(&url).map_err(|_| unusable("the provider states no usable place for its keys"))?;
        let answer = self.dial(Call::get(url), DEADLINE).await?;
        if !answer.is_success() {
            return Err(unusable("the provider's keys cannot be fetched"));
        }
        Keys::parse(answer.body.expose()).ok_or_else(|| unusable("the provider's keys cannot be read"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rsa(bytes: usize) -> Value {
        json!({"kty": "RSA", "kid": "a", "use": "sig", "e": "AQAB", "n": encode::base64url(&vec![0xff; bytes])})
    }

    fn count(keys: Vec<Value>) -> usize {
        Keys::parse(json!({"keys": keys}).to_string().as_bytes()).map_or(0, |keys| keys.0.len())
    }

    #[test]
    fn only_strong_public_signature_keys_are_kept_and_not_too_many() {
        assert_eq!(count(vec![rsa(256)]), 1);
        assert_eq!(count(vec![rsa(128)]), 0);
        assert_eq!(count(vec![rsa(4096)]), 0);
        assert_eq!(count(vec![rsa(256); 10_000]), MAX_KEYS);
        assert_eq!(count(vec![json!({"kty": "oct", "k": "c2VjcmV0"})]), 0);
        assert_eq!(count(vec![json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"})]), 0);
        let with = |name: &str, value: Value| {
            let mut key = rsa(256);
            key[name] = value;
            key
        };
        assert_eq!(count(vec![with("use", json!("enc"))]), 0);
        assert_eq!(count(vec![with("alg", json!("HS256"))]), 0);
        assert_eq!(count(vec![with("d", json!("AQAB"))]), 0);
        assert_eq!(count(vec![json!(5), json!({}), rsa(256)]), 1);
        for body in ["", "{}", "{\"keys\": []}", "<html>"] {
            assert!(Keys::parse(body.as_bytes()).is_none(), "{body}");
        }
    }
}
