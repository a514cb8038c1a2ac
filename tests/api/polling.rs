//! Questions and the handles to poll them: frozen, bound to one agent, good for one token.

use serde_json::json;
use valetkey::tokens::TYPE_ACCESS;

use crate::app::{Ask, TestApp};
use crate::wire::refused;

#[actix_web::test]
async fn a_question_is_frozen_and_a_wider_one_is_another() {
    let mut app = TestApp::start().await;
    let ask = Ask::at("entra").scope("Mail.Read").with("binding_message", "look at my mail");
    let first = app.agent_asks(&ask).await;
    let handle = first.text("auth_req_id");
    assert!(handle.len() >= 27 + 4, "fewer than 160 random bits: {}", handle.len());
    assert_eq!(first.json()["interval"], 5);
    let same = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    assert_eq!(same.text("auth_req_id"), handle);
    assert_eq!(same.text("interaction_uri"), first.text("interaction_uri"));
    let turned = app.agent_asks(&Ask::at("entra").scope("Mail.Read User.Read")).await;
    let reordered = app.agent_asks(&Ask::at("entra").scope("User.Read Mail.Read")).await;
    assert_eq!(turned.text("auth_req_id"), reordered.text("auth_req_id"), "order does not matter");

    let wider = app.agent_asks(&Ask::at("entra").scope("Mail.Read Mail.Send")).await;
    assert_ne!(wider.text("auth_req_id"), handle);
    assert_ne!(wider.text("interaction_uri"), first.text("interaction_uri"));
    // Alice answers the first; the wider one has not crept into it.
    let page = app.alice_agrees_to(&first, &["Mail.Read", "Mail.Send"]).await;
    assert_eq!(page.status, 200);
    assert_eq!(app.polls(&handle).await.scope(), ["Mail.Read"]);
    assert_eq!(app.polls(&wider.text("auth_req_id")).await.error(), "authorization_pending");
    let provider_token = app.agent_asks(&Ask::at("entra").scope("Mail.Send").for_a_provider_token()).await;
    assert_ne!(provider_token.text("auth_req_id"), wider.text("auth_req_id"));
    app.stops().await;
}

#[actix_web::test]
async fn at_most_five_questions_are_open() {
    let app = TestApp::start().await;
    let scopes = ["User.Read", "Mail.Read", "Mail.Send", "Files.Read", "Calendars.Read"];
    let mut handles = Vec::new();
    for scope in scopes {
        let question = app.agent_asks(&Ask::at("entra").scope(scope)).await;
        assert_eq!(question.error(), "interaction_required");
        handles.push(question.text("auth_req_id"));
    }
    let sixth = app.agent_asks(&Ask::at("entra").scope("Contacts.Read")).await;
    // A throttle, and not the person's no.
    assert_eq!(sixth.refusal(), refused(429, "slow_down"), "{}", sixth.body_text());
    assert!(sixth.header("retry-after").is_some() && sixth.text("auth_req_id").is_empty());
    let elsewhere = app.agent_asks(&Ask::at("lark").scope("im:chat:read")).await;
    assert_eq!(elsewhere.error(), "slow_down", "another provider is no way round");
    let known = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    assert_eq!(known.text("auth_req_id"), handles[1]);
    // Many at the same moment do not slip past the count.
    app.pass(24 * 3600 + 1);
    let more = [
        "Contacts.Read",
        "Chat.Read",
        "Tasks.Read",
        "User.Read Mail.Read",
        "User.Read Files.Read",
        "User.Read Mail.Send",
        "User.Read Calendars.Read",
        "User.Read Chat.Read",
    ];
    let asks: Vec<Ask> = more.iter().map(|scope| Ask::at("entra").scope(scope)).collect();
    let answers = futures_util::future::join_all(asks.iter().map(|ask| app.agent_asks(ask))).await;
    let opened = answers.iter().filter(|answer| answer.error() == "interaction_required").count();
    assert!(opened <= 5, "{opened} questions are open at once");
    app.stops().await;
}

#[actix_web::test]
async fn a_token_is_collected_once_by_the_agent_that_asked() {
    let mut app = TestApp::start().await;
    let question = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    let handle = question.text("auth_req_id");
    assert_eq!(app.polls(&handle).await.refusal(), refused(400, "authorization_pending"));
    assert_eq!(app.polls(&handle).await.refusal(), refused(400, "slow_down"));
    app.alice_agrees_to(&question, &["Mail.Read"]).await;
    for agent in [&app.assistant, &app.autonomous] {
        assert_eq!(app.polls_as(agent, &handle).await.refusal(), refused(400, "invalid_grant"));
    }
    let unknown = app.polls_as(&app.personal, "vka_0000000000000000000000000000000000000000").await;
    assert_eq!(unknown.refusal(), refused(400, "invalid_grant"));
    let both = futures_util::future::join_all((0..10).map(|_| app.polls(&handle))).await;
    let tokens = both.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(tokens, 1, "the token came {tokens} times");
    let spent = app.polls(&handle).await;
    assert_eq!(spent.refusal(), refused(400, "invalid_grant"));
    assert_eq!(spent.body, app.polls_as(&app.assistant, &handle).await.body, "one body for all");
    app.stops().await;
}

#[actix_web::test]
async fn whoever_polls_too_soon_has_to_wait_longer_each_time() {
    let mut app = TestApp::start().await;
    let question = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    let other = app.agent_asks(&Ask::at("entra").scope("Mail.Send")).await.text("auth_req_id");
    let handle = question.text("auth_req_id");
    let polls = async |app: &TestApp, after: u64| {
        app.pass(after);
        app.polls(&handle).await.error()
    };
    assert_eq!(polls(&app, 0).await, "authorization_pending");
    assert_eq!(polls(&app, 1).await, "slow_down");
    assert_eq!(polls(&app, 6).await, "slow_down", "ten seconds by now");
    assert_eq!(polls(&app, 16).await, "authorization_pending", "fifteen by now");
    assert_eq!(polls(&app, 11).await, "slow_down", "it stays with this question");
    let again = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    assert_eq!(again.json()["interval"], 20);
    assert_eq!(polls(&app, 21).await, "authorization_pending");
    // Another question has its own pace, and an answer does not wait.
    assert_eq!(app.polls(&other).await.error(), "authorization_pending");
    app.pass(6);
    assert_eq!(app.polls(&other).await.error(), "authorization_pending");
    app.alice_agrees_to(&question, &["Mail.Read"]).await;
    assert_eq!(app.polls(&handle).await.status, 200);
    app.stops().await;
}

#[actix_web::test]
async fn a_token_that_could_not_be_made_is_left_for_the_next_poll() {
    let mut app = TestApp::start().await;
    let ask = Ask::at("okta").scope("okta.groups.read").for_a_provider_token();
    let question = app.agent_asks(&ask).await;
    let handle = question.text("auth_req_id");
    app.alice_agrees_to(&question, &["okta.groups.read"]).await;
    app.provider_will("okta", json!({"endpoint": "refresh", "kind": "status", "value": 503, "count": 2}))
        .await;
    let failed = app.polls(&handle).await;
    assert_eq!(failed.refusal(), refused(503, "temporarily_unavailable"), "{}", failed.body_text());
    app.pass(60);
    let answer = app.polls(&handle).await;
    assert_eq!(answer.text("issued_token_type"), TYPE_ACCESS, "{}", answer.body_text());
    assert_eq!(app.polls(&handle).await.refusal(), refused(400, "invalid_grant"), "it came twice");
    app.stops().await;
}
