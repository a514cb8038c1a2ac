//! An agent as somebody else would write one: HTTP and JSON, nothing of ours.
#![allow(dead_code, reason = "two test binaries share this file, and neither uses all of it")]

use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::Value;

use crate::browser::{client, form};

pub const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const CIBA: &str = "urn:openid:params:grant-type:ciba";
pub const USER: &str = "urn:valetkey:token-type:user";

pub struct Agent {
    pub issuer: String,
    pub id: String,
    pub secret: String,
    pub http: Client,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Self { status, headers, body: answer.text().await.unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|_| panic!("{}: not JSON: {}", self.status, self.body))
    }

    pub fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", self.body)).to_owned()
    }

    /// Status and error code, for comparing.
    pub fn error(&self) -> (u16, String) {
        let code = serde_json::from_str::<Value>(&self.body).ok().and_then(|body| {
            body.get("error").or(body.get("code")).and_then(Value::as_str).map(str::to_owned)
        });
        (self.status, code.unwrap_or_default())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Agent {
    pub fn new(issuer: &str, id: &str, secret: &str) -> Self {
        let issuer = issuer.trim_end_matches('/').to_owned();
        Self { issuer, id: id.to_owned(), secret: secret.to_owned(), http: client() }
    }

    pub async fn token(&self, pairs: &[(&str, &str)]) -> Answer {
        let request = self.http.post(format!("{}/oauth2/token", self.issuer));
        let request = request.basic_auth(&self.id, Some(&self.secret));
        Answer::of(request.header("content-type", "application/x-www-form-urlencoded").body(form(pairs)))
            .await
    }

    pub async fn exchange(&self, user: &str, provider: &str) -> Answer {
        let audience = format!("provider:{provider}");
        self.token(&[
            ("grant_type", EXCHANGE),
            ("subject_token", user),
            ("subject_token_type", USER),
            ("audience", &audience),
        ])
        .await
    }

    pub async fn poll(&self, auth_req_id: &str) -> Answer {
        self.token(&[("grant_type", CIBA), ("auth_req_id", auth_req_id)]).await
    }

    /// A call through the gateway.
    pub async fn call(&self, token: &str, provider: &str, (method, path): (&str, &str)) -> Answer {
        let url = format!("{}/gateway/{provider}/{path}", self.issuer);
        let method: Method = method.parse().unwrap();
        Answer::of(self.http.request(method, url).bearer_auth(token)).await
    }
}
