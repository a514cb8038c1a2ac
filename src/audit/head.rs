//! Signed heads: "the log had this many entries, and this was its last link". The text has the shape of
//! a C2SP checkpoint in a signed note, over a linear chain instead of a tree.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use crate::audit::chain::Link;
use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::vault::AuditSigner;
use crate::vault::signer::key_hash;

const CHAIN: &str = "chain sha-256 v1";
const SIGNATURE: &str = "\u{2014} ";

/// What a head states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whose log it is.
    pub origin: String,
    /// How many entries the log had.
    pub size: u64,
    /// The link of the last one.
    pub link: Link,
    /// The public key that signed it. Only as good as the place that it was compared with.
    pub key: [u8; 32],
}

/// Signs a head.
pub fn sign(signer: &AuditSigner, size: u64, link: &Link, at: Timestamp) -> String {
    let key = signer.public_key();
    let body = format!(
        "{}\n{size}\n{}\n{CHAIN}\nat {}\nkey ed25519 {}\n",
        signer.name(),
        encode::base64(&link.0),
        at.rfc3339(),
        encode::base64(&key)
    );
    let mut signature = key_hash(signer.name(), &key).to_vec();
    signature.extend_from_slice(&signer.sign(body.as_bytes()));
    format!("{body}\n{SIGNATURE}{} {}\n", signer.name(), encode::base64(&signature))
}

/// Why a head does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// It is not a head.
    #[error("it is not a head that this version reads")]
    Format,
    /// Another key signed it.
    #[error("it is signed by another key than the one it is checked with")]
    OtherKey,
    /// The signature is wrong.
    #[error("its signature does not fit: it was changed, or forged")]
    Signature,
}

/// Reads a head and checks its signature, with `key` or, if there is none, the key that it names.
///
/// # Errors
/// When it is not a head, or its signature does not fit.
pub fn check(note: &str, key: Option<&[u8; 32]>) -> Result<Head, BadHead> {
    let (head, body, signature) = read(note).ok_or(BadHead::Format)?;
    if key.is_some_and(|key| *key != head.key) {
        return Err(BadHead::OtherKey);
    }
    let (hash, signature) = signature.split_first_chunk::<4>().ok_or(BadHead::Format)?;
    if *hash != key_hash(&head.origin, &head.key) {
        return Err(BadHead::OtherKey);
    }
    UnparsedPublicKey::new(&ED25519, head.key)
        .verify(body.as_bytes(), signature)
        .map_err(|_| BadHead::Signature)?;
    Ok(head)
}

fn read(note: &str) -> Option<(Head, &str, Vec<u8>)> {
    let at = note.find("\n\n")? + 1;
    let (body, rest) = note.split_at_checked(at)?;
    let mut lines = body.lines();
    let origin = lines.next()?.to_owned();
    let size = lines.next()?.parse().ok()?;
    let link = Link(encode::from_base64(lines.next()?)?.try_into().ok()?);
    if lines.next()? != CHAIN {
        return None;
    }
    let key = body.lines().find_map(|line| line.strip_prefix("key ed25519 "))?;
    let key = encode::from_base64(key)?.try_into().ok()?;
    let signature = rest.trim_start_matches('\n').lines().next()?.strip_prefix(SIGNATURE)?;
    let (name, signature) = signature.split_once(' ')?;
    if name != origin {
        return None;
    }
    Some((Head { origin, size, link, key }, body, encode::from_base64(signature)?))
}
