//! Denials that teach: what is missing, and the interaction in which a person can allow just that.

use serde_json::{Value, json};
use valetkey::model::interaction::{Interaction, Question};

use crate::app::{Ask, TestApp, page_of};
use crate::browser::Answers;
use crate::wire::{Answer, refused};

const MAIL: &str = "entra/graph/v1.0/me/messages";
const FILES: &str = "entra/graph/v1.0/me/drive/root/children";
const SEND: &str = "entra/graph/v1.0/me/sendMail";

async fn sends_mail(app: &TestApp, token: &str) -> Answer {
    let body = json!({"message": {"subject": "x", "toRecipients": [
        {"emailAddress": {"address": "bob@example.com"}}]}});
    let json = [("Content-Type", "application/json")];
    app.calls_with(token, "POST", SEND, &json, body.to_string().as_bytes()).await
}

/// What an interaction asks for.
async fn question_at(app: &TestApp, uri: &str) -> Question {
    let id = uri.rsplit('/').next().unwrap();
    let found = app.demo.services.store.get::<Interaction>(id).await.unwrap();
    found.unwrap_or_else(|| panic!("no interaction at `{uri}`")).question.clone()
}

fn limits(members: Value) -> String {
    let mut members = members;
    members["type"] = json!("valetkey_limit");
    json!([members]).to_string()
}

#[actix_web::test]
async fn a_missing_scope_can_be_asked_for_on_the_spot() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "Mail.Read").await.token();
    let denied = app.calls(&token, "GET", FILES).await;
    assert_eq!(denied.refusal(), refused(403, "insufficient_scope"));
    assert!(denied.header("www-authenticate").is_some());
    assert!(denied.text("error_description").contains("interaction_uri"), "{}", denied.body_text());
    let again = app.calls(&token, "GET", FILES).await;
    for member in ["interaction_uri", "auth_req_id"] {
        assert!(!denied.text(member).is_empty());
        assert_eq!(denied.text(member), again.text(member), "the same question is asked once");
    }
    let asked = question_at(&app, &denied.text("interaction_uri")).await;
    assert_eq!(asked.scopes.to_string(), "Files.Read", "the least that opens the call");

    app.alice_agrees_to(&denied, &["Files.Read"]).await;
    let token = app.polls(&denied.text("auth_req_id")).await.token();
    assert_eq!(app.calls(&token, "GET", FILES).await.status, 200);
    let whole = app.agent_asks(&Ask::at("entra")).await.token();
    assert_eq!(app.calls(&whole, "GET", MAIL).await.status, 200, "what was granted before stays");
    app.stops().await;
}

#[actix_web::test]
async fn only_what_could_be_granted_is_asked_for() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "User.Read Mail.Read").await.token();
    let before = app.questions().await;

    // Above the ceiling.
    let json = [("Content-Type", "application/json")];
    let patch = format!("{MAIL}/AAMk");
    let above = app.calls_with(&token, "PATCH", &patch, &json, b"{\"isRead\":true}").await;
    assert_eq!(above.refusal(), refused(403, "insufficient_scope"), "{}", above.body_text());
    assert_eq!(above.text("interaction_uri"), "");
    assert!(above.text("error_description").contains("ceiling"));

    // No call at all.
    let nothing = app.calls(&token, "GET", "entra/graph/v1.0/users").await;
    assert_eq!(
        (nothing.error().as_str(), nothing.text("interaction_uri").as_str()),
        ("route_not_allowed", "")
    );

    // The grant holds it, this token does not.
    let narrow = app.agent_asks(&Ask::at("entra").scope("User.Read")).await.token();
    let own_choice = app.calls(&narrow, "GET", MAIL).await;
    assert_eq!(own_choice.refusal(), refused(403, "insufficient_scope"));
    assert_eq!(own_choice.text("interaction_uri"), "");
    assert!(own_choice.text("error_description").contains("obtain a token with that scope"));

    // A limit that the agent has put on its own token.
    let ask = Ask::at("entra").with(
        "authorization_details",
        &limits(json!({
        "kind": "hours", "from": "00:00", "until": "00:01", "days": [1], "utc_offset_min": 0})),
    );
    app.pass(3600 * 24 * 2);
    let token = app.agent_asks(&ask).await.token();
    let own = app.calls(&token, "GET", MAIL).await;
    assert_eq!((own.error().as_str(), own.text("interaction_uri").as_str()), ("limit_exceeded", ""));

    // Somebody who may do nothing at all.
    let stop = app.admin_does("/stops", &json!({"all": true, "reason": "drill"})).await;
    let stopped = app.calls(&narrow, "GET", FILES).await;
    assert_eq!((stopped.status, stopped.text("interaction_uri").as_str()), (401, ""), "{stop}");
    assert_eq!(app.questions().await, before, "nothing was asked");
    app.stops().await;
}

#[actix_web::test]
async fn a_refusal_stands_and_a_flood_opens_no_more_than_five() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "User.Read").await.token();
    let denied = app.calls(&token, "GET", MAIL).await;
    let no = Answers { refuses_here: true, ..Answers::default() };
    app.alice.walks(&page_of(&denied), no).await;
    let after = app.calls(&token, "GET", MAIL).await;
    assert_eq!(after.text("interaction_uri"), "");
    assert!(after.text("error_description").contains("refused"), "{}", after.body_text());

    let before = app.questions().await;
    for round in 0..3 {
        for path in
            [FILES, "entra/graph/v1.0/me/events", "entra/graph/v1.0/me/contacts", "entra/graph/v1.0/me/chats"]
        {
            let denied = app.calls(&token, "GET", path).await;
            assert_eq!(denied.status, 403, "{round} {path}");
        }
        let sent = sends_mail(&app, &token).await;
        assert_eq!(sent.status, 403);
    }
    assert!(app.questions().await <= before + 5);
    app.stops().await;
}

#[actix_web::test]
async fn a_limit_is_asked_to_be_wider_by_what_was_asked_only() {
    let mut app = TestApp::start().await;
    let of_day = app.demo.services.clock.now().secs().rem_euclid(24 * 3600);
    app.pass(u64::try_from((24 + 12) * 3600 - of_day).unwrap());
    let hours = limits(json!({"kind": "hours", "from": "13:00", "until": "17:00"}));
    let held = json!([{"type": "valetkey_limit", "kind": "hours", "from": "13:00", "until": "17:00",
        "utc_offset_min": 0}]);
    let ask = Ask::at("entra").scope("Mail.Read").with("authorization_details", &hours);
    let token = app.alice_has_answered(&ask, "Mail.Read").await.token();
    let denied = app.calls(&token, "GET", MAIL).await;
    assert_eq!(denied.refusal(), refused(403, "limit_exceeded"));
    let asked = question_at(&app, &denied.text("interaction_uri")).await;
    let now = app.demo.services.clock.now().secs().rem_euclid(24 * 3600) / 3600;
    let wider = json!([{"type": "valetkey_limit", "kind": "hours", "from": format!("{now:02}:00"),
        "until": "17:00", "utc_offset_min": 0}]);
    let widens = asked.widens.unwrap();
    assert_eq!(json!([widens.wider]), wider);
    assert_eq!(json!([widens.former]), held);
    assert!(asked.limits.is_empty(), "there was no other");
    assert_eq!(asked.scopes.to_string(), "Mail.Read");
    let denied = app.calls(&token, "HEAD", MAIL).await;
    assert_eq!(denied.status, 403);
    app.stops().await;
}

#[actix_web::test]
async fn a_wider_limit_takes_the_place_of_the_former_one_and_nothing_else_is_lost() {
    let mut app = TestApp::start().await;
    let details = json!([
        {"type": "valetkey_limit", "api": "graph", "kind": "recipients", "domains": ["other.example"]},
        {"type": "valetkey_limit", "kind": "calls", "most": 50, "per": "day"},
    ]);
    let scopes = "Mail.Read Mail.Send User.Read";
    let ask = Ask::at("entra").scope(scopes).with("authorization_details", &details.to_string());
    let token = app.alice_has_answered(&ask, scopes).await.token();
    let denied = sends_mail(&app, &token).await;
    assert_eq!(denied.refusal(), refused(403, "limit_exceeded"), "{}", denied.body_text());
    let page = app.alice.opens(&page_of(&denied)).await;
    assert!(
        page.html.contains("A wider limit") && page.html.contains("other.example or example.com"),
        "{}",
        page.html
    );
    let form = page.form_with("duration").unwrap();
    let boxes = |name: &str| form.boxes.iter().filter(|(own, ..)| own == name).collect::<Vec<_>>();
    assert!(!boxes("limit.widen")[0].2, "it is about sending, so it starts unticked");
    assert!(boxes("scope").iter().all(|(.., ticked)| *ticked), "what is granted stays ticked");

    // Agreed to without the tick, all stays what it was.
    let mut fields = form.with("decision", "agree");
    fields.extend(boxes("scope").iter().map(|(name, value, _)| (name.clone(), value.clone())));
    let same = app.alice.sends(&page.url.join(&form.action).unwrap(), &fields).await;
    assert!(same.html.contains("It is agreed"), "{}", same.html);
    let sorted = |limits: &serde_json::Value| {
        let mut all: Vec<String> = limits.as_array().unwrap().iter().map(ToString::to_string).collect();
        all.sort();
        all
    };
    let held = app.live_grants().await[0]["limits"].clone();
    assert_eq!(sorted(&held), sorted(&details));

    let token = app.agent_asks(&Ask::at("entra").scope(scopes)).await.token();
    let denied = sends_mail(&app, &token).await;
    let page = app.alice.opens(&page_of(&denied)).await;
    let form = page.form_with("duration").unwrap();
    let mut fields = form.with("decision", "agree");
    let scope = form.boxes.iter().filter(|(name, ..)| name == "scope" || name == "limit.widen");
    fields.extend(scope.map(|(name, value, _)| (name.clone(), value.clone())));
    let done = app.alice.sends(&page.url.join(&form.action).unwrap(), &fields).await;
    assert!(done.html.contains("It is agreed"), "{}", done.html);
    let grants = app.live_grants().await;
    let wider = json!([
        {"type": "valetkey_limit", "api": "graph", "kind": "recipients",
         "domains": ["other.example", "example.com"]},
        {"type": "valetkey_limit", "kind": "calls", "most": 50, "per": "day"},
    ]);
    assert_eq!(sorted(&grants[0]["limits"]), sorted(&wider));
    assert_eq!(grants.len(), 1);
    for scope in scopes.split(' ') {
        assert!(grants[0]["scopes"].to_string().contains(scope), "{scope}: {}", grants[0]);
    }
    let token = app.agent_asks(&Ask::at("entra").scope(scopes)).await.token();
    assert!(sends_mail(&app, &token).await.status < 300);
    app.stops().await;
}
