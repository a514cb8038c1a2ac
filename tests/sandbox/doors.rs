//! Both ways in, the controls, and what is recorded.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Proxy};
use serde_json::{Value, json};
use valetkey::sandbox::tokens::sha256;

use crate::okta::OKTA_SCOPES;
use crate::stage::{ALICE, MALLORY, Stage, claims, text};

#[tokio::test]
async fn the_proxy_answers_for_the_real_host_names_and_for_no_other() {
    let mut stage = Stage::open().await;
    stage.http = Client::builder()
        .redirect(Policy::none())
        .proxy(Proxy::all(&stage.sandbox.proxy_url).unwrap())
        .tls_certs_only([Certificate::from_pem(stage.sandbox.ca_pem.as_bytes()).unwrap()])
        .build()
        .unwrap();
    let metadata = stage.get("https://example.okta.com/.well-known/openid-configuration", &[]).await.json();
    assert_eq!(text(&metadata, "issuer"), "https://example.okta.com");
    let discovery = stage
        .get("https://login.microsoftonline.com/common/discovery/instance?api-version=1.1&authorization_endpoint=x", &[])
        .await;
    assert_eq!(discovery.json()["metadata"][0]["preferred_network"], "login.microsoftonline.com");
    assert_eq!(stage.get("https://graph.microsoft.com/v1.0/me", &[]).await.status, 401);
    let other = stage.http.get("https://example.com/").send().await;
    assert!(other.is_err(), "{other:?}");
    let controls = stage
        .http
        .get("https://graph.microsoft.com/_sandbox/okta/state")
        .header("host", "localhost")
        .send()
        .await
        .unwrap();
    assert_eq!(controls.status().as_u16(), 421);
}

#[tokio::test]
async fn programmatic_id_tokens_are_for_employees_only() {
    let stage = Stage::open().await;
    let token = stage.sandbox.id_token(ALICE, "valetkey-assistant").unwrap();
    assert_eq!(text(&claims(&token), "aud"), "valetkey-assistant");
    assert!(stage.sandbox.id_token(MALLORY, "valetkey-assistant").is_none());
}

#[tokio::test]
async fn injected_faults_do_what_they_say_and_then_are_gone() {
    let stage = Stage::open().await;
    let mut refresh = text(&stage.okta_login(OKTA_SCOPES).await, "refresh_token").to_owned();
    stage.fault("okta", &json!({"endpoint": "refresh", "kind": "status", "value": 503, "count": 2})).await;
    assert_eq!(stage.renew(&refresh).await.unwrap().status, 503);
    assert_eq!(stage.renew(&refresh).await.unwrap().status, 503);
    stage.fault("okta", &json!({"endpoint": "refresh", "kind": "rate_limit", "value": 7})).await;
    let limited = stage.renew(&refresh).await.unwrap();
    assert_eq!((limited.status, limited.headers["retry-after"].to_str().unwrap()), (429, "7"));
    for kind in ["garbage", "html"] {
        stage.fault("okta", &json!({"endpoint": "refresh", "kind": kind})).await;
        let answer = stage.renew(&refresh).await.unwrap();
        assert!(answer.status == 200 && serde_json::from_str::<Value>(&answer.body).is_err(), "{kind}");
    }
    stage.fault("okta", &json!({"endpoint": "refresh", "kind": "expires_in", "value": 5})).await;
    stage
        .fault("okta", &json!({"endpoint": "refresh", "kind": "broader_scope", "value": "okta.logs.read"}))
        .await;
    let twisted = stage.renew(&refresh).await.unwrap().json();
    assert_eq!(twisted["expires_in"], 5);
    assert!(text(&twisted, "scope").contains("okta.logs.read"));
    refresh = text(&twisted, "refresh_token").to_owned();
    stage.fault("okta", &json!({"endpoint": "refresh", "kind": "latency", "value": 300})).await;
    let started = std::time::Instant::now();
    refresh = text(&stage.renew(&refresh).await.unwrap().json(), "refresh_token").to_owned();
    assert!(started.elapsed() >= Duration::from_millis(300));
    stage.fault("okta", &json!({"endpoint": "refresh", "kind": "drop_after_commit"})).await;
    assert!(stage.renew(&refresh).await.is_err());
    assert_eq!(stage.state("okta").await["refreshes"][ALICE], 3);
    stage.fault("okta", &json!({"endpoint": "refresh", "kind": "status", "value": 500})).await;
    stage.control(Method::DELETE, "okta/faults", &Value::Null).await;
    assert_eq!(stage.renew(&refresh).await.unwrap().status, 200);
    let bad = stage.control(Method::POST, "okta/faults", &json!({"endpoint": "refresh", "kind": "no"})).await;
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn pages_of_other_sites_do_not_reach_the_controls() {
    let stage = Stage::open().await;
    let own = stage.sandbox.url.clone();
    let other_port = own.replace("localhost", "127.0.0.1");
    let origins =
        ["https://mallory.example", "http://localhost:1", "null", "", &other_port, &format!("{own}.example")];
    for origin in origins {
        for (method, path, body) in [
            ("POST", "clock", r#"{"advance_s": 60}"#),
            ("POST", "okta/faults", r#"{"endpoint": "refresh", "kind": "status", "value": 503}"#),
            ("GET", "okta/state", ""),
        ] {
            let url = format!("{own}/_sandbox/{path}");
            let request = stage.http.request(method.parse().unwrap(), &url).header("origin", origin);
            // As a form can be sent without asking first.
            let answer = request.header("content-type", "text/plain").body(body).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 403, "{origin}: {method} {path}");
        }
    }
    let tokens = stage.okta_login(OKTA_SCOPES).await;
    assert_eq!(
        stage.renew(text(&tokens, "refresh_token")).await.unwrap().status,
        200,
        "a fault came through"
    );
    let same = stage.http.get(format!("{own}/_sandbox/okta/state")).header("origin", &own);
    assert_eq!(same.send().await.unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn api_calls_are_recorded_without_tokens() {
    let stage = Stage::open().await;
    let tokens = stage.okta_login(OKTA_SCOPES).await;
    let access = text(&tokens, "access_token");
    stage.get_as(access, "/okta/org/api/v1/users?limit=1").await;
    let state = stage.state("okta").await;
    let call = &state["api_calls"][0];
    assert_eq!(
        *call,
        json!({"method": "GET", "path": "/api/v1/users", "query": "limit=1", "token_sha256": sha256(access), "status": 200})
    );
    assert_eq!(state["live_refresh"], json!([sha256(text(&tokens, "refresh_token"))]));
    assert_eq!(state["token_calls"], 1);
    let seen = &stage.control(Method::GET, "okta/calls", &Value::Null).await.json()["calls"][0];
    assert_eq!((text(seen, "host"), text(seen, "who")), ("example.okta.com", ALICE));
    assert_eq!(seen["given"].as_array().unwrap().len(), 1, "one user was given out: {seen}");
}

#[actix_web::test]
async fn faults_speak_each_vendors_dialect() {
    let stage = Stage::open().await;
    let inject = |provider: &'static str, endpoint: &'static str| {
        let fault = json!({"endpoint": endpoint, "kind": "rate_limit", "value": 3});
        let stage = &stage;
        async move {
            let path = format!("/_sandbox/{provider}/faults");
            assert_eq!(stage.post(&path, &[], &fault).await.status, 204);
        }
    };
    inject("lark", "refresh").await;
    assert_eq!(stage.lark_refresh("x", None).await.code(), (429, 99_991_400));
    assert_eq!(stage.lark_refresh("x", None).await.code(), (400, 20026));
    inject("dingtalk", "api").await;
    let limited = stage.ding("/v2.0/wiki/workspaces", "x").await;
    assert_eq!(
        (limited.status, limited.text("/code").as_str()),
        (403, "Forbidden.AccessDenied.QpsLimitForApi")
    );
    inject("wecom", "token").await;
    assert_eq!(stage.get("/wecom/qyapi/cgi-bin/gettoken", &[]).await.code(), (200, 45009));
    let fault = json!({"endpoint": "token", "kind": "broader_scope", "value": "im:chat:read"});
    stage.post("/_sandbox/lark/faults", &[], &fault).await;
    let code = stage.lark_code("docx:document:readonly", ALICE).await;
    let broad = stage.lark_redeem(&code).await;
    assert_eq!(broad.text("/scope"), "docx:document:readonly im:chat:read");
    assert_eq!(stage.lark("/im/v1/chats", &broad.text("/access_token")).await.code(), (200, 0));
}
