//! Opening a log: verifies what may have been written last, repairs a torn end, refuses other damage.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::audit::chain::{self, Line, Link};
use crate::audit::entry::Remembered;
use crate::audit::recent::Recent;
use crate::audit::verify::{BadEntry, Lines, Next};
use crate::audit::walk::{Misfit, Step, Walk};
use crate::audit::writer::GROUP;
use crate::audit::{AuditError, head, segment};
use crate::kernel::ids::DeploymentId;
use crate::vault::AuditSigner;

/// The least that a disk writes as a whole.
const BLOCK: u64 = 512;
/// Segments that are read when a log is opened; `valetkey audit verify` reads all.
const READ_AT_OPEN: usize = 2;

/// Where a log goes on.
pub(super) struct Resumed {
    pub(super) dir: PathBuf,
    pub(super) deployment: DeploymentId,
    /// Held as long as the log is open.
    pub(super) lock: File,
    pub(super) file: File,
    pub(super) number: u64,
    pub(super) length: u64,
    pub(super) seq: u64,
    pub(super) link: Link,
    pub(super) last_signed: u64,
    /// What was repaired, in words.
    pub(super) repair: Option<String>,
}

pub(super) fn resume(
    dir: &Path,
    signer: &AuditSigner,
    deployment: &DeploymentId,
    recent: &Recent,
) -> Result<Resumed, AuditError> {
    let failed =
        |path: &Path, e: &io::Error| AuditError::Folder { path: path.to_owned(), problem: e.to_string() };
    let lock = segment::lock_folder(dir)
        .map_err(|e| failed(dir, &e))?
        .ok_or_else(|| AuditError::InUse { dir: dir.to_owned() })?;
    let mode = fs::metadata(dir).map_err(|e| failed(dir, &e))?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(|e| failed(dir, &e))?;
    }
    let files = segment::list(dir).map_err(|e| failed(dir, &e))?;
    let head_path = dir.join(segment::HEAD_FILE);
    let bad = |file: &Path, line, misfit: Misfit| {
        let Misfit { seq, problem } = misfit;
        AuditError::Damaged(BadEntry { seq, file: file.to_owned(), line, problem })
    };
    let mut walk = Walk::new(Some(signer.public_key()), true);
    walk.expected = segment::read_head_file(dir)
        .map_err(|e| failed(&head_path, &e))?
        .map(|note| head::check(&note, Some(&signer.public_key())))
        .transpose()
        .map_err(|e| bad(&head_path, 1, Misfit { seq: 1, problem: e.to_string() }))?;
    for (path, expected) in files.iter().zip(1..) {
        if segment::number_of(path) != Some(expected) {
            let problem = format!("the file of segment {expected} is missing");
            return Err(bad(&segment::path(dir, expected), 0, Misfit { seq: 1, problem }));
        }
    }
    let mut torn = None;
    let skipped = files.len().saturating_sub(READ_AT_OPEN);
    for (at, path) in files.iter().enumerate().skip(skipped) {
        let is_last = at + 1 == files.len();
        let end = read_segment(path, is_last, &mut walk, recent).map_err(|e| match e {
            ReadError::Io(e) => failed(path, &e),
            ReadError::Bad(line, misfit) => bad(path, line, misfit),
        })?;
        torn = end.map(|keep| (path, keep));
    }
    if walk.deployment.as_ref().is_some_and(|found| found != deployment) {
        let problem = "it is the log of another installation".to_owned();
        return Err(AuditError::Folder { path: dir.to_owned(), problem });
    }
    // INVARIANT: nothing is cut off before it is known that the newest head does not count on it.
    walk.finish().map_err(|misfit| bad(dir, 0, misfit))?;
    let mut repair = None;
    if let Some((path, keep)) = torn {
        let cut = truncate(path, keep).map_err(|e| failed(path, &e))?;
        repair = Some(format!("the log ended in {cut} bytes of an unfinished entry, which were cut off"));
    }
    let (file, number) = open_last(dir, &files, deployment, &mut walk)?;
    let length = file.metadata().map_err(|e| failed(dir, &e))?.len();
    Ok(Resumed {
        dir: dir.to_owned(),
        deployment: deployment.clone(),
        lock,
        file,
        number,
        length,
        seq: walk.seq,
        link: walk.link,
        last_signed: walk.last_signed,
        repair,
    })
}

/// The last segment, or a first one. A segment whose first line was torn off is begun again.
fn open_last(
    dir: &Path,
    files: &[PathBuf],
    deployment: &DeploymentId,
    walk: &mut Walk,
) -> Result<(File, u64), AuditError> {
    let failed = |e: io::Error| AuditError::Folder { path: dir.to_owned(), problem: e.to_string() };
    if walk.deployment.is_none() {
        walk.link = Link::genesis(deployment);
        walk.deployment = Some(deployment.clone());
    }
    let line = chain::segment_line(deployment, walk.seq + 1, &walk.link);
    let Some(last) = files.last() else {
        return segment::create(dir, 1, &line).map(|file| (file, 1)).map_err(failed);
    };
    let number = segment::number_of(last).unwrap_or(1);
    let file = segment::open(last).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() == 0 {
        fs::remove_file(last).map_err(failed)?;
        return segment::create(dir, number, &line).map(|file| (file, number)).map_err(failed);
    }
    Ok((file, number))
}

enum ReadError {
    Io(io::Error),
    Bad(u64, Misfit),
}

/// Walks one segment. `Some(length)` when its end is torn and must be cut to that length.
fn read_segment(
    path: &Path,
    is_last: bool,
    walk: &mut Walk,
    recent: &Recent,
) -> Result<Option<u64>, ReadError> {
    let mut lines = Lines::open(path).map_err(ReadError::Io)?;
    loop {
        match lines.next().map_err(ReadError::Io)? {
            Next::End => return Ok(None),
            Next::Torn(_, place) if is_last => return Ok(Some(place.start)),
            Next::Torn(_, place) => {
                let problem = "this line has no end, but the log goes on in another file".to_owned();
                return Err(ReadError::Bad(place.number, Misfit { seq: walk.seq + 1, problem }));
            }
            Next::Line(line, place) => match walk.step(line) {
                Ok(Step::Entry(canonical)) => {
                    // An event of a newer version may not be readable here; the log is still whole.
                    if let Ok(event) = serde_json::from_slice(canonical) {
                        recent.extend(Remembered::new(&event));
                    }
                }
                Ok(Step::Segment | Step::Head) => {}
                // A power cut can leave blocks of zeros where a group of entries was being written; no
                // line that was ever synced has such a byte, so nobody was told that it is durable.
                Err(misfit) => {
                    let zeros: Vec<u64> =
                        (place.start..).zip(line).filter(|(_, byte)| **byte == 0).map(|(at, _)| at).collect();
                    // One zero byte alone is a byte that has changed, but where it is the last of a disk's block and a
                    // line begins with it: then it can be all of a group that went there.
                    let is_unwritten = match zeros.as_slice() {
                        [] => false,
                        [only] => *only == place.start && (only + 1).is_multiple_of(BLOCK),
                        _ => true,
                    };
                    let is_unwritten =
                        is_last && is_unwritten && is_one_group(&mut lines).map_err(ReadError::Io)?;
                    return if is_unwritten {
                        Ok(Some(place.start))
                    } else {
                        Err(ReadError::Bad(place.number, misfit))
                    };
                }
            },
        }
    }
}

/// Whether what is left of the last segment can be the rest of one group, which was never synced: no more
/// entries than a group has, and nothing after a head.
fn is_one_group(lines: &mut Lines) -> io::Result<bool> {
    let (mut entries, mut has_head) = (0, false);
    while let Next::Line(line, _) = lines.next()? {
        match chain::parse(line) {
            Some(_) if has_head => return Ok(false),
            Some(Line::Head(_)) => has_head = true,
            Some(Line::Entry { .. }) => entries += 1,
            Some(Line::Segment(_)) => return Ok(false),
            None => {}
        }
    }
    Ok(entries <= GROUP)
}

fn truncate(path: &Path, length: u64) -> io::Result<u64> {
    let file = segment::open(path)?;
    let before = file.metadata()?.len();
    file.set_len(length)?;
    file.sync_all()?;
    Ok(before.saturating_sub(length))
}
