//! A node's own keyring, and the one in the database: which of them is right, and what is never written over.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use valetkey::custody::shared_keys::{KEYRING, published};
use valetkey::kernel::entropy::{Entropy, SystemEntropy};
use valetkey::model::sealed::{Context, Sealed, Sealer as _};
use valetkey::store::{Backend as _, Committed, PostgresBackend};
use valetkey::vault::{KEYRING_FILE, RootKey, Vault, create_key_file};

use crate::cluster::{Database, sound_cluster};
use crate::deployment::{Deployment, run};
use crate::journey::first_admin;
use crate::moving::{database, stored};
use crate::vault::{FakeTransit, with_root};

/// A deployment whose records lie in a database.
struct Moved {
    deployment: Deployment,
    database: Database,
}

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy::default())
}

impl Moved {
    fn new() -> Self {
        let (deployment, database) = (Deployment::init(), sound_cluster().fresh());
        let moved = Self { deployment, database };
        let config = moved.deployment.at("valetkey.toml");
        run(&["vault", "migrate", "--config", &config], &[("VALETKEY_MIGRATE_TO", &moved.url())]).ok();
        stored(&moved.deployment, &self::database(&moved.deployment, "postgres.url", &moved.url()));
        moved
    }

    fn url(&self) -> String {
        self.database.url_at(self.database.port())
    }

    fn raw(&self) -> Arc<PostgresBackend> {
        self.database.open().unwrap()
    }

    async fn shared(&self) -> String {
        String::from_utf8(self.raw().get(KEYRING).await.unwrap().unwrap().to_vec()).unwrap()
    }

    async fn publish(&self, text: String, newest: u32) {
        let former = self.shared().await;
        let batch = published(Some(former.into()), text.into(), newest);
        assert_eq!(self.raw().commit(batch).await.unwrap(), Committed::Done);
    }

    fn starts(&mut self) {
        self.deployment.serve();
        assert_eq!(self.deployment.terminate(), Some(0));
    }
}

fn own(deployment: &Deployment) -> String {
    fs::read_to_string(deployment.path("data").join(KEYRING_FILE)).unwrap()
}

fn put(deployment: &Deployment, text: &str) {
    fs::write(deployment.path("data").join(KEYRING_FILE), text).unwrap();
}

fn root(deployment: &Deployment) -> RootKey {
    RootKey::KeyFile(deployment.path("root.key"))
}

fn terms(vault: &Vault) -> Vec<u32> {
    vault.terms().iter().map(|term| term.term).collect()
}

/// The node's keyring under a root key that the settings do not name.
fn under_another_root(deployment: &Deployment, name: &str) -> String {
    let path = deployment.path(name);
    create_key_file(&path, entropy().as_ref()).unwrap();
    let text = own(deployment);
    Vault::rewrapped(&path, &text, &root(deployment), &RootKey::KeyFile(path.clone()), entropy().as_ref())
        .unwrap()
}

fn kept(deployment: &Deployment) -> Vec<PathBuf> {
    let files = fs::read_dir(deployment.path("data")).unwrap().map(|file| file.unwrap().path());
    let is_kept = |path: &PathBuf| path.to_str().unwrap().contains("keyring.json.replaced-");
    let mut kept: Vec<PathBuf> = files.filter(is_kept).collect();
    kept.sort();
    kept
}

#[tokio::test]
async fn a_folder_of_another_deployment_is_refused_and_its_keyring_stays() {
    let moved = Moved::new();
    let shared = moved.shared().await;
    // Of another root key, and the only one that opens that deployment's records.
    let foreign = own(&Deployment::init());
    put(&moved.deployment, &foreign);
    let refused = moved.deployment.serve_in_vain(&[]);
    assert!(refused.contains("belongs to another deployment"), "{refused}");
    let (config, new) = (moved.deployment.at("valetkey.toml"), moved.deployment.at("new.key"));
    let refused = run(&["vault", "rekey", "--config", &config, "--key-file", &new], &[]).refused();
    assert!(refused.contains("belongs to another deployment"), "{refused}");
    assert_eq!((own(&moved.deployment), moved.shared().await), (foreign, shared));
    assert!(kept(&moved.deployment).is_empty());
}

#[tokio::test]
async fn every_keyring_that_does_not_open_is_kept_when_the_databases_takes_its_place() {
    let mut moved = Moved::new();
    let shared = moved.shared().await;
    let (first, second) = (
        under_another_root(&moved.deployment, "first.key"),
        under_another_root(&moved.deployment, "second.key"),
    );
    for text in [&first, &second, &second] {
        put(&moved.deployment, text);
        moved.starts();
        assert_eq!(own(&moved.deployment), shared);
    }
    let mut texts: Vec<String> =
        kept(&moved.deployment).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    texts.sort();
    let mut expected = vec![first, second];
    expected.sort();
    assert_eq!(texts, expected);
    assert!(fs::read_to_string(moved.deployment.path("log")).unwrap().contains("keyring.json.replaced-"));
}

/// The node's own has the newest term, and its seal is away at this moment.
#[tokio::test]
async fn a_seal_that_is_away_for_a_moment_costs_no_term() {
    use std::os::unix::fs::PermissionsExt as _;
    let transit = FakeTransit::start();
    let mut moved = Moved::new();
    let config = moved.deployment.at("valetkey.toml");
    let token = moved.deployment.write("bao.token", "s.right\n");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(&config).unwrap();
    let new = moved.deployment.write("new.toml", &with_root(&text, &transit.section()));
    run(&["vault", "rekey", "--config", &config, "--settings", &new], &[]).ok();
    fs::copy(&new, &config).unwrap();
    let text = own(&moved.deployment);
    let parsed: Value = serde_json::from_str(&text).unwrap();
    *transit.away_for.lock().unwrap() = Some(parsed["root"]["wrapped"].as_str().unwrap().to_owned());
    let refused = moved.deployment.serve_in_vain(&[]);
    assert!(refused.contains("sealed itself") && refused.contains("newer term"), "{refused}");
    assert_eq!(own(&moved.deployment), text);
    *transit.away_for.lock().unwrap() = None;
    moved.starts();
    assert!(kept(&moved.deployment).is_empty());
}

#[tokio::test]
async fn two_keys_under_one_term_are_told_and_neither_is_changed() {
    let moved = Moved::new();
    let data = moved.deployment.path("data");
    let open = || {
        let text = own(&moved.deployment);
        Vault::open_shared(&data, &text, None, &root(&moved.deployment), entropy()).unwrap()
    };
    let (next, term) = open().text_with_new_term().unwrap();
    moved.publish(next.clone(), term).await;
    let (other, _) = open().text_with_new_term().unwrap();
    put(&moved.deployment, &other);
    let refused = moved.deployment.serve_in_vain(&[]);
    assert!(refused.contains("different keys under term 2"), "{refused}");
    assert_eq!((own(&moved.deployment), moved.shared().await), (other, next));
}

const CONTEXT: Context<'_> = Context { kind: "spool", id: "1", field: "answer", generation: 1 };

/// An answer in the spool that cannot be stored.
fn spool(data: &Path, sealed: &Sealed) -> PathBuf {
    let file = data.join("spool/con_1.1.aa");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let length = u32::try_from(sealed.as_bytes().len()).unwrap().to_be_bytes();
    fs::write(&file, [b"vkspool1".as_slice(), &length, sealed.as_bytes()].concat()).unwrap();
    file
}

/// Waits until the walk has sealed everything anew; the wait before the old term is retired is tried elsewhere.
fn all_sealed_anew(deployment: &Deployment) {
    let began = Instant::now();
    loop {
        let status = deployment.admin(&["vault", "status", "--json", "--count"]).json();
        if status["terms"][0]["values"] == 0 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{status}");
    }
}

/// Keys are rotated and the root key is changed, while a node is away whose spool needs the retired term.
#[tokio::test]
async fn a_node_that_was_away_keeps_the_term_that_its_spool_needs_when_the_root_key_is_changed() {
    let mut moved = Moved::new();
    moved.deployment.serve();
    first_admin(&mut moved.deployment).await;
    let mut away = moved.deployment.another_node();
    away.serve();
    assert_eq!(away.terminate(), Some(0));
    let former = own(&away);
    let data = away.path("data");
    let vault = Vault::open_shared(&data, &former, None, &root(&away), entropy()).unwrap();
    let sealed = vault.seal(CONTEXT, b"an answer");
    let file = spool(&data, &sealed);

    moved.deployment.admin(&["vault", "rotate"]).ok();
    all_sealed_anew(&moved.deployment);
    assert_eq!(moved.deployment.terminate(), Some(0));
    let here = moved.deployment.path("data");
    let shared =
        Vault::open_shared(&here, &moved.shared().await, None, &root(&moved.deployment), entropy()).unwrap();
    assert_eq!(terms(&shared), [1, 2]);
    moved.publish(shared.text_without(&[1]).unwrap(), 2).await;
    let (config, new) = (moved.deployment.at("valetkey.toml"), moved.deployment.at("new.key"));
    run(&["vault", "rekey", "--config", &config, "--key-file", &new], &[]).ok();

    // Started with the new root key, it would have to give its own keyring up.
    let config = away.at("valetkey.toml");
    fs::copy(&new, away.path("new.key")).unwrap();
    let old_settings = fs::read_to_string(&config).unwrap();
    away.edit(|text| text.replace("\"root.key\"", "\"new.key\""));
    let refused = away.serve_in_vain(&[]);
    assert!(refused.contains("spool") && refused.contains("valetkey vault rekey"), "{refused}");
    assert_eq!((own(&away), kept(&away)), (former, Vec::new()));

    let new_settings = fs::read_to_string(&config).unwrap();
    fs::write(&config, old_settings).unwrap();
    let rekey = ["vault", "rekey", "--config", &config, "--key-file", &away.at("new.key")];
    let shared = moved.shared().await;
    run(&rekey, &[]).ok();
    run(&rekey, &[]).ok();
    assert_eq!(moved.shared().await, shared, "the database's was under it already");
    fs::write(&config, new_settings).unwrap();
    let root = RootKey::KeyFile(away.path("new.key"));
    let opens = |place: &Deployment| {
        let vault = Vault::open_text(&place.path(KEYRING_FILE), &own(place), &root, entropy()).unwrap();
        vault.open(CONTEXT, &sealed).is_ok_and(|plain| plain.expose() == b"an answer")
    };
    assert!(opens(&away), "wrapped anew, with the term that only it has");
    away.serve();
    assert!(opens(&away) && file.exists(), "the spool is not empty yet");
    assert_eq!(away.terminate(), Some(0));
    assert!(opens(&away));
    assert_eq!(Bytes::from(moved.shared().await), Bytes::from(shared));
}
