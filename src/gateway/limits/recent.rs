//! What was looked up a moment ago. Many calls climb the same few folders; each is asked about once in a while.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::gateway::limits::facts::Facts;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::ConnectionId;

/// How long a look-up is believed: as long as a thing that was moved away stays within reach.
const LIFE: Duration = Duration::from_secs(30);
/// Shards, so that calls seldom wait for each other.
const SHARDS: usize = 16;
/// The most entries of a shard.
const MOST: usize = 1024;
/// What takes more memory is not kept.
const LARGEST: usize = 4096;

/// Looked-up facts, per connection. Clones share one.
#[derive(Clone)]
pub struct Recent(Arc<Shards>);

struct Shards {
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<String, Kept>>>,
}

struct Kept {
    facts: Arc<Facts>,
    until: Timestamp,
}

impl Default for Recent {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self(Arc::new(Shards { hasher: RandomState::new(), shards }))
    }
}

impl Recent {
    pub(super) fn find(
        &self,
        connection: &ConnectionId,
        object: &str,
        id: &str,
        now: Timestamp,
    ) -> Option<Arc<Facts>> {
        let key = key(connection, object, id);
        let shard = self.shard(&key)?.lock().unwrap_or_else(PoisonError::into_inner);
        shard.get(&key).filter(|kept| now < kept.until).map(|kept| Arc::clone(&kept.facts))
    }

    pub(super) fn keep(
        &self,
        connection: &ConnectionId,
        object: &str,
        id: &str,
        facts: &Arc<Facts>,
        now: Timestamp,
    ) {
        let key = key(connection, object, id);
        if facts.size() + key.len() > LARGEST {
            return;
        }
        let Some(shard) = self.shard(&key) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= MOST {
            shard.retain(|_, kept| now < kept.until);
        }
        if shard.len() >= MOST {
            shard.clear();
        }
        shard.insert(key, Kept { facts: Arc::clone(facts), until: now.plus(LIFE) });
    }

    fn shard(&self, key: &str) -> Option<&Mutex<HashMap<String, Kept>>> {
        let at = self.0.hasher.hash_one(key) % SHARDS as u64;
        usize::try_from(at).ok().and_then(|at| self.0.shards.get(at))
    }
}

/// No identifier holds a control character, so the parts cannot run into each other.
fn key(connection: &ConnectionId, object: &str, id: &str) -> String {
    format!("{connection}\n{object}\n{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::entropy::SeededEntropy;

    #[test]
    fn what_was_looked_up_is_believed_for_a_short_time_and_for_one_connection() {
        let recent = Recent::default();
        let entropy = SeededEntropy::new(1);
        let (mine, other) = (ConnectionId::generate(&entropy), ConnectionId::generate(&entropy));
        let at = Timestamp::from_secs;
        let facts = Arc::new(Facts::default());
        recent.keep(&mine, "item", "1", &facts, at(100));
        assert!(recent.find(&mine, "item", "1", at(129)).is_some());
        assert!(recent.find(&mine, "item", "1", at(130)).is_none());
        assert!(recent.find(&other, "item", "1", at(101)).is_none());
        assert!(recent.find(&mine, "file", "1", at(101)).is_none());
        for id in 0..100_000 {
            recent.keep(&mine, "item", &id.to_string(), &facts, at(200));
        }
        let kept: usize = recent.0.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= SHARDS * MOST);
    }
}
