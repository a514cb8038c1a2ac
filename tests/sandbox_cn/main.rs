//! The sandbox's readings of Lark, DingTalk and WeCom: each flow as its vendor has it, and the ways to fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod dingtalk;
mod lark;
mod wecom;

use std::sync::{Arc, Once};

use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use url::Url;
use valetkey::kernel::clock::OffsetClock;
use valetkey::kernel::entropy::SystemEntropy;
use valetkey::kernel::secret::SecretString;
use valetkey::sandbox::{Running, Sandbox, SandboxSettings};

const SECRET: &str = "sandbox-secret";
const REDIRECT: &str = "http://127.0.0.1:9/callback/x";
const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const MALLORY: &str = "mallory@elsewhere.example";

struct Stage {
    sandbox: Running,
    http: Client,
}

struct Answer {
    status: u16,
    location: Option<String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    fn text(&self, pointer: &str) -> String {
        let body = self.json();
        let found = body.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("no {pointer} in {body}")).to_owned()
    }

    /// Status and the number in `code` or `errcode`.
    fn code(&self) -> (u16, i64) {
        let body = self.json();
        let code = body.get("code").or_else(|| body.get("errcode")).and_then(Value::as_i64);
        (self.status, code.unwrap_or_else(|| panic!("no code in {body}")))
    }

    fn param(&self, name: &str) -> Option<String> {
        let url =
            Url::parse(self.location.as_deref().unwrap_or_else(|| panic!("no redirect: {}", self.body)))
                .unwrap();
        url.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned())
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

impl Stage {
    async fn open() -> Self {
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

    async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.sandbox.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let location = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        Answer { status: answer.status().as_u16(), location, body: answer.text().await.unwrap() }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.call(Method::GET, path, headers, String::new()).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.call(Method::POST, path, &all, body.to_string()).await
    }

    async fn post_form(&self, path: &str, cookie: &str, pairs: &[(&str, &str)]) -> Answer {
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("cookie", cookie)];
        self.call(Method::POST, path, &headers, form(pairs)).await
    }

    /// A new browser: signs in, decides, and is sent back to the client.
    async fn decide(&self, page: &str, email: &str, decision: &str) -> Answer {
        let shown = self.get(page, &[]).await;
        assert!(shown.body.contains("name=\"password\""), "{}", shown.body);
        let url = format!("{}{page}", self.sandbox.url);
        let typed = form(&[("username", email), ("password", "pass word")]);
        let request =
            self.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(typed);
        let signed_in = request.send().await.unwrap();
        let cookie =
            signed_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        self.post_form(page, &cookie, &[("decision", decision)]).await
    }

    async fn advance(&self, seconds: u64) {
        let answer = self.post("/_sandbox/clock", &[], &json!({"advance_s": seconds})).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    async fn state(&self, provider: &str) -> Value {
        self.get(&format!("/_sandbox/{provider}/state"), &[]).await.json()
    }
}

#[actix_web::test]
async fn faults_speak_each_vendors_dialect() {
    let stage = Stage::open().await;
    let inject = |provider: &'static str, endpoint: &'static str| {
        let fault = json!({"endpoint": endpoint, "kind": "rate_limit", "value": 3});
        let stage = &stage;
        async move {
            let path = format!("/_sandbox/{provider}/faults");
            assert_eq!(stage.post(&path, &[], &fault).await.status, 204);
        }
    };
    inject("lark", "refresh").await;
    assert_eq!(stage.lark_refresh("x", None).await.code(), (429, 99_991_400));
    assert_eq!(stage.lark_refresh("x", None).await.code(), (400, 20026));
    inject("dingtalk", "api").await;
    let limited = stage.ding("/v2.0/wiki/workspaces", "x").await;
    assert_eq!(
        (limited.status, limited.text("/code").as_str()),
        (403, "Forbidden.AccessDenied.QpsLimitForApi")
    );
    inject("wecom", "token").await;
    assert_eq!(stage.get("/wecom/qyapi/cgi-bin/gettoken", &[]).await.code(), (200, 45009));
    let fault = json!({"endpoint": "token", "kind": "broader_scope", "value": "im:chat:read"});
    stage.post("/_sandbox/lark/faults", &[], &fault).await;
    let code = stage.lark_code("docx:document:readonly", ALICE).await;
    let broad = stage.lark_redeem(&code).await;
    assert_eq!(broad.text("/scope"), "docx:document:readonly im:chat:read");
    assert_eq!(stage.lark("/im/v1/chats", &broad.text("/access_token")).await.code(), (200, 0));
}

fn template(file: &str) -> toml::Table {
    let text = std::fs::read_to_string(format!("{}/providers/{file}.toml", env!("CARGO_MANIFEST_DIR")));
    text.unwrap().parse().unwrap()
}

/// The calls that a template lists: API name, method, path with example values.
fn template_calls(file: &str) -> Vec<(String, Method, String)> {
    let template = template(file);
    let scopes = template["scope"].as_array().unwrap();
    let routes = scopes.iter().filter_map(|scope| scope.get("routes")?.as_array()).flatten();
    routes
        .map(|route| {
            let (method, path) = route["call"].as_str().unwrap().split_once(' ').unwrap();
            let filled: Vec<&str> =
                path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
            (route["api"].as_str().unwrap().to_owned(), method.parse().unwrap(), filled.join("/"))
        })
        .collect()
}

impl Stage {
    /// Whether the vendor has such a route, whatever it says to a call without a token.
    async fn has(&self, provider: &str, api: &str, method: &Method, path: &str) -> bool {
        let answer = self.call(method.clone(), &format!("/{provider}/{api}{path}"), &[], String::new()).await;
        !["404", "InvalidAction.NotFound", "48002"].iter().any(|unknown| answer.body.contains(unknown))
    }
}

#[actix_web::test]
async fn every_call_that_a_template_lists_exists_here() {
    let stage = Stage::open().await;
    let invented =
        [("lark", "open", "/open-apis/no/v1"), ("dingtalk", "api", "/v1.0/no"), ("dingtalk", "oapi", "/no")];
    for (provider, api, path) in invented {
        assert!(!stage.has(provider, api, &Method::GET, path).await, "{provider}");
    }
    assert!(!stage.has("wecom", "qyapi", &Method::GET, "/cgi-bin/no").await);
    let mut missing = Vec::new();
    for provider in ["lark", "dingtalk", "wecom"] {
        for (api, method, path) in template_calls(provider) {
            if !stage.has(provider, &api, &method, &path).await {
                missing.push(format!("{method} {api}{path}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[actix_web::test]
async fn every_scope_of_larks_template_is_enabled_for_the_app() {
    let stage = Stage::open().await;
    for scope in template("lark")["scope"].as_array().unwrap() {
        let name = scope.get("vendor").or_else(|| scope.get("name")).unwrap().as_str().unwrap();
        let page = stage.get(&Stage::lark_page(name), &[]).await;
        assert_eq!(page.status, 200, "{name}");
    }
}
