//! Rotation of key terms, while everything goes on.
//!
//! A new term is added to the keyring, durably, and seals from then on. A walk over all records seals the rest
//! anew; where it stands is written down, so that it goes on after a kill. When a count over everything finds
//! nothing under older terms, and finds the same again a while later, these are forgotten.
//!
//! Of several nodes on one store one does the work; another goes on with it when its record has not moved for a
//! while. Two at once do no harm, they only do the same.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;

use crate::custody::{Custody, CustodyError, SETTLE, spooled};
use crate::kernel::clock::Timestamp;
use crate::model::event::{EventDraft, EventKind};
use crate::model::rotation::{Left, Rotation};
use crate::model::sealed::Sealer as _;
use crate::model::spool;
use crate::store::{Census, Committed, Stored, Tx};

/// Records in one step: little enough that requests in between do not feel it.
const STEP: usize = 64;
/// Steps after which it is written down how far the walk has come.
const NOTED_EVERY: u32 = 8;

/// How often a node looks what the others have done.
const LOOK: Duration = Duration::from_secs(5);
/// A node that has not moved a rotation for this long is taken to have left it.
const ABANDONED: Duration = Duration::from_secs(30);
/// So a node writes the record at least this often while it counts, or waits for its second count.
const BEAT: Duration = Duration::from_secs(10);

/// Between two counts of what no walk could seal anew; each pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LAST_PAUSE: Duration = Duration::from_secs(3600);

/// A rotation's record as this node saw it last.
pub(super) struct Seen {
    version: String,
    since: Timestamp,
    /// This node wrote it.
    is_ours: bool,
}

/// Who does the work.
enum Standing {
    /// There is none.
    None,
    /// Another node is at it.
    Anothers,
    Ours(Walk),
}

/// A rotation, and its record as it was read; `None` before there is one.
struct Walk {
    rotation: Rotation,
    stored: Option<Stored<Rotation>>,
}

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
    /// When one is under way, or the keyring cannot be written.
    pub async fn rotate(&self, admin: &str) -> Result<u32, CustodyError> {
        let inner = &self.0;
        // Asked first without the turn, too: a walk holds that for as long as a count over everything takes.
        self.refuse_a_second().await?;
        let _turn = inner.turn.lock().await;
        self.refuse_a_second().await?;
        let mut event = EventDraft::new(EventKind::Admin, "vault.rotate");
        event.admin = Some(admin.to_owned());
        inner.audit.record(event).await?;
        // Killed after this, the next start finds two terms and goes on by itself.
        let term = match &inner.keys {
            Some(keys) => keys.add_term().await?,
            None => inner.vault.add_term()?,
        };
        inner.wake.notify_one();
        Ok(term)
    }

    async fn refuse_a_second(&self) -> Result<(), CustodyError> {
        if let Some(keys) = &self.0.keys {
            keys.look().await?;
        }
        if self.0.vault.terms().len() > 1 { Err(CustodyError::UnderWay) } else { Ok(()) }
    }

    /// Does the work of rotations for as long as it lives.
    pub async fn work(&self) {
        loop {
            match self.walk_on().await {
                Ok(Progress::More) => tokio::task::yield_now().await,
                Ok(Progress::Later(wait)) => tokio::time::sleep(wait).await,
                Ok(Progress::Idle) if self.0.keys.is_none() => self.0.wake.notified().await,
                // Another node may begin one, or leave one unfinished.
                Ok(Progress::Idle) => drop(tokio::time::timeout(LOOK, self.0.wake.notified()).await),
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
        let progress = self.step().await;
        if let Some(keys) = &self.0.keys {
            // When nothing is held any more: a disk may hang.
            keys.keep_copy().await;
        }
        progress
    }

    async fn step(&self) -> Result<Progress, CustodyError> {
        let _turn = self.0.turn.lock().await;
        if let Some(keys) = &self.0.keys {
            keys.look().await?;
            // What is left to do, and when it is over, only those know who have the present keyring.
            if !keys.opens().await {
                return Ok(Progress::Idle);
            }
        }
        let mut walk = match self.rotation().await? {
            Standing::None => return Ok(Progress::Idle),
            Standing::Anothers => return Ok(Progress::Later(LOOK)),
            Standing::Ours(walk) => walk,
        };
        if walk.rotation.records == 0 {
            walk.rotation.records = self.count_for(Some(&mut walk)).await?.records.max(1);
            // Written down at once: a process that is killed during its first steps need not count again.
            return self.save(walk, Progress::More).await;
        }
        if walk.rotation.cursor.is_none() && walk.rotation.walked > 0 {
            return self.finish(walk).await;
        }
        self.walk(walk).await
    }

    /// The rotation that is under way; what is needed to begin or end one is made good.
    async fn rotation(&self) -> Result<Standing, CustodyError> {
        let inner = &self.0;
        let stored = inner.store.get::<Rotation>(Rotation::KEY).await?;
        let active = inner.vault.active_term();
        if inner.vault.terms().len() == 1 {
            if let Some(stored) = stored.filter(|stored| stored.to <= active && !self.is_anothers(stored)) {
                self.end(stored).await?;
            }
            return Ok(Standing::None);
        }
        if let Some(stored) = &stored
            && stored.to == active
        {
            if self.is_anothers(stored) {
                return Ok(Standing::Anothers);
            }
            return Ok(Standing::Ours(Walk {
                rotation: stored.record().clone(),
                stored: Some(stored.clone()),
            }));
        }
        // This node's keyring is the older one, until it looks again.
        if inner.keys.is_some() && stored.as_ref().is_some_and(|stored| stored.to > active) {
            return Ok(Standing::Anothers);
        }
        let rotation = Rotation {
            to: active,
            began_at: inner.clock.now(),
            records: 0,
            walked: 0,
            resealed: 0,
            cursor: None,
            counted_zero_at: None,
            left: None,
        };
        // The others leave it to the one whose record lies there, from its first count on.
        let mut walk = Walk { rotation, stored };
        Ok(match self.saved(&mut walk).await? {
            Committed::Done => Standing::Ours(walk),
            Committed::Conflict => Standing::Anothers,
        })
    }

    /// The old terms are forgotten: says so, and ends the rotation's record. Killed before this, the next start does it.
    async fn end(&self, stored: Stored<Rotation>) -> Result<(), CustodyError> {
        let inner = &self.0;
        let mut event = EventDraft::new(EventKind::Service, "vault.terms_retired");
        event.reasons = vec![format!(
            "term {} seals everything; {} values were sealed anew, 0 are left under older ones",
            stored.to, stored.resealed
        )];
        inner.audit.record(event).await?;
        let mut tx = Tx::new();
        tx.delete(&stored);
        let _ = inner.store.commit(tx).await?;
        Ok(())
    }

    /// Whether another node has written this record, and may still be at it.
    fn is_anothers(&self, stored: &Stored<Rotation>) -> bool {
        let inner = &self.0;
        if inner.keys.is_none() {
            return false;
        }
        let (version, now) = (stored.version(), inner.clock.now());
        let mut seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.as_ref() {
            Some(seen) if seen.version == version => !seen.is_ours && now.since(seen.since) < ABANDONED,
            _ => {
                *seen = Some(Seen { version, since: now, is_ours: false });
                true
            }
        }
    }

    async fn walk(&self, mut walk: Walk) -> Result<Progress, CustodyError> {
        let store = &self.0.store;
        let rotation = &mut walk.rotation;
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
        self.save(walk, Progress::More).await
    }

    /// The walk has come to its end: counts what is left.
    async fn finish(&self, mut walk: Walk) -> Result<Progress, CustodyError> {
        let inner = &self.0;
        let now = inner.clock.now();
        if walk.rotation.counted_zero_at.is_some_and(|since| now.since(since) < SETTLE) {
            self.beat(&mut walk).await?;
            return Ok(Progress::Later(Duration::from_secs(1)));
        }
        if let Some(pause) = walk.rotation.left.as_ref().and_then(|left| self.pause(left)) {
            return Ok(Progress::Later(pause.min(LOOK)));
        }
        // Others leave the count to this node. And a commit of before may still wait for a database's standby, where no
        // count sees it: none waits any more when a later one is through.
        if self.saved(&mut walk).await? == Committed::Conflict {
            return Ok(Progress::Later(LOOK));
        }
        let census = self.count_for(Some(&mut walk)).await?;
        if census.remaining() > 0 {
            return self.leave(walk, &census).await;
        }
        let rotation = &mut walk.rotation;
        rotation.left = None;
        if rotation.counted_zero_at.is_none() {
            rotation.counted_zero_at = Some(now);
            return self.save(walk, Progress::Later(Duration::from_secs(1))).await;
        }
        self.retire(&walk.rotation).await
    }

    /// How much longer to wait before what is left is counted again; `None` when it is to be counted now.
    fn pause(&self, left: &Left) -> Option<Duration> {
        let inner = &self.0;
        let is_emptied = || spooled::under_older_terms(&inner.vault, &inner.data_dir) == 0;
        if left.spooled > 0 && is_emptied() {
            return None;
        }
        let waited = inner.clock.now().since(left.counted_at);
        Duration::from_secs(left.pause).checked_sub(waited).filter(|pause| !pause.is_zero())
    }

    /// A count has found something. A walk seals it anew if it can; what it cannot, such as a damaged record, is only
    /// counted from then on, until the count is another one.
    async fn leave(&self, mut walk: Walk, census: &Census) -> Result<Progress, CustodyError> {
        let rotation = &mut walk.rotation;
        let spooled = census.left.get(spool::FOLDER).copied().unwrap_or_default();
        let values = census.remaining().saturating_sub(spooled);
        let former = rotation.left.take();
        let is_walked_again = values > 0 && former.as_ref().is_none_or(|former| former.values != values);
        let pause = match former {
            Some(former) if !is_walked_again => former.pause.saturating_mul(2).min(LAST_PAUSE.as_secs()),
            _ => FIRST_PAUSE.as_secs(),
        };
        tracing::warn!(
            left = ?census.left, unreadable = census.unreadable, is_walked_again, pause_s = pause,
            "values are left under older key terms: the older terms stay until a count finds none"
        );
        if is_walked_again {
            rotation.walked = 0;
        }
        rotation.counted_zero_at = None;
        rotation.left = Some(Left { values, spooled, counted_at: self.0.clock.now(), pause });
        self.save(walk, Progress::Later(LOOK)).await
    }

    async fn retire(&self, rotation: &Rotation) -> Result<Progress, CustodyError> {
        let inner = &self.0;
        // INVARIANT: only what was counted is retired. Another rotation may have begun since, under whose older term
        // there are values still.
        let terms = inner.vault.terms().into_iter().map(|term| term.term);
        let old: Vec<u32> = terms.filter(|term| *term < rotation.to).collect();
        match &inner.keys {
            Some(keys) => keys.retire_terms(&old, rotation.to).await?,
            None => inner.vault.retire_terms(&old)?,
        }
        // Says so, and ends the rotation's record.
        self.rotation().await?;
        Ok(Progress::Idle)
    }

    /// Counts everything, and keeps the result for who asks where things stand.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count(&self) -> Result<Census, CustodyError> {
        self.count_for(None).await
    }

    async fn count_for(&self, mut walk: Option<&mut Walk>) -> Result<Census, CustodyError> {
        let inner = &self.0;
        let (mut census, mut after) = (Census::default(), None);
        loop {
            after = inner.store.count(after.as_deref(), STEP, &mut census).await?;
            if after.is_none() {
                break;
            }
            if let Some(walk) = walk.as_deref_mut() {
                self.beat(walk).await?;
            }
            tokio::task::yield_now().await;
        }
        let spooled = spooled::under_older_terms(&inner.vault, &inner.data_dir);
        if spooled > 0 {
            census.left.insert(spool::FOLDER.to_owned(), spooled);
        }
        let counted = Some((census.clone(), inner.clock.now()));
        *inner.counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = counted;
        Ok(census)
    }

    /// Notes how far it has come; where another node was quicker, leaves the work to it for now.
    async fn save(&self, mut walk: Walk, then: Progress) -> Result<Progress, CustodyError> {
        Ok(match self.saved(&mut walk).await? {
            Committed::Done => then,
            Committed::Conflict => Progress::Later(LOOK),
        })
    }

    /// Writes the record again, unchanged, before another node takes this one for gone. Where one has done so, the
    /// next save finds it.
    async fn beat(&self, walk: &mut Walk) -> Result<(), CustodyError> {
        let (inner, now) = (&self.0, self.0.clock.now());
        let is_due = {
            let seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.as_ref().is_none_or(|seen| now.since(seen.since) >= BEAT)
        };
        if inner.keys.is_some() && is_due {
            let _ = self.saved(walk).await?;
        }
        Ok(())
    }

    async fn saved(&self, walk: &mut Walk) -> Result<Committed, CustodyError> {
        let inner = &self.0;
        let mut tx = Tx::new();
        match &walk.stored {
            Some(stored) => tx.update(stored, &walk.rotation),
            None => tx.insert(&walk.rotation),
        };
        let committed = inner.store.commit(tx).await?;
        if committed == Committed::Done
            && let Some(stored) = inner.store.get::<Rotation>(Rotation::KEY).await?
        {
            let seen = Seen { version: stored.version(), since: inner.clock.now(), is_ours: true };
            *inner.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
            walk.stored = Some(stored);
        }
        Ok(committed)
    }
}
