//! Invariant 2: no token that leaves is broader than asked, granted and the agent's ceiling.

use serde_json::json;

use crate::app::{Ask, TestApp, page_of};
use crate::browser::Answers;
use crate::wire::refused;

#[actix_web::test]
async fn no_grant_type_gives_more_than_was_granted() {
    let mut app = TestApp::start().await;
    for (scope, why) in [
        ("Mail.ReadWrite", "above the ceiling"),
        ("User.Read Mail.ReadWrite", "one of two above the ceiling"),
        ("No.Such.Scope", "unknown"),
        ("mail.read", "another spelling"),
        ("offline_access", "bookkeeping"),
        ("*", "a wildcard"),
        ("https://graph.microsoft.com/.default", "the vendor's own wildcard"),
    ] {
        let answer = app.agent_asks(&Ask::at("entra").scope(scope)).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_scope"), "{why}: {}", answer.body_text());
    }
    assert_eq!(app.questions().await, 0, "a refused scope must not open a question");

    let first = app.alice_has_granted("entra", "User.Read Mail.Read").await;
    assert_eq!(first.scope(), ["Mail.Read", "User.Read"]);

    // In the ceiling but not granted: a person is asked for the whole, and nothing is issued in part.
    let partly = app.agent_asks(&Ask::at("entra").scope("Mail.Read Files.Read")).await;
    assert_eq!(partly.refusal(), refused(400, "interaction_required"));
    assert_eq!(partly.text("access_token"), "");
    assert!(partly.text("error_description").contains("Files.Read"));

    // What the page did not offer cannot be agreed to by a form that was bent.
    app.alice_answers(
        &partly,
        Answers { ticks: &["Mail.Read", "Files.Read", "Mail.Send", "Contacts.Read"], ..Answers::default() },
    )
    .await;
    let collected = app.polls(&partly.text("auth_req_id")).await;
    for scope in ["Mail.Send", "Contacts.Read"] {
        assert!(!collected.scope().contains(&scope.to_owned()), "{scope} came along");
        let answer = app.agent_asks(&Ask::at("entra").scope(scope)).await;
        assert_eq!(answer.error(), "interaction_required", "{scope} was granted by a bent form");
    }

    // Asking for less gives less, and the gateway holds to it.
    let narrow = app.agent_asks(&Ask::at("entra").scope("User.Read")).await;
    assert_eq!(narrow.scope(), ["User.Read"]);
    let call = app.calls(&narrow.token(), "GET", "entra/graph/v1.0/me/messages").await;
    assert_eq!(call.refusal(), refused(403, "insufficient_scope"));
    assert!(call.header("www-authenticate").is_some());

    // Left out and empty mean what the grant holds, never the ceiling.
    for ask in [Ask::at("entra"), Ask::at("entra").scope("")] {
        let whole = app.agent_asks(&ask).await;
        assert!(!whole.scope().contains(&"Mail.Send".to_owned()), "{:?}", whole.scope());
    }
    app.stops().await;
}

#[actix_web::test]
async fn what_an_agent_agreed_to_less_of_stays_less() {
    let mut app = TestApp::start().await;
    let question = app.agent_asks(&Ask::at("entra").scope("User.Read Mail.Read Mail.Send")).await;
    app.alice_agrees_to(&question, &["User.Read", "Mail.Read"]).await;
    let token = app.polls(&question.text("auth_req_id")).await;
    assert_eq!(token.scope(), ["Mail.Read", "User.Read"]);
    let send = br#"{"message":{"subject":"hello"}}"#;
    let before = app.data_calls_at("entra").await;
    let json = [("Content-Type", "application/json")];
    let sent = app.calls_with(&token.token(), "POST", "entra/graph/v1.0/me/sendMail", &json, send).await;
    assert_eq!(sent.refusal(), refused(403, "insufficient_scope"));
    assert_eq!(app.data_calls_at("entra").await, before, "the vendor has seen a refused call");
    // A limit that nobody can enforce is refused, not passed over.
    let details = json!([{"type": "valetkey_limit", "api": "graph", "kind": "folder"}]).to_string();
    let limited = app.agent_asks(&Ask::at("entra").with("authorization_details", &details)).await;
    assert_eq!(limited.refusal(), refused(400, "invalid_authorization_details"));
    app.stops().await;
}

#[actix_web::test]
async fn a_broader_token_from_upstream_never_leaves() {
    let mut app = TestApp::start().await;
    let question = app.agent_asks(&Ask::at("okta").scope("okta.groups.read okta.users.read.self")).await;
    app.alice_agrees_to(&question, &["okta.groups.read", "okta.users.read.self"]).await;
    app.polls(&question.text("auth_req_id")).await;
    let broad = json!({"endpoint": "refresh", "kind": "broader_scope",
        "value": "okta.groups.read okta.groups.manage okta.users.manage", "count": 1});
    app.provider_will("okta", broad).await;
    let ask = Ask::at("okta").scope("okta.groups.read").for_a_provider_token();
    let answer = app.agent_asks(&ask).await;
    assert_eq!(answer.text("issued_token_type"), "urn:valetkey:token-type:gateway");
    assert_eq!(answer.scope(), ["okta.groups.read"]);
    // What the upstream gave too much of does not widen the gateway either.
    let manage = app.calls(&answer.token(), "DELETE", "okta/mgmt/api/v1/groups/00g1").await;
    assert_eq!(manage.status, 403);
    let more = app.agent_asks(&Ask::at("okta").scope("okta.groups.manage")).await;
    assert_eq!(more.error(), "invalid_scope");
    app.stops().await;
}

#[actix_web::test]
async fn a_vendor_that_grants_more_at_consent_grants_the_agent_nothing_more() {
    let mut app = TestApp::start().await;
    let broad = json!({"endpoint": "token", "kind": "broader_scope",
        "value": "User.Read Mail.Read Mail.Send Files.Read offline_access", "count": 1});
    app.provider_will("entra", broad).await;
    let token = app.alice_has_granted("entra", "User.Read").await;
    assert_eq!(token.scope(), ["User.Read"]);
    let mail = app.calls(&token.token(), "GET", "entra/graph/v1.0/me/messages").await;
    assert_eq!(mail.status, 403);
    // The connection may hold them; our own page is never skipped for it.
    let more = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    assert_eq!(more.error(), "interaction_required");
    app.stops().await;
}

impl TestApp {
    async fn alice_agrees_for(&mut self, scopes: &str, seconds: u32) -> String {
        let question = self.agent_asks(&Ask::at("entra").scope(scopes)).await;
        assert_eq!(question.error(), "interaction_required", "{}", question.body_text());
        let shown = self.alice.opens(&page_of(&question)).await.html;
        let ticks: Vec<&str> = scopes.split(' ').collect();
        let answers = Answers { ticks: &ticks, lasts: Some(seconds), ..Answers::default() };
        assert_eq!(self.alice_answers(&question, answers).await.status, 200);
        shown
    }
}

#[actix_web::test]
async fn agreeing_to_more_prolongs_nothing_that_was_agreed_to_before() {
    let mut app = TestApp::start().await;
    app.alice_agrees_for("User.Read", 60).await;
    app.alice_agrees_for("Mail.Read", 3_600).await;
    let shown = app.alice_agrees_for("Mail.Send", 86_400).await;
    assert!(shown.contains("It may already do") && shown.contains("in 60 min"), "{shown}");
    let home = app.alice.opens(&app.at("/")).await.html;
    assert!(home.contains("in 60 min") && home.contains("in 1 day"), "the page says what ends when: {home}");
    let grant = app.live_grants().await.remove(0);
    let ends = grant["scope_ends"].as_object().unwrap();
    assert_eq!(ends.keys().collect::<Vec<_>>(), ["Mail.Read", "User.Read"], "{grant}");
    assert_eq!(app.agent_asks(&Ask::at("entra")).await.scope(), ["Mail.Read", "Mail.Send", "User.Read"]);

    // A token that holds what ends is worth no more than what has not ended.
    app.pass(3_500);
    let token = app.agent_asks(&Ask::at("entra")).await;
    assert_eq!(token.scope(), ["Mail.Read", "Mail.Send"], "the first minute is over");
    assert_eq!(app.calls(&token.token(), "GET", "entra/graph/v1.0/me/messages").await.status, 200);
    app.pass(150);
    let call = app.calls(&token.token(), "GET", "entra/graph/v1.0/me/messages").await;
    assert_eq!(call.refusal(), refused(403, "insufficient_scope"), "{}", call.body_text());
    assert_eq!(app.introspects(&app.personal, &token.token()).await["scope"], "Mail.Send");
    assert_eq!(app.agent_asks(&Ask::at("entra")).await.scope(), ["Mail.Send"]);
    let ended = app.agent_asks(&Ask::at("entra").scope("Mail.Read Mail.Send")).await;
    assert_eq!(ended.error(), "interaction_required", "{}", ended.body_text());

    // Ticked again, it holds as long as the rest; what was agreed to for longer keeps its time.
    app.alice_agrees_for("Mail.Read", 3_600).await;
    app.pass(3_700);
    assert_eq!(app.agent_asks(&Ask::at("entra")).await.scope(), ["Mail.Send"]);
    app.pass(86_400);
    assert_eq!(app.agent_asks(&Ask::at("entra").scope("Mail.Send")).await.error(), "interaction_required");
    assert_eq!(app.live_grants().await.len(), 1, "ended, not revoked");
    app.stops().await;
}
