//! Gateway tokens: opaque, unforgeable, and stateless. The payload names who may do what; nothing is
//! looked up to read it, and nothing but this vault can make or read one.
//!
//! `vkg_` + base64url of `version 1 | random 24 | ciphertext | tag 16`. The first half of the random
//! part derives a key for this token, the second half is its nonce: 192 random bits, so that the
//! number of tokens never has to be counted.

use aes_gcm::aead::Tag;
use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::kernel::bearer::BearerKind;
use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};
use crate::kernel::ids::DeploymentId;
use crate::kernel::secret::SecretString;
use crate::vault::envelope;

const VERSION: u8 = 1;
const HEADER: usize = 1 + 24;
/// Far above any token of ours; spares work on rubbish.
const MAX_TEXT: usize = 4096;

/// The payload of a token that was made here: having one proves it.
#[derive(Debug)]
pub struct OpenedToken {
    payload: Vec<u8>,
}

impl OpenedToken {
    /// What was put into the token.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

pub(super) struct TokenKey {
    key: hmac::Key,
    aad: Vec<u8>,
}

impl TokenKey {
    pub(super) fn new(deployment: &DeploymentId, key: &[u8; 32]) -> Self {
        let aad = envelope::aad(&[b"gateway token", &[VERSION], deployment.as_str().as_bytes()]);
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), aad }
    }

    pub(super) fn seal(&self, plain: &[u8], entropy: &dyn Entropy) -> SecretString {
        let random: [u8; 24] = entropy::bytes(entropy);
        let mut out = Vec::with_capacity(HEADER + plain.len() + 16);
        out.push(VERSION);
        out.extend_from_slice(&random);
        out.extend_from_slice(plain);
        let (cipher, nonce) = self.cipher(&random);
        let body = out.get_mut(HEADER..).unwrap_or_default();
        match cipher.encrypt_inout_detached(&nonce.into(), &self.aad, body.into()) {
            Ok(tag) => out.extend_from_slice(&tag),
            // INVARIANT: AES-GCM refuses only more than 64 GiB; nothing is ever passed on unsealed.
            Err(_) => std::process::abort(),
        }
        let prefix = BearerKind::GatewayToken.prefix();
        let mut text = String::with_capacity(prefix.len() + out.len().div_ceil(3) * 4);
        text.push_str(prefix);
        encode::base64url_onto(&mut text, &out);
        SecretString::new(text)
    }

    pub(super) fn open(&self, text: &str) -> Option<OpenedToken> {
        if text.len() > MAX_TEXT {
            return None;
        }
        // Strict base64url: one token has one spelling, which revocation by text relies on.
        let bytes = encode::from_base64url(text.strip_prefix(BearerKind::GatewayToken.prefix())?)?;
        let (&version, rest) = bytes.split_first()?;
        if version != VERSION {
            return None;
        }
        let (random, rest) = rest.split_first_chunk::<24>()?;
        let (body, tag) = rest.split_last_chunk::<16>()?;
        let (cipher, nonce) = self.cipher(random);
        let mut payload = body.to_vec();
        cipher
            .decrypt_inout_detached(
                &nonce.into(),
                &self.aad,
                payload.as_mut_slice().into(),
                &Tag::<Aes256Gcm>::from(*tag),
            )
            .ok()?;
        Some(OpenedToken { payload })
    }

    fn cipher(&self, random: &[u8; 24]) -> (Aes256Gcm, [u8; 12]) {
        let (input, nonce) = random.split_at(12);
        let tag = hmac::sign(&self.key, input);
        let mut key = Zeroizing::new([0u8; 32]);
        for (to, from) in key.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        let mut fixed = [0; 12];
        for (to, from) in fixed.iter_mut().zip(nonce) {
            *to = *from;
        }
        let key: &[u8; 32] = &key;
        (Aes256Gcm::new(key.into()), fixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::entropy::SeededEntropy;

    #[test]
    fn a_token_reads_back_and_every_changed_character_is_refused() {
        let entropy = SeededEntropy::new(5);
        let deployment = DeploymentId::generate(&entropy);
        let key = TokenKey::new(&deployment, &[9; 32]);
        let token = key.seal(b"payload", &entropy);
        let text = token.expose();
        assert!(text.starts_with("vkg_"));
        assert_eq!(key.open(text).unwrap().payload(), b"payload");
        for at in 0..text.len() {
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut changed = text.clone();
            changed.replace_range(at..=at, other);
            assert!(key.open(&changed).is_none(), "character {at}");
            assert!(key.open(&text[..at]).is_none(), "first {at} characters");
        }
        assert!(key.open(&format!("{text}=")).is_none());
        assert!(TokenKey::new(&deployment, &[8; 32]).open(text).is_none());
        assert!(TokenKey::new(&DeploymentId::generate(&entropy), &[9; 32]).open(text).is_none());
    }
}
