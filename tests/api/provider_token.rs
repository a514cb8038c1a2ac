//! A provider token leaves by invariant 2 only.

use serde_json::json;
use valetkey::app::demo::people::{ALICE, BOB};
use valetkey::tokens::{TYPE_ACCESS, TYPE_GATEWAY};

use valetkey::app::demo::Ground;
use valetkey::app::jobs;
use valetkey::kernel::clock::Clock as _;

use crate::app::{Ask, TestApp, fingerprint};
use crate::browser::Answers;

#[actix_web::test]
async fn only_tight_scopes_of_providers_that_narrow_give_one() {
    let mut app = TestApp::start().await;
    for (provider, scope, kind) in [
        ("okta", "okta.groups.read", TYPE_ACCESS),
        ("lark", "docs:document.content:read", TYPE_ACCESS),
        // Leaky: the vendor opens more with it than the routes say.
        ("okta", "okta.users.read.self", TYPE_GATEWAY),
        ("lark", "im:chat:read", TYPE_GATEWAY),
        // These vendors do not narrow at all.
        ("entra", "User.Read", TYPE_GATEWAY),
        ("dingtalk", "Calendar.Event.Read", TYPE_GATEWAY),
        ("wecom", "wecom.contact.read", TYPE_GATEWAY),
    ] {
        app.alice_has_granted(provider, scope).await;
        let ask = Ask::at(provider).scope(scope);
        let answer = app.agent_asks(&ask.clone().for_a_provider_token()).await;
        assert_eq!(answer.text("issued_token_type"), kind, "{provider} {scope}: {}", answer.body_text());
        assert_eq!(answer.scope(), [scope], "{provider}");
        assert!(answer.json()["expires_in"].as_u64().unwrap() <= 3600, "{provider}");
        assert_eq!(answer.text("gateway").is_empty(), kind == TYPE_ACCESS);
        // Unless it was asked for, none leaves.
        assert_eq!(app.agent_asks(&ask).await.text("issued_token_type"), TYPE_GATEWAY);
    }
    // A tight scope together with a leaky one: none.
    let both = Ask::at("okta").scope("okta.groups.read okta.users.read.self").for_a_provider_token();
    assert_eq!(app.agent_asks(&both).await.text("issued_token_type"), TYPE_GATEWAY);
    app.stops().await;
}

#[actix_web::test]
async fn it_is_minted_once_per_grant_and_shared_with_nobody() {
    let mut app = TestApp::start().await;
    let ask = Ask::at("okta").scope("okta.groups.read");
    app.alice_has_answered(&ask, "okta.groups.read").await;
    let wanted = ask.clone().for_a_provider_token();
    let answers = futures_util::future::join_all((0..20).map(|_| app.agent_asks(&wanted))).await;
    let mut tokens: Vec<String> = answers.iter().map(crate::wire::Answer::token).collect();
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "twenty requests minted {} tokens", tokens.len());
    assert_eq!(app.refreshes_at("okta").await, 1);

    // It is none of the tokens that the broker itself works with.
    app.calls(&app.agent_asks(&ask).await.token(), "GET", "okta/mgmt/api/v1/groups").await;
    let own = app.data_calls_at("okta").await;
    assert!(!own.is_empty());
    assert!(
        own.iter().all(|call| call["token_sha256"] != fingerprint(&tokens[0])),
        "the broker's own token left"
    );

    // Another agent of the same user gets another one.
    let assistant =
        ask.by(&app.assistant.clone()).showing(&app.id_token_of(valetkey::app::demo::people::ALICE));
    let granted = app.alice_has_answered(&assistant, "okta.groups.read").await;
    assert_eq!(granted.status, 200);
    let fresh =
        assistant.showing(&app.id_token_of(valetkey::app::demo::people::ALICE)).for_a_provider_token();
    let other = app.agent_asks(&fresh).await;
    assert_eq!(other.text("issued_token_type"), TYPE_ACCESS, "{}", other.body_text());
    assert_ne!(other.token(), tokens[0], "two agents share a provider token");
    app.stops().await;
}

#[actix_web::test]
async fn it_never_lives_longer_than_an_hour_and_dies_with_its_grant() {
    let mut app = TestApp::start().await;
    // A vendor that answers with a day.
    app.alice_has_granted("okta", "okta.groups.read").await;
    app.provider_will("okta", json!({"endpoint": "refresh", "kind": "expires_in", "value": 86_400})).await;
    let ask = Ask::at("okta").scope("okta.groups.read").for_a_provider_token();
    let answer = app.agent_asks(&ask).await;
    assert!(answer.json()["expires_in"].as_u64().unwrap() <= 3600, "{}", answer.body_text());
    assert_eq!(answer.text("issued_token_type"), TYPE_ACCESS);
    let token = answer.token();
    let grant = answer.text("grant_id");
    let works_at_the_vendor = async |app: &TestApp| {
        let url = url::Url::parse(&format!("{}/okta/org/api/v1/groups", app.demo.sandbox.url)).unwrap();
        let authorization = format!("Bearer {token}");
        let call = app.traffic.send("GET", &url, &[("Authorization", &authorization)], b"").await;
        call.status == 200
    };
    assert!(works_at_the_vendor(&app).await);
    app.admin_does(&format!("/grants/{grant}/revoke"), &json!({})).await;
    for _ in 0..40 {
        if !works_at_the_vendor(&app).await {
            app.stops().await;
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    panic!("the provider token outlives its grant, although this vendor can revoke it");
}

#[actix_web::test]
async fn it_does_not_leave_for_another_user() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("okta", "okta.groups.read").await;
    let ask = Ask::at("okta").scope("okta.groups.read").for_a_provider_token();
    let as_bob = ask.by(&app.assistant.clone()).showing(&app.id_token_of(BOB));
    let answer = app.agent_asks(&as_bob).await;
    assert_eq!(answer.error(), "interaction_required", "{}", answer.body_text());
    app.stops().await;
}

/// A provider token of Alice's in an agent's hands.
async fn handed_out(app: &mut TestApp, ask: Ask) -> String {
    let answer = app.alice_has_answered(&ask.for_a_provider_token(), "okta.groups.read").await;
    assert_eq!(answer.text("issued_token_type"), TYPE_ACCESS, "{}", answer.body_text());
    assert_eq!(at_the_vendor(app, &answer.token()).await, 200);
    answer.token()
}

async fn vendor_refuses(app: &TestApp, token: &str) -> bool {
    for _ in 0..80 {
        if at_the_vendor(app, token).await == 401 {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    false
}

#[actix_web::test]
async fn it_ends_with_an_agent_that_nobody_answers_for() {
    for by_the_sweep in [false, true] {
        let mut app = TestApp::start_on(Ground { suspend_without_owner: true, ..Ground::default() }).await;
        let ask = Ask::at("okta").scope("okta.groups.read").by(&app.assistant.clone());
        let ask = ask.showing(&app.id_token_of(ALICE));
        let token = handed_out(&mut app, ask).await;
        // Bob, who answers for the assistant, leaves.
        let bob = app.user_id_of(BOB).await;
        if by_the_sweep {
            let disabled = json!({ "state": "disabled" });
            assert_eq!(app.admin("PATCH", &format!("/users/{bob}"), &disabled).await.status, 200);
            jobs::sweep(&app.demo.services).await.unwrap();
        } else {
            app.admin_does(&format!("/users/{bob}/depart"), &json!({})).await;
        }
        let agent = app.admin("GET", &format!("/agents/{}", app.assistant.id), &json!(null)).await.json();
        assert_eq!(agent["state"], "suspended");
        assert!(vendor_refuses(&app, &token).await, "it works on at the vendor; swept: {by_the_sweep}");
        app.stops().await;
    }
}

#[actix_web::test]
async fn it_ends_with_its_agent() {
    let mut app = TestApp::start().await;
    let ends_in = async |app: &TestApp, seconds: u64| {
        let end = app.demo.clock.now().plus(std::time::Duration::from_secs(seconds)).rfc3339();
        let path = format!("/agents/{}", app.personal.id);
        assert_eq!(app.admin("PATCH", &path, &json!({ "expires_at": end })).await.status, 200);
    };
    // The end is known when the token is made.
    ends_in(&app, 600).await;
    let ask = Ask::at("okta").scope("okta.groups.read");
    let token = handed_out(&mut app, ask.clone()).await;
    let again = app.agent_asks(&ask.clone().for_a_provider_token()).await;
    assert!(again.json()["expires_in"].as_u64().unwrap() <= 600, "{}", again.body_text());
    app.pass(601);
    app.demo.services.connections.sweep_grant_tokens().await.unwrap();
    assert!(vendor_refuses(&app, &token).await, "it outlives its agent");

    // The end comes earlier than was known then.
    ends_in(&app, 3600 * 24).await;
    let answer = app.agent_asks(&ask.for_a_provider_token()).await;
    assert_eq!(answer.text("issued_token_type"), TYPE_ACCESS, "{}", answer.body_text());
    let token = answer.token();
    ends_in(&app, 60).await;
    jobs::sweep(&app.demo.services).await.unwrap();
    assert_eq!(at_the_vendor(&app, &token).await, 200, "not before its end");
    app.pass(61);
    jobs::sweep(&app.demo.services).await.unwrap();
    assert!(vendor_refuses(&app, &token).await, "it outlives its agent, whose end was moved");
    app.stops().await;
}

async fn at_the_vendor(app: &TestApp, token: &str) -> u16 {
    let url = format!("{}/okta/org/api/v1/groups", app.demo.sandbox.url);
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str())];
    app.traffic.send("GET", &url::Url::parse(&url).unwrap(), &headers, b"").await.status
}

#[actix_web::test]
async fn the_agent_that_holds_it_gives_it_back_and_nobody_else() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("okta", "okta.groups.read").await;
    let ask = Ask::at("okta").scope("okta.groups.read").for_a_provider_token();
    let token = app.agent_asks(&ask).await.token();
    for (agent, given, why) in [
        (&app.assistant, token.clone(), "another agent's"),
        (&app.personal, format!("{token}x"), "unknown"),
        (&app.personal, "x".repeat(4000), "nonsense"),
    ] {
        assert_eq!(app.gives_back(agent, &given).await.status, 200, "{why}");
        assert_eq!(app.agent_asks(&ask).await.token(), token, "{why}: the token was given up");
    }
    assert_eq!(at_the_vendor(&app, &token).await, 200);
    assert_eq!(app.gives_back(&app.personal, &token).await.status, 200);
    assert_eq!(at_the_vendor(&app, &token).await, 401, "the vendor was not told");
    let events = app.admin("GET", "/events", &json!(null)).await.json();
    let actions: Vec<&str> =
        events["items"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(actions.iter().filter(|action| **action == "token.revoked").count(), 1);
    let next = app.agent_asks(&ask).await;
    assert_eq!(next.text("issued_token_type"), TYPE_ACCESS);
    assert_ne!(next.token(), token, "a token that was given back was handed out again");
    // Its digest is forgotten with it.
    assert_eq!(app.gives_back(&app.personal, &token).await.status, 200);
    assert_eq!(app.agent_asks(&ask).await.token(), next.token());
    app.stops().await;
}

#[actix_web::test]
async fn a_consent_that_the_vendor_has_ended_asks_the_person_at_once() {
    let mut app = TestApp::start().await;
    let ask = Ask::at("okta").scope("okta.groups.read").for_a_provider_token();
    let question = app.agent_asks(&ask).await;
    let answers = Answers { ticks: &["okta.groups.read"], lasts: Some(365 * 86_400), ..Answers::default() };
    assert_eq!(app.alice_answers(&question, answers).await.status, 200);
    assert_eq!(app.agent_asks(&ask).await.text("issued_token_type"), TYPE_ACCESS);
    // The vendor's refresh tokens live for 90 days; the grant for a year.
    app.pass(91 * 86_400);
    let repair = app.agent_asks(&ask).await;
    assert_eq!(repair.refusal(), (400, "interaction_required".to_owned()), "{}", repair.body_text());
    let answers = Answers { ticks: &["okta.groups.read"], ..Answers::default() };
    assert_eq!(app.alice_answers(&repair, answers).await.status, 200);
    let answer = app.polls(&repair.text("auth_req_id")).await;
    assert_eq!(answer.text("issued_token_type"), TYPE_ACCESS, "{}", answer.body_text());
    app.stops().await;
}
