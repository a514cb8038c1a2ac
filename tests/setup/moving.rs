//! A deployment moves into a database, on to another engine, and back; and a backup of it into a database.

use std::fs;

use serde_json::Value;

use crate::cluster::sound_cluster;
use crate::deployment::{Deployment, run};
use crate::journey::first_admin;

/// The settings with another `[storage]`.
pub fn stored(deployment: &Deployment, storage: &str) {
    deployment.edit(|text| {
        let (before, rest) = text.split_once("[storage]").unwrap();
        let after = rest.find("\n[").map_or("", |at| &rest[at..]);
        format!("{before}[storage]\nreserve_mib = 1\n{storage}\n{after}")
    });
}

pub fn database(deployment: &Deployment, name: &str, url: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = deployment.write(name, url);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    format!("postgres = {{ file = \"{name}\" }}")
}

/// What an admin sees of the deployment; every record of it opens.
fn seen(deployment: &Deployment) -> Value {
    let status = deployment.admin(&["vault", "status", "--json", "--count"]).json();
    assert!(status["records"].as_u64().unwrap() > 2, "{status}");
    assert_eq!(status["terms"][0]["term"], 1, "{status}");
    deployment.admin(&["audience", "list", "--json"]).json()
}

fn verified(deployment: &Deployment, data: &str) {
    let log = deployment.path(data).join("audit");
    run(&["audit", "verify", log.to_str().unwrap()], &[]).ok();
}

#[tokio::test]
async fn a_deployment_moves_into_a_database_on_to_another_engine_and_back() {
    let mut deployment = Deployment::init();
    let config = deployment.at("valetkey.toml");
    deployment.serve();
    first_admin(&mut deployment).await;
    for name in ["one", "two"] {
        deployment.audience(name);
    }
    let audiences = seen(&deployment);
    deployment.terminate();

    let fresh = sound_cluster().fresh();
    let url = fresh.url_at(fresh.port());
    let migrate = ["vault", "migrate", "--config", &config];
    let printed = run(&migrate, &[("VALETKEY_MIGRATE_TO", &url)]).ok();
    assert!(printed.contains("copied and compared") && !printed.contains("127.0.0.1"), "{printed}");
    // What is left behind would give the same refresh tokens to a second broker.
    for refused in [deployment.serve_in_vain(&[]), run(&migrate, &[("VALETKEY_MIGRATE_TO", &url)]).refused()]
    {
        assert!(refused.contains("were moved to the database `"), "{refused}");
        assert!(refused.contains("store.moved"), "{refused}");
    }
    fs::remove_file(deployment.path("data/store.moved")).unwrap();
    let refused = run(&migrate, &[("VALETKEY_MIGRATE_TO", &url)]).refused();
    assert!(refused.contains("not empty"), "{refused}");
    stored(&deployment, &database(&deployment, "postgres.url", &url));
    deployment.serve();
    assert_eq!(seen(&deployment), audiences);
    deployment.terminate();
    verified(&deployment, "data");

    for (engine, from, to) in [("redb", "data", "second"), ("sled", "second", "third")] {
        let place = format!("{engine}:{}", deployment.at(to));
        run(&["vault", "migrate", "--config", &config, "--to", &place], &[]).ok();
        // A folder that holds no records of its own is for the database's next node.
        assert_eq!(deployment.path(from).join("store.moved").exists(), from != "data");
        stored(&deployment, &format!("engine = \"{engine}\""));
        deployment
            .edit(|text| text.replace(&format!("data_dir = \"{from}\""), &format!("data_dir = \"{to}\"")));
        deployment.serve();
        assert_eq!(seen(&deployment), audiences, "{engine}");
        assert_eq!(deployment.terminate(), Some(0));
        verified(&deployment, to);
    }
}

#[tokio::test]
async fn a_backup_is_restored_into_a_database() {
    let mut deployment = Deployment::init();
    let config = deployment.at("valetkey.toml");
    deployment.serve();
    first_admin(&mut deployment).await;
    let (audiences, backup) = (seen(&deployment), deployment.at("a.backup"));
    deployment.admin(&["vault", "backup", "--to", &backup]).ok();
    deployment.terminate();

    let fresh = sound_cluster().fresh();
    stored(&deployment, &database(&deployment, "postgres.url", &fresh.url_at(fresh.port())));
    let restore = ["vault", "restore", &backup, "--config", &config, "--json"];
    assert!(run(&restore, &[]).refused().contains("not empty"), "the data folder is there");
    fs::rename(deployment.path("data"), deployment.path("before")).unwrap();
    let whole = fs::read(&backup).unwrap();
    fs::write(&backup, &whole[..whole.len() - 40]).unwrap();
    assert!(run(&restore, &[]).refused().contains("no whole backup"));
    let refused = deployment.serve_in_vain(&[]);
    assert!(refused.contains("was not set up"), "{refused}");
    fs::write(&backup, &whole).unwrap();
    assert!(run(&restore, &[]).json()["records"].as_u64().unwrap() > 0);
    deployment.serve();
    assert_eq!(seen(&deployment), audiences);
    let status = deployment.admin(&["vault", "status", "--json"]).json();
    assert!(status["restored"]["taken_at"].is_string(), "{status}");
    assert_eq!(deployment.terminate(), Some(0));
    verified(&deployment, "data");

    fs::rename(deployment.path("data"), deployment.path("second")).unwrap();
    let refused = run(&restore, &[]).refused();
    assert!(refused.contains("not empty") && !deployment.path("data").exists(), "{refused}");
}
