//! A provider that is down, slow or talks nonsense: a clear answer, and nothing is lost.

use serde_json::json;

use crate::app::{Ask, TestApp};
use crate::browser::Answers;

const MAIL: &str = "entra/graph/v1.0/me/messages";

#[actix_web::test]
async fn a_refresh_that_fails_loses_nothing() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("entra", "Mail.Read").await;
    for fault in [
        json!({"endpoint": "refresh", "kind": "status", "value": 500}),
        json!({"endpoint": "refresh", "kind": "status", "value": 503}),
        json!({"endpoint": "refresh", "kind": "html"}),
        json!({"endpoint": "refresh", "kind": "garbage"}),
        json!({"endpoint": "refresh", "kind": "rate_limit", "value": 3}),
        json!({"endpoint": "refresh", "kind": "drop_after_commit"}),
    ] {
        app.pass(5460);
        let token = app.agent_asks(&Ask::at("entra")).await.token();
        app.provider_will("entra", fault.clone()).await;
        let answer = app.calls(&token, "GET", MAIL).await;
        assert!(
            matches!(answer.status, 200 | 502 | 503),
            "{fault}: {} {}",
            answer.status,
            answer.body_text()
        );
        if answer.status != 200 {
            assert!(!answer.error().is_empty(), "{fault}: {}", answer.body_text());
            assert!(
                !answer.body_text().contains("localhost"),
                "{fault}: internals in {}",
                answer.body_text()
            );
        }
        app.admin("DELETE", "/nothing", &json!(null)).await;
        app.pass(120);
        let mut status = 0;
        for _ in 0..5 {
            let token = app.agent_asks(&Ask::at("entra")).await.token();
            status = app.calls(&token, "GET", MAIL).await.status;
            if status == 200 {
                break;
            }
            app.pass(300);
        }
        assert_eq!(status, 200, "{fault}: the connection did not come back");
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_consent_that_fails_upstream_grants_nothing_and_can_be_tried_again() {
    let mut app = TestApp::start().await;
    for fault in [
        json!({"endpoint": "token", "kind": "status", "value": 500}),
        json!({"endpoint": "token", "kind": "html"}),
        json!({"endpoint": "token", "kind": "garbage"}),
        json!({"endpoint": "token", "kind": "drop_after_commit"}),
    ] {
        let question = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
        app.provider_will("entra", fault.clone()).await;
        let page =
            app.alice_answers(&question, Answers { ticks: &["Mail.Read"], ..Answers::default() }).await;
        assert!(page.status >= 400 && page.status < 600, "{fault}: {}", page.status);
        assert!(!page.html.contains("localhost:") || page.html.contains("<title>"), "{fault}");
        assert_eq!(app.live_grants().await.len(), 0, "{fault}");
    }
    let question = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    let page = app.alice_agrees_to(&question, &["Mail.Read"]).await;
    assert_eq!(page.status, 200, "{}", page.title());
    assert_eq!(app.polls(&question.text("auth_req_id")).await.scope(), ["Mail.Read"]);
    app.stops().await;
}

#[actix_web::test]
async fn the_provider_s_own_errors_pass_and_ours_say_so() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "Mail.Read").await.token();
    app.provider_will("entra", json!({"endpoint": "api", "kind": "status", "value": 500})).await;
    let theirs = app.calls(&token, "GET", MAIL).await;
    assert_eq!(theirs.status, 500);
    assert!(theirs.header("x-valetkey-decision").is_none() && theirs.header("x-valetkey-event").is_some());
    app.provider_will("entra", json!({"endpoint": "api", "kind": "rate_limit", "value": 7})).await;
    let throttled = app.calls(&token, "GET", MAIL).await;
    assert_eq!((throttled.status, throttled.header("retry-after")), (429, Some("7")));
    app.provider_will("entra", json!({"endpoint": "api", "kind": "drop_after_commit"})).await;
    let lost = app.calls(&token, "GET", MAIL).await;
    assert!(matches!(lost.status, 502 | 504), "{}", lost.status);
    assert!(!lost.error().is_empty());
    assert_eq!(app.calls(&token, "GET", MAIL).await.status, 200);
    app.stops().await;
}
