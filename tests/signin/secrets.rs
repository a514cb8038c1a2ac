//! Client secrets: two while one replaces the other, ended on demand, and when they were used.

use serde_json::Value;
use valetkey::model::credential::CredentialUse;

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
