//! Decoded records, so that a hot one is not unsealed for every request.
//!
//! Freshness never comes from here: a hit counts only if the backend holds the very bytes that the
//! entry was decoded from, and each write has its own random salt.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

const SHARDS: usize = 16;
/// Per shard and age; 2 × 16 × 320 is about ten thousand records.
const PER_SHARD: usize = 320;

type Decoded = Arc<dyn Any + Send + Sync>;
type Entries = HashMap<Bytes, (Bytes, Decoded)>;

#[derive(Default)]
struct Shard {
    young: Entries,
    /// What was young before; dropped whole when `young` is full again, unless used in between.
    old: Entries,
}

pub(super) struct Cache {
    shards: [RwLock<Shard>; SHARDS],
    hasher: RandomState,
}

impl Default for Cache {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()), hasher: RandomState::new() }
    }
}

impl Cache {
    /// The record that was decoded from exactly these bytes under this key.
    pub(super) fn get<R: Send + Sync + 'static>(&self, key: &Bytes, raw: &Bytes) -> Option<Arc<R>> {
        let shard = self.shard(key)?;
        let (found, is_old) = {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            match (shard.young.get(key), shard.old.get(key)) {
                (Some(entry), _) => (entry.clone(), false),
                (None, Some(entry)) => (entry.clone(), true),
                (None, None) => return None,
            }
        };
        // The backend may hand out the very same memory again: then there is nothing to compare.
        let is_same = (found.0.as_ptr() == raw.as_ptr() && found.0.len() == raw.len()) || found.0 == raw;
        if !is_same {
            return None;
        }
        let record = Arc::clone(&found.1).downcast::<R>().ok()?;
        if is_old {
            insert(shard, key.clone(), found);
        }
        Some(record)
    }

    pub(super) fn put<R: Send + Sync + 'static>(&self, key: Bytes, raw: Bytes, record: Arc<R>) {
        if let Some(shard) = self.shard(&key) {
            insert(shard, key, (raw, record));
        }
    }

    fn shard(&self, key: &Bytes) -> Option<&RwLock<Shard>> {
        let at = self.hasher.hash_one(key) % SHARDS as u64;
        self.shards.get(usize::try_from(at).unwrap_or(0))
    }
}

fn insert(shard: &RwLock<Shard>, key: Bytes, entry: (Bytes, Decoded)) {
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

    #[test]
    fn an_entry_counts_only_for_the_bytes_and_the_type_that_it_came_from() {
        let cache = Cache::default();
        cache.put(bytes("k"), bytes("v1"), Arc::new(7u32));
        assert_eq!(cache.get::<u32>(&bytes("k"), &bytes("v1")).as_deref(), Some(&7));
        assert!(cache.get::<u32>(&bytes("k"), &bytes("v2")).is_none());
        assert!(cache.get::<u64>(&bytes("k"), &bytes("v1")).is_none());
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let cache = Cache::default();
        for n in 0..50_000u32 {
            cache.put(bytes(&n.to_string()), bytes("v"), Arc::new(n));
        }
        let held: usize = cache
            .shards
            .iter()
            .map(|shard| shard.read().unwrap())
            .map(|shard| shard.young.len() + shard.old.len())
            .sum();
        assert!(held <= 2 * SHARDS * PER_SHARD, "{held}");
    }
}
