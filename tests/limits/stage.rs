//! A running product with one agent that holds a grant for everything, tokens narrowed by limits, the provider
//! token that Valetkey itself uses, and the names and identifiers of what the sandbox holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use url::Url;
use valetkey::sandbox::desk::Desk;
use valetkey::sandbox::record::Seen;

use crate::app::{Ask, Credentials, TestApp};
use crate::row::{Bounds, Row, Table};
use crate::wire::Answer;

const DAY: i64 = 24 * 3600;

/// Something at the provider.
#[derive(Clone, Debug)]
pub struct Thing {
    pub id: String,
    /// The words of the bounds that it lies beyond.
    pub beyond: Vec<&'static str>,
}

pub struct Stage {
    pub app: TestApp,
    pub things: BTreeMap<String, Thing>,
    pub raw: String,
    agent: Credentials,
    grant: String,
    provider: &'static str,
    api: &'static str,
    tokens: BTreeMap<&'static str, String>,
}

impl Stage {
    /// Alice grants the agent every scope of the table, without limits.
    pub async fn of(table: &Table) -> Self {
        let mut app = TestApp::start().await;
        // Noon, for limits on hours.
        let of_day = app.demo.services.clock.now().secs().rem_euclid(DAY);
        app.pass(u64::try_from((DAY + DAY / 2 - of_day) % DAY).unwrap());
        let agent = an_agent(&app, table).await;
        let ask = Ask::at(table.provider).by(&agent).scope(table.scopes);
        app.alice_has_answered(&ask, table.scopes).await;
        let raw = raw_token(&app, table.provider).await;
        Self {
            app,
            things: BTreeMap::new(),
            raw,
            agent,
            grant: String::new(),
            provider: table.provider,
            api: table.api,
            tokens: BTreeMap::new(),
        }
    }

    pub fn desk(&self) -> Arc<Desk> {
        self.app.demo.sandbox.desk(self.provider).unwrap()
    }

    /// What a call looks like with the identifiers in place of the placeholders.
    pub fn filled(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            let name = rest.find('}').map(|end| &rest[1..end]);
            match name.and_then(|name| Some((name, self.things.get(name)?))) {
                Some((name, thing)) => {
                    filled.push_str(&thing.id);
                    rest = &rest[name.len() + 2..];
                }
                None => {
                    let looks_like_one =
                        name.is_some_and(|n| n.contains(':') && !n.contains('"') && !n.contains("{"));
                    assert!(!looks_like_one, "nothing is called {name:?}");
                    filled.push('{');
                    rest = &rest[1..];
                }
            }
        }
        filled.push_str(rest);
        filled
    }

    /// Remembers something by a name.
    pub fn know(&mut self, name: impl Into<String>, id: &str, beyond: &[&'static str]) {
        let thing = Thing { id: id.to_owned(), beyond: beyond.to_vec() };
        self.things.entry(name.into()).or_insert(thing);
    }

    /// The same, with the words that stand in it.
    pub fn know_by_text(
        &mut self,
        name: impl Into<String>,
        id: &str,
        document: &Value,
        words: &[&'static str],
    ) {
        let text = document.to_string();
        let beyond: Vec<&'static str> = words.iter().copied().filter(|word| text.contains(word)).collect();
        self.know(name, id, &beyond);
    }

    /// A gateway token that these limits narrow.
    pub async fn token(&mut self, bounds: &'static Bounds) -> String {
        if let Some(token) = self.tokens.get(bounds.name) {
            return token.clone();
        }
        let ask = Ask::at(self.provider)
            .by(&self.agent)
            .with("authorization_details", &self.filled(bounds.details));
        let answer = self.app.agent_asks(&ask).await;
        assert_eq!(answer.status, 200, "{}: {}", bounds.name, answer.body_text());
        let token = answer.token();
        self.tokens.insert(bounds.name, token.clone());
        token
    }

    /// The agent makes the call at the gateway.
    pub async fn through(&mut self, bounds: &'static Bounds, row: &Row) -> Answer {
        let token = self.token(bounds).await;
        let path = format!("{}{}", self.api, self.filled(row.path()));
        let body = self.filled(row.body);
        let headers = headers(row);
        self.app.calls_with(&token, row.method(), &path, &headers, body.as_bytes()).await
    }

    /// How the gateway says that it would decide the call.
    pub async fn explained(&mut self, bounds: &'static Bounds, row: &Row) -> Value {
        if self.grant.is_empty() {
            let grants = self.app.live_grants().await;
            let own = grants.iter().find(|grant| grant["agent"] == self.agent.id.as_str());
            self.grant = own.unwrap()["id"].as_str().unwrap().to_owned();
        }
        let details: Value = serde_json::from_str(&self.filled(bounds.details)).unwrap();
        let body = self.filled(row.body);
        let call = json!({
            "method": row.method(),
            "path": format!("/gateway/{}{}", self.api, self.filled(row.path())),
            "data": (!body.is_empty()).then_some(body),
            "authorization_details": details,
        });
        self.app.admin_does(&format!("/grants/{}/explain", self.grant), &call).await
    }

    /// Somebody with the provider token makes the call at the provider.
    pub async fn directly(&self, row: &Row) -> Answer {
        self.raw_call(row.method(), &self.filled(row.path()), &headers(row), &self.filled(row.body)).await
    }

    /// A call with the provider token, in the vendor's way to show it.
    pub async fn raw_call(&self, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let mut headers = more.to_vec();
        let bearer = format!("Bearer {}", self.raw);
        let mut path = path.to_owned();
        match self.api {
            "wecom/qyapi" => {
                let mark = if path.contains('?') { '&' } else { '?' };
                path = format!("{path}{mark}access_token={}", self.raw);
            }
            "dingtalk/api" => headers.push(("x-acs-dingtalk-access-token", &self.raw)),
            _ => headers.push(("Authorization", &bearer)),
        }
        let service = if self.api == "okta/mgmt" { "okta/org" } else { self.api };
        let url = format!("{}/{service}{path}", self.app.demo.sandbox.url);
        self.app.traffic.send(method, &Url::parse(&url).unwrap(), &headers, body.as_bytes()).await
    }

    pub async fn raw_json(&self, call: &str, body: &Value) -> Value {
        let (method, path) = call.split_once(' ').unwrap();
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.raw_call(method, path, &[("Content-Type", "application/json")], &text).await;
        assert_eq!(answer.status, 200, "{call}: {}", answer.body_text());
        answer.json()
    }

    /// An address that an answer gave out, opened by somebody without any token.
    pub async fn opened_by_anybody(&self, address: &str, headers: &[(&str, &str)]) -> Answer {
        let address = Url::parse(address).unwrap();
        let origin = address.origin().ascii_serialization();
        let origins = self.app.demo.sandbox.origins();
        let (_, to) = origins.iter().find(|(from, _)| *from == origin).unwrap_or_else(|| panic!("{origin}"));
        let url = format!("{to}{}", &address[url::Position::BeforePath..]);
        self.app.traffic.send("GET", &Url::parse(&url).unwrap(), headers, b"").await
    }

    /// What the sandbox saw since `before` calls.
    pub fn seen_since(&self, before: usize) -> Vec<Seen> {
        self.desk().calls().split_off(before)
    }

    /// Puts back what calls have changed.
    pub async fn put_back(&self) {
        let url = format!("{}/_sandbox/{}/changes", self.app.demo.sandbox.url, self.provider);
        let answer = self.app.traffic.send("DELETE", &Url::parse(&url).unwrap(), &[], b"").await;
        assert_eq!(answer.status, 204);
    }
}

fn headers(row: &Row) -> Vec<(&'static str, &'static str)> {
    let mut headers: Vec<_> = row.header.into_iter().collect();
    if !row.body.is_empty() {
        headers.push(("Content-Type", "application/json"));
    }
    headers
}

/// An agent of Alice's that may ask for every scope of the table.
async fn an_agent(app: &TestApp, table: &Table) -> Credentials {
    let wanted = json!({
        "kind": "personal", "name": "Tester", "purpose": "Tries to get out", "owner": "alice@example.com",
        "ceiling": {table.provider: table.scopes},
    });
    let made = app.admin_does("/agents", &wanted).await;
    let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    Credentials { id: text("id"), secret: text("client_secret") }
}

/// The token that Valetkey itself uses at the provider: what other vaults hand out.
async fn raw_token(app: &TestApp, provider: &str) -> String {
    let connections = &app.demo.services.connections;
    if matches!(provider, "dingtalk" | "wecom") {
        let access = connections.app_access(&provider.parse().unwrap()).await.unwrap();
        return access.token.expose().clone();
    }
    let grants = app.live_grants().await;
    let grant = grants.iter().find(|grant| grant["provider"] == provider).unwrap_or(&grants[0]);
    let id = grant["connection"].as_str().unwrap_or_else(|| panic!("{grant}"));
    let access = connections.lease(&id.parse().unwrap()).await.unwrap();
    access.token.expose().clone()
}

/// Every scope that a shipped template offers, bookkeeping aside.
pub fn every_scope(provider: &str) -> &'static str {
    let path = format!("{}/providers/{provider}.toml", env!("CARGO_MANIFEST_DIR"));
    let template: toml::Value = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let scopes = template["scope"].as_array().unwrap().iter();
    let offered = scopes.filter(|scope| scope.get("bookkeeping").is_none());
    let names: Vec<&str> = offered.map(|scope| scope["name"].as_str().unwrap()).collect();
    names.join(" ").leak()
}
