//! The keys that sign delegation JWTs. They rotate with overlap: a new key is published an hour before it
//! signs, and an old one until its last token has ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    UnparsedPublicKey,
};
use serde_json::{Value, json};

use crate::audiences::LONGEST_TOKEN_S;
use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};
use crate::model::audience::Algorithm;
use crate::model::sealed::Sealer;
use crate::model::signing_key::SigningKey;
use crate::store::{Committed, Store, StoreError, Stored, Tx};
use crate::vault::Vault;

/// How long a key signs before it is replaced.
const SIGNING_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long a key is published before it signs.
const LEAD: Duration = Duration::from_secs(3600);
/// How long after its replacement a key stays published.
const TAIL: Duration = Duration::from_secs(LONGEST_TOKEN_S + 600);
/// More keys than are ever published at once.
const MOST: usize = 64;

/// Makes, publishes and uses signing keys.
#[derive(Clone)]
pub struct SigningKeys {
    store: Store,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    opened: Arc<Mutex<BTreeMap<String, Arc<Pair>>>>,
}

/// A private key that can sign.
enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// Why nothing can be signed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The store could not be used.
    #[error("the store could not be used")]
    Store(#[from] StoreError),
    /// A key does not open or does not sign.
    #[error("the signing key cannot be used")]
    Unusable,
}

impl SigningKeys {
    /// Keys over a store.
    pub fn new(store: Store, vault: Arc<Vault>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, vault, clock, entropy, opened: Arc::default() }
    }

    /// A compact JWS over the claims (RFC 7515), with that type in its header.
    ///
    /// # Errors
    /// When no key can be read, made or used.
    pub async fn sign(&self, typ: &str, algorithm: Algorithm, claims: &Value) -> Result<String, KeyError> {
        let key = self.current(algorithm).await?;
        let pair = self.pair(&key)?;
        let header = json!({ "typ": typ, "alg": algorithm.as_str(), "kid": key.id });
        let part = |value: &Value| encode::base64url(value.to_string().as_bytes());
        let mut token = format!("{}.{}", part(&header), part(claims));
        let signature = match &*pair {
            Pair::Ed25519(pair) => pair.sign(token.as_bytes()).as_ref().to_vec(),
            Pair::P256(pair) => pair
                .sign(&SystemRandom::new(), token.as_bytes())
                .map_err(|_| KeyError::Unusable)?
                .as_ref()
                .to_vec(),
        };
        token.push('.');
        token.push_str(&encode::base64url(&signature));
        Ok(token)
    }

    /// The claims of a token that one of our published keys has signed; `None` for anything else. Says
    /// nothing about audience or time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(&self, token: &str) -> Result<Option<Value>, StoreError> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        let json = |part: &str| {
            encode::from_base64url(part).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
        };
        let (Some(shown), Some(signature)) = (json(header), encode::from_base64url(signature)) else {
            return Ok(None);
        };
        let text = |name: &str| shown.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("typ") != "at+jwt" || shown.get("crit").is_some() {
            return Ok(None);
        }
        let Some(key) = self.published().await?.into_iter().find(|key| key.id == text("kid")) else {
            return Ok(None);
        };
        // The algorithm is the key's own; the header only has to agree (RFC 8725, section 3.1).
        if text("alg") != key.algorithm.as_str() {
            return Ok(None);
        }
        let signed = token.get(..header.len() + 1 + claims.len()).unwrap_or_default();
        let is_ours = verifies(&key, signed.as_bytes(), &signature);
        Ok(json(claims).filter(|_| is_ours))
    }

    /// The public keys (RFC 7517).
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn jwks(&self) -> Result<Value, StoreError> {
        let keys: Vec<Value> = self.published().await?.iter().map(|key| key.public.clone()).collect();
        Ok(json!({ "keys": keys }))
    }

    /// Replaces keys that have signed long enough, and forgets those whose last token has ended.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn keep_fresh(&self) -> Result<(), KeyError> {
        let now = self.clock.now();
        let keys = self.all().await?;
        for key in &keys {
            let is_newest = newest(&keys, key.algorithm).is_some_and(|newest| newest.id == key.id);
            if is_newest && now.since(key.signs_from) >= SIGNING_LIFE {
                self.replace(key).await?;
            }
            if key.replaced_at.is_some_and(|at| now.since(at) > TAIL) {
                let mut tx = Tx::new();
                tx.delete(key);
                // Another node may have been quicker.
                let _ = self.store.commit(tx).await?;
            }
        }
        Ok(())
    }

    /// Replaces the key of an algorithm now; the new one signs an hour from now.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn rotate(&self, algorithm: Algorithm) -> Result<(), KeyError> {
        match newest(&self.all().await?, algorithm) {
            Some(key) if key.signs_from <= self.clock.now() => self.replace(key).await,
            // The next one is on its way.
            Some(_) => Ok(()),
            None => self.current(algorithm).await.map(drop),
        }
    }

    async fn replace(&self, key: &Stored<SigningKey>) -> Result<(), KeyError> {
        let signs_from = self.clock.now().plus(LEAD);
        let next = self.generate(key.algorithm, signs_from)?;
        let replaced = SigningKey { replaced_at: Some(signs_from), ..key.record().clone() };
        let mut tx = Tx::new();
        tx.insert(&next).update(key, &replaced);
        // A conflict means that another node has replaced it.
        let _ = self.store.commit(tx).await?;
        Ok(())
    }

    /// The key that signs now. The first one of an algorithm is made when it is first needed.
    async fn current(&self, algorithm: Algorithm) -> Result<Stored<SigningKey>, KeyError> {
        // Two nodes may make a first key at the same moment; both are published, either may sign.
        for _ in 0..3 {
            let now = self.clock.now();
            let keys = self.all().await?;
            let ready = keys
                .into_iter()
                .filter(|key| key.algorithm == algorithm && key.signs_from <= now)
                .max_by_key(|key| key.signs_from);
            if let Some(ready) = ready {
                return Ok(ready);
            }
            let first = self.generate(algorithm, now)?;
            let mut tx = Tx::new();
            tx.insert(&first);
            if self.store.commit(tx).await? == Committed::Conflict {
                tracing::debug!("another key was stored at the same moment");
            }
        }
        Err(KeyError::Unusable)
    }

    async fn published(&self) -> Result<Vec<Stored<SigningKey>>, StoreError> {
        let now = self.clock.now();
        let mut keys = self.all().await?;
        keys.retain(|key| key.replaced_at.is_none_or(|at| now.since(at) <= TAIL));
        Ok(keys)
    }

    async fn all(&self) -> Result<Vec<Stored<SigningKey>>, StoreError> {
        self.store.page::<SigningKey>(None, MOST).await
    }

    fn generate(&self, algorithm: Algorithm, signs_from: Timestamp) -> Result<SigningKey, KeyError> {
        let id = encode::hex(&entropy::identifier::<8>(self.entropy.as_ref()));
        let (private, public) = match algorithm {
            Algorithm::EdDsa => {
                let seed = zeroize::Zeroizing::new(entropy::bytes::<32>(self.entropy.as_ref()));
                let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| KeyError::Unusable)?;
                let public = json!({
                    "kty": "OKP", "crv": "Ed25519", "x": encode::base64url(pair.public_key().as_ref()),
                });
                (zeroize::Zeroizing::new(seed.to_vec()), public)
            }
            Algorithm::Es256 => {
                let document =
                    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                        .map_err(|_| KeyError::Unusable)?;
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref())
                    .map_err(|_| KeyError::Unusable)?;
                // An uncompressed point: 4, x, y.
                let point = pair.public_key().as_ref();
                let half = |range: std::ops::Range<usize>| point.get(range).map(encode::base64url);
                let (Some(x), Some(y)) = (half(1..33), half(33..65)) else { return Err(KeyError::Unusable) };
                let public = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
                (zeroize::Zeroizing::new(document.as_ref().to_vec()), public)
            }
        };
        let mut public = public;
        if let Some(members) = public.as_object_mut() {
            members.insert("kid".to_owned(), json!(id));
            members.insert("alg".to_owned(), json!(algorithm.as_str()));
            members.insert("use".to_owned(), json!("sig"));
        }
        Ok(SigningKey {
            private: self.vault.seal(SigningKey::context(&id), &private),
            id,
            algorithm,
            public,
            created_at: self.clock.now(),
            signs_from,
            replaced_at: None,
        })
    }

    fn pair(&self, key: &SigningKey) -> Result<Arc<Pair>, KeyError> {
        let lock = || self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pair) = lock().get(&key.id) {
            return Ok(Arc::clone(pair));
        }
        let private =
            self.vault.open(SigningKey::context(&key.id), &key.private).map_err(|_| KeyError::Unusable)?;
        let pair = match key.algorithm {
            Algorithm::EdDsa => Ed25519KeyPair::from_seed_unchecked(private.expose()).map(Pair::Ed25519).ok(),
            Algorithm::Es256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.expose())
                .map(Pair::P256)
                .ok(),
        };
        let pair = Arc::new(pair.ok_or(KeyError::Unusable)?);
        let mut opened = lock();
        if opened.len() >= MOST {
            opened.clear();
        }
        opened.insert(key.id.clone(), Arc::clone(&pair));
        Ok(pair)
    }
}

fn newest(keys: &[Stored<SigningKey>], algorithm: Algorithm) -> Option<&Stored<SigningKey>> {
    keys.iter().filter(|key| key.algorithm == algorithm).max_by_key(|key| key.signs_from)
}

fn verifies(key: &SigningKey, signed: &[u8], signature: &[u8]) -> bool {
    let part = |name: &str| {
        key.public.get(name).and_then(Value::as_str).and_then(encode::from_base64url).unwrap_or_default()
    };
    match key.algorithm {
        Algorithm::EdDsa => UnparsedPublicKey::new(&ED25519, part("x")).verify(signed, signature).is_ok(),
        Algorithm::Es256 => {
            let point = [vec![4], part("x"), part("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature).is_ok()
        }
    }
}
