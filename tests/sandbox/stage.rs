//! A sandbox on a free port, and a browser's and a client's requests to it.

use std::sync::{Arc, Once};

use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use url::Url;
use valetkey::kernel::clock::OffsetClock;
use valetkey::kernel::encode;
use valetkey::kernel::entropy::SystemEntropy;
use valetkey::kernel::secret::SecretString;
use valetkey::sandbox::{Running, Sandbox, SandboxSettings};

pub const SECRET: &str = "sandbox-secret";
pub const REDIRECT: &str = "http://127.0.0.1:9/callback/x";
pub const ALICE: &str = "alice@example.com";
pub const BOB: &str = "bob@example.com";
pub const MALLORY: &str = "mallory@elsewhere.example";

pub struct Stage {
    pub sandbox: Running,
    pub http: Client,
}

pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    pub fn text(&self, pointer: &str) -> String {
        let body = self.json();
        let found = body.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("no {pointer} in {body}")).to_owned()
    }

    /// Status and the number in `code` or `errcode`.
    pub fn code(&self) -> (u16, i64) {
        let body = self.json();
        let code = body.get("code").or_else(|| body.get("errcode")).and_then(Value::as_i64);
        (self.status, code.unwrap_or_else(|| panic!("no code in {body}")))
    }

    pub fn location(&self) -> Url {
        let to = self.headers.get("location").unwrap_or_else(|| panic!("no redirect: {}", self.body));
        Url::parse(to.to_str().unwrap()).unwrap()
    }

    pub fn param(&self, name: &str) -> Option<String> {
        self.location().query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
    }
}

pub fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

impl Stage {
    pub async fn open() -> Self {
        static CRYPTO: Once = Once::new();
        CRYPTO.call_once(|| {
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        });
        let accounts = [ALICE, BOB, MALLORY]
            .map(|email| (email.to_owned(), SecretString::new("pass word".to_owned())))
            .into();
        let settings = SandboxSettings::local(
            Arc::new(OffsetClock::default()),
            Arc::new(SystemEntropy::default()),
            SecretString::new(SECRET.to_owned()),
            accounts,
        );
        let sandbox = Sandbox::start(settings).await.unwrap();
        let http = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        Self { sandbox, http }
    }

    /// A path of the sandbox, or a whole URL.
    pub async fn try_call(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Answer, reqwest::Error> {
        let url = if url.starts_with('/') { format!("{}{url}", self.sandbox.url) } else { url.to_owned() };
        let mut request = self.http.request(method, url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Answer { status, headers, body: answer.text().await? })
    }

    pub async fn call(&self, method: Method, url: &str, headers: &[(&str, &str)], body: String) -> Answer {
        self.try_call(method, url, headers, body).await.unwrap()
    }

    pub async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        self.call(Method::GET, url, headers, String::new()).await
    }

    pub async fn get_as(&self, token: &str, path: &str) -> Answer {
        self.get(path, &[("authorization", &format!("Bearer {token}"))]).await
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.call(Method::POST, path, &all, body.to_string()).await
    }

    pub async fn post_as(&self, token: &str, path: &str, body: &Value) -> Answer {
        self.post(path, &[("authorization", &format!("Bearer {token}"))], body).await
    }

    pub async fn try_form(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        pairs: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.try_call(Method::POST, path, &all, form(pairs)).await
    }

    pub async fn post_form(&self, path: &str, headers: &[(&str, &str)], pairs: &[(&str, &str)]) -> Answer {
        self.try_form(path, headers, pairs).await.unwrap()
    }

    /// A new browser: signs in, decides, and is sent back to the client; at once where there is nothing to decide.
    pub async fn decide(&self, page: &str, email: &str, decision: &str) -> Answer {
        let shown = self.get(page, &[]).await;
        assert!(shown.body.contains("name=\"password\""), "{}", shown.body);
        let signed_in = self.post_form(page, &[], &[("username", email), ("password", "pass word")]).await;
        if signed_in.status == 302 {
            return signed_in;
        }
        let cookie = signed_in.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap();
        self.post_form(page, &[("cookie", cookie)], &[("decision", decision)]).await
    }

    pub async fn control(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.call(method, &format!("/_sandbox/{path}"), &[], body.to_string()).await
    }

    pub async fn fault(&self, provider: &str, fault: &Value) {
        let answer = self.control(Method::POST, &format!("{provider}/faults"), fault).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
    }

    pub async fn state(&self, provider: &str) -> Value {
        self.control(Method::GET, &format!("{provider}/state"), &Value::Null).await.json()
    }

    pub async fn advance(&self, seconds: u64) {
        let answer = self.control(Method::POST, "clock", &json!({"advance_s": seconds})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

pub fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

pub fn claims(jwt: &str) -> Value {
    serde_json::from_slice(&encode::from_base64url(jwt.split('.').nth(1).unwrap()).unwrap()).unwrap()
}
