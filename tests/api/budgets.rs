//! Limits that bound every call alike: reading only, hours, and budgets of calls, items and bytes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use valetkey::kernel::clock::Timestamp;

use crate::app::{Ask, TestApp};
use crate::wire::{Answer, refused};

const MAIL: &str = "entra/graph/v1.0/me/messages";

fn limit(mut members: Value) -> String {
    members["type"] = json!("valetkey_limit");
    json!([members]).to_string()
}

fn calls(most: u64, per: &str) -> String {
    limit(json!({"kind": "calls", "most": most, "per": per}))
}

/// At noon, so that no period ends in the midst of a test.
async fn app_at_noon() -> TestApp {
    let app = TestApp::start().await;
    let of_day = app.demo.services.clock.now().secs().rem_euclid(24 * 3600);
    app.pass(u64::try_from((36 * 3600 - of_day) % (24 * 3600)).unwrap());
    app
}

/// A token under a grant with that limit.
async fn granted_with(app: &mut TestApp, scopes: &str, limit: &str) -> String {
    let ask = Ask::at("entra").scope(scopes).with("authorization_details", limit);
    app.alice_has_answered(&ask, scopes).await.token()
}

/// A token with a limit of its own.
async fn token_with(app: &TestApp, limit: &str) -> String {
    app.agent_asks(&Ask::at("entra").with("authorization_details", limit)).await.token()
}

fn wait_of(answer: &Answer) -> u64 {
    answer
        .header("retry-after")
        .and_then(|wait| wait.parse().ok())
        .unwrap_or_else(|| panic!("{}", answer.head))
}

#[actix_web::test]
async fn a_hundred_calls_at_once_do_not_exceed_ten() {
    let mut app = app_at_noon().await;
    let token = granted_with(&mut app, "Mail.Read", &calls(10, "day")).await;
    let before = app.data_calls_at("entra").await.len();
    let shared = Arc::new(app);
    let all = (0..100).map(|_| {
        let (app, token) = (Arc::clone(&shared), token.clone());
        actix_web::rt::spawn(async move { app.calls(&token, "GET", MAIL).await })
    });
    let answers: Vec<Answer> =
        futures_util::future::join_all(all).await.into_iter().map(Result::unwrap).collect();
    let app = Arc::into_inner(shared).unwrap();
    let with = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((with(200), with(429)), (10, 90));
    assert_eq!(
        app.data_calls_at("entra").await.len(),
        before + 10,
        "the provider was called for a refused one"
    );
    let denied = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(denied.refusal(), refused(429, "limit_exceeded"));
    assert_eq!(denied.json()["limit"]["kind"], "calls");
    assert_eq!(denied.json()["limit"]["allowed"], "10 calls per day");
    assert!(denied.header("x-valetkey-event").is_some());
    assert!((1..=12 * 3600).contains(&wait_of(denied)));

    // The budget is the grant's: another token finds it as it is, until the next day.
    let another = app.agent_asks(&Ask::at("entra")).await.token();
    assert_eq!(app.calls(&another, "GET", MAIL).await.status, 429);
    app.pass(wait_of(denied));
    let tomorrow = app.agent_asks(&Ask::at("entra")).await.token();
    assert_eq!(app.calls(&tomorrow, "GET", MAIL).await.status, 200);
    app.stops().await;
}

#[actix_web::test]
async fn looking_at_the_head_counts_and_what_is_denied_does_not() {
    let mut app = app_at_noon().await;
    let token = granted_with(&mut app, "User.Read Mail.Read", &calls(3, "hour")).await;
    for (method, path, status) in [
        ("GET", "entra/graph/v1.0/me/drive/root/children", 403),
        ("GET", "entra/graph/v1.0/users", 403),
        ("GET", "entra/graph/v1.0/me//messages", 400),
        ("GET", "entra/graph/v1.0/me/messages?$expand=attachments", 403),
        // The provider has no HEAD here, and says so itself: the call was made.
        ("HEAD", MAIL, 405),
        ("GET", "entra/graph/v1.0/me", 200),
        ("HEAD", MAIL, 405),
        ("HEAD", MAIL, 429),
        ("GET", MAIL, 429),
    ] {
        let answer = app.calls(&token, method, path).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body_text());
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_grant_for_one_call_is_for_one_call() {
    let mut app = app_at_noon().await;
    let token = granted_with(&mut app, "Mail.Read", &limit(json!({"kind": "once"}))).await;
    let shared = Arc::new(app);
    let all = (0..20).map(|_| {
        let (app, token) = (Arc::clone(&shared), token.clone());
        actix_web::rt::spawn(async move { app.calls(&token, "GET", MAIL).await.status })
    });
    let statuses: Vec<u16> =
        futures_util::future::join_all(all).await.into_iter().map(Result::unwrap).collect();
    let app = Arc::into_inner(shared).unwrap();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    app.pass(48 * 3600);
    let later = app.agent_asks(&Ask::at("entra")).await.token();
    let answer = app.calls(&later, "GET", MAIL).await;
    assert_eq!(answer.refusal(), refused(403, "limit_exceeded"));
    assert_eq!(answer.json()["limit"]["kind"], "once");
    app.stops().await;
}

#[actix_web::test]
async fn a_tokens_own_budget_is_its_own() {
    let mut app = app_at_noon().await;
    app.alice_has_granted("entra", "Mail.Read").await;
    let first = token_with(&app, &calls(2, "hour")).await;
    let second = token_with(&app, &calls(2, "hour")).await;
    for token in [&first, &second] {
        let statuses =
            [app.calls(token, "GET", MAIL).await, app.calls(token, "GET", MAIL).await].map(|a| a.status);
        assert_eq!(statuses, [200, 200]);
        assert_eq!(app.calls(token, "GET", MAIL).await.status, 429);
    }
    let free = app.agent_asks(&Ask::at("entra")).await.token();
    assert_eq!(app.calls(&free, "GET", MAIL).await.status, 200, "the grant has no such limit");
    app.stops().await;
}

#[actix_web::test]
async fn no_more_bytes_are_released_than_allowed() {
    let mut app = app_at_noon().await;
    let free = app.alice_has_granted("entra", "Mail.Read").await.token();
    let page = app.calls(&free, "GET", MAIL).await.body.len();
    let one = app.calls(&free, "GET", &format!("{MAIL}?$top=1")).await.body.len();
    assert!(2 * one < page, "{one} of {page}");
    let most = 2 * page + 2 * one;
    let token = token_with(&app, &limit(json!({"kind": "bytes", "most": most}))).await;
    let mut released = 0;
    for (query, status) in
        [("", 200), ("", 200), ("", 429), ("?$top=1", 200), ("?$top=1", 200), ("?$top=1", 429)]
    {
        let answer = app.calls(&token, "GET", &format!("{MAIL}{query}")).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.body_text());
        if status == 200 {
            released += answer.body.len();
        } else {
            assert_eq!(answer.json()["limit"]["kind"], "bytes");
        }
    }
    assert!(released <= most, "{released} of {most}");
    app.stops().await;
}

#[actix_web::test]
async fn no_more_items_are_released_than_allowed() {
    let mut app = app_at_noon().await;
    let free = app.alice_has_granted("entra", "Mail.Read").await.token();
    let page = app.calls(&free, "GET", MAIL).await.json();
    let items = page["value"].as_array().unwrap();
    let one = format!("{MAIL}/{}", items[0]["id"].as_str().unwrap());
    let token = token_with(&app, &limit(json!({"kind": "items", "most": items.len() + 2}))).await;
    for (path, status) in [
        (MAIL, 200),
        (MAIL, 429),
        (&format!("{MAIL}?$top=1"), 200),
        (one.as_str(), 200),
        (one.as_str(), 429),
        (&format!("{MAIL}?$top=1"), 429),
    ] {
        let answer = app.calls(&token, "GET", path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body_text());
        if status == 429 {
            assert_eq!(answer.json()["limit"]["kind"], "items");
            assert!(!answer.body_text().contains("subject"), "nothing of the answer is released");
        }
    }
    app.stops().await;
}

#[actix_web::test]
async fn whoever_may_only_look_changes_nothing() {
    let mut app = app_at_noon().await;
    app.alice_has_granted("entra", "Mail.Read Mail.Send").await;
    let token = token_with(&app, &limit(json!({"kind": "read_only"}))).await;
    assert_eq!(app.calls(&token, "GET", MAIL).await.status, 200);
    assert!(app.calls(&token, "HEAD", MAIL).await.header("x-valetkey-decision").is_none());
    let before = app.data_calls_at("entra").await.len();
    let headers = [("Content-Type", "application/json"), ("X-HTTP-Method-Override", "GET")];
    let send = "entra/graph/v1.0/me/sendMail";
    let answer = app.calls_with(&token, "POST", send, &headers, br#"{"message":{}}"#).await;
    assert_eq!(answer.refusal(), refused(403, "limit_exceeded"), "{}", answer.body_text());
    assert_eq!(answer.json()["limit"]["kind"], "read_only");
    assert_eq!(app.data_calls_at("entra").await.len(), before);
    app.stops().await;
}

#[actix_web::test]
async fn outside_of_its_hours_a_call_learns_when_they_begin() {
    let mut app = app_at_noon().await;
    let hours = limit(json!({"kind": "hours", "from": "13:00", "until": "17:00"}));
    let early = granted_with(&mut app, "Mail.Read", &hours).await;
    let answer = app.calls(&early, "GET", MAIL).await;
    assert_eq!(answer.refusal(), refused(403, "limit_exceeded"));
    let now = app.demo.services.clock.now();
    let begins = Timestamp::from_secs(now.secs() - now.secs().rem_euclid(24 * 3600) + 13 * 3600);
    assert!(answer.text("error_description").contains(&begins.rfc3339()), "{}", answer.body_text());
    app.demo.advance(now.until(begins));
    let inside = app.agent_asks(&Ask::at("entra")).await.token();
    assert_eq!(app.calls(&inside, "GET", MAIL).await.status, 200);
    app.demo.advance(Duration::from_secs(4 * 3600));
    let late = app.agent_asks(&Ask::at("entra")).await.token();
    assert_eq!(app.calls(&late, "GET", MAIL).await.status, 403);
    app.stops().await;
}
