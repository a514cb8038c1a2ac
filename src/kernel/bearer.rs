//! Bearer secrets that Valetkey issues, and the digests that stand for them in the store.
//!
//! Plain and stored are two types: a store can only take the digest.

use std::fmt;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};
use crate::kernel::secret::SecretString;

/// What a bearer secret opens; the first letters of its text say so, for secret scanners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BearerKind {
    /// An agent's client secret.
    AgentSecret,
    /// An internal back end's client secret.
    AudienceSecret,
    /// An admin's API token.
    AdminToken,
    /// A browser session.
    Session,
    /// A one-time link for the first admin.
    SetupLink,
    /// The handle with which an agent polls an interaction.
    AuthReqId,
    /// A token that works at the gateway.
    GatewayToken,
}

impl BearerKind {
    /// The prefix of the text form.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::AgentSecret => "vks_",
            Self::AudienceSecret => "vkb_",
            Self::AdminToken => "vka_",
            Self::Session => "vkw_",
            Self::SetupLink => "vki_",
            Self::AuthReqId => "vkr_",
            Self::GatewayToken => "vkg_",
        }
    }
}

/// A fresh random bearer secret: prefix, 256 random bits in base62, and a checksum for scanners.
pub fn generate(kind: BearerKind, entropy: &dyn Entropy) -> SecretString {
    let random = zeroize::Zeroizing::new(entropy::bytes::<32>(entropy));
    with_checksum(kind, random.as_slice())
}

/// The text form of a bearer secret whose random part is already known.
pub fn with_checksum(kind: BearerKind, random: &[u8]) -> SecretString {
    let mut text = String::with_capacity(kind.prefix().len() + 50);
    text.push_str(kind.prefix());
    text.push_str(&zeroize::Zeroizing::new(encode::base62(random)));
    let checksum = crc32fast::hash(text.as_bytes());
    text.push_str(&encode::base62(&checksum.to_be_bytes()));
    SecretString::new(text)
}

/// Whether the text has the prefix and checksum of that kind. Says nothing about whether it was
/// ever issued; it only spares a look-up for obvious rubbish.
pub fn is_well_formed(kind: BearerKind, text: &str) -> bool {
    let Some(split) = text.len().checked_sub(6) else { return false };
    let (Some(body), Some(checksum)) = (text.get(..split), text.get(split..)) else { return false };
    body.starts_with(kind.prefix())
        && encode::base62(&crc32fast::hash(body.as_bytes()).to_be_bytes()) == checksum
}

/// A keyed digest of a bearer secret: what the store keeps and looks up by. It is made by the vault.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Wraps the output of the vault's keyed hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &TokenDigest) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Lower-case hexadecimal, for keys.
    pub fn hex(&self) -> String {
        encode::hex(&self.0)
    }
}

impl PartialEq for TokenDigest {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other)
    }
}

impl Eq for TokenDigest {}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Eight digits tell two tokens apart in a log and are no help in guessing either.
        write!(f, "TokenDigest({}…)", self.hex().get(..8).unwrap_or_default())
    }
}

impl From<TokenDigest> for String {
    fn from(digest: TokenDigest) -> Self {
        digest.hex()
    }
}

impl TryFrom<String> for TokenDigest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = encode::from_hex(&text).ok_or("a digest is 64 hexadecimal digits")?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| "a digest is 64 hexadecimal digits")?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::entropy::SeededEntropy;

    #[test]
    fn a_generated_secret_is_well_formed_and_a_changed_one_is_not() {
        let secret = generate(BearerKind::AgentSecret, &SeededEntropy::new(1));
        assert!(is_well_formed(BearerKind::AgentSecret, secret.expose()));
        assert!(!is_well_formed(BearerKind::AdminToken, secret.expose()));
        let changed = secret.expose().replacen("vks_", "vks_0", 1);
        assert!(!is_well_formed(BearerKind::AgentSecret, &changed));
        assert!(!is_well_formed(BearerKind::AgentSecret, ""));
        assert!(!is_well_formed(BearerKind::AgentSecret, "钥匙钥匙"));
    }
}
