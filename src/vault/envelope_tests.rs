//! Tests of the envelope, among them a ciphertext that raw AES-GCM opens under two keys.

use super::*;
use crate::kernel::entropy::SeededEntropy;

const MASTER: [u8; 32] = [7; 32];

fn sealed(plain: &[u8]) -> Vec<u8> {
    seal(&MASTER, 1, b"here", plain, &SeededEntropy::new(1))
}

#[test]
fn what_was_sealed_opens_in_the_same_place_and_nowhere_else() {
    let value = sealed(b"refresh token");
    assert_eq!(open(&MASTER, b"here", &value).unwrap().expose(), b"refresh token");
    assert!(open(&MASTER, b"there", &value).is_err());
    assert!(open(&[8; 32], b"here", &value).is_err());
    assert!(open(&MASTER, b"here", &sealed(b"")).unwrap().expose().is_empty());
}

#[test]
fn every_flipped_bit_is_refused() {
    let value = sealed(b"a short secret");
    for bit in 0..value.len() * 8 {
        let mut changed = value.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        // A changed term is caught by the AAD, which the vault builds from it.
        let opened = term_of(&changed).and_then(|term| {
            if term == 1 { open(&MASTER, b"here", &changed) } else { Err(SealError::UnknownFormat) }
        });
        assert!(opened.is_err(), "bit {bit}");
    }
}

#[test]
fn every_shortened_value_is_refused() {
    let value = sealed(b"a short secret");
    for length in 0..value.len() {
        assert!(open(&MASTER, b"here", &value[..length]).is_err(), "{length} bytes");
    }
}

/// The attack that the commitment is for: a body and tag that AES-GCM accepts under both keys.
#[test]
fn a_ciphertext_made_for_two_keys_opens_under_the_committed_one_only() {
    let (ours, theirs) = ([1u8; 32], [2u8; 32]);
    let (salt, nonce) = ([3u8; SALT], [4u8; NONCE]);
    let (first, second) = (derive(&ours, &salt), derive(&theirs, &salt));
    let (body, tag) = two_key_ciphertext(&first, &second, &nonce);
    for derived in [&first, &second] {
        let mut buffer = body;
        let raw = derived.cipher().decrypt_inout_detached(
            &nonce.into(),
            b"",
            buffer.as_mut_slice().into(),
            &Tag::<Aes256Gcm>::from(tag),
        );
        assert!(raw.is_ok(), "the crafted ciphertext must be valid for raw AES-GCM under both keys");
    }
    let mut value = vec![FORMAT, ALG, 0, 0, 0, 1];
    value.extend_from_slice(&salt);
    value.extend_from_slice(first.commitment());
    value.extend_from_slice(&nonce);
    value.extend_from_slice(&body);
    value.extend_from_slice(&tag);
    assert!(open(&ours, b"", &value).is_ok());
    assert_eq!(open(&theirs, b"", &value).unwrap_err(), SealError::DoesNotOpen);
}

/// One block of ciphertext `c` with the same tag under both keys. With no AAD the tag is
/// `c·H² + L·H + E(J0)`, so `c = (L·H1 + L·H2 + E1 + E2) / (H1² + H2²)` in GF(2^128).
fn two_key_ciphertext(first: &Derived, second: &Derived, nonce: &[u8; NONCE]) -> ([u8; 16], [u8; 16]) {
    let length = field([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128]);
    let (h1, e1) = gcm_parts(first, nonce);
    let (h2, e2) = gcm_parts(second, nonce);
    let numerator = multiply(length, h1) ^ multiply(length, h2) ^ e1 ^ e2;
    let denominator = multiply(h1, h1) ^ multiply(h2, h2);
    let body = multiply(numerator, invert(denominator));
    let tag = multiply(body, multiply(h1, h1)) ^ multiply(length, h1) ^ e1;
    (body.to_be_bytes(), tag.to_be_bytes())
}

/// `H` and `E(J0)`, read off two tags: an empty message has the tag `E(J0)` (its length block is 0),
/// and an empty message with one zero block of AAD has `L·H + E(J0)`.
fn gcm_parts(derived: &Derived, nonce: &[u8; NONCE]) -> (u128, u128) {
    let tag_of = |aad: &[u8]| {
        let mut empty = [0u8; 0];
        let tag = derived.cipher().encrypt_inout_detached(&(*nonce).into(), aad, empty.as_mut_slice().into());
        field(tag.unwrap().into())
    };
    let mask = tag_of(b"");
    let length = field([0, 0, 0, 0, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0, 0]);
    (multiply(tag_of(&[0; 16]) ^ mask, invert(length)), mask)
}

fn field(block: [u8; 16]) -> u128 {
    u128::from_be_bytes(block)
}

/// Multiplication in GCM's field: bit 0 is the leftmost (NIST SP 800-38D, section 6.3).
fn multiply(x: u128, y: u128) -> u128 {
    let (mut z, mut v) = (0u128, y);
    for bit in (0..128).rev() {
        if (x >> bit) & 1 == 1 {
            z ^= v;
        }
        v = if v & 1 == 1 { (v >> 1) ^ (0xe1 << 120) } else { v >> 1 };
    }
    z
}

/// `x^(2^128 - 2)`.
fn invert(x: u128) -> u128 {
    let mut square = x;
    let mut result = 1u128 << 127;
    for _ in 1..128 {
        square = multiply(square, square);
        result = multiply(result, square);
    }
    result
}
