//! Identity assertions: what an enterprise's identity provider vouches for, taken and given, one field bent at a
//! time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use valetkey::app::demo::people::{ALICE, BOB};
use valetkey::tokens::{GRANT_JWT_BEARER, TYPE_ID_JAG};

use crate::app::{Ask, TestApp};
use crate::possession::HeldKey;
use crate::wire::{Answer, refused};

const PEOPLE: &str = "https://people.example.com";
const NOTES: &str = "https://notes.example.com";

/// An assertion about Alice for the assistant: valid until a test bends one field.
#[derive(Clone)]
struct Assertion {
    header: Value,
    claims: Value,
}

impl Assertion {
    fn new(app: &TestApp) -> Self {
        let id_token = app.id_token_of(ALICE);
        let stated = part(&id_token, 1);
        let now = app.demo.services.clock.now().secs();
        let claims = json!({
            "iss": stated["iss"], "sub": stated["sub"], "aud": issuer(app), "client_id": app.assistant.id,
            "jti": stated["jti"], "iat": now, "exp": now + 300, "auth_time": now - 60,
            "scope": "leave.read", "resource": PEOPLE,
        });
        Self { header: json!({ "typ": "oauth-id-jag+jwt" }), claims }
    }

    fn claim(mut self, name: &str, value: Value) -> Self {
        match value {
            Value::Null => drop(self.claims.as_object_mut().unwrap().remove(name)),
            value => self.claims[name] = value,
        }
        self
    }

    fn header(mut self, name: &str, value: Value) -> Self {
        self.header[name] = value;
        self
    }

    fn text(&self, app: &TestApp) -> String {
        app.demo.sandbox.vouches(&self.header, &self.claims).unwrap()
    }
}

fn part(token: &str, at: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap()).unwrap()
}

fn issuer(app: &TestApp) -> String {
    app.demo.issuer.as_str().trim_end_matches('/').to_owned()
}

/// The assistant shows an assertion as a grant of its own (RFC 7523).
fn granted(app: &TestApp, assertion: &str) -> Ask {
    Ask::at("entra")
        .by(&app.assistant)
        .with("grant_type", GRANT_JWT_BEARER)
        .with("assertion", assertion)
        .without("subject_token")
        .without("subject_token_type")
        .without("audience")
}

/// The assistant shows one as the user's token (RFC 8693).
fn exchanged(app: &TestApp, assertion: &str) -> Ask {
    Ask::at("entra")
        .by(&app.assistant)
        .with("subject_token", assertion)
        .with("subject_token_type", TYPE_ID_JAG)
        .with("audience", PEOPLE)
}

async fn shown(app: &TestApp, assertion: &Assertion) -> Answer {
    app.agent_asks(&granted(app, &assertion.text(app))).await
}

#[actix_web::test]
async fn an_assertion_stands_in_for_the_users_token_once_and_no_wider() {
    let app = TestApp::start().await;
    let good = || Assertion::new(&app);
    let alice = app.user_id_of(ALICE).await;
    let first = good().text(&app);
    let answer = app.agent_asks(&granted(&app, &first)).await;
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    let claims = part(&answer.text("access_token"), 1);
    assert_eq!((&claims["sub"], &claims["scope"]), (&json!(alice), &json!("leave.read")));
    assert_eq!(claims["act"], json!({ "sub": app.assistant.id }));
    // Once, whichever way it is shown.
    assert_eq!(app.agent_asks(&granted(&app, &first)).await.refusal(), refused(400, "invalid_grant"));
    assert_eq!(app.agent_asks(&exchanged(&app, &first)).await.refusal(), refused(400, "invalid_request"));
    let second = good();
    let answer = app.agent_asks(&exchanged(&app, &second.text(&app))).await;
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    let again = second.claim("exp", json!(part(&first, 1)["exp"].as_i64().unwrap() + 1200));
    assert_eq!(
        shown(&app, &again).await.refusal(),
        refused(400, "invalid_grant"),
        "the same name with another end"
    );
    // Less may be asked for, and what the assertion leaves open is the registration's.
    let open = good().claim("scope", Value::Null).claim("resource", Value::Null).text(&app);
    let answer = app.agent_asks(&granted(&app, &open).with("audience", PEOPLE)).await;
    assert_eq!(answer.scope(), ["leave.read", "salary.read"], "{}", answer.body_text());
    for (ask, code) in [
        (granted(&app, &good().text(&app)).scope("leave.read salary.read"), "invalid_scope"),
        (granted(&app, &good().claim("scope", json!("everything")).text(&app)), "invalid_scope"),
        (granted(&app, &good().claim("scope", json!("")).text(&app)), "invalid_scope"),
        (granted(&app, &good().text(&app)).with("audience", "provider:entra"), "invalid_target"),
        (granted(&app, &good().claim("resource", json!(NOTES)).text(&app)), "invalid_target"),
        (granted(&app, &good().claim("resource", json!([PEOPLE, NOTES])).text(&app)), "invalid_target"),
        (granted(&app, &good().claim("resource", Value::Null).text(&app)), "invalid_request"),
        (granted(&app, &good().text(&app)).with("subject_token", "x"), "invalid_request"),
        (granted(&app, "").without("assertion"), "invalid_request"),
        (granted(&app, &good().text(&app)).by(&app.autonomous), "unauthorized_client"),
    ] {
        let answer = app.agent_asks(&ask).await;
        assert_eq!(answer.refusal(), refused(400, code), "{ask:?}: {}", answer.body_text());
    }
    // At a provider the employee is asked as ever: the identity provider does not answer for them.
    let gateway = format!("{}/gateway/entra", issuer(&app));
    let at_entra = good().claim("resource", json!(gateway)).claim("scope", json!("User.Read"));
    assert_eq!(shown(&app, &at_entra).await.refusal(), refused(400, "interaction_required"));
    app.stops().await;
}

#[actix_web::test]
async fn an_assertion_from_before_a_sign_out_is_worth_nothing() {
    let app = TestApp::start().await;
    let before = Assertion::new(&app);
    app.pass(60);
    let alice = app.user_id_of(ALICE).await;
    app.admin_does(&format!("/users/{alice}/sign-out"), &json!({})).await;
    assert_eq!(shown(&app, &before).await.refusal(), refused(400, "invalid_grant"));
    app.pass(120);
    assert_eq!(shown(&app, &Assertion::new(&app)).await.status, 200, "she has signed in again");
    app.stops().await;
}

#[actix_web::test]
async fn every_part_of_an_assertion_counts() {
    let app = TestApp::start().await;
    let good = || Assertion::new(&app);
    let now = app.demo.services.clock.now().secs();
    let ours = issuer(&app);
    let bad: Vec<(&str, Assertion)> = vec![
        ("typ JWT", good().header("typ", json!("JWT"))),
        ("typ of an access token", good().header("typ", json!("at+jwt"))),
        ("alg of another key", good().header("alg", json!("ES256"))),
        ("alg none", good().header("alg", json!("none"))),
        ("alg HS256", good().header("alg", json!("HS256"))),
        ("another key", good().header("kid", json!("other"))),
        ("a key of its own", good().header("jwk", HeldKey::p256().jwk())),
        ("crit", good().header("crit", json!(["exp"]))),
        ("another issuer", good().claim("iss", json!("https://evil.example.com"))),
        ("our own issuer", good().claim("iss", json!(ours))),
        ("no issuer", good().claim("iss", Value::Null)),
        ("another audience", good().claim("aud", json!("https://other.example.com"))),
        ("the token endpoint", good().claim("aud", json!(app.at("/oauth2/token")))),
        ("two audiences", good().claim("aud", json!([ours, "https://other.example.com"]))),
        ("no audience", good().claim("aud", Value::Null)),
        ("another client", good().claim("client_id", json!(app.personal.id))),
        ("no client", good().claim("client_id", Value::Null)),
        ("an unknown user", good().claim("sub", json!("00u-nobody"))),
        ("no user", good().claim("sub", Value::Null)),
        ("no jti", good().claim("jti", Value::Null)),
        ("empty jti", good().claim("jti", json!(""))),
        ("long jti", good().claim("jti", json!("j".repeat(257)))),
        ("expired", good().claim("exp", json!(now - 31))),
        ("no exp", good().claim("exp", Value::Null)),
        ("exp is a text", good().claim("exp", json!("soon"))),
        ("exp far ahead", good().claim("exp", json!(now + 3700))),
        ("no iat", good().claim("iat", Value::Null)),
        ("from the future", good().claim("iat", json!(now + 40))),
        ("not yet", good().claim("nbf", json!(now + 40))),
        ("no auth_time", good().claim("auth_time", Value::Null)),
        ("signed in too long ago", good().claim("auth_time", json!(now - 601))),
        ("signed in tomorrow", good().claim("auth_time", json!(now + 86_400))),
        ("scope is a list", good().claim("scope", json!(["leave.read"]))),
        ("resource is a number", good().claim("resource", json!(5))),
        ("details", good().claim("authorization_details", json!([{ "type": "x" }]))),
        ("bound in an unknown way", good().claim("cnf", json!({ "x": "y" }))),
    ];
    for (what, assertion) in &bad {
        let answer = shown(&app, assertion).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_grant"), "{what}: {}", answer.body_text());
        let answer = app.agent_asks(&exchanged(&app, &assertion.text(&app))).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_request"), "{what}: {}", answer.body_text());
    }
    let whole = good().text(&app);
    let (signed, signature) = whole.rsplit_once('.').unwrap();
    for text in [format!("{signed}."), format!("{signed}.AAAA"), "a.b.c".to_owned(), "x".repeat(20_000)] {
        assert_eq!(app.agent_asks(&granted(&app, &text)).await.refusal(), refused(400, "invalid_grant"));
    }
    let forged = URL_SAFE_NO_PAD.encode(good().claim("sub", json!("00u-bob")).claims.to_string());
    let forged = format!("{}.{forged}.{signature}", signed.split('.').next().unwrap());
    assert_eq!(app.agent_asks(&granted(&app, &forged)).await.refusal(), refused(400, "invalid_grant"));
    // A personal agent acts for its owner, whoever vouches for another one.
    let about_bob = Assertion::new(&app)
        .claim("sub", part(&app.id_token_of(BOB), 1)["sub"].clone())
        .claim("client_id", json!(app.personal.id));
    let ask = granted(&app, &about_bob.text(&app)).by(&app.personal);
    assert_eq!(app.agent_asks(&ask).await.refusal(), refused(400, "invalid_grant"));
    let stranger = granted(&app, &Assertion::new(&app).text(&app)).by(&app.personal);
    assert_eq!(app.agent_asks(&stranger).await.refusal(), refused(400, "invalid_grant"));
    app.stops().await;
}

#[actix_web::test]
async fn an_assertion_that_is_bound_to_a_key_takes_that_key() {
    let app = TestApp::start().await;
    let (key, other) = (HeldKey::p256(), HeldKey::ed25519(4));
    let bound =
        granted(&app, &Assertion::new(&app).claim("cnf", json!({ "jkt": key.thumbprint() })).text(&app));
    assert_eq!(app.agent_asks(&bound).await.refusal(), refused(400, "invalid_dpop_proof"));
    assert_eq!(app.asks_proving(&other, &bound).await.refusal(), refused(400, "invalid_dpop_proof"));
    let answer = app.asks_proving(&key, &bound).await;
    assert_eq!(
        (answer.status, answer.text("token_type")),
        (200, "DPoP".to_owned()),
        "{}",
        answer.body_text()
    );
    app.stops().await;
}

#[actix_web::test]
async fn an_assertion_of_ours_is_for_a_server_that_takes_one_and_says_when_the_user_signed_in() {
    let app = TestApp::start().await;
    let terms = |takes: Value| {
        json!({
            "identifier": NOTES, "name": "Notes", "purpose": "Notes of teams", "scopes": "notes.read notes.write",
            "id_jag": takes,
            "admissions": [{ "agents": [app.assistant.id, app.personal.id], "for": "everyone", "scopes": ["notes.read"] }],
        })
    };
    let made = app.admin_does("/audiences", &terms(Value::Null)).await;
    let ask = || {
        Ask::at("entra")
            .by(&app.assistant)
            .showing(&app.id_token_of(ALICE))
            .with("audience", NOTES)
            .with("requested_token_type", TYPE_ID_JAG)
    };
    assert_eq!(app.agent_asks(&ask()).await.refusal(), refused(400, "invalid_target"));
    let path = format!("/audiences/{}", made["id"].as_str().unwrap());
    let known = json!({ "client_ids": { app.assistant.id.as_str(): "notes-client-7" } });
    assert_eq!(app.admin("PUT", &path, &terms(known)).await.status, 200);
    let answer = app.agent_asks(&ask().with("resource", "https://api.notes.example.com/")).await;
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    assert_eq!(
        (answer.text("issued_token_type"), answer.text("token_type"), answer.text("scope")),
        (TYPE_ID_JAG.to_owned(), "N_A".to_owned(), "notes.read".to_owned())
    );
    let jag = answer.text("access_token");
    let (header, claims) = (part(&jag, 0), part(&jag, 1));
    assert_eq!(header["typ"], "oauth-id-jag+jwt");
    let now = app.demo.services.clock.now().secs();
    let expected = json!({
        "iss": issuer(&app), "aud": NOTES, "sub": app.user_id_of(ALICE).await, "act": { "sub": app.assistant.id },
        "client_id": "notes-client-7", "scope": "notes.read", "resource": "https://api.notes.example.com/",
        "auth_time": claims["auth_time"], "jti": claims["jti"], "iat": claims["iat"],
        "exp": claims["iat"].as_i64().unwrap() + 300,
    });
    assert_eq!(claims, expected);
    assert!((now - claims["auth_time"].as_i64().unwrap()).abs() < 600);
    for (ask, code) in [
        (ask().scope("notes.write"), "invalid_scope"),
        (ask().with("audience", PEOPLE), "invalid_target"),
        (ask().with("audience", "https://unknown.example.com"), "invalid_target"),
        (ask().with("resource", "no address"), "invalid_target"),
        (ask().without("requested_token_type").with("resource", NOTES), "invalid_request"),
        // Nobody was there: a name is no proof of presence.
        (
            ask().by(&app.personal).naming(ALICE).with("subject_token_type", "urn:valetkey:token-type:user"),
            "invalid_request",
        ),
    ] {
        let answer = app.agent_asks(&ask).await;
        assert_eq!(answer.refusal(), refused(400, code), "{ask:?}: {}", answer.body_text());
    }
    // It is no token of ours, and none that we take ourselves.
    assert_eq!(app.introspects(&app.assistant, &jag).await, json!({ "active": false }));
    assert_eq!(app.agent_asks(&granted(&app, &jag)).await.refusal(), refused(400, "invalid_grant"));
    app.stops().await;
}

#[actix_web::test]
async fn a_back_ends_own_details_travel_in_its_tokens_and_never_get_lost() {
    let app = TestApp::start().await;
    let terms = json!({
        "identifier": NOTES, "name": "Notes", "purpose": "Notes of teams", "scopes": "notes.read",
        "authorization_details_types": ["notebook"],
        "admissions": [{ "agents": [app.assistant.id, app.personal.id], "for": "everyone", "scopes": ["notes.read"] }],
    });
    app.admin_does("/audiences", &terms).await;
    let details = |text: &str| Ask::at("entra").with("audience", NOTES).with("authorization_details", text);
    let one = json!([{ "type": "notebook", "id": "n1" }]);
    let answer = app.agent_asks(&details(&one.to_string())).await;
    assert_eq!(
        (answer.status, &answer.json()["authorization_details"]),
        (200, &one),
        "{}",
        answer.body_text()
    );
    let token = answer.text("access_token");
    assert_eq!(part(&token, 1)["authorization_details"], one);
    assert_eq!(app.introspects(&app.personal, &token).await["authorization_details"], one);
    assert!(
        part(&app.agent_asks(&details("[]")).await.text("access_token"), 1)
            .get("authorization_details")
            .is_none()
    );
    let many = json!(vec![json!({ "type": "notebook" }); 21]).to_string();
    for bad in [
        r#"[{"type":"safe","id":"n1"}]"#,
        r#"[{"id":"n1"}]"#,
        r#"[{"type":5}]"#,
        r#"{"type":"notebook"}"#,
        r#"[{"type":"notebook","type":"notebook"}]"#,
        "[",
        &many,
        &format!(r#"[{{"type":"notebook","id":"{}"}}]"#, "x".repeat(5000)),
    ] {
        let answer = app.agent_asks(&details(bad)).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_authorization_details"), "{bad}");
    }
    // A sub-agent's token has the parent's, and its own beside them.
    let send = Ask::at("entra")
        .by(&app.assistant)
        .showing(&app.id_token_of(ALICE))
        .with("audience", &issuer(&app))
        .with("authorization_details", &one.to_string())
        .scope("notes.read")
        .with("may_act", &app.personal.id);
    let sent = app.agent_asks(&send).await.text("access_token");
    let own = r#"[{"type":"notebook","id":"n2"}]"#;
    for (ask, expected) in [
        (details("[]"), one.clone()),
        (details(own), json!([{ "type": "notebook", "id": "n1" }, { "type": "notebook", "id": "n2" }])),
    ] {
        let used = ask.with("subject_token", &sent).with("subject_token_type", valetkey::tokens::TYPE_JWT);
        let token = app.agent_asks(&used).await.text("access_token");
        assert_eq!(part(&token, 1)["authorization_details"], expected);
    }
    let elsewhere = Ask::at("entra")
        .with("audience", PEOPLE)
        .with("subject_token", &sent)
        .with("subject_token_type", valetkey::tokens::TYPE_JWT);
    assert_ne!(app.agent_asks(&elsewhere).await.status, 200, "nobody else narrows by them");
    app.stops().await;
}
