//! What a body could carry past the call that it belongs to, and what an answer could carry past a limit.

use serde_json::{Value, json};

use crate::app::{Ask, TestApp};
use crate::vendor::Vendor;
use crate::wire::refused;

const GRAPH: &str = "entra/graph/v1.0";
const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

async fn limited(app: &TestApp, limit: Value) -> String {
    let mut limit = limit;
    limit["type"] = json!("valetkey_limit");
    limit["api"] = json!("graph");
    let ask = Ask::at("entra").with("authorization_details", &json!([limit]).to_string());
    app.agent_asks(&ask).await.token()
}

#[actix_web::test]
async fn several_calls_in_one_body_reach_nobody() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("entra", "Mail.Send Mail.Read").await;
    let token = limited(&app, json!({"kind": "recipients", "domains": ["example.com"]})).await;
    let mail = |address: &str| json!({"message": {"toRecipients": [{"emailAddress": {"address": address}}]}});
    let (inside, outside) = (mail("bob@example.com"), mail("mallory@elsewhere.example"));
    let send = format!("{GRAPH}/me/sendMail");
    let sent = app.calls_with(&token, "POST", &send, &JSON, inside.to_string().as_bytes()).await;
    assert_eq!(sent.status, 202, "the call that is bent: {}", sent.body_text());
    let before = app.data_calls_at("entra").await.len();

    let twice = format!("{{\"message\":{},\"message\":{}}}", inside["message"], outside["message"]);
    let rpc = |body: &Value| json!({"jsonrpc": "2.0", "id": 1, "method": "sendMail", "params": body});
    let part = format!(
        "--b\r\nContent-Type: application/http\r\n\r\nPOST /v1.0/me/sendMail HTTP/1.1\r\n\r\n{outside}\r\n--b--"
    );
    let gzip = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    let mixed = [("Content-Type", "multipart/mixed; boundary=b")];
    for (what, path, headers, body) in [
        ("an array", send.as_str(), &JSON[..], json!([inside, outside]).to_string()),
        ("JSON-RPC", &send, &JSON[..], rpc(&outside).to_string()),
        ("an array of JSON-RPC", &send, &JSON[..], json!([rpc(&inside), rpc(&outside)]).to_string()),
        ("the same key twice", &send, &JSON[..], twice),
        ("two documents", &send, &JSON[..], format!("{inside}{outside}")),
        ("a multipart batch", &send, &mixed[..], part.clone()),
        ("a multipart batch at its own address", &format!("{GRAPH}/$batch"), &mixed[..], part),
        (
            "GraphQL",
            &format!("{GRAPH}/graphql"),
            &JSON[..],
            json!({"query": "{ me { messages { id } } }"}).to_string(),
        ),
        ("a compressed body", &send, &gzip[..], inside.to_string()),
        (
            "an unknown encoding",
            &send,
            &[("Content-Type", "application/json"), ("Content-Encoding", "x")][..],
            inside.to_string(),
        ),
    ] {
        let answer = app.calls_with(&token, "POST", path, headers, body.as_bytes()).await;
        assert!([400, 403, 415].contains(&answer.status), "{what}: {} {}", answer.status, answer.body_text());
        assert!(!answer.text("error_description").is_empty(), "{what}: {}", answer.body_text());
    }
    assert_eq!(app.data_calls_at("entra").await.len(), before, "the provider has seen one of them");
    app.stops().await;
}

#[actix_web::test]
async fn a_compressed_answer_is_not_released_past_a_limit() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    app.alice_has_granted("entra", "Mail.Read").await;
    let token = limited(&app, json!({"kind": "mail_dates", "from": "2026-10-01T00:00:00Z"})).await;
    app.pass(60);
    vendor.answers(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\
         Connection: close\r\n\r\ncanary",
    );
    let answer = app.calls(&token, "GET", &format!("{GRAPH}/me/messages")).await;
    assert_eq!(answer.refusal(), refused(502, "upstream_error"), "{}", answer.body_text());
    assert!(!answer.body_text().contains("canary"));
    let head = vendor.seen()[0].head();
    assert!(!head.contains("accept-encoding: gzip"), "an encoding was asked for: {head}");
    app.stops().await;
}

#[actix_web::test]
async fn an_error_inside_a_good_answer_is_written_down_as_one() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("wecom", "wecom.contact.read").await.token();
    app.provider_will("wecom", json!({"endpoint": "api", "kind": "rate_limit", "value": 3})).await;
    let answer = app.calls(&token, "GET", "wecom/qyapi/cgi-bin/user/get").await;
    assert_eq!(answer.status, 200, "the vendor says 200: {}", answer.body_text());
    assert_ne!(answer.json()["errcode"], 0);
    let event = answer.header("x-valetkey-event").unwrap().to_owned();
    // Outcomes are written without anybody waiting for them.
    for _ in 0..200 {
        let told = app.admin("GET", "/events?limit=50", &Value::Null).await.json();
        let events = told["items"].as_array().unwrap().clone();
        let outcome = events.into_iter().find(|one| one["refers_to"] == event.as_str());
        if let Some(outcome) = outcome {
            assert_eq!(outcome["outcome"], "failed", "{outcome}");
            assert_eq!(outcome["reasons"], json!(["the provider reports an error inside a success"]));
            return app.stops().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no outcome of {event}");
}
