//! Typed reading and writing of records over a backend.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Deref;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::kernel::encode;
use crate::model::record::Record;
use crate::model::sealed::{Sealed, Sealer};
use crate::store::backend::{Backend, Batch, Committed};
use crate::store::cache::{Cache, Found};
use crate::store::tx::{Tx, record_context};
use crate::store::{StoreError, key};

/// How often [`Store::update`] tries before it gives up. With the queue below, more than two tries
/// mean that someone changes the record through transactions of their own.
const ATTEMPTS: usize = 64;
const QUEUES: usize = 64;
const SCAN: usize = 256;
/// Longer lists under one index value are read anew each time: the cache counts entries, not records.
const KEPT_TOGETHER: usize = 16;

/// Reads and writes records. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    patience: Option<Duration>,
}

struct Inner {
    backend: Arc<dyn Backend>,
    sealer: Arc<dyn Sealer>,
    cache: Cache,
    /// Writers pass; whoever takes a snapshot closes it for its last moment.
    gate: tokio::sync::RwLock<()>,
    /// The keys that are being written, while a snapshot is taken.
    noted: std::sync::Mutex<Option<BTreeSet<Bytes>>>,
    /// Updates that lost a race wait here, so that a crowd on one record takes turns instead of
    /// repeating each other's work.
    queues: [Mutex<()>; QUEUES],
    hasher: RandomState,
}

/// A record as it was read: changing it is conditioned on the exact bytes that it was read from.
pub struct Stored<R> {
    record: Arc<R>,
    raw: Bytes,
}

impl<R> Stored<R> {
    /// The record.
    pub fn record(&self) -> &R {
        &self.record
    }

    /// A name for the record as it was read: another one after every write.
    pub fn version(&self) -> String {
        let digest = digest(&SHA256, &self.raw);
        encode::hex(digest.as_ref().get(..16).unwrap_or_default())
    }

    pub(super) fn raw(&self) -> &Bytes {
        &self.raw
    }
}

impl<R> Clone for Stored<R> {
    fn clone(&self) -> Self {
        Self { record: Arc::clone(&self.record), raw: self.raw.clone() }
    }
}

impl<R> Deref for Stored<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.record
    }
}

impl<R: fmt::Debug> fmt::Debug for Stored<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.record.fmt(f)
    }
}

/// How [`Store::update`] ended.
#[derive(Clone, Debug)]
pub enum Updated<R> {
    /// Changed; this is the new record.
    Changed(Stored<R>),
    /// The caller's function left it as it is.
    Unchanged(Stored<R>),
    /// There is no such record.
    Missing,
}

impl<R> Updated<R> {
    /// The record as it is now, changed or not.
    pub fn stored(self) -> Option<Stored<R>> {
        match self {
            Self::Changed(stored) | Self::Unchanged(stored) => Some(stored),
            Self::Missing => None,
        }
    }
}

/// Why [`Store::update`] did not happen.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError<E> {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The caller's function refused.
    #[error("the change was refused: {0}")]
    Refused(E),
}

impl Store {
    /// A store over a backend; every value goes through the sealer.
    pub fn new(backend: Arc<dyn Backend>, sealer: Arc<dyn Sealer>) -> Store {
        let inner = Inner {
            backend,
            sealer,
            cache: Cache::default(),
            gate: tokio::sync::RwLock::default(),
            noted: std::sync::Mutex::default(),
            queues: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        };
        Store { inner: Arc::new(inner), patience: None }
    }

    /// The same store for those whose callers do not wait longer than that for a write: then
    /// [`StoreError::TooSlow`]. What must not be given up, such as a new refresh token, is written through
    /// the store without.
    #[must_use]
    pub fn patient_for(&self, patience: Duration) -> Store {
        Store { inner: Arc::clone(&self.inner), patience: Some(patience) }
    }

    /// The record with that key.
    ///
    /// # Errors
    /// When the backend fails or the record does not open.
    pub async fn get<R: Record>(&self, id: &str) -> Result<Option<Stored<R>>, StoreError> {
        let key = key::record(R::KIND, id);
        let version = self.inner.backend.version();
        match self.inner.cache.current(&key, version) {
            Some(Found::Nothing) => return Ok(None),
            Some(Found::Record(raw, decoded)) => {
                if let Ok(record) = decoded.downcast::<R>() {
                    return Ok(Some(Stored { record, raw }));
                }
            }
            Some(Found::All(_)) | None => {}
        }
        match self.inner.backend.get(&key).await? {
            Some(raw) => self.decode(key, id, raw, version).map(Some),
            None => {
                self.inner.cache.put(key, Found::Nothing, version);
                Ok(None)
            }
        }
    }

    /// All records with that index value, ordered by key.
    ///
    /// # Errors
    /// When the backend fails or a record does not open.
    pub async fn find<R: Record>(
        &self,
        index: &'static str,
        value: &str,
    ) -> Result<Vec<Stored<R>>, StoreError> {
        let prefix = Bytes::from(key::index_prefix(R::KIND, index, value));
        let version = self.inner.backend.version();
        if let Some(Found::All(known)) = self.inner.cache.current(&prefix, version)
            && let Ok(known) = known.downcast::<Vec<Stored<R>>>()
        {
            return Ok(known.to_vec());
        }
        let found = self.scan_index::<R>(&prefix, index, value).await?;
        if found.len() <= KEPT_TOGETHER {
            self.inner.cache.put(prefix, Found::All(Arc::new(found.clone())), version);
        }
        Ok(found)
    }

    async fn scan_index<R: Record>(
        &self,
        prefix: &Bytes,
        index: &'static str,
        value: &str,
    ) -> Result<Vec<Stored<R>>, StoreError> {
        let mut found = Vec::new();
        let mut after: Option<Bytes> = None;
        loop {
            let page = self.inner.backend.scan(prefix, after.as_deref(), SCAN).await?;
            for (key, _) in &page {
                let id = key.get(prefix.len()..).map(String::from_utf8_lossy).unwrap_or_default();
                if let Some(stored) = self.get::<R>(&id).await? {
                    // Index keys are not sealed. The record itself has the last word, so that a
                    // forged entry leads nowhere.
                    if stored.indexes().iter().any(|(i, v)| *i == index && v == value) {
                        found.push(stored);
                    }
                }
            }
            if page.len() < SCAN {
                return Ok(found);
            }
            after = page.into_iter().next_back().map(|(key, _)| key);
        }
    }

    /// The record with that unique value.
    ///
    /// # Errors
    /// When the backend fails or the record does not open.
    pub async fn find_unique<R: Record>(
        &self,
        index: &'static str,
        value: &str,
    ) -> Result<Option<Stored<R>>, StoreError> {
        let Some(id) = self.inner.backend.get(&key::unique(R::KIND, index, value)).await? else {
            return Ok(None);
        };
        let stored = self.get::<R>(&String::from_utf8_lossy(&id)).await?;
        Ok(stored.filter(|stored| stored.unique().iter().any(|(i, v)| *i == index && v == value)))
    }

    /// Up to `limit` records after a key, ordered by key.
    ///
    /// # Errors
    /// When the backend fails or a record does not open.
    pub async fn page<R: Record>(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Stored<R>>, StoreError> {
        let prefix = key::record_prefix(R::KIND);
        let after = after.map(|after| key::record(R::KIND, after));
        let page = self.inner.backend.scan(&prefix, after.as_deref(), limit).await?;
        page.into_iter()
            .map(|(key, raw)| {
                let id = key.get(prefix.len()..).map(String::from_utf8_lossy).unwrap_or_default();
                let id = id.into_owned();
                // Not kept: whoever walks through everything would push out what is read all the time.
                if let Some(record) = self.inner.cache.decoded::<R>(&key, &raw, None) {
                    return Ok(Stored { record, raw });
                }
                self.open(&id, &raw).map(|record| Stored { record: Arc::new(record), raw })
            })
            .collect()
    }

    /// Applies a transaction; durable when it returns.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn commit(&self, tx: Tx) -> Result<Committed, StoreError> {
        let batch = tx.into_batch(self.inner.sealer.as_ref())?;
        self.write(batch).await
    }

    pub(super) async fn write(&self, batch: Batch) -> Result<Committed, StoreError> {
        let written = async {
            let _passed = self.inner.gate.read().await;
            if let Some(noted) = self.noted().lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                noted.extend(batch.write.iter().map(|(key, _)| key.clone()));
            }
            self.inner.backend.commit(batch).await
        };
        match self.patience {
            None => written.await,
            Some(patience) => timeout(patience, written).await.unwrap_or(Err(StoreError::TooSlow)),
        }
    }

    /// Changes one record: reads it, asks `change` what it should become (`None` leaves it), and
    /// writes that if nobody changed it in between, else starts over. `change` may run several times.
    ///
    /// # Errors
    /// When `change` refuses, or the store fails.
    pub async fn update<R: Record, E>(
        &self,
        id: &str,
        change: impl Fn(&R) -> Result<Option<R>, E>,
    ) -> Result<Updated<R>, UpdateError<E>> {
        let key = key::record(R::KIND, id);
        let queue = self.queue(&key);
        // Where others already take turns, a newcomer's free try would only beat those who wait.
        let mut turn = if queue.try_lock().is_ok() { None } else { Some(queue.lock().await) };
        for _ in 0..ATTEMPTS {
            let Some(stored) = self.get::<R>(id).await? else { return Ok(Updated::Missing) };
            let Some(record) = change(&stored).map_err(UpdateError::Refused)? else {
                return Ok(Updated::Unchanged(stored));
            };
            if let Some(stored) = self.replace(&stored, record).await? {
                return Ok(Updated::Changed(stored));
            }
            if turn.is_none() {
                turn = Some(queue.lock().await);
            }
        }
        Err(UpdateError::Store(StoreError::Contended { key: format!("{}/{id}", R::KIND) }))
    }

    /// Writes a record in the place of the one that was read. Nothing when that was changed since, or a unique
    /// value is taken.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn replace<R: Record>(
        &self,
        stored: &Stored<R>,
        record: R,
    ) -> Result<Option<Stored<R>>, StoreError> {
        let key = key::record(R::KIND, &record.key());
        let mut tx = Tx::new();
        tx.update(stored, &record);
        let batch = tx.into_batch(self.inner.sealer.as_ref())?;
        let raw = batch.write.iter().find(|(at, _)| *at == key).and_then(|(_, raw)| raw.clone());
        let (Committed::Done, Some(raw)) = (self.write(batch).await?, raw) else { return Ok(None) };
        // Where another node has made a new key term meanwhile, it was sealed anew on its way: what is named to callers
        // is what lies there.
        let is_present = self.inner.sealer.term_of(&raw) == Some(self.inner.sealer.active_term());
        if !is_present && let Some(stored) = self.get::<R>(&record.key()).await? {
            return Ok(Some(stored));
        }
        let record = Arc::new(record);
        let decoded: Arc<R> = Arc::clone(&record);
        self.inner.cache.put(key, Found::Record(raw.clone(), decoded), None);
        Ok(Some(Stored { record, raw }))
    }

    /// Whether other processes may read and write the same records.
    pub fn is_shared(&self) -> bool {
        self.inner.backend.is_shared()
    }

    /// Whether the backend has failed: the process must end.
    pub fn failed(&self) -> bool {
        self.inner.backend.failed()
    }

    /// Ends when the backend has failed.
    pub async fn failed_signal(&self) {
        self.inner.backend.failed_signal().await;
    }

    /// Makes everything durable; for backups and an orderly end.
    ///
    /// # Errors
    /// When the backend has failed.
    pub async fn sync(&self) -> Result<(), StoreError> {
        self.inner.backend.sync().await
    }

    /// Waits for the writes under way; no other begins while the guard is held.
    pub(super) async fn close_gate(&self) -> tokio::sync::RwLockWriteGuard<'_, ()> {
        self.inner.gate.write().await
    }

    pub(super) fn noted(&self) -> &std::sync::Mutex<Option<BTreeSet<Bytes>>> {
        &self.inner.noted
    }

    pub(super) fn backend(&self) -> &dyn Backend {
        self.inner.backend.as_ref()
    }

    pub(super) fn sealer(&self) -> &dyn Sealer {
        self.inner.sealer.as_ref()
    }

    fn queue(&self, key: &Bytes) -> &Mutex<()> {
        let [first, ..] = &self.inner.queues;
        let at = self.inner.hasher.hash_one(key) % QUEUES as u64;
        self.inner.queues.get(usize::try_from(at).unwrap_or(0)).unwrap_or(first)
    }

    /// The record in these bytes. They were read after the backend had this version.
    fn decode<R: Record>(
        &self,
        key: Bytes,
        id: &str,
        raw: Bytes,
        version: Option<u64>,
    ) -> Result<Stored<R>, StoreError> {
        if let Some(record) = self.inner.cache.decoded::<R>(&key, &raw, version) {
            return Ok(Stored { record, raw });
        }
        let record = Arc::new(self.open::<R>(id, &raw)?);
        let decoded: Arc<R> = Arc::clone(&record);
        self.inner.cache.put(key, Found::Record(raw.clone(), decoded), version);
        Ok(Stored { record, raw })
    }

    fn open<R: Record>(&self, id: &str, raw: &Bytes) -> Result<R, StoreError> {
        let name = || format!("{}/{id}", R::KIND);
        let sealed = Sealed::from_bytes(raw.to_vec());
        let plain = self
            .inner
            .sealer
            .open(record_context(R::KIND, id), &sealed)
            .map_err(|source| StoreError::Sealed { key: name(), source })?;
        // The problem's position says enough; its text could quote the record.
        let record: R = serde_json::from_slice(plain.expose()).map_err(|e| StoreError::Codec {
            key: name(),
            problem: format!("it is not what this version expects, at column {}", e.column()),
        })?;
        if record.key() != id {
            return Err(StoreError::Codec { key: name(), problem: "it names another key itself".to_owned() });
        }
        Ok(record)
    }
}
