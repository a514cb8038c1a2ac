//! An assertion is used once: by whoever comes first, on whatever node, before or after a restart.

use std::time::Duration;

use serde_json::json;
use valetkey::agents::{Agents, Attempt, AuthError, Proof};

use crate::app::TestApp;
use crate::own_keys::{Keys, draft};
use crate::wire::refused;

#[actix_web::test]
async fn an_assertion_is_used_once_by_whoever_comes_first() {
    let app = TestApp::start().await;
    let keys = Keys::of("EdDSA");
    let agent = app.agent_with(&keys.ways()).await;
    let token = draft(&app, &keys, &agent).token();
    let tries = (0..12).map(|_| app.shows_at("/oauth2/introspect", Some(&agent), &token));
    let answers = futures_util::future::join_all(tries).await;
    let let_in = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(let_in, 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    assert!(
        answers.iter().filter(|a| a.status != 200).all(|a| a.refusal() == refused(401, "invalid_client"))
    );
    assert!(app.last_reason(&agent).await.contains("used before"));
    // Another endpoint is the same door.
    assert_eq!(app.shows_at("/oauth2/revoke", Some(&agent), &token).await.status, 401);

    // The same name in another assertion, whenever that ends.
    let agent = app.agent_with(&keys.ways()).await;
    let first = draft(&app, &keys, &agent);
    assert!(app.is_let_in(&first).await);
    for later in [-20, 0, 1, 100, 200] {
        let mut again = draft(&app, &keys, &agent);
        again.claims["jti"] = first.claims["jti"].clone();
        again.claims["exp"] = json!(again.claims["exp"].as_i64().unwrap() + later);
        assert!(!app.is_let_in(&again).await, "{later}");
    }
    // Names are an agent's own.
    let other = app.agent_with(&keys.ways()).await;
    let mut same_name = draft(&app, &keys, &other);
    same_name.claims["jti"] = first.claims["jti"].clone();
    assert!(app.is_let_in(&same_name).await);
    app.stops().await;
}

#[actix_web::test]
async fn another_node_and_a_process_that_starts_anew_know_what_was_used() {
    let app = TestApp::start().await;
    let keys = Keys::of("RS256");
    let agent = app.agent_with(&keys.ways()).await;
    let services = &app.demo.services;
    // Nothing in memory, the same store.
    let other = Agents::new(
        services.store.clone(),
        services.vault.clone(),
        services.audit.clone(),
        services.tokens.upstream.clone(),
        &app.demo.issuer,
        services.clock.clone(),
        services.entropy.clone(),
    );
    let shows_there = async |token: &str| {
        let attempt = Attempt {
            client_id: Some(&agent),
            proof: Proof::Assertion(token),
            certificate: None,
            address: None,
        };
        other.sign_in(&attempt).await
    };
    let token = draft(&app, &keys, &agent).token();
    assert_eq!(app.shows_at("/oauth2/introspect", Some(&agent), &token).await.status, 200);
    assert!(matches!(shows_there(&token).await, Err(AuthError::Unknown)));
    let token = draft(&app, &keys, &agent).token();
    assert!(shows_there(&token).await.is_ok());
    assert_eq!(app.shows_at("/oauth2/introspect", Some(&agent), &token).await.status, 401);
    app.stops().await;
}

#[actix_web::test]
async fn a_refused_assertion_is_not_used_up() {
    let app = TestApp::start().await;
    let keys = Keys::of("ES256");
    let agent = app.agent_with(&keys.ways()).await;
    let straight = draft(&app, &keys, &agent);
    let mut forged = draft(&app, &keys, &agent);
    forged.claims["jti"] = straight.claims["jti"].clone();
    forged.signing = crate::draft::Signing::Stranger;
    assert!(!app.is_let_in(&forged).await);
    assert!(app.is_let_in(&straight).await, "a stranger must not be able to use a name up");
    app.stops().await;
}

#[actix_web::test]
async fn used_assertions_are_swept_when_they_cannot_come_back() {
    use valetkey::model::credential::UsedAssertion;
    let app = TestApp::start().await;
    let keys = Keys::of("ES256");
    let agent = app.agent_with(&keys.ways()).await;
    let token = draft(&app, &keys, &agent).token();
    assert_eq!(app.shows_at("/oauth2/introspect", Some(&agent), &token).await.status, 200);
    let store = &app.demo.services.store;
    assert_eq!(store.page::<UsedAssertion>(None, 10).await.unwrap().len(), 1);
    valetkey::app::jobs::sweep(&app.demo.services).await.unwrap();
    assert_eq!(store.page::<UsedAssertion>(None, 10).await.unwrap().len(), 1, "it could still come back");
    app.demo.clock.advance(Duration::from_secs(400));
    valetkey::app::jobs::sweep(&app.demo.services).await.unwrap();
    assert_eq!(store.page::<UsedAssertion>(None, 10).await.unwrap().len(), 0);
    assert_eq!(app.shows_at("/oauth2/introspect", Some(&agent), &token).await.status, 401, "it has expired");
    app.stops().await;
}
