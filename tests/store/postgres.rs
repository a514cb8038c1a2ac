//! What the backend for several nodes must survive: other nodes, lost answers, and a database that goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use valetkey::kernel::clock::{Clock as _, SystemClock};
use valetkey::kernel::secret::SecretString;
use valetkey::store::{Backend, Batch, Committed, Expect, PostgresBackend, Store, StoreError, Tx};

use crate::cluster::{cluster, open, socket_folder};
use crate::{Note, note, vault};

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> Batch {
    Batch { expect: Vec::new(), write: vec![(bytes(key), Some(bytes(value)))] }
}

async fn insert(store: &Store, id: &str) -> Result<Committed, StoreError> {
    let mut tx = Tx::new();
    tx.insert(&note(id, "ann"));
    store.commit(tx).await
}

async fn count_up(store: &Store) -> Result<(), StoreError> {
    let one_more = |n: &Note| Ok::<_, ()>(Some(Note { count: n.count + 1, ..n.clone() }));
    match store.update::<Note, ()>("1", one_more).await {
        Ok(_) => Ok(()),
        Err(valetkey::store::UpdateError::Store(error)) => Err(error),
        Err(refused) => panic!("{refused:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_change_one_record_and_no_change_is_lost() {
    let database = cluster().fresh();
    let nodes: Vec<Store> = (0..3).map(|_| Store::new(database.open().unwrap(), vault())).collect();
    let _ = insert(&nodes[0], "1").await.unwrap();
    let crowd = (0..90).map(|n| {
        let store = nodes[n % 3].clone();
        tokio::spawn(async move {
            // One node's queue keeps its own in order; against other nodes each has to try again.
            while let Err(error) = count_up(&store).await {
                assert!(matches!(error, StoreError::Contended { .. }), "{error}");
            }
        })
    });
    for task in join_all(crowd).await {
        task.unwrap();
    }
    assert_eq!(nodes[1].get::<Note>("1").await.unwrap().unwrap().count, 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_nodes_that_take_a_key_or_rest_on_its_absence_one_wins() {
    let database = cluster().fresh();
    let nodes: Vec<_> = (0..3).map(|_| database.open().unwrap()).collect();
    for round in 0..20 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        // Each writes one key if the other one is not there: at most one may happen.
        let pairs = [(&a, &b), (&b, &a)];
        let tried = join_all((0..6).map(|n| {
            let (mine, other) = pairs[n % 2];
            nodes[n % 3].commit(Batch {
                expect: vec![(bytes(mine), Expect::Absent), (bytes(other), Expect::Absent)],
                write: vec![(bytes(mine), Some(bytes("x")))],
            })
        }))
        .await;
        let done = tried.iter().filter(|r| matches!(r, Ok(Committed::Done))).count();
        assert_eq!(done, 1, "round {round}: {tried:?}");
        let there = [nodes[0].get(a.as_bytes()).await.unwrap(), nodes[0].get(b.as_bytes()).await.unwrap()];
        assert_eq!(there.iter().flatten().count(), 1, "round {round}");
    }
}

#[tokio::test]
async fn what_was_committed_before_a_long_outage_is_still_known_after_it() {
    let database = cluster().fresh();
    let backend = database.open().unwrap();
    assert_eq!(backend.commit(put("r/a", "1")).await.unwrap(), Committed::Done);
    database.psql("UPDATE valetkey_commits SET at = now() - interval '2 days'");
    let noted = database.psql("SELECT count(*) FROM valetkey_commits");
    // Another node, whose session is opened anew when the database is back.
    let other = database.open().unwrap();
    assert_eq!(other.commit(put("r/b", "1")).await.unwrap(), Committed::Done);
    let kept = database.psql("SELECT count(*) FROM valetkey_commits WHERE at < now() - interval '1 day'");
    assert_eq!((noted.as_str(), kept.as_str()), ("1", "1"));
}

#[tokio::test]
async fn what_one_node_commits_the_next_read_at_another_sees() {
    let database = cluster().fresh();
    let (one, other) = (database.open().unwrap(), database.open().unwrap());
    for n in 0..50 {
        let value = n.to_string();
        let _ = one.commit(put("k", &value)).await.unwrap();
        assert_eq!(other.get(b"k").await.unwrap(), Some(bytes(&value)));
    }
}

#[tokio::test]
async fn long_keys_are_kept_apart_and_found_by_their_prefix() {
    let database = cluster().fresh();
    let backend = database.open().unwrap();
    let long = |end: &str| format!("p/{}{end}", "x".repeat(3900));
    for end in ["1", "2"] {
        let _ = backend.commit(put(&long(end), end)).await.unwrap();
    }
    let _ = backend.commit(put("p/y", "short")).await.unwrap();
    assert_eq!(backend.get(long("2").as_bytes()).await.unwrap(), Some(bytes("2")));
    assert_eq!(backend.get(long("3").as_bytes()).await.unwrap(), None);
    assert_eq!(backend.scan(b"p/", None, 9).await.unwrap().len(), 3);
    let first = backend.scan(long("").as_bytes(), None, 1).await.unwrap();
    let rest = backend.scan(long("").as_bytes(), Some(&first[0].0), 9).await.unwrap();
    let mut all = [first, rest].concat();
    all.sort();
    let keys: Vec<_> = all.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, [bytes(&long("1")), bytes(&long("2"))]);
}

#[tokio::test]
async fn its_tables_are_made_once_and_newer_ones_are_left_alone() {
    let database = cluster().fresh();
    let together: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn({
                let url = database.url_at(database.port());
                move || open(&url)
            })
        })
        .collect();
    for node in together {
        node.join().unwrap().unwrap();
    }
    assert_eq!(database.psql("SELECT count(*) FROM valetkey_schema"), "1");
    database.psql("INSERT INTO valetkey_schema (version) VALUES (99)");
    let refused = database.open().err().unwrap();
    assert!(
        matches!(&refused, StoreError::Database { problem } if problem.contains("version 99")),
        "{refused}"
    );
}

#[tokio::test]
async fn what_the_engine_does_not_guarantee_is_said() {
    let database = cluster().fresh();
    let backend = database.open().unwrap();
    assert!(backend.doubts().iter().any(|doubt| doubt.starts_with("fsync is off")), "{:?}", backend.doubts());
    assert!(!backend.doubts().iter().any(|doubt| doubt.contains("synchronous_commit")));
    database.psql("CREATE ROLE careless LOGIN SUPERUSER; ALTER ROLE careless SET synchronous_commit = off");
    let url = database.url_at(database.port()).replace("postgres@", "careless@");
    let careless = open(&url).unwrap();
    assert!(careless.doubts().iter().any(|doubt| doubt.starts_with("synchronous_commit is off")));
    // Whatever the role says, what is committed here is waited for.
    let _ = careless.commit(put("k", "1")).await.unwrap();
    database.psql("DROP ROLE careless");
}

#[tokio::test]
async fn the_doctor_is_told_what_is_unsafe_and_what_time_it_is_there() {
    let database = cluster().fresh();
    let url = |user: &str| {
        let url = database.url_at(database.port());
        SecretString::new(url.replace("postgres@", &format!("{user}@")))
    };
    let usual = PostgresBackend::examine(&url("postgres")).unwrap();
    let fsync = usual.doubts.iter().find(|doubt| doubt.problem.starts_with("fsync is off")).unwrap();
    assert!(fsync.is_unsafe && fsync.remedy == "set fsync = on", "{fsync:?}");
    let off = SystemClock.now().since(usual.clock).max(usual.clock.since(SystemClock.now()));
    assert!(off < std::time::Duration::from_secs(5), "the same machine's clock: {off:?}");
    // Each role bends one setting.
    for (setting, value, is_unsafe) in [
        ("synchronous_commit", "remote_write", false),
        ("zero_damaged_pages", "on", true),
        ("default_transaction_read_only", "on", true),
    ] {
        let role = format!("bent_{setting}");
        database
            .psql(&format!("CREATE ROLE {role} LOGIN SUPERUSER; ALTER ROLE {role} SET {setting} = {value}"));
        let bent = PostgresBackend::examine(&url(&role)).unwrap();
        let new: Vec<_> = bent.doubts.iter().filter(|doubt| !usual.doubts.contains(doubt)).collect();
        assert_eq!(new.len(), 1, "{setting}: {new:?}");
        assert_eq!(new[0].is_unsafe, is_unsafe, "{setting}: {new:?}");
        database.psql(&format!("DROP ROLE {role}"));
    }
    let tables = database.psql("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()");
    assert_eq!(tables, "0", "asking changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_told_in_time_and_is_used_again() {
    let database = cluster().fresh();
    let proxy = Proxy::start(database.port()).await;
    let backend = open(&database.url_at(proxy.port)).unwrap();
    let _ = backend.commit(put("k", "1")).await.unwrap();
    proxy.away(true);
    let began = Instant::now();
    let (read, written) = tokio::join!(backend.get(b"k"), backend.commit(put("k", "2")));
    assert!(matches!(read, Err(StoreError::Unreachable { .. } | StoreError::TooSlow)), "{read:?}");
    assert!(matches!(written, Err(StoreError::Unreachable { .. })), "{written:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "callers are told");
    assert!(!backend.failed(), "it stays up");
    proxy.away(false);
    assert_eq!(backend.commit(put("k", "3")).await.unwrap(), Committed::Done);
    assert_eq!(backend.get(b"k").await.unwrap(), Some(bytes("3")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_is_looked_up_and_neither_way_told_wrong() {
    let database = cluster().fresh();
    let proxy = Proxy::start(database.port()).await;
    let near = Store::new(database.open().unwrap(), vault());
    let far = Store::new(open(&database.url_at(proxy.port)).unwrap(), vault());
    let _ = insert(&near, "1").await.unwrap();
    let mut done = 0;
    for cut in [Cut::AfterCommit, Cut::BeforeCommit].into_iter().cycle().take(24) {
        let cuts = proxy.cuts();
        proxy.cut_next(cut);
        match count_up(&far).await {
            Ok(()) => done += 1,
            Err(error) => assert!(matches!(error, StoreError::Unreachable { .. }), "{error}"),
        }
        assert!(proxy.cuts() > cuts, "the connection was cut");
        let count = near.get::<Note>("1").await.unwrap().unwrap().count;
        assert_eq!(count, done, "after {cut:?}");
    }
    assert!(done >= 12, "a commit that was carried out is not tried again: {done}");
}

#[tokio::test]
async fn it_is_reached_over_a_unix_socket_too() {
    let database = cluster().fresh();
    let folder = socket_folder().to_str().unwrap().replace('/', "%2F");
    let url = format!(
        "postgres://postgres@/postgres?host={folder}&port={}&options=-c%20search_path%3D{}",
        database.port(),
        database.schema
    );
    let backend = open(&url).unwrap();
    let _ = backend.commit(put("k", "1")).await.unwrap();
    assert_eq!(database.open().unwrap().get(b"k").await.unwrap(), Some(bytes("1")));
}

/// Where a connection is cut.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// The server gets the COMMIT and carries it out; its answer is lost.
    AfterCommit,
    /// The COMMIT itself is lost.
    BeforeCommit,
}

/// A proxy on loopback that can lose things.
pub struct Proxy {
    pub port: u16,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    away: AtomicBool,
    after: AtomicBool,
    before: AtomicBool,
    cuts: AtomicUsize,
    ends: tokio::sync::Notify,
}

impl Proxy {
    pub async fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Arc::new(Faults::default());
        let of_listener = Arc::clone(&faults);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !of_listener.away.load(Ordering::SeqCst) {
                    tokio::spawn(pass(client, to, Arc::clone(&of_listener)));
                }
            }
        });
        Proxy { port, faults }
    }

    pub fn away(&self, away: bool) {
        self.faults.away.store(away, Ordering::SeqCst);
        self.faults.ends.notify_waiters();
    }

    pub fn cut_next(&self, cut: Cut) {
        match cut {
            Cut::AfterCommit => self.faults.after.store(true, Ordering::SeqCst),
            Cut::BeforeCommit => self.faults.before.store(true, Ordering::SeqCst),
        }
    }

    pub fn cuts(&self) -> usize {
        self.faults.cuts.load(Ordering::SeqCst)
    }
}

async fn pass(client: TcpStream, to: u16, faults: Arc<Faults>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let is_commit = buffer[..read].windows(7).any(|window| window == b"COMMIT\0");
            if is_commit && faults.before.swap(false, Ordering::SeqCst) {
                faults.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            if is_commit && faults.after.swap(false, Ordering::SeqCst) {
                faults.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    };
    let down = async { drop(tokio::io::copy(&mut from_server, &mut to_client).await) };
    tokio::select! {
        () = up => {}
        () = down => {}
        () = faults.ends.notified() => {}
    }
}
