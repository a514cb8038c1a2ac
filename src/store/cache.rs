//! What was read and decoded, so that a hot record is neither read nor unsealed for every request.
//!
//! Freshness never comes from here. An entry counts only if the backend still is at the version at which it was
//! read, or holds the very bytes that it was decoded from: each write has its own random salt.

use std::any::Any;
use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

const SHARDS: usize = 16;
/// Per shard and age; 2 × 16 × 320 is about ten thousand entries.
const PER_SHARD: usize = 320;
/// Stands for the version of what was read without knowing one.
const UNKNOWN: u64 = u64::MAX;

type Decoded = Arc<dyn Any + Send + Sync>;

/// What was found under a key.
#[derive(Clone)]
pub(super) enum Found {
    Nothing,
    /// A record, and the bytes that it was decoded from.
    Record(Bytes, Decoded),
    /// All records with the index value that the key stands for.
    All(Decoded),
}

struct Entry {
    found: Found,
    /// The backend's version at which it was last seen to be so.
    version: AtomicU64,
}

impl Entry {
    fn is_of(&self, version: u64) -> bool {
        version != UNKNOWN && self.version.load(Ordering::Acquire) == version
    }
}

type Entries = HashMap<Bytes, Arc<Entry>>;

#[derive(Default)]
struct Shard {
    young: Entries,
    /// What was young before; dropped whole when `young` is full again, unless used in between.
    old: Entries,
}

pub(super) struct Cache([RwLock<Shard>; SHARDS]);

impl Default for Cache {
    fn default() -> Self {
        let hasher = RandomState::new();
        let entries = || HashMap::with_hasher(hasher.clone());
        Self(std::array::from_fn(|_| RwLock::new(Shard { young: entries(), old: entries() })))
    }
}

impl Cache {
    /// What the backend holds under this key at this version, as far as it was read at this version.
    pub(super) fn current(&self, key: &Bytes, version: Option<u64>) -> Option<Found> {
        let entry = self.entry(key)?;
        entry.is_of(version?).then(|| entry.found.clone())
    }

    /// The record that was decoded from exactly these bytes under this key; from now on it is what was read at
    /// this version.
    pub(super) fn decoded<R: Send + Sync + 'static>(
        &self,
        key: &Bytes,
        raw: &Bytes,
        version: Option<u64>,
    ) -> Option<Arc<R>> {
        let entry = self.entry(key)?;
        let Found::Record(from, decoded) = &entry.found else { return None };
        // The backend may hand out the very same memory again: then there is nothing to compare.
        let is_same = (from.as_ptr() == raw.as_ptr() && from.len() == raw.len()) || from == raw;
        if !is_same {
            return None;
        }
        let record = Arc::clone(decoded).downcast::<R>().ok()?;
        if let Some(version) = version {
            entry.version.store(version, Ordering::Release);
        }
        Some(record)
    }

    /// Keeps what was read. The version is the one before the read: what changes after it counts as changed.
    pub(super) fn put(&self, key: Bytes, found: Found, version: Option<u64>) {
        let version = AtomicU64::new(version.unwrap_or(UNKNOWN));
        if let Some(shard) = self.shard(&key) {
            insert(shard, key, Arc::new(Entry { found, version }));
        }
    }

    fn entry(&self, key: &Bytes) -> Option<Arc<Entry>> {
        let shard = self.shard(key)?;
        let old = {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = shard.young.get(key) {
                return Some(Arc::clone(entry));
            }
            Arc::clone(shard.old.get(key)?)
        };
        insert(shard, key.clone(), Arc::clone(&old));
        Some(old)
    }

    /// Some shard; nothing depends on how well the keys are spread.
    fn shard(&self, key: &Bytes) -> Option<&RwLock<Shard>> {
        self.0.get(usize::try_from(crc32fast::hash(key)).unwrap_or(0) % SHARDS)
    }
}

fn insert(shard: &RwLock<Shard>, key: Bytes, entry: Arc<Entry>) {
    let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
    if shard.young.len() >= PER_SHARD && !shard.young.contains_key(&key) {
        shard.old = std::mem::take(&mut shard.young);
    }
    shard.young.insert(key, entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn record(raw: &str, value: u32) -> Found {
        Found::Record(bytes(raw), Arc::new(value))
    }

    #[test]
    fn a_decoded_record_counts_only_for_the_bytes_and_the_type_that_it_came_from() {
        let cache = Cache::default();
        cache.put(bytes("k"), record("v1", 7), None);
        assert_eq!(cache.decoded::<u32>(&bytes("k"), &bytes("v1"), None).as_deref(), Some(&7));
        assert!(cache.decoded::<u32>(&bytes("k"), &bytes("v2"), None).is_none());
        assert!(cache.decoded::<u64>(&bytes("k"), &bytes("v1"), None).is_none());
    }

    #[test]
    fn what_was_read_counts_at_its_version_only() {
        let cache = Cache::default();
        cache.put(bytes("k"), record("v1", 7), Some(2));
        cache.put(bytes("gone"), Found::Nothing, Some(2));
        assert!(matches!(cache.current(&bytes("k"), Some(2)), Some(Found::Record(..))));
        assert!(matches!(cache.current(&bytes("gone"), Some(2)), Some(Found::Nothing)));
        for other in [None, Some(4), Some(u64::MAX)] {
            assert!(cache.current(&bytes("k"), other).is_none(), "{other:?}");
        }
        // Read again at a later version, and found to be the same.
        assert!(cache.decoded::<u32>(&bytes("k"), &bytes("v1"), Some(4)).is_some());
        assert!(cache.current(&bytes("k"), Some(4)).is_some());
        assert!(cache.current(&bytes("gone"), Some(4)).is_none());
        // What was read without a version is not known to be so at any.
        cache.put(bytes("k"), record("v1", 7), None);
        assert!(cache.current(&bytes("k"), Some(4)).is_none() && cache.current(&bytes("k"), None).is_none());
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let cache = Cache::default();
        for n in 0..50_000u32 {
            cache.put(bytes(&n.to_string()), record("v", n), None);
        }
        let held: usize = cache
            .0
            .iter()
            .map(|shard| shard.read().unwrap())
            .map(|shard| shard.young.len() + shard.old.len())
            .sum();
        assert!(held <= 2 * SHARDS * PER_SHARD, "{held}");
    }
}
