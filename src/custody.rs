//! Custody of keys and data: rotation of key terms, seals outside, backups, moves between engines.

pub mod backup;
pub mod migrate;
pub mod restored;
pub mod rotation;
pub mod shared_keys;
pub mod spooled;
pub mod transit;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::audit::{AuditError, AuditLog};
use crate::custody::shared_keys::SharedKeys;
use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::entropy::Entropy;
use crate::model::restored::Restored;
use crate::model::rotation::Rotation;
use crate::store::{Census, Store, StoreError};
use crate::vault::{TermUse, Vault, VaultError};

/// Between the count that finds nothing left under older terms and the one after which they are forgotten.
/// Longer than anything that was sealed may wait to be written.
pub const SETTLE: Duration = Duration::from_secs(60);

/// What custody of keys and data could not do.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keyring.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A rotation is under way.
    #[error(
        "keys are being rotated already: wait until the old term is retired, see `valetkey vault status`"
    )]
    UnderWay,
    /// The keyring in the database was wrapped under another root key since this process has started.
    #[error(
        "the root key was changed since this broker has started: start it anew with the new one, and every other \
         one that runs with the old one"
    )]
    OtherRootKey,
    /// The keyring in the database has gone back, and no node that runs has what it lacks.
    #[error(
        "the keyring in the database ends with term {newest}, but the database holds values under {oldest}: an older \
         keyring was put back. Put the newest one there (a node's `keyring.json` may have it: start that node), or \
         restore the whole database"
    )]
    GoneBack {
        /// The oldest term that is still written under.
        oldest: u32,
        /// The newest term of the keyring.
        newest: u32,
    },
    /// What this node has noted of the shared store.
    #[error("`{}`, in which this node notes what it has put into the shared store: {source}", .path.display())]
    Published {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// The store was not restored, or that was confirmed.
    #[error("this store is not marked as restored")]
    NotRestored,
}

/// Where keys and data stand.
#[derive(Clone, Debug)]
pub struct Status {
    /// The kind of seal.
    pub seal: &'static str,
    /// All terms, oldest first.
    pub terms: Vec<TermUse>,
    /// What was counted last, and when; `None` before the first count of this process.
    pub counted: Option<(Census, Timestamp)>,
    /// The rotation that is under way.
    pub rotation: Option<Rotation>,
    /// That the store came out of a backup, and nobody has confirmed it.
    pub restored: Option<Restored>,
}

/// Rotates keys, and knows where they stand. Cheap to clone.
#[derive(Clone)]
pub struct Custody(Arc<Inner>);

struct Inner {
    store: Store,
    vault: Arc<Vault>,
    audit: AuditLog,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// Where the log and the spool lie.
    data_dir: PathBuf,
    /// The keyring that other nodes use too, where there are such.
    keys: Option<Arc<SharedKeys>>,
    /// The rotation's record as it was seen last, where other nodes may be at it.
    seen: Mutex<Option<rotation::Seen>>,
    counted: Mutex<Option<(Census, Timestamp)>>,
    /// Whoever asks for work wakes the worker.
    wake: Notify,
    /// One step at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Custody {
    /// Over these rooms, of the deployment in that data folder. `keys` is what several nodes share, where they do.
    #[allow(clippy::too_many_arguments, reason = "what it stands on, each of another type")]
    pub fn new(
        store: Store,
        vault: Arc<Vault>,
        audit: AuditLog,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        data_dir: PathBuf,
        keys: Option<Arc<SharedKeys>>,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            vault,
            audit,
            clock,
            entropy,
            data_dir,
            keys,
            seen: Mutex::default(),
            counted: Mutex::default(),
            wake: Notify::new(),
            turn: tokio::sync::Mutex::default(),
        }))
    }

    /// Whether this node has the keys that the store takes records under. Always, where it is this node's alone.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn can_write(&self) -> Result<bool, StoreError> {
        match &self.0.keys {
            Some(keys) => keys.can_write().await,
            None => Ok(true),
        }
    }

    /// Where keys and data stand, as far as it is known without counting.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn status(&self) -> Result<Status, CustodyError> {
        let inner = &self.0;
        if let Some(keys) = &inner.keys {
            keys.look().await?;
        }
        let rotation = inner.store.get::<Rotation>(Rotation::KEY).await?;
        let restored = inner.store.get::<Restored>(Restored::KEY).await?;
        Ok(Status {
            seal: inner.vault.seal_kind(),
            terms: inner.vault.terms(),
            counted: inner.counted.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            rotation: rotation.map(|stored| stored.record().clone()),
            restored: restored.map(|stored| stored.record().clone()),
        })
    }
}
