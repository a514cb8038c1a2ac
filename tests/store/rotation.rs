//! Keys are rotated while the store is in use: every kind of record, stopped at every step, by whatever engine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use valetkey::audit::AuditLog;
use valetkey::custody::rotation::Progress;
use valetkey::custody::{Custody, CustodyError, SETTLE};
use valetkey::kernel::clock::{ManualClock, Timestamp};
use valetkey::kernel::entropy::{Entropy, SystemEntropy};
use valetkey::kernel::ids::ConnectionId;
use valetkey::kernel::secret::SecretBytes;
use valetkey::model::connection::{Connection, GrantToken, StrayToken};
use valetkey::model::provider::{AppToken, Provider};
use valetkey::model::record::Record;
use valetkey::model::restored::Restored;
use valetkey::model::rotation::Rotation;
use valetkey::model::sealed::{Context, SealError, Sealed, Sealer};
use valetkey::model::session::Transaction;
use valetkey::model::signing_key::SigningKey;
use valetkey::store::{Backend, Batch, Committed, MemoryBackend, Store, Tx, sealed_anew};
use valetkey::vault::{RootKey, Vault, create_key_file};

use crate::disk::{ENGINES, Kind, REDB, SLED};
use crate::records::{EachKind, every_kind, read};
use crate::{Note, note};

/// A deployment on disk, as far as keys and records go.
#[derive(Clone)]
pub struct Place {
    pub vault: Arc<Vault>,
    pub backend: Arc<dyn Backend>,
    pub store: Store,
    pub custody: Custody,
    pub clock: Arc<ManualClock>,
}

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy::default())
}

fn root(dir: &Path) -> RootKey {
    RootKey::KeyFile(dir.join("root.key"))
}

impl Place {
    pub fn begin(engine: Kind, dir: &Path) -> Self {
        create_key_file(&dir.join("root.key"), &SystemEntropy::default()).unwrap();
        drop(Vault::create(&dir.join("data"), &root(dir), entropy()).unwrap());
        Self::open(engine, dir)
    }

    pub fn open(engine: Kind, dir: &Path) -> Self {
        let data = dir.join("data");
        let vault = Arc::new(Vault::open(&data, &root(dir), entropy()).unwrap());
        let backend = engine.backend(&data).unwrap();
        let store = Store::new(backend.clone(), vault.clone());
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
        let audit = AuditLog::open(
            &data.join("audit"),
            vault.audit_signer(),
            vault.deployment().clone(),
            clock.clone(),
            entropy(),
            0,
        )
        .unwrap();
        let custody =
            Custody::new(store.clone(), vault.clone(), audit, clock.clone(), entropy(), data.clone(), None);
        Self { vault, backend, store, custody, clock }
    }

    pub fn terms(&self) -> Vec<u32> {
        self.vault.terms().iter().map(|term| term.term).collect()
    }

    pub async fn rotated(&self) {
        while self.custody.walk_on().await.unwrap() != Progress::Idle {
            self.clock.advance(SETTLE);
        }
    }
}

/// Seals what a record's JSON marks as sealed, and keeps what it was.
pub struct Seed<'a> {
    place: &'a Place,
    plain: Plain,
}

/// Records of every kind, without what is sealed within them.
pub type Plain = BTreeMap<(&'static str, String), String>;

impl<'a> Seed<'a> {
    pub async fn all(place: &'a Place) -> Plain {
        let mut seed = Self { place, plain: Plain::new() };
        every_kind(&mut seed).await;
        seed.plain
    }
}

fn find<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, name| value.get_mut(name))
}

impl EachKind for Seed<'_> {
    async fn one<R: Record>(&mut self, mut record: Value) {
        let id = read::<R>(record.clone()).key();
        for field in R::SEALED {
            let generation = field.generation.and_then(|path| find(&mut record, path)?.as_u64()).unwrap_or(0);
            let context = Context { kind: R::KIND, id: &id, field: field.field, generation };
            let secret = format!("{}'s {}", R::KIND, field.field);
            let place = find(&mut record, field.path).unwrap();
            *place = json!(String::from(self.place.vault.seal(context, secret.as_bytes())));
        }
        assert!(!record.to_string().contains("AQID"), "{} has a sealed field that is not named", R::KIND);
        if [Rotation::KIND, Restored::KIND].contains(&R::KIND) {
            return;
        }
        let record: R = read(record);
        let mut tx = Tx::new();
        tx.insert(&record);
        assert_eq!(self.place.store.commit(tx).await.unwrap(), Committed::Done, "{}", R::KIND);
        let mut plain = serde_json::to_value(&record).unwrap();
        for field in R::SEALED {
            *find(&mut plain, field.path).unwrap() = Value::Null;
        }
        self.plain.insert((R::KIND, id), plain.to_string());
    }
}

/// Reads every record back, as the rooms do that use them.
struct ReadsBack<'a> {
    place: &'a Place,
    plain: Plain,
}

impl ReadsBack<'_> {
    async fn secret<R: Record>(
        &self,
        context: impl Fn(&R, &str) -> (String, &'static str, u64),
        of: impl Fn(&R) -> &Sealed,
    ) {
        let ((_, id), _) = self.plain.iter().find(|((kind, _), _)| *kind == R::KIND).unwrap();
        let stored = self.place.store.get::<R>(id).await.unwrap().unwrap();
        let (id, field, generation) = context(&stored, id);
        let context = Context { kind: R::KIND, id: &id, field, generation };
        let sealed = of(&stored);
        let opened = self.place.vault.open(context, sealed).unwrap();
        assert_eq!(opened.expose(), format!("{}'s {field}", R::KIND).as_bytes());
        if self.place.terms().len() == 1 {
            assert_eq!(self.place.vault.term_of(sealed.as_bytes()), Some(self.place.vault.active_term()));
        }
    }
}

impl EachKind for ReadsBack<'_> {
    async fn one<R: Record>(&mut self, record: Value) {
        if [Rotation::KIND, Restored::KIND].contains(&R::KIND) {
            return;
        }
        let id = read::<R>(record).key();
        let stored = self.place.store.get::<R>(&id).await.unwrap().expect(R::KIND);
        let mut plain = serde_json::to_value(stored.record()).unwrap();
        for field in R::SEALED {
            *find(&mut plain, field.path).unwrap() = Value::Null;
        }
        assert_eq!(self.plain[&(R::KIND, id)], plain.to_string());
    }
}

fn of(context: Context<'_>) -> (String, &'static str, u64) {
    let field = ["refresh_token", "access_token", "token", "client_secret", "private", "verifier"]
        .into_iter()
        .find(|name| *name == context.field)
        .unwrap();
    (context.id.to_owned(), field, context.generation)
}

pub async fn all_read_back(place: &Place, plain: &Plain) {
    let mut reads = ReadsBack { place, plain: plain.clone() };
    every_kind(&mut reads).await;
    // By each room's own idea of what the value is bound to.
    let reads = &reads;
    reads
        .secret::<Connection>(
            |c, _| of(Connection::refresh_context(&c.id, c.generation)),
            |c| c.refresh_token.as_ref().unwrap(),
        )
        .await;
    reads
        .secret::<Connection>(
            |c, _| of(Connection::access_context(&c.id, c.access.as_ref().unwrap().generation)),
            |c| &c.access.as_ref().unwrap().token,
        )
        .await;
    reads
        .secret::<GrantToken>(|t, id| of(GrantToken::context(id, t.token.generation)), |t| &t.token.token)
        .await;
    reads.secret::<StrayToken>(|_, id| of(StrayToken::context(id)), |t| &t.refresh_token).await;
    reads.secret::<Provider>(|p, _| of(p.secret_context()), |p| &p.client_secret).await;
    reads.secret::<AppToken>(|t, _| of(AppToken::context(&t.provider, t.generation)), |t| &t.token).await;
    reads.secret::<SigningKey>(|_, id| of(SigningKey::context(id)), |k| &k.private).await;
    reads
        .secret::<Transaction>(
            |_, id| of(Transaction::verifier_context(id)),
            |t| t.verifier.as_ref().unwrap(),
        )
        .await;
}

#[tokio::test]
async fn a_record_of_every_kind_survives_the_retirement_of_its_term() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let plain = {
            let place = Place::begin(engine, folder.path());
            let plain = Seed::all(&place).await;
            assert_eq!(place.custody.rotate("an admin").await.unwrap(), 2);
            assert_eq!(place.terms(), [1, 2]);
            place.rotated().await;
            assert_eq!(place.terms(), [2], "{}", engine.name);
            plain
        };
        // From disk, with nothing cached, and a keyring that does not know the old term.
        let place = Place::open(engine, folder.path());
        all_read_back(&place, &plain).await;
        let census = place.custody.count().await.unwrap();
        assert_eq!((census.remaining(), census.values.keys().copied().collect::<Vec<_>>()), (0, vec![2]));
        assert!(place.custody.status().await.unwrap().rotation.is_none());
    }
}

/// Stops after each single step, as a kill between two steps would, and goes on from what is on disk.
#[tokio::test]
async fn a_rotation_goes_on_from_wherever_it_was_stopped() {
    for engine in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let plain = {
            let place = Place::begin(engine, folder.path());
            let plain = Seed::all(&place).await;
            for n in 0..1500 {
                let mut tx = Tx::new();
                tx.insert(&note(&format!("{n:04}"), "ann"));
                let _ = place.store.commit(tx).await.unwrap();
            }
            place.custody.rotate("an admin").await.unwrap();
            plain
        };
        let mut steps = 0;
        let mut waited = Duration::ZERO;
        loop {
            let place = Place::open(engine, folder.path());
            place.clock.advance(waited);
            let progress = place.custody.walk_on().await.unwrap();
            all_read_back(&place, &plain).await;
            if progress == Progress::Idle && place.terms().len() == 1 {
                assert_eq!(place.store.page::<Note>(None, 2000).await.unwrap().len(), 1500);
                break;
            }
            steps += 1;
            waited += SETTLE;
            assert!(steps < 30, "it comes to an end");
        }
        assert!(steps >= 4, "1,500 records are more than one step: {steps}");
    }
}

#[tokio::test]
async fn what_is_sealed_while_keys_are_rotated_is_sealed_under_the_new_term_and_only_one_rotation_runs() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::begin(SLED, folder.path());
    let mut tx = Tx::new();
    tx.insert(&note("1", "ann"));
    let _ = place.store.commit(tx).await.unwrap();
    place.custody.rotate("an admin").await.unwrap();
    assert!(matches!(place.custody.rotate("an admin").await, Err(CustodyError::UnderWay)));
    let mut tx = Tx::new();
    tx.insert(&note("2", "ann"));
    let _ = place.store.commit(tx).await.unwrap();
    let raw = |id: &str| {
        let key = format!("r/note/{id}").into_bytes();
        let backend = place.backend.clone();
        async move { backend.get(&key).await.unwrap().unwrap() }
    };
    assert_eq!(place.vault.term_of(&raw("2").await), Some(2));
    assert_eq!(place.vault.term_of(&raw("1").await), Some(1));
    place.rotated().await;
    assert_eq!(place.vault.term_of(&raw("1").await), Some(2));
}

/// A value that was sealed before the new term and is written after the walk.
#[tokio::test]
async fn a_late_write_under_the_old_term_keeps_it_from_being_retired() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::begin(REDB, folder.path());
    let context = Context { kind: "note", id: "late", field: "record", generation: 0 };
    let late = place.vault.seal(context, json!(note("late", "ann")).to_string().as_bytes());
    place.custody.rotate("an admin").await.unwrap();
    for _ in ["how many records there are", "the walk", "nothing is left, for the first time"] {
        assert_ne!(place.custody.walk_on().await.unwrap(), Progress::Idle);
    }
    let status = place.custody.status().await.unwrap();
    assert!(status.rotation.unwrap().counted_zero_at.is_some());
    let write = vec![("r/note/late".into(), Some(bytes::Bytes::copy_from_slice(late.as_bytes())))];
    let _ = place.backend.commit(Batch { expect: Vec::new(), write }).await.unwrap();
    assert!(matches!(place.custody.walk_on().await.unwrap(), Progress::Later(_)), "it waits for late writes");
    place.clock.advance(SETTLE);
    place.custody.walk_on().await.unwrap();
    assert_eq!(place.terms(), [1, 2], "the count has found it");
    place.rotated().await;
    assert_eq!(place.terms(), [2]);
    assert_eq!(place.store.get::<Note>("late").await.unwrap().unwrap().owner, "ann");
}

#[tokio::test]
async fn an_answer_in_the_spool_keeps_its_term_from_being_retired() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::begin(REDB, folder.path());
    let context = Context { kind: "spool", id: "1", field: "answer", generation: 1 };
    let sealed = place.vault.seal(context, b"an answer");
    let file = folder.path().join("data/spool/con_1.1.aa");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let length = u32::try_from(sealed.as_bytes().len()).unwrap().to_be_bytes();
    std::fs::write(&file, [b"vkspool1".as_slice(), &length, sealed.as_bytes(), &[0; 99]].concat()).unwrap();
    place.custody.rotate("an admin").await.unwrap();
    for _ in 0..20 {
        place.custody.walk_on().await.unwrap();
        place.clock.advance(SETTLE);
    }
    assert_eq!(place.terms(), [1, 2]);
    std::fs::remove_file(&file).unwrap();
    place.rotated().await;
    assert_eq!(place.terms(), [2]);
}

#[tokio::test]
async fn a_damaged_record_keeps_its_term_from_being_retired() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::begin(SLED, folder.path());
    let mut tx = Tx::new();
    tx.insert(&note("1", "ann"));
    let _ = place.store.commit(tx).await.unwrap();
    let mut raw = place.backend.get(b"r/note/1").await.unwrap().unwrap().to_vec();
    *raw.last_mut().unwrap() ^= 1;
    let write = vec![("r/note/1".into(), Some(raw.into()))];
    let _ = place.backend.commit(Batch { expect: Vec::new(), write }).await.unwrap();
    place.custody.rotate("an admin").await.unwrap();
    assert_eq!(place.custody.walk_on().await.unwrap(), Progress::More, "how many records there are");
    // Six hours of it: counted ever more seldom, and walked no more than twice.
    let (mut counts, mut walks) = (BTreeSet::new(), 0);
    for _ in 0..360 {
        walks += usize::from(place.custody.walk_on().await.unwrap() == Progress::More);
        counts.extend(place.custody.status().await.unwrap().counted.map(|(_, at)| at));
        place.clock.advance(SETTLE);
    }
    assert_eq!((place.terms(), walks), (vec![1, 2], 2));
    assert!((8..=20).contains(&counts.len()), "{}", counts.len());
    assert_eq!(place.custody.count().await.unwrap().unreadable, 1);

    // Gone, it holds the term back no longer.
    let write = vec![("r/note/1".into(), None)];
    let _ = place.backend.commit(Batch { expect: Vec::new(), write }).await.unwrap();
    place.rotated().await;
    assert_eq!(place.terms(), [2]);
}

/// Takes another term over just after the first value within a record was sealed.
struct Rotating {
    vault: Vault,
    is_due: AtomicBool,
}

impl Sealer for Rotating {
    fn seal(&self, context: Context<'_>, plain: &[u8]) -> Sealed {
        let sealed = self.vault.seal(context, plain);
        if self.is_due.swap(false, Ordering::SeqCst) {
            self.vault.add_term().unwrap();
        }
        sealed
    }

    fn open(&self, context: Context<'_>, sealed: &Sealed) -> Result<SecretBytes, SealError> {
        self.vault.open(context, sealed)
    }

    fn active_term(&self) -> u32 {
        self.vault.active_term()
    }

    fn has_other_terms(&self) -> bool {
        self.vault.has_other_terms()
    }

    fn term_of(&self, sealed: &[u8]) -> Option<u32> {
        self.vault.term_of(sealed)
    }
}

/// No commit under the older term is taken any more, so nothing under it may be within.
#[tokio::test]
async fn a_record_that_is_sealed_anew_has_one_term_throughout_whenever_another_one_comes() {
    let rotating = Arc::new(Rotating { vault: Vault::ephemeral(entropy()), is_due: AtomicBool::new(false) });
    let backend = Arc::new(MemoryBackend::new());
    let store = Store::new(backend.clone(), rotating.clone());
    let connection = ConnectionId::generate(entropy().as_ref());
    let id = format!("{connection}/late");
    let token = rotating.vault.seal(StrayToken::context(&id), b"a refresh token");
    let stray: StrayToken = serde_json::from_value(json!({
        "connection": connection, "attempt": "late", "refresh_token": String::from(token), "at": 1,
    }))
    .unwrap();
    let mut tx = Tx::new();
    tx.insert(&stray);
    let _ = store.commit(tx).await.unwrap();
    let key = format!("r/{}/{id}", StrayToken::KIND).into_bytes();
    let raw = backend.get(&key).await.unwrap().unwrap();

    rotating.vault.add_term().unwrap();
    rotating.is_due.store(true, Ordering::SeqCst);
    let anew = sealed_anew(rotating.as_ref(), &key, &raw).unwrap();
    assert_eq!((rotating.active_term(), rotating.term_of(&anew)), (3, Some(3)));
    let write = vec![(key.into(), Some(anew))];
    let _ = backend.commit(Batch { expect: Vec::new(), write }).await.unwrap();
    let store = Store::new(backend, rotating.clone());
    let stray = store.get::<StrayToken>(&id).await.unwrap().unwrap();
    assert_eq!(rotating.term_of(stray.refresh_token.as_bytes()), Some(3));
    assert_eq!(
        rotating.open(StrayToken::context(&id), &stray.refresh_token).unwrap().expose(),
        b"a refresh token"
    );
}
