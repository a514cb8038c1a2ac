//! Records that come into a database as a whole: from another engine, or out of a backup.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::app::open::{OpenError, root_key, secret};
use crate::app::shared::{self, FILLING};
use crate::config::Settings;
use crate::custody::shared_keys::KEYRING;
use crate::kernel::entropy::{self, Entropy, SystemEntropy};
use crate::kernel::secret::SecretString;
use crate::store::{Backend, Batch, Committed, Expect, PostgresBackend, StoreError, clear};

/// A database that is being filled. Until [`Filling::end`] it counts as not set up: no broker starts on it.
pub struct Filling {
    backend: Arc<PostgresBackend>,
    attempt: Bytes,
}

impl Filling {
    /// Begins with a database that holds nothing. What an attempt that broke off has left in it is removed.
    ///
    /// # Errors
    /// When it holds a deployment, or records that no such attempt has left; then nothing is touched.
    pub async fn begin(url: &SecretString) -> Result<Self, OpenError> {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
        let backend = PostgresBackend::open(url, Arc::clone(&entropy))?;
        if backend.get(KEYRING).await?.is_some() {
            return Err(StoreError::NotEmpty.into());
        }
        let attempt = Bytes::copy_from_slice(&entropy::bytes::<16>(entropy.as_ref()));
        let former = backend.get(FILLING).await?;
        if former.is_none() && !backend.scan(b"", None, 1).await?.is_empty() {
            return Err(StoreError::NotEmpty.into());
        }
        let batch = Batch {
            expect: vec![(Bytes::from_static(FILLING), former.clone().map_or(Expect::Absent, Expect::Is))],
            write: vec![(Bytes::from_static(FILLING), Some(attempt.clone()))],
        };
        if backend.commit(batch).await? == Committed::Conflict {
            return Err(overtaken(&backend));
        }
        if former.is_some() {
            clear(&backend).await?;
        }
        Ok(Self { backend: Arc::new(backend), attempt })
    }

    /// The database, without its password.
    pub fn shown(&self) -> String {
        self.backend.shown().to_string()
    }

    /// Where records go.
    pub fn backend(&self) -> Arc<dyn Backend> {
        self.backend.clone()
    }

    /// Puts the keyring of that data folder in: from now on this is a deployment.
    ///
    /// # Errors
    /// When another attempt has taken this one's place, which then counts for nothing.
    pub async fn end(self, dir: &Path) -> Result<(), OpenError> {
        let keyring = shared::own_keyring(dir)?;
        let batch = Batch {
            expect: vec![
                (Bytes::from_static(FILLING), Expect::Is(self.attempt.clone())),
                (Bytes::from_static(KEYRING), Expect::Absent),
            ],
            write: vec![(Bytes::from_static(FILLING), None), (Bytes::from_static(KEYRING), Some(keyring))],
        };
        match self.backend.commit(batch).await? {
            Committed::Done => Ok(()),
            Committed::Conflict => Err(overtaken(&self.backend)),
        }
    }
}

fn overtaken(backend: &PostgresBackend) -> OpenError {
    OpenError::Keyring(format!("the database `{}` is being filled by another process", backend.shown()))
}

/// The records that settings name, for moving them. Of a deployment in a database the data folder has the
/// newest keyring then.
///
/// # Errors
/// When they cannot be opened, or, with an embedded engine, a broker uses them.
pub async fn records(settings: &Settings) -> Result<Arc<dyn Backend>, OpenError> {
    match &settings.postgres {
        None => Ok(super::embedded(settings.engine, &settings.data_dir, settings.reserve_bytes)?),
        Some(url) => {
            let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
            let root = root_key(&settings.root_key)?;
            Ok(shared::join(&secret(url)?, &settings.data_dir, &root, &entropy).await?.keys)
        }
    }
}
