//! The product under test, with methods named after what people and agents do.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use url::Url;
use valetkey::app::demo::cast::CastAgent;
use valetkey::app::demo::headless::browser::Page;
use valetkey::app::demo::people::{ALICE, BOB, MALLORY};
use valetkey::app::demo::{self, Demo, DemoOptions, Ground};
use valetkey::kernel::ids::UserId;
use valetkey::model::user::{User, email_index};
use valetkey::tokens::dpop::ShownProof;
use valetkey::tokens::{
    GRANT_CIBA, GRANT_EXCHANGE, Scheme, ShownToken, TYPE_ACCESS, TYPE_ID_TOKEN, TYPE_USER, VerifiedToken,
};

use crate::browser::{Answers, Arrived, Browser, encoded};
use crate::wire::{Answer, Traffic};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub id: String,
    pub secret: String,
}

impl Credentials {
    fn of(agent: &CastAgent) -> Self {
        Self { id: agent.id.to_string(), secret: agent.secret.expose().clone() }
    }

    pub fn basic(&self) -> String {
        let joined = format!("{}:{}", self.id, self.secret);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(joined))
    }
}

/// A request to the token endpoint: valid until a test bends one field.
#[derive(Clone, Debug)]
pub struct Ask {
    by: Option<Credentials>,
    fields: Vec<(String, String)>,
}

impl Ask {
    /// Alice's personal agent asks to act for her at a provider.
    pub fn at(provider: &str) -> Self {
        let fields = [
            ("grant_type", GRANT_EXCHANGE),
            ("subject_token", ALICE),
            ("subject_token_type", TYPE_USER),
            ("audience", &format!("provider:{provider}")),
        ];
        Self { by: None, fields: fields.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec() }
    }

    pub fn by(mut self, agent: &Credentials) -> Self {
        self.by = Some(agent.clone());
        self
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(other, _)| other != name);
        self.and(name, value)
    }

    /// Adds a field even where there is one of that name.
    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn fields(&self) -> &[(String, String)] {
        &self.fields
    }

    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(other, _)| other != name);
        self
    }

    pub fn scope(self, scopes: &str) -> Self {
        self.with("scope", scopes)
    }

    pub fn for_a_provider_token(self) -> Self {
        self.with("requested_token_type", TYPE_ACCESS)
    }

    pub fn naming(self, user: &str) -> Self {
        self.with("subject_token", user)
    }

    pub fn showing(self, id_token: &str) -> Self {
        self.with("subject_token", id_token).with("subject_token_type", TYPE_ID_TOKEN)
    }
}

/// The product under test.
pub struct TestApp {
    pub demo: Demo,
    pub traffic: Traffic,
    pub personal: Credentials,
    pub assistant: Credentials,
    pub autonomous: Credentials,
    pub alice: Browser,
    pub bob: Browser,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_on(Ground::default()).await
    }

    pub async fn start_on(ground: Ground) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let demo = demo::start(DemoOptions { listen, info: None, ground }).await.unwrap();
        let traffic = Traffic::default();
        Self {
            personal: Credentials::of(&demo.cast.personal),
            assistant: Credentials::of(&demo.cast.assistant),
            autonomous: Credentials::of(&demo.cast.autonomous),
            alice: browser_of(&demo, &traffic, ALICE),
            bob: browser_of(&demo, &traffic, BOB),
            demo,
            traffic,
        }
    }

    /// Another browser with the same person in front of it.
    pub fn another_browser_of(&self, email: &str) -> Browser {
        browser_of(&self.demo, &self.traffic, email)
    }

    pub fn at(&self, path: &str) -> Url {
        self.demo.issuer.join(path).unwrap()
    }

    /// An ID token of the sign-in provider, as an assistant's app would hold it.
    pub fn id_token_of(&self, email: &str) -> String {
        self.demo.sandbox.id_token(email, valetkey::sandbox::ASSISTANT_CLIENT).unwrap()
    }

    pub async fn user_id_of(&self, email: &str) -> UserId {
        let found = self.demo.services.store.find::<User>("email", &email_index(email)).await.unwrap();
        found[0].id.clone()
    }

    // Agents.

    pub async fn posts(&self, path: &str, by: &Credentials, fields: &[(String, String)]) -> Answer {
        let headers =
            [("Authorization", by.basic()), ("Content-Type", "application/x-www-form-urlencoded".to_owned())];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        self.traffic.send("POST", &self.at(path), &headers, encoded(fields).as_bytes()).await
    }

    pub async fn agent_asks(&self, ask: &Ask) -> Answer {
        let by = ask.by.as_ref().unwrap_or(&self.personal);
        self.posts("/oauth2/token", by, &ask.fields).await
    }

    /// Asks with further headers, such as a proof of possession.
    pub async fn agent_asks_with(&self, ask: &Ask, headers: &[(&str, &str)]) -> Answer {
        let basic = ask.by.as_ref().unwrap_or(&self.personal).basic();
        let mut all =
            vec![("Authorization", basic.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        let body = encoded(&ask.fields);
        self.traffic.send("POST", &self.at("/oauth2/token"), &all, body.as_bytes()).await
    }

    pub async fn polls(&self, auth_req_id: &str) -> Answer {
        self.polls_as(&self.personal, auth_req_id).await
    }

    pub async fn polls_as(&self, agent: &Credentials, auth_req_id: &str) -> Answer {
        let fields = [("grant_type", GRANT_CIBA), ("auth_req_id", auth_req_id)]
            .map(|(n, v)| (n.to_owned(), v.to_owned()));
        self.posts("/oauth2/token", agent, &fields).await
    }

    pub async fn introspects(&self, agent: &Credentials, token: &str) -> Value {
        let answer = self.posts("/oauth2/introspect", agent, &[("token".to_owned(), token.to_owned())]).await;
        assert_eq!(answer.status, 200, "{}", answer.body_text());
        answer.json()
    }

    pub async fn gives_back(&self, agent: &Credentials, token: &str) -> Answer {
        self.posts("/oauth2/revoke", agent, &[("token".to_owned(), token.to_owned())]).await
    }

    pub async fn calls(&self, token: &str, method: &str, path: &str) -> Answer {
        self.calls_with(token, method, path, &[], b"").await
    }

    pub async fn calls_with(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let authorization = format!("Bearer {token}");
        let mut all = vec![("Authorization", authorization.as_str())];
        all.extend_from_slice(headers);
        self.traffic.send(method, &self.at(&format!("/gateway/{path}")), &all, body).await
    }

    /// A token as a call would show it that needs no proof.
    pub async fn verified(&self, token: &str) -> VerifiedToken {
        let (scheme, proof) = (Scheme::Bearer, ShownProof::Missing);
        let shown = ShownToken { scheme, token, proof, method: "GET", path: "/gateway/", certificate: None };
        self.demo.services.gateway.authenticate(&shown).await.unwrap()
    }

    // People.

    pub async fn alice_agrees_to(&mut self, question: &Answer, scopes: &[&str]) -> Page {
        let answers = Answers { ticks: scopes, ..Answers::default() };
        self.alice_answers(question, answers).await
    }

    pub async fn alice_answers(&mut self, question: &Answer, answers: Answers<'_>) -> Page {
        match self.alice.walks(&page_of(question), answers).await {
            Arrived::Page(page) => page,
            Arrived::Before(url) => panic!("stopped before {url}"),
        }
    }

    /// Alice agrees and consents, and her browser is about to open the callback.
    pub async fn alice_stops_before_the_callback(&mut self, question: &Answer, scopes: &[&str]) -> Url {
        let answers = Answers { ticks: scopes, stops_before: Some("/callback/"), ..Answers::default() };
        match self.alice.walks(&page_of(question), answers).await {
            Arrived::Before(url) => url,
            Arrived::Page(page) => panic!("no callback came: {} {}", page.status, page.title()),
        }
    }

    /// The whole way to a token for those scopes: asked, agreed, collected.
    pub async fn alice_has_granted(&mut self, provider: &str, scopes: &str) -> Answer {
        self.alice_has_answered(&Ask::at(provider).scope(scopes), scopes).await
    }

    pub async fn alice_has_answered(&mut self, ask: &Ask, scopes: &str) -> Answer {
        let question = self.agent_asks(ask).await;
        assert_eq!(question.refusal(), (400, "interaction_required".to_owned()), "{}", question.body_text());
        let ticks: Vec<&str> = scopes.split(' ').collect();
        let page = self.alice_agrees_to(&question, &ticks).await;
        assert_eq!(page.status, 200, "{}", page.title());
        let by = ask.by.clone().unwrap_or_else(|| self.personal.clone());
        let answer = self.polls_as(&by, &question.text("auth_req_id")).await;
        assert_eq!(answer.status, 200, "{}", answer.body_text());
        answer
    }

    // The administrator.

    pub async fn admin(&self, method: &str, path: &str, body: &Value) -> Answer {
        let authorization = format!("Bearer {}", self.demo.cast.admin_token.expose());
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.traffic.send(method, &self.at(&format!("/api/v1{path}")), &headers, &body).await
    }

    pub async fn admin_does(&self, path: &str, body: &Value) -> Value {
        let answer = self.admin("POST", path, body).await;
        assert!((200..300).contains(&answer.status), "{path}: {} {}", answer.status, answer.body_text());
        answer.json()
    }

    // The sandbox.

    fn sandbox(&self, path: &str) -> Url {
        Url::parse(&format!("{}/_sandbox/{path}", self.demo.sandbox.url)).unwrap()
    }

    pub async fn provider_will(&self, provider: &str, fault: Value) {
        let url = self.sandbox(&format!("{provider}/faults"));
        let headers = [("Content-Type", "application/json")];
        let answer = self.traffic.send("POST", &url, &headers, fault.to_string().as_bytes()).await;
        assert_eq!(answer.status, 204, "{}", answer.body_text());
    }

    /// No fault is left.
    pub async fn provider_is_well(&self, provider: &str) {
        let url = self.sandbox(&format!("{provider}/faults"));
        let answer = self.traffic.send("DELETE", &url, &[], b"").await;
        assert_eq!(answer.status, 204, "{}", answer.body_text());
    }

    /// From now on a spent refresh token that comes back ends its whole family there.
    pub async fn re_use_ends_the_family_at(&self, provider: &str) {
        let url = self.sandbox(&format!("{provider}/refresh"));
        let answer = self.traffic.send("PUT", &url, &[], br#"{"rotation": "ends_family"}"#).await;
        assert_eq!(answer.status, 204, "{}", answer.body_text());
    }

    pub async fn state_of(&self, provider: &str) -> Value {
        self.traffic.send("GET", &self.sandbox(&format!("{provider}/state")), &[], b"").await.json()
    }

    pub async fn token_calls_at(&self, provider: &str) -> u64 {
        self.state_of(provider).await["token_calls"].as_u64().unwrap()
    }

    pub async fn refreshes_at(&self, provider: &str) -> u64 {
        self.state_of(provider).await["refreshes"][ALICE].as_u64().unwrap_or(0)
    }

    pub async fn data_calls_at(&self, provider: &str) -> Vec<Value> {
        self.state_of(provider).await["api_calls"].as_array().cloned().unwrap()
    }

    pub fn pass(&self, seconds: u64) {
        self.demo.advance(Duration::from_secs(seconds));
    }

    /// The grants that hold now, as the administrator sees them.
    pub async fn live_grants(&self) -> Vec<Value> {
        let answer = self.admin("GET", "/grants", &json!(null)).await;
        assert_eq!(answer.status, 200, "{}", answer.body_text());
        let all = answer.json()["items"].as_array().cloned().unwrap();
        all.into_iter().filter(|grant| grant["state"]["state"] == "active").collect()
    }

    /// The questions that were ever opened.
    pub async fn questions(&self) -> usize {
        self.admin("GET", "/interactions", &json!(null)).await.json()["items"].as_array().unwrap().len()
    }

    pub async fn stops(self) {
        self.demo.stop().await;
    }
}

/// Where a person has to go.
pub fn page_of(question: &Answer) -> Url {
    Url::parse(&question.text("interaction_uri")).unwrap_or_else(|_| panic!("{}", question.body_text()))
}

/// As the sandbox records tokens.
pub fn fingerprint(token: &str) -> String {
    valetkey::sandbox::tokens::sha256(token)
}

fn browser_of(demo: &Demo, traffic: &Traffic, email: &str) -> Browser {
    let passwords = [ALICE, BOB, MALLORY]
        .into_iter()
        .map(|who| (who.to_owned(), demo.passwords.of(who).unwrap().to_owned()))
        .collect();
    Browser::new(traffic.clone(), email, passwords)
}
