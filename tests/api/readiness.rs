//! What `/readyz` says, from a start that has something to settle to an end that was announced.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use actix_web::rt::time;
use futures_util::future::join;
use serde_json::json;
use url::Url;
use valetkey::app::serve::{self, Listening};

use crate::app::{Ask, TestApp};
use crate::wire::{Answer, exchange};

const FILES: &str = "lark/open/open-apis/drive/v1/files";
const MAIL: &str = "entra/graph/v1.0/me/messages";

/// Over a connection that the client would keep.
async fn kept(base: &Url, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", base.authority());
    exchange(base, request.as_bytes()).await
}

async fn says(app: &TestApp, base: &Url) -> (u16, String) {
    let answer = app.traffic.send("GET", &base.join("/readyz").unwrap(), &[], b"").await;
    (answer.status, answer.body_text().trim().to_owned())
}

#[actix_web::test]
async fn a_broker_is_ready_when_what_was_left_open_is_settled_and_until_it_is_told_to_end() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("entra", "Mail.Read").await;
    app.pass(5460);
    let token = app.agent_asks(&Ask::at("entra")).await.token();
    app.provider_will("entra", json!({"endpoint": "refresh", "kind": "drop_after_commit", "count": 2})).await;
    assert_ne!(app.calls(&token, "GET", MAIL).await.status, 200, "what became of the refresh is not known");
    app.provider_will("entra", json!({"endpoint": "refresh", "kind": "latency", "value": 8000})).await;

    let socket = serve::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base: Url = format!("http://{}", socket.local_addr().unwrap()).parse().unwrap();
    let starting = serve::start(app.demo.services.clone(), Listening { socket, workers: 1, tls: None });
    let meanwhile = async { TcpStream::connect(base.authority()).is_err() };
    let (running, is_refused) = join(starting, meanwhile).await;
    assert!(is_refused, "nobody is answered before it is settled");
    let running = running.unwrap();
    assert_eq!(says(&app, &base).await, (200, "ready".to_owned()));
    assert_eq!(app.calls(&token, "GET", MAIL).await.status, 200, "it was settled");
    assert!(kept(&base, "/healthz").await.header("connection").is_none());

    running.announce_end();
    assert_eq!(says(&app, &base).await, (503, "not ready: stopping".to_owned()));
    let last = kept(&base, "/.well-known/oauth-authorization-server").await;
    assert_eq!(
        (last.status, last.header("connection")),
        (200, Some("close")),
        "answered, and no further one"
    );
    time::timeout(Duration::from_secs(30), running.stop()).await.unwrap();
    assert!(TcpStream::connect(base.authority()).is_err(), "nobody listens");
    drop(app);
}

/// A second listener with a worker of its own, which ends when it has nobody left to answer.
#[actix_web::test]
async fn a_refresh_whose_caller_has_gone_away_is_finished_at_an_orderly_end() {
    let mut app = TestApp::start().await;
    app.re_use_ends_the_family_at("lark").await;
    app.alice_has_granted("lark", "space:document:retrieve").await;
    app.pass(7260);
    let token = app.agent_asks(&Ask::at("lark")).await.token();
    let before = app.refreshes_at("lark").await;
    app.provider_will("lark", json!({"endpoint": "refresh", "kind": "latency", "value": 1500})).await;

    let socket = serve::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base: Url = format!("http://{}", socket.local_addr().unwrap()).parse().unwrap();
    let listening = Listening { socket, workers: 1, tls: None };
    let running = serve::start(app.demo.services.clone(), listening).await.unwrap();
    let mut caller = TcpStream::connect(base.authority()).unwrap();
    let call = format!(
        "GET /gateway/{FILES} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
        base.authority()
    );
    caller.write_all(call.as_bytes()).unwrap();
    while app.refreshes_at("lark").await == before {
        time::sleep(Duration::from_millis(10)).await;
    }
    drop(caller);
    running.stop().await;

    assert_eq!(app.refreshes_at("lark").await, before + 1);
    let connections = app.admin("GET", "/connections", &json!(null)).await.json();
    let connection = &connections["items"][0];
    assert_eq!((&connection["generation"], &connection["state"]["state"]), (&json!(2), &json!("active")));
}
