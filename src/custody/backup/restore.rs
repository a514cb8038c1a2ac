//! Restoring a backup: into a folder beside the place first, checked record by record, then renamed into it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::custody::backup::BackupError;
use crate::custody::backup::container::Opening;
use crate::custody::backup::frame::{End, Frame};
use crate::custody::restored::mark_store;
use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::entropy::Entropy;
use crate::kernel::ids::StopId;
use crate::model::restored::Restored as Mark;
use crate::model::spool::{ASIDE, FOLDER};
use crate::store::{Backend, Census, Importer, Store, StoreError, content};
use crate::vault::{KEYRING_FILE, RootKey, Vault};

/// Makes the store that records go into, in a data folder that is being put together.
pub type Target<'a> = &'a dyn Fn(&Path) -> Result<Arc<dyn Backend>, StoreError>;

/// How a backup is restored.
pub struct Restore<'a> {
    /// The data folder; must not exist, or be empty.
    pub data_dir: &'a Path,
    /// The root key of the deployment at the time of the backup.
    pub root: &'a RootKey,
    /// Opens the empty store.
    pub target: Target<'a>,
    /// Time.
    pub clock: &'a dyn Clock,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Told how many entries were written.
    pub progress: &'a mut dyn FnMut(u64),
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// When the backup was taken.
    pub taken_at: Timestamp,
    /// Entries of the store: records and their indexes.
    pub entries: u64,
    /// Records; each was opened.
    pub records: u64,
    /// Files beside the store.
    pub files: u64,
    /// The stop of everything, for an admin to lift.
    pub stop: StopId,
}

impl Restore<'_> {
    /// Restores it whole, or not at all.
    ///
    /// # Errors
    /// When the place is not empty, the root key does not open the backup, or the backup is not whole. What was
    /// written of it is removed.
    pub async fn run(mut self, backup: Opening) -> Result<Restored, BackupError> {
        if !is_vacant(self.data_dir)? {
            return Err(BackupError::NotEmpty(self.data_dir.to_owned()));
        }
        let building = Building::begin(self.data_dir)?;
        let restored = self.build(&building.dir, backup).await?;
        building.put_in_place(self.data_dir)?;
        Ok(restored)
    }

    async fn build(&mut self, dir: &Path, backup: Opening) -> Result<Restored, BackupError> {
        let taken_at = Timestamp::from_millis(backup.header.taken_at);
        write_file(&dir.join(KEYRING_FILE), backup.header.keyring.as_bytes())?;
        let vault = Arc::new(Vault::open(dir, self.root, Arc::clone(&self.entropy))?);
        if vault.deployment().to_string() != backup.header.deployment {
            return Err(BackupError::Damaged("its keyring is another deployment's".to_owned()));
        }
        let backend = (self.target)(dir)?;
        let mut frames = backup.frames(vault.clone());
        let (end, entries, files) = self.read(dir, backend.as_ref(), frames.as_mut()).await?;
        let found = content(backend.as_ref()).await?;
        if end.content.is_some_and(|wanted| wanted != found.text()) {
            return Err(BackupError::Damaged("what came out of it is not what went in".to_owned()));
        }
        let store = Store::new(Arc::clone(&backend), vault);
        let records = all_open(&store).await?;
        let mark = Mark { taken_at, restored_at: self.clock.now() };
        let stop = mark_store(&store, &mark, self.entropy.as_ref()).await?;
        store.sync().await?;
        Ok(Restored { taken_at, entries, records, files, stop })
    }

    async fn read(
        &mut self,
        dir: &Path,
        backend: &dyn Backend,
        frames: &mut dyn Read,
    ) -> Result<(End, u64, u64), BackupError> {
        let damaged = |e: std::io::Error| BackupError::Damaged(e.to_string());
        let mut importer = Importer::into_empty(backend).await?;
        let mut files = Files::default();
        let mut read = 0u64;
        loop {
            let frame = Frame::read(frames).map_err(damaged)?;
            match frame.ok_or_else(|| BackupError::Damaged("it breaks off".to_owned()))? {
                Frame::Entry(key, value) => importer.put(key, Some(value)).await?,
                Frame::Gone(key) => importer.put(key, None).await?,
                Frame::File(name, piece) => files.begin(dir, &name, &piece)?,
                Frame::More(piece) => files.append(&piece)?,
                Frame::End(end) if end.frames == read => {
                    // Opens the last chunk, and sees that nothing follows.
                    if Frame::read(frames).map_err(damaged)?.is_some() {
                        return Err(BackupError::Damaged("something follows its end".to_owned()));
                    }
                    let entries = importer.finish().await?.entries();
                    return Ok((end, entries, files.end()?));
                }
                Frame::End(_) => return Err(BackupError::Damaged("parts of it are missing".to_owned())),
            }
            read += 1;
            (self.progress)(read);
        }
    }
}

/// How many records there are; each opens.
async fn all_open(store: &Store) -> Result<u64, BackupError> {
    let (mut census, mut after) = (Census::default(), None);
    loop {
        after = store.count(after.as_deref(), 256, &mut census).await?;
        if after.is_none() {
            break;
        }
    }
    if census.unreadable > 0 {
        let problem = format!("{} of its {} records do not open", census.unreadable, census.records);
        return Err(BackupError::Damaged(problem));
    }
    Ok(census.records)
}

/// The files beside the store, as their pieces come.
#[derive(Default)]
struct Files {
    open: Option<(PathBuf, File)>,
    written: u64,
}

impl Files {
    /// An answer that is in the backup twice was read again, later: that one counts.
    fn begin(&mut self, dir: &Path, name: &str, piece: &[u8]) -> Result<(), BackupError> {
        self.end()?;
        let path = place_of(dir, name)?;
        let failed = |source| BackupError::File { path: path.clone(), source };
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path).map_err(failed)?;
        self.open = Some((path, file));
        self.written += 1;
        self.append(piece)
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), BackupError> {
        let Some((path, file)) = &mut self.open else {
            return Err(BackupError::Damaged("a piece of it belongs to no file".to_owned()));
        };
        file.write_all(piece).map_err(|source| BackupError::File { path: path.clone(), source })
    }

    fn end(&mut self) -> Result<u64, BackupError> {
        if let Some((path, file)) = self.open.take() {
            file.sync_all().map_err(|source| BackupError::File { path, source })?;
        }
        Ok(self.written)
    }
}

/// Where a file of a backup goes: one name in one of three folders, and never out of them.
fn place_of(dir: &Path, name: &str) -> Result<PathBuf, BackupError> {
    let is_plain = |part: &str| {
        !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    };
    match name.split_once('/') {
        Some((folder @ ("audit" | FOLDER | ASIDE), file)) if !file.is_empty() && is_plain(file) => {
            Ok(dir.join(folder).join(file))
        }
        _ => Err(BackupError::Damaged("it names a file that no backup holds".to_owned())),
    }
}

/// Whether a folder is not there, or empty.
///
/// # Errors
/// When it cannot be looked into.
pub(in crate::custody) fn is_vacant(dir: &Path) -> Result<bool, BackupError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(BackupError::File { path: dir.to_owned(), source }),
    }
}

/// A data folder that is being put together beside its place, and goes with whatever does not end well.
pub(in crate::custody) struct Building {
    pub(in crate::custody) dir: PathBuf,
    is_done: bool,
}

impl Building {
    pub(in crate::custody) fn begin(place: &Path) -> Result<Self, BackupError> {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let dir = place.with_file_name(format!(".{name}.restoring"));
        let failed = |source| BackupError::File { path: dir.clone(), source };
        // What a killed attempt has left.
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        Ok(Self { dir, is_done: false })
    }

    /// Everything in it must have been synced, but for the names.
    pub(in crate::custody) fn put_in_place(mut self, place: &Path) -> Result<(), BackupError> {
        let failed = |source| BackupError::File { path: place.to_owned(), source };
        sync_names(&self.dir).map_err(failed)?;
        match fs::remove_dir(place) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        fs::rename(&self.dir, place).map_err(failed)?;
        self.is_done = true;
        let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all()).map_err(failed)
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn sync_names(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_names(&path)?;
        }
    }
    File::open(dir)?.sync_all()
}

pub(in crate::custody) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| BackupError::File { path: path.to_owned(), source })
}
