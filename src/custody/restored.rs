//! What holds in a store that has gone back in time: a mark, which keeps refresh tokens from being spent, and a
//! stop of everything, because what was revoked, suspended or stopped since is not in it any more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use crate::custody::{Custody, CustodyError};
use crate::kernel::clock::Timestamp;
use crate::kernel::entropy::Entropy;
use crate::kernel::ids::StopId;
use crate::model::audit_head::AuditHead;
use crate::model::event::{EventDraft, EventKind};
use crate::model::restored::Restored;
use crate::model::stop::{Stop, StopTarget, Stops};
use crate::store::{Committed, Store, StoreError, Stored, Tx};

/// Names how far the shared store has seen this node's log.
const PUBLISHED: &str = "published";

impl Custody {
    /// Takes an admin's word that the deployment from which this store's backup came runs no more: from now on
    /// tokens are refreshed as ever. The stop is lifted by itself, with `valetkey resume`.
    ///
    /// # Errors
    /// When the store was not restored, or it cannot be written.
    pub async fn confirm_restored(&self, admin: &str) -> Result<Restored, CustodyError> {
        let inner = &self.0;
        let Some(stored) = inner.store.get::<Restored>(Restored::KEY).await? else {
            return Err(CustodyError::NotRestored);
        };
        let mut event = EventDraft::new(EventKind::Admin, "vault.restored_confirmed");
        event.admin = Some(admin.to_owned());
        inner.audit.record(event).await?;
        let mut tx = Tx::new();
        tx.delete(&stored);
        match inner.store.commit(tx).await? {
            Committed::Done => Ok(stored.record().clone()),
            // Somebody else has confirmed it at the same moment.
            Committed::Conflict => Err(CustodyError::NotRestored),
        }
    }

    /// Compares a store that other processes share with what this node has last put into it: where the store knows
    /// less, it was put in place of a newer one, and is marked. Returns whether it was marked now.
    ///
    /// # Errors
    /// When what was noted cannot be read, or the mark cannot be written.
    pub async fn compare_published(&self, shared: Option<&AuditHead>) -> Result<bool, CustodyError> {
        let published = self.published()?;
        let size = shared.map_or(0, |head| head.size);
        if size >= published {
            return Ok(false);
        }
        tracing::error!(
            published,
            size,
            "the database is older than what this node has last put into it: it was restored, or is a copy. \
             Everything is stopped, and no refresh token is spent, until an administrator has looked"
        );
        let as_of = shared.map_or_else(|| self.0.clock.now(), |head| head.at);
        self.mark_restored("valetkey", as_of).await
    }

    /// Notes, durably and in this node's own folder, how many entries the newest head covers that the shared store
    /// has of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_published(&self, size: u64) -> Result<(), CustodyError> {
        let dir = &self.0.data_dir;
        if self.published()? >= size {
            return Ok(());
        }
        let (path, partial) = (dir.join(PUBLISHED), dir.join(format!(".{PUBLISHED}.new")));
        let written = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
            file.write_all(format!("{size}\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(&partial, &path)?;
            File::open(dir)?.sync_all()
        };
        written().map_err(|source| CustodyError::Published { path: path.clone(), source })
    }

    fn published(&self) -> Result<u64, CustodyError> {
        let path = self.0.data_dir.join(PUBLISHED);
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| CustodyError::Published {
                path,
                source: io::Error::new(io::ErrorKind::InvalidData, "it should hold one number"),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(source) => Err(CustodyError::Published { path, source }),
        }
    }

    /// Says that this store is as it was at that time, and stops everything: for a database that was restored by
    /// its own means. `false` when it says so already.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn mark_restored(&self, by: &str, taken_at: Timestamp) -> Result<bool, CustodyError> {
        let inner = &self.0;
        let mark = Restored { taken_at, restored_at: inner.clock.now() };
        // It comes first: it must not wait for a log whose disk is full.
        let stop = loop {
            if inner.store.get::<Restored>(Restored::KEY).await?.is_some() {
                return Ok(false);
            }
            if let Some(stop) = attempt(&inner.store, None, &mark, inner.entropy.as_ref()).await? {
                break stop;
            }
        };
        let mut event = EventDraft::new(EventKind::Admin, "vault.restored_marked");
        event.admin = Some(by.to_owned());
        event.stop = Some(stop);
        event.reasons.push(format!("as it was at {}", taken_at.rfc3339()));
        inner.audit.record(event).await?;
        Ok(true)
    }
}

/// Marks a store and stops everything in it, in one commit; an older mark is replaced.
pub(super) async fn mark_store(
    store: &Store,
    mark: &Restored,
    entropy: &dyn Entropy,
) -> Result<StopId, StoreError> {
    loop {
        let former = store.get::<Restored>(Restored::KEY).await?;
        if let Some(stop) = attempt(store, former.as_ref(), mark, entropy).await? {
            return Ok(stop);
        }
    }
}

/// `None` when somebody else has written meanwhile.
async fn attempt(
    store: &Store,
    former: Option<&Stored<Restored>>,
    mark: &Restored,
    entropy: &dyn Entropy,
) -> Result<Option<StopId>, StoreError> {
    let id = StopId::generate(entropy);
    let stop = Stop {
        id: id.clone(),
        target: StopTarget::All,
        reason: format!(
            "restored to what was at {}: revocations, suspensions and stops since then are undone; make them again, \
             then lift this",
            mark.taken_at.rfc3339()
        ),
        at: mark.restored_at,
    };
    let stored = store.get::<Stops>(Stops::KEY).await?;
    let mut stops = stored.as_ref().map(|stored| stored.record().clone()).unwrap_or_default();
    stops.active.push(stop);
    let mut tx = Tx::new();
    match former {
        Some(former) => tx.update(former, mark),
        None => tx.insert(mark),
    };
    match &stored {
        Some(stored) => tx.update(stored, &stops),
        None => tx.insert(&stops),
    };
    Ok((store.commit(tx).await? == Committed::Done).then_some(id))
}
