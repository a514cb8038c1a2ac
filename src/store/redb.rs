//! The other engine: redb, a copy-on-write tree in one file.
//!
//! Commits are in two phases: the one-phase commit takes one sync less, but after a crash cannot tell a
//! commit that never ended from a damaged one, and would go back to the one before.

mod file;

use std::fs::{File, OpenOptions};
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use redb::{Database, ReadOnlyTable, ReadableDatabase as _, TableDefinition};

use crate::store::disk::Disk;
use crate::store::embedded::{Change, Embedded, Engine, EngineError};
use crate::store::redb::file::CheckedFile;

const CACHE_BYTES: usize = 64 << 20;
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");

/// A store on disk, in redb.
pub type RedbBackend = Embedded<RedbEngine>;

type Entries = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// redb, and what readers see: the table as the last commit left it.
pub struct RedbEngine {
    /// Before the database, so that it is dropped first.
    present: RwLock<Arc<Entries>>,
    db: Database,
}

impl Engine for RedbEngine {
    const NAME: &'static str = "redb";
    const FILE: &'static str = "data.redb";

    fn open(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, EngineError> {
        let path = folder.join(Self::FILE);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let is_new = file.metadata()?.len() == 0;
        let db = Database::builder()
            .set_cache_size(CACHE_BYTES)
            // Every page's checksum, at each start; later reads are compared with what was read now.
            .set_check_integrity_on_open(!is_new)
            .create_with_backend(CheckedFile::new(file, disk))
            .map_err(redb::Error::from)?;
        if is_new {
            write(&db, &[])?;
            File::open(folder)?.sync_all()?;
        }
        let present = RwLock::new(Arc::new(entries(&db)?));
        Ok(Self { present, db })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let found = self.present().get(key).map_err(redb::Error::from)?;
        Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn range(
        &self,
        from: Bound<&[u8]>,
        take: &mut dyn FnMut(Bytes, Bytes) -> bool,
    ) -> Result<(), EngineError> {
        let present = self.present();
        let range = present.range::<&[u8]>((from, Bound::Unbounded)).map_err(redb::Error::from)?;
        for entry in range {
            let (key, value) = entry.map_err(redb::Error::from)?;
            if !take(Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value())) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, changes: &[Change]) -> Result<(), EngineError> {
        // Every commit was durable: there is nothing left to sync.
        if changes.is_empty() {
            return Ok(());
        }
        write(&self.db, changes)?;
        let next = Arc::new(entries(&self.db)?);
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

impl RedbEngine {
    fn present(&self) -> Arc<Entries> {
        Arc::clone(&self.present.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn entries(db: &Database) -> Result<Entries, redb::Error> {
    Ok(db.begin_read()?.open_table(TABLE)?)
}

fn write(db: &Database, changes: &[Change]) -> Result<(), redb::Error> {
    let mut transaction = db.begin_write()?;
    transaction.set_two_phase_commit(true);
    {
        let mut table = transaction.open_table(TABLE)?;
        for (key, value) in changes {
            match value {
                Some(value) => table.insert(key.as_ref(), value.as_ref())?,
                None => table.remove(key.as_ref())?,
            };
        }
    }
    Ok(transaction.commit()?)
}

impl From<redb::Error> for EngineError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::Io(error),
            other => Self::Damaged(other.to_string()),
        }
    }
}
