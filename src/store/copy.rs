//! Everything that a store holds, read at one version and written into another store.
//!
//! A snapshot is taken while others write: everything is read in key order, and the keys of what is written
//! meanwhile are noted. These are read again until few are left; then writers wait for the few milliseconds that
//! the last ones take. So what comes out is the state of that last moment, whatever engine is below. Where other
//! processes write, too, the database keeps one moment for us, and everything is read as it was then.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use bytes::Bytes;

use crate::store::backend::{Backend, Batch, Committed, Frozen};
use crate::store::embedded::tally::{self, Tally};
use crate::store::{Store, StoreError};

/// What an engine keeps for itself: never copied.
const OWN: &[u8] = b"m/";
const PAGE: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// So many may be read while writers wait.
const FEW: usize = 64;
/// Rounds after which writers wait for however many are left: they are faster than we are.
const ROUNDS: usize = 16;

/// What a store holds, to compare stores by: how many entries, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    tally: Tally,
}

impl Content {
    /// How many entries.
    pub fn entries(&self) -> u64 {
        self.tally.entries
    }

    /// As text, to be kept in a backup.
    pub fn text(&self) -> String {
        crate::kernel::encode::hex(&self.tally.encode())
    }

    fn count(&mut self, key: &[u8], value: &[u8]) {
        self.tally.replace(key, None, Some(value));
    }
}

/// Takes what a snapshot reads, in order; a later value of a key takes the place of an earlier one, and `None`
/// says that there is nothing under it any more.
pub trait TakeEntries: Send {
    /// What can go wrong.
    type Error: From<StoreError>;

    /// Told at the moment whose state is read, where that is a single one that comes first: no write of this process is
    /// under way, and all of them wait until this returns.
    fn at_the_moment(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Takes some entries.
    fn take(
        &mut self,
        entries: Vec<(Bytes, Option<Bytes>)>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl Store {
    /// Hands over everything that the store holds at one moment. Where the engine cannot show one moment for long, entries
    /// that are written meanwhile are handed over again: the last word counts. What it is altogether is returned where the
    /// engine knows it, or it was counted.
    ///
    /// # Errors
    /// When the backend fails, the taker does, or another snapshot is being taken.
    pub async fn snapshot<T: TakeEntries>(&self, to: &mut T) -> Result<Option<Content>, T::Error> {
        if let Some(mut frozen) = self.backend().frozen().await? {
            let closed = self.settled().await?;
            frozen.freeze().await?;
            to.at_the_moment()?;
            drop(closed);
            return hand_over(frozen.as_mut(), to).await.map(Some);
        }
        let noting = Noting::begin(self)?;
        // Writes that began before this are not noted: they are there before anything is read.
        drop(self.settled().await?);
        let mut after: Option<Bytes> = None;
        loop {
            let page = self.backend().scan(b"", after.as_deref(), PAGE).await?;
            after = (page.len() == PAGE).then(|| page.last().map(|(key, _)| key.clone())).flatten();
            let entries = page.into_iter().filter(|(key, _)| !key.starts_with(OWN));
            to.take(entries.map(|(key, value)| (key, Some(value))).collect()).await?;
            if after.is_none() {
                break;
            }
        }
        for _ in 0..ROUNDS {
            if noting.how_many() <= FEW {
                break;
            }
            // INVARIANT: a key is noted before it is written, so it may be forgotten only when that write is there.
            let closed = self.settled().await?;
            let keys = noting.taken();
            drop(closed);
            to.take(self.read_again(keys).await?).await?;
        }
        let closed = self.settled().await?;
        let last = self.read_again(noting.taken()).await?;
        let tally = self.backend().get(&tally::KEY).await?;
        // Writers wait for what is read, never for whoever takes it.
        drop(closed);
        to.take(last).await?;
        let content = tally.and_then(|stored| Tally::decode(&stored));
        Ok(content.map(|tally| Content { tally: tally.without_own() }))
    }

    /// Waits until no write is under way; none begins while the guard is held.
    async fn settled(&self) -> Result<tokio::sync::RwLockWriteGuard<'_, ()>, StoreError> {
        let closed = self.close_gate().await;
        // A writer may have gone away while its write still waits in the engine's queue.
        self.backend().sync().await?;
        Ok(closed)
    }

    async fn read_again(&self, keys: BTreeSet<Bytes>) -> Result<Vec<(Bytes, Option<Bytes>)>, StoreError> {
        let mut entries = Vec::with_capacity(keys.len());
        for key in keys {
            let value = self.backend().get(&key).await?;
            entries.push((key, value));
        }
        Ok(entries)
    }
}

/// Hands over all that there was at one moment, and counts it.
async fn hand_over<T: TakeEntries>(frozen: &mut dyn Frozen, to: &mut T) -> Result<Content, T::Error> {
    let mut content = Content::default();
    let mut after: Option<Bytes> = None;
    loop {
        let page = frozen.page(after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|(key, _)| key.clone());
        let entries: Vec<_> = page.into_iter().filter(|(key, _)| !key.starts_with(OWN)).collect();
        for (key, value) in &entries {
            content.count(key, value);
        }
        to.take(entries.into_iter().map(|(key, value)| (key, Some(value))).collect()).await?;
        if is_last {
            return Ok(content);
        }
    }
}

/// Keys that are being written are noted for as long as this lives.
struct Noting<'a>(&'a Store);

impl<'a> Noting<'a> {
    fn begin(store: &'a Store) -> Result<Self, StoreError> {
        let mut noted = store.noted().lock().unwrap_or_else(PoisonError::into_inner);
        if noted.is_some() {
            return Err(StoreError::Busy);
        }
        *noted = Some(BTreeSet::new());
        Ok(Self(store))
    }

    fn how_many(&self) -> usize {
        let noted = self.0.noted().lock().unwrap_or_else(PoisonError::into_inner);
        noted.as_ref().map_or(0, BTreeSet::len)
    }

    fn taken(&self) -> BTreeSet<Bytes> {
        let mut noted = self.0.noted().lock().unwrap_or_else(PoisonError::into_inner);
        noted.replace(BTreeSet::new()).unwrap_or_default()
    }
}

impl Drop for Noting<'_> {
    fn drop(&mut self) {
        *self.0.noted().lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Writes entries into a store that nobody else uses.
pub struct Importer<'a> {
    backend: &'a dyn Backend,
    batch: Batch,
    bytes: usize,
}

impl<'a> Importer<'a> {
    /// Into an empty store.
    ///
    /// # Errors
    /// When it fails, or holds something: then [`StoreError::NotEmpty`].
    pub async fn into_empty(backend: &'a dyn Backend) -> Result<Self, StoreError> {
        let first = backend.scan(b"", None, PAGE).await?;
        if first.iter().any(|(key, _)| !key.starts_with(OWN)) {
            return Err(StoreError::NotEmpty);
        }
        Ok(Self { backend, batch: Batch::default(), bytes: 0 })
    }

    /// Writes one entry, or removes it; durable after [`Importer::finish`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put(&mut self, key: Bytes, value: Option<Bytes>) -> Result<(), StoreError> {
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        self.batch.write.push((key, value));
        if self.batch.write.len() >= PAGE || self.bytes >= BATCH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        match self.backend.commit(std::mem::take(&mut self.batch)).await? {
            Committed::Done => Ok(()),
            // Nothing is expected, so nothing can differ.
            Committed::Conflict => Err(StoreError::Failed),
        }
    }

    /// Writes what is left, and reads everything back.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn finish(mut self) -> Result<Content, StoreError> {
        self.flush().await?;
        self.backend.sync().await?;
        content(self.backend).await
    }
}

/// What a store holds, read from its beginning to its end.
///
/// # Errors
/// When it fails.
pub async fn content(backend: &dyn Backend) -> Result<Content, StoreError> {
    let mut content = Content::default();
    let mut after: Option<Bytes> = None;
    loop {
        let page = backend.scan(b"", after.as_deref(), PAGE).await?;
        for (key, value) in page.iter().filter(|(key, _)| !key.starts_with(OWN)) {
            content.count(key, value);
        }
        if page.len() < PAGE {
            return Ok(content);
        }
        after = page.into_iter().next_back().map(|(key, _)| key);
    }
}

/// Removes everything that is not the engine's own: what a copy that broke off has left.
///
/// # Errors
/// When the store fails.
pub async fn clear(backend: &dyn Backend) -> Result<(), StoreError> {
    let mut after: Option<Bytes> = None;
    loop {
        let page = backend.scan(b"", after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|(key, _)| key.clone());
        let write = page.into_iter().map(|(key, _)| (key, None)).filter(|(key, _)| !key.starts_with(OWN));
        let batch = Batch { expect: Vec::new(), write: write.collect() };
        if !batch.write.is_empty() {
            let _ = backend.commit(batch).await?;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Copies everything from a store that nobody writes into an empty one, and then holds the two against each other,
/// entry by entry. `done` is told how many entries were copied or compared: twice as many as there are.
///
/// # Errors
/// When either fails, or they differ in the end.
pub async fn copy(
    from: &dyn Backend,
    to: &dyn Backend,
    mut done: impl FnMut(u64),
) -> Result<Content, StoreError> {
    let mut importer = Importer::into_empty(to).await?;
    let mut entries = Entries::of(from);
    let mut copied = 0u64;
    while let Some((key, value)) = entries.next().await? {
        importer.put(key, Some(value)).await?;
        copied += 1;
        if copied.is_multiple_of(PAGE as u64) {
            done(copied);
        }
    }
    importer.flush().await?;
    to.sync().await?;
    compare(from, to, |compared| done(copied + compared)).await
}

/// Holds two stores against each other, entry by entry, and says what both hold.
///
/// # Errors
/// When either fails; when they differ, then [`StoreError::Differs`] with the first key.
pub async fn compare(
    one: &dyn Backend,
    other: &dyn Backend,
    mut done: impl FnMut(u64),
) -> Result<Content, StoreError> {
    let (mut these, mut those) = (Entries::of(one), Entries::of(other));
    let mut content = Content::default();
    loop {
        match (these.next().await?, those.next().await?) {
            (None, None) => {
                done(content.entries());
                return Ok(content);
            }
            (Some((key, value)), Some(other)) if (&key, &value) == (&other.0, &other.1) => {
                content.count(&key, &value);
            }
            (this, that) => {
                let first = [this, that].into_iter().flatten().map(|(key, _)| key).min().unwrap_or_default();
                return Err(StoreError::Differs { key: String::from_utf8_lossy(&first).into_owned() });
            }
        }
        if content.entries().is_multiple_of(PAGE as u64) {
            done(content.entries());
        }
    }
}

/// All entries of a store but the engine's own, in key order.
struct Entries<'a> {
    of: &'a dyn Backend,
    page: std::vec::IntoIter<(Bytes, Bytes)>,
    after: Option<Bytes>,
    is_last: bool,
}

impl<'a> Entries<'a> {
    fn of(of: &'a dyn Backend) -> Self {
        Self { of, page: Vec::new().into_iter(), after: None, is_last: false }
    }

    async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        loop {
            if let Some((key, value)) = self.page.by_ref().find(|(key, _)| !key.starts_with(OWN)) {
                return Ok(Some((key, value)));
            }
            if self.is_last {
                return Ok(None);
            }
            let page = self.of.scan(b"", self.after.as_deref(), PAGE).await?;
            self.is_last = page.len() < PAGE;
            self.after = page.last().map(|(key, _)| key.clone());
            self.page = page.into_iter();
        }
    }
}
