//! A broker, agents that are registered in one call, and a question that only an authenticated agent gets an
//! answer to.

use serde_json::{Value, json};
use valetkey::app::demo::people::ALICE;
use valetkey::audit::EventFilter;
use valetkey::kernel::clock::Clock as _;

use crate::app::TestApp;
use crate::browser::encoded;
use crate::draft::Draft;
use crate::wire::{Answer, refused};

/// RFC 7523, section 2.2.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// One thing that is wrong, and what the log must say of it.
pub type Row = (&'static str, fn(&mut Draft<'_>), &'static str);

impl TestApp {
    pub fn issuer(&self) -> String {
        self.demo.issuer.as_str().trim_end_matches('/').to_owned()
    }

    pub fn now(&self) -> i64 {
        self.demo.clock.now().secs()
    }

    /// A new agent; its id and secret.
    pub async fn new_agent(&self) -> (String, String) {
        let body =
            json!({"kind": "autonomous", "name": "Nightly report", "purpose": "Counts", "owner": ALICE});
        let made = self.admin_does("/agents", &body).await;
        (made["id"].as_str().unwrap().to_owned(), made["client_secret"].as_str().unwrap().to_owned())
    }

    pub async fn states_sign_in(&self, agent: &str, ways: &Value) -> Answer {
        self.admin("PUT", &format!("/agents/{agent}/sign-in"), ways).await
    }

    /// A new agent that signs in so.
    pub async fn agent_with(&self, ways: &Value) -> String {
        let (agent, _) = self.new_agent().await;
        let answer = self.states_sign_in(&agent, ways).await;
        assert_eq!(answer.status, 200, "{}", answer.body_text());
        agent
    }

    pub async fn trusts(&self, source: &Value) -> String {
        self.admin_does("/trust-sources", source).await["id"].as_str().unwrap().to_owned()
    }

    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let fields: Vec<(String, String)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        self.traffic.send("POST", &self.at(path), &headers, encoded(&fields).as_bytes()).await
    }

    /// Shows an assertion at an endpoint.
    pub async fn shows_at(&self, path: &str, client_id: Option<&str>, token: &str) -> Answer {
        let mut fields =
            vec![("client_assertion_type", ASSERTION_TYPE), ("client_assertion", token), ("token", "x")];
        fields.extend(client_id.map(|id| ("client_id", id)));
        self.form(path, &fields).await
    }

    pub async fn shows(&self, draft: &Draft<'_>) -> Answer {
        self.shows_at("/oauth2/introspect", draft.client_id.as_deref(), &draft.token()).await
    }

    pub async fn is_let_in(&self, draft: &Draft<'_>) -> bool {
        let answer = self.shows(draft).await;
        match answer.status {
            200 => {
                assert_eq!(answer.json(), json!({"active": false}));
                true
            }
            _ => {
                assert_eq!(answer.refusal(), refused(401, "invalid_client"), "{}", answer.body_text());
                false
            }
        }
    }

    /// Why the agent was refused last, as the log has it. Refusals are written without waiting.
    pub async fn last_reason(&self, agent: &str) -> String {
        let filter = EventFilter { agent: Some(agent.parse().unwrap()), ..EventFilter::default() };
        for _ in 0..200 {
            let events = self.demo.services.audit.recent(&filter, 5);
            let refusal = events.iter().find(|event| event.draft.action == "agent.sign_in_refused");
            if let Some(event) = refusal {
                return event.draft.reasons.join("; ");
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("no event of the refusal");
    }
}
