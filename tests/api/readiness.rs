//! What `/readyz` says, from a start that has something to settle to an end that was announced.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::time;
use futures_util::future::join;
use serde_json::json;
use url::Url;
use valetkey::app::demo::Ground;
use valetkey::app::serve::{self, Listening, Running};

use crate::app::{Ask, TestApp};
use crate::disk_full::BadDisk;
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
async fn beside(app: &TestApp) -> (Running, Url) {
    let socket = serve::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base: Url = format!("http://{}", socket.local_addr().unwrap()).parse().unwrap();
    let listening = Listening { socket, workers: 1, tls: None };
    (serve::start(app.demo.services.clone(), listening).await.unwrap(), base)
}

#[actix_web::test]
async fn a_refresh_whose_caller_has_gone_away_is_finished_at_an_orderly_end() {
    let mut app = TestApp::start().await;
    app.re_use_ends_the_family_at("lark").await;
    app.alice_has_granted("lark", "space:document:retrieve").await;
    app.pass(7260);
    let token = app.agent_asks(&Ask::at("lark")).await.token();
    let before = app.refreshes_at("lark").await;
    app.provider_will("lark", json!({"endpoint": "refresh", "kind": "latency", "value": 1500})).await;

    let (running, base) = beside(&app).await;
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

#[actix_web::test]
async fn a_withdrawal_that_a_hanging_disk_holds_up_is_told_before_an_orderly_end() {
    let store = Arc::new(BadDisk::default());
    let mut app = TestApp::start_on(Ground { store_disk: store.clone(), ..Ground::default() }).await;
    app.alice_has_granted("entra", "Mail.Read").await;
    let grant = app.live_grants().await[0]["id"].as_str().unwrap().to_owned();

    let (running, base) = beside(&app).await;
    store.hangs_after(0);
    let url = base.join(&format!("/api/v1/grants/{grant}/revoke")).unwrap();
    let authorization = format!("Bearer {}", app.demo.cast.admin_token.expose());
    let answer = app.traffic.send("POST", &url, &[("Authorization", authorization.as_str())], b"").await;
    assert_eq!(answer.status, 503, "{}", answer.body_text());
    // Whatever does not wait for the disk has ended by then.
    let disk = async {
        time::sleep(Duration::from_secs(3)).await;
        store.recovers();
    };
    join(running.stop(), disk).await;

    assert!(app.live_grants().await.is_empty());
    let events = app.admin("GET", "/events", &json!(null)).await.json();
    let actions: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| &event["action"]).collect();
    let told = |action: &str| actions.iter().filter(|told| **told == action).count();
    assert_eq!((told("grant.revoked"), told("service.stopped")), (1, 1), "{actions:?}");
}
