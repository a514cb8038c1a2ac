//! Keys, and tokens that are right until a test bends them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use serde_json::{Value, json};
use valetkey::kernel::encode::base64url;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::RSAPublicKey;

/// A key pair with the algorithm that it signs with.
pub struct Signer {
    pub alg: &'static str,
    pub kid: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    pub fn new(alg: &'static str, kid: &str) -> Self {
        let ec =
            |algorithm: &'static EcdsaSigningAlgorithm| Pair::Ec(EcdsaKeyPair::generate(algorithm).unwrap());
        let pair = match alg {
            "ES256" => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
            "EdDSA" => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
            _ => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        };
        Self { alg, kid: kid.to_owned(), pair }
    }

    /// Its public key (RFC 7517).
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let der = pair.public_key().as_ref();
                let (_, key) = RSAPublicKey::from_der(der).unwrap();
                let n: Vec<u8> = key.modulus.iter().copied().skip_while(|byte| *byte == 0).collect();
                json!({"kty": "RSA", "n": base64url(&n), "e": base64url(key.exponent)})
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at(point.len() / 2);
                let crv = if self.alg == "ES384" { "P-384" } else { "P-256" };
                json!({"kty": "EC", "crv": crv, "x": base64url(x), "y": base64url(y)})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())})
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.alg);
        jwk["use"] = json!("sig");
        jwk
    }

    /// Its public key as the bytes that a confused verifier would use as an HMAC secret.
    pub fn public_bytes(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Pair::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding = if self.alg == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &SystemRandom::new(), text, &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(text).as_ref().to_vec(),
        }
    }
}

/// A key of somebody else, of the same kind and name.
pub fn strangers(alg: &'static str) -> &'static Signer {
    static KEYS: OnceLock<Vec<Signer>> = OnceLock::new();
    let all = || ["RS256", "PS256", "ES256", "ES384", "EdDSA"].map(|alg| Signer::new(alg, "k1")).into();
    KEYS.get_or_init(all).iter().find(|signer| signer.alg == alg).unwrap()
}

/// How a token is signed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// By the registered key.
    Right,
    /// By somebody else's.
    Stranger,
    /// By HMAC, with the public key as the secret.
    Hmac,
    /// Not at all.
    Empty,
    /// By the registered key, over other claims.
    OtherClaims,
}

/// A token to be made.
pub struct Draft<'a> {
    pub header: Value,
    pub claims: Value,
    /// Written instead of the claims.
    pub raw_claims: Option<String>,
    pub signing: Signing,
    pub signer: &'a Signer,
    /// Put behind the token.
    pub tail: &'static str,
    /// The form's other fields.
    pub client_id: Option<String>,
}

impl<'a> Draft<'a> {
    pub fn new(signer: &'a Signer, claims: Value, client_id: &str) -> Self {
        let header = json!({"alg": signer.alg, "kid": signer.kid, "typ": "JWT"});
        let client_id = Some(client_id.to_owned());
        Self { header, claims, raw_claims: None, signing: Signing::Right, signer, tail: "", client_id }
    }

    pub fn token(&self) -> String {
        let claims = self.raw_claims.clone().unwrap_or_else(|| self.claims.to_string());
        let part = |text: &str| base64url(text.as_bytes());
        let signed = format!("{}.{}", part(&self.header.to_string()), part(&claims));
        let signature = match self.signing {
            Signing::Right => self.signer.sign(signed.as_bytes()),
            Signing::Stranger => strangers(self.signer.alg).sign(signed.as_bytes()),
            Signing::Hmac => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &self.signer.public_bytes());
                hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
            }
            Signing::Empty => Vec::new(),
            Signing::OtherClaims => {
                let other = format!("{}.{}", part(&self.header.to_string()), part("{}"));
                self.signer.sign(other.as_bytes())
            }
        };
        format!("{signed}.{}{}", base64url(&signature), self.tail)
    }
}

/// A name that was never used.
pub fn fresh() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("name-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
