//! Two processes and one name, over a database in memory.

use super::*;
use crate::kernel::entropy::SystemEntropy;
use crate::store::{FolderLock, MemoryBackend};
use crate::vault::{RootKey, Vault, create_key_file};

/// A machine with a broker's data folder, and the database.
struct Machine {
    folder: tempfile::TempDir,
    keys: Arc<SharedKeys>,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (root, data) = (folder.path().join("root.key"), folder.path().join("data"));
        create_key_file(&root, &SystemEntropy::default()).unwrap();
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
        let vault = Arc::new(Vault::create(&data, &RootKey::KeyFile(root), entropy).unwrap());
        let (text, lock) = (vault.keyring_text().unwrap(), FolderLock::take(&data).unwrap());
        let keys = SharedKeys::new(Arc::new(MemoryBackend::new()), vault, text.into(), &data, lock);
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
        other.release().await.unwrap();
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
    process.release().await.unwrap();
    assert!(machine.keys.get(&process.key).await.unwrap().is_none());
}
