//! Segment files: names, creation, and the copy of the newest head.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Holds the newest signed head, so that a log that lost its end is noticed.
pub(super) const HEAD_FILE: &str = "head";
const LOCK_FILE: &str = "lock";

/// The path of a segment.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:06}.log"))
}

/// All segments in order.
pub(super) fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if number_of(&path).is_some() {
            found.push(path);
        }
    }
    found.sort_by_key(|path| number_of(path));
    Ok(found)
}

/// The number in a segment's name.
pub(super) fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".log")?;
    if name.len() >= 6 && name.bytes().all(|b| b.is_ascii_digit()) { name.parse().ok() } else { None }
}

/// Makes the folder, 0700, and takes its lock. `None` when another process has it.
pub(super) fn lock_folder(dir: &Path) -> io::Result<Option<File>> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let lock =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join(LOCK_FILE))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(e),
    }
}

/// Begins a segment: whole and durable, name included, or not at all.
pub(super) fn create(dir: &Path, number: u64, first_line: &[u8]) -> io::Result<File> {
    let path = path(dir, number);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let written =
        file.write_all(first_line).and_then(|()| file.sync_all()).and_then(|()| File::open(dir)?.sync_all());
    if let Err(e) = written {
        // What is left of it must not stand in the way of the next attempt.
        fs::remove_file(&path)?;
        return Err(e);
    }
    Ok(file)
}

/// Opens a segment to go on at its end. Room that a process which was killed has left is given back.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let end = written(&mut file)?;
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(file)
}

/// Where the log ends in a file: after the last byte that is not zero. Zeros behind it are the room that a segment is given ahead.
/// What stands before that place is not written again, so it can be read while the log goes on.
///
/// # Errors
/// When the file cannot be read.
pub fn written(file: &mut File) -> io::Result<u64> {
    const PIECE: u64 = 64 << 10;
    let mut end = file.metadata()?.len();
    let mut piece = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(PIECE);
        file.seek(SeekFrom::Start(start))?;
        piece.clear();
        (&*file).take(end - start).read_to_end(&mut piece)?;
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
            end = start + last as u64 + 1;
            break;
        }
        end = start;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(end)
}

/// Replaces the copy of the newest head.
pub(super) fn write_head_file(dir: &Path, note: &str) -> io::Result<()> {
    let temporary = dir.join(".head.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(note.as_bytes())?;
    // Before the rename: else a power cut could leave an empty file under the name.
    file.sync_data()?;
    fs::rename(temporary, dir.join(HEAD_FILE))
}

/// The copy of the newest head, if there is one.
pub(super) fn read_head_file(dir: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(dir.join(HEAD_FILE)) {
        Ok(note) => Ok(Some(note)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
