//! The default engine: sled, made durable.
//!
//! sled's own `flush()` does not reach the drive, so every batch is followed by `fdatasync` on a
//! descriptor of our own.

use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use crate::store::disk::Disk;
use crate::store::embedded::{Change, Embedded, Engine, EngineError};

const CACHE_BYTES: u64 = 64 << 20;
/// How often somebody looks whether sled has failed without telling.
const LOOK: Duration = Duration::from_millis(200);

/// A store on disk, in sled.
pub type SledBackend = Embedded<SledEngine>;

/// sled, and the means to sync it.
pub struct SledEngine {
    db: sled::Db,
    file: File,
    disk: Arc<dyn Disk>,
    _lookout: Lookout,
}

impl Engine for SledEngine {
    const NAME: &'static str = "sled";
    const FILE: &'static str = "db";

    fn open(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, EngineError> {
        forget_unfinished_snapshots(folder)?;
        let (config, db) = open_patiently(folder)?;
        let lookout = Lookout::over(config, db.clone())?;
        let file = File::open(folder.join(Self::FILE))?;
        // What was just made is there after a power cut, too.
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
        Ok(Self { db, file, disk, _lookout: lookout })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.db.get(key)?.map(shared))
    }

    fn range(
        &self,
        from: Bound<&[u8]>,
        take: &mut dyn FnMut(Bytes, Bytes) -> bool,
    ) -> Result<(), EngineError> {
        for entry in self.db.range::<&[u8], _>((from, Bound::Unbounded)) {
            let (key, value) = entry?;
            if !take(shared(key), shared(value)) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, changes: &[Change]) -> Result<(), EngineError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key.as_ref(), value.as_ref()),
                None => batch.remove(key.as_ref()),
            }
        }
        self.db.apply_batch(batch)?;
        self.db.flush()?;
        self.disk.sync_data(&self.file)?;
        Ok(())
    }
}

impl From<sled::Error> for EngineError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => Self::Io(error),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// sled's own bytes, without copying: a value is read far more often than it is written.
fn shared(bytes: sled::IVec) -> Bytes {
    Bytes::from_owner(bytes)
}

/// sled writes a snapshot under another name first, and takes what a crash has left there for its newest, damaged one.
/// The one before is deleted only when the new one is whole, so nothing is lost with it.
fn forget_unfinished_snapshots(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A database that was closed in this process a moment ago may still be held by sled's own threads.
/// Other processes are kept out by the folder's lock.
fn open_patiently(path: &Path) -> sled::Result<(sled::Config, sled::Db)> {
    let config = sled::Config::new().path(path).flush_every_ms(None).cache_capacity(CACHE_BYTES);
    for _ in 0..40 {
        match config.open() {
            Err(sled::Error::Io(e)) if e.to_string().contains("lock") => {
                std::thread::sleep(Duration::from_millis(50));
            }
            other => return other.map(|db| (config, db)),
        }
    }
    config.open().map(|db| (config, db))
}

/// Where a write of sled's own threads fails, sled 0.34.7 keeps the error but does not always wake who waits in
/// `flush` for that write (`Log::exit_reservation`): the store would hang for ever. A second `flush` finds the
/// error, and wakes the first.
struct Lookout {
    /// Dropped to end the thread.
    going: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Lookout {
    fn over(config: sled::Config, db: sled::Db) -> io::Result<Self> {
        let (going, ended) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("store-lookout".to_owned()).spawn(move || {
            while ended.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                if config.global_error().is_err() {
                    // It returns that error, at once; the committer reports it.
                    let _ = db.flush();
                }
            }
        })?;
        Ok(Self { going: Some(going), thread: Some(thread) })
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.going = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
