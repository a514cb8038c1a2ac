//! Keys are rotated while several nodes use one database, and none of them is started anew.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use valetkey::audit::AuditLog;
use valetkey::custody::backup::{Backup, BackupError, Sealing};
use valetkey::custody::rotation::Progress;
use valetkey::custody::shared_keys::{KEYRING, SharedKeys, published};
use valetkey::custody::{Custody, CustodyError, SETTLE};
use valetkey::kernel::clock::{ManualClock, Timestamp};
use valetkey::kernel::entropy::{Entropy, SystemEntropy};
use valetkey::model::connection::{Connection, StrayToken};
use valetkey::model::rotation::Rotation;
use valetkey::model::sealed::{Context, Sealed, Sealer as _};
use valetkey::store::{
    Backend, Batch, Committed, Expect, FolderLock, PostgresBackend, Store, StoreError, Tx, Updated,
};
use valetkey::vault::{KEYRING_FILE, RootKey, Vault, create_key_file, named_term};

use crate::backup::{beside, many_notes, notes, restore, taken};
use crate::cluster::{Database, cluster};
use crate::disk::REDB;
use crate::rotation::{Place, Seed, all_read_back};
use crate::{Note, note};

/// Several nodes' folders, and their database.
struct Nodes {
    database: Database,
    folder: tempfile::TempDir,
    raw: Arc<PostgresBackend>,
}

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy::default())
}

impl Nodes {
    async fn new() -> Self {
        let (database, folder) = (cluster().fresh(), tempfile::tempdir().unwrap());
        let raw = database.open().unwrap();
        let nodes = Self { database, folder, raw };
        create_key_file(&nodes.folder.path().join("root.key"), entropy().as_ref()).unwrap();
        let first = Vault::create(&nodes.dir("first"), &nodes.root(), entropy()).unwrap();
        let batch = published(None, first.keyring_text().unwrap().into(), 1);
        assert_eq!(nodes.raw.commit(batch).await.unwrap(), Committed::Done);
        nodes
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn root(&self) -> RootKey {
        RootKey::KeyFile(self.folder.path().join("root.key"))
    }

    async fn keyring(&self) -> String {
        String::from_utf8(self.raw.get(KEYRING).await.unwrap().unwrap().to_vec()).unwrap()
    }

    /// A node that starts, with nothing but the root key if its folder is new.
    async fn node(&self, name: &str) -> Place {
        let (data, text) = (self.dir(name), self.keyring().await);
        let folder = FolderLock::take(&data).unwrap();
        let own = std::fs::read_to_string(data.join(KEYRING_FILE)).ok();
        let vault = Vault::open_shared(&data, &text, own.as_deref(), &self.root(), entropy()).unwrap();
        let vault = Arc::new(vault);
        let backend = self.database.open().unwrap();
        let keys = Arc::new(SharedKeys::new(backend, vault.clone(), text.into(), &data, folder));
        let backend: Arc<dyn Backend> = keys.clone();
        let store = Store::new(backend.clone(), vault.clone());
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
        let log = data.join("audit");
        let signer = vault.audit_signer().of_node(name);
        let audit =
            AuditLog::open(&log, signer, vault.deployment().clone(), clock.clone(), entropy(), 0).unwrap();
        let custody =
            Custody::new(store.clone(), vault.clone(), audit, clock.clone(), entropy(), data, Some(keys));
        Place { vault, backend, store, custody, clock }
    }

    /// The term that a record lies under.
    async fn term_of(&self, key: &str) -> Option<u32> {
        named_term(&self.raw.get(key.as_bytes()).await.unwrap().unwrap())
    }
}

/// How often a node's log says that terms were retired.
fn retirements(data: &Path) -> usize {
    let files = std::fs::read_dir(data.join("audit")).unwrap().map(|file| file.unwrap().path());
    let text = |path: PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    files.map(|path| text(path).matches("\"vault.terms_retired\"").count()).sum()
}

fn terms(place: &Place) -> Vec<u32> {
    place.vault.terms().iter().map(|term| term.term).collect()
}

async fn insert(place: &Place, id: &str) {
    let mut tx = Tx::new();
    tx.insert(&note(id, "ann"));
    assert_eq!(place.store.commit(tx).await.unwrap(), Committed::Done);
}

async fn owner(place: &Place, id: &str) -> String {
    place.store.get::<Note>(id).await.unwrap().unwrap().owner.clone()
}

#[tokio::test]
async fn a_term_that_one_node_makes_is_read_and_written_by_the_others_at_once() {
    let nodes = Nodes::new().await;
    let (one, other) = (nodes.node("first").await, nodes.node("second").await);
    insert(&one, "before").await;
    assert_eq!(owner(&other, "before").await, "ann");
    assert_eq!(one.custody.rotate("an admin").await.unwrap(), 2);
    insert(&one, "after").await;
    assert_eq!(nodes.term_of("r/note/after").await, Some(2));

    assert_eq!(terms(&other), [1]);
    assert_eq!(owner(&other, "after").await, "ann");
    assert_eq!(terms(&other), [1, 2], "taken over when it was needed");
    insert(&other, "there").await;
    assert_eq!((nodes.term_of("r/note/there").await, owner(&one, "there").await.as_str()), (Some(2), "ann"));
    // No request waits for the disk: the worker writes the folder's copy.
    assert!(!nodes.dir("second").join(KEYRING_FILE).exists());
    for node in [&one, &other] {
        node.custody.walk_on().await.unwrap();
    }
    let copy = |name: &str| std::fs::read_to_string(nodes.dir(name).join(KEYRING_FILE)).unwrap();
    assert_eq!(copy("first"), nodes.keyring().await);
    assert_eq!(copy("second"), nodes.keyring().await);
    assert!(matches!(other.custody.rotate("an admin").await, Err(CustodyError::UnderWay)));

    // The disk of the node that made the term is lost: nothing that it sealed is.
    drop(one);
    std::fs::remove_dir_all(nodes.dir("first")).unwrap();
    assert_eq!(owner(&nodes.node("new").await, "after").await, "ann");
}

/// A damaged value, and one of a term that another node has just made.
#[tokio::test]
async fn a_term_that_nobody_has_keeps_no_other_from_being_found() {
    let nodes = Nodes::new().await;
    let (one, other) = (nodes.node("first").await, nodes.node("second").await);
    insert(&one, "damaged").await;
    let mut raw = nodes.raw.get(b"r/note/damaged").await.unwrap().unwrap().to_vec();
    raw[2..6].copy_from_slice(&99_u32.to_be_bytes());
    assert_eq!(named_term(&raw), Some(99));
    let write = vec![("r/note/damaged".into(), Some(raw.into()))];
    assert_eq!(nodes.raw.commit(Batch { expect: Vec::new(), write }).await.unwrap(), Committed::Done);
    assert!(other.store.get::<Note>("damaged").await.is_err(), "asked for in vain");
    one.custody.rotate("an admin").await.unwrap();
    insert(&one, "after").await;
    assert_eq!(owner(&other, "after").await, "ann", "asked for all the same");
}

#[tokio::test]
async fn a_node_that_never_looked_writes_nothing_under_a_term_that_was_retired_meanwhile() {
    let nodes = Nodes::new().await;
    let (one, late) = (nodes.node("first").await, nodes.node("late").await);
    let plain = Seed::all(&one).await;
    insert(&one, "old").await;
    let old = late.store.get::<Note>("old").await.unwrap().unwrap();
    // It has a provider's answer in its hands, sealed, when it is suspended.
    let id = plain.keys().find(|(kind, _)| *kind == "connection").unwrap().1.clone();
    let connection = late.store.get::<Connection>(&id).await.unwrap().unwrap();
    let stray_id = format!("{}/late", connection.id);
    let context = StrayToken::context(&stray_id);
    let stray_token = late.vault.seal(context, b"a refresh token");

    one.custody.rotate("an admin").await.unwrap();
    one.rotated().await;
    assert_eq!((terms(&one), terms(&late)), (vec![2], vec![1]));

    insert(&late, "new").await;
    let mut tx = Tx::new();
    tx.update(&old, &Note { owner: "bob".to_owned(), ..old.record().clone() });
    let was_resealed = late.store.commit(tx).await.unwrap();
    assert_eq!(was_resealed, Committed::Conflict, "the walk has written it anew since it was read");
    let bobs = |n: &Note| Ok::<_, ()>(Some(Note { owner: "bob".to_owned(), ..n.clone() }));
    late.store.update::<Note, ()>("old", bobs).await.unwrap();
    let stray: StrayToken = serde_json::from_value(json!({
        "connection": connection.id, "attempt": "late", "refresh_token": String::from(stray_token), "at": 1,
    }))
    .unwrap();
    let mut tx = Tx::new();
    tx.insert(&stray);
    assert_eq!(late.store.commit(tx).await.unwrap(), Committed::Done);

    // One that has never had the old term reads everything.
    drop(late);
    let fresh = nodes.node("fresh").await;
    assert_eq!(terms(&fresh), [2]);
    assert_eq!((owner(&fresh, "new").await.as_str(), owner(&fresh, "old").await.as_str()), ("ann", "bob"));
    let stray = fresh.store.get::<StrayToken>(&stray_id).await.unwrap().unwrap();
    assert_eq!(fresh.vault.open(context, &stray.refresh_token).unwrap().expose(), b"a refresh token");
    all_read_back(&fresh, &plain).await;
    assert_eq!(fresh.custody.count().await.unwrap().remaining(), 0);
}

/// What a change is answered with names what lies there, or the next change under that name is refused.
#[tokio::test]
async fn a_record_that_was_sealed_anew_on_its_way_is_named_as_it_lies_there() {
    let nodes = Nodes::new().await;
    let (one, late) = (nodes.node("first").await, nodes.node("late").await);
    insert(&one, "old").await;
    one.custody.rotate("an admin").await.unwrap();
    assert_eq!(terms(&late), [1]);
    let bobs = |n: &Note| Ok::<_, ()>(Some(Note { owner: "bob".to_owned(), ..n.clone() }));
    let Updated::Changed(changed) = late.store.update::<Note, ()>("old", bobs).await.unwrap() else {
        panic!("it was changed");
    };
    assert_eq!((nodes.term_of("r/note/old").await, changed.owner.as_str()), (Some(2), "bob"));
    let there = one.store.get::<Note>("old").await.unwrap().unwrap();
    assert_eq!(changed.version(), there.version());
    assert_eq!(late.store.get::<Note>("old").await.unwrap().unwrap().version(), there.version());
    let mut tx = Tx::new();
    tx.update(&changed, &Note { owner: "ann".to_owned(), ..changed.record().clone() });
    assert_eq!(late.store.commit(tx).await.unwrap(), Committed::Done);
}

#[tokio::test]
async fn a_commit_that_was_sealed_long_ago_is_sealed_anew_and_one_that_cannot_be_is_not_carried_out() {
    let nodes = Nodes::new().await;
    let (one, late) = (nodes.node("first").await, nodes.node("late").await);
    let context = |id| Context { kind: "note", id, field: "record", generation: 0 };
    let sealed = |vault: &Vault, id: &'static str| {
        let record = vault.seal(context(id), json!(note(id, "ann")).to_string().as_bytes());
        let write =
            vec![(Bytes::from(format!("r/note/{id}")), Some(Bytes::copy_from_slice(record.as_bytes())))];
        Batch { expect: vec![(Bytes::from(format!("r/note/{id}")), Expect::Absent)], write }
    };
    let (first, second) = (sealed(&late.vault, "1"), sealed(&late.vault, "2"));
    one.custody.rotate("an admin").await.unwrap();
    one.rotated().await;
    assert_eq!(late.backend.commit(first.clone()).await.unwrap(), Committed::Done);
    assert_eq!((nodes.term_of("r/note/1").await, owner(&one, "1").await.as_str()), (Some(2), "ann"));
    assert_eq!(late.backend.commit(first).await.unwrap(), Committed::Conflict, "it is there by now");

    // The root key was changed meanwhile: what it would need does not open there.
    let other =
        RootKey::passphrase(valetkey::kernel::secret::SecretString::new("a passphrase of words".to_owned()));
    let text = nodes.keyring().await;
    let place = nodes.dir("first").join(KEYRING_FILE);
    let next = Vault::rewrapped(&place, &text, &nodes.root(), &other, entropy().as_ref()).unwrap();
    let rekeyed = published(Some(text.into()), next.clone().into(), 3);
    assert_eq!(nodes.raw.commit(rekeyed).await.unwrap(), Committed::Done);
    assert!(matches!(late.backend.commit(second).await, Err(StoreError::Unreachable { .. })));
    assert!(nodes.raw.get(b"r/note/2").await.unwrap().is_none());
    assert_eq!(owner(&late, "1").await, "ann", "it goes on reading");
    assert!(matches!(one.custody.rotate("an admin").await, Err(CustodyError::OtherRootKey)));
    assert_eq!(nodes.keyring().await, next, "what was wrapped anew is not written over");
}

#[tokio::test]
async fn another_node_goes_on_with_a_rotation_whose_node_was_killed() {
    let nodes = Nodes::new().await;
    let (one, other) = (nodes.node("first").await, nodes.node("second").await);
    let plain = Seed::all(&one).await;
    for n in 0..600 {
        insert(&one, &format!("{n:04}")).await;
    }
    one.custody.rotate("an admin").await.unwrap();
    for _ in ["the count", "a part of the walk"] {
        assert_eq!(one.custody.walk_on().await.unwrap(), Progress::More);
    }
    let walked = one.custody.status().await.unwrap().rotation.unwrap();
    assert!(walked.cursor.is_some() && walked.walked < 600, "{walked:?}");
    assert!(matches!(other.custody.walk_on().await.unwrap(), Progress::Later(_)), "that one is at it");
    assert_eq!(terms(&other), [1, 2]);
    drop(one);

    assert!(matches!(other.custody.walk_on().await.unwrap(), Progress::Later(_)));
    other.clock.advance(SETTLE);
    assert_eq!(other.custody.walk_on().await.unwrap(), Progress::More);
    let status = other.custody.status().await.unwrap();
    assert!(status.rotation.unwrap().walked > walked.walked, "it goes on, and does not begin anew");
    other.rotated().await;
    assert_eq!(terms(&other), [2]);
    assert!(other.custody.status().await.unwrap().rotation.is_none());
    let back = nodes.node("first").await;
    all_read_back(&back, &plain).await;
    assert_eq!(back.store.page::<Note>(None, 1000).await.unwrap().len(), 600);
}

/// The others have retired the old term under the new root key: this one cannot know.
#[tokio::test]
async fn a_broker_with_the_former_root_key_does_nothing_of_a_rotation() {
    let nodes = Nodes::new().await;
    let (one, former) = (nodes.node("first").await, nodes.node("former").await);
    insert(&one, "old").await;
    one.custody.rotate("an admin").await.unwrap();
    assert_eq!(former.custody.status().await.unwrap().terms.len(), 2);
    one.rotated().await;
    let other =
        RootKey::passphrase(valetkey::kernel::secret::SecretString::new("a passphrase of words".to_owned()));
    let (text, place) = (nodes.keyring().await, nodes.dir("first").join(KEYRING_FILE));
    let next = Vault::rewrapped(&place, &text, &nodes.root(), &other, entropy().as_ref()).unwrap();
    assert_eq!(
        nodes.raw.commit(published(Some(text.into()), next.into(), 2)).await.unwrap(),
        Committed::Done
    );

    for _ in 0..20 {
        assert_eq!(former.custody.walk_on().await.unwrap(), Progress::Idle);
        former.clock.advance(SETTLE);
    }
    assert_eq!(terms(&former), [1, 2], "as far as it knows");
    assert!(one.store.get::<Rotation>(Rotation::KEY).await.unwrap().is_none(), "it begins none");
    assert_eq!((retirements(&nodes.dir("first")), retirements(&nodes.dir("former"))), (1, 0));
}

#[tokio::test]
async fn only_the_node_that_does_the_work_counts_and_waits() {
    let nodes = Nodes::new().await;
    let (one, other) = (nodes.node("first").await, nodes.node("second").await);
    for n in 0..150 {
        insert(&one, &format!("{n:04}")).await;
    }
    one.custody.rotate("an admin").await.unwrap();
    // Both at once, before there is a record of it.
    let (first, _) = tokio::join!(one.custody.walk_on(), other.custody.walk_on());
    let (one, other) = if first.unwrap() == Progress::More { (&one, &other) } else { (&other, &one) };
    assert!(other.custody.status().await.unwrap().counted.is_none(), "the other has not counted");
    assert_eq!(one.custody.walk_on().await.unwrap(), Progress::More);
    assert!(matches!(one.custody.walk_on().await.unwrap(), Progress::Later(_)));
    let rotation = one.custody.status().await.unwrap().rotation.unwrap();
    assert!(rotation.counted_zero_at.is_some(), "{rotation:?}");

    // The wait before the old term is retired is longer than the one after which a node is taken for gone.
    for _ in 0..5 {
        assert_eq!(other.custody.walk_on().await.unwrap(), Progress::Later(Duration::from_secs(5)));
        for place in [one, other] {
            place.clock.advance(Duration::from_secs(11));
        }
        assert!(matches!(one.custody.walk_on().await.unwrap(), Progress::Later(_)));
    }
    assert!(other.custody.status().await.unwrap().counted.is_none());
    one.rotated().await;
    assert_eq!(other.custody.walk_on().await.unwrap(), Progress::Idle);
    assert_eq!(terms(other), [2]);
}

#[tokio::test]
async fn a_keyring_that_is_put_back_makes_nobody_seal_under_an_old_term() {
    let nodes = Nodes::new().await;
    let one = nodes.node("first").await;
    let before = nodes.keyring().await;
    insert(&one, "before").await;
    one.custody.rotate("an admin").await.unwrap();
    one.rotated().await;
    let old = published(Some(nodes.keyring().await.into()), before.into(), 1);
    assert_eq!(nodes.raw.commit(old).await.unwrap(), Committed::Done);
    let status = one.custody.status().await.unwrap();
    assert_eq!(status.terms.iter().find(|term| term.is_active).unwrap().term, 2);
    insert(&one, "after").await;
    assert_eq!(nodes.term_of("r/note/after").await, Some(2));
    let fresh = nodes.node("fresh").await;
    assert_eq!(
        (owner(&fresh, "before").await.as_str(), owner(&fresh, "after").await.as_str()),
        ("ann", "ann")
    );
    one.rotated().await;
    assert_eq!(terms(&one), [2], "the old term is retired once more");
}

/// No node that runs has the newer terms: what a rotation would make is a second key under a number that is taken.
#[tokio::test]
async fn a_keyring_that_is_put_back_alone_is_not_rotated() {
    let nodes = Nodes::new().await;
    let (one, before) = (nodes.node("first").await, nodes.keyring().await);
    one.custody.rotate("an admin").await.unwrap();
    one.rotated().await;
    drop(one);
    let write = vec![(Bytes::from_static(KEYRING), Some(before.clone().into()))];
    assert_eq!(nodes.raw.commit(Batch { expect: Vec::new(), write }).await.unwrap(), Committed::Done);
    let late = nodes.node("late").await;
    let refused = late.custody.rotate("an admin").await;
    assert!(matches!(refused, Err(CustodyError::GoneBack { oldest: 2, newest: 1 })), "{refused:?}");
    assert_eq!(nodes.keyring().await, before);
}

#[tokio::test]
async fn a_node_with_another_key_under_the_same_term_writes_nothing() {
    let nodes = Nodes::new().await;
    let (one, other) = (nodes.node("first").await, nodes.node("second").await);
    let before = nodes.keyring().await;
    one.custody.rotate("an admin").await.unwrap();
    let old = published(Some(nodes.keyring().await.into()), before.into(), 1);
    assert_eq!(nodes.raw.commit(old).await.unwrap(), Committed::Done);
    assert_eq!(other.custody.rotate("an admin").await.unwrap(), 2);
    let keyring = nodes.keyring().await;
    assert!(one.custody.can_write().await.unwrap());
    assert_eq!(one.custody.walk_on().await.unwrap(), Progress::Idle);
    let mut tx = Tx::new();
    tx.insert(&note("here", "ann"));
    assert!(matches!(one.store.commit(tx).await, Err(StoreError::Unreachable { .. })));
    assert!(!one.custody.can_write().await.unwrap() && other.custody.can_write().await.unwrap());
    assert_eq!(nodes.keyring().await, keyring);
    insert(&other, "there").await;
    assert_eq!(owner(&nodes.node("fresh").await, "there").await, "ann");
}

/// An answer of a provider that could not be stored yet, in the spool of a node that is not the one who counts.
#[tokio::test]
async fn a_node_keeps_a_retired_term_for_what_lies_in_its_spool() {
    let nodes = Nodes::new().await;
    let (one, late) = (nodes.node("first").await, nodes.node("late").await);
    let context = Context { kind: "spool", id: "1", field: "answer", generation: 1 };
    let sealed = late.vault.seal(context, b"an answer");
    spool(&nodes.dir("late"), &sealed);
    one.custody.rotate("an admin").await.unwrap();
    one.rotated().await;
    late.custody.walk_on().await.unwrap();
    assert_eq!(terms(&late), [2], "it seals nothing under it");
    assert_eq!(late.vault.open(context, &sealed).unwrap().expose(), b"an answer");
    // Written once, however often it looks.
    let copy = || std::fs::metadata(nodes.dir("late").join(KEYRING_FILE)).unwrap().ino();
    let written = copy();
    for _ in 0..5 {
        late.custody.walk_on().await.unwrap();
        assert_eq!(copy(), written);
    }
    drop(late);
    let late = nodes.node("late").await;
    assert_eq!(terms(&late), [2]);
    assert_eq!(late.vault.open(context, &sealed).unwrap().expose(), b"an answer", "after a new start, too");
}

fn spool(data: &Path, sealed: &Sealed) {
    let file = data.join("spool/con_1.1.aa");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let length = u32::try_from(sealed.as_bytes().len()).unwrap().to_be_bytes();
    std::fs::write(&file, [b"vkspool1".as_slice(), &length, sealed.as_bytes(), &[0; 99]].concat()).unwrap();
}

/// The first piece of a backup has come, and the last is not on its way yet.
async fn begun_backup(place: &Place) -> (Backup, Vec<u8>) {
    let mut pieces = place.custody.backup(Sealing::Vault, "an admin").await.unwrap();
    let first = pieces.recv().await.unwrap().unwrap();
    (pieces, first.to_vec())
}

#[tokio::test]
async fn a_backup_in_whose_midst_another_node_rotates_keys_does_not_end_well() {
    let nodes = Nodes::new().await;
    let (one, other) = (nodes.node("first").await, nodes.node("second").await);
    many_notes(&one).await;
    let (mut pieces, _) = begun_backup(&one).await;
    other.custody.rotate("an admin").await.unwrap();
    insert(&other, "after").await;
    assert_eq!(terms(&one), [1], "nothing has told it so far");
    let mut last = None;
    while let Some(piece) = pieces.recv().await {
        last = Some(piece);
    }
    assert!(matches!(last, Some(Err(BackupError::Rotated))), "{last:?}");
    // One that begins afterwards has the new term in its keyring.
    let backup = taken(&one, Sealing::Vault).await;
    restore(&backup, &[], REDB, beside(nodes.folder.path()).path()).await.unwrap();
}

#[tokio::test]
async fn of_a_write_by_another_node_in_its_midst_a_backup_has_all_or_nothing() {
    let nodes = Nodes::new().await;
    let (one, other) = (nodes.node("first").await, nodes.node("second").await);
    many_notes(&one).await;
    let (mut pieces, mut backup) = begun_backup(&one).await;
    // One is read already, and one is not; and one goes away.
    let gone = other.store.get::<Note>("6349").await.unwrap().unwrap();
    let mut tx = Tx::new();
    tx.insert(&note("0000a", "mallory"));
    tx.insert(&note("6348a", "mallory"));
    tx.delete(&gone);
    assert_eq!(other.store.commit(tx).await.unwrap(), Committed::Done);
    while let Some(piece) = pieces.recv().await {
        backup.extend_from_slice(&piece.unwrap());
    }

    let place = beside(nodes.folder.path());
    restore(&backup, &[], REDB, place.path()).await.unwrap();
    let notes = notes(&Place::open(REDB, place.path()).store).await;
    assert_eq!(notes.len(), 64 * 50);
    assert!(notes.iter().all(|note| note.owner != "mallory"), "as it was at the beginning");
}

/// What was counted for one rotation retires nothing of the next: under its older term there are values still.
#[tokio::test]
async fn a_node_that_counted_for_a_rotation_that_is_over_retires_nothing() {
    let nodes = Nodes::new().await;
    let (data, text) = (nodes.dir("first"), nodes.keyring().await);
    let vault = Arc::new(Vault::open_shared(&data, &text, None, &nodes.root(), entropy()).unwrap());
    let folder = FolderLock::take(&data).unwrap();
    let backend = nodes.database.open().unwrap();
    let keys = SharedKeys::new(backend, vault.clone(), text.into(), &data, folder);
    assert_eq!(keys.add_term().await.unwrap(), 2);
    keys.retire_terms(&[1], 2).await.unwrap();
    assert_eq!(keys.add_term().await.unwrap(), 3);
    let late = keys.retire_terms(&[2], 2).await;
    assert!(matches!(late, Err(CustodyError::UnderWay)), "{late:?}");
    assert_eq!(vault.terms().iter().map(|term| term.term).collect::<Vec<_>>(), [2, 3]);
    keys.retire_terms(&[2], 3).await.unwrap();
}
