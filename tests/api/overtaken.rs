//! Calls that are still under way when their permission ends: nothing is sent or released on what was decided
//! before.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::app::{Ask, TestApp};
use crate::streams::{CLOSE, FILE, MAIL, SEND, head, read_until};
use crate::vendor::Vendor;
use crate::wire;

const LETTER: &str = r#"{"message":{"toRecipients":[{"emailAddress":{"address":"bob@example.com"}}]}}"#;

/// An upload that is as long as that, and of which nothing has come yet.
async fn begins(app: &TestApp, token: &str, line: &str, kind: &str, length: usize) -> TcpStream {
    let more = format!("Content-Type: {kind}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n{CLOSE}");
    let request = head(app, token, line, &more);
    let mut client = wire::connect(&app.demo.issuer).await;
    client.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut client, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client
}

async fn suspends(app: &TestApp) {
    app.admin_does(&format!("/agents/{}/suspend", app.personal.id), &json!({"reason": "test"})).await;
}

async fn resumes(app: &TestApp) {
    app.admin_does(&format!("/agents/{}/resume", app.personal.id), &json!({})).await;
}

/// A token whose calls are looked into.
async fn weighed(app: &TestApp) -> String {
    let limit = json!([{"type": "valetkey_limit", "api": "graph", "kind": "recipients",
        "domains": ["example.com"]}]);
    app.agent_asks(&Ask::at("entra").with("authorization_details", &limit.to_string())).await.token()
}

#[actix_web::test]
async fn a_body_that_was_held_back_across_a_suspension_is_not_sent() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let plain = app.alice_has_granted("entra", "Mail.Send").await.token();
    let weighed = weighed(&app).await;
    let post = format!("POST /gateway/{SEND}");
    for (token, kind) in [(&plain, "text/plain"), (&weighed, "application/json")] {
        let mut client = begins(&app, token, &post, kind, LETTER.len()).await;
        client.write_all(&LETTER.as_bytes()[..10]).await.unwrap();
        suspends(&app).await;
        app.pass(2);
        client.write_all(&LETTER.as_bytes()[10..]).await.unwrap();
        let answer = read_until(&mut client, "\0").await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{kind}: {answer}");
        assert!(answer.to_lowercase().contains("x-valetkey-event: evt_"), "{kind}: {answer}");
        assert!(vendor.seen().is_empty(), "{kind}: the provider was sent what is no longer permitted");
        resumes(&app).await;

        // What nobody has forbidden meanwhile is sent, however slow it was.
        vendor.answers(&format!("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n{CLOSE}\r\n"));
        let mut client = begins(&app, token, &post, kind, LETTER.len()).await;
        client.write_all(&LETTER.as_bytes()[..10]).await.unwrap();
        app.pass(2);
        client.write_all(&LETTER.as_bytes()[10..]).await.unwrap();
        let answer = read_until(&mut client, "\0").await;
        assert!(answer.starts_with("HTTP/1.1 202"), "{kind}: {answer}");
        assert_eq!(vendor.seen().len(), 1, "{kind}");
        vendor.forgets();
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_body_is_not_sent_past_a_limit_that_came_while_it_was_held_back() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Send").await.token();
    let mut client = begins(&app, &token, &format!("POST /gateway/{SEND}"), "text/plain", LETTER.len()).await;
    client.write_all(&LETTER.as_bytes()[..10]).await.unwrap();
    let limits = json!({"limits": {"entra": [{"type": "valetkey_limit", "kind": "read_only"}]}});
    let answer = app.admin("PATCH", &format!("/agents/{}", app.personal.id), &limits).await;
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    app.pass(2);
    client.write_all(&LETTER.as_bytes()[10..]).await.unwrap();
    let answer = read_until(&mut client, "\0").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("try again"), "{answer}");
    assert!(vendor.seen().is_empty(), "the provider was sent what is no longer permitted");
    app.stops().await;
}

#[actix_web::test]
async fn a_long_upload_is_broken_off_when_its_permission_ends() {
    const LENGTH: usize = 300_000;
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Send").await.token();
    for (number, is_suspended) in [false, true].into_iter().enumerate() {
        let provider = vendor.stays();
        let post = format!("POST /gateway/{SEND}");
        let mut client = begins(&app, &token, &post, "text/plain", LENGTH).await;
        client.write_all(&vec![b'x'; 100_000]).await.unwrap();
        let seen = vendor.request(number).await;
        if is_suspended {
            suspends(&app).await;
        }
        app.pass(31);
        client.write_all(&vec![b'x'; 100_000]).await.unwrap();
        if is_suspended {
            seen.closed().await;
            let answer = read_until(&mut client, "\0").await;
            assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("broken off"), "{answer}");
            assert!(seen.text().len() < 200_000, "the upload went on");
        } else {
            client.write_all(&vec![b'x'; 100_000]).await.unwrap();
            provider.send(format!("HTTP/1.1 202 Accepted\r\nContent-Length: 4\r\n{CLOSE}\r\ngood")).unwrap();
            let answer = read_until(&mut client, "good").await;
            assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        }
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_slow_answer_is_withheld_when_its_permission_has_ended() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Read Mail.Send Files.Read").await.token();
    let said = format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n{CLOSE}\r\ncanary");
    let at = "Location: https://files.sharepoint.com/a\r\nContent-Length: 0\r\n";
    let redirect = format!("HTTP/1.1 302 Found\r\n{at}{CLOSE}\r\n");
    for (number, (line, answered, words)) in [
        (format!("GET /gateway/{MAIL}"), &said, "withheld"),
        (format!("POST /gateway/{SEND}"), &said, "check before trying again"),
        (format!("GET /gateway/{FILE}"), &redirect, "withheld"),
    ]
    .into_iter()
    .enumerate()
    {
        let provider = vendor.stays();
        let more = if line.starts_with("POST") { "Content-Length: 0\r\n" } else { "" };
        let mut client = wire::connect(&app.demo.issuer).await;
        let request = head(&app, &token, &line, &format!("{more}{CLOSE}"));
        client.write_all(request.as_bytes()).await.unwrap();
        vendor.request(number).await;
        suspends(&app).await;
        app.pass(2);
        provider.send(answered.clone()).unwrap();
        let answer = read_until(&mut client, "\0").await;
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains(words), "{line}: {answer}");
        assert!(!answer.contains("canary"), "{line}: {answer}");
        assert_eq!(vendor.seen().len(), number + 1, "{line}: the provider's storage was asked");
        resumes(&app).await;
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_permit_is_not_written_down_after_the_suspension() {
    let (_vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Send").await.token();
    let mut client = begins(&app, &token, &format!("POST /gateway/{SEND}"), "text/plain", LETTER.len()).await;
    client.write_all(&LETTER.as_bytes()[..10]).await.unwrap();
    suspends(&app).await;
    app.pass(2);
    client.write_all(&LETTER.as_bytes()[10..]).await.unwrap();
    let answer = read_until(&mut client, "\0").await;
    let event = wire::parse(answer.as_bytes()).header("x-valetkey-event").unwrap_or_default().to_owned();
    let events = app.admin("GET", "/events", &Value::Null).await.json()["items"].as_array().cloned().unwrap();
    let decision = events.iter().find(|one| one["id"] == event.as_str()).unwrap();
    assert_eq!(decision["verdict"], "deny", "{decision}");
    app.stops().await;
}
