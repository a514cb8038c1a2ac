//! What the log tells of a call's end: what may have been done is never told as failed, and a status is the
//! provider's own.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::app::TestApp;
use crate::streams::{CLOSE, MAIL, SEND, head};
use crate::vendor::{Then, Vendor};
use crate::wire;

/// The outcome that refers to a decision, or the latest one.
async fn outcome(app: &TestApp, event: Option<&str>) -> Value {
    // Outcomes are written without anybody waiting for them.
    for _ in 0..500 {
        let told = app.admin("GET", "/events?limit=50", &Value::Null).await.json();
        let events = told["items"].as_array().unwrap();
        let decision = events.iter().find(|one| one["kind"] == "gateway_decision").unwrap()["id"].clone();
        let event = event.map_or(decision, |event| json!(event));
        if let Some(outcome) = events.iter().find(|one| one["refers_to"] == event) {
            return outcome.clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no outcome of {event:?}");
}

fn says(outcome: &Value, words: &str) -> bool {
    outcome["reasons"].to_string().contains(words)
}

#[actix_web::test]
async fn what_the_provider_may_have_done_is_unknown_and_what_it_says_is_told() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Read Mail.Send").await.token();
    let answers = |status: &str, more: &str, body: &str| {
        Then::Answers(format!("HTTP/1.1 {status}\r\n{more}Connection: close\r\n\r\n{body}"))
    };
    let challenge =
        "WWW-Authenticate: Bearer error=\"insufficient_claims\", claims=\"e30\"\r\nContent-Length: 2\r\n";
    for (method, path, then, ended, status, words) in [
        ("POST", SEND, answers("202 Accepted", "Content-Length: 0\r\n", ""), "done", json!(202), ""),
        ("HEAD", MAIL, answers("200 OK", "Content-Length: 9\r\n", ""), "done", json!(200), ""),
        ("POST", SEND, Then::Closes, "unknown", Value::Null, "whether it acted is not known"),
        ("GET", MAIL, Then::Closes, "unknown", Value::Null, "whether it acted is not known"),
        ("POST", SEND, answers("200 OK", "Content-Length: 9\r\n", "cut"), "unknown", json!(200), "broke off"),
        ("POST", SEND, answers("503 Busy", "Content-Length: 2\r\n", "{}"), "failed", json!(503), ""),
        (
            "POST",
            SEND,
            answers("303 See Other", "Location: /x\r\nContent-Length: 0\r\n", ""),
            "withheld",
            json!(303),
            "redirect",
        ),
        ("POST", SEND, answers("401 No", challenge, "{}"), "failed", json!(401), "sign in again"),
    ] {
        vendor.then(then);
        let answer = app.calls(&token, method, path).await;
        let event = answer.header("x-valetkey-event").unwrap().to_owned();
        let told = outcome(&app, Some(&event)).await;
        assert_eq!((told["outcome"].as_str(), &told["status"]), (Some(ended), &status), "{method}: {told}");
        assert!(says(&told, words), "{method}: {told}");
    }
    app.stops().await;
}

#[actix_web::test]
async fn an_agent_that_goes_away_does_not_make_its_call_look_failed() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Read Mail.Send").await.token();
    for (number, line) in [format!("POST /gateway/{SEND}"), format!("GET /gateway/{MAIL}")].iter().enumerate()
    {
        let _provider = vendor.stays();
        let mut client = wire::connect(&app.demo.issuer).await;
        let more = if line.starts_with("POST") { "Content-Length: 0\r\n" } else { "" };
        let request = head(&app, &token, line, &format!("{more}{CLOSE}"));
        client.write_all(request.as_bytes()).await.unwrap();
        let seen = vendor.request(number).await;
        drop(client);
        seen.closed().await;
        let told = outcome(&app, None).await;
        assert_eq!((told["outcome"].as_str(), &told["status"]), (Some("unknown"), &Value::Null), "{told}");
        assert!(says(&told, "the client went away before the provider answered"), "{told}");
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_call_that_was_not_sent_has_failed() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Send").await.token();
    for _ in 0..5 {
        vendor.then(Then::Closes);
        assert_eq!(app.calls(&token, "POST", SEND).await.status, 502);
    }
    let answer = app.calls(&token, "POST", SEND).await;
    assert_eq!((answer.status, vendor.seen().len()), (503, 5), "the provider is left alone");
    let told = outcome(&app, answer.header("x-valetkey-event")).await;
    assert_eq!((told["outcome"].as_str(), &told["status"]), (Some("failed"), &Value::Null), "{told}");
    app.stops().await;
}
