//! Taking a backup while everything goes on.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::audit;
use crate::custody::backup::BackupError;
use crate::custody::backup::container::{Collected, FORMAT, SealedWriter, Sealing};
use crate::custody::backup::frame::{End, Frame, Header, PIECE};
use crate::custody::{Custody, Inner};
use crate::kernel::{encode, entropy};
use crate::model::event::{EventDraft, EventKind};
use crate::model::sealed::Sealer;
use crate::model::spool::{ASIDE, FOLDER};
use crate::store::TakeEntries;

/// The log's folder, which belongs into a backup like the spool's.
const LOG: &str = "audit";
/// What is left out of it.
const LOG_LOCK: &str = "lock";
/// Pieces of a backup that may wait for who takes them.
const WAITING: usize = 8;

/// A backup on its way. It is whole only if the last piece is no error.
pub type Backup = mpsc::Receiver<Result<Bytes, BackupError>>;

impl Custody {
    /// Takes a backup: the pieces come as fast as they are taken.
    ///
    /// # Errors
    /// When it cannot be begun. What goes wrong later comes as the last piece.
    pub async fn backup(&self, sealing: Sealing, admin: &str) -> Result<Backup, BackupError> {
        let inner = Arc::clone(&self.0);
        if let Some(keys) = &inner.keys {
            // What another node has added is in the header then.
            keys.look().await?;
        }
        // Before the keyring is read, so that a term that is added from here on is noticed.
        let term = inner.vault.active_term();
        let header = Header {
            format: FORMAT,
            deployment: inner.vault.deployment().to_string(),
            taken_at: inner.clock.now().millis(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            keyring: inner.vault.keyring_text()?,
            nonce: encode::hex(&entropy::bytes::<16>(inner.entropy.as_ref())),
        };
        let collected = Collected::default();
        let sealer: Arc<dyn Sealer> = inner.vault.clone();
        let writer = SealedWriter::begin(&sealing, &header, sealer, collected.clone())?;
        let mut event = EventDraft::new(EventKind::Admin, "vault.backup");
        event.admin = Some(admin.to_owned());
        inner.audit.record(event).await?;
        let (to, pieces) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let (end, spool) = (End::default(), inner.data_dir.join(FOLDER));
            let writing = Writing { writer, collected, to: to.clone(), end, term, spool };
            if let Err(error) = writing.all(&inner).await {
                let _ = to.send(Err(error)).await;
            }
        });
        Ok(pieces)
    }
}

struct Writing {
    writer: SealedWriter,
    collected: Collected,
    to: mpsc::Sender<Result<Bytes, BackupError>>,
    end: End,
    /// The newest term that the keyring in the header knows.
    term: u32,
    spool: PathBuf,
}

impl Writing {
    async fn all(mut self, inner: &Inner) -> Result<(), BackupError> {
        // An answer leaves the spool when its token is in the store. One that lay there before the store was read,
        // or lies there after it, is in the backup either way.
        self.folder(&inner.data_dir, FOLDER).await?;
        self.end.content = inner.store.snapshot(&mut self).await?.map(|content| content.text());
        self.folder(&inner.data_dir, FOLDER).await?;
        self.folder(&inner.data_dir, ASIDE).await?;
        self.log(&inner.data_dir).await?;
        let end = Frame::End(self.end.clone());
        self.frame(&end)?;
        let Self { writer, collected, to, term, .. } = self;
        writer.end()?;
        // INVARIANT: what the keyring in the header does not open is in no backup that ends well. Another node may have
        // added a term of which this one has not heard.
        let newest = match &inner.keys {
            Some(keys) => keys.newest_term().await?,
            None => inner.vault.active_term(),
        };
        if newest != term {
            return Err(BackupError::Rotated);
        }
        to.send(Ok(collected.taken().into())).await.map_err(|_| BackupError::Gone)
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), BackupError> {
        self.end.frames += 1;
        frame.write(&mut self.writer).map_err(|e| BackupError::Sealing(e.to_string()))
    }

    /// Hands over what has come together.
    async fn hand_over(&mut self) -> Result<(), BackupError> {
        let bytes = self.collected.taken();
        if bytes.is_empty() {
            return Ok(());
        }
        self.to.send(Ok(bytes.into())).await.map_err(|_| BackupError::Gone)
    }

    /// The log: first its newest head, so that the entries in the backup reach at least that far.
    async fn log(&mut self, data_dir: &Path) -> Result<(), BackupError> {
        let mut names = names(&data_dir.join(LOG))?;
        names.retain(|name| name != LOG_LOCK);
        names.sort_by_key(|name| (name.ends_with(".log"), name.clone()));
        for name in names {
            self.file(data_dir, LOG, &name, name.ends_with(".log")).await?;
        }
        Ok(())
    }

    async fn folder(&mut self, data_dir: &Path, folder: &str) -> Result<(), BackupError> {
        for name in names(&data_dir.join(folder))? {
            self.file(data_dir, folder, &name, false).await?;
        }
        Ok(())
    }

    /// One file, as it is now; of a file of lines the last one only if it is whole.
    async fn file(
        &mut self,
        data_dir: &Path,
        folder: &str,
        name: &str,
        of_lines: bool,
    ) -> Result<(), BackupError> {
        let path = data_dir.join(folder).join(name);
        let failed = |source| BackupError::File { path: path.clone(), source };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            // Taken out of the spool since its name was read.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(failed(e)),
        };
        let length =
            if of_lines { audit::written(&mut file) } else { file.metadata().map(|told| told.len()) };
        let length = length.map_err(failed)?;
        let mut left = length;
        let mut rest: Vec<u8> = Vec::new();
        let mut name = Some(format!("{folder}/{name}"));
        loop {
            let mut piece = std::mem::take(&mut rest);
            let read =
                (&mut file).take(left.min(PIECE as u64)).read_to_end(&mut piece).map_err(failed)? as u64;
            left = left.saturating_sub(read);
            let is_last = left == 0 || read == 0;
            if of_lines {
                let whole = piece.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                rest = piece.split_off(whole);
            }
            let piece = piece.into();
            self.frame(&match name.take() {
                Some(name) => Frame::File(name, piece),
                None => Frame::More(piece),
            })?;
            self.hand_over().await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

impl TakeEntries for Writing {
    type Error = BackupError;

    /// The answers that lie in the spool at that very moment: their tokens may not be in what is read. What is saved
    /// afterwards leaves the spool, and would be missed by whoever looks there later.
    fn at_the_moment(&mut self) -> Result<(), BackupError> {
        for name in names(&self.spool)? {
            let path = self.spool.join(&name);
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(source) => return Err(BackupError::File { path, source }),
            };
            let mut pieces = bytes.chunks(PIECE).map(<[u8]>::to_vec);
            let first = pieces.next().unwrap_or_default();
            self.frame(&Frame::File(format!("{FOLDER}/{name}"), first.into()))?;
            for piece in pieces {
                self.frame(&Frame::More(piece.into()))?;
            }
        }
        Ok(())
    }

    async fn take(&mut self, entries: Vec<(Bytes, Option<Bytes>)>) -> Result<(), BackupError> {
        for (key, value) in entries {
            self.frame(&match value {
                Some(value) => Frame::Entry(key, value),
                None => Frame::Gone(key),
            })?;
        }
        self.hand_over().await
    }
}

/// The names of the files in a folder, in order; none where there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>, BackupError> {
    let failed = |source| BackupError::File { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}
