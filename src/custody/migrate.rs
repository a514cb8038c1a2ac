//! Moving a deployment's records to another engine. The broker does not run meanwhile; the source keeps its records.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::custody::backup::restore::{Building, is_vacant, write_file};
use crate::custody::backup::{BackupError, Target};
use crate::model::spool;
use crate::store::{Backend, Content, copy};
use crate::vault::KEYRING_FILE;

/// Folders beside the store that go along.
const FOLDERS: [&str; 3] = ["audit", spool::FOLDER, spool::ASIDE];
/// Taken anew by the next process.
const LOCK: &str = "lock";

/// Copies a data folder's records into a new data folder with another engine, and all that belongs to them; it
/// appears whole or not at all.
///
/// # Errors
/// When the place is not empty, something cannot be read or written, or the copy differs from what was copied.
pub async fn into_folder(
    from: &dyn Backend,
    data_dir: &Path,
    to: &Path,
    target: Target<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Content, BackupError> {
    if !is_vacant(to)? {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    let building = Building::begin(to)?;
    copy_file(&data_dir.join(KEYRING_FILE), &building.dir.join(KEYRING_FILE))?;
    for folder in FOLDERS {
        copy_folder(&data_dir.join(folder), &building.dir.join(folder))?;
    }
    let content = {
        let backend: Arc<dyn Backend> = target(&building.dir)?;
        copy(from, backend.as_ref(), progress).await?
    };
    building.put_in_place(to)?;
    Ok(content)
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::File { path: from.to_owned(), source };
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(e)),
    };
    std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(to).map_err(failed)?;
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_name() != LOCK && entry.file_type().map_err(failed)?.is_file() {
            copy_file(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    let bytes = fs::read(from).map_err(|source| BackupError::File { path: from.to_owned(), source })?;
    write_file(to, &bytes)
}
