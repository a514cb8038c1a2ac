//! Asking before needing: `POST /oauth2/bc-authorize`.

use serde_json::json;
use valetkey::tokens::TYPE_ACCESS;

use crate::app::{Ask, Credentials, TestApp};
use crate::wire::{Answer, refused};

impl TestApp {
    async fn asks_ahead(&self, by: &Credentials, ask: &Ask) -> Answer {
        self.posts("/oauth2/bc-authorize", by, ask.clone().without("grant_type").fields()).await
    }
}

#[actix_web::test]
async fn a_person_is_asked_before_the_token_is_needed() {
    let mut app = TestApp::start().await;
    let ask = Ask::at("entra").scope("Mail.Read").with("binding_message", "for tonight's summary");
    let asked = app.asks_ahead(&app.personal, &ask).await;
    assert_eq!(asked.status, 200, "{}", asked.body_text());
    let body = asked.json();
    assert_eq!(body["interval"], 5);
    assert!((86_390..=86_400).contains(&body["expires_in"].as_u64().unwrap()), "{body}");
    assert_eq!((&body["interaction"], body.get("error")), (&json!("consent"), None));
    assert!(body["interaction_uri"].as_str().unwrap().contains("/i/int_"));
    assert_eq!(asked.header("cache-control"), Some("no-store"));

    // One question, whichever way it is asked.
    let exchanged = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    assert_eq!(exchanged.text("auth_req_id"), asked.text("auth_req_id"));
    assert_eq!(app.polls(&asked.text("auth_req_id")).await.error(), "authorization_pending");
    app.alice_agrees_to(&asked, &["Mail.Read"]).await;
    let token = app.polls(&asked.text("auth_req_id")).await;
    assert_eq!(token.scope(), ["Mail.Read"]);
    let read = app.calls(&token.text("access_token"), "GET", "entra/graph/v1.0/me/messages").await;
    assert_eq!(read.status, 200);
    app.stops().await;
}

#[actix_web::test]
async fn what_is_granted_already_polls_to_a_token_at_once_and_asks_nobody() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("entra", "Mail.Read User.Read").await;
    let questions = app.live_grants().await;
    let details = r#"[{"type":"valetkey_limit","kind":"read_only"}]"#;
    let ask = Ask::at("entra").scope("Mail.Read").with("authorization_details", details);
    let asked = app.asks_ahead(&app.personal, &ask).await;
    assert_eq!(asked.status, 200, "{}", asked.body_text());
    let body = asked.json();
    assert!(body.get("interaction_uri").is_none() && body.get("interaction").is_none(), "{body}");
    let handle = asked.text("auth_req_id");
    let again = app.asks_ahead(&app.personal, &ask).await;
    assert_eq!(again.text("auth_req_id"), handle, "the same question has the same handle");
    let other = app.asks_ahead(&app.personal, &Ask::at("entra").scope("User.Read")).await;
    assert_ne!(other.text("auth_req_id"), handle);

    for agent in [&app.assistant, &app.autonomous] {
        assert_eq!(app.polls_as(agent, &handle).await.refusal(), refused(400, "invalid_grant"));
    }
    let token = app.polls(&handle).await;
    assert_eq!(token.scope(), ["Mail.Read"], "no more than was asked");
    assert_eq!(token.json()["authorization_details"][0]["kind"], "read_only", "its limits came along");
    assert_eq!(app.polls(&handle).await.refusal(), refused(400, "invalid_grant"), "it came twice");
    assert_eq!(app.live_grants().await, questions, "the grant stays as it was");

    // A handle that nobody had to be asked for lives ten minutes, and the grant behind it may end before.
    app.pass(601);
    assert_eq!(app.polls(&other.text("auth_req_id")).await.error(), "expired_token");
    let third = app.asks_ahead(&app.personal, &Ask::at("entra").scope("User.Read")).await;
    assert_ne!(third.text("auth_req_id"), other.text("auth_req_id"));
    let grant = questions[0]["id"].as_str().unwrap();
    app.admin("POST", &format!("/grants/{grant}/revoke"), &json!({})).await;
    let ended = app.polls(&third.text("auth_req_id")).await;
    assert_eq!(ended.refusal(), refused(400, "invalid_grant"), "{}", ended.body_text());
    app.stops().await;
}

#[actix_web::test]
async fn who_is_asked_has_to_be_proven_and_nothing_is_passed_over() {
    let app = TestApp::start().await;
    let ask = Ask::at("entra").scope("Mail.Read");
    for hint in ["login_hint", "login_hint_token", "id_token_hint", "user_code", "request"] {
        let refusal = app.asks_ahead(&app.personal, &ask.clone().with(hint, "alice@example.com")).await;
        assert_eq!(refusal.refusal(), refused(400, "invalid_request"), "{hint}");
    }
    let hinted = ask.clone().without("subject_token").with("login_hint", "alice@example.com");
    assert_eq!(app.asks_ahead(&app.personal, &hinted).await.error(), "invalid_request");
    let another = app.asks_ahead(&app.personal, &ask.clone().naming("bob@example.com")).await;
    let nobody = app.asks_ahead(&app.personal, &ask.clone().naming("nobody@example.com")).await;
    assert_eq!(another.refusal(), refused(400, "invalid_request"));
    assert_eq!(another.body, nobody.body, "one body, whoever is named");
    assert_eq!(app.asks_ahead(&app.assistant, &ask).await.error(), "invalid_request");
    assert_eq!(app.asks_ahead(&app.autonomous, &ask).await.error(), "unauthorized_client");
    let wrong = Credentials { secret: "vks_wrong".to_owned(), ..app.personal.clone() };
    assert_eq!(app.asks_ahead(&wrong, &ask).await.refusal(), refused(401, "invalid_client"));
    let back_end = ask.clone().with("audience", "https://people.example.com");
    assert_eq!(app.asks_ahead(&app.personal, &back_end).await.error(), "invalid_target");
    assert_eq!(app.asks_ahead(&app.personal, &ask.clone().scope("No.Such")).await.error(), "invalid_scope");
    let wide = app.asks_ahead(&app.personal, &ask.clone().and("scope", "User.Read")).await;
    assert_eq!(wide.error(), "invalid_request", "a parameter given twice");
    assert_eq!(app.questions().await, 0, "nobody was asked");

    let assistant = ask.showing(&app.id_token_of("bob@example.com")).for_a_provider_token();
    let asked = app.asks_ahead(&app.assistant, &assistant).await;
    assert_eq!((asked.status, app.questions().await), (200, 1), "{}", asked.body_text());
    let metadata =
        app.traffic.send("GET", &app.at("/.well-known/oauth-authorization-server"), &[], b"").await.json();
    assert_eq!(metadata["backchannel_authentication_endpoint"], app.at("/oauth2/bc-authorize").as_str());
    assert_eq!(metadata["backchannel_token_delivery_modes_supported"], json!(["poll"]));
    app.stops().await;
}

#[actix_web::test]
async fn a_provider_token_that_was_asked_for_ahead_is_one() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("okta", "okta.groups.read").await;
    let ask = Ask::at("okta").scope("okta.groups.read").for_a_provider_token();
    let asked = app.asks_ahead(&app.personal, &ask).await;
    let token = app.polls(&asked.text("auth_req_id")).await;
    assert_eq!(token.text("issued_token_type"), TYPE_ACCESS, "{}", token.body_text());
    app.stops().await;
}
