//! What a code brings is kept, whatever becomes of the browser or the store while it is redeemed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join;
use serde_json::json;
use url::Url;
use valetkey::app::demo::Ground;
use valetkey::app::demo::people::ALICE;

use crate::app::{Ask, TestApp};
use crate::disk_full::{BadDisk, until};
use crate::wire::Answer;

/// Alice has consented at Lark, which takes a while over the code.
async fn about_to_come_back(app: &mut TestApp) -> (Answer, Url) {
    let question = app.agent_asks(&Ask::at("lark").scope("im:chat:read")).await;
    let callback = app.alice_stops_before_the_callback(&question, &["im:chat:read"]).await;
    app.provider_will("lark", json!({"endpoint": "token", "kind": "latency", "value": 1000})).await;
    (question, callback)
}

async fn the_code_is_there(app: &TestApp) {
    while app.token_calls_at("lark").await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn is_connected(app: &TestApp) -> bool {
    let all = app.admin("GET", "/connections", &json!(null)).await.json();
    all["items"].as_array().unwrap().iter().any(|one| one["provider"] == "lark")
}

/// The account is connected by now: the vendor is not asked again.
async fn the_agent_gets_its_token(mut app: TestApp, question: &Answer) {
    let page = app.alice_agrees_to(question, &["im:chat:read"]).await;
    assert_eq!(page.status, 200, "{}", page.title());
    assert_eq!(app.polls(&question.text("auth_req_id")).await.scope(), ["im:chat:read"]);
    assert_eq!(app.token_calls_at("lark").await, 1);
    app.stops().await;
}

#[actix_web::test]
async fn a_tab_that_is_closed_while_its_code_is_redeemed_costs_no_token() {
    let mut app = TestApp::start().await;
    let (question, callback) = about_to_come_back(&mut app).await;
    let again = app.another_browser_of(ALICE);
    let mut closed = std::mem::replace(&mut app.alice, again);
    tokio::select! {
        page = closed.opens(&callback) => panic!("answered before it was closed: {}", page.title()),
        () = the_code_is_there(&app) => {}
    }
    until(async || is_connected(&app).await, "what the code brought was dropped").await;
    the_agent_gets_its_token(app, &question).await;
}

#[actix_web::test]
async fn a_store_that_is_full_when_the_tokens_come_costs_none() {
    let store = Arc::new(BadDisk::default());
    let mut app = TestApp::start_on(Ground { store_disk: store.clone(), ..Ground::default() }).await;
    let (question, callback) = about_to_come_back(&mut app).await;
    let again = app.another_browser_of(ALICE);
    let mut alice = std::mem::replace(&mut app.alice, again);
    let fills = async {
        the_code_is_there(&app).await;
        store.full.store(true, Ordering::SeqCst);
    };
    let (page, ()) = join(alice.opens(&callback), fills).await;
    assert_eq!(page.status, 503, "what was not saved must not be confirmed: {}", page.title());
    assert!(!is_connected(&app).await);
    store.full.store(false, Ordering::SeqCst);
    until(async || is_connected(&app).await, "what the code brought was dropped").await;
    the_agent_gets_its_token(app, &question).await;
}
