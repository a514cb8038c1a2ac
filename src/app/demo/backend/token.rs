//! What an internal service has to do with a delegation JWT (RFC 9068, section 4): check signature, issuer,
//! audience and time, offline, by the published keys.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;
use url::Url;

use crate::kernel::clock::Clock;
use crate::kernel::encode;
use crate::net::{Call, HttpClient, NetSettings};

const STAND_IN: &str = "https://broker.invalid";

/// Checks tokens for one audience.
pub struct Checker {
    issuer: String,
    audience: &'static str,
    net: HttpClient,
    clock: Arc<dyn Clock>,
    keys: Mutex<Vec<Value>>,
}

/// What a good token says.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The agent.
    pub agent: String,
    /// The user's e-mail; none where the agent acts as itself.
    pub email: Option<String>,
    /// The user's groups.
    pub groups: Vec<String>,
    /// What the agent may do.
    pub scopes: Vec<String>,
    /// The key that the token is bound to.
    pub key: Option<String>,
}

impl Checker {
    /// A checker of that broker's tokens.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(issuer: &Url, audience: &'static str, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let origins = vec![(STAND_IN.to_owned(), issuer.origin().ascii_serialization())];
        Ok(Self {
            issuer: issuer.as_str().trim_end_matches('/').to_owned(),
            audience,
            net: HttpClient::new(NetSettings { origins, ..NetSettings::default() })?,
            clock,
            keys: Mutex::default(),
        })
    }

    /// Who calls, or why the token is not accepted.
    pub async fn check(&self, token: &str) -> Result<Caller, &'static str> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { return Err("not a JWT") };
        let json = |part: &str| {
            encode::from_base64url(part).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
        };
        let (Some(header_value), Some(claims_value), Some(signature)) =
            (json(header), json(claims), encode::from_base64url(signature))
        else {
            return Err("not a JWT");
        };
        let in_header = |name: &str| header_value.get(name).and_then(Value::as_str).unwrap_or_default();
        if in_header("typ") != "at+jwt" || in_header("alg") != "EdDSA" {
            return Err("not an access token that is signed with EdDSA");
        }
        let key = self.key(in_header("kid")).await.ok_or("signed with an unknown key")?;
        let signed = format!("{header}.{claims}");
        UnparsedPublicKey::new(&ED25519, key)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| "the signature is wrong")?;
        let text = |name: &str| claims_value.get(name).and_then(Value::as_str).map(str::to_owned);
        if text("iss").as_deref() != Some(&self.issuer) {
            return Err("another issuer's token");
        }
        if text("aud").as_deref() != Some(self.audience) {
            return Err("meant for another back end");
        }
        if claims_value.get("exp").and_then(Value::as_i64).is_none_or(|end| self.clock.now().secs() >= end) {
            return Err("expired");
        }
        // A way of binding that is not known here must not count for none.
        let binding = claims_value.get("cnf").and_then(Value::as_object);
        if binding.is_some_and(|ways| ways.keys().any(|way| way != "jkt")) {
            return Err("bound in a way that this service cannot check");
        }
        let groups = claims_value.get("groups").and_then(Value::as_array).into_iter().flatten();
        Ok(Caller {
            agent: text("client_id").unwrap_or_default(),
            email: text("email"),
            groups: groups.filter_map(|group| group.as_str().map(str::to_owned)).collect(),
            scopes: text("scope").unwrap_or_default().split(' ').map(str::to_owned).collect(),
            key: claims_value.pointer("/cnf/jkt").and_then(Value::as_str).map(str::to_owned),
        })
    }

    /// A published key; the set is fetched again when it does not have it yet.
    async fn key(&self, id: &str) -> Option<Vec<u8>> {
        if let Some(key) = find(&self.keys.lock().unwrap_or_else(PoisonError::into_inner), id) {
            return Some(key);
        }
        let url = Url::parse(STAND_IN).ok()?.join("/.well-known/jwks.json").ok()?;
        let answer = self.net.fetch(Call::get(url)).await.ok()?;
        let set: Value = serde_json::from_slice(answer.body.expose()).ok()?;
        let keys = set.get("keys")?.as_array()?.clone();
        let found = find(&keys, id);
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
        found
    }
}

fn find(keys: &[Value], id: &str) -> Option<Vec<u8>> {
    let is_it = |key: &&Value| key.get("kid").and_then(Value::as_str) == Some(id);
    keys.iter().find(is_it)?.get("x")?.as_str().and_then(encode::from_base64url)
}
