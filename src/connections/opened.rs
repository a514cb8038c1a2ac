//! Tokens that were opened a moment ago, so that a busy connection is not decrypted at every call.
//!
//! Only a convenience of this process: whether a token may be used is decided by the records, each time.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::kernel::secret::SecretString;

/// Half of what is kept at most.
const HALF: usize = 2048;

/// Opened tokens by the record that they belong to and its generation. Wiped when dropped.
#[derive(Default)]
pub(super) struct OpenedTokens(RwLock<Halves>);

/// When the young half is full it becomes the old half, and the former old half is wiped.
#[derive(Default)]
struct Halves {
    young: Half,
    old: Half,
}

type Half = HashMap<String, (u64, Arc<SecretString>)>;

impl OpenedTokens {
    pub(super) fn find(&self, record: &str, generation: u64) -> Option<Arc<SecretString>> {
        let halves = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (known, token) = halves.young.get(record).or_else(|| halves.old.get(record))?;
        (*known == generation).then(|| Arc::clone(token))
    }

    pub(super) fn keep(&self, record: &str, generation: u64, token: Arc<SecretString>) {
        let mut halves = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if halves.young.len() >= HALF {
            halves.old = std::mem::take(&mut halves.young);
        }
        halves.young.insert(record.to_owned(), (generation, token));
    }

    pub(super) fn forget(&self, record: &str) {
        let mut halves = self.0.write().unwrap_or_else(PoisonError::into_inner);
        halves.young.remove(record);
        halves.old.remove(record);
    }
}
