//! A throwaway PostgreSQL: one per test run, gone with the process. Each test has a schema of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use valetkey::kernel::entropy::SystemEntropy;
use valetkey::kernel::secret::SecretString;
use valetkey::store::{PostgresBackend, StoreError};

/// Starts the server, says so, and takes everything away when its input ends: with the test process, however
/// that ends.
const SCRIPT: &str = r#"
set -eu
bin=$1; folder=$2; port=$3; fsync=$4; shift 4
as=""
if [ "$(id -u)" = 0 ]; then
  chown postgres "$folder"
  as="setpriv --reuid=postgres --regid=postgres --clear-groups"
fi
cd "$folder"
$as "$bin/initdb" -D "$folder/data" -U postgres -A trust -k -E UTF8 --locale=C -N >initdb.log 2>&1 || { cat initdb.log >&2; exit 1; }
$as "$bin/postgres" -D "$folder/data" -k "$folder" -p "$port" -c listen_addresses=127.0.0.1 -c fsync=$fsync \
  -c max_connections=300 -c shared_buffers=32MB -c wal_level=minimal -c max_wal_senders=0 "$@" >"$folder/log" 2>&1 </dev/null &
server=$!
tries=0
until "$bin/pg_isready" -q -h "$folder" -p "$port"; do
  tries=$((tries + 1))
  kill -0 $server 2>/dev/null && [ $tries -lt 600 ] || { cat "$folder/log" >&2; exit 1; }
  sleep 0.1
done
echo ready
cat >/dev/null
kill -QUIT $server; wait $server || true
rm -rf "$folder"
"#;

/// A running server.
pub struct Cluster {
    pub folder: PathBuf,
    pub port: u16,
    /// Held: its input is what keeps the server up.
    _supervisor: Child,
}

fn binaries() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()))
        .filter(|bin| ["initdb", "postgres", "pg_isready", "psql"].iter().all(|name| bin.join(name).exists()))
        .collect();
    found.sort();
    found.pop().expect("no PostgreSQL server for the tests: apt-get install postgresql, or run scripts/test")
}

/// The server of this test run. It syncs nothing, which is quick, and which no broker starts on.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start("off", &[]))
}

/// A server as brokers want it.
#[allow(dead_code, reason = "the tests of the store start no broker")]
pub fn sound_cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start("on", &[]))
}

/// A server that standbys may follow.
#[allow(dead_code, reason = "for the tests of the store")]
pub fn followed_cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start("off", &["-c", "wal_level=replica", "-c", "max_wal_senders=3"]))
}

impl Cluster {
    fn start(fsync: &str, settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("valetkey-pg-").tempdir_in("/tmp").unwrap().keep();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut supervisor = Command::new("bash")
            .args(["-c", SCRIPT, "postgres"])
            .arg(binaries())
            .arg(&folder)
            .arg(port.to_string())
            .arg(fsync)
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(supervisor.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "PostgreSQL did not start");
        Self { folder, port, _supervisor: supervisor }
    }

    /// One of the programs that come with the server.
    #[allow(dead_code, reason = "for the tests of the store")]
    pub fn program(&self, name: &str) -> Command {
        Command::new(binaries().join(name))
    }

    pub fn psql(&self, sql: &str) -> String {
        let out = Command::new(binaries().join("psql"))
            .args(["-qAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-c", sql])
            .arg("-h")
            .arg(&self.folder)
            .args(["-p", &self.port.to_string()])
            .output()
            .unwrap();
        assert!(out.status.success(), "{sql}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// A database of its own, as far as Valetkey can see.
    pub fn fresh(&'static self) -> Database {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let schema = format!("s{}", NEXT.fetch_add(1, Ordering::SeqCst));
        self.psql(&format!("CREATE SCHEMA {schema}"));
        Database { on: self, schema }
    }
}

/// An empty schema.
pub struct Database {
    on: &'static Cluster,
    pub schema: String,
}

impl Database {
    /// The URL by which it is reached through a port of this machine, a proxy's perhaps.
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres?options=-c%20search_path%3D{}", self.schema)
    }

    pub fn port(&self) -> u16 {
        self.on.port
    }

    pub fn open(&self) -> Result<Arc<PostgresBackend>, StoreError> {
        open(&self.url_at(self.on.port))
    }

    pub fn psql(&self, sql: &str) -> String {
        self.on.psql(&format!("SET search_path = {}; {sql}", self.schema))
    }
}

pub fn open(url: &str) -> Result<Arc<PostgresBackend>, StoreError> {
    let entropy = Arc::new(SystemEntropy::default());
    PostgresBackend::open(&SecretString::new(url.to_owned()), entropy).map(Arc::new)
}

/// Where the unix socket lies.
pub fn socket_folder() -> &'static Path {
    &cluster().folder
}
