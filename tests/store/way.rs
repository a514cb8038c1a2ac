//! The way to the database, where others could listen; and who follows it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use valetkey::kernel::secret::SecretString;
use valetkey::store::{Backend as _, PostgresBackend};

use crate::cluster::{Cluster, Database, followed_cluster, open};

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A file as the server wants it: its own, and nobody else's.
fn server_file(cluster: &Cluster, name: &str, text: &str) {
    let path = cluster.folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    if rustix::process::getuid().is_root() {
        assert!(Command::new("chown").arg("postgres").arg(&path).status().unwrap().success());
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The server takes new settings over by itself, a moment after it was told to.
fn set(database: &Database, name: &str, value: &str) {
    followed_cluster().psql(&format!("ALTER SYSTEM SET {name} = '{value}'"));
    followed_cluster().psql("SELECT pg_reload_conf()");
    until(name, || database.psql(&format!("SHOW {name}")) == value);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_reached_over_tls_by_its_name_and_from_the_stated_authority_only() {
    let (cluster, database) = (followed_cluster(), followed_cluster().fresh());
    let (ours, anothers) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    server_file(cluster, "server.crt", &certificate.signed_by(&key, &ours).unwrap().pem());
    server_file(cluster, "server.key", &key.serialize_pem());
    set(&database, "ssl_cert_file", cluster.folder.join("server.crt").to_str().unwrap());
    set(&database, "ssl_key_file", cluster.folder.join("server.key").to_str().unwrap());
    set(&database, "ssl", "on");

    database.psql("CREATE ROLE protected LOGIN SUPERUSER");
    let folder = tempfile::tempdir().unwrap();
    let pem = |name: &str, text: String| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (right, wrong) = (pem("right.pem", ours.pem()), pem("wrong.pem", anothers.pem()));
    let url = |host: &str, authority: &PathBuf| {
        let plain =
            database.url_at(database.port()).replace("postgres@127.0.0.1", &format!("protected@{host}"));
        format!("{plain}&sslmode=verify-full&sslrootcert={}", authority.display())
    };
    let backend = open(&url("localhost", &right)).unwrap();
    assert!(backend.get(b"k").await.unwrap().is_none());
    let sessions = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl \
                    JOIN pg_stat_activity USING (pid) WHERE usename = 'protected'";
    let (protected, open_ones) = database.psql(sessions).split_once('|').map(numbers).unwrap();
    assert!(protected > 0 && open_ones == 0, "{protected} over TLS, {open_ones} not");
    drop(backend);
    for (host, authority, why) in
        [("localhost", &wrong, "another authority"), ("127.0.0.1", &right, "another name")]
    {
        let refused = open(&url(host, authority)).err().unwrap_or_else(|| panic!("{why} is trusted"));
        assert!(refused.to_string().contains("certificate"), "{why}: {refused}");
        let examined = PostgresBackend::examine(&SecretString::new(url(host, authority)));
        assert!(examined.is_err(), "{why}: doctor trusts it");
    }
    // Back to how it was, and what asks for TLS is not answered without.
    set(&database, "ssl", "off");
    assert!(open(&url("localhost", &right)).is_err(), "it goes on in the clear");
}

fn numbers((one, other): (&str, &str)) -> (u32, u32) {
    (one.parse().unwrap(), other.parse().unwrap())
}

/// Follows the database, like a standby, until it is dropped.
struct Follower(Child);

impl Follower {
    fn of(cluster: &Cluster, into: &std::path::Path) -> Self {
        let mut program = cluster.program("pg_receivewal");
        program.arg("-D").arg(into).arg("-h").arg(&cluster.folder).args(["-U", "postgres", "--synchronous"]);
        program.args(["-p", &cluster.port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        Self(program.spawn().unwrap())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn standbys_that_nobody_waits_for_are_told_of_until_somebody_does() {
    let (cluster, database) = (followed_cluster(), followed_cluster().fresh());
    let url = SecretString::new(database.url_at(database.port()));
    let told = || {
        let doubts = PostgresBackend::examine(&url).unwrap().doubts;
        doubts.into_iter().find(|doubt| doubt.problem.starts_with("standbys follow"))
    };
    assert_eq!(told(), None, "nobody follows");
    let folder = tempfile::tempdir().unwrap();
    let follower = Follower::of(cluster, folder.path());
    until("a follower", || database.psql("SELECT count(*) FROM pg_stat_replication") == "1");
    let doubt = told().unwrap();
    assert!(!doubt.is_unsafe && doubt.remedy == "set synchronous_standby_names", "{doubt:?}");
    set(&database, "synchronous_standby_names", "*");
    assert_eq!(told(), None, "it is waited for");
    set(&database, "synchronous_standby_names", "");
    assert!(told().is_some());
    drop(follower);
    until("no follower", || database.psql("SELECT count(*) FROM pg_stat_replication") == "0");
    assert_eq!(told(), None, "nobody follows any more");
}
