//! Invariant 5: one refresh at a time, and none is lost.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::app::{Ask, TestApp};
use crate::wire;

#[actix_web::test]
async fn a_hundred_requests_on_an_expired_connection_refresh_once() {
    let mut app = TestApp::start().await;
    for (provider, scope, path, life) in [
        ("entra", "Mail.Read", "entra/graph/v1.0/me/messages", 5400),
        ("lark", "space:document:retrieve", "lark/open/open-apis/drive/v1/files", 7200),
    ] {
        app.alice_has_granted(provider, scope).await;
        app.pass(life + 60);
        let token = app.agent_asks(&Ask::at(provider)).await.token();
        let before = app.refreshes_at(provider).await;
        app.provider_will(provider, json!({"endpoint": "refresh", "kind": "latency", "value": 300})).await;
        let calls = (0..100).map(|_| app.calls(&token, "GET", path));
        let answers = futures_util::future::join_all(calls).await;
        let good = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(good, 100, "{provider}: {:?}", answers.iter().find(|answer| answer.status != 200));
        assert_eq!(app.refreshes_at(provider).await - before, 1, "{provider}");
        assert_eq!(app.state_of(provider).await["reuse_detected"], 0, "{provider}");
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_caller_that_goes_away_during_a_refresh_loses_nothing() {
    let mut app = TestApp::start().await;
    let path = "lark/open/open-apis/drive/v1/files";
    app.alice_has_granted("lark", "space:document:retrieve").await;
    app.pass(7260);
    let token = app.agent_asks(&Ask::at("lark")).await.token();
    let before = app.refreshes_at("lark").await;
    app.provider_will("lark", json!({"endpoint": "refresh", "kind": "latency", "value": 1500})).await;
    {
        let mut stream = wire::connect(&app.demo.issuer).await;
        let request = format!(
            "GET /gateway/{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
            app.demo.issuer.authority()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    // The caller is gone. What the vendor rotated must still be saved: Lark's refresh token is single-use.
    tokio::time::sleep(Duration::from_millis(1800)).await;
    assert_eq!(app.refreshes_at("lark").await - before, 1, "the refresh was begun once");
    let answer = app.calls(&token, "GET", path).await;
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    assert_eq!(app.refreshes_at("lark").await - before, 1);
    app.pass(7260);
    let later = app.agent_asks(&Ask::at("lark")).await.token();
    assert_eq!(app.calls(&later, "GET", path).await.status, 200, "the saved refresh token works");
    assert_eq!(app.state_of("lark").await["reuse_detected"], 0);
    app.stops().await;
}

#[actix_web::test]
async fn a_slow_refresh_costs_the_caller_ten_seconds_at_most_and_goes_on() {
    let mut app = TestApp::start().await;
    let path = "entra/graph/v1.0/me/messages";
    app.alice_has_granted("entra", "Mail.Read").await;
    app.pass(5460);
    let token = app.agent_asks(&Ask::at("entra")).await.token();
    let before = app.refreshes_at("entra").await;
    app.provider_will("entra", json!({"endpoint": "refresh", "kind": "latency", "value": 11_500})).await;
    let begun = std::time::Instant::now();
    let answer = app.calls(&token, "GET", path).await;
    let took = begun.elapsed();
    assert_eq!(answer.status, 503, "{}", answer.body_text());
    assert!(answer.header("retry-after").is_some());
    assert!(took < Duration::from_millis(11_000), "{took:?}");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(app.calls(&token, "GET", path).await.status, 200);
    assert_eq!(app.refreshes_at("entra").await - before, 1);
    app.stops().await;
}
