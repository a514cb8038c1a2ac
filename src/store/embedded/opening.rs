//! Opening a store: all of it is read once, so that damage shows now and not at first use.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;

use crate::store::StoreError;
use crate::store::disk::Disk;
use crate::store::embedded::tally::{self, BEGUN, HighWater, LAYOUT, Tally};
use crate::store::embedded::{Engine, EngineError};
use crate::store::folder::{Folder, refuse};

pub(super) struct Opened<E> {
    pub(super) engine: E,
    pub(super) folder: Folder,
    pub(super) tally: Tally,
    pub(super) high_water: HighWater,
}

/// What a first reading found.
struct Found {
    layout: Option<Bytes>,
    tally: Option<Bytes>,
    counted: Tally,
}

pub(super) fn open<E: Engine>(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Opened<E>, StoreError> {
    let folder = Folder::claim(dir)?;
    if let Some(name) = folder.doubtful_file_system() {
        tracing::warn!(folder = %dir.display(), file_system = name, "syncs may not be durable here: use ext4 or xfs");
    }
    let data = folder.store().join(E::FILE);
    let is_there = std::fs::metadata(&data).is_ok_and(|meta| meta.len() > 0);
    folder.is_of(E::NAME, is_there)?;
    if folder.is_marked() && !is_there {
        return Err(folder.missing());
    }
    let (engine, found) = open_guarded::<E>(disk, &folder.store(), &data)?;
    let tally = judge(&folder, &data, &engine, found)?;
    let high_water = HighWater::begin(dir, &tally).map_err(|e| refuse(dir, &e))?;
    folder.make_private()?;
    if !folder.is_marked() {
        folder.mark(E::NAME)?;
    }
    Ok(Opened { engine, folder, tally, high_water })
}

/// Engines can panic on damaged files: on a thread of its own that is an answer, not the end of the process.
fn open_guarded<E: Engine>(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    data: &Path,
) -> Result<(E, Found), StoreError> {
    let (disk, owned) = (Arc::clone(disk), folder.to_owned());
    let opening = std::thread::Builder::new().name("store-open".to_owned()).spawn(move || {
        let engine = E::open(disk, &owned)?;
        let found = read_all(&engine)?;
        Ok((engine, found))
    });
    let corrupt = |problem: String| StoreError::Corrupt { path: data.to_owned(), problem };
    match opening.map(JoinHandle::join) {
        Ok(Ok(Ok(opened))) => Ok(opened),
        Ok(Ok(Err(EngineError::Io(e)))) if !is_damage(&e) => Err(refuse(folder, &e)),
        Ok(Ok(Err(error))) => Err(corrupt(error.to_string())),
        Ok(Err(_)) => Err(corrupt("the database cannot be read".to_owned())),
        Err(e) => Err(refuse(folder, &e)),
    }
}

/// Errors with which engines say that the bytes make no sense, or that there are too few of them.
fn is_damage(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}

fn read_all<E: Engine>(engine: &E) -> Result<Found, EngineError> {
    let mut counted = Tally::default();
    engine.range(Bound::Unbounded, &mut |key, value| {
        counted.count(&key, &value);
        true
    })?;
    Ok(Found { layout: engine.get(&BEGUN)?, tally: engine.get(&tally::KEY)?, counted })
}

/// Whether this is the store that was left here; a new one is begun.
fn judge<E: Engine>(folder: &Folder, data: &Path, engine: &E, found: Found) -> Result<Tally, StoreError> {
    let corrupt = |problem: String| StoreError::Corrupt { path: data.to_owned(), problem };
    let noted = noted(folder.dir())?;
    match &found.layout {
        Some(layout) if *layout == LAYOUT => {}
        Some(_) => {
            let problem = "its store was written by a newer version of Valetkey".to_owned();
            return Err(StoreError::Folder { dir: folder.dir().to_owned(), problem });
        }
        None if folder.is_marked() => return Err(folder.missing()),
        None if found.counted.entries > 0 => {
            let problem = "its `store` folder holds a database of something else".to_owned();
            return Err(StoreError::Folder { dir: folder.dir().to_owned(), problem });
        }
        None => {}
    }
    let Some(stored) = found.tally else {
        if noted.is_some() && found.layout.is_some() {
            return Err(corrupt("what it should hold is not written in it any more".to_owned()));
        }
        return begin(engine, found).map_err(|e| corrupt(e.to_string()));
    };
    let stored = Tally::decode(&stored).ok_or_else(|| corrupt("its tally is not one".to_owned()))?;
    if let Some(noted) = noted.filter(|noted| *noted > stored.generation) {
        let problem = format!("its last {} commits are gone", noted - stored.generation);
        return Err(corrupt(problem));
    }
    if !stored.agrees_with(&found.counted) {
        let (has, had) = (found.counted.entries, stored.entries);
        return Err(corrupt(format!("it holds {has} entries, and not the {had} that were written")));
    }
    Ok(stored)
}

/// Writes the first tally: of a new store, or of one that was begun before there were tallies.
fn begin<E: Engine>(engine: &E, found: Found) -> Result<Tally, EngineError> {
    let mut tally = found.counted;
    tally.next();
    let mut changes = Vec::new();
    if found.layout.is_none() {
        tally.replace(&BEGUN, None, Some(&LAYOUT));
        changes.push((BEGUN, Some(LAYOUT)));
    }
    changes.push((tally::KEY, Some(tally.encode())));
    engine.apply(&changes)?;
    Ok(tally)
}

fn noted(dir: &Path) -> Result<Option<u64>, StoreError> {
    HighWater::read(dir).map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidData => StoreError::Corrupt {
            path: HighWater::path(dir),
            problem: "it notes no generation; if it is the only damaged file, remove it".to_owned(),
        },
        _ => refuse(dir, &e),
    })
}
