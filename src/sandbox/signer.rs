//! The key with which vendors sign ID tokens: RSA, 2048 bits, made anew for each process.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};

/// The key could not be made.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the sandbox's signing key could not be made")]
pub struct SignerError;

/// The key in PKCS #8. One for all sandboxes of a process: tests start hundreds of them, and a key takes longer to make than all
/// else that a sandbox begins with.
static KEY: OnceLock<Vec<u8>> = OnceLock::new();

/// An RS256 signing key.
pub struct Signer {
    key: RsaKeyPair,
    key_id: String,
}

impl Signer {
    /// This process's key, under a name of its own.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, SignerError> {
        let made = match KEY.get() {
            Some(made) => made,
            None => {
                let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| SignerError)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| SignerError)?;
                KEY.get_or_init(|| der.as_ref().to_vec())
            }
        };
        let key = RsaKeyPair::from_pkcs8(made).map_err(|_| SignerError)?;
        Ok(Self { key, key_id: encode::base64url(&entropy::bytes::<16>(entropy)) })
    }

    /// A signed JWT (RFC 7519) with these claims.
    pub fn jwt(&self, claims: &Value) -> String {
        self.signed(&json!({"typ": "JWT"}), claims)
    }

    /// A signed JWT with these claims, and these members in its header beside or instead of `alg` and `kid`.
    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let mut whole = json!({"alg": "RS256", "kid": self.key_id});
        if let (Some(whole), Some(more)) = (whole.as_object_mut(), header.as_object()) {
            whole.extend(more.clone());
        }
        let header = whole.to_string();
        let mut text = encode::base64url(header.as_bytes());
        text.push('.');
        text.push_str(&encode::base64url(claims.to_string().as_bytes()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        if self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).is_err() {
            // A zero signature verifies nowhere, so a failure cannot pass for a token.
            signature.fill(0);
        }
        text.push('.');
        text.push_str(&encode::base64url(&signature));
        text
    }

    /// The public key (RFC 7517), with members that a vendor adds.
    pub fn jwk(&self, more: &Value) -> Value {
        let (modulus, exponent) = numbers(self.key.public_key().as_ref()).unwrap_or_default();
        let mut jwk = json!({
            "kty": "RSA",
            "use": "sig",
            "kid": self.key_id,
            "n": encode::base64url(modulus),
            "e": encode::base64url(exponent),
        });
        if let (Some(jwk), Some(more)) = (jwk.as_object_mut(), more.as_object()) {
            jwk.extend(more.clone());
        }
        jwk
    }
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017, appendix A.1.1), big-endian without leading zeros.
fn numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = element(der, 0x30)?;
    let (modulus, rest) = element(sequence, 0x02)?;
    let (exponent, _) = element(rest, 0x02)?;
    Some((modulus.strip_prefix(&[0]).unwrap_or(modulus), exponent))
}

/// The content of a DER element with that tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length.checked_sub(0x80) {
        None => (usize::from(*length), rest),
        Some(bytes) => {
            let (digits, rest) = rest.split_at_checked(usize::from(bytes))?;
            (digits.iter().fold(0usize, |sum, digit| sum.saturating_mul(256) | usize::from(*digit)), rest)
        }
    };
    (*first == tag).then(|| rest.split_at_checked(length)).flatten()
}
