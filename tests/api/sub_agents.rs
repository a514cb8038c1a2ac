//! Agents that send one another: who stands behind whom is in the token, and there is an end to it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use valetkey::app::demo::people::ALICE;
use valetkey::tokens::TYPE_JWT;

use crate::app::{Ask, Credentials, TestApp};
use crate::wire::{Answer, refused};

const LEDGER: &str = "https://ledger.example.com";

impl TestApp {
    /// Five assistants, and a back end that admits them all for everybody.
    async fn five_at_the_ledger(&self) -> Vec<Credentials> {
        let mut agents = vec![self.assistant.clone()];
        for name in ["Second", "Third", "Fourth", "Fifth"] {
            let stated = json!({ "kind": "assistant", "name": name, "purpose": "Adds up", "owner": ALICE,
                "audience_ceiling": { LEDGER: "invoice.read" } });
            let made = self.admin_does("/agents", &stated).await;
            let text = |name: &str| made[name].as_str().unwrap().to_owned();
            agents.push(Credentials { id: text("id"), secret: text("client_secret") });
        }
        let ids: Vec<&str> = agents.iter().map(|agent| agent.id.as_str()).collect();
        let terms = json!({ "identifier": LEDGER, "name": "Ledger", "purpose": "Invoices", "scopes": "invoice.read",
            "admissions": [{ "agents": ids, "for": "everyone", "scopes": ["invoice.read"] }] });
        self.admin_does("/audiences", &terms).await;
        agents
    }

    /// The first agent sends another one, for Alice.
    async fn sends_first(&self, whom: &Credentials) -> Answer {
        let shown = Ask::at("entra").by(&self.assistant).showing(&self.id_token_of(ALICE));
        let sending = shown.with("audience", &self.own_issuer()).scope("invoice.read");
        self.agent_asks(&sending.with("may_act", &whom.id)).await
    }

    /// An agent that was sent with that token sends another one.
    async fn sends_on(&self, agent: &Credentials, with: &str, whom: &Credentials) -> Answer {
        let sending = sent(agent, with).with("audience", &self.own_issuer()).scope("invoice.read");
        self.agent_asks(&sending.with("may_act", &whom.id)).await
    }

    fn own_issuer(&self) -> String {
        self.demo.issuer.as_str().trim_end_matches('/').to_owned()
    }
}

/// An agent shows the token that it was sent with.
fn sent(agent: &Credentials, with: &str) -> Ask {
    Ask::at("entra").by(agent).with("subject_token", with).with("subject_token_type", TYPE_JWT)
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn end(token: &str) -> i64 {
    claims(token)["exp"].as_i64().unwrap()
}

#[actix_web::test]
async fn four_agents_stand_behind_one_another_and_no_fifth() {
    let app = TestApp::start().await;
    let agents = app.five_at_the_ledger().await;
    let [a, b, c, d, e] = agents.as_slice() else { panic!() };
    let for_b = app.sends_first(b).await;
    assert_eq!(for_b.status, 200, "{}", for_b.body_text());
    let for_c = app.sends_on(b, &for_b.text("access_token"), c).await;
    assert_eq!(for_c.status, 200, "{}", for_c.body_text());
    let for_d = app.sends_on(c, &for_c.text("access_token"), d).await;
    assert_eq!(for_d.status, 200, "{}", for_d.body_text());
    let for_d = for_d.text("access_token");

    // The current actor is outermost, whoever has sent it inside (RFC 8693, section 4.1).
    let at_ledger = app.agent_asks(&sent(d, &for_d).with("audience", LEDGER)).await;
    assert_eq!(at_ledger.status, 200, "{}", at_ledger.body_text());
    let claims = claims(&at_ledger.text("access_token"));
    let behind = json!({ "sub": c.id, "act": { "sub": b.id, "act": { "sub": a.id } } });
    assert_eq!(claims["act"], json!({ "sub": d.id, "act": behind }));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(app.user_id_of(ALICE).await), &json!(d.id)));

    let fifth = app.sends_on(d, &for_d, e).await;
    assert_eq!(fifth.refusal(), refused(400, "invalid_request"), "{}", fifth.body_text());
    assert!(fifth.text("error_description").contains("too many agents"), "{}", fifth.body_text());
    app.stops().await;
}

#[actix_web::test]
async fn nobody_lives_longer_by_sending_on() {
    let app = TestApp::start().await;
    let agents = app.five_at_the_ledger().await;
    let (b, c) = (&agents[1], &agents[2]);
    let first = app.sends_first(b).await.text("access_token");
    app.demo.advance(Duration::from_secs(200));
    for (whom, who) in [(c, "another agent"), (b, "itself")] {
        let on = app.sends_on(b, &first, whom).await;
        assert_eq!(on.status, 200, "{who}: {}", on.body_text());
        let claims = claims(&on.text("access_token"));
        let (issued, ends) = (claims["iat"].as_i64().unwrap(), end(&first));
        assert_eq!(claims["exp"], json!(ends), "{who}");
        assert_eq!(on.json()["expires_in"], json!(ends - issued), "{who}");
    }
    let own = app.sends_on(b, &first, b).await.text("access_token");
    app.demo.advance(Duration::from_secs(101));
    let late = app.agent_asks(&sent(b, &own).with("audience", LEDGER)).await;
    assert_eq!(late.refusal(), refused(400, "invalid_request"), "{}", late.body_text());
    app.stops().await;
}
