//! A provider where a spent refresh token that comes back ends every token of its family.

use std::collections::BTreeSet;

use serde_json::json;

use crate::app::{Ask, TestApp};

const SCOPE: &str = "space:document:retrieve";
const FILES: &str = "lark/open/open-apis/drive/v1/files";

/// A product with Alice's account at such a provider.
async fn alice_is_connected() -> TestApp {
    let mut app = TestApp::start().await;
    app.re_use_ends_the_family_at("lark").await;
    app.alice_has_granted("lark", SCOPE).await;
    app
}

/// SHA-256 of the refresh tokens that the provider would take now.
async fn live(app: &TestApp) -> BTreeSet<String> {
    let state = app.state_of("lark").await;
    state["live_refresh"].as_array().unwrap().iter().map(|hash| hash.as_str().unwrap().to_owned()).collect()
}

async fn re_used(app: &TestApp) -> u64 {
    app.state_of("lark").await["reuse_detected"].as_u64().unwrap()
}

async fn status_of_a_call(app: &TestApp) -> u16 {
    match app.agent_asks(&Ask::at("lark")).await {
        answer if answer.status == 200 => app.calls(&answer.token(), "GET", FILES).await.status,
        refused => refused.status,
    }
}

#[actix_web::test]
async fn one_renewal_after_the_other_shows_each_token_once() {
    let app = alice_is_connected().await;
    for round in 0..4 {
        let before = live(&app).await;
        assert_eq!(before.len(), 1, "round {round}");
        app.pass(7260);
        let token = app.agent_asks(&Ask::at("lark")).await.token();
        let calls = (0..30).map(|_| app.calls(&token, "GET", FILES));
        for answer in futures_util::future::join_all(calls).await {
            assert_eq!(answer.status, 200, "round {round}: {}", answer.body_text());
        }
        // A token for the agent itself costs a renewal of its own here.
        let narrowed = app.agent_asks(&Ask::at("lark").scope(SCOPE).for_a_provider_token()).await;
        assert_eq!(narrowed.status, 200, "round {round}: {}", narrowed.body_text());
        let after = live(&app).await;
        assert_eq!((after.len(), after.intersection(&before).count()), (1, 0), "round {round}");
    }
    assert_eq!(re_used(&app).await, 0);
    app.stops().await;
}

#[actix_web::test]
async fn a_refusal_that_spent_nothing_is_no_reason_to_fear_for_the_family() {
    let app = alice_is_connected().await;
    for kind in ["status", "rate_limit", "garbage", "html"] {
        app.pass(7260);
        let before = live(&app).await;
        let value = if kind == "status" { 503 } else { 3 };
        app.provider_will("lark", json!({"endpoint": "refresh", "kind": kind, "value": value})).await;
        status_of_a_call(&app).await;
        assert_eq!(live(&app).await, before, "{kind}");
        let mut status = 0;
        for _ in 0..5 {
            app.pass(300);
            status = status_of_a_call(&app).await;
            if status == 200 {
                break;
            }
        }
        assert_eq!(status, 200, "{kind}: the connection did not come back");
        assert_eq!(re_used(&app).await, 0, "{kind}");
    }
    app.stops().await;
}

#[actix_web::test]
async fn where_the_answer_was_lost_the_spent_token_is_tried_once_and_never_again() {
    let mut app = alice_is_connected().await;
    app.pass(7260);
    app.provider_will("lark", json!({"endpoint": "refresh", "kind": "drop_after_commit"})).await;
    assert_ne!(status_of_a_call(&app).await, 200, "nobody has the next token");
    let mut seen = Vec::new();
    for _ in 0..20 {
        app.pass(120);
        assert_ne!(status_of_a_call(&app).await, 200);
        seen.push(re_used(&app).await);
    }
    assert_eq!(seen.last(), Some(&1), "one try to learn whether the provider had acted: {seen:?}");
    let connections = app.admin("GET", "/connections", &json!(null)).await.json();
    let state = &connections["items"][0]["state"];
    assert_eq!((&state["state"], &state["reason"]), (&json!("needs_reauth"), &json!("answer_lost")));
    assert!(live(&app).await.is_empty(), "the family has ended with the token that nobody holds");

    // A new consent begins a family that the end of the former one does not touch.
    let question = app.agent_asks(&Ask::at("lark")).await;
    assert_eq!(question.error(), "interaction_required", "{}", question.body_text());
    let page = app.alice_agrees_to(&question, &[SCOPE]).await;
    assert_eq!(page.status, 200, "{}", page.title());
    app.pass(7260);
    assert_eq!(status_of_a_call(&app).await, 200);
    assert_eq!((re_used(&app).await, live(&app).await.len()), (1, 1));
    app.stops().await;
}
