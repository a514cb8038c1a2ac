//! One keyring for several nodes. It lies in their database, wrapped, and each takes from there what it lacks.
//!
//! A new term lies there before anything is sealed under it, so no node's disk holds the only copy. A node that
//! meets a value under a term which it does not have reads the keyring anew before the value is opened. With the
//! new term a number is published, the oldest term that is still written under; every commit names the oldest term in
//! it, and one that is too old is not carried out, however long the node that sent it was stopped or cut off. That
//! node takes the keyring over, seals anew, and commits again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::custody::{CustodyError, SETTLE, spooled};
use crate::model::sealed::Sealer as _;
use crate::store::backend::{Frozen, Page};
use crate::store::{
    Backend, Batch, Committed, Expect, FolderLock, StoreError, is_record, number, sealed_anew,
};
use crate::vault::{Vault, VaultError, named_term};

/// Where the wrapped keyring lies in the database, as in each node's own file.
pub const KEYRING: &[u8] = b"m/keyring";
/// The oldest term that is still written under, for [`Expect::AtMost`]. It changes with the keyring.
const OLDEST: &[u8] = b"m/oldest-term";
/// A term that nobody has made, such as that of a damaged value, does not make us ask more often than this.
const AGAIN: Duration = Duration::from_secs(1);
/// How many such terms are remembered.
const MOST_IN_VAIN: usize = 16;
const DISPUTED: &str = "its keyring has another key than this node's under one term: one of the two was put back, and keys \
    were rotated anew. Put the right one in both places";

/// A store of several nodes, whose records one keyring seals.
pub struct SharedKeys {
    inner: Arc<dyn Backend>,
    vault: Arc<Vault>,
    data_dir: PathBuf,
    known: Mutex<Known>,
    /// One at a time writes the folder's copy.
    copying: Mutex<()>,
    /// The keyring in the database has another key than this node's under one term.
    is_disputed: AtomicBool,
    /// This node's folder is this process's alone.
    _folder: FolderLock,
}

/// The keyring as it was read last.
struct Known {
    text: Bytes,
    /// When that was taken over.
    since: Instant,
    /// Whether it opened. One under another root key is never written over with what we have.
    opens: bool,
    copy: CopyState,
    /// When it was last asked in vain for a term.
    in_vain: HashMap<u32, Instant>,
}

/// What the folder's copy of it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CopyState {
    /// Something older, or what only the last start knows.
    Behind,
    /// The retired terms, too, as something in the spool may need them.
    Whole,
    /// The same.
    Same,
}

/// The change of a keyring that seals under `newest` from now on, at every node.
pub fn published(former: Option<Bytes>, next: Bytes, newest: u32) -> Batch {
    let oldest = Bytes::copy_from_slice(&newest.to_be_bytes());
    Batch {
        expect: vec![(Bytes::from_static(KEYRING), former.map_or(Expect::Absent, Expect::Is))],
        write: vec![(Bytes::from_static(KEYRING), Some(next)), (Bytes::from_static(OLDEST), Some(oldest))],
    }
}

impl SharedKeys {
    /// Over a database, and this node's vault, which was opened with the keyring that lies there.
    pub fn new(
        inner: Arc<dyn Backend>,
        vault: Arc<Vault>,
        text: Bytes,
        data_dir: &Path,
        folder: FolderLock,
    ) -> Self {
        // The copy may have more: retired terms that something in the spool needs.
        let copy = if vault.has_retired() { CopyState::Behind } else { CopyState::Same };
        let known = Known { text, since: Instant::now(), opens: true, copy, in_vain: HashMap::new() };
        Self {
            inner,
            vault,
            data_dir: data_dir.to_owned(),
            known: Mutex::new(known),
            copying: Mutex::default(),
            is_disputed: AtomicBool::new(false),
            _folder: folder,
        }
    }

    /// Takes over what another node has changed, and says whether there was something.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn look(&self) -> Result<bool, StoreError> {
        let mut known = self.known.lock().await;
        self.look_now(&mut known).await
    }

    /// Whether this node can write: not where its keyring is disputed, nor where the database takes new terms only and
    /// this node could not take these over.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn can_write(&self) -> Result<bool, StoreError> {
        if self.is_disputed.load(Ordering::SeqCst) {
            return Ok(false);
        }
        Ok(self.opens().await || self.newest_term().await? == self.vault.active_term())
    }

    /// The newest term that any node seals under, as the database knows it.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn newest_term(&self) -> Result<u32, StoreError> {
        let known = self.inner.get(OLDEST).await?.and_then(|value| number(&value)).unwrap_or(0);
        Ok(known.max(self.vault.active_term()))
    }

    async fn look_now(&self, known: &mut Known) -> Result<bool, StoreError> {
        match self.inner.get(KEYRING).await? {
            Some(text) if text != known.text => {
                if let Some(newer) = self.vault.newer_than(&String::from_utf8_lossy(&text)) {
                    return self.put_back(known, text, newer.into()).await;
                }
                self.adopt(known, text);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The keyring in the database has gone back, with the database or alone. Nobody seals under an older term because of
    /// that: somebody may know it, which is what keys are rotated for. What was sealed under ours has to open elsewhere, too.
    async fn put_back(&self, known: &mut Known, older: Bytes, newer: Bytes) -> Result<bool, StoreError> {
        let batch = published(Some(older), newer.clone(), self.vault.active_term());
        if self.inner.commit(batch).await? == Committed::Conflict {
            return Ok(false);
        }
        tracing::error!("the keyring in the database had gone back: this node has added its newer terms");
        self.adopt(known, newer);
        Ok(true)
    }

    /// The folder's copy follows later: a request may wait for this.
    fn adopt(&self, known: &mut Known, text: Bytes) {
        let adopted = self.vault.adopt(&String::from_utf8_lossy(&text));
        let opens = adopted.is_ok();
        let is_disputed = matches!(adopted, Err(VaultError::Disputed { .. }));
        self.is_disputed.store(is_disputed, Ordering::SeqCst);
        match adopted {
            Ok(()) => {
                let terms: Vec<u32> = self.vault.terms().iter().map(|term| term.term).collect();
                tracing::info!(?terms, "the keyring in the database was taken over");
            }
            Err(error @ VaultError::Disputed { .. }) => {
                tracing::error!(%error, "this node writes nothing, and is not ready, until the keyrings go together");
            }
            Err(error) => tracing::error!(
                %error,
                "the keyring in the database cannot be taken over. Where the root key was changed, start this broker anew \
                 with the new one; until then it writes nothing under a new key term, and reads nothing of it"
            ),
        }
        // One that does not open is no copy to be kept.
        let copy = if opens { CopyState::Behind } else { CopyState::Same };
        *known = Known { text, since: Instant::now(), opens, copy, in_vain: HashMap::new() };
    }

    /// Brings the folder's copy up to date. Retired terms stay in it while an answer in the spool is sealed under them, and
    /// for as long as one that was sealed before the change may take to get there.
    ///
    /// For the worker: a disk that hangs holds up whoever calls this, and nobody else.
    pub async fn keep_copy(&self) {
        let _turn = self.copying.lock().await;
        let (text, copy, is_new) = {
            let known = self.known.lock().await;
            (known.text.clone(), known.copy, known.since.elapsed() < SETTLE)
        };
        if copy == CopyState::Same {
            return;
        }
        let (vault, data_dir, kept_text) = (Arc::clone(&self.vault), self.data_dir.clone(), text.clone());
        let kept = tokio::task::spawn_blocking(move || {
            let is_needed = vault.has_retired() && (is_new || spooled::needs_retired(&vault, &data_dir));
            match (is_needed, copy) {
                (true, CopyState::Whole) => {}
                (true, _) => vault.keep(&vault.keyring_text()?)?,
                (false, _) => vault.keep(&String::from_utf8_lossy(&text))?,
            }
            Ok(if is_needed { CopyState::Whole } else { CopyState::Same })
        });
        match kept.await {
            Ok(Ok(copy)) => {
                let mut known = self.known.lock().await;
                // Else another one was taken over meanwhile, which is still to be kept.
                if known.text == kept_text {
                    known.copy = copy;
                }
            }
            Ok(Err::<_, VaultError>(error)) => {
                tracing::warn!(%error, "this node's copy of the keyring could not be written");
            }
            // The process ends.
            Err(_) => {}
        }
    }

    /// Reads the keyring anew when a value names a term that is not known.
    async fn know(&self, key: &[u8], raw: &[u8]) -> Result<(), StoreError> {
        let Some(term) = named_term(raw).filter(|term| is_record(key) && !self.vault.holds(*term)) else {
            return Ok(());
        };
        let mut known = self.known.lock().await;
        if self.vault.holds(term) || known.in_vain.get(&term).is_some_and(|at| at.elapsed() < AGAIN) {
            return Ok(());
        }
        self.look_now(&mut known).await?;
        if !self.vault.holds(term) {
            if known.in_vain.len() >= MOST_IN_VAIN {
                known.in_vain.clear();
            }
            known.in_vain.insert(term, Instant::now());
        }
        Ok(())
    }

    /// Whether the keyring in the database was taken over, so that this node knows where things stand.
    pub async fn opens(&self) -> bool {
        self.known.lock().await.opens
    }

    /// Adds a term, which seals from now on, at every node.
    ///
    /// # Errors
    /// When a rotation is under way, another node changes the keyring at this moment, or the database cannot be used.
    pub async fn add_term(&self) -> Result<u32, CustodyError> {
        let mut known = self.known.lock().await;
        self.look_now(&mut known).await?;
        if self.vault.terms().len() > 1 {
            return Err(CustodyError::UnderWay);
        }
        let (next, term) = self.vault.text_with_new_term()?;
        self.replace(&mut known, next.into(), term).await?;
        Ok(term)
    }

    /// Retires terms, at every node, as long as `newest` still is the newest.
    ///
    /// # Errors
    /// As for [`SharedKeys::add_term`].
    pub async fn retire_terms(&self, terms: &[u32], newest: u32) -> Result<(), CustodyError> {
        let mut known = self.known.lock().await;
        if self.vault.active_term() != newest {
            return Err(CustodyError::UnderWay);
        }
        let next = self.vault.text_without(terms)?;
        self.replace(&mut known, next.into(), newest).await
    }

    async fn replace(&self, known: &mut Known, next: Bytes, newest: u32) -> Result<(), CustodyError> {
        if !known.opens {
            return Err(CustodyError::OtherRootKey);
        }
        // INVARIANT: the number only grows. A term that is made below it would be one that exists already.
        let oldest = self.inner.get(OLDEST).await?.as_deref().and_then(number);
        if let Some(oldest) = oldest.filter(|oldest| *oldest > self.vault.active_term()) {
            return Err(CustodyError::GoneBack { oldest, newest: self.vault.active_term() });
        }
        let batch = published(Some(known.text.clone()), next.clone(), newest);
        if self.inner.commit(batch).await? == Committed::Conflict {
            self.look_now(known).await?;
            return Err(CustodyError::UnderWay);
        }
        self.adopt(known, next);
        Ok(())
    }

    async fn write(&self, batch: Batch) -> Result<Committed, StoreError> {
        let Some(oldest) = oldest_in(&batch) else { return self.inner.commit(batch).await };
        // What we seal would be named like what the others seal, and open nowhere else.
        if self.is_disputed.load(Ordering::SeqCst) {
            return Err(StoreError::Unreachable { problem: DISPUTED.to_owned() });
        }
        if self.inner.commit(naming(batch.clone(), oldest)).await? == Committed::Done {
            return Ok(Committed::Done);
        }
        let from = self.inner.get(OLDEST).await?.as_deref().and_then(number);
        let Some(from) = from.filter(|from| oldest < *from) else { return Ok(Committed::Conflict) };
        self.look().await?;
        let Batch { expect, write } = batch;
        let anew = |(key, value): (Bytes, Option<Bytes>)| {
            let record = value.as_ref().filter(|_| is_record(&key));
            let sealed = record.and_then(|raw| sealed_anew(self.vault.as_ref(), &key, raw));
            (key, sealed.or(value))
        };
        let batch = Batch { expect, write: write.into_iter().map(anew).collect() };
        match oldest_in(&batch) {
            Some(newer) if newer >= from => self.inner.commit(naming(batch, newer)).await,
            _ => Err(StoreError::Unreachable {
                problem: format!(
                    "it takes nothing under key terms before {from}, which this node does not have: start this \
                     broker anew with the present root key"
                ),
            }),
        }
    }
}

/// The oldest term that a batch's records are sealed under.
fn oldest_in(batch: &Batch) -> Option<u32> {
    let records = batch.write.iter().filter(|(key, _)| is_record(key));
    records.filter_map(|(_, value)| named_term(value.as_ref()?)).min()
}

fn naming(mut batch: Batch, oldest: u32) -> Batch {
    batch.expect.push((Bytes::from_static(OLDEST), Expect::AtMost(oldest)));
    batch
}

impl Backend for SharedKeys {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        async move {
            let raw = self.inner.get(key).await?;
            if let Some(raw) = &raw {
                self.know(key, raw).await?;
            }
            Ok(raw)
        }
        .boxed()
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        async move {
            let page = self.inner.scan(prefix, after, limit).await?;
            for (key, raw) in &page {
                self.know(key, raw).await?;
            }
            Ok(page)
        }
        .boxed()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.write(batch).boxed()
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.sync()
    }

    fn version(&self) -> Option<u64> {
        self.inner.version()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn frozen(&self) -> BoxFuture<'_, Result<Option<Box<dyn Frozen>>, StoreError>> {
        self.inner.frozen()
    }

    fn failed(&self) -> bool {
        self.inner.failed()
    }

    fn failed_signal(&self) -> BoxFuture<'_, ()> {
        self.inner.failed_signal()
    }
}
