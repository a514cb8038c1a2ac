//! The first thing that a newcomer runs.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::deployment::{Demo, PROVIDERS, run};

/// In how long all of it is to be over. It takes a few seconds: what is slower than this waits for something in vain.
const LONGEST: Duration = Duration::from_secs(30);

#[test]
fn the_demo_plays_the_main_job_at_all_five_providers() {
    let began = Instant::now();
    let ran = run(&["demo", "--headless", "--listen", "127.0.0.1:0"], &[]);
    assert_eq!(ran.err, "", "a newcomer's first run has nothing to warn of");
    let played = ran.ok();
    assert!(began.elapsed() < LONGEST, "it took {:?}: {played}", began.elapsed());
    assert!(!played.contains('✗'), "{played}");
    for provider in PROVIDERS {
        assert!(played.contains(provider), "nothing was played at {provider}: {played}");
    }
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no text `{name}`: {value}"))
}

#[test]
fn what_a_script_needs_is_written_whole_for_its_owner_alone_and_is_as_promised() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("info.json");
    // A file that stands there already, open to all, and somebody who reads it.
    fs::write(&path, "the former one").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let mut former = File::open(&path).unwrap();

    let demo = Demo::start_with(&path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut kept = String::new();
    former.read_to_string(&mut kept).unwrap();
    assert_eq!(kept, "the former one", "it was written over in place, where half of it could be read");
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["info.json"], "something was left beside it");

    let info = &demo.info;
    let promised = [
        "admin",
        "agents",
        "backend",
        "ca_file",
        "data_dir",
        "issuer",
        "pid",
        "providers",
        "proxy",
        "sandbox",
        "users",
    ];
    assert_eq!(keys(info), BTreeSet::from(promised));
    assert_eq!(keys(&info["admin"]), BTreeSet::from(["password", "token", "user"]));
    assert_eq!(keys(&info["agents"]), BTreeSet::from(["assistant", "autonomous", "personal"]));
    for agent in info["agents"].as_object().unwrap().values() {
        assert_eq!(keys(agent), BTreeSet::from(["id", "owner", "secret"]));
        assert!(
            text(agent, "id").starts_with("agt_") && text(agent, "owner").ends_with("@example.com"),
            "{agent}"
        );
    }
    let users = info["users"].as_array().unwrap();
    let emails: Vec<&str> = users.iter().map(|user| text(user, "email")).collect();
    assert_eq!(emails, ["alice@example.com", "bob@example.com"]);
    for user in users {
        assert_eq!(keys(user), BTreeSet::from(["email", "id_token", "password"]));
        assert_eq!(text(user, "id_token").split('.').count(), 3, "a signed token: {user}");
    }
    let providers: Vec<&str> =
        info["providers"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert_eq!(providers, PROVIDERS);
    for (name, begins) in [
        ("issuer", "http://127.0.0.1:"),
        ("sandbox", "http://localhost:"),
        ("proxy", "http://127.0.0.1:"),
        ("backend", "http://"),
    ] {
        assert!(text(info, name).starts_with(begins), "{name}: {}", text(info, name));
    }
    assert!(fs::read_to_string(text(info, "ca_file")).unwrap().contains("BEGIN CERTIFICATE"));
    assert!(fs::metadata(text(info, "data_dir")).unwrap().is_dir() && info["pid"].as_u64().is_some());
}
