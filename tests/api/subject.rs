//! Whose token an assistant may show, and what an autonomous agent may not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use valetkey::app::demo::people::{ALICE, BOB};
use valetkey::sandbox::ASSISTANT_CLIENT;

use crate::app::{Ask, TestApp};
use crate::wire::refused;

fn claims_of(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut changed = claims.clone();
    changed[name] = value;
    changed
}

fn without(claims: &Value, name: &str) -> Value {
    let mut changed = claims.clone();
    changed.as_object_mut().unwrap().remove(name);
    changed
}

fn unsigned(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[actix_web::test]
async fn an_assistant_acts_for_a_user_whose_fresh_token_it_shows() {
    let mut app = TestApp::start().await;
    let assistant = app.assistant.clone();
    let ask = Ask::at("entra").scope("Mail.Read").by(&assistant);
    let good = ask.clone().showing(&app.id_token_of(ALICE));
    let token = app.alice_has_answered(&good, "Mail.Read").await;
    assert_eq!(app.calls(&token.token(), "GET", "entra/graph/v1.0/me/messages").await.status, 200);
    // The personal agent of Alice has got nothing from it, and Bob has granted nothing.
    assert_eq!(app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await.error(), "interaction_required");
    let bob = app.agent_asks(&ask.clone().showing(&app.id_token_of(BOB))).await;
    assert_eq!(bob.error(), "interaction_required");
    // An assistant cannot name anybody, not even its owner.
    for who in [ALICE, BOB, "nobody@example.com"] {
        let named = app.agent_asks(&ask.clone().naming(who)).await;
        assert_eq!(named.refusal(), refused(400, "invalid_request"), "{who}");
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_token_that_is_forged_stale_or_foreign_proves_nothing() {
    let app = TestApp::start().await;
    let ask = Ask::at("entra").scope("Mail.Read").by(&app.assistant);
    let genuine = app.id_token_of(ALICE);
    let claims = claims_of(&genuine);
    let signer = std::sync::Arc::clone(&app.demo.sandbox.desk("okta").unwrap().signer);
    let now = claims["iat"].as_i64().unwrap();
    let signature = genuine.rsplit('.').next().unwrap().to_owned();
    let rest = genuine.rsplit_once('.').unwrap().0.to_owned();
    let stale = with(&with(&claims, "auth_time", json!(now - 700)), "iat", json!(now - 700));
    let mut forged: Vec<(&str, String)> = vec![
        ("for another audience", app.demo.sandbox.id_token(ALICE, "valetkey-sandbox").unwrap()),
        ("for two audiences", signer.jwt(&with(&claims, "aud", json!([ASSISTANT_CLIENT, "somebody-else"])))),
        ("of another issuer", signer.jwt(&with(&claims, "iss", json!("https://evil.example")))),
        ("of a similar issuer", signer.jwt(&with(&claims, "iss", json!("https://example.okta.com/")))),
        (
            "of a custom authorization server",
            signer.jwt(&with(&claims, "iss", json!("https://example.okta.com/oauth2/default"))),
        ),
        ("for an unknown user", signer.jwt(&with(&claims, "sub", json!("00unobody")))),
        ("without a subject", signer.jwt(&without(&claims, "sub"))),
        ("expired", signer.jwt(&with(&claims, "exp", json!(now - 1000)))),
        ("without an end", signer.jwt(&without(&claims, "exp"))),
        (
            "from the future",
            signer.jwt(&with(&with(&claims, "iat", json!(now + 3600)), "auth_time", json!(now + 3600))),
        ),
        ("with an old sign-in", signer.jwt(&with(&claims, "auth_time", json!(now - 700)))),
        ("old", signer.jwt(&stale)),
        ("alg none", unsigned(&json!({"alg": "none"}), &claims, "")),
        ("alg nOnE", unsigned(&json!({"alg": "nOnE"}), &claims, "")),
        ("no alg", unsigned(&json!({"typ": "JWT"}), &claims, &signature)),
        ("HS256", unsigned(&json!({"alg": "HS256"}), &claims, &signature)),
        ("with no signature", format!("{rest}.")),
        ("with half a signature", format!("{rest}.{}", &signature[..signature.len() / 2])),
        ("with two parts", rest.clone()),
        ("an access token", "not-a-jwt".to_owned()),
        ("empty claims", unsigned(&json!({"alg": "RS256"}), &json!({}), &signature)),
    ];
    let bent = genuine.replacen(&rest[rest.len() - 6..], "AAAAAA", 1);
    forged.push(("changed after it was signed", bent));
    for (what, token) in &forged {
        let answer = app.agent_asks(&ask.clone().showing(token)).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_request"), "{what}: {}", answer.body_text());
        assert!(!answer.body_text().contains(token.as_str()) || token.is_empty(), "{what} is repeated");
    }
    // A token of another key, with the right key id.
    let other = TestApp::start().await;
    let foreign = other.id_token_of(ALICE);
    let answer = app.agent_asks(&ask.clone().showing(&foreign)).await;
    assert_eq!(answer.refusal(), refused(400, "invalid_request"));
    other.stops().await;

    assert_eq!(app.questions().await, 0, "a forged token opened a question");
    assert_eq!(app.agent_asks(&ask.clone().showing(&genuine)).await.error(), "interaction_required");
    app.pass(601);
    let late = app.agent_asks(&ask.showing(&genuine)).await;
    assert_eq!(late.refusal(), refused(400, "invalid_request"), "ten minutes have passed");
    app.stops().await;
}

#[actix_web::test]
async fn an_autonomous_agent_acts_for_nobody() {
    let app = TestApp::start().await;
    let ask = Ask::at("entra").by(&app.autonomous);
    for ask in [ask.clone(), ask.clone().naming(BOB), ask.showing(&app.id_token_of(ALICE))] {
        let answer = app.agent_asks(&ask).await;
        assert_eq!(answer.refusal(), refused(400, "unauthorized_client"));
    }
    assert_eq!(app.questions().await, 0);
    app.stops().await;
}
