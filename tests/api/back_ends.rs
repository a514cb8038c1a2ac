//! What a back end's registration says holds: its own rows only, for the people that it names, for as long as it
//! says; and its page tells of every call.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::Url;
use valetkey::app::demo::people::{ALICE, BOB};

use crate::app::{Ask, TestApp};
use crate::wire::{Answer, refused};

const PEOPLE: &str = "https://people.example.com";
const LEDGER: &str = "https://ledger.example.com";

impl TestApp {
    async fn calls_back_end(&self, token: Option<&str>, path: &str) -> Answer {
        let url = Url::parse(&self.demo.backend).unwrap().join(path).unwrap();
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> =
            bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        self.traffic.send("GET", &url, &headers, b"").await
    }

    /// The assistant asks for that person.
    async fn assistant_asks(&self, email: &str, audience: &str, scope: &str) -> Answer {
        let ask = Ask::at("entra").with("audience", audience).by(&self.assistant);
        self.agent_asks(&ask.showing(&self.id_token_of(email)).scope(scope)).await
    }

    async fn registers_ledger(&self, bend: impl FnOnce(&mut Value)) -> Answer {
        let mut terms = json!({ "identifier": LEDGER, "name": "Ledger", "purpose": "Invoices",
            "scopes": "invoice.read",
            "admissions": [{ "agents": [self.assistant.id], "for": "everyone", "scopes": ["invoice.read"] }] });
        bend(&mut terms);
        self.admin("POST", "/audiences", &terms).await
    }
}

#[actix_web::test]
async fn everybody_sees_their_own_salary_and_the_page_tells_who_asked() {
    let app = TestApp::start().await;
    for (email, salary) in [(ALICE, 62_000), (BOB, 58_000)] {
        let token = app.assistant_asks(email, PEOPLE, "salary.read").await.text("access_token");
        let rows = app.calls_back_end(Some(&token), "/salary").await;
        assert_eq!(
            (rows.status, rows.json()),
            (200, json!({ "rows": [{ "user": email, "salary": salary }] }))
        );
    }
    assert_eq!(app.calls_back_end(None, "/salary").await.status, 401);
    let page = app.calls_back_end(None, "/").await;
    assert_eq!(page.status, 200);
    let html = page.body_text();
    for email in [ALICE, BOB] {
        let told = format!("<td>{} for {email} (staff)</td><td>1 of 2 rows</td>", app.assistant.id);
        assert!(html.contains(&told), "{told}: {html}");
    }
    assert!(html.contains("<td>nobody</td><td>refused: "), "{html}");
    assert!(!html.contains("62000") && !html.contains("62_000"), "the page tells of calls, not of rows");
    app.stops().await;
}

#[actix_web::test]
async fn a_registration_that_names_people_is_open_for_them_alone() {
    let app = TestApp::start().await;
    let alice = app.user_id_of(ALICE).await;
    let made =
        app.registers_ledger(|terms| terms["admissions"][0]["for"] = json!({ "users": [alice] })).await;
    assert_eq!(made.status, 201, "{}", made.body_text());
    assert_eq!(app.assistant_asks(ALICE, LEDGER, "invoice.read").await.status, 200);
    let bobs = app.assistant_asks(BOB, LEDGER, "invoice.read").await;
    assert_eq!(bobs.refusal(), refused(400, "invalid_target"), "{}", bobs.body_text());
    app.stops().await;
}

#[actix_web::test]
async fn a_token_lives_as_long_as_the_registration_says() {
    let app = TestApp::start().await;
    for outside in [9, 3601] {
        let answer = app.registers_ledger(|terms| terms["token_life_s"] = json!(outside)).await;
        assert_eq!(answer.status, 400, "{outside}: {}", answer.body_text());
        assert!(answer.text("detail").contains("token_life_s"), "{}", answer.body_text());
    }
    let made = app.registers_ledger(|terms| terms["token_life_s"] = json!(60)).await;
    assert_eq!(made.status, 201, "{}", made.body_text());
    let answer = app.assistant_asks(ALICE, LEDGER, "invoice.read").await;
    let token = answer.text("access_token");
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let moment = |name: &str| claims[name].as_i64().unwrap();
    assert_eq!((moment("exp") - moment("iat"), &answer.json()["expires_in"]), (60, &json!(60)));
    app.stops().await;
}
