//! The agent's side: plain HTTP, as an agent's own code would do it.

use reqwest::{Client, StatusCode};
use serde_json::Value;
use url::{Url, form_urlencoded};
use valetkey::kernel::encode;

pub struct Agent {
    http: Client,
    issuer: Url,
    authorization: String,
}

/// A question that waits for a person.
pub struct Asked {
    pub link: String,
    auth_req_id: String,
}

/// What the agent got.
pub struct Token {
    value: String,
    pub scopes: Vec<String>,
}

impl Agent {
    pub fn new(issuer: Url, id: &str, secret: &str) -> Self {
        let authorization = format!("Basic {}", encode::base64(format!("{id}:{secret}").as_bytes()));
        Self { http: Client::builder().no_proxy().build().unwrap(), issuer, authorization }
    }

    pub async fn asks(&self, user: &str, provider: &str, words: &str) -> Asked {
        let answer = self.exchange(user, provider, words).await;
        assert_eq!(text(&answer, "error"), "interaction_required", "{answer}");
        Asked { link: text(&answer, "interaction_uri"), auth_req_id: text(&answer, "auth_req_id") }
    }

    /// Asks for a token; the error code.
    pub async fn is_told(&self, user: &str, provider: &str) -> String {
        text(&self.exchange(user, provider, "Hello").await, "error")
    }

    async fn exchange(&self, user: &str, provider: &str, words: &str) -> Value {
        let parameters = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", user),
            ("subject_token_type", "urn:valetkey:token-type:user"),
            ("audience", &format!("provider:{provider}")),
            ("binding_message", words),
            ("task", "week-47"),
        ];
        self.token(&parameters).await.1
    }

    /// Polls once; the error code.
    pub async fn polls(&self, asked: &Asked) -> String {
        text(&self.poll(asked).await.1, "error")
    }

    /// Polls once, after the person has agreed.
    pub async fn collects(&self, asked: &Asked) -> Token {
        let (status, answer) = self.poll(asked).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let mut scopes: Vec<_> = text(&answer, "scope").split(' ').map(str::to_owned).collect();
        scopes.sort();
        Token { value: text(&answer, "access_token"), scopes }
    }

    /// A `GET` through the gateway; the status.
    pub async fn calls(&self, token: &Token, path: &str) -> u16 {
        let url = self.issuer.join(&format!("/gateway/{path}")).unwrap();
        self.http.get(url).bearer_auth(&token.value).send().await.unwrap().status().as_u16()
    }

    async fn poll(&self, asked: &Asked) -> (StatusCode, Value) {
        let grant_type = "urn:openid:params:grant-type:ciba";
        self.token(&[("grant_type", grant_type), ("auth_req_id", &asked.auth_req_id)]).await
    }

    async fn token(&self, parameters: &[(&str, &str)]) -> (StatusCode, Value) {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let request = (self.http.post(self.issuer.join("/oauth2/token").unwrap()))
            .header("authorization", &self.authorization)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned()
}
