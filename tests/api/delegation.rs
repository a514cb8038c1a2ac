//! Agents at an internal back end: whose rows they see, what a token of theirs is worth elsewhere, and who
//! can end it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::Url;
use valetkey::app::demo::people::{ALICE, BOB};
use valetkey::tokens::{GRANT_CLIENT, TYPE_ACCESS, TYPE_JWT};

use crate::app::{Ask, Credentials, TestApp};
use crate::wire::{Answer, refused};

const PEOPLE: &str = "https://people.example.com";

impl TestApp {
    async fn asks_back_end(&self, token: &str, path: &str) -> Answer {
        let url = Url::parse(&self.demo.backend).unwrap().join(path).unwrap();
        self.traffic.send("GET", &url, &[("Authorization", &format!("Bearer {token}"))], b"").await
    }

    async fn administers(&self, method: &str, path: &str, body: Value) -> Answer {
        let token = format!("Bearer {}", self.demo.cast.admin_token.expose());
        let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.traffic.send(method, &self.at(path), &headers, body.as_bytes()).await
    }
}

/// Alice's personal agent asks for a token of the people service.
fn ask() -> Ask {
    Ask::at("entra").with("audience", PEOPLE)
}

fn itself(app: &TestApp) -> Ask {
    ask()
        .with("grant_type", GRANT_CLIENT)
        .without("subject_token")
        .without("subject_token_type")
        .by(&app.autonomous)
}

fn part(token: &str, at: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap()).unwrap()
}

#[actix_web::test]
async fn an_employee_sees_their_own_rows_through_an_agent_and_nobody_elses() {
    let app = TestApp::start().await;
    let answer = app.agent_asks(&ask().scope("leave.read")).await;
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    assert_eq!(answer.text("issued_token_type"), TYPE_ACCESS);
    let token = answer.text("access_token");
    let (header, claims) = (part(&token, 0), part(&token, 1));
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("EdDSA")));
    let alice = app.user_id_of(ALICE).await;
    let expected = json!({
        "iss": app.demo.issuer.as_str().trim_end_matches('/'), "aud": PEOPLE, "sub": alice,
        "act": { "sub": app.personal.id }, "client_id": app.personal.id, "scope": "leave.read",
        "email": ALICE, "department": "Sales", "groups": ["staff"],
        "jti": claims["jti"], "iat": claims["iat"], "exp": claims["iat"].as_i64().unwrap() + 300,
    });
    assert_eq!(claims, expected);
    let rows = app.asks_back_end(&token, "/leave").await;
    assert_eq!((rows.status, rows.json()), (200, json!({ "rows": [{ "user": ALICE, "days": 12 }] })));
    assert_eq!(app.asks_back_end(&token, "/salary").await.status, 403);
    // The same assistant serves both, each with their own rows.
    for (email, days) in [(ALICE, 12), (BOB, 7)] {
        let shown = ask().by(&app.assistant).showing(&app.id_token_of(email));
        let token = app.agent_asks(&shown).await.text("access_token");
        let rows = app.asks_back_end(&token, "/leave").await.json();
        assert_eq!(rows, json!({ "rows": [{ "user": email, "days": days }] }));
    }
    app.stops().await;
}

#[actix_web::test]
async fn an_autonomous_agent_acts_as_itself_and_as_nobody_else() {
    let app = TestApp::start().await;
    let token = app.agent_asks(&itself(&app)).await.text("access_token");
    let claims = part(&token, 1);
    assert_eq!((&claims["sub"], claims.get("act")), (&json!(app.autonomous.id), None));
    assert_eq!(app.asks_back_end(&token, "/headcount").await.json(), json!({ "headcount": 2 }));
    assert_eq!(app.asks_back_end(&token, "/leave").await.status, 403);
    for (ask, status_and_code) in [
        (itself(&app).scope("leave.read"), refused(400, "invalid_scope")),
        (itself(&app).with("audience", "https://unknown.example.com"), refused(400, "invalid_target")),
        (itself(&app).with("audience", "provider:entra"), refused(400, "invalid_target")),
        (itself(&app).without("audience"), refused(400, "invalid_request")),
        (itself(&app).by(&app.personal), refused(400, "unauthorized_client")),
        (ask().by(&app.autonomous).naming(ALICE), refused(400, "unauthorized_client")),
    ] {
        let answer = app.agent_asks(&ask).await;
        assert_eq!(answer.refusal(), status_and_code, "{ask:?}: {}", answer.body_text());
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_providers_bare_name_is_answered_with_what_was_meant() {
    let app = TestApp::start().await;
    for bare in [ask().with("audience", "entra"), itself(&app).with("audience", "entra")] {
        let answer = app.agent_asks(&bare).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_target"), "{}", answer.body_text());
        assert!(answer.text("error_description").contains("did you mean `provider:entra`?"));
    }
    // What is no provider reads as any other audience that is not open.
    let unknown = app.agent_asks(&ask().with("audience", "https://unknown.example.com")).await;
    let nothing = app.agent_asks(&ask().with("audience", "nosuch")).await;
    assert_eq!(nothing.text("error_description"), unknown.text("error_description"));
    app.stops().await;
}

#[actix_web::test]
async fn what_the_registration_does_not_give_is_refused() {
    let app = TestApp::start().await;
    for (ask, status_and_code) in [
        (ask().scope("headcount.read"), refused(400, "invalid_scope")),
        (ask().scope("leave.read everything"), refused(400, "invalid_scope")),
        (ask().with("audience", "https://unknown.example.com"), refused(400, "invalid_target")),
        (ask().with("audience", "https://people.example.com/"), refused(400, "invalid_target")),
        (ask().naming(BOB), refused(400, "invalid_request")),
        (
            ask().with("requested_token_type", "urn:valetkey:token-type:gateway"),
            refused(400, "invalid_request"),
        ),
        (
            ask().with("authorization_details", r#"[{"type":"valetkey_limit","kind":"once"}]"#),
            refused(400, "invalid_authorization_details"),
        ),
        (ask().with("actor_token", "x"), refused(400, "invalid_request")),
    ] {
        let answer = app.agent_asks(&ask).await;
        assert_eq!(answer.refusal(), status_and_code, "{ask:?}: {}", answer.body_text());
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_back_ends_token_is_worth_nothing_here_and_another_secret_opens_nothing_there() {
    let app = TestApp::start().await;
    let token = app.agent_asks(&ask()).await.text("access_token");
    // As proof of presence, at the gateway, and with a part of it changed.
    let shown = Ask::at("entra").by(&app.assistant).showing(&token);
    assert_eq!(app.agent_asks(&shown).await.refusal(), refused(400, "invalid_request"));
    let shown = ask().by(&app.assistant).with("subject_token", &token).with("subject_token_type", TYPE_JWT);
    assert_eq!(app.agent_asks(&shown).await.refusal(), refused(400, "invalid_request"));
    assert_eq!(app.calls(&token, "GET", "entra/graph/v1.0/me").await.status, 401);
    let mut claims = part(&token, 1);
    claims["email"] = json!(BOB);
    let parts: Vec<&str> = token.split('.').collect();
    let forged = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2]);
    assert_eq!(app.asks_back_end(&forged, "/leave").await.status, 401);
    let none = URL_SAFE_NO_PAD.encode(json!({ "typ": "at+jwt", "alg": "none" }).to_string());
    assert_eq!(app.asks_back_end(&format!("{none}.{}.", parts[1]), "/leave").await.status, 401);
    // It ends by itself.
    app.demo.advance(Duration::from_secs(301));
    assert_eq!(app.asks_back_end(&token, "/leave").await.status, 401);
    app.stops().await;
}

#[actix_web::test]
async fn a_back_end_asks_about_its_own_tokens_and_hears_the_truth_of_now() {
    let app = TestApp::start().await;
    let terms = |identifier: &str| {
        json!({
            "identifier": identifier, "name": "Ledger", "purpose": "Invoices", "scopes": "invoice.read",
            "claims": ["email"], "algorithm": "ES256",
            "admissions": [{ "agents": [app.personal.id], "for": "everyone", "scopes": ["invoice.read"] }],
        })
    };
    let register = async |identifier: &str| {
        let made = app.administers("POST", "/api/v1/audiences", terms(identifier)).await;
        assert_eq!(made.status, 201, "{}", made.body_text());
        (made.text("id"), Credentials { id: made.text("id"), secret: made.text("client_secret") })
    };
    let (id, ledger) = register("https://ledger.example.com").await;
    let (_, other) = register("https://other.example.com").await;
    assert_eq!(
        app.administers("POST", "/api/v1/audiences", terms("https://ledger.example.com")).await.status,
        409
    );
    let ask = ask().with("audience", "https://ledger.example.com");
    let token = app.agent_asks(&ask).await.text("access_token");
    assert_eq!(part(&token, 0)["alg"], "ES256");
    let told = app.introspects(&ledger, &token).await;
    assert_eq!(
        (&told["active"], &told["email"], &told["scope"]),
        (&json!(true), &json!(ALICE), &json!("invoice.read"))
    );
    // The agent that holds it may ask as well; nobody else hears anything.
    assert_eq!(app.introspects(&app.personal, &token).await["active"], true);
    for stranger in [&other, &app.assistant] {
        assert_eq!(app.introspects(stranger, &token).await, json!({ "active": false }));
    }
    let wrong = Credentials { secret: other.secret.clone(), ..ledger.clone() };
    let fields = [("token".to_owned(), token.clone())];
    assert_eq!(
        app.posts("/oauth2/introspect", &wrong, &fields).await.refusal(),
        refused(401, "invalid_client")
    );
    // Its credentials are for asking only.
    let as_agent = app.agent_asks(&ask.clone().by(&ledger)).await;
    assert_eq!(as_agent.refusal(), refused(401, "invalid_client"));
    // What an admin takes away is gone on the next question.
    let path = format!("/api/v1/audiences/{id}");
    let mut narrowed = terms("https://ledger.example.com");
    narrowed["admissions"] = json!([]);
    assert_eq!(app.administers("PUT", &path, narrowed).await.status, 200);
    assert_eq!(app.introspects(&ledger, &token).await, json!({ "active": false }));
    assert_eq!(app.agent_asks(&ask).await.refusal(), refused(400, "invalid_target"));
    assert_eq!(app.administers("PUT", &path, terms("https://ledger.example.com")).await.status, 200);
    assert_eq!(app.introspects(&ledger, &token).await["active"], true);
    assert_eq!(app.administers("POST", &format!("{path}/disable"), Value::Null).await.status, 200);
    assert_eq!(app.agent_asks(&ask).await.refusal(), refused(400, "invalid_target"));
    app.stops().await;
}

#[actix_web::test]
async fn a_back_ends_token_can_be_given_back() {
    let app = TestApp::start().await;
    let token = app.agent_asks(&ask()).await.text("access_token");
    let active = async || app.introspects(&app.personal, &token).await["active"] == true;
    assert!(active().await);
    assert_eq!(app.gives_back(&app.assistant, &token).await.status, 200);
    assert!(active().await, "another agent's word ends nothing");
    assert_eq!(app.gives_back(&app.personal, &token).await.status, 200);
    assert!(!active().await);
    // Nor does a sub-agent use what its parent has given back.
    let issuer = app.demo.issuer.as_str().trim_end_matches('/').to_owned();
    let shown =
        Ask::at("entra").by(&app.assistant).showing(&app.id_token_of(ALICE)).with("audience", &issuer);
    let sent = app.agent_asks(&shown.scope("leave.read").with("may_act", &app.personal.id)).await;
    let sent = sent.text("access_token");
    let used = ask().with("subject_token", &sent).with("subject_token_type", TYPE_JWT);
    assert_eq!(app.agent_asks(&used).await.status, 200);
    assert_eq!(app.gives_back(&app.assistant, &sent).await.status, 200);
    assert_eq!(app.agent_asks(&used).await.refusal(), refused(400, "invalid_request"));
    app.stops().await;
}

#[actix_web::test]
async fn a_back_end_that_does_not_exist_is_refused_like_one_that_is_closed() {
    let app = TestApp::start().await;
    let audience = app.demo.services.audiences.named(PEOPLE).await.unwrap().unwrap();
    let alice = app.user_id_of(ALICE).await;
    app.demo.services.audiences.switch(&alice, &audience.id, false).await.unwrap();
    let same = async || {
        let closed = app.agent_asks(&ask()).await;
        let absent = app.agent_asks(&ask().with("audience", "https://nobody.example.com")).await;
        assert_eq!((closed.status, closed.body_text()), (absent.status, absent.body_text()));
        assert!(closed.header("x-valetkey-event").is_some() && absent.header("x-valetkey-event").is_some());
        closed.refusal()
    };
    assert_eq!(same().await, refused(400, "invalid_target"));
    app.administers("POST", "/api/v1/stops", json!({ "agent": app.personal.id, "reason": "drill" })).await;
    assert_eq!(
        app.agent_asks(&ask().with("audience", "https://nobody.example.com")).await.refusal().1,
        "access_denied"
    );
    app.stops().await;
}

#[actix_web::test]
async fn an_employee_an_admin_and_the_kill_switch_each_end_it_on_the_next_request() {
    let app = TestApp::start().await;
    let alice = app.user_id_of(ALICE).await;
    let audience = app.demo.services.audiences.named(PEOPLE).await.unwrap().unwrap();
    assert_eq!(app.agent_asks(&ask()).await.status, 200);
    let registry = &app.demo.services.audiences;
    registry.switch(&alice, &audience.id, false).await.unwrap();
    assert_eq!(app.agent_asks(&ask()).await.refusal(), refused(400, "invalid_target"));
    // Bob has not switched it off.
    let bobs = ask().by(&app.assistant).showing(&app.id_token_of(BOB));
    assert_eq!(app.agent_asks(&bobs).await.status, 200);
    registry.switch(&alice, &audience.id, true).await.unwrap();
    assert_eq!(app.agent_asks(&ask()).await.status, 200);
    let user = format!("/api/v1/users/{alice}");
    assert_eq!(app.administers("PATCH", &user, json!({ "groups": [] })).await.status, 200);
    assert_eq!(app.agent_asks(&ask()).await.refusal(), refused(400, "invalid_target"));
    assert_eq!(
        app.administers("PATCH", &user, json!({ "groups": ["staff"], "state": "disabled" })).await.status,
        200
    );
    assert_eq!(app.agent_asks(&ask()).await.refusal(), refused(400, "access_denied"));
    assert_eq!(app.administers("PATCH", &user, json!({ "state": "active" })).await.status, 200);
    let stop = app
        .administers("POST", "/api/v1/stops", json!({ "agent": app.personal.id, "reason": "drill" }))
        .await;
    assert_eq!(stop.status, 201, "{}", stop.body_text());
    assert_eq!(app.agent_asks(&ask()).await.refusal(), refused(400, "access_denied"));
    app.stops().await;
}

#[actix_web::test]
async fn a_sub_agent_acts_for_the_same_person_and_never_with_more() {
    let app = TestApp::start().await;
    let issuer = app.demo.issuer.as_str().trim_end_matches('/').to_owned();
    let shown =
        Ask::at("entra").by(&app.assistant).showing(&app.id_token_of(ALICE)).with("audience", &issuer);
    let sent = app.agent_asks(&shown.clone().scope("leave.read").with("may_act", &app.personal.id)).await;
    assert_eq!(sent.status, 200, "{}", sent.body_text());
    let sent = sent.text("access_token");
    let used = ask().with("subject_token", &sent).with("subject_token_type", TYPE_JWT);
    let token = app.agent_asks(&used).await.text("access_token");
    let claims = part(&token, 1);
    assert_eq!(claims["act"], json!({ "sub": app.personal.id, "act": { "sub": app.assistant.id } }));
    assert_eq!(
        (&claims["scope"], &claims["sub"]),
        (&json!("leave.read"), &json!(app.user_id_of(ALICE).await))
    );
    assert_eq!(app.asks_back_end(&token, "/leave").await.status, 200);
    let wider = app.agent_asks(&used.clone().scope("leave.read salary.read")).await;
    assert_eq!(wider.refusal(), refused(400, "invalid_scope"));
    // It is for that agent only, opens no back end by itself, and no provider.
    assert_eq!(
        app.agent_asks(&used.clone().by(&app.assistant)).await.refusal(),
        refused(400, "invalid_request")
    );
    assert_eq!(app.asks_back_end(&sent, "/leave").await.status, 401);
    let provider = app.agent_asks(&used.clone().with("audience", "provider:entra")).await;
    assert_eq!(provider.refusal(), refused(400, "invalid_request"));
    // While it is stopped an agent sends nobody.
    let stop =
        app.administers("POST", "/api/v1/stops", json!({ "agent": app.assistant.id, "reason": "drill" }));
    let stop = stop.await.text("id");
    let again = shown.clone().scope("leave.read").with("may_act", &app.personal.id);
    assert_eq!(app.agent_asks(&again).await.refusal(), refused(400, "access_denied"));
    let lifted = app.administers("POST", &format!("/api/v1/stops/{stop}/resume"), Value::Null).await;
    assert!(lifted.status < 300, "{}", lifted.body_text());
    assert_eq!(app.agent_asks(&again).await.status, 200);
    // Whoever stands behind is judged as well.
    let suspend = format!("/api/v1/agents/{}/suspend", app.assistant.id);
    assert_eq!(app.administers("POST", &suspend, Value::Null).await.status, 200);
    assert_eq!(app.agent_asks(&used).await.refusal(), refused(400, "invalid_request"));
    assert_eq!(app.introspects(&app.personal, &token).await, json!({ "active": false }));
    app.stops().await;
}

#[actix_web::test]
async fn signing_keys_rotate_with_overlap() {
    let app = TestApp::start().await;
    let keys = async || {
        let answer = app.traffic.send("GET", &app.at("/.well-known/jwks.json"), &[], b"").await;
        let set = answer.json()["keys"].as_array().unwrap().clone();
        assert!(set.iter().all(|key| key.get("d").is_none()));
        set.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = app.agent_asks(&ask()).await.text("access_token");
    let before = keys().await;
    let rotated =
        app.administers("POST", "/api/v1/signing-keys/rotate", json!({ "algorithm": "EdDSA" })).await;
    assert_eq!(rotated.status, 200, "{}", rotated.body_text());
    let published = keys().await;
    assert_eq!((before.len(), published.len()), (1, 2));
    // Published first, used an hour later; what the old one signed holds until it ends.
    assert_eq!(part(&app.agent_asks(&ask()).await.text("access_token"), 0)["kid"], json!(before[0]));
    assert_eq!(app.asks_back_end(&first, "/leave").await.status, 200);
    app.demo.advance(Duration::from_secs(3601));
    let second = app.agent_asks(&ask()).await.text("access_token");
    assert_ne!(part(&second, 0)["kid"], json!(before[0]));
    assert_eq!(app.asks_back_end(&second, "/leave").await.status, 200);
    app.demo.advance(Duration::from_secs(2 * 3600));
    app.demo.services.tokens.keys.keep_fresh().await.unwrap();
    assert_eq!(keys().await.len(), 1);
    app.stops().await;
}

#[actix_web::test]
async fn an_employee_switches_a_service_off_and_on_again_on_their_page() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("okta", "okta.users.read.self").await;
    assert_eq!(app.agent_asks(&ask()).await.status, 200);
    for (action, status) in [("off", 400), ("on", 200)] {
        let home = app.alice.opens(&app.at("/")).await;
        assert!(home.html.contains("People service"), "{}", home.title());
        let form = home.forms().into_iter().find(|form| form.action.starts_with("/services/")).unwrap();
        assert!(form.action.ends_with(action), "{}", form.action);
        let done = app.alice.sends(&app.at(&form.action), &form.fields).await;
        assert_eq!(done.status, 200, "{}", done.title());
        assert_eq!(app.agent_asks(&ask()).await.status, status);
        // A form of another site changes nothing.
        let forged = app.alice.sends(&app.at(&form.action), &[("csrf".to_owned(), "x".to_owned())]).await;
        assert_eq!(forged.status, 403, "{}", forged.title());
    }
    app.stops().await;
}

#[actix_web::test]
async fn guessing_a_back_ends_secret_is_slowed_down_and_locks_it_not_out() {
    let app = TestApp::start().await;
    let terms = json!({ "identifier": "https://ledger.example.com", "name": "Ledger", "purpose": "Invoices",
        "scopes": "invoice.read" });
    let made = app.administers("POST", "/api/v1/audiences", terms).await;
    let ledger = Credentials { id: made.text("id"), secret: made.text("client_secret") };
    let wrong = Credentials { secret: app.personal.secret.clone(), ..ledger.clone() };
    let fields = [("token".to_owned(), "x.y.z".to_owned())];
    let mut throttled = 0;
    for _ in 0..30 {
        let answer = app.posts("/oauth2/introspect", &wrong, &fields).await;
        match answer.status {
            429 => {
                assert!(answer.header("retry-after").is_some());
                throttled += 1;
            }
            status => assert_eq!(status, 401, "{}", answer.body_text()),
        }
    }
    assert!(throttled > 0);
    assert_eq!(app.posts("/oauth2/introspect", &ledger, &fields).await.status, 200);
    app.stops().await;
}
