//! Keys as an admin handles them: rotation of a running broker, another root key, a seal outside.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::deployment::{Deployment, run};
use crate::journey::first_admin;

#[tokio::test]
async fn keys_are_rotated_while_the_broker_runs_and_a_kill_does_not_end_it() {
    let mut deployment = Deployment::init();
    deployment.serve();
    first_admin(&mut deployment).await;
    let status = deployment.admin(&["vault", "status", "--json", "--count"]).json();
    assert_eq!((&status["active_term"], &status["seal"]), (&json!(1), &json!("key file")));
    assert_eq!(status["rotation"], Value::Null);
    assert!(status["records"].as_u64().unwrap() > 0 && status["terms"][0]["values"].as_u64().unwrap() > 0);

    let status = deployment.admin(&["vault", "rotate", "--json"]).json();
    assert_eq!(status["active_term"], 2);
    let refused = deployment.admin(&["vault", "rotate"]).refused();
    assert!(refused.contains("409") && refused.contains("vault status"), "{refused}");
    deployment.kill();
    deployment.serve();
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        // The old term stays for a while after everything is sealed anew; that wait is tried elsewhere.
        let status = deployment.admin(&["vault", "status", "--json", "--count"]).json();
        if status["terms"][0]["values"] == 0 && status["terms"][1]["values"] == status["records"] {
            break;
        }
        assert!(Instant::now() < until, "{status}");
    }
    assert!(deployment.admin(&["vault", "status"]).ok().contains("TERM"));
    let refused = deployment.admin(&["vault", "restored", "--confirm"]).refused();
    assert!(refused.contains("not marked as restored"), "{refused}");
}

/// Reads the settings' root key from somewhere else.
pub fn with_root(text: &str, section: &str) -> String {
    let (before, rest) = text.split_once("[root_key]").unwrap();
    let after = rest.find("\n[").map_or("", |at| &rest[at..]);
    format!("{before}{section}\n{after}")
}

#[test]
fn the_root_key_can_be_changed_and_the_old_one_opens_nothing_any_more() {
    let mut deployment = Deployment::init();
    let config = deployment.at("valetkey.toml");
    let old = fs::read_to_string(&config).unwrap();
    deployment.serve();
    let refused = run(&["vault", "rekey", "--config", &config, "--key-file", &deployment.at("new.key")], &[]);
    assert!(refused.refused().contains("in use"), "not while the broker runs");
    deployment.terminate();

    let weak = [("NEW", "too short")];
    let args = ["vault", "rekey", "--config", &config, "--passphrase-env", "NEW"];
    assert!(run(&args, &weak).refused().contains("too short"));
    let env = [("NEW", "six random words are quite enough")];
    let printed = run(&args, &env).ok();
    assert!(printed.contains("passphrase_env = \"NEW\""), "{printed}");
    assert!(!deployment.path("data/keyring.json.before").exists());
    assert!(deployment.serve_in_vain(&env).contains("passphrase"), "the old key file opens nothing");
    deployment.edit(|text| with_root(&text, "[root_key]\npassphrase_env = \"NEW\""));
    let wrong = [("NEW", "six random words are not enough")];
    assert!(deployment.serve_in_vain(&wrong).contains("root key does not open"));

    let back = ["vault", "rekey", "--config", &config, "--key-file", &deployment.at("new.key")];
    run(&back, &env).ok();
    fs::write(&config, with_root(&old, "[root_key]\nfile = \"new.key\"")).unwrap();
    deployment.serve();
    deployment.terminate();
}

/// Killed between the two names: the keyring that is there opens, and what was kept of the old one goes.
#[test]
fn a_keyring_that_was_kept_from_before_goes_with_the_next_start() {
    let mut deployment = Deployment::init();
    let former = deployment.path("data/keyring.json.before");
    fs::copy(deployment.path("data/keyring.json"), &former).unwrap();
    deployment.serve();
    assert!(!former.exists());
    deployment.terminate();
}

/// The two operations of a transit engine that are used, and what a test makes it do.
pub struct FakeTransit {
    pub address: String,
    /// What is answered instead.
    pub status: Arc<Mutex<Option<u16>>>,
    /// What alone is not unwrapped just now.
    pub away_for: Arc<Mutex<Option<String>>>,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl FakeTransit {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (status, asked) = (Arc::<Mutex<Option<u16>>>::default(), Arc::default());
        let away_for = Arc::<Mutex<Option<String>>>::default();
        let fake = Self {
            address,
            status: Arc::clone(&status),
            away_for: Arc::clone(&away_for),
            asked: Arc::clone(&asked),
        };
        std::thread::spawn(move || {
            let mut keys = BTreeMap::new();
            for stream in listener.incoming().map_while(Result::ok) {
                answer(stream, *status.lock().unwrap(), &away_for, &asked, &mut keys);
            }
        });
        fake
    }

    pub fn section(&self) -> String {
        format!(
            "[seal.transit]\naddress = \"{}\"\nkey = \"valetkey\"\ntoken_file = \"bao.token\"\n",
            self.address
        )
    }
}

fn answer(
    stream: TcpStream,
    status: Option<u16>,
    away_for: &Mutex<Option<String>>,
    asked: &Mutex<Vec<(String, String)>>,
    keys: &mut BTreeMap<String, String>,
) {
    let mut reader = BufReader::new(stream);
    let (mut path, mut token, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim();
        match line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value)) {
            Some((name, value)) if name == "x-vault-token" => token = value.to_owned(),
            Some((name, value)) if name == "content-length" => length = value.parse().unwrap(),
            Some(_) => {}
            None if line.is_empty() => break,
            None => path = line.split(' ').nth(1).unwrap().to_owned(),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    asked.lock().unwrap().push((path.clone(), token.clone()));
    let is_away = away_for.lock().unwrap().as_deref().is_some_and(|text| body["ciphertext"] == text);
    let status = if is_away { Some(503) } else { status };
    let known = body["ciphertext"].as_str().and_then(|text| keys.get(text));
    let (status, data) = match (status, path.as_str()) {
        (Some(status), _) => (status, json!({"errors": ["no"]})),
        (None, _) if token != "s.right" => (403, json!({"errors": ["permission denied"]})),
        (None, "/v1/transit/datakey/plaintext/valetkey") => {
            let plain = STANDARD.encode([keys.len() as u8 + 7; 32]);
            let wrapped = format!("vault:v1:{}", keys.len());
            keys.insert(wrapped.clone(), plain.clone());
            (200, json!({"data": {"plaintext": plain, "ciphertext": wrapped, "key_version": 1}}))
        }
        (None, "/v1/transit/decrypt/valetkey") => match known {
            Some(plain) => (200, json!({"data": {"plaintext": plain}})),
            None => (400, json!({"errors": ["invalid ciphertext"]})),
        },
        (None, _) => (404, json!({"errors": []})),
    };
    let text = data.to_string();
    let _ = write!(
        reader.into_inner(),
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
}

#[test]
fn a_seal_outside_holds_the_root_key_and_a_start_without_it_fails_at_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let transit = FakeTransit::start();
    let mut deployment = Deployment::init();
    let config = deployment.at("valetkey.toml");
    let old = fs::read_to_string(&config).unwrap();
    let token = deployment.write("bao.token", "s.right\n");
    let new = deployment.write("new.toml", &with_root(&old, &transit.section()));
    let rekey = ["vault", "rekey", "--config", &config, "--settings", &new];
    assert!(run(&rekey, &[]).refused().contains("0600"), "others can read the token");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let before = fs::read(deployment.path("data/keyring.json")).unwrap();
    *transit.status.lock().unwrap() = Some(503);
    assert!(run(&rekey, &[]).refused().contains("sealed itself"));
    assert_eq!(fs::read(deployment.path("data/keyring.json")).unwrap(), before, "nothing was changed");
    *transit.status.lock().unwrap() = None;
    run(&rekey, &[]).ok();
    assert!(deployment.serve_in_vain(&[]).contains("transit key"), "the old settings do not fit");
    fs::copy(&new, &config).unwrap();
    deployment.serve();
    deployment.terminate();
    let asked = transit.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|(_, token)| token == "s.right"));
    assert_eq!(asked.iter().filter(|(path, _)| path.contains("datakey")).count(), 2, "one failed");
    let keyring = fs::read_to_string(deployment.path("data/keyring.json")).unwrap();
    assert!(keyring.contains("vault:v1:0") && keyring.contains("transit/valetkey"), "{keyring}");

    for (status, words) in [(403, "token may not"), (404, "no such mount or key"), (500, "it failed")] {
        *transit.status.lock().unwrap() = Some(status);
        let refused = deployment.serve_in_vain(&[]);
        assert!(refused.contains(words) && refused.contains(&transit.address), "{refused}");
    }
    *transit.status.lock().unwrap() = None;
    // Another key than the one that wrapped it, and a keyring that was changed.
    deployment.edit(|text| text.replace("key = \"valetkey\"", "key = \"other\""));
    assert!(deployment.serve_in_vain(&[]).contains("set up with its key `transit/valetkey`"));
    deployment.edit(|text| text.replace("key = \"other\"", "key = \"valetkey\""));
    fs::write(deployment.path("data/keyring.json"), keyring.replace("vault:v1:0", "vault:v1:9")).unwrap();
    assert!(deployment.serve_in_vain(&[]).contains("status 400"));
    fs::write(deployment.path("data/keyring.json"), keyring).unwrap();

    // Nobody there.
    let gone = crate::deployment::free_port();
    deployment.edit(|text| text.replace(&transit.address, &format!("http://127.0.0.1:{gone}")));
    let refused = deployment.serve_in_vain(&[]);
    assert!(refused.contains("cannot be reached") && refused.contains(&gone.to_string()), "{refused}");
    // Somebody who never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    deployment.edit(|text| text.replace(&format!("http://127.0.0.1:{gone}"), &address));
    assert!(deployment.serve_in_vain(&[]).contains("no answer within"));
}

/// Another data folder in place of the present one.
fn over(deployment: &Deployment, name: &str) {
    fs::rename(deployment.path("data"), deployment.path(name)).unwrap();
}

#[tokio::test]
async fn a_backup_of_a_running_broker_becomes_another_deployment() {
    let mut deployment = Deployment::init();
    let config = deployment.at("valetkey.toml");
    deployment.serve();
    first_admin(&mut deployment).await;
    let (sealed, aged) = (deployment.at("sealed.backup"), deployment.at("aged.backup"));
    let identity = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    let recipient = identity.parse::<age::x25519::Identity>().unwrap().to_public().to_string();
    deployment.admin(&["vault", "backup", "--to", &sealed]).ok();
    deployment.admin(&["vault", "backup", "--to", &aged, "--recipient", &recipient, "--json"]).json();
    assert!(deployment.admin(&["vault", "backup", "--to", &sealed]).refused().contains("exists already"));
    let wrong = deployment.at("wrong.backup");
    deployment.admin(&["vault", "backup", "--to", &wrong, "--recipient", "age1x"]).refused();
    assert!(!deployment.path("wrong.backup").exists() && !deployment.path("wrong.backup.partial").exists());
    let refused = run(&["vault", "restore", &sealed, "--config", &config], &[]).refused();
    assert!(refused.contains("not empty"), "{refused}");
    assert!(
        run(&["vault", "migrate", "--to", "redb:x", "--config", &config], &[]).refused().contains("in use")
    );
    deployment.terminate();

    over(&deployment, "before");
    assert!(run(&["vault", "restore", &aged, "--config", &config], &[]).refused().contains("--identity"));
    let key = deployment.write("age.key", &format!("# made by age-keygen\n{identity}\n"));
    let restored =
        run(&["vault", "restore", &aged, "--config", &config, "--identity", &key, "--json"], &[]).json();
    assert!(restored["records"].as_u64().unwrap() > 0, "{restored}");
    deployment.serve();
    let status = deployment.admin(&["vault", "status", "--json"]).json();
    assert!(status["restored"]["taken_at"].is_string(), "the admin token is known, and the store says so");
    assert!(deployment.admin(&["vault", "status"]).ok().contains("vault restored --confirm"));
    deployment.admin(&["vault", "restored", "--confirm"]).ok();
    assert_eq!(deployment.admin(&["vault", "status", "--json"]).json()["restored"], Value::Null);
    // What was revoked since the backup works again, so nothing does before an admin has looked.
    let resumed = deployment.admin(&["resume", restored["stop"].as_str().unwrap(), "--json"]).json();
    assert!(resumed["reason"].as_str().unwrap().contains("revocations"), "{resumed}");

    // A database that was restored by its own means is marked by hand.
    let mark = ["vault", "restored", "--mark", "--taken-at", "2026-01-02T03:04:05Z", "--json"];
    let status = deployment.admin(&mark).json();
    assert!(status["restored"]["taken_at"].as_str().unwrap().starts_with("2026-01-02T03:04:05"), "{status}");
    deployment.admin(&["vault", "restored", "--confirm"]).ok();
    assert_eq!(run(&["vault", "restored", "--mark", "--confirm"], &[]).code, Some(2));
    deployment.terminate();

    // Cut off: nothing of it is left.
    over(&deployment, "second");
    let whole = fs::read(&sealed).unwrap();
    let cut = deployment.at("cut.backup");
    fs::write(&cut, &whole[..whole.len() - 40]).unwrap();
    assert!(run(&["vault", "restore", &cut, "--config", &config], &[]).refused().contains("no whole backup"));
    assert!(!deployment.path("data").exists() && !deployment.path(".data.restoring").exists());
    run(&["vault", "restore", &sealed, "--config", &config], &[]).ok();

    // On to the other engine, and a backup of it while nothing runs.
    let to = format!("redb:{}", deployment.at("moved"));
    let printed = run(&["vault", "migrate", "--to", &to, "--config", &config], &[]).ok();
    assert!(printed.contains("engine = \"redb\""), "{printed}");
    over(&deployment, "third");
    fs::rename(deployment.path("moved"), deployment.path("data")).unwrap();
    assert!(deployment.serve_in_vain(&[]).contains("`redb`, not with `sled`"));
    deployment.edit(|text| text.replace("[storage]\n", "[storage]\nengine = \"redb\"\n"));
    let offline = deployment.at("offline.backup");
    run(&["vault", "backup", "--to", &offline, "--offline", &config], &[]).ok();
    deployment.serve();
    let status = deployment.admin(&["vault", "status", "--json", "--count"]).json();
    assert!(status["records"].as_u64() >= restored["records"].as_u64(), "{status}");
    deployment.terminate();
}

/// The last entry in the log of [`a_data_folder_of_the_first_release_opens`], and the key that its heads name.
const LAST_OF_RELEASE: &str = "evt_0aa4b8ee9a22dba2770203c454e7152f";
const KEY_OF_RELEASE: &str = "9a5329f123ee34b08d346fc17a2923dc857649a6712e3e9827d033c101fb101e";

/// Made with `init` and one start by the release before stores kept a tally, and before there was a second engine.
#[tokio::test]
async fn a_data_folder_of_the_first_release_opens() {
    let mut deployment = Deployment::init();
    for name in ["data", "root.key"] {
        let path = deployment.path(name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        };
    }
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/setup/release-0.1.0.tar.gz");
    let done = std::process::Command::new("tar").args(["-xzf", kept, "-C", &deployment.at("")]).status();
    assert!(done.unwrap().success());
    let printed = deployment.init_again().ok();
    deployment.link = crate::deployment::link_in(&printed).expect("nobody had been made an admin");
    deployment.serve();
    first_admin(&mut deployment).await;
    let status = deployment.admin(&["vault", "status", "--json", "--count"]).json();
    assert!(status["records"].as_u64().unwrap() > 2, "{status}");
    let told = deployment.admin(&["audit", "tail", "--json"]).ok();
    assert!(told.contains(LAST_OF_RELEASE), "an entry that the release wrote: {told}");
    assert_eq!(deployment.terminate(), Some(0));
    // The key that signs the log lay sealed in its keyring. What this version has signed is signed with it.
    let verify = ["audit", "verify", &deployment.at("data/audit"), "--public-key", KEY_OF_RELEASE, "--json"];
    let report = run(&verify, &[]).json();
    assert!(report["entries"].as_u64().unwrap() > 2 && report["unprotected_tail"] == 0, "{report}");
    let backup = deployment.at("old.backup");
    run(&["vault", "backup", "--to", &backup, "--offline", &deployment.at("valetkey.toml")], &[]).ok();
}
