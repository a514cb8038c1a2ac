//! A broker with its sandbox, one employee's browser and her agent.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use valetkey::app::demo::people::ALICE;
use valetkey::app::demo::{self, Demo, DemoOptions, Ground};

use crate::agent::{Agent, Answer};
use crate::browser::{Browser, Page, client};

/// Nothing of our own works may be in an answer.
const INTERNALS: [&str; 9] =
    ["src/", ".rs:", "panick", "serde", "Error(", "valetkey::", "sled", "reqwest", "backtrace"];

pub struct Broker {
    pub demo: Demo,
    pub agent: Agent,
    pub browser: Browser,
    pub http: Client,
    pub base: String,
}

/// What holds for every error body that an agent or a script reads.
pub fn assert_clear(answer: &Answer, what: &str) {
    let body = answer.json();
    let words = body.get("error_description").or(body.get("detail")).and_then(Value::as_str);
    let words = words.unwrap_or_else(|| panic!("{what}: no words: {body}"));
    assert!(words.len() > 10, "{what}: it says what to do: {words}");
    let said = answer.body.as_str();
    let inside: Vec<_> = INTERNALS.iter().filter(|word| said.contains(**word)).collect();
    assert!(inside.is_empty(), "{what}: {inside:?} in {said}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
}

impl Broker {
    pub async fn start() -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let demo = demo::start(DemoOptions { listen, info: None, ground: Ground::default() }).await.unwrap();
        let base = demo.issuer.as_str().trim_end_matches('/').to_owned();
        let personal = &demo.cast.personal;
        let agent = Agent::new(&base, personal.id.as_str(), personal.secret.expose());
        Self { agent, base, browser: Browser::new(), http: client(), demo }
    }

    pub async fn stop(self) {
        self.demo.stop().await;
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.http.request(method.parse::<Method>().unwrap(), format!("{}{path}", self.base))
    }

    pub async fn go_on(&mut self, page: Page) -> Page {
        let password = self.demo.passwords.of(ALICE).unwrap().to_owned();
        self.browser.go_on(page, ALICE, &password, "").await
    }

    /// Asks for a provider; the page's address.
    pub async fn ask(&self, provider: &str) -> String {
        let asked = self.agent.exchange(ALICE, provider).await;
        assert_eq!(asked.error().1, "interaction_required", "{provider}: {}", asked.body);
        asked.text("interaction_uri")
    }

    /// Agrees to everything that is asked, at our page and at the provider's.
    pub async fn agree(&mut self, uri: &str) -> Page {
        let page = self.browser.open(uri).await;
        self.go_on(page).await
    }

    pub async fn connect(&mut self, provider: &str) {
        let uri = self.ask(provider).await;
        let page = self.agree(&uri).await;
        assert_eq!(page.status, 200, "{provider}: {}", page.title());
    }

    /// A token by exchange, spent on one call.
    pub async fn call(&self, provider: &str) -> Answer {
        let got = self.agent.exchange(ALICE, provider).await;
        assert_eq!(got.status, 200, "{provider}: {}", got.body);
        let act = valetkey::app::demo::headless::act_for(provider);
        self.agent.call(&got.text("access_token"), provider, act.allowed).await
    }

    /// Alice's own page, as she reads it.
    pub async fn home(&mut self) -> String {
        let url = format!("{}/", self.base);
        let page = self.browser.open(&url).await;
        let page = self.go_on(page).await;
        assert_eq!((page.status, page.url.path()), (200, "/"), "{}", page.title());
        page.text()
    }

    pub async fn fault(&self, provider: &str, endpoint: &str, kind: &str, value: Value) {
        let url = format!("{}/_sandbox/{provider}/faults", self.demo.sandbox.url);
        let fault = json!({ "endpoint": endpoint, "kind": kind, "value": value });
        let answer = Answer::of(self.http.post(url).body(fault.to_string())).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
    }

    pub async fn state(&self, provider: &str) -> Value {
        let url = format!("{}/_sandbox/{provider}/state", self.demo.sandbox.url);
        Answer::of(self.http.get(url)).await.json()
    }

    pub async fn refreshes(&self, provider: &str) -> u64 {
        self.state(provider).await["refreshes"][ALICE].as_u64().unwrap_or(0)
    }

    pub fn wait(&self, seconds: u64) {
        self.demo.advance(Duration::from_secs(seconds));
    }

    /// Waits until the provider's access token is over.
    pub fn outlive_the_token(&self, provider: &str) {
        self.wait(valetkey::app::demo::headless::act_for(provider).access_life_s + 60);
    }
}
