//! The sealed form of one value: a key of its own, a commitment to that key, AES-256-GCM.
//!
//! `format 1 | alg 1 | term 4 | salt 32 | commitment 32 | nonce 12 | ciphertext | tag 16`

use aes_gcm::aead::Tag;
use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};
use aws_lc_rs::hkdf;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::kernel::entropy::{self, Entropy};
use crate::kernel::secret::{Secret, SecretBytes};
use crate::model::sealed::SealError;
use crate::vault::stack::wiped_below;

/// The only format so far.
pub(super) const FORMAT: u8 = 1;
/// HKDF-SHA-512 into AES-256-GCM with a 32-byte commitment.
const ALG: u8 = 1;
const SALT: usize = 32;
const COMMITMENT: usize = 32;
const NONCE: usize = 12;
const TAG: usize = 16;
/// Bytes before the ciphertext.
const HEADER: usize = 2 + 4 + SALT + COMMITMENT + NONCE;
const INFO: &[u8] = b"valetkey/v1/envelope";

/// Length-prefixed parts: no two lists give the same bytes.
pub(super) fn aad(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// Seals under a key that is derived for this write alone, so that no number of writes can come near
/// the limits of random nonces.
pub(super) fn seal(master: &[u8; 32], term: u32, aad: &[u8], plain: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    let salt: [u8; SALT] = entropy::bytes(entropy);
    let nonce: [u8; NONCE] = entropy::bytes(entropy);
    let derived = derive(master, &salt);
    // Sized for the whole value: a growing buffer would leave a copy of the plain text behind.
    let mut out = Vec::with_capacity(HEADER + plain.len() + TAG);
    out.extend_from_slice(&[FORMAT, ALG]);
    out.extend_from_slice(&term.to_be_bytes());
    out.extend_from_slice(&salt);
    out.extend_from_slice(derived.commitment());
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plain);
    let body = out.get_mut(HEADER..).unwrap_or_default();
    match wiped_below(|| derived.cipher().encrypt_inout_detached(&nonce.into(), aad, body.into())) {
        Ok(tag) => out.extend_from_slice(&tag),
        // INVARIANT: AES-GCM refuses only more than 64 GiB; nothing is ever passed on unsealed.
        Err(_) => std::process::abort(),
    }
    out
}

/// The key term that a sealed value names.
pub(super) fn term_of(sealed: &[u8]) -> Result<u32, SealError> {
    match sealed {
        [FORMAT, ALG, a, b, c, d, ..] => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => Err(SealError::UnknownFormat),
    }
}

/// Whether [`seal`] made this under that key, whatever it was bound to: nobody else can make the commitment.
pub(super) fn is_of(master: &[u8; 32], sealed: &[u8]) -> bool {
    Parts::split(sealed)
        .is_some_and(|parts| bool::from(derive(master, parts.salt).commitment().ct_eq(parts.commitment)))
}

/// Opens what [`seal`] made under the same key and AAD.
pub(super) fn open(master: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Result<SecretBytes, SealError> {
    let parts = Parts::split(sealed).ok_or(SealError::DoesNotOpen)?;
    let derived = derive(master, parts.salt);
    // Before decrypting: plain AES-GCM does not commit to its key, one ciphertext can be made to open
    // under two of them.
    if !bool::from(derived.commitment().ct_eq(parts.commitment)) {
        return Err(SealError::DoesNotOpen);
    }
    let mut plain: SecretBytes = Secret::new(parts.body.to_vec());
    let tag = Tag::<Aes256Gcm>::from(*parts.tag);
    let body = plain.expose_mut().as_mut_slice();
    wiped_below(|| derived.cipher().decrypt_inout_detached(&(*parts.nonce).into(), aad, body.into(), &tag))
        .map_err(|_| SealError::DoesNotOpen)?;
    Ok(plain)
}

struct Parts<'a> {
    salt: &'a [u8; SALT],
    commitment: &'a [u8; COMMITMENT],
    nonce: &'a [u8; NONCE],
    body: &'a [u8],
    tag: &'a [u8; TAG],
}

impl<'a> Parts<'a> {
    fn split(sealed: &'a [u8]) -> Option<Self> {
        let rest = sealed.get(6..)?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (commitment, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (body, tag) = rest.split_last_chunk()?;
        Some(Self { salt, commitment, nonce, body, tag })
    }
}

/// 32 bytes of key, then 32 bytes of commitment.
struct Derived(Zeroizing<[u8; 64]>);

impl Derived {
    fn cipher(&self) -> Aes256Gcm {
        let key: &[u8; 32] = self.0.first_chunk().unwrap_or(&[0; 32]);
        Aes256Gcm::new(key.into())
    }

    fn commitment(&self) -> &[u8] {
        self.0.get(32..).unwrap_or_default()
    }
}

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        64
    }
}

fn derive(master: &[u8; 32], salt: &[u8; SALT]) -> Derived {
    let mut out = Zeroizing::new([0; 64]);
    let key = hkdf::Salt::new(hkdf::HKDF_SHA512, salt).extract(master);
    if key.expand(&[INFO], Length).and_then(|okm| okm.fill(out.as_mut_slice())).is_err() {
        // INVARIANT: 64 bytes are one block of HKDF-SHA-512; a key of zeros is never used.
        std::process::abort();
    }
    Derived(out)
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
