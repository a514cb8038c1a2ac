//! Rotation of key terms, while everything goes on.
//!
//! A new term is added to the keyring, durably, and seals from then on. A walk over all records seals the rest
//! anew; where it stands is written down, so that it goes on after a kill. When a count over everything finds
//! nothing under older terms, and finds the same again a while later, these are forgotten.

use std::time::Duration;

use bytes::Bytes;

use crate::custody::{Custody, CustodyError, SETTLE};
use crate::model::event::{EventDraft, EventKind};
use crate::model::rotation::Rotation;
use crate::model::sealed::Sealer as _;
use crate::store::{Census, Tx};

/// Records in one step: little enough that requests in between do not feel it.
const STEP: usize = 64;
/// Steps after which it is written down how far the walk has come.
const NOTED_EVERY: u32 = 8;

/// The spool's folder, and what stands before the sealed answer in each of its files.
const SPOOL: &str = "spool";
const SPOOL_HEADER: usize = 12;

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing to do.
    Idle,
    /// There is more to do at once.
    More,
    /// There is more to do, but not yet.
    Later(Duration),
}

impl Custody {
    /// Begins a rotation: a new term seals from now on. The rest is done in the background.
    ///
    /// # Errors
    /// When one is under way, other processes use the store and `alone` does not say otherwise, or the keyring
    /// cannot be written.
    pub async fn rotate(&self, admin: &str, alone: bool) -> Result<u32, CustodyError> {
        let inner = &self.0;
        let _turn = inner.turn.lock().await;
        if inner.vault.terms().len() > 1 {
            return Err(CustodyError::UnderWay);
        }
        if !alone && inner.store.is_shared() {
            return Err(CustodyError::NotAlone);
        }
        let mut event = EventDraft::new(EventKind::Admin, "vault.rotate");
        event.admin = Some(admin.to_owned());
        inner.audit.record(event).await?;
        // Killed after this, the next start finds two terms and goes on by itself.
        let term = inner.vault.add_term()?;
        inner.wake.notify_one();
        Ok(term)
    }

    /// Does the work of rotations for as long as it lives.
    pub async fn work(&self) {
        loop {
            match self.walk_on().await {
                Ok(Progress::More) => tokio::task::yield_now().await,
                Ok(Progress::Later(wait)) => tokio::time::sleep(wait).await,
                Ok(Progress::Idle) => self.0.wake.notified().await,
                Err(error) => {
                    tracing::warn!(%error, "rotating keys failed; it is tried again");
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
            }
        }
    }

    /// A part of a rotation: up to a few hundred records, or the count at its end.
    ///
    /// # Errors
    /// When the store, the log or the keyring fails. The same part is done again next time.
    pub async fn walk_on(&self) -> Result<Progress, CustodyError> {
        let _turn = self.0.turn.lock().await;
        let Some(rotation) = self.rotation().await? else { return Ok(Progress::Idle) };
        if rotation.cursor.is_none() && rotation.walked > 0 {
            return self.finish(rotation).await;
        }
        self.walk(rotation).await
    }

    /// The rotation that is under way; what is needed to begin or end one is made good.
    async fn rotation(&self) -> Result<Option<Rotation>, CustodyError> {
        let inner = &self.0;
        let stored = inner.store.get::<Rotation>(Rotation::KEY).await?;
        let active = inner.vault.active_term();
        if inner.vault.terms().len() == 1 {
            // Killed between forgetting the old terms and this.
            if let Some(stored) = stored {
                let mut tx = Tx::new();
                tx.delete(&stored);
                let _ = inner.store.commit(tx).await?;
            }
            return Ok(None);
        }
        if let Some(stored) = stored.filter(|stored| stored.to == active) {
            return Ok(Some(stored.record().clone()));
        }
        let census = self.count().await?;
        Ok(Some(Rotation {
            to: active,
            began_at: inner.clock.now(),
            records: census.records,
            walked: 0,
            resealed: 0,
            cursor: None,
            counted_zero_at: None,
        }))
    }

    async fn walk(&self, mut rotation: Rotation) -> Result<Progress, CustodyError> {
        let store = &self.0.store;
        let mut after: Option<Bytes> = rotation.cursor.take().map(Bytes::from);
        for _ in 0..NOTED_EVERY {
            let step = store.reseal(after.as_deref(), STEP).await?;
            rotation.walked += step.seen.max(1);
            rotation.resealed += step.resealed;
            after = step.next;
            if after.is_none() {
                break;
            }
            tokio::task::yield_now().await;
        }
        // Keys of records are made of text.
        rotation.cursor = after.map(|key| String::from_utf8_lossy(&key).into_owned());
        self.save(&rotation).await?;
        Ok(Progress::More)
    }

    /// The walk has come to its end: counts what is left.
    async fn finish(&self, mut rotation: Rotation) -> Result<Progress, CustodyError> {
        let inner = &self.0;
        let now = inner.clock.now();
        if let Some(since) = rotation.counted_zero_at
            && now.since(since) < SETTLE
        {
            return Ok(Progress::Later(Duration::from_secs(1)));
        }
        let census = self.count().await?;
        if census.remaining() > 0 {
            tracing::warn!(
                left = ?census.left, unreadable = census.unreadable,
                "values are left under older key terms; everything is walked once more"
            );
            (rotation.walked, rotation.counted_zero_at) = (0, None);
            self.save(&rotation).await?;
            return Ok(Progress::Later(Duration::from_secs(10)));
        }
        if rotation.counted_zero_at.is_none() {
            rotation.counted_zero_at = Some(now);
            self.save(&rotation).await?;
            return Ok(Progress::Later(Duration::from_secs(1)));
        }
        self.retire(&rotation).await
    }

    async fn retire(&self, rotation: &Rotation) -> Result<Progress, CustodyError> {
        let inner = &self.0;
        let old: Vec<u32> =
            inner.vault.terms().into_iter().filter(|term| !term.is_active).map(|term| term.term).collect();
        let mut event = EventDraft::new(EventKind::Service, "vault.terms_retired");
        event.reasons = vec![format!(
            "term {} seals everything; {} values were sealed anew, 0 are left under {} older ones",
            rotation.to,
            rotation.resealed,
            old.len()
        )];
        inner.audit.record(event).await?;
        inner.vault.retire_terms(&old)?;
        // Ends the rotation's record.
        self.rotation().await?;
        Ok(Progress::Idle)
    }

    /// Counts everything, and keeps the result for who asks where things stand.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count(&self) -> Result<Census, CustodyError> {
        let inner = &self.0;
        let (mut census, mut after) = (Census::default(), None);
        loop {
            after = inner.store.count(after.as_deref(), STEP, &mut census).await?;
            if after.is_none() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let spooled = self.spooled_under_older_terms();
        if spooled > 0 {
            census.left.insert("spool".to_owned(), spooled);
        }
        let counted = Some((census.clone(), inner.clock.now()));
        *inner.counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = counted;
        Ok(census)
    }

    /// Answers in the spool are sealed as they come, and gone when their tokens are in the store; until then they
    /// keep their term.
    fn spooled_under_older_terms(&self) -> u64 {
        let inner = &self.0;
        let Ok(files) = std::fs::read_dir(inner.data_dir.join(SPOOL)) else { return 0 };
        let is_older = |file: std::io::Result<std::fs::DirEntry>| {
            let bytes = std::fs::read(file.ok()?.path()).ok()?;
            let term = inner.vault.term_of(bytes.get(SPOOL_HEADER..)?)?;
            Some(term != inner.vault.active_term())
        };
        files.filter_map(is_older).filter(|is_older| *is_older).count() as u64
    }

    async fn save(&self, rotation: &Rotation) -> Result<(), CustodyError> {
        let mut tx = Tx::new();
        tx.put(rotation);
        // Unconditional: this task alone writes it.
        let _ = self.0.store.commit(tx).await?;
        Ok(())
    }
}
