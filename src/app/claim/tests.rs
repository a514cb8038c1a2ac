//! Two processes and one name, over a database in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::RwLock;

use super::*;
use crate::kernel::entropy::SystemEntropy;
use crate::store::backend::Page;
use crate::store::{Backend, FolderLock, MemoryBackend};
use crate::vault::{RootKey, Vault, create_key_file};

/// A machine with a broker's data folder, and the database.
struct Machine {
    folder: tempfile::TempDir,
    keys: Arc<SharedKeys>,
}

impl Machine {
    fn new() -> Self {
        Self::over(Arc::new(MemoryBackend::new()))
    }

    fn over(database: Arc<dyn Backend>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (root, data) = (folder.path().join("root.key"), folder.path().join("data"));
        create_key_file(&root, &SystemEntropy::default()).unwrap();
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
        let vault = Arc::new(Vault::create(&data, &RootKey::KeyFile(root), entropy).unwrap());
        let (text, lock) = (vault.keyring_text().unwrap(), FolderLock::take(&data).unwrap());
        let keys = SharedKeys::new(database, vault, text.into(), &data, lock);
        Self { folder, keys: Arc::new(keys) }
    }

    /// A process that starts here.
    fn process(&self) -> Inner {
        let entropy = Arc::new(SystemEntropy::default());
        Inner::new(Arc::clone(&self.keys), entropy, "node", &self.folder.path().join("data"))
    }

    async fn there(&self, inner: &Inner) -> Bytes {
        self.keys.get(&inner.key).await.unwrap().unwrap()
    }

    async fn put(&self, inner: &Inner, text: Option<Bytes>) {
        let batch = Batch { expect: Vec::new(), write: vec![(inner.key.clone(), text)] };
        assert_eq!(self.keys.commit(batch).await.unwrap(), Committed::Done);
    }
}

/// The same process once more, with all that its memory holds and a disk of its own.
async fn cloned(of: &Inner) -> (Inner, tempfile::TempDir) {
    let disk = tempfile::tempdir().unwrap();
    let _ = fs::copy(of.data_dir.join(FILE), disk.path().join(FILE));
    let twin = Inner {
        on: Arc::clone(&of.on),
        entropy: Arc::clone(&of.entropy),
        key: of.key.clone(),
        data_dir: disk.path().to_owned(),
        place: of.place.clone(),
        holder: of.holder.clone(),
        held: Mutex::new(of.held.lock().await.clone()),
        lost: Latch::default(),
    };
    (twin, disk)
}

#[tokio::test]
async fn of_a_process_and_its_clone_with_the_same_memory_exactly_one_goes_on() {
    for first in ["the process", "its clone"] {
        let machine = Machine::new();
        let process = machine.process();
        process.take("node").await.unwrap();
        assert!(process.renew().await.unwrap());
        let (twin, _disk) = cloned(&process).await;
        let (one, other) = if first == "its clone" { (&twin, &process) } else { (&process, &twin) };
        assert!(one.renew().await.unwrap(), "{first}");
        assert!(!other.renew().await.unwrap(), "{first} was first");
        for _ in 0..3 {
            assert!(one.renew().await.unwrap(), "{first}");
        }
        // What is lost takes nothing along when it ends.
        assert!(!other.release().await.unwrap());
        assert!(one.renew().await.unwrap());
    }
}

#[tokio::test]
async fn a_clone_that_starts_anew_is_refused_while_the_other_renews() {
    let machine = Machine::new();
    let process = machine.process();
    process.take("node").await.unwrap();
    let (twin, disk) = cloned(&process).await;
    assert!(process.renew().await.unwrap());
    let mut restarted = machine.process();
    restarted.data_dir = disk.path().to_owned();
    assert_eq!(restarted.place, twin.place, "a cloned machine is the same place");
    let renewing = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(process.renew().await.unwrap());
        }
    };
    let refused = tokio::select! {
        refused = restarted.take("node") => refused,
        () = renewing => Ok(()),
    };
    assert!(matches!(refused, Err(ServeError::Claimed { .. })));
}

#[tokio::test]
async fn a_process_that_was_killed_has_its_name_back_at_once_also_amid_a_renewal() {
    for is_answered in [true, false] {
        let machine = Machine::new();
        let killed = machine.process();
        killed.take("node").await.unwrap();
        let before = machine.there(&killed).await;
        assert!(killed.renew().await.unwrap());
        if !is_answered {
            // Noted, and not carried out.
            machine.put(&killed, Some(before)).await;
        }
        let next = machine.process();
        let taken = tokio::time::timeout(Duration::from_secs(8), next.take("node")).await;
        taken.expect("it does not wait for a lease").unwrap();
    }
}

#[tokio::test]
async fn a_database_that_was_put_back_and_a_lost_answer_cost_nobody_the_name() {
    let machine = Machine::new();
    let process = machine.process();
    process.take("node").await.unwrap();
    let old = machine.there(&process).await;
    for _ in 0..3 {
        assert!(process.renew().await.unwrap());
    }
    for back in [Some(old), None] {
        machine.put(&process, back).await;
        assert!(process.renew().await.unwrap() && process.renew().await.unwrap());
    }
    // A renewal that was carried out, and whose answer was lost.
    let before = process.held.lock().await.clone();
    assert!(process.renew().await.unwrap());
    let tried = Some(machine.there(&process).await);
    *process.held.lock().await = Held { tried, ..before };
    assert!(process.renew().await.unwrap() && process.renew().await.unwrap());
    assert!(process.release().await.unwrap());
    assert!(machine.keys.get(&process.key).await.unwrap().is_none());
}

/// A database that carries commits out though nobody waits for them any more, while the gate is open, and lets another's
/// write slip in before one that expects nothing there.
#[derive(Default)]
struct Distant {
    database: Arc<MemoryBackend>,
    gate: Arc<RwLock<()>>,
    arrived: AtomicUsize,
    slips_in: Mutex<Option<Batch>>,
}

impl Backend for Distant {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        self.database.get(key)
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.database.scan(prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        let (database, gate) = (Arc::clone(&self.database), Arc::clone(&self.gate));
        Box::pin(async move {
            if batch.expect.iter().any(|(_, expect)| *expect == Expect::Absent)
                && let Some(other) = self.slips_in.lock().await.take()
            {
                let _ = database.commit(other).await?;
            }
            let carried_out = tokio::spawn(async move {
                let _passed = gate.read().await;
                database.commit(batch).await
            });
            carried_out.await.unwrap()
        })
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.database.sync()
    }

    fn failed(&self) -> bool {
        false
    }

    fn failed_signal(&self) -> BoxFuture<'_, ()> {
        self.database.failed_signal()
    }
}

#[tokio::test]
async fn a_name_is_given_back_though_a_renewal_is_broken_off_on_its_way() {
    let database = Arc::new(Distant::default());
    let machine = Machine::over(Arc::clone(&database) as Arc<dyn Backend>);
    let process = Arc::new(machine.process());
    process.take("node").await.unwrap();
    let (before, arrived) = (machine.there(&process).await, database.arrived.load(Ordering::SeqCst));

    let closed = database.gate.write().await;
    let renewing = Arc::clone(&process);
    let renewing = tokio::spawn(async move { renewing.renew().await });
    while database.arrived.load(Ordering::SeqCst) == arrived {
        tokio::task::yield_now().await;
    }
    // The commit goes to its task with the next turn.
    tokio::task::yield_now().await;
    renewing.abort();
    assert!(renewing.await.unwrap_err().is_cancelled());
    drop(closed);
    while machine.there(&process).await == before {
        tokio::task::yield_now().await;
    }
    assert!(process.release().await.unwrap());
    assert!(machine.keys.get(&process.key).await.unwrap().is_none());
}

#[tokio::test]
async fn whoever_takes_the_name_between_a_look_and_a_write_is_noticed() {
    let database = Arc::new(Distant::default());
    let machine = Machine::over(Arc::clone(&database) as Arc<dyn Backend>);
    let process = machine.process();
    process.take("node").await.unwrap();
    let (twin, _disk) = cloned(&process).await;
    // The database is put back, and the clone is quicker.
    machine.put(&process, None).await;
    let write = vec![(twin.key.clone(), Some(twin.text(9)))];
    *database.slips_in.lock().await = Some(Batch { expect: Vec::new(), write });
    assert!(!process.renew().await.unwrap());
}
