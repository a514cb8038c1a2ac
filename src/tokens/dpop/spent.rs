//! Each proof once. What is remembered where, and why that is enough:
//!
//! - A proof has to hold a nonce of ours, not older than [`NONCE_LIFE`]. A nonce is a time with a MAC under the
//!   vault's key: every node knows it again, and nothing is stored for it.
//! - Proofs for tokens, and for calls that change something, are spent in the store: once for all nodes, before
//!   and after a restart.
//! - Proofs for calls that only read are remembered in memory, by each node. For those a nonce from before this
//!   process started is refused, so that what it has forgotten is worth nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::encode;
use crate::model::credential::UsedAssertion;
use crate::store::{Committed, Store, StoreError, Tx};
use crate::tokens::dpop::{Problem, Proof};
use crate::vault::Vault;

/// How long a nonce is good for.
const NONCE_LIFE: Duration = Duration::from_secs(120);
/// How far nodes' clocks may be apart.
const SKEW: Duration = Duration::from_secs(5);
/// What one stretch of memory covers: longer than a nonce lives.
const STRETCH_MS: i64 = 150_000;
/// Locks, so that calls do not wait for one another.
const SHARDS: usize = 16;
/// The most that one shard remembers of a stretch; beyond that calls wait, and nothing is forgotten.
const MOST: usize = 1 << 16;

/// Why a proof does not do.
#[derive(Debug, thiserror::Error)]
pub enum Unproven {
    /// Something is wrong with it.
    #[error(transparent)]
    Bad(#[from] Problem),
    /// It holds no nonce, or one that is not good any more.
    #[error("make the DPoP proof with the nonce in the DPoP-Nonce header of this answer")]
    Nonce,
    /// More proofs are shown than can be remembered.
    #[error("too many proofs are shown at present")]
    Crowded,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How widely a proof is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spending {
    /// By every node, across restarts.
    Everywhere,
    /// By this process.
    Here,
}

/// That a key is held by whoever made this request: made by [`Proofs::spend`] only.
#[derive(Debug)]
pub struct Held(String);

impl Held {
    /// The key's thumbprint (RFC 7638).
    pub fn thumbprint(&self) -> &str {
        &self.0
    }
}

/// Makes nonces and remembers proofs. Clones share one memory.
#[derive(Clone)]
pub struct Proofs {
    store: Store,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    started: Timestamp,
    seen: Arc<[Mutex<Seen>; SHARDS]>,
}

/// Digests of proofs by the stretch in which their nonce was made.
#[derive(Default)]
struct Seen(BTreeMap<i64, HashSet<[u8; 16]>>);

impl Proofs {
    /// An empty memory.
    pub fn new(store: Store, vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Self {
        let started = clock.now();
        Self { store, vault, clock, started, seen: Arc::default() }
    }

    /// A fresh nonce.
    pub fn nonce(&self) -> String {
        let at = self.clock.now().millis().to_be_bytes();
        encode::base64url(&[at.as_slice(), &self.mac(&at)].concat())
    }

    /// Uses a proof up that has been checked otherwise.
    ///
    /// # Errors
    /// When its nonce is not good, or it was used before.
    pub async fn spend(&self, proof: Proof, how: Spending) -> Result<Held, Unproven> {
        let made_at = self.check_nonce(&proof)?;
        // What this process no longer remembers, others may have seen.
        if how == Spending::Here && made_at < self.started {
            return Err(Unproven::Nonce);
        }
        let digest = self.vault.mac("dpop proof", &[proof.thumbprint().as_bytes(), proof.id().as_bytes()]);
        match how {
            Spending::Here => self.remember(&digest, made_at)?,
            Spending::Everywhere => {
                // The proof's own time, not its nonce's: the same name must lie in the same place again.
                let used = UsedAssertion { digest: encode::hex(&digest), expires_at: proof.lapses_at() };
                let stretch = UsedAssertion::stretch_of(used.expires_at);
                let [before, after] =
                    [-1, 1].map(|step| UsedAssertion::key_of(&used.digest, stretch.saturating_add(step)));
                let mut tx = Tx::new();
                tx.insert(&used);
                tx.require_absent::<UsedAssertion>(&before).require_absent::<UsedAssertion>(&after);
                if self.store.commit(tx).await? == Committed::Conflict {
                    return Err(Problem::Used.into());
                }
            }
        }
        Ok(Held(proof.thumbprint().to_owned()))
    }

    /// When the proof's nonce was made.
    ///
    /// # Errors
    /// When it is not ours, or too old.
    fn check_nonce(&self, proof: &Proof) -> Result<Timestamp, Unproven> {
        let bytes = proof.nonce().and_then(encode::from_base64url).unwrap_or_default();
        let Some((at, mac)) = bytes.split_first_chunk::<8>() else { return Err(Unproven::Nonce) };
        if !bool::from(subtle::ConstantTimeEq::ct_eq(mac, self.mac(at).as_slice())) {
            return Err(Unproven::Nonce);
        }
        let at = Timestamp::from_millis(i64::from_be_bytes(*at));
        let now = self.clock.now();
        let is_good = now.since(at) <= NONCE_LIFE && at <= now.plus(SKEW);
        if is_good { Ok(at) } else { Err(Unproven::Nonce) }
    }

    fn mac(&self, at: &[u8]) -> [u8; 16] {
        let whole = self.vault.mac("dpop nonce", &[at]);
        whole.first_chunk::<16>().copied().unwrap_or_default()
    }

    fn remember(&self, digest: &[u8; 32], made_at: Timestamp) -> Result<(), Unproven> {
        let (Some(short), Some(shard)) = (digest.first_chunk::<16>(), self.shard(digest)) else {
            return Err(Unproven::Crowded);
        };
        let stretch_of = |at: Timestamp| at.millis().div_euclid(STRETCH_MS);
        let lapsed = stretch_of(self.clock.now().minus(NONCE_LIFE).minus(SKEW));
        let mut seen = shard.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0.retain(|stretch, _| *stretch >= lapsed);
        let of_stretch = seen.0.entry(stretch_of(made_at)).or_default();
        if of_stretch.contains(short) {
            return Err(Problem::Used.into());
        }
        if of_stretch.len() >= MOST {
            return Err(Unproven::Crowded);
        }
        of_stretch.insert(*short);
        Ok(())
    }

    fn shard(&self, digest: &[u8; 32]) -> Option<&Mutex<Seen>> {
        self.seen.get(usize::from(*digest.last()?) % SHARDS)
    }
}
