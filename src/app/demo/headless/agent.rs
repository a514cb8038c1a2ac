//! The agent's side of the play: token exchange, polling, gateway calls.

use anyhow::Context;
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::kernel::encode;
use crate::kernel::secret::SecretBytes;
use crate::net::http::{HeaderValue, Method, header};
use crate::net::{Call, CallBody, HttpClient, NetSettings};
use crate::tokens::{GRANT_CIBA, GRANT_EXCHANGE, TYPE_USER};

const STAND_IN: &str = "https://broker.invalid";

/// An agent with its credentials.
pub struct Agent {
    net: HttpClient,
    authorization: String,
}

/// A status and a JSON body.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body; null when it is no JSON.
    pub body: Value,
}

impl Answer {
    /// A text member.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }

    /// The error code, for messages.
    pub fn error(&self) -> String {
        format!("{} {}", self.status, self.text("error").unwrap_or("without an error code"))
    }
}

impl Agent {
    /// An agent that talks to that broker.
    pub fn new(issuer: &Url, id: &str, secret: &str) -> anyhow::Result<Self> {
        let origins = vec![(STAND_IN.to_owned(), issuer.origin().ascii_serialization())];
        let net = HttpClient::new(NetSettings { origins, ..NetSettings::default() })?;
        let authorization = format!("Basic {}", encode::base64(format!("{id}:{secret}").as_bytes()));
        Ok(Self { net, authorization })
    }

    /// Token exchange for a user at a provider.
    pub async fn exchange(&self, user: &str, provider: &str) -> anyhow::Result<Answer> {
        let audience = format!("provider:{provider}");
        self.token(&[
            ("grant_type", GRANT_EXCHANGE),
            ("subject_token", user),
            ("subject_token_type", TYPE_USER),
            ("audience", &audience),
            ("binding_message", "Prepare my day"),
            ("task", "headless-demo"),
        ])
        .await
    }

    /// Polls an interaction.
    pub async fn poll(&self, auth_req_id: &str) -> anyhow::Result<Answer> {
        self.token(&[("grant_type", GRANT_CIBA), ("auth_req_id", auth_req_id)]).await
    }

    async fn token(&self, parameters: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let mut call = Call::new(Method::POST, Url::parse(&format!("{STAND_IN}/oauth2/token"))?);
        call.headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&self.authorization)?);
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        call.headers.insert(header::CONTENT_TYPE, form);
        call.body = CallBody::Secret(SecretBytes::new(body.into_bytes()));
        self.send(call).await
    }

    /// A call through the gateway.
    pub async fn call(
        &self,
        token: &str,
        provider: &str,
        (method, path): (&str, &str),
        body: Option<&'static str>,
    ) -> anyhow::Result<Answer> {
        let url = Url::parse(&format!("{STAND_IN}/gateway/{provider}/{path}"))?;
        let mut call = Call::new(method.parse().context("a method")?, url);
        call.headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}"))?);
        if let Some(body) = body {
            call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            call.body = CallBody::Bytes(bytes::Bytes::from_static(body.as_bytes()));
        }
        self.send(call).await
    }

    async fn send(&self, call: Call) -> anyhow::Result<Answer> {
        let answer = self.net.fetch(call).await?;
        let body = serde_json::from_slice(answer.body.expose()).unwrap_or(Value::Null);
        Ok(Answer { status: answer.status, body })
    }
}
