//! The keyring in memory: numbered terms, and the keys that outlive them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::Zeroizing;

use crate::kernel::entropy::Entropy;
use crate::kernel::secret::{Secret, SecretBytes};

type Key = Zeroizing<[u8; 32]>;

const VERSION: u8 = 1;

/// One term: what is sealed under it names it by number.
#[derive(Clone)]
struct Term {
    number: u32,
    master: Key,
    /// How many values this process has sealed under it.
    sealed: Arc<AtomicU64>,
}

impl Term {
    fn new(number: u32, master: Key) -> Self {
        Self { number, master, sealed: Arc::default() }
    }
}

/// All keys of a deployment.
#[derive(Clone)]
pub(super) struct Keyring {
    /// Older terms, oldest first: what they sealed still opens.
    terms: Vec<Term>,
    /// The active term: what is sealed now.
    last: Term,
    /// Digests must stay the same when terms change: stored secrets are found by them.
    digest: Key,
    token: Key,
    audit_seed: Key,
}

impl Keyring {
    /// A keyring with one term.
    pub(super) fn generate(entropy: &dyn Entropy) -> Self {
        Self {
            terms: Vec::new(),
            last: Term::new(1, random(entropy)),
            digest: random(entropy),
            token: random(entropy),
            audit_seed: random(entropy),
        }
    }

    pub(super) fn active(&self) -> u32 {
        self.last.number
    }

    /// The key that seals; asking counts as a use.
    pub(super) fn active_key(&self) -> (u32, &[u8; 32]) {
        self.last.sealed.fetch_add(1, Ordering::Relaxed);
        (self.last.number, &self.last.master)
    }

    /// All terms, oldest first, and how many values this process has sealed under each.
    pub(super) fn terms(&self) -> Vec<(u32, u64)> {
        let of = |term: &Term| (term.number, term.sealed.load(Ordering::Relaxed));
        self.terms.iter().chain([&self.last]).map(of).collect()
    }

    /// With one more term, which seals from now on. `None` when there are as many as can be numbered.
    pub(super) fn with_new_term(&self, entropy: &dyn Entropy) -> Option<Self> {
        let mut next = self.clone();
        let term = Term::new(self.last.number.checked_add(1)?, random(entropy));
        next.terms.push(std::mem::replace(&mut next.last, term));
        Some(next)
    }

    /// Without an older term: what is still sealed under it will not open any more.
    pub(super) fn without(&self, number: u32) -> Self {
        let mut next = self.clone();
        next.terms.retain(|term| term.number != number);
        next
    }

    pub(super) fn key(&self, number: u32) -> Option<&[u8; 32]> {
        if number == self.last.number {
            return Some(&self.last.master);
        }
        self.terms.iter().find(|term| term.number == number).map(|term| &*term.master)
    }

    pub(super) fn digest_key(&self) -> &[u8; 32] {
        &self.digest
    }

    pub(super) fn token_key(&self) -> &[u8; 32] {
        &self.token
    }

    pub(super) fn audit_seed(&self) -> &[u8; 32] {
        &self.audit_seed
    }

    /// The bytes that are wrapped: version, three stable keys, then the terms, oldest first.
    pub(super) fn encode(&self) -> SecretBytes {
        let mut out = Vec::with_capacity(1 + 3 * 32 + (self.terms.len() + 1) * 36);
        out.push(VERSION);
        for key in [&self.digest, &self.token, &self.audit_seed] {
            out.extend_from_slice(key.as_slice());
        }
        for term in self.terms.iter().chain([&self.last]) {
            out.extend_from_slice(&term.number.to_be_bytes());
            out.extend_from_slice(term.master.as_slice());
        }
        Secret::new(out)
    }

    /// Reads what [`Keyring::encode`] wrote. `None` when it is something else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, rest) = bytes.split_first()?;
        if version != VERSION {
            return None;
        }
        let (digest, rest) = take(rest)?;
        let (token, rest) = take(rest)?;
        let (audit_seed, mut rest) = take(rest)?;
        let mut terms: Vec<Term> = Vec::new();
        while !rest.is_empty() {
            let (number, after) = rest.split_first_chunk()?;
            let (master, after) = take(after)?;
            let number = u32::from_be_bytes(*number);
            if terms.last().is_some_and(|term| term.number >= number) {
                return None;
            }
            terms.push(Term::new(number, master));
            rest = after;
        }
        let last = terms.pop()?;
        Some(Self { terms, last, digest, token, audit_seed })
    }
}

fn random(entropy: &dyn Entropy) -> Key {
    let mut key = Zeroizing::new([0; 32]);
    entropy.fill(key.as_mut_slice());
    key
}

fn take(bytes: &[u8]) -> Option<(Key, &[u8])> {
    let (key, rest) = bytes.split_first_chunk::<32>()?;
    Some((Zeroizing::new(*key), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::entropy::SeededEntropy;

    #[test]
    fn a_keyring_with_two_terms_reads_back() {
        let entropy = SeededEntropy::new(3);
        let keyring = Keyring::generate(&entropy).with_new_term(&entropy).unwrap();
        let read = Keyring::decode(keyring.encode().expose()).unwrap();
        assert_eq!(read.active(), 2);
        assert_eq!(read.key(1), keyring.key(1));
        assert_eq!(read.key(2), keyring.key(2));
        assert!(read.key(3).is_none());
        assert_eq!(read.digest_key(), keyring.digest_key());
        let retired = Keyring::decode(read.without(1).encode().expose()).unwrap();
        assert!(retired.key(1).is_none());
        assert_eq!((retired.active(), retired.key(2)), (2, keyring.key(2)));
        assert_eq!(read.without(2).active(), 2, "the active term stays");
    }

    #[test]
    fn half_a_keyring_or_an_unknown_version_is_refused() {
        let bytes = Keyring::generate(&SeededEntropy::new(3)).encode();
        for length in 0..bytes.expose().len() {
            assert!(Keyring::decode(&bytes.expose()[..length]).is_none(), "{length}");
        }
        let mut other = bytes.expose().clone();
        other[0] = 2;
        assert!(Keyring::decode(&other).is_none());
    }
}
