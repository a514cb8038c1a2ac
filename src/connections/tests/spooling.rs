//! Answers that are durable before they are read.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::provider::Fault;
use super::refreshing::Dying;
use super::*;
use crate::connections::spool::{Content, Ticket};
use crate::model::connection::StrayToken;
use crate::model::record::Record as _;
use crate::model::spool::{ASIDE, FOLDER};
use crate::store::disk::{Disk, RealDisk};

/// A disk that takes a number of writes and no more.
#[derive(Default)]
pub(super) struct FaultyDisk {
    is_limited: AtomicBool,
    left: AtomicUsize,
    is_full: AtomicBool,
}

impl FaultyDisk {
    fn takes(&self, writes: usize) {
        self.left.store(writes, Ordering::SeqCst);
        self.is_limited.store(true, Ordering::SeqCst);
    }

    fn fills(&self, writes: usize) {
        self.is_full.store(true, Ordering::SeqCst);
        self.takes(writes);
    }

    fn works(&self) {
        self.is_limited.store(false, Ordering::SeqCst);
    }

    fn step(&self) -> io::Result<()> {
        if !self.is_limited.load(Ordering::SeqCst) {
            return Ok(());
        }
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let kind = if self.is_full.load(Ordering::SeqCst) {
            io::ErrorKind::StorageFull
        } else {
            io::ErrorKind::Other
        };
        left.map(|_| ()).map_err(|_| kind.into())
    }
}

impl Disk for FaultyDisk {
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(dir)
    }

    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.step()?;
        RealDisk.append(file, bytes)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.step()?;
        RealDisk.sync_data(file)
    }
}

impl World {
    /// Another node on the same store, with a data folder of its own.
    pub(super) fn node(&self, name: &str) -> Connections {
        let dir = if name == "one" { self.dir.path().to_owned() } else { self.dir.path().join(name) };
        std::fs::create_dir_all(&dir).unwrap();
        let store = Store::new(self.backend.clone(), self.vault.clone());
        let spool = Spool::open(&dir, self.vault.clone()).unwrap();
        let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
        assembled(&store, &self.vault, &self.audit, &spool, &self.templates, clock, entropy, &self.provider)
            .of_node(Some(name.to_owned()))
    }

    fn spooled(&self) -> Vec<PathBuf> {
        self.files(FOLDER)
    }

    /// What was moved out of the spool, because it is of no use here.
    fn aside(&self) -> Vec<PathBuf> {
        self.files(ASIDE)
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        std::fs::read_dir(self.dir.path().join(folder)).unwrap().map(|e| e.unwrap().path()).collect()
    }

    /// A process that died when it had received an answer, and before it had stored it.
    async fn died_with_an_answer(refresh: &str) -> (Self, ConnectionId) {
        let memory = Arc::new(MemoryBackend::new());
        let mut world = Self::over(refresh, memory.clone()).await;
        let id = world.connection().await;
        let fails = Arc::new(Dying { inner: memory.clone(), left: AtomicUsize::new(1) });
        world.restarted(fails);
        assert!(world.connections.lease(&id).await.is_err());
        assert_eq!(world.spooled().len(), 1);
        world.pass(5);
        world.restarted(memory);
        (world, id)
    }
}

#[tokio::test]
async fn an_answer_that_was_received_is_stored_at_the_next_start_with_its_own_time() {
    let (world, id) = World::died_with_an_answer(STRICT).await;
    let recovered = world.connections.recover_at_start().await.unwrap();
    assert_eq!((recovered.from_spool, recovered.open), (1, 0));
    let record = world.record(&id).await;
    assert_eq!((record.generation, record.intent, record.lease), (2, None, None));
    assert_eq!(
        record.access.unwrap().expires_at,
        START.plus(Duration::from_secs(3600)),
        "not five seconds more"
    );
    assert_eq!(world.refresh_token(&id).await, "refresh-2");
    assert_eq!(world.connections.lease(&id).await.unwrap().token.expose(), "access-2");
    assert_eq!(world.provider.dials(), 1);
    assert!(world.spooled().is_empty());
}

#[tokio::test]
async fn what_lies_in_the_spool_is_private_and_says_nothing() {
    let (world, _) = World::died_with_an_answer(STRICT).await;
    let file = world.spooled().remove(0);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    let bytes = std::fs::read(&file).unwrap();
    for word in ["refresh-2", "access-2", "expires_in"] {
        assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
}

#[tokio::test]
async fn an_answer_opens_for_its_own_connection_generation_and_attempt_only() {
    let (world, id) = World::died_with_an_answer(STRICT).await;
    let file = world.spooled().remove(0);
    let ticket = world.spool.tickets().await.unwrap().remove(0);
    let other = world.connection().await;
    for bent in [
        Ticket { connection: other, ..ticket.clone() },
        Ticket { generation: 0, ..ticket.clone() },
        Ticket { attempt: ticket.attempt.chars().rev().collect(), ..ticket.clone() },
    ] {
        let name = format!("{}.{}.{}", bent.connection, bent.generation, bent.attempt);
        std::fs::copy(&file, file.with_file_name(name)).unwrap();
        assert!(matches!(world.spool.read(&bent).await.unwrap(), Content::Closed), "{bent:?}");
    }
    assert!(matches!(world.spool.read(&ticket).await.unwrap(), Content::Answer(_)));
    assert_eq!(world.connections.empty_spool().await.unwrap(), 1);
    assert_eq!(world.refresh_token(&id).await, "refresh-2");
    assert!(!world.spooled().contains(&file), "it is in the store");
    assert_eq!(world.spooled().len() + world.aside().len(), 3, "what does not open here may open elsewhere");
}

#[tokio::test]
async fn a_file_that_was_torn_or_never_written_holds_no_answer() {
    for length in [0, 7, 12, 40, 120] {
        let (world, id) = World::died_with_an_answer(GRACE).await;
        let file = world.spooled().remove(0);
        File::options().write(true).open(&file).unwrap().set_len(length).unwrap();
        let recovered = world.connections.recover_at_start().await.unwrap();
        assert_eq!((recovered.from_spool, recovered.open, recovered.resolved), (0, 1, 1), "{length} bytes");
        assert!(world.connections.lease(&id).await.is_ok());
        assert_eq!(world.aside().len(), usize::from(length > 0), "what came of it is kept");
        assert!(world.spooled().is_empty(), "and holds no key term back");
        // Where a former release has left it.
        std::fs::write(file.with_file_name("con_1.1.aa.aside"), b"torn").unwrap();
        world.node("one");
        assert!(world.spooled().is_empty());
        assert_eq!(std::fs::read(world.dir.path().join(ASIDE).join("con_1.1.aa")).unwrap(), b"torn");
    }
}

#[tokio::test]
async fn every_bit_of_an_answer_is_protected() {
    let (world, id) = World::died_with_an_answer(STRICT).await;
    let file = world.spooled().remove(0);
    let whole = std::fs::read(&file).unwrap();
    let length = u32::from_be_bytes(whole[8..12].try_into().unwrap()) as usize;
    let ticket = world.spool.tickets().await.unwrap().remove(0);
    for at in (0..12 + length).step_by(7) {
        let mut bent = whole.clone();
        bent[at] ^= 1 << (at % 8);
        std::fs::write(&file, bent).unwrap();
        assert!(!matches!(world.spool.read(&ticket).await.unwrap(), Content::Answer(_)), "byte {at}");
    }
    std::fs::write(&file, whole).unwrap();
    assert_eq!(world.connections.empty_spool().await.unwrap(), 1);
    assert_eq!(world.refresh_token(&id).await, "refresh-2");
}

#[tokio::test]
async fn where_there_is_no_room_for_the_answer_nothing_is_dialled() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    for is_full in [true, false] {
        if is_full {
            world.disk.fills(0)
        } else {
            world.disk.takes(0)
        }
        let refused = world.connections.lease(&id).await;
        assert!(matches!(refused, Err(LeaseError::Store(_))), "{refused:?}");
        assert_eq!(world.provider.dials(), 0);
        assert_eq!(world.record(&id).await.intent, None);
        assert!(world.spooled().is_empty());
    }
    world.disk.works();
    assert!(world.connections.lease(&id).await.is_ok());
}

#[tokio::test]
async fn an_answer_that_cannot_be_spooled_is_stored_all_the_same() {
    for writes in [1, 2] {
        let world = World::new(STRICT).await;
        let id = world.connection().await;
        world.disk.fills(writes);
        assert_eq!(world.connections.lease(&id).await.unwrap().token.expose(), "access-2");
        assert_eq!(world.refresh_token(&id).await, "refresh-2");
        assert!(world.spooled().is_empty());
    }
}

#[tokio::test]
async fn a_file_that_comes_back_after_its_tokens_were_stored_is_recognised() {
    let (world, id) = World::died_with_an_answer(STRICT).await;
    let file = world.spooled().remove(0);
    let bytes = std::fs::read(&file).unwrap();
    world.connections.recover_at_start().await.unwrap();
    std::fs::write(&file, bytes).unwrap();
    world.connections.recover_at_start().await.unwrap();
    assert_eq!(world.record(&id).await.generation, 2);
    assert!(world.store().page::<StrayToken>(None, 10).await.unwrap().is_empty());
    assert!(world.spooled().is_empty());
}

#[tokio::test]
async fn an_answer_that_another_consent_has_overtaken_is_kept_aside() {
    let (world, id) = World::died_with_an_answer(STRICT).await;
    let update = |connection: &Connection| {
        let mut next = connection.clone();
        next.generation = 2;
        next.intent = None;
        let context = Connection::refresh_context(&id, 2);
        next.refresh_token = Some(world.vault.seal(context, b"consented"));
        Ok::<_, ()>(Some(next))
    };
    world.store().update(id.as_str(), update).await.unwrap();
    world.connections.recover_at_start().await.unwrap();
    assert_eq!(world.refresh_token(&id).await, "consented");
    let strays = world.store().page::<StrayToken>(None, 10).await.unwrap();
    let opened = world.vault.open(StrayToken::context(&strays[0].key()), &strays[0].refresh_token).unwrap();
    assert_eq!(opened.expose().as_slice(), b"refresh-2");
    assert!(world.spooled().is_empty());
}

#[tokio::test]
async fn a_vendor_that_changes_its_format_costs_no_connection() {
    let memory = Arc::new(MemoryBackend::new());
    let mut world = World::over(STRICT, memory.clone()).await;
    let id = world.connection().await;
    world.provider.next(Fault::Odd);
    assert!(world.connections.lease(&id).await.is_err());
    for _ in 0..3 {
        world.pass(600);
        let held = world.connections.lease(&id).await;
        assert!(matches!(held, Err(LeaseError::RetryLater { .. })), "{held:?}");
    }
    assert_eq!(world.provider.dials(), 1, "the old token would only end the family");
    // Its user is asked after an hour; the answer stays.
    world.pass(3600);
    let asked = world.connections.lease(&id).await;
    assert!(matches!(asked, Err(LeaseError::NeedsReauth(_))), "{asked:?}");
    assert_eq!(world.spooled().len(), 1);

    let folder = world.dir.path().join("templates");
    let mended = template(STRICT).replace(
        "[refresh]",
        "[token.answer]\naccess_token = \"tokens.renewal\"\nrefresh_token = \"tokens.renewal\"\n[refresh]",
    );
    std::fs::write(folder.join("example.toml"), mended).unwrap();
    world.templates = Arc::new(Templates::default().with_folder(&folder).unwrap());
    world.restarted(memory);
    assert_eq!(world.connections.recover_at_start().await.unwrap().from_spool, 1);
    assert_eq!(world.refresh_token(&id).await, "refresh-2");
    assert_eq!(world.record(&id).await.state, ConnectionState::Active);
    assert!(world.spooled().is_empty());
}

#[tokio::test]
async fn an_answer_that_this_keyring_does_not_open_is_kept_for_the_one_that_does() {
    let (mut world, id) = World::died_with_an_answer(STRICT).await;
    let (own, memory) = (world.spool.clone(), world.backend.clone());
    let other = Arc::new(Vault::ephemeral(Arc::new(SeededEntropy::new(12))));
    world.spool = Spool::open(world.dir.path(), other).unwrap();
    world.restarted(memory.clone());
    assert_eq!(world.connections.recover_at_start().await.unwrap().from_spool, 0);
    // The lease of the process that died has lapsed.
    world.pass(60);
    let held = world.connections.lease(&id).await;
    assert!(matches!(held, Err(LeaseError::RetryLater { .. })), "{held:?}");
    assert_eq!(world.provider.dials(), 1, "the token that it spent is not shown again");
    world.spool = own;
    world.restarted(memory);
    assert_eq!(world.connections.recover_at_start().await.unwrap().from_spool, 1);
    assert_eq!(world.refresh_token(&id).await, "refresh-2");
    assert!(world.spooled().is_empty());
}

/// The store as it was before the last refresh that this node's spool knows of.
#[tokio::test]
async fn a_later_answer_than_an_older_store_knows_of_is_the_newest_token() {
    let (world, id) = World::died_with_an_answer(STRICT).await;
    let older = |connection: &Connection| {
        let mut older = connection.clone();
        older.generation = 0;
        older.intent = None;
        older.lease = None;
        let context = Connection::refresh_context(&id, 0);
        older.refresh_token = Some(world.vault.seal(context, b"spent long ago"));
        Ok::<_, ()>(Some(older))
    };
    world.store().update(id.as_str(), older).await.unwrap();
    assert_eq!(world.connections.lease(&id).await.unwrap().token.expose(), "access-2");
    assert_eq!(world.refresh_token(&id).await, "refresh-2");
    assert_eq!(world.provider.dials(), 1, "no spent token was shown");
    assert!(world.spooled().is_empty());
}

#[tokio::test]
async fn another_node_does_not_show_a_token_whose_answer_lies_unread_in_the_first_nodes_spool() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let one = world.node("one");
    world.provider.next(Fault::Odd);
    assert!(one.lease(&id).await.is_err());
    assert_eq!(world.provider.dials(), 1);
    let two = world.node("two");
    world.pass(600);
    let held = two.lease(&id).await;
    assert!(matches!(held, Err(LeaseError::RetryLater { .. })), "{held:?}");
    assert_eq!(world.provider.dials(), 1, "it would have ended the family");
    // Its user is asked after an hour, as on the first node.
    world.pass(3600);
    assert!(matches!(two.lease(&id).await, Err(LeaseError::NeedsReauth(_))));
    assert_eq!((world.provider.dials(), world.spooled().len()), (1, 1));
}

#[tokio::test]
async fn a_page_of_a_proxy_in_between_is_no_answer_and_the_token_is_tried_again() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    world.provider.next(Fault::Page);
    assert!(world.connections.lease(&id).await.is_err());
    assert!(world.spooled().is_empty());
    world.pass(60);
    assert!(world.connections.lease(&id).await.is_ok());
}

#[tokio::test]
async fn a_narrowed_answer_from_the_spool_gives_its_refresh_token_and_not_its_access_token() {
    let memory = Arc::new(MemoryBackend::new());
    let mut world = World::over(STRICT, memory.clone()).await;
    let id = world.connection().await;
    world.connections.lease(&id).await.unwrap();
    let grant = world.grant(&id, "mail.read files.read").await;
    world.restarted(Arc::new(Dying { inner: memory.clone(), left: AtomicUsize::new(1) }));
    assert!(world.connections.lease_for_grant(&grant, &scopes("mail.read")).await.is_err());
    world.restarted(memory);
    assert_eq!(world.connections.recover_at_start().await.unwrap().from_spool, 1);
    assert_eq!(world.refresh_token(&id).await, "refresh-3");
    assert_eq!(world.connections.lease(&id).await.unwrap().token.expose(), "access-2");
}
