//! What agents can get wrong at the OAuth endpoints.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use valetkey::app::demo::people::{ALICE, BOB};

use crate::agent::{Answer, CIBA, EXCHANGE, USER};
use crate::broker::{Broker, assert_clear};
use crate::browser::form;

const FORM: &str = "application/x-www-form-urlencoded";

/// A good request, with some of its parameters replaced, added, or (with an empty value) left out.
fn asking(changes: &[(&str, &str)]) -> String {
    let good = [
        ("grant_type", EXCHANGE),
        ("subject_token", ALICE),
        ("subject_token_type", USER),
        ("audience", "provider:okta"),
    ];
    let kept = good.iter().filter(|(name, _)| changes.iter().all(|(other, _)| other != name));
    let all: Vec<(&str, &str)> =
        kept.chain(changes.iter().filter(|(_, value)| !value.is_empty())).copied().collect();
    form(&all)
}

async fn post(broker: &Broker, content_type: Option<&str>, body: impl Into<Vec<u8>>) -> Answer {
    let agent = &broker.agent;
    let mut request = broker.request("POST", "/oauth2/token").basic_auth(&agent.id, Some(&agent.secret));
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    Answer::of(request.body(body.into())).await
}

#[actix_web::test]
async fn every_mistake_at_the_token_endpoint_has_its_code_and_words() {
    let broker = Broker::start().await;
    let long = "x".repeat(201);
    let (long_message, long_task) = ([("binding_message", long.as_str())], [("task", long.as_str())]);
    let table: Vec<(&[(&str, &str)], &str)> = vec![
        (&[("grant_type", "")], "invalid_request"),
        (&[("grant_type", "password")], "unsupported_grant_type"),
        (&[("audience", "")], "invalid_request"),
        (&[("audience", "okta")], "invalid_target"),
        (&[("audience", "provider:")], "invalid_target"),
        (&[("audience", "provider:nosuch")], "invalid_target"),
        (&[("audience", "provider:../okta")], "invalid_target"),
        (&[("subject_token", "")], "invalid_request"),
        (&[("subject_token", BOB)], "invalid_request"),
        (&[("subject_token", "nobody@example.com")], "invalid_request"),
        (&[("subject_token_type", "")], "invalid_request"),
        (&[("subject_token_type", "urn:other")], "invalid_request"),
        (&[("subject_token_type", "urn:ietf:params:oauth:token-type:id_token")], "invalid_request"),
        (&[("scope", "no.such.scope")], "invalid_scope"),
        (&[("scope", "okta.users.read.self \"quoted\"")], "invalid_scope"),
        (&[("scope", "钥匙")], "invalid_scope"),
        (&[("requested_token_type", "urn:other")], "invalid_request"),
        (&[("authorization_details", "{")], "invalid_authorization_details"),
        (&[("authorization_details", "{}")], "invalid_authorization_details"),
        (&[("authorization_details", "[{\"type\":\"valetkey_limit\"}]")], "invalid_authorization_details"),
        (&long_message, "invalid_request"),
        (&long_task, "invalid_request"),
        (&[("connection", "con_nosuch")], "invalid_target"),
        (&[("actor_token", "x")], "invalid_request"),
        (&[("grant_type", CIBA)], "invalid_request"),
        (&[("grant_type", CIBA), ("auth_req_id", "vkr_nosuch")], "invalid_grant"),
        (&[("client_id", "agt_another")], "invalid_request"),
        (&[("client_secret", "twice")], "invalid_request"),
    ];
    for (changes, code) in table {
        let answer = post(&broker, Some(FORM), asking(changes)).await;
        assert_eq!(answer.error(), (400, code.to_owned()), "{changes:?}: {}", answer.body);
        assert_clear(&answer, &format!("{changes:?}"));
        assert!(answer.body.is_ascii(), "{changes:?}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{changes:?}");
    }
    // A user who exists and one who does not read the same.
    let other = post(&broker, Some(FORM), asking(&[("subject_token", BOB)])).await;
    let nobody = post(&broker, Some(FORM), asking(&[("subject_token", "nobody@example.com")])).await;
    assert_eq!(other.body, nobody.body);
    good_ones_still_work(&broker).await;
    broker.stop().await;
}

async fn good_ones_still_work(broker: &Broker) {
    let good = post(broker, Some("application/x-www-form-urlencoded; charset=UTF-8"), asking(&[])).await;
    assert_eq!(good.error(), (400, "interaction_required".to_owned()), "{}", good.body);
}

#[actix_web::test]
async fn bodies_that_are_no_forms_are_refused_as_a_whole() {
    let broker = Broker::start().await;
    let good = asking(&[]);
    let with = |more: &str| format!("{good}&{more}").into_bytes();
    let many: String = (0..300).map(|n| format!("p{n}=1&")).collect();
    let json = br#"{"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange"}"#.to_vec();
    let table: Vec<(&str, Option<&str>, Vec<u8>, u16)> = vec![
        ("nothing", Some(FORM), Vec::new(), 400),
        ("a repeated parameter", Some(FORM), with("audience=provider:okta"), 400),
        ("one repeated in disguise", Some(FORM), with("%61udience=provider:entra"), 400),
        ("a repeated unknown one", Some(FORM), with("x=1&x=2"), 400),
        ("bytes that are no UTF-8", Some(FORM), [&with("x=")[..], b"\xff\xfe"].concat(), 400),
        ("the same, escaped", Some(FORM), with("x=%ff"), 400),
        ("NUL", Some(FORM), with("task=a%00b"), 400),
        ("half an escape", Some(FORM), with("x=%4"), 400),
        ("very many", Some(FORM), with(&many), 400),
        ("too long", Some(FORM), with(&format!("x={}", "y".repeat(70_000))), 413),
        ("JSON", Some("application/json"), json, 400),
        ("another charset", Some("application/x-www-form-urlencoded; charset=utf-16"), with("x=1"), 400),
        ("multipart", Some("multipart/form-data; boundary=b"), with("x=1"), 400),
        ("no type", None, with("x=1"), 400),
    ];
    for (what, content_type, body, status) in table {
        let answer = post(&broker, content_type, body).await;
        assert_eq!(answer.error(), (status, "invalid_request".to_owned()), "{what}: {}", answer.body);
        assert_clear(&answer, what);
        assert!(answer.body.is_ascii(), "{what}");
    }
    let agent = &broker.agent;
    let queried = broker.request("POST", "/oauth2/token?audience=provider:okta");
    let queried = queried.basic_auth(&agent.id, Some(&agent.secret)).header("content-type", FORM);
    let answer = Answer::of(queried.body(asking(&[]))).await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "parameters in the query");
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
            let answer = Answer::of(broker.request(method, path)).await;
            assert_eq!(answer.error(), (405, "invalid_request".to_owned()), "{method} {path}");
            assert_eq!(answer.header("allow"), Some("POST"));
        }
    }
    good_ones_still_work(&broker).await;
    broker.stop().await;
}

#[actix_web::test]
async fn who_the_agent_is_must_be_said_once_and_right() {
    let broker = Broker::start().await;
    let (id, secret) = (broker.agent.id.as_str(), broker.agent.secret.as_str());
    let ask = |headers: &[String], more: &[(&str, &str)]| {
        let mut request = broker.request("POST", "/oauth2/token").header("content-type", FORM);
        for header in headers {
            request = request.header("authorization", header);
        }
        Answer::of(request.body(asking(more)))
    };
    let basic = |id: &str, secret: &str| {
        format!("Basic {}", valetkey::kernel::encode::base64(format!("{id}:{secret}").as_bytes()))
    };
    let right = basic(id, secret);
    let posted = ask(&[], &[("client_id", id), ("client_secret", secret)]).await;
    assert_eq!(posted.error().1, "interaction_required");
    let twice = ask(&[right.clone(), right.clone()], &[]).await;
    assert_eq!(twice.error(), (400, "invalid_request".to_owned()), "two headers: {}", twice.body);
    let both = ask(&[right], &[("client_secret", secret)]).await;
    assert_eq!(both.error(), (400, "invalid_request".to_owned()), "header and body");
    let wrong = ask(&[basic(id, "vks_wrong")], &[]).await;
    let unknown = ask(&[basic("agt_nosuch", secret)], &[]).await;
    for answer in [&wrong, &unknown] {
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic"));
        assert_clear(answer, "a wrong client");
    }
    assert_eq!(wrong.body, unknown.body, "an unknown agent reads like a wrong secret");
    for headers in
        [vec![], vec!["Basic ???".to_owned()], vec!["Bearer x".to_owned()], vec!["Basic".to_owned()]]
    {
        let answer = ask(&headers, &[]).await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()), "{headers:?}: {}", answer.body);
    }
    for path in ["/oauth2/introspect", "/oauth2/revoke"] {
        let send = |token: &str| {
            let request = broker.request("POST", path).basic_auth(id, Some(secret));
            Answer::of(request.header("content-type", FORM).body(form(&[("token", token)])))
        };
        for garbage in ["x", "vkg_", "vkg_AAAA", "钥匙"] {
            let answer = send(garbage).await;
            assert_eq!(answer.status, 200, "{path} {garbage}: {}", answer.body);
            assert!(path.ends_with("revoke") || answer.json()["active"] == Value::Bool(false));
        }
        assert_eq!(send("").await.error(), (400, "invalid_request".to_owned()), "{path}");
    }
    broker.stop().await;
}

/// What comes back for bytes that no HTTP library would send; nothing where the connection is just closed.
async fn raw(broker: &Broker, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(broker.base.trim_start_matches("http://")).await.unwrap();
    // The other side may close before all is written.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(5), socket.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection was left open: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

#[actix_web::test]
async fn requests_that_are_no_http_are_refused_and_the_next_one_is_answered() {
    let broker = Broker::start().await;
    let head = "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let huge = format!("{head}X-Pad: {}\r\n\r\n", "a".repeat(200_000));
    let many = format!("{head}{}\r\n", (0..120).map(|n| format!("X-{n}: 1\r\n")).collect::<String>());
    let both = format!("{head}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    let lengths = format!("{head}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc");
    let nul = format!("{head}X-Nul: a\0b\r\n\r\n");
    for (what, bytes) in [
        ("a huge header", huge),
        ("120 headers", many),
        ("two framings", both),
        ("two lengths", lengths),
        ("NUL", nul),
    ] {
        let answer = raw(&broker, bytes.as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap_or("closed");
        assert!(["closed", "400", "431"].contains(&status), "{what}: {answer}");
        assert!(!answer.contains("panick") && !answer.contains(".rs"), "{what}: {answer}");
    }
    good_ones_still_work(&broker).await;
    broker.stop().await;
}
