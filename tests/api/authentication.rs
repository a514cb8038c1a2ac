//! Who the agent is, and requests that could be read in two ways.

use serde_json::json;

use crate::app::{Ask, Credentials, TestApp};
use crate::browser::encoded;
use crate::wire::{Answer, refused};

impl TestApp {
    pub fn assistant_with_secret(&self, secret: &str) -> Credentials {
        Credentials { id: self.assistant.id.clone(), secret: secret.to_owned() }
    }
}

/// What two answers must have in common, byte for byte.
pub fn comparable(answer: &Answer) -> (Vec<String>, Vec<u8>) {
    let varies = |line: &&str| !line.starts_with("x-request-id") && !line.starts_with("date");
    // Each refusal has an event of its own; that there is one must not vary.
    let told =
        |line: &str| line.split_once("x-valetkey-event:").map_or(line, |_| "x-valetkey-event").to_owned();
    let mut lines: Vec<String> = answer.head.lines().filter(varies).map(told).collect();
    lines.sort();
    (lines, answer.body.clone())
}

#[actix_web::test]
async fn an_unknown_agent_reads_like_a_wrong_secret() {
    let app = TestApp::start().await;
    let wrong = app.assistant_with_secret("vks_wrong");
    let unknown =
        Credentials { id: "agt_00000000000000000000000000".to_owned(), secret: wrong.secret.clone() };
    let nonsense = Credentials { id: "nonsense".to_owned(), secret: wrong.secret.clone() };
    let others = Credentials { id: app.assistant.id.clone(), secret: app.personal.secret.clone() };
    for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
        let fields = [("token".to_owned(), "x".to_owned()), ("grant_type".to_owned(), "x".to_owned())];
        let first = app.posts(path, &wrong, &fields).await;
        assert_eq!(first.refusal(), refused(401, "invalid_client"), "{path}");
        assert!(first.header("www-authenticate").is_some());
        for other in [&unknown, &nonsense, &others] {
            let answer = app.posts(path, other, &fields).await;
            assert_eq!(comparable(&answer), comparable(&first), "{path} {}", other.id);
        }
    }
    // Nobody can lock an agent out by guessing in its name.
    let mut throttled = 0;
    for _ in 0..40 {
        let guess = app.posts("/oauth2/token", &wrong, &[]).await;
        assert!(guess.status == 401 || guess.status == 429);
        if guess.status == 429 {
            throttled += 1;
            let wait: u64 = guess.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
            assert_eq!(guess.error(), "slow_down");
            assert!(guess.text("error_description").contains("wait"), "{}", guess.body_text());
        }
    }
    assert!(throttled > 0, "guessing is not slowed down");
    let ask = Ask::at("entra").by(&app.assistant).showing("x");
    assert_eq!(app.agent_asks(&ask).await.error(), "invalid_request", "the agent itself was locked out");
    app.stops().await;
}

#[actix_web::test]
async fn what_could_be_read_in_two_ways_is_refused() {
    let app = TestApp::start().await;
    for name in
        ["scope", "audience", "subject_token", "grant_type", "subject_token_type", "client_id", "resource"]
    {
        let twice = Ask::at("entra").scope("Mail.Read").with(name, "one").and(name, "two");
        let answer = app.agent_asks(&twice).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_request"), "{name} twice: {}", answer.body_text());
    }
    let secret = app.personal.secret.clone();
    let both = app.agent_asks(&Ask::at("entra").with("client_secret", &secret)).await;
    assert_eq!(both.refusal(), refused(400, "invalid_request"), "by header and in the body");
    let other_id = app.agent_asks(&Ask::at("entra").with("client_id", &app.assistant.id)).await;
    assert_eq!(other_id.refusal(), refused(400, "invalid_request"), "two different ids");

    let form = encoded(&[
        ("grant_type".to_owned(), "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
        ("client_id".to_owned(), app.personal.id.clone()),
        ("client_secret".to_owned(), secret.clone()),
        ("subject_token".to_owned(), "alice@example.com".to_owned()),
        ("subject_token_type".to_owned(), "urn:valetkey:token-type:user".to_owned()),
        ("audience".to_owned(), "provider:entra".to_owned()),
    ]);
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let token = app.at("/oauth2/token");
    let posted = app.traffic.send("POST", &token, &[kind], form.as_bytes()).await;
    assert_eq!(posted.error(), "interaction_required", "client_secret_post works: {}", posted.body_text());
    let basic = app.personal.basic();
    let twice = [("Authorization", basic.as_str()), ("Authorization", basic.as_str()), kind];
    let answer = app.traffic.send("POST", &token, &twice, form.as_bytes()).await;
    assert_eq!(answer.refusal(), refused(400, "invalid_request"), "two Authorization headers");
    let in_query = app.at(&format!("/oauth2/token?client_secret={secret}"));
    let answer = app.traffic.send("POST", &in_query, &[kind], form.as_bytes()).await;
    assert_eq!(answer.refusal(), refused(400, "invalid_request"), "a secret in the address");
    for (content_type, body, why) in [
        ("application/json", json!({"grant_type": "x"}).to_string(), "JSON"),
        ("application/x-www-form-urlencoded", "a=%zz".to_owned(), "a broken escape"),
        ("application/x-www-form-urlencoded", "a=%ff".to_owned(), "no text"),
        ("application/x-www-form-urlencoded", "x".repeat(200_000), "oversized"),
        (
            "application/x-www-form-urlencoded",
            (0..300).map(|n| format!("p{n}=1&")).collect::<String>(),
            "too many",
        ),
    ] {
        let headers = [("Authorization", basic.as_str()), ("Content-Type", content_type)];
        let answer = app.traffic.send("POST", &token, &headers, body.as_bytes()).await;
        assert!((400..500).contains(&answer.status), "{why}: {}", answer.status);
        assert!(!answer.error().is_empty(), "{why}: {}", answer.body_text());
    }
    for method in ["GET", "PUT", "DELETE"] {
        let answer = app.traffic.send(method, &token, &[("Authorization", &basic)], b"").await;
        assert!(answer.status == 404 || answer.status == 405, "{method}: {}", answer.status);
    }
    app.stops().await;
}

#[actix_web::test]
async fn bad_values_get_their_own_clear_answer() {
    let app = TestApp::start().await;
    let ask = Ask::at("entra").scope("Mail.Read");
    for (ask, code) in [
        (ask.clone().with("grant_type", "password"), "unsupported_grant_type"),
        (ask.clone().without("grant_type"), "invalid_request"),
        (ask.clone().without("subject_token"), "invalid_request"),
        (ask.clone().without("subject_token_type"), "invalid_request"),
        (ask.clone().without("audience"), "invalid_request"),
        (ask.clone().with("audience", "provider:google"), "invalid_target"),
        (ask.clone().with("audience", "entra"), "invalid_target"),
        (ask.clone().with("audience", "https://payroll.internal"), "invalid_target"),
        (ask.clone().with("connection", "con_00000000000000000000000000"), "invalid_target"),
        (ask.clone().with("connection", "nonsense"), "invalid_target"),
        (
            ask.clone().with("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
            "invalid_request",
        ),
        (ask.clone().with("actor_token", "x").with("actor_token_type", "y"), "invalid_request"),
        (ask.clone().with("binding_message", &"x".repeat(201)), "invalid_request"),
        (ask.clone().with("task", &"x".repeat(65)), "invalid_request"),
        (ask.clone().with("authorization_details", "not json"), "invalid_authorization_details"),
        (ask.clone().with("grant_type", "urn:openid:params:grant-type:ciba"), "invalid_request"),
    ] {
        let answer = app.agent_asks(&ask).await;
        assert_eq!(answer.refusal(), refused(400, code), "{ask:?}: {}", answer.body_text());
        let description = answer.text("error_description");
        assert!(!description.is_empty() && description.is_ascii(), "{description}");
    }
    app.stops().await;
}
