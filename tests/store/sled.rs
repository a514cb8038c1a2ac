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
use valetkey::store::{Backend, Committed, SledBackend, Store, StoreError, Tx};

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

fn open(dir: &Path) -> Result<Store, StoreError> {
    Ok(Store::new(Arc::new(SledBackend::open(dir, 0)?), vault()))
}

fn on_bad_disk(dir: &Path) -> (Store, Arc<BadDisk>) {
    let disk = Arc::new(BadDisk::default());
    let backend = SledBackend::open_on(disk.clone(), dir, 4096).unwrap();
    (Store::new(Arc::new(backend), vault()), disk)
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
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let store = open(folder.path()).unwrap();
        assert_eq!(store.page::<Note>(None, 10).await.unwrap().len(), round);
        add(&store, &round.to_string()).await;
    }
}

#[tokio::test]
async fn only_the_owner_can_read_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    add(&open(&dir).unwrap(), "1").await;
    fs::set_permissions(dir.join("store/db"), fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&dir).unwrap());
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
    let _store = open(&dir).unwrap();
    check(&dir);
}

#[tokio::test]
async fn a_second_opener_is_told_the_folders_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    let refused = open(folder.path()).map(drop).unwrap_err();
    let text = refused.to_string();
    assert!(
        matches!(refused, StoreError::InUse { pid: Some(pid), .. } if pid == std::process::id()),
        "{text}"
    );
    assert!(text.contains(&folder.path().display().to_string()), "{text}");
    drop(store);
    open(folder.path()).unwrap();
}

#[tokio::test]
async fn a_store_that_was_set_up_never_starts_empty() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 3] = [
        ("the folder is gone", |dir| fs::remove_dir_all(dir.join("store")).unwrap()),
        ("the database is gone", |dir| fs::remove_file(dir.join("store/db")).unwrap()),
        ("the database is empty", |dir| fs::write(dir.join("store/db"), b"").unwrap()),
    ];
    for (name, damage) in cases {
        let folder = tempfile::tempdir().unwrap();
        add(&open(folder.path()).unwrap(), "1").await;
        damage(folder.path());
        for _ in 0..2 {
            let refused = open(folder.path()).map(drop).unwrap_err();
            assert!(matches!(refused, StoreError::Missing { .. }), "{name}: {refused}");
            assert!(refused.to_string().contains("valetkey vault restore"), "{refused}");
        }
    }
}

#[tokio::test]
async fn a_damaged_database_is_refused_and_names_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = open(folder.path()).unwrap();
        for n in 0..50 {
            add(&store, &n.to_string()).await;
        }
    }
    let path = folder.path().join("store/db");
    let mut bytes = fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[..length / 2].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let refused = open(folder.path()).map(drop).unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, StoreError::Corrupt { .. } | StoreError::Missing { .. }), "{text}");
    assert!(text.contains("restore") && text.contains(&folder.path().display().to_string()), "{text}");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let (store, disk) = on_bad_disk(folder.path());
    add(&store, "1").await;
    disk.full.store(true, Ordering::SeqCst);
    assert!(matches!(insert(&store, "2").await, Err(StoreError::Full)));
    assert!(store.get::<Note>("1").await.unwrap().is_some(), "reading goes on");
    assert!(store.get::<Note>("2").await.unwrap().is_none());
    assert!(!store.failed());
    disk.full.store(false, Ordering::SeqCst);
    add(&store, "2").await;
}

#[tokio::test]
async fn a_failed_sync_latches_and_what_it_wrote_is_never_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (store, disk) = on_bad_disk(folder.path());
    add(&store, "1").await;
    assert!(store.get::<Note>("1").await.unwrap().is_some(), "it is read, and remembered");
    disk.sync_fails.store(true, Ordering::SeqCst);
    assert!(matches!(insert(&store, "2").await, Err(StoreError::Failed)));
    tokio::time::timeout(Duration::from_secs(1), store.failed_signal()).await.unwrap();
    disk.sync_fails.store(false, Ordering::SeqCst);
    assert!(matches!(insert(&store, "3").await, Err(StoreError::Failed)), "it stays latched");
    for id in ["1", "2"] {
        assert!(matches!(store.get::<Note>(id).await, Err(StoreError::Failed)), "nothing is read any more");
    }
    assert!(matches!(store.sync().await, Err(StoreError::Failed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_invisible_until_it_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let (store, disk) = on_bad_disk(folder.path());
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

#[tokio::test]
async fn many_commits_share_a_sync() {
    let folder = tempfile::tempdir().unwrap();
    let (store, disk) = on_bad_disk(folder.path());
    disk.slow_ms.store(5, Ordering::SeqCst);
    let ids: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let all = futures_util::future::join_all(ids.iter().map(|id| insert(&store, id))).await;
    assert!(all.into_iter().all(|result| matches!(result, Ok(Committed::Done))));
    assert!(disk.syncs.load(Ordering::SeqCst) < 20, "{}", disk.syncs.load(Ordering::SeqCst));
}

/// Runs in a process of its own, until it is killed: commits notes and prints each id when it is durable.
#[test]
#[ignore = "the child of the next test"]
fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var("VALETKEY_TEST_STORE") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(Path::new(&dir)).unwrap();
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
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..4u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sled::child_that_writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env("VALETKEY_TEST_STORE", folder.path())
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
        let refused = open(folder.path()).map(drop).unwrap_err();
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
        let backend = SledBackend::open(folder.path(), 0).unwrap();
        for id in &acknowledged {
            let key = format!("r/note/{id}");
            assert!(backend.get(key.as_bytes()).await.unwrap().is_some(), "note {id} was lost");
            let entry = backend.scan(b"x/note/owner/3:ann/", None, 100_000).await.unwrap();
            assert!(entry.iter().any(|(key, _)| key.ends_with(id.as_bytes())), "the index of {id} was lost");
        }
    });
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
}
