//! Damaged files: whatever is cut off or bent, a store serves what was written or does not start.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use valetkey::kernel::entropy::{Entropy as _, SeededEntropy};
use valetkey::store::{Batch, Committed, Store, StoreError, Tx};

use crate::disk::{ENGINES, Kind, SLED};
use crate::{Note, note, vault};

/// How many truncations and flips per engine; `scripts/storage` asks for more.
fn how_many(name: &str, few: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

async fn begin(engine: Kind, dir: &Path) -> Vec<Note> {
    let store = engine.open(dir).unwrap();
    let mut written = Vec::new();
    for chunk in 0..8 {
        let mut tx = Tx::new();
        for n in 0..25 {
            let note = Note { count: n, ..note(&format!("{chunk}-{n:02}"), &"o".repeat(300)) };
            tx.insert(&note);
            written.push(note);
        }
        let _ = store.commit(tx).await.unwrap();
    }
    written
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), &place).unwrap();
        }
    }
}

/// Every file of the store but its lock, which holds nothing.
fn files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if !path.ends_with("store.lock") && fs::metadata(&path).unwrap().len() > 0 {
            into.push(path);
        }
    }
    into.sort();
}

/// What became of a damaged store.
#[derive(Default)]
struct Tally {
    refused: u64,
    /// What was damaged was of no use: everything reads as it was written.
    unharmed: u64,
}

impl Tally {
    /// `file` is the damaged one, within `dir`.
    async fn judge(&mut self, engine: Kind, dir: &Path, written: &[Note], file: &Path, damage: &str) {
        let store = match engine.backend(dir) {
            Ok(backend) => Store::new(backend, vault()),
            Err(error) => {
                let text = error.to_string();
                assert!(names(&error, engine, dir, file), "{} {damage}: {text}", engine.name);
                assert!(text.contains("vault restore"), "{} {damage}: {text}", engine.name);
                self.refused += 1;
                return;
            }
        };
        // All of it was read and checked when it was opened: nothing may be found out only now.
        let read = store.page::<Note>(None, 1000).await;
        let read = read.unwrap_or_else(|error| panic!("{} {damage}: opened, and then {error}", engine.name));
        let read: Vec<Note> = read.iter().map(|note| note.record().clone()).collect();
        assert!(read == written, "{} {damage}: {} of {} records", engine.name, read.len(), written.len());
        self.unharmed += 1;
    }
}

/// Whether a refusal names the file that it is about: one of ours by itself, any of the engine's by its main one, or
/// what says that there was a store.
fn names(refusal: &StoreError, engine: Kind, dir: &Path, file: &Path) -> bool {
    let (marker, ours) = (dir.join("store.initialised"), ["store.initialised", "store.generation"]);
    let text = refusal.to_string();
    match refusal {
        StoreError::Corrupt { path, .. } if ours.iter().any(|name| file.ends_with(name)) => {
            *path == dir.join(file) && text.contains(&path.display().to_string())
        }
        StoreError::Corrupt { path, .. } => {
            *path == dir.join(engine.file) && text.contains(&path.display().to_string())
        }
        StoreError::Missing { marker: named } => {
            *named == marker && file == Path::new(engine.file) && text.contains(&marker.display().to_string())
        }
        _ => false,
    }
}

#[tokio::test]
async fn a_truncated_or_bent_store_serves_everything_or_nothing() {
    let silent = std::panic::take_hook();
    // Engines panic on purpose here, a thousand times.
    std::panic::set_hook(Box::new(move |info| {
        if !std::thread::current().name().is_some_and(|name| name.starts_with("store")) {
            silent(info);
        }
    }));
    let random = SeededEntropy::new(20_261_122);
    let number = |below: u64| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        u64::from_be_bytes(bytes) % below.max(1)
    };
    for engine in ENGINES {
        let whole = tempfile::tempdir().unwrap();
        let mut written = begin(engine, whole.path()).await;
        written.sort_by(|a, b| a.id.cmp(&b.id));
        let mut all = Vec::new();
        files(whole.path(), &mut all);
        // Unharmed where nothing was done to it: a copy is not what is refused below.
        let (copied, mut control) = (tempfile::tempdir().unwrap(), Tally::default());
        copy(whole.path(), copied.path());
        control.judge(engine, copied.path(), &written, Path::new(""), "a copy").await;
        assert_eq!(control.unharmed, 1, "{}", engine.name);
        let (mut cut, mut bent) = (Tally::default(), Tally::default());
        let (cuts, flips) = (how_many("VALETKEY_TEST_CUTS", 12), how_many("VALETKEY_TEST_FLIPS", 40));
        for round in 0..cuts + flips {
            let dir = tempfile::tempdir().unwrap();
            copy(whole.path(), dir.path());
            // Mostly the data; its size would leave the small files beside it out.
            let file = match number(10) {
                0 => all[usize::try_from(number(all.len() as u64)).unwrap()].clone(),
                _ => whole.path().join(engine.file),
            };
            let name = file.strip_prefix(whole.path()).unwrap();
            let (place, length) = (dir.path().join(name), fs::metadata(&file).unwrap().len());
            let at = number(length);
            if round < cuts {
                fs::File::options().write(true).open(&place).unwrap().set_len(at).unwrap();
                let damage = format!("{} cut at {at} of {length}", name.display());
                cut.judge(engine, dir.path(), &written, name, &damage).await;
            } else {
                let bit = number(8);
                let mut bytes = fs::read(&place).unwrap();
                bytes[usize::try_from(at).unwrap()] ^= 1 << bit;
                fs::write(&place, bytes).unwrap();
                let damage = format!("bit {bit} of byte {at} of {length} of {}", name.display());
                bent.judge(engine, dir.path(), &written, name, &damage).await;
            }
        }
        println!(
            "{}: {cuts} truncations ({} refused, {} unharmed), {flips} flips ({} refused, {} unharmed)",
            engine.name, cut.refused, cut.unharmed, bent.refused, bent.unharmed
        );
        assert_eq!(cut.refused + cut.unharmed + bent.refused + bent.unharmed, cuts + flips);
    }
    let _ = std::panic::take_hook();
}

#[tokio::test]
async fn half_a_mark_is_damage_and_not_another_engines_folder() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        drop(engine.open(folder.path()).unwrap());
        let mark = folder.path().join("store.initialised");
        let whole = fs::read(&mark).unwrap();
        for length in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
            fs::write(&mark, &whole[..length]).unwrap();
            let refused = engine.open(folder.path()).map(drop).unwrap_err();
            let names_it = matches!(&refused, StoreError::Corrupt { path, .. } if *path == mark);
            assert!(names_it, "{} {length}: {refused}", engine.name);
        }
        // As it says: where nothing else is damaged, the mark can go.
        fs::remove_file(&mark).unwrap();
        drop(engine.open(folder.path()).unwrap());
        assert_eq!(fs::read(&mark).unwrap(), whole);
    }
}

#[tokio::test]
async fn a_snapshot_that_a_crash_left_unfinished_is_no_damage() {
    for length in [0, 1, 20] {
        let folder = tempfile::tempdir().unwrap();
        let mut written = begin(SLED, folder.path()).await;
        written.sort_by(|a, b| a.id.cmp(&b.id));
        let left = folder.path().join("store/snap.00000000FFFFFFFF.generating");
        fs::write(&left, vec![7; length]).unwrap();
        let mut tally = Tally::default();
        tally.judge(SLED, folder.path(), &written, Path::new("snap"), "an unfinished snapshot").await;
        assert_eq!((tally.unharmed, tally.refused), (1, 0), "{length} bytes");
        assert!(!left.exists());
    }
}

fn entry(n: u32) -> (bytes::Bytes, bytes::Bytes) {
    (format!("r/note/{n:05}").into(), format!("{n:05} ").repeat(300).into())
}

/// More than the engines keep in memory, so that they read the file again.
#[tokio::test]
async fn what_is_bent_while_the_store_is_open_is_never_served_and_nothing_seems_to_be_missing() {
    const NUMBER: u32 = 60_000;
    let random = SeededEntropy::new(20_261_123);
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let backend = engine.backend(folder.path()).unwrap();
        for chunk in 0..NUMBER / 500 {
            let write = (chunk * 500..(chunk + 1) * 500).map(entry).map(|(key, value)| (key, Some(value)));
            let batch = Batch { expect: Vec::new(), write: write.collect() };
            assert_eq!(backend.commit(batch).await.unwrap(), Committed::Done);
        }
        let file = fs::File::options().write(true).open(folder.path().join(engine.file)).unwrap();
        let length = file.metadata().unwrap().len();
        assert!(length > 80 << 20, "{}: {length}", engine.name);
        for _ in 0..100 {
            let mut bytes = [0; 520];
            random.fill(&mut bytes);
            let (place, bytes) = bytes.split_at(8);
            let place = u64::from_be_bytes(place.try_into().unwrap()) % (length - 512);
            file.write_all_at(bytes, place).unwrap();
        }
        let mut served = 0;
        let failed = loop {
            let (key, value) = entry(served * 37 % NUMBER);
            match backend.get(&key).await {
                Ok(found) => assert!(found == Some(value), "{}: {key:?} is {found:?}", engine.name),
                Err(error) => break error,
            }
            served += 1;
            assert!(served <= NUMBER, "{}: nothing was read again", engine.name);
        };
        assert!(matches!(failed, StoreError::Failed) && backend.failed(), "{}: {failed}", engine.name);
        println!("{}: {served} of {NUMBER} were served before the damage was met", engine.name);
    }
}
