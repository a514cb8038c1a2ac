//! The store: one contract for every backend, what is sealed, and what the engines on disk and PostgreSQL must survive.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]

mod backup;
mod cluster;
mod contract;
mod damage;
mod disk;
mod failed_write;
mod nodes;
mod panics;
mod postgres;
mod records;
mod rotation;
mod rotation_kills;
mod sealed;
mod upgrades;
mod way;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use valetkey::kernel::entropy::SeededEntropy;
use valetkey::model::record::Record;
use valetkey::store::{Backend, MemoryBackend, RedbBackend, SledBackend, Store};
use valetkey::vault::Vault;

/// A record with one index and one unique value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub id: String,
    pub owner: String,
    pub badge: Option<String>,
    pub count: u64,
}

impl Record for Note {
    const KIND: &'static str = "note";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("owner", self.owner.clone())]
    }

    fn unique(&self) -> Vec<(&'static str, String)> {
        self.badge.iter().map(|badge| ("badge", badge.clone())).collect()
    }
}

pub fn note(id: &str, owner: &str) -> Note {
    Note { id: id.to_owned(), owner: owner.to_owned(), badge: None, count: 0 }
}

pub fn badged(id: &str, badge: &str) -> Note {
    Note { badge: Some(badge.to_owned()), ..note(id, "someone") }
}

/// A vault that is the same in every test.
pub fn vault() -> Arc<Vault> {
    Arc::new(Vault::ephemeral(Arc::new(SeededEntropy::new(1))))
}

/// A store, the backend below it, and the folder that lasts as long as they do.
pub type Fresh = (&'static str, Store, Arc<dyn Backend>, Option<tempfile::TempDir>);

/// A store over every backend that there is, empty.
pub fn stores() -> Vec<Fresh> {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sled: Arc<dyn Backend> = Arc::new(SledBackend::open(folder.path(), 0).unwrap());
    let redb: Arc<dyn Backend> = Arc::new(RedbBackend::open(other.path(), 0).unwrap());
    let memory: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    let store = |backend: &Arc<dyn Backend>| Store::new(backend.clone(), vault());
    let postgres: Arc<dyn Backend> = cluster::cluster().fresh().open().unwrap();
    vec![
        ("memory", store(&memory), memory, None),
        ("sled", store(&sled), sled, Some(folder)),
        ("redb", store(&redb), redb, Some(other)),
        ("postgres", store(&postgres), postgres, None),
    ]
}
