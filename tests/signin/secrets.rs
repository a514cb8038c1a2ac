//! Client secrets: two while one replaces the other, ended on demand, and when they were used.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use valetkey::agents::{Agents, Attempt, Proof};
use valetkey::app::demo::Ground;
use valetkey::model::credential::CredentialUse;
use valetkey::store::disk::{Disk, RealDisk};

use crate::app::{Credentials, TestApp};

async fn credentials_of(app: &TestApp, agent: &str) -> Value {
    app.admin("GET", &format!("/agents/{agent}/credentials"), &Value::Null).await.json()
}

async fn works(app: &TestApp, agent: &str, secret: &str) -> bool {
    let by = Credentials { id: agent.to_owned(), secret: secret.to_owned() };
    app.posts("/oauth2/introspect", &by, &[("token".to_owned(), "x".to_owned())]).await.status == 200
}

#[actix_web::test]
async fn a_former_secret_ends_after_the_overlap_or_on_demand() {
    let app = TestApp::start().await;
    let (agent, first) = app.new_agent().await;
    let rotate = async || {
        let made = app.admin_does(&format!("/agents/{agent}/rotate-secret"), &Value::Null).await;
        made["client_secret"].as_str().unwrap().to_owned()
    };
    let second = rotate().await;
    assert!(works(&app, &agent, &first).await && works(&app, &agent, &second).await);
    let shown = credentials_of(&app, &agent).await;
    let secrets = shown["secrets"].as_array().unwrap();
    assert_eq!(secrets.len(), 2);
    assert!(secrets[0]["expires_at"].is_string() && secrets[1]["expires_at"].is_null(), "{shown}");
    assert!(!shown.to_string().contains("vks_"), "{shown}");

    let name = secrets[0]["name"].as_str().unwrap();
    app.admin_does(&format!("/agents/{agent}/secrets/{name}/end"), &Value::Null).await;
    assert!(!works(&app, &agent, &first).await, "ended on demand");
    assert!(works(&app, &agent, &second).await);
    let again = app.admin("POST", &format!("/agents/{agent}/secrets/{name}/end"), &Value::Null).await;
    assert_eq!(again.status, 400, "{}", again.body_text());

    let third = rotate().await;
    app.pass(24 * 3600 + 1);
    assert!(!works(&app, &agent, &second).await, "ended by itself");
    assert!(works(&app, &agent, &third).await);

    // An agent that signs in otherwise needs none.
    let shown = credentials_of(&app, &agent).await;
    for secret in shown["secrets"].as_array().unwrap() {
        let name = secret["name"].as_str().unwrap();
        app.admin_does(&format!("/agents/{agent}/secrets/{name}/end"), &Value::Null).await;
    }
    assert!(!works(&app, &agent, &third).await);
    assert_eq!(credentials_of(&app, &agent).await["secrets"], serde_json::json!([]));
    assert!(works(&app, &agent, &rotate().await).await, "and can have one again");
    app.stops().await;
}

#[actix_web::test]
async fn last_use_is_shown_and_written_at_most_once_an_hour() {
    let app = TestApp::start().await;
    let (agent, secret) = app.new_agent().await;
    let shown = credentials_of(&app, &agent).await;
    let name = shown["secrets"][0]["name"].as_str().unwrap().to_owned();
    assert!(shown["secrets"][0]["last_used_at"].is_null());
    let last_used = async || {
        let shown = credentials_of(&app, &agent).await;
        shown["secrets"][0]["last_used_at"].as_str().unwrap().to_owned()
    };
    assert!(!works(&app, &agent, "vks_wrong").await);
    assert!(
        credentials_of(&app, &agent).await["secrets"][0]["last_used_at"].is_null(),
        "a wrong one is no use"
    );
    assert!(works(&app, &agent, &secret).await);
    let first = last_used().await;
    app.pass(1800);
    assert!(works(&app, &agent, &secret).await);
    assert_eq!(last_used().await, first);
    // Another node, or this one after a restart, knows nothing but what is stored.
    app.demo.services.agents.write_uses().await.unwrap();
    let key = CredentialUse::key_of(&agent.parse().unwrap(), &name);
    let stored = app.demo.services.store.get::<CredentialUse>(&key).await.unwrap().unwrap();
    assert_eq!(stored.at.rfc3339(), first);
    app.pass(1801);
    assert!(works(&app, &agent, &secret).await);
    assert_ne!(last_used().await, first);
    app.stops().await;
}

#[derive(Default)]
struct FullDisk(AtomicBool);

impl Disk for FullDisk {
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        if self.0.load(Ordering::SeqCst) { Ok(4096) } else { RealDisk.free_bytes(dir) }
    }

    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        RealDisk.append(file, bytes)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        RealDisk.sync_data(file)
    }
}

#[actix_web::test]
async fn a_use_that_could_not_be_written_is_written_later() {
    let disk = Arc::new(FullDisk::default());
    let app = TestApp::start_on(Ground { store_disk: disk.clone(), ..Ground::default() }).await;
    let (agent, secret) = app.new_agent().await;
    let name = credentials_of(&app, &agent).await["secrets"][0]["name"].as_str().unwrap().to_owned();
    let key = CredentialUse::key_of(&agent.parse().unwrap(), &name);
    let services = &app.demo.services;
    disk.0.store(true, Ordering::SeqCst);
    assert!(works(&app, &agent, &secret).await);
    assert!(services.agents.write_uses().await.is_err());
    assert!(services.store.get::<CredentialUse>(&key).await.unwrap().is_none());
    disk.0.store(false, Ordering::SeqCst);
    services.agents.write_uses().await.unwrap();
    assert!(services.store.get::<CredentialUse>(&key).await.unwrap().is_some(), "it was forgotten");
    app.stops().await;
}

#[actix_web::test]
async fn a_use_of_a_secret_that_has_ended_meanwhile_is_not_written() {
    let app = TestApp::start().await;
    let (agent, secret) = app.new_agent().await;
    let name = credentials_of(&app, &agent).await["secrets"][0]["name"].as_str().unwrap().to_owned();
    let key = CredentialUse::key_of(&agent.parse().unwrap(), &name);
    let services = &app.demo.services;
    let other = Agents::new(
        services.store.clone(),
        services.vault.clone(),
        services.audit.clone(),
        services.tokens.upstream.clone(),
        &app.demo.issuer,
        services.clock.clone(),
        services.entropy.clone(),
    );
    let attempt =
        Attempt { client_id: Some(&agent), proof: Proof::Secret(&secret), certificate: None, address: None };
    assert!(other.sign_in(&attempt).await.is_ok());
    app.admin_does(&format!("/agents/{agent}/secrets/{name}/end"), &Value::Null).await;
    other.write_uses().await.unwrap();
    assert!(services.store.get::<CredentialUse>(&key).await.unwrap().is_none(), "nothing would remove it");
    app.stops().await;
}

#[actix_web::test]
async fn secrets_look_like_what_scanners_are_told() {
    let app = TestApp::start().await;
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/agents.md")).unwrap();
    assert!(guide.contains("vks_[0-9A-Za-z]{49}"), "docs/agents.md states the expression");
    for _ in 0..20 {
        let (_, secret) = app.new_agent().await;
        let random = secret.strip_prefix("vks_").unwrap();
        assert!(random.len() == 49 && random.bytes().all(|b| b.is_ascii_alphanumeric()), "{}", random.len());
    }
    app.stops().await;
}
