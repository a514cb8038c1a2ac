//! Security events pushed by the company's identity provider: what is believed, what is not, and that whoever
//! it tells of is refused on the next request.

use std::time::Instant;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use valetkey::app::demo::people::{ALICE, BOB};

use crate::app::{Ask, TestApp};
use crate::published::{Published, app_that_reads};
use crate::wire::Answer;

const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const ACCOUNT_DISABLED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
const ISSUER: &str = "https://events.example.com";

/// An identity provider that tells what happens to its people.
struct Transmitter {
    key: EcdsaKeyPair,
    header: Value,
    claims: Value,
}

impl Transmitter {
    /// Registered; about to tell that Alice was signed out.
    async fn registered(app: &TestApp) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let keys = json!({ "jwks": { "keys": [jwk(&key)] } });
        Self::registered_with(app, key, &keys).await
    }

    /// The same, with its keys stated in that way.
    async fn registered_with(app: &TestApp, key: EcdsaKeyPair, keys: &Value) -> Self {
        let (issuer, subject) = identity(app, ALICE).await;
        let mut stated = json!({ "name": "Company sign-in", "issuer": ISSUER, "subject_issuer": issuer });
        stated.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let made = app.admin_does("/transmitters", &stated).await;
        let now = app.demo.services.clock.now().secs();
        let claims = json!({
            "iss": ISSUER, "aud": [made["audience"]], "jti": "event-1", "iat": now,
            "sub_id": { "format": "iss_sub", "iss": issuer, "sub": subject },
            "events": { SESSION_REVOKED: { "event_timestamp": now, "reason_admin": { "en": "Left" } } },
        });
        Self { key, header: json!({ "typ": "secevent+jwt", "alg": "ES256", "kid": "k1" }), claims }
    }

    fn signed(&self) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&self.header), part(&self.claims));
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    async fn pushes(&self, app: &TestApp) -> Answer {
        push(app, "application/secevent+jwt", &self.signed()).await
    }
}

fn jwk(key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    json!({ "kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256",
        "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]) })
}

async fn push(app: &TestApp, media: &str, body: &str) -> Answer {
    let headers = [("Content-Type", media), ("Accept", "application/json")];
    app.traffic.send("POST", &app.at("/security-events"), &headers, body.as_bytes()).await
}

async fn identity(app: &TestApp, email: &str) -> (Value, Value) {
    let user = app.admin("GET", &format!("/users?email={email}"), &Value::Null).await.json();
    (user["items"][0]["issuer"].clone(), user["items"][0]["subject"].clone())
}

#[actix_web::test]
async fn a_session_that_was_revoked_elsewhere_ends_here_on_the_next_request() {
    let mut app = TestApp::start().await;
    let alice = app.everything_of_alice().await;
    app.pass(1);
    let transmitter = Transmitter::registered(&app).await;
    let began = Instant::now();
    let answer = transmitter.pushes(&app).await;
    assert_eq!((answer.status, answer.body_text().as_str()), (202, ""));
    let answered = began.elapsed();
    assert_eq!(app.okta_call(&alice.gateway_token).await.status, 401);
    println!("accepted after {answered:?}, the first refused call {:?} after it was sent", began.elapsed());
    assert_eq!(app.introspects(&app.personal, &alice.delegation).await, json!({ "active": false }));
    let home = app.alice.opens(&app.at("/")).await;
    assert!(!home.html.contains("okta.users.read.self"), "{}", home.title());
    // She signs in and grants anew; the same event, sent again, ends nothing a second time.
    app.pass(2);
    let again = app.alice_has_granted("okta", "okta.users.read.self").await.text("access_token");
    assert_eq!(transmitter.pushes(&app).await.status, 202);
    assert_eq!(app.okta_call(&again).await.status, 200);
    let mut next = transmitter;
    next.claims["jti"] = json!("event-2");
    assert_eq!(next.pushes(&app).await.status, 202);
    assert_eq!(app.okta_call(&again).await.status, 401);
    app.stops().await;
}

#[actix_web::test]
async fn keys_that_a_transmitter_publishes_are_fetched_and_followed() {
    let published = Published::start();
    let app = app_that_reads(&published, ISSUER).await;
    let new_key = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let place = json!({ "jwks_uri": format!("{ISSUER}/keys") });
    let mut transmitter = Transmitter::registered_with(&app, new_key(), &place).await;
    let told = app.admin("GET", "/transmitters", &Value::Null).await.json();
    assert_eq!(told["items"][0]["jwks_uri"], place["jwks_uri"]);
    let publishes = |keys: &[Value]| published.publishes("/keys", &json!({ "keys": keys }));
    let user = format!("/users?email={ALICE}");
    let is_signed_out =
        async || app.admin("GET", &user, &Value::Null).await.json()["items"][0]["signed_out_at"].is_string();

    // While its keys cannot be had nothing is believed, and the transmitter is told to come again.
    assert_eq!(transmitter.pushes(&app).await.status, 503);
    publishes(&[jwk(&new_key())]);
    app.pass(6);
    let refused = transmitter.pushes(&app).await;
    assert_eq!((refused.status, &refused.json()["err"]), (400, &json!("authentication_failed")));
    assert!(!is_signed_out().await, "somebody else's key");

    // A key that is published now is looked for when an event names it: once a minute, whoever sends events.
    let mut named = jwk(&transmitter.key);
    named["kid"] = json!("k2");
    transmitter.header["kid"] = json!("k2");
    let fetched = published.fetched();
    for _ in 0..3 {
        assert_eq!(transmitter.pushes(&app).await.json()["err"], "invalid_key");
    }
    assert_eq!(published.fetched(), fetched + 1);
    publishes(&[named]);
    app.pass(61);
    assert_eq!(transmitter.pushes(&app).await.status, 202);
    assert!(is_signed_out().await);

    // A key that was withdrawn ends within the hour; while nothing can be fetched what is known serves on.
    let fetched = published.fetched();
    transmitter.claims["jti"] = json!("event-2");
    assert_eq!(transmitter.pushes(&app).await.status, 202);
    assert_eq!(published.fetched(), fetched, "kept");
    published.withdraws_everything();
    app.pass(3601);
    transmitter.claims["jti"] = json!("event-3");
    assert_eq!(transmitter.pushes(&app).await.status, 202);
    publishes(&[jwk(&new_key())]);
    app.pass(3601);
    transmitter.claims["jti"] = json!("event-4");
    assert_eq!(transmitter.pushes(&app).await.json()["err"], "invalid_key");
    app.stops().await;
}

#[actix_web::test]
async fn an_account_that_was_disabled_elsewhere_has_left_here() {
    let mut app = TestApp::start().await;
    let alice = app.everything_of_alice().await;
    let mut transmitter = Transmitter::registered(&app).await;
    // The subject inside of the event, and beside a session, as older and richer transmitters have it.
    let subject = transmitter.claims["sub_id"].take();
    transmitter.claims.as_object_mut().unwrap().remove("sub_id");
    let session = json!({ "format": "opaque", "id": "s1" });
    transmitter.claims["events"] = json!({ ACCOUNT_DISABLED: { "subject": { "format": "complex", "user": subject, "session": session } } });
    assert_eq!(transmitter.pushes(&app).await.status, 202);
    app.nothing_acts_as(&alice).await;
    let user = app.admin("GET", &format!("/users?email={ALICE}"), &Value::Null).await.json();
    assert_eq!(user["items"][0]["state"], "disabled");
    app.stops().await;
}

#[actix_web::test]
async fn an_event_that_is_not_to_be_believed_does_nothing() {
    let app = TestApp::start().await;
    let works = async || {
        let ask = Ask::at("entra").with("audience", "https://people.example.com");
        app.agent_asks(&ask).await.status
    };
    let good = Transmitter::registered(&app).await;
    let now = good.claims["iat"].as_i64().unwrap();
    let bent = |header: Value, claims: Value| {
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            good.key.to_pkcs8v1().unwrap().as_ref(),
        );
        let mut one =
            Transmitter { key: key.unwrap(), header: good.header.clone(), claims: good.claims.clone() };
        for (onto, with) in [(&mut one.header, header), (&mut one.claims, claims)] {
            for (name, value) in with.as_object().unwrap() {
                onto[name] = value.clone();
            }
        }
        one.signed()
    };
    let header = |with: Value| bent(with, json!({}));
    let claims = |with: Value| bent(json!({}), with);
    let another = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let forged =
        Transmitter { key: another, header: good.header.clone(), claims: good.claims.clone() }.signed();
    let signed = good.signed();
    let parts: Vec<&str> = signed.split('.').collect();
    let unsigned_header = URL_SAFE_NO_PAD.encode(json!({ "typ": "secevent+jwt", "alg": "none" }).to_string());
    let twice = URL_SAFE_NO_PAD.encode(r#"{"iss":"https://events.example.com","iss":"x"}"#);
    for (token, code) in [
        (forged, "authentication_failed"),
        (format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode([0; 64])), "authentication_failed"),
        (format!("{unsigned_header}.{}.", parts[1]), "invalid_key"),
        (format!("{}.{twice}.{}", parts[0], parts[2]), "invalid_request"),
        (format!("{}.{}", parts[0], parts[1]), "invalid_request"),
        ("not a token".to_owned(), "invalid_request"),
        (String::new(), "invalid_request"),
        (header(json!({ "typ": "JWT" })), "invalid_request"),
        (header(json!({ "typ": null })), "invalid_request"),
        (header(json!({ "alg": "HS256" })), "invalid_key"),
        (header(json!({ "alg": "RS256" })), "authentication_failed"),
        (header(json!({ "kid": "another" })), "invalid_key"),
        (header(json!({ "crit": ["exp"] })), "invalid_request"),
        (claims(json!({ "iss": "https://elsewhere.example" })), "invalid_issuer"),
        (claims(json!({ "iss": null })), "invalid_issuer"),
        (claims(json!({ "aud": "https://elsewhere.example" })), "invalid_audience"),
        (claims(json!({ "aud": null })), "invalid_audience"),
        (claims(json!({ "jti": "" })), "invalid_request"),
        (claims(json!({ "iat": null })), "invalid_request"),
        (claims(json!({ "iat": now + 120 })), "invalid_request"),
        (claims(json!({ "iat": now - 8 * 86_400 })), "invalid_request"),
        (claims(json!({ "exp": now - 1 })), "invalid_request"),
        (claims(json!({ "events": {} })), "invalid_request"),
        (claims(json!({ "sub_id": null })), "invalid_request"),
        (claims(json!({ "sub_id": { "format": "phone_number", "phone_number": "+1" } })), "invalid_request"),
        (
            claims(
                json!({ "sub_id": { "format": "iss_sub", "iss": ISSUER, "sub": good.claims["sub_id"]["sub"] } }),
            ),
            "invalid_request",
        ),
    ] {
        let answer = push(&app, "application/secevent+jwt", &token).await;
        assert_eq!((answer.status, answer.json()["err"].as_str().unwrap()), (400, code), "{token}");
        assert_eq!(works().await, 200, "{token}");
    }
    assert_eq!(push(&app, "application/jwt", &good.signed()).await.status, 400);
    // Taken, and about nobody or nothing here.
    for claims_of in [
        json!({ "jti": "a", "sub_id": { "format": "email", "email": "nobody@example.com" } }),
        json!({ "jti": "b", "events": { "https://schemas.openid.net/secevent/ssf/event-type/verification": {} } }),
    ] {
        assert_eq!(push(&app, "application/secevent+jwt", &claims(claims_of)).await.status, 202);
        assert_eq!(works().await, 200);
    }
    // Bob by his e-mail; Alice is not concerned.
    let bobs = claims(json!({ "jti": "c", "sub_id": { "format": "email", "email": BOB } }));
    assert_eq!(push(&app, "application/secevent+jwt", &bobs).await.status, 202);
    assert_eq!(works().await, 200);
    let bob = app.admin("GET", &format!("/users?email={BOB}"), &Value::Null).await.json();
    assert!(bob["items"][0]["signed_out_at"].is_string());
    // Once the transmitter is removed, nothing of it is believed.
    let id = app.admin("GET", "/transmitters", &Value::Null).await.json()["items"][0]["id"].clone();
    let removed = app.admin("DELETE", &format!("/transmitters/{}", id.as_str().unwrap()), &Value::Null).await;
    assert_eq!(removed.status, 204);
    assert_eq!(good.pushes(&app).await.json()["err"], "invalid_issuer");
    app.stops().await;
}
