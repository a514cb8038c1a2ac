//! The keyring in memory: numbered terms, and the keys that outlive them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::Zeroizing;

use crate::kernel::entropy::Entropy;
use crate::kernel::secret::{Secret, SecretBytes};
use crate::vault::VaultError;

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

    fn is(&self, other: &Self) -> bool {
        self.number == other.number && self.master == other.master
    }
}

/// All keys of a deployment.
#[derive(Clone)]
pub(super) struct Keyring {
    /// Older terms, oldest first: what they sealed still opens.
    terms: Vec<Term>,
    /// The active term: what is sealed now.
    last: Term,
    /// No terms of the deployment any more. What this process sealed under them before it knew that opens still.
    retired: Vec<Term>,
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
            retired: Vec::new(),
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
        let others = self.terms.iter().chain(&self.retired);
        others.into_iter().find(|term| term.number == number).map(|term| &*term.master)
    }

    /// Whether it holds other terms than the active one, retired ones included.
    pub(super) fn has_others(&self) -> bool {
        !self.terms.is_empty() || !self.retired.is_empty()
    }

    /// Whether it holds terms that are none of the deployment's any more.
    pub(super) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// A number under which two keyrings have different keys.
    pub(super) fn disputed(&self, other: &Self) -> Option<u32> {
        let others = other.terms.iter().chain([&other.last]).chain(&other.retired);
        let differs = |term: &&Term| self.key(term.number).is_some_and(|key| *key != *term.master);
        others.into_iter().find(differs).map(|term| term.number)
    }

    fn agrees(&self, other: &Self) -> Result<(), VaultError> {
        self.disputed(other).map_or(Ok(()), |term| Err(VaultError::Disputed { term }))
    }

    /// The terms of another keyring of this deployment; what only this one has is retired.
    ///
    /// # Errors
    /// When the other is not of this deployment, or has another key under a number that both have.
    pub(super) fn followed_by(&self, next: Self) -> Result<Self, VaultError> {
        let fixed =
            |keyring: &Self| [*keyring.digest, *keyring.token, *keyring.audit_seed].map(Zeroizing::new);
        if fixed(self) != fixed(&next) {
            return Err(VaultError::WrongRootKey);
        }
        self.agrees(&next)?;
        let ours = || self.terms.iter().chain([&self.last]).chain(&self.retired);
        // The same term goes on counting.
        let same = |term: Term| ours().find(|own| own.is(&term)).cloned().unwrap_or(term);
        let next = Self {
            terms: next.terms.into_iter().map(same).collect(),
            last: same(next.last),
            retired: Vec::new(),
            ..next
        };
        let retired = ours().filter(|own| next.key(own.number).is_none()).cloned().collect();
        Ok(Self { retired, ..next })
    }

    /// All terms of both; the newest seals.
    ///
    /// # Errors
    /// When they have different keys under one number.
    pub(super) fn with_terms_of(&self, other: &Self) -> Result<Self, VaultError> {
        self.agrees(other)?;
        let mut next = self.clone();
        let lacking = other.terms.iter().chain([&other.last]).filter(|term| self.key(term.number).is_none());
        next.terms.extend(lacking.cloned());
        next.terms.push(next.last.clone());
        next.terms.sort_by_key(|term| term.number);
        next.last = next.terms.pop().unwrap_or(next.last);
        Ok(next)
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
        let mut terms: Vec<&Term> = self.terms.iter().chain([&self.last]).collect();
        self.encode_terms(&mut terms)
    }

    /// The same with the retired terms, which are no different from others then.
    pub(super) fn encode_whole(&self) -> SecretBytes {
        let mut terms: Vec<&Term> = self.terms.iter().chain([&self.last]).chain(&self.retired).collect();
        self.encode_terms(&mut terms)
    }

    fn encode_terms(&self, terms: &mut [&Term]) -> SecretBytes {
        terms.sort_by_key(|term| term.number);
        let mut out = Vec::with_capacity(1 + 3 * 32 + terms.len() * 36);
        out.push(VERSION);
        for key in [&self.digest, &self.token, &self.audit_seed] {
            out.extend_from_slice(key.as_slice());
        }
        for term in terms {
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
        Some(Self { terms, last, retired: Vec::new(), digest, token, audit_seed })
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
    fn two_keys_under_one_number_do_not_go_together() {
        let entropy = SeededEntropy::new(3);
        let first = Keyring::generate(&entropy);
        let (one, other) = (first.with_new_term(&entropy).unwrap(), first.with_new_term(&entropy).unwrap());
        let is_disputed = |result: Result<Keyring, VaultError>| {
            assert!(matches!(result, Err(VaultError::Disputed { term: 2 })), "{:?}", result.err());
        };
        is_disputed(one.followed_by(other.clone()));
        is_disputed(one.with_terms_of(&other));
        // The one that is retired here, and the active one there.
        let later = one.with_new_term(&entropy).unwrap().without(2);
        is_disputed(one.followed_by(later.clone()).unwrap().followed_by(other.clone()));
        assert_eq!(first.followed_by(one.clone()).unwrap().active(), 2);
        assert_eq!(first.with_terms_of(&one).unwrap().key(2), one.key(2));
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
