//! What the store on disk must survive, and what it must refuse.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use valetkey::store::disk::{Disk, RealDisk};
use valetkey::store::{Backend, Batch, Committed, RedbBackend, SledBackend, Store, StoreError, Tx};

use crate::{Note, note, vault};

#[derive(Default)]
struct BadDisk {
    full: AtomicBool,
    sync_fails: AtomicBool,
    slow_ms: AtomicU64,
    syncs: AtomicU64,
}

impl Disk for BadDisk {
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        if self.full.load(Ordering::SeqCst) { Ok(4000) } else { RealDisk.free_bytes(dir) }
    }

    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        RealDisk.append(file, bytes)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(self.slow_ms.load(Ordering::SeqCst)));
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("input/output error"));
        }
        file.sync_data()
    }
}

pub type Opened = Result<Arc<dyn Backend>, StoreError>;

/// An engine on disk.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    /// Its data, within the data folder.
    pub file: &'static str,
    open_on: fn(Arc<dyn Disk>, &Path, u64) -> Opened,
}

pub const SLED: Kind = Kind {
    name: "sled",
    file: "store/db",
    open_on: |disk, dir, reserve| Ok(Arc::new(SledBackend::open_on(disk, dir, reserve)?)),
};
pub const REDB: Kind = Kind {
    name: "redb",
    file: "store/data.redb",
    open_on: |disk, dir, reserve| Ok(Arc::new(RedbBackend::open_on(disk, dir, reserve)?)),
};
pub const ENGINES: [Kind; 2] = [SLED, REDB];

impl Kind {
    pub fn backend(self, dir: &Path) -> Opened {
        (self.open_on)(Arc::new(RealDisk), dir, 0)
    }

    pub fn open(self, dir: &Path) -> Result<Store, StoreError> {
        Ok(Store::new(self.backend(dir)?, vault()))
    }

    fn on_bad_disk(self, dir: &Path) -> (Store, Arc<BadDisk>) {
        let disk = Arc::new(BadDisk::default());
        let backend = (self.open_on)(disk.clone(), dir, 4096).unwrap();
        (Store::new(backend, vault()), disk)
    }
}

async fn insert(store: &Store, id: &str) -> Result<Committed, StoreError> {
    let mut tx = Tx::new();
    tx.insert(&note(id, "ann"));
    store.commit(tx).await
}

async fn add(store: &Store, id: &str) {
    assert_eq!(insert(store, id).await.unwrap(), Committed::Done);
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let store = engine.open(folder.path()).unwrap();
            assert_eq!(store.page::<Note>(None, 10).await.unwrap().len(), round);
            add(&store, &round.to_string()).await;
        }
    }
}

#[tokio::test]
async fn only_the_owner_can_read_the_folder() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("data");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        add(&engine.open(&dir).unwrap(), "1").await;
        fs::set_permissions(dir.join(engine.file), fs::Permissions::from_mode(0o644)).unwrap();
        drop(engine.open(&dir).unwrap());
        fn check(path: &Path) {
            let meta = fs::metadata(path).unwrap();
            let mode = meta.permissions().mode() & 0o777;
            if meta.is_dir() {
                assert_eq!(mode, 0o700, "{}", path.display());
                fs::read_dir(path).unwrap().for_each(|entry| check(&entry.unwrap().path()));
            } else {
                assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
            }
        }
        let _store = engine.open(&dir).unwrap();
        check(&dir);
    }
}

#[tokio::test]
async fn a_second_opener_is_told_the_folders_name() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let store = engine.open(folder.path()).unwrap();
        let refused = engine.open(folder.path()).map(drop).unwrap_err();
        let text = refused.to_string();
        assert!(
            matches!(refused, StoreError::InUse { pid: Some(pid), .. } if pid == std::process::id()),
            "{text}"
        );
        assert!(text.contains(&folder.path().display().to_string()), "{text}");
        drop(store);
        engine.open(folder.path()).unwrap();
    }
}

#[tokio::test]
async fn a_store_that_was_set_up_never_starts_empty() {
    for engine in ENGINES {
        type Damage = fn(&Path, Kind);
        let cases: [(&str, Damage); 3] = [
            ("the folder is gone", |dir, _| fs::remove_dir_all(dir.join("store")).unwrap()),
            ("the database is gone", |dir, engine| fs::remove_file(dir.join(engine.file)).unwrap()),
            ("the database is empty", |dir, engine| fs::write(dir.join(engine.file), b"").unwrap()),
        ];
        for (name, damage) in cases {
            let folder = tempfile::tempdir().unwrap();
            add(&engine.open(folder.path()).unwrap(), "1").await;
            damage(folder.path(), engine);
            for _ in 0..2 {
                let refused = engine.open(folder.path()).map(drop).unwrap_err();
                assert!(matches!(refused, StoreError::Missing { .. }), "{name}: {refused}");
                assert!(refused.to_string().contains("valetkey vault restore"), "{refused}");
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_database_is_refused_and_names_the_folder() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        {
            let store = engine.open(folder.path()).unwrap();
            for n in 0..50 {
                add(&store, &n.to_string()).await;
            }
        }
        let path = folder.path().join(engine.file);
        let mut bytes = fs::read(&path).unwrap();
        let length = bytes.len();
        bytes[..length / 2].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        let refused = engine.open(folder.path()).map(drop).unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, StoreError::Corrupt { .. } | StoreError::Missing { .. }), "{text}");
        assert!(text.contains("restore") && text.contains(&folder.path().display().to_string()), "{text}");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_recovers() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let (store, disk) = engine.on_bad_disk(folder.path());
        add(&store, "1").await;
        disk.full.store(true, Ordering::SeqCst);
        assert!(matches!(insert(&store, "2").await, Err(StoreError::Full)));
        assert!(store.get::<Note>("1").await.unwrap().is_some(), "reading goes on");
        assert!(store.get::<Note>("2").await.unwrap().is_none());
        assert!(!store.failed());
        disk.full.store(false, Ordering::SeqCst);
        add(&store, "2").await;
    }
}

#[tokio::test]
async fn a_failed_sync_latches_and_what_it_wrote_is_never_seen() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let (store, disk) = engine.on_bad_disk(folder.path());
        add(&store, "1").await;
        assert!(store.get::<Note>("1").await.unwrap().is_some(), "it is read, and remembered");
        disk.sync_fails.store(true, Ordering::SeqCst);
        assert!(matches!(insert(&store, "2").await, Err(StoreError::Failed)));
        tokio::time::timeout(Duration::from_secs(1), store.failed_signal()).await.unwrap();
        disk.sync_fails.store(false, Ordering::SeqCst);
        assert!(matches!(insert(&store, "3").await, Err(StoreError::Failed)), "it stays latched");
        for id in ["1", "2"] {
            assert!(
                matches!(store.get::<Note>(id).await, Err(StoreError::Failed)),
                "nothing is read any more"
            );
        }
        assert!(matches!(store.sync().await, Err(StoreError::Failed)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_invisible_until_it_is_durable() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let (store, disk) = engine.on_bad_disk(folder.path());
        add(&store, "1").await;
        disk.slow_ms.store(300, Ordering::SeqCst);
        let writer = store.clone();
        let syncs = disk.syncs.load(Ordering::SeqCst);
        let writing = tokio::spawn(async move {
            let old = writer.get::<Note>("1").await.unwrap().unwrap();
            let mut tx = Tx::new();
            tx.update(&old, &Note { count: 7, ..note("1", "bob") }).insert(&note("2", "ann"));
            writer.commit(tx).await
        });
        while disk.syncs.load(Ordering::SeqCst) == syncs {
            tokio::task::yield_now().await;
        }
        assert_eq!(store.get::<Note>("1").await.unwrap().unwrap().count, 0);
        assert!(store.get::<Note>("2").await.unwrap().is_none());
        assert_eq!(store.page::<Note>(None, 10).await.unwrap().len(), 1);
        assert_eq!(store.find::<Note>("owner", "ann").await.unwrap().len(), 1);
        assert!(store.find::<Note>("owner", "bob").await.unwrap().is_empty());
        assert_eq!(writing.await.unwrap().unwrap(), Committed::Done);
        assert_eq!(store.get::<Note>("1").await.unwrap().unwrap().count, 7);
        assert_eq!(store.page::<Note>(None, 10).await.unwrap().len(), 2);
        assert_eq!(store.find::<Note>("owner", "bob").await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn many_commits_share_a_sync() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let (store, disk) = engine.on_bad_disk(folder.path());
        disk.slow_ms.store(5, Ordering::SeqCst);
        let ids: Vec<String> = (0..200).map(|n| n.to_string()).collect();
        let all = futures_util::future::join_all(ids.iter().map(|id| insert(&store, id))).await;
        assert!(all.into_iter().all(|result| matches!(result, Ok(Committed::Done))));
        // A busy machine hands them over in several goes.
        assert!(disk.syncs.load(Ordering::SeqCst) < 100, "{}", disk.syncs.load(Ordering::SeqCst));
    }
}

/// Runs in a process of its own, until it is killed: commits notes and prints each id when it is durable.
#[test]
#[ignore = "the child of the next test"]
fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var("VALETKEY_TEST_STORE") else { return };
    let engine = if std::env::var("VALETKEY_TEST_ENGINE").as_deref() == Ok("redb") { REDB } else { SLED };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = engine.open(Path::new(&dir)).unwrap();
        let start = store.page::<Note>(None, 100_000).await.unwrap().len();
        for round in 0.. {
            let ids: Vec<String> = (0..5).map(|n| format!("{:08}", start + round * 5 + n)).collect();
            for result in futures_util::future::join_all(ids.iter().map(|id| insert(&store, id))).await {
                assert_eq!(result.unwrap(), Committed::Done);
            }
            for id in ids {
                println!("durable {id}");
            }
        }
    });
}

#[test]
fn no_acknowledged_write_is_lost_by_kill_9_and_a_second_process_is_refused() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let mut acknowledged = Vec::new();
        for round in 0..4u64 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "disk::child_that_writes_until_it_is_killed", "--ignored", "--nocapture"])
                .env("VALETKEY_TEST_STORE", folder.path())
                .env("VALETKEY_TEST_ENGINE", engine.name)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
            let mut read = |line: String| {
                if let Some(id) = line.split("durable ").nth(1) {
                    acknowledged.push(id.to_owned());
                }
            };
            lines.by_ref().take(20 + 17 * usize::try_from(round).unwrap()).for_each(&mut read);
            let refused = engine.open(folder.path()).map(drop).unwrap_err();
            assert!(
                matches!(refused, StoreError::InUse { pid: Some(pid), .. } if pid == child.id()),
                "{refused}"
            );
            child.kill().unwrap();
            child.wait().unwrap();
            lines.for_each(&mut read);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let backend = engine.backend(folder.path()).unwrap();
            for id in &acknowledged {
                let key = format!("r/note/{id}");
                assert!(backend.get(key.as_bytes()).await.unwrap().is_some(), "note {id} was lost");
                let entry = backend.scan(b"x/note/owner/3:ann/", None, 100_000).await.unwrap();
                assert!(
                    entry.iter().any(|(key, _)| key.ends_with(id.as_bytes())),
                    "the index of {id} was lost"
                );
            }
        });
        assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    }
}

#[tokio::test]
async fn a_folder_set_up_with_one_engine_says_so_to_the_other() {
    for (first, second) in [(SLED, REDB), (REDB, SLED)] {
        let folder = tempfile::tempdir().unwrap();
        add(&first.open(folder.path()).unwrap(), "1").await;
        let refused = second.open(folder.path()).map(drop).unwrap_err().to_string();
        assert!(refused.contains(first.name) && refused.contains("vault migrate"), "{refused}");
        let store = first.open(folder.path()).unwrap();
        assert_eq!(store.page::<Note>(None, 10).await.unwrap().len(), 1, "nothing was changed");
    }
    // Folders of the first release name no engine: it was sled.
    let folder = tempfile::tempdir().unwrap();
    add(&SLED.open(folder.path()).unwrap(), "1").await;
    let mark = folder.path().join("store.initialised");
    let text = fs::read_to_string(&mark).unwrap();
    fs::write(&mark, text.replace("Engine: sled\n", "")).unwrap();
    assert!(matches!(REDB.open(folder.path()).map(drop), Err(StoreError::OtherEngine { .. })));
    SLED.open(folder.path()).unwrap();
}

fn put(key: &str, value: Option<&str>) -> Batch {
    let bytes = |text: &str| bytes::Bytes::copy_from_slice(text.as_bytes());
    Batch { expect: Vec::new(), write: vec![(bytes(key), value.map(bytes))] }
}

#[tokio::test]
async fn an_older_copy_of_the_stores_files_is_refused_and_so_is_a_lost_record() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        add(&engine.open(folder.path()).unwrap(), "1").await;
        let older = fs::read(folder.path().join(engine.file)).unwrap();
        add(&engine.open(folder.path()).unwrap(), "2").await;
        fs::write(folder.path().join(engine.file), older).unwrap();
        let refused = engine.open(folder.path()).map(drop).unwrap_err();
        assert!(matches!(refused, StoreError::Corrupt { .. }), "{} {refused}", engine.name);

        // An engine that loses one record of a store that is whole otherwise.
        let folder = tempfile::tempdir().unwrap();
        let tally = {
            let backend = engine.backend(folder.path()).unwrap();
            let _ = backend.commit(put("r/note/1", Some("a"))).await.unwrap();
            let tally = backend.get(b"m/tally").await.unwrap().unwrap();
            let _ = backend.commit(put("r/note/1", None)).await.unwrap();
            tally
        };
        rewrite(engine, folder.path(), Some(&tally));
        let refused = engine.open(folder.path()).map(drop).unwrap_err().to_string();
        assert!(refused.contains("entries") && refused.contains("restore"), "{} {refused}", engine.name);
    }
}

/// Puts another tally into a store, or none, behind its back.
fn rewrite(engine: Kind, dir: &Path, tally: Option<&[u8]>) {
    fs::remove_file(dir.join("store.generation")).unwrap();
    if engine.name == "sled" {
        let db = sled::open(dir.join("store")).unwrap();
        match tally {
            Some(tally) => db.insert("m/tally", tally).unwrap(),
            None => db.remove("m/tally").unwrap(),
        };
        db.flush().unwrap();
        return;
    }
    let db = redb::Database::open(dir.join(engine.file)).unwrap();
    let write = db.begin_write().unwrap();
    {
        let mut table = write.open_table(redb::TableDefinition::<&[u8], &[u8]>::new("entries")).unwrap();
        let key = b"m/tally".as_slice();
        match tally {
            Some(tally) => table.insert(key, tally).unwrap(),
            None => table.remove(key).unwrap(),
        };
    }
    write.commit().unwrap();
}

#[tokio::test]
async fn a_store_from_before_there_were_tallies_gets_one() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        add(&engine.open(folder.path()).unwrap(), "1").await;
        rewrite(engine, folder.path(), None);
        for _ in 0..2 {
            let store = engine.open(folder.path()).unwrap();
            assert_eq!(store.page::<Note>(None, 10).await.unwrap().len(), 1);
        }
    }
}
