//! The data folder around the store: its lock, its rights, and the marker that says it was set up.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::store::StoreError;
use crate::store::embedded::Engine;

const LOCK: &str = "store.lock";
const MARKER: &str = "store.initialised";
const MARKER_PARTIAL: &str = "store.initialised.partial";
const STORE: &str = "store";
const MOVED: &str = "store.moved";
const MARKER_TEXT: &str = "This data folder was set up. While this file is here, Valetkey refuses to start \
                           with an empty store.\n";
/// Marks from before there was a choice do not name an engine.
const FIRST_ENGINE: &str = "sled";
const ENGINE: &str = "Engine: ";
const ENGINES: [&str; 2] = [FIRST_ENGINE, "redb"];

/// A data folder that this process has to itself.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    lock: File,
}

/// Closing the file is not enough: a child that was forked and has not yet called exec holds it open too.
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl Folder {
    /// Makes the folder if need be, takes away what rights others have, and locks it, for an engine.
    pub(super) fn claim(dir: &Path) -> Result<Folder, StoreError> {
        let folder = Self::lock(dir)?;
        is_here(dir)?;
        private_folder(&folder.store()).map_err(|e| refuse(dir, &e))?;
        Ok(folder)
    }

    fn lock(dir: &Path) -> Result<Folder, StoreError> {
        let failed = |e: io::Error| refuse(dir, &e);
        private_folder(dir).map_err(failed)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(LOCK))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Only a courtesy: the other process may not have written its number yet.
                let _ = lock.read_to_string(&mut text);
                return Err(StoreError::InUse { dir: dir.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(fs::TryLockError::Error(e)) => return Err(failed(e)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Folder { dir: dir.to_owned(), lock })
    }

    /// The folder itself.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the engine's own files are.
    pub(super) fn store(&self) -> PathBuf {
        self.dir.join(STORE)
    }

    /// Whether the folder was set up before.
    pub(super) fn is_marked(&self) -> bool {
        self.dir.join(MARKER).exists()
    }

    /// That what was set up is gone.
    pub(super) fn missing(&self) -> StoreError {
        StoreError::Missing { marker: self.dir.join(MARKER) }
    }

    /// Refuses another engine than the one that the folder was set up with. `data` says whether the asked engine's
    /// data is here.
    pub(super) fn is_of(&self, engine: &'static str, data: bool) -> Result<(), StoreError> {
        is_of(&self.dir, engine, data)
    }

    /// Says, for ever, that the folder was set up, and with which engine.
    pub(super) fn mark(&self, engine: &str) -> Result<(), StoreError> {
        let write = || {
            // Whole or not there: after a crash half a mark would name another engine.
            let partial = self.dir.join(MARKER_PARTIAL);
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
            file.write_all(MARKER_TEXT.as_bytes())?;
            writeln!(file, "{ENGINE}{engine}")?;
            file.sync_all()?;
            fs::rename(&partial, self.dir.join(MARKER))?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|e| refuse(&self.dir, &e))
    }

    /// Takes from others what rights the engine's files gave them.
    pub(super) fn make_private(&self) -> Result<(), StoreError> {
        fn walk(dir: &Path) -> io::Result<()> {
            for entry in fs::read_dir(dir)? {
                let path = entry?.path();
                let meta = fs::symlink_metadata(&path)?;
                if meta.is_dir() {
                    private_folder(&path)?;
                    walk(&path)?;
                } else if meta.is_file() && meta.permissions().mode() & 0o077 != 0 {
                    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
                }
            }
            Ok(())
        }
        walk(&self.store()).map_err(|e| refuse(&self.dir, &e))
    }

    /// The name of a file system on which a sync may not mean what it says; a warning, not a refusal,
    /// because containers often put the folder on one of these.
    pub(super) fn doubtful_file_system(&self) -> Option<&'static str> {
        let stat = rustix::fs::statfs(&self.dir).ok()?;
        match stat.f_type {
            0x9123_683e => Some("btrfs"),
            0x6969 => Some("NFS"),
            0x794c_7630 => Some("overlay"),
            _ => None,
        }
    }
}

/// What can be told of a data folder without its lock: refuses what opening it would, before the engine has looked.
///
/// # Errors
/// When it was moved away, or set up with another engine.
pub fn look<E: Engine>(dir: &Path) -> Result<(), StoreError> {
    let data = fs::metadata(dir.join(STORE).join(E::FILE)).is_ok_and(|meta| meta.len() > 0);
    is_here(dir)?;
    is_of(dir, E::NAME, data)
}

/// Says that a folder's records live elsewhere now. With a second copy of a refresh token that works once, one of both
/// would end the other.
///
/// # Errors
/// When it cannot be written.
pub fn mark_moved(dir: &Path, to: &str) -> Result<(), StoreError> {
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(dir.join(MOVED))?;
        writeln!(file, "{to}")?;
        file.sync_all()?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|e| refuse(dir, &e))
}

fn is_here(dir: &Path) -> Result<(), StoreError> {
    let mark = dir.join(MOVED);
    match fs::read_to_string(&mark) {
        Ok(to) => Err(StoreError::Moved { mark, to: to.trim().to_owned() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(refuse(dir, &e)),
    }
}

fn is_of(dir: &Path, engine: &'static str, data: bool) -> Result<(), StoreError> {
    let path = dir.join(MARKER);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(refuse(dir, &e)),
    };
    match marked_with(&text) {
        Some(found) if found == engine => Ok(()),
        Some(found) if !data => {
            Err(StoreError::OtherEngine { dir: dir.to_owned(), found: found.to_owned(), asked: engine })
        }
        _ => {
            let problem =
                "it does not name the engine whose data is here; if it is the only damaged file, remove it";
            Err(StoreError::Corrupt { path, problem: problem.to_owned() })
        }
    }
}

/// A data folder kept from all other processes, for what lies in it beside the store.
#[derive(Debug)]
pub struct FolderLock {
    _folder: Folder,
}

impl FolderLock {
    /// Takes the folder's lock.
    ///
    /// # Errors
    /// When another process has it.
    pub fn take(dir: &Path) -> Result<Self, StoreError> {
        Folder::lock(dir).map(|folder| Self { _folder: folder })
    }
}

/// The engine that a mark names; `None` when it is no mark.
fn marked_with(text: &[u8]) -> Option<&str> {
    let rest = std::str::from_utf8(text).ok()?.strip_prefix(MARKER_TEXT)?;
    if rest.is_empty() {
        return Some(FIRST_ENGINE);
    }
    let name = rest.strip_prefix(ENGINE)?.strip_suffix('\n')?;
    ENGINES.contains(&name).then_some(name)
}

pub(super) fn private_folder(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    if fs::metadata(dir)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Turns an error of the file system into a refusal that names the folder.
pub(super) fn refuse(dir: &Path, error: &io::Error) -> StoreError {
    StoreError::Folder { dir: dir.to_owned(), problem: error.to_string() }
}
