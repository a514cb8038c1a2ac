//! Backups are taken while others write, and restored whole or not at all.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use valetkey::app::Filling;
use valetkey::custody::backup::{BackupError, Opening, Restore, Restored, Sealing};
use valetkey::custody::migrate;
use valetkey::kernel::clock::{ManualClock, Timestamp};
use valetkey::kernel::entropy::SystemEntropy;
use valetkey::kernel::secret::SecretString;
use valetkey::model::audit_head::AuditHead;
use valetkey::model::restored::Restored as Mark;
use valetkey::model::stop::{Stop, StopTarget, Stops};
use valetkey::store::{
    Backend, Batch, Committed, Store, StoreError, TakeEntries, Tx, compare, content, copy,
};
use valetkey::vault::RootKey;

use crate::cluster::cluster;
use crate::disk::{ENGINES, Kind, REDB, SLED};
use crate::rotation::{Place, Seed, all_read_back};
use crate::{Note, note};

const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

pub async fn taken(place: &Place, sealing: Sealing) -> Vec<u8> {
    let mut pieces = place.custody.backup(sealing, "an admin").await.unwrap();
    let mut all = Vec::new();
    while let Some(piece) = pieces.recv().await {
        all.extend_from_slice(&piece.unwrap());
    }
    all
}

fn root(dir: &Path) -> RootKey {
    RootKey::KeyFile(dir.join("root.key"))
}

pub async fn restore(
    backup: &[u8],
    identities: &[String],
    engine: Kind,
    dir: &Path,
) -> Result<Restored, BackupError> {
    let opening = Opening::new(Box::new(Cursor::new(backup.to_vec())), identities)?;
    let target = |dir: &Path| -> Result<Arc<dyn Backend>, StoreError> { engine.backend(dir) };
    let restoring = Restore {
        data_dir: &dir.join("data"),
        root: &root(dir),
        target: &target,
        clock: &ManualClock::new(Timestamp::from_secs(1_900_000_000)),
        entropy: Arc::new(SystemEntropy::default()),
        progress: &mut |_| {},
    };
    restoring.run(opening).await
}

/// A folder with the root key of another one, and nothing else.
pub fn beside(dir: &Path) -> tempfile::TempDir {
    let other = tempfile::tempdir().unwrap();
    fs::copy(dir.join("root.key"), other.path().join("root.key")).unwrap();
    other
}

pub async fn notes(store: &Store) -> Vec<Note> {
    store.page::<Note>(None, 100_000).await.unwrap().iter().map(|note| note.record().clone()).collect()
}

#[tokio::test]
async fn every_kind_of_record_comes_back_in_either_engine_and_says_that_it_was_restored() {
    for (from, to) in [(SLED, REDB), (REDB, SLED)] {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::begin(from, folder.path());
        let plain = Seed::all(&place).await;
        fs::create_dir(folder.path().join("data/spool")).unwrap();
        fs::write(folder.path().join("data/spool/an-answer"), "sealed").unwrap();
        let recipient = IDENTITY.parse::<age::x25519::Identity>().unwrap().to_public().to_string();
        for (sealing, keys) in
            [(Sealing::Vault, vec![]), (Sealing::Age(recipient), vec![format!("# a key\n{IDENTITY}\n")])]
        {
            let backup = taken(&place, sealing).await;
            let other = beside(folder.path());
            let restored = restore(&backup, &keys, to, other.path()).await.unwrap();
            assert_eq!(restored.taken_at, Timestamp::from_secs(1_800_000_000));
            assert!(restored.files >= 2, "the log and the spool: {restored:?}");
            assert_eq!(fs::read(other.path().join("data/spool/an-answer")).unwrap(), b"sealed");
            let again = Place::open(to, other.path());
            let stop = lifted(&again).await;
            assert_eq!((&stop.target, &stop.id), (&StopTarget::All, &restored.stop));
            assert!(stop.reason.contains("2027-01-15"), "{}", stop.reason);
            all_read_back(&again, &plain).await;
            let mark = again.custody.status().await.unwrap().restored.unwrap();
            assert_eq!(mark.restored_at, Timestamp::from_secs(1_900_000_000));
            again.custody.confirm_restored("an admin").await.unwrap();
            assert!(again.store.get::<Mark>(Mark::KEY).await.unwrap().is_none());
            assert!(again.custody.confirm_restored("an admin").await.is_err());
        }
    }
}

/// Takes the newest stop away, as an admin does.
async fn lifted(place: &Place) -> Stop {
    let stops = place.store.get::<Stops>(Stops::KEY).await.unwrap().unwrap();
    let without = |stops: &Stops| {
        let mut active = stops.active.clone();
        active.pop();
        Ok::<_, ()>(Some(Stops { active }))
    };
    place.store.update(Stops::KEY, without).await.unwrap();
    stops.active.last().unwrap().clone()
}

/// What a node finds when the database it shares was restored to an earlier moment.
#[tokio::test]
async fn a_shared_store_that_knows_less_than_a_node_has_put_into_it_is_marked_and_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::begin(SLED, folder.path());
    let head = |size| AuditHead {
        node: "one".to_owned(),
        size,
        note: "a head".to_owned(),
        at: Timestamp::from_secs(1_700_000_000),
    };
    assert!(!place.custody.compare_published(None).await.unwrap(), "nothing was put there yet");
    place.custody.note_published(40).unwrap();
    place.custody.note_published(30).unwrap();
    assert!(!place.custody.compare_published(Some(&head(40))).await.unwrap());
    drop(place);
    let place = Place::open(SLED, folder.path());
    assert!(place.custody.compare_published(Some(&head(39))).await.unwrap(), "it is noted in the folder");
    let mark = place.custody.status().await.unwrap().restored.unwrap();
    assert_eq!(mark.taken_at, Timestamp::from_secs(1_700_000_000));
    assert!(!place.custody.compare_published(None).await.unwrap(), "it says so already");
    assert_eq!(lifted(&place).await.target, StopTarget::All);
    assert!(place.store.get::<Stops>(Stops::KEY).await.unwrap().unwrap().active.is_empty(), "one stop");
}

/// Enough for more pieces than may wait for who takes a backup.
pub async fn many_notes(place: &Place) {
    for chunk in 0..64 {
        let mut tx = Tx::new();
        for n in 0..50 {
            tx.insert(&note(&format!("{chunk:02}{n:02}"), &"o".repeat(300)));
        }
        let _ = place.store.commit(tx).await.unwrap();
    }
}

#[tokio::test]
async fn a_backup_in_whose_midst_keys_are_rotated_does_not_end_well_and_the_next_one_does() {
    for to in [
        Sealing::Vault,
        Sealing::Age(IDENTITY.parse::<age::x25519::Identity>().unwrap().to_public().to_string()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::begin(REDB, folder.path());
        many_notes(&place).await;
        let mut pieces = place.custody.backup(to, "an admin").await.unwrap();
        pieces.recv().await.unwrap().unwrap();
        place.custody.rotate("an admin").await.unwrap();
        let mut last = None;
        while let Some(piece) = pieces.recv().await {
            last = Some(piece);
        }
        assert!(matches!(last, Some(Err(BackupError::Rotated))), "{last:?}");
        let again = taken(&place, Sealing::Vault).await;
        restore(&again, &[], REDB, beside(folder.path()).path()).await.unwrap();
    }
}

/// Takes nothing from its second time on, until it may.
struct Stalls {
    times: usize,
    stalled: Arc<tokio::sync::Notify>,
    goes_on: Arc<tokio::sync::Notify>,
}

impl TakeEntries for Stalls {
    type Error = StoreError;

    async fn take(&mut self, _: Vec<(bytes::Bytes, Option<bytes::Bytes>)>) -> Result<(), StoreError> {
        self.times += 1;
        if self.times > 1 {
            self.stalled.notify_one();
            self.goes_on.notified().await;
        }
        Ok(())
    }
}

#[tokio::test]
async fn whoever_takes_a_backup_and_stops_taking_holds_up_no_write() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::begin(SLED, folder.path());
    let (stalled, goes_on) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let mut taker = Stalls { times: 0, stalled: stalled.clone(), goes_on: goes_on.clone() };
    let store = place.store.clone();
    let snapshot = tokio::spawn(async move { store.snapshot(&mut taker).await.map(|_| taker.times) });
    // One page, and then what was written meanwhile.
    stalled.notified().await;
    let mut tx = Tx::new();
    tx.insert(&note("1", "ann"));
    let written = tokio::time::timeout(Duration::from_secs(20), place.store.commit(tx)).await;
    assert_eq!(written.expect("a write waits").unwrap(), Committed::Done);
    goes_on.notify_one();
    assert_eq!(snapshot.await.unwrap().unwrap(), 2);
}

/// One writer moves a number from note to note: in every state of the store the sum is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_load_is_the_store_at_one_moment() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::begin(engine, folder.path());
        for chunk in 0..20 {
            let mut tx = Tx::new();
            for n in 0..50 {
                tx.insert(&Note { count: 100, ..note(&format!("{:04}", chunk * 50 + n), "ann") });
            }
            let _ = place.store.commit(tx).await.unwrap();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (store, stopped) = (place.store.clone(), stop.clone());
        let moving = tokio::spawn(async move {
            let mut moved = 0u64;
            while !stopped.load(Ordering::SeqCst) {
                let from = format!("{:04}", moved * 7 % 1000);
                let to = format!("{:04}", (moved * 7 + 501) % 1000);
                let (a, b) = (
                    store.get::<Note>(&from).await.unwrap().unwrap(),
                    store.get::<Note>(&to).await.unwrap().unwrap(),
                );
                let owner = if b.owner == "ann" { "bob" } else { "ann" }.to_owned();
                let mut tx = Tx::new();
                if a.count > 0 {
                    tx.update(&a, &Note { count: a.count - 1, ..a.record().clone() });
                    tx.update(&b, &Note { count: b.count + 1, owner, ..b.record().clone() });
                }
                let _ = store.commit(tx).await.unwrap();
                moved += 1;
            }
            moved
        });
        for _ in 0..3 {
            let backup = taken(&place, Sealing::Vault).await;
            let other = beside(folder.path());
            restore(&backup, &[], SLED, other.path()).await.unwrap();
            let again = Place::open(SLED, other.path());
            let notes = notes(&again.store).await;
            assert_eq!((notes.len(), notes.iter().map(|note| note.count).sum::<u64>()), (1000, 100_000));
            let ann = again.store.find::<Note>("owner", "ann").await.unwrap().len();
            let bob = again.store.find::<Note>("owner", "bob").await.unwrap().len();
            assert_eq!(ann + bob, 1000, "indexes are of the same moment");
        }
        stop.store(true, Ordering::SeqCst);
        assert!(moving.await.unwrap() > 0, "writing went on");
    }
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::begin(REDB, folder.path());
    for n in 0..200 {
        let mut tx = Tx::new();
        tx.insert(&Note { owner: "o".repeat(1000), ..note(&format!("{n:03}"), "ann") });
        let _ = place.store.commit(tx).await.unwrap();
    }
    let recipient = IDENTITY.parse::<age::x25519::Identity>().unwrap().to_public().to_string();
    for (sealing, keys) in [(Sealing::Vault, vec![]), (Sealing::Age(recipient), vec![IDENTITY.to_owned()])] {
        let whole = taken(&place, sealing).await;
        let length = whole.len();
        let mut damaged: Vec<Vec<u8>> = Vec::new();
        for at in [0, 10, 30, 500, length / 3, length / 2, length - 70_000, length - 17, length - 1] {
            damaged.push(whole[..at].to_vec());
            let mut bent = whole.clone();
            bent[at] ^= 0x10;
            damaged.push(bent);
        }
        damaged.push([&whole[..], b"more"].concat());
        let other = beside(folder.path());
        for (at, bytes) in damaged.iter().enumerate() {
            let refused = restore(bytes, &keys, SLED, other.path()).await;
            assert!(refused.is_err(), "damage {at}");
            let names: Vec<_> = fs::read_dir(other.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(names, ["root.key"], "damage {at} left something");
        }
        restore(&whole, &keys, SLED, other.path()).await.unwrap();
        let twice = restore(&whole, &keys, SLED, other.path()).await;
        assert!(matches!(twice, Err(BackupError::NotEmpty(_))), "never over something");
    }
}

#[tokio::test]
async fn a_backup_opens_for_its_own_keys_only() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::begin(SLED, folder.path());
    let stranger = tempfile::tempdir().unwrap();
    drop(Place::begin(SLED, stranger.path()));
    fs::remove_dir_all(stranger.path().join("data")).unwrap();
    let backup = taken(&place, Sealing::Vault).await;
    let refused = restore(&backup, &[], SLED, stranger.path()).await.unwrap_err();
    assert!(matches!(refused, BackupError::Vault(_)), "{refused}");
    let recipient = IDENTITY.parse::<age::x25519::Identity>().unwrap().to_public().to_string();
    let backup = taken(&place, Sealing::Age(recipient)).await;
    assert!(!String::from_utf8_lossy(&backup).contains("keyring"), "nothing stands in the clear");
    let other = beside(folder.path());
    let refused = restore(&backup, &[], SLED, other.path()).await.unwrap_err();
    assert!(refused.to_string().contains("--identity"), "{refused}");
    let refused = place.custody.backup(Sealing::Age("age1nonsense".to_owned()), "an admin").await;
    assert!(matches!(refused.map(drop), Err(BackupError::Recipient(_))));
}

#[tokio::test]
async fn a_backup_is_still_good_when_its_key_term_has_been_retired() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::begin(SLED, folder.path());
    let plain = Seed::all(&place).await;
    let backup = taken(&place, Sealing::Vault).await;
    place.custody.rotate("an admin").await.unwrap();
    place.rotated().await;
    let other = beside(folder.path());
    restore(&backup, &[], REDB, other.path()).await.unwrap();
    let again = Place::open(REDB, other.path());
    lifted(&again).await;
    all_read_back(&again, &plain).await;
}

#[tokio::test]
async fn records_move_to_another_engine_and_the_source_is_left_as_it_was() {
    for (from, to) in [(SLED, REDB), (REDB, SLED)] {
        let folder = tempfile::tempdir().unwrap();
        let plain = {
            let place = Place::begin(from, folder.path());
            Seed::all(&place).await
        };
        let other = beside(folder.path());
        let data = folder.path().join("data");
        let before = {
            let backend = from.backend(&data).unwrap();
            let target = |dir: &Path| to.backend(dir);
            let place = other.path().join("data");
            fs::create_dir(&place).unwrap();
            fs::write(place.join("a-file"), "somebody's").unwrap();
            let refused = migrate::into_folder(backend.as_ref(), &data, &place, &target, &mut |_| {})
                .await
                .unwrap_err();
            assert!(matches!(refused, BackupError::NotEmpty(_)), "{refused}");
            fs::remove_file(place.join("a-file")).unwrap();
            let broken = |_: &Path| -> Result<Arc<dyn Backend>, StoreError> { Err(StoreError::Full) };
            let refused = migrate::into_folder(backend.as_ref(), &data, &place, &broken, &mut |_| {}).await;
            assert!(
                refused.is_err() && fs::read_dir(&place).unwrap().next().is_none(),
                "nothing is left of it"
            );
            let mut told = 0;
            let copied =
                migrate::into_folder(backend.as_ref(), &data, &place, &target, &mut |done| told = done)
                    .await
                    .unwrap();
            assert_eq!(copied, content(backend.as_ref()).await.unwrap());
            assert_eq!(told, copied.entries() * 2, "copied, then compared");
            copied
        };
        all_read_back(&Place::open(to, other.path()), &plain).await;
        let place = Place::open(from, folder.path());
        assert_eq!(content(place.backend.as_ref()).await.unwrap(), before);
        all_read_back(&place, &plain).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_move_into_a_database_on_to_another_engine_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::begin(SLED, folder.path());
    let plain = Seed::all(&place).await;
    let wanted = content(place.backend.as_ref()).await.unwrap();
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let database: Arc<dyn Backend> = cluster().fresh().open().unwrap();
    assert!(database.is_shared() && !place.backend.is_shared());
    let mut from = place.backend.clone();
    let hops = [database, REDB.backend(folders[0].path()).unwrap(), SLED.backend(folders[1].path()).unwrap()];
    for to in hops {
        assert_eq!(copy(from.as_ref(), to.as_ref(), |_| {}).await.unwrap(), wanted);
        let refused = copy(from.as_ref(), to.as_ref(), |_| {}).await;
        assert!(matches!(refused, Err(StoreError::NotEmpty)), "never beside something else");
        let store = Store::new(to.clone(), place.vault.clone());
        all_read_back(&Place { store, backend: to.clone(), ..place.clone() }, &plain).await;
        from = to;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_are_compared_entry_by_entry_and_the_first_that_differs_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::begin(SLED, folder.path());
    Seed::all(&place).await;
    let to = cluster().fresh().open().unwrap();
    copy(place.backend.as_ref(), to.as_ref(), |_| {}).await.unwrap();
    let key: Bytes = "r/note/new".into();
    for (at, value) in [(&place.backend, Some("x")), (&(to.clone() as Arc<dyn Backend>), Some("y"))] {
        let write = vec![(key.clone(), value.map(Bytes::from))];
        let _ = at.commit(Batch { expect: Vec::new(), write }).await.unwrap();
        let found = compare(place.backend.as_ref(), to.as_ref(), |_| {}).await;
        assert!(matches!(&found, Err(StoreError::Differs { key }) if key == "r/note/new"), "{found:?}");
    }
}

/// A process that was killed in the middle of a move leaves records and no keyring; one that goes on all the same
/// while another begins anew must not end it.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_into_a_database_that_broke_off_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::begin(SLED, folder.path());
    Seed::all(&place).await;
    let data = folder.path().join("data");
    let database = cluster().fresh();
    let url = SecretString::new(database.url_at(database.port()));
    let first = Filling::begin(&url).await.unwrap();
    copy(place.backend.as_ref(), first.backend().as_ref(), |_| {}).await.unwrap();
    let half = vec![("r/note/left".into(), Some("over".into()))];
    let _ = first.backend().commit(Batch { expect: Vec::new(), write: half }).await.unwrap();

    let second = Filling::begin(&url).await.unwrap();
    copy(place.backend.as_ref(), second.backend().as_ref(), |_| {}).await.unwrap();
    assert!(first.end(&data).await.is_err(), "another has taken its place");
    second.end(&data).await.unwrap();
    let refused = Filling::begin(&url).await.err().unwrap();
    assert!(refused.to_string().contains("not empty"), "{refused}");
    let moved = database.open().unwrap();
    let found = compare(place.backend.as_ref(), moved.as_ref(), |_| {}).await.unwrap();
    assert_eq!(found, content(place.backend.as_ref()).await.unwrap());

    let somebodys = cluster().fresh();
    let _ = somebodys
        .open()
        .unwrap()
        .commit(Batch { expect: Vec::new(), write: vec![("r/a".into(), Some("b".into()))] })
        .await;
    let url = SecretString::new(somebodys.url_at(somebodys.port()));
    assert!(Filling::begin(&url).await.is_err(), "no move has left these records");
    assert_eq!(somebodys.open().unwrap().get(b"r/a").await.unwrap(), Some("b".into()));
}
