//! Invariant 7: a stop, a suspension and a revoked grant hold on the very next request.

use std::time::Duration;

use serde_json::json;
use valetkey::app::demo::people::ALICE;

use crate::app::{Ask, TestApp};
use crate::wire::refused;

const MAIL: &str = "entra/graph/v1.0/me/messages";

/// Gateway, exchange and introspection, at once after something was taken away.
async fn nothing_works(app: &TestApp, token: &str, exchange: &str, why: &str) {
    let seen = app.data_calls_at("entra").await.len();
    let call = app.calls(token, "GET", MAIL).await;
    assert_eq!(call.refusal(), refused(401, "invalid_token"), "{why}: {}", call.body_text());
    assert_eq!(app.data_calls_at("entra").await.len(), seen, "{why}: the vendor has seen a call");
    let ask = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    assert_eq!(ask.error(), exchange, "{why}: {}", ask.body_text());
    assert_eq!(ask.text("access_token"), "");
}

async fn is_active(app: &TestApp, token: &str) -> bool {
    app.introspects(&app.personal, token).await["active"] == true
}

#[actix_web::test]
async fn a_stop_holds_on_the_very_next_request_and_ends_when_it_is_resumed() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "Mail.Read").await.token();
    assert_eq!(app.calls(&token, "GET", MAIL).await.status, 200);
    let alice = app.user_id_of(ALICE).await.to_string();
    let agent = app.personal.id.clone();
    for stop in [
        json!({"agent": agent, "reason": "test"}),
        json!({"provider": "entra", "reason": "test"}),
        json!({"user": alice, "reason": "test"}),
        json!({"all": true, "reason": "test"}),
    ] {
        let made = app.admin_does("/stops", &stop).await;
        assert!(!is_active(&app, &token).await, "{stop}");
        nothing_works(&app, &token, "access_denied", &stop.to_string()).await;
        app.admin_does(&format!("/stops/{}/resume", made["id"].as_str().unwrap()), &json!({})).await;
        assert_eq!(app.calls(&token, "GET", MAIL).await.status, 200, "after resuming {stop}");
        assert!(is_active(&app, &token).await);
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_token_of_a_clock_that_was_ahead_does_not_work_when_it_is_right_again() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("entra", "Mail.Read").await;
    app.pass(1800);
    let ahead = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await.token();
    assert_eq!(app.calls(&ahead, "GET", MAIL).await.status, 200);
    app.demo.turn_back(Duration::from_secs(1800));
    let call = app.calls(&ahead, "GET", MAIL).await;
    assert_eq!(call.refusal(), refused(401, "invalid_token"), "it would live for half an hour more");
    assert!(!is_active(&app, &ahead).await);
    let right = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await.token();
    assert_eq!(app.calls(&right, "GET", MAIL).await.status, 200);
    app.stops().await;
}

#[actix_web::test]
async fn a_stop_needs_a_target_that_exists_and_is_set_once() {
    let app = TestApp::start().await;
    for (target, value, words) in [
        ("agent", "agt_00000000000000000000000000000000", "no agent with that id"),
        ("provider", "nosuch", "no provider with that name"),
        ("user", "usr_00000000000000000000000000000000", "no user with that id"),
        ("user", "nobody@example.com", "no user with that e-mail"),
    ] {
        let answer = app.admin("POST", "/stops", &json!({target: value, "reason": "test"})).await;
        assert_eq!(answer.status, 404, "{value}: {}", answer.body_text());
        assert!(answer.text("detail").contains(words), "{value}: {}", answer.body_text());
    }
    let alice = app.user_id_of(ALICE).await.to_string();
    let by_email = app.admin("POST", "/stops", &json!({"user": ALICE, "reason": "by e-mail"})).await;
    assert_eq!((by_email.status, by_email.text("target_id")), (201, alice.clone()));
    let again = app.admin("POST", "/stops", &json!({"user": alice, "reason": "another"})).await;
    assert_eq!((again.status, again.text("id")), (200, by_email.text("id")));
    assert_eq!(again.text("reason"), "by e-mail", "the reason that it was set for stands");
    let listed = app.admin("GET", "/stops", &json!(null)).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    app.stops().await;
}

#[actix_web::test]
async fn whoever_waits_for_an_answer_is_told_of_a_stop() {
    let mut app = TestApp::start().await;
    let question = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    let handle = question.text("auth_req_id");
    assert_eq!(app.polls(&handle).await.error(), "authorization_pending");
    for stop in [json!({"provider": "entra", "reason": "test"}), json!({"all": true, "reason": "test"})] {
        let made = app.admin_does("/stops", &stop).await;
        app.pass(6);
        let poll = app.polls(&handle).await;
        assert_eq!(poll.refusal(), refused(400, "access_denied"), "{stop}");
        assert!(poll.text("error_description").contains("stopped"), "{}", poll.body_text());
        assert!(poll.header("x-valetkey-event").is_some(), "a refusal without an event");
        app.admin_does(&format!("/stops/{}/resume", made["id"].as_str().unwrap()), &json!({})).await;
        app.pass(6);
        assert_eq!(app.polls(&handle).await.error(), "authorization_pending", "after resuming {stop}");
    }
    // One that concerns something else changes nothing, and the answer counts in the end.
    app.admin_does("/stops", &json!({"provider": "lark", "reason": "test"})).await;
    app.pass(6);
    assert_eq!(app.polls(&handle).await.error(), "authorization_pending");
    app.alice_agrees_to(&question, &["Mail.Read"]).await;
    assert_eq!(app.polls(&handle).await.status, 200);
    app.stops().await;
}

#[actix_web::test]
async fn a_suspension_holds_on_the_very_next_request() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "Mail.Read").await.token();
    let id = app.personal.id.clone();
    app.admin_does(&format!("/agents/{id}/suspend"), &json!({})).await;
    nothing_works(&app, &token, "unauthorized_client", "suspended").await;
    let wrong = app.posts("/oauth2/token", &app.assistant_with_secret("wrong"), &[]).await;
    assert_eq!(wrong.refusal(), refused(401, "invalid_client"));
    app.admin_does(&format!("/agents/{id}/resume"), &json!({})).await;
    assert_eq!(app.calls(&token, "GET", MAIL).await.status, 200);
    app.admin_does(&format!("/agents/{id}/retire"), &json!({})).await;
    nothing_works(&app, &token, "invalid_client", "retired").await;
    app.stops().await;
}

#[actix_web::test]
async fn a_revoked_grant_holds_on_the_very_next_request() {
    let mut app = TestApp::start().await;
    let granted = app.alice_has_granted("entra", "Mail.Read").await;
    let (token, grant) = (granted.token(), granted.text("grant_id"));
    let path = format!("/grants/{grant}/revoke");

    // Another employee cannot do it, and the page does not tell that it exists.
    app.bob.walks(&app.at("/"), crate::browser::Answers::default()).await;
    assert!(app.bob.sends(&app.at(&path), &[]).await.status >= 400);
    assert!(is_active(&app, &token).await);

    let home = app.alice.opens(&app.at("/")).await;
    let form = home.forms().into_iter().find(|form| form.action.contains(&path)).unwrap();
    assert_eq!(app.alice.sends(&app.at(&path), &form.fields).await.status, 200);
    assert!(!is_active(&app, &token).await);
    nothing_works(&app, &token, "interaction_required", "revoked").await;
    app.stops().await;
}

#[actix_web::test]
async fn tokens_end_after_five_minutes_and_when_they_are_given_back() {
    let mut app = TestApp::start().await;
    let first = app.alice_has_granted("entra", "Mail.Read").await;
    assert!(first.json()["expires_in"].as_u64().unwrap() <= 300);
    assert_eq!(first.header("cache-control"), Some("no-store"));
    let token = first.token();
    // Nobody else can ask about it or give it back.
    assert_eq!(app.introspects(&app.assistant, &token).await, json!({"active": false}));
    assert_eq!(app.gives_back(&app.assistant, &token).await.status, 200);
    assert_eq!(app.calls(&token, "GET", MAIL).await.status, 200);
    let told = app.introspects(&app.personal, &token).await;
    assert_eq!((&told["active"], &told["scope"]), (&json!(true), &json!("Mail.Read")));
    assert_eq!(app.introspects(&app.personal, "vkg_nonsense").await, json!({"active": false}));

    assert_eq!(app.gives_back(&app.personal, &token).await.status, 200);
    assert_eq!(app.calls(&token, "GET", MAIL).await.refusal(), refused(401, "invalid_token"));
    assert_eq!(app.introspects(&app.personal, &token).await, json!({"active": false}));

    let second = app.agent_asks(&Ask::at("entra")).await.token();
    app.pass(299);
    assert_eq!(app.calls(&second, "GET", MAIL).await.status, 200);
    app.pass(2);
    assert_eq!(app.calls(&second, "GET", MAIL).await.refusal(), refused(401, "invalid_token"));
    assert_eq!(app.introspects(&app.personal, &second).await, json!({"active": false}));

    // A token with one bit changed is not a token.
    let third = app.agent_asks(&Ask::at("entra")).await.token();
    for at in [5, third.len() / 2, third.len() - 1] {
        let mut bent = third.clone().into_bytes();
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        let bent = String::from_utf8(bent).unwrap();
        assert_eq!(app.calls(&bent, "GET", MAIL).await.status, 401, "byte {at}");
    }
    assert_eq!(app.calls(&third, "GET", "lark/open/open-apis/im/v1/chats").await.status, 403);
    app.stops().await;
}

#[actix_web::test]
async fn the_event_names_the_admin_who_has_withdrawn_a_grant() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("entra", "Mail.Read").await;
    let grant = app.live_grants().await.remove(0);
    app.admin_does(&format!("/grants/{}/revoke", grant["id"].as_str().unwrap()), &json!({})).await;
    let events = app.admin("GET", "/events", &json!(null)).await.json();
    let revoked =
        events["items"].as_array().unwrap().iter().find(|event| event["action"] == "grant.revoked").unwrap();
    assert!(revoked["admin"].as_str().unwrap().contains("tok_"), "{revoked}");
    app.stops().await;
}
