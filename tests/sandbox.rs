//! The provider sandbox through its two doors: rewritten origins, and the real host names behind its proxy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::sync::{Arc, Once};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Proxy};
use serde_json::{Value, json};
use url::Url;
use valetkey::kernel::clock::OffsetClock;
use valetkey::kernel::encode;
use valetkey::kernel::entropy::SystemEntropy;
use valetkey::kernel::secret::SecretString;
use valetkey::sandbox::tokens::sha256;
use valetkey::sandbox::{Running, Sandbox, SandboxSettings};

const SECRET: &str = "sandbox-secret";
const REDIRECT: &str = "http://127.0.0.1:9/callback/x";
const VERIFIER: &str = "0123456789012345678901234567890123456789abc";
const ENTRA: &str = "/entra/login/11111111-2222-4333-8444-555555555555/oauth2/v2.0";

struct Stage {
    sandbox: Running,
    http: Client,
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    fn location(&self) -> Url {
        Url::parse(self.headers["location"].to_str().unwrap()).unwrap()
    }

    fn param(&self, name: &str) -> Option<String> {
        self.location().query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned())
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn challenge() -> String {
    encode::base64url(&encode::from_hex(&sha256(VERIFIER)).unwrap())
}

impl Stage {
    async fn open() -> Self {
        static CRYPTO: Once = Once::new();
        CRYPTO.call_once(|| {
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        });
        let accounts = ["alice@example.com", "bob@example.com", "mallory@elsewhere.example"]
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

    async fn call(
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

    async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        let bearer = format!("Bearer {}", token.unwrap_or_default());
        let headers: &[(&str, &str)] = if token.is_some() { &[("authorization", &bearer)] } else { &[] };
        self.call(Method::GET, path, headers, String::new()).await.unwrap()
    }

    async fn post_json(&self, path: &str, token: &str, body: Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.call(Method::POST, path, &headers, body.to_string()).await.unwrap()
    }

    async fn post_form(
        &self,
        path: &str,
        pairs: &[(&str, &str)],
        more: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
        headers.extend_from_slice(more);
        self.call(Method::POST, path, &headers, form(pairs)).await
    }

    async fn okta_token(&self, pairs: &[(&str, &str)]) -> Result<Answer, reqwest::Error> {
        let basic = format!("Basic {}", encode::base64(format!("valetkey-sandbox:{SECRET}").as_bytes()));
        self.post_form("/okta/org/oauth2/v1/token", pairs, &[("authorization", &basic)]).await
    }

    async fn entra_token(&self, pairs: &[(&str, &str)]) -> Answer {
        let mut all = vec![("client_id", "valetkey-sandbox"), ("client_secret", SECRET)];
        all.extend_from_slice(pairs);
        self.post_form(&format!("{ENTRA}/token"), &all, &[]).await.unwrap()
    }

    /// Signs in and agrees; answers the redirect to the client.
    async fn consent(&self, endpoint: &str, scope: &str, email: &str, decision: &str) -> Answer {
        let query = form(&[
            ("client_id", "valetkey-sandbox"),
            ("redirect_uri", REDIRECT),
            ("response_type", "code"),
            ("state", "st-1"),
            ("nonce", "n-1"),
            ("scope", scope),
            ("code_challenge", &challenge()),
            ("code_challenge_method", "S256"),
        ]);
        let here = format!("{endpoint}/authorize?{query}");
        let page = self.get(&here, None).await;
        assert!(page.body.contains("name=\"password\""), "{}", page.body);
        let page =
            self.post_form(&here, &[("username", email), ("password", "pass word")], &[]).await.unwrap();
        let cookie = page.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        if page.status == 302 {
            return page;
        }
        assert!(page.body.contains("value=\"allow\""), "{}", page.body);
        self.post_form(&here, &[("decision", decision)], &[("cookie", &cookie)]).await.unwrap()
    }

    async fn okta_login(&self, scope: &str) -> Value {
        let back = self.consent("/okta/org/oauth2/v1", scope, "alice@example.com", "allow").await;
        let code = back.param("code").expect("a code");
        let answer = self
            .okta_token(&[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", REDIRECT),
                ("code_verifier", VERIFIER),
            ])
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    async fn entra_login(&self, scope: &str, email: &str) -> Value {
        let back = self.consent(ENTRA, scope, email, "allow").await;
        let code = back.param("code").expect("a code");
        let answer = self
            .entra_token(&[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", REDIRECT),
                ("code_verifier", VERIFIER),
            ])
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    async fn renew(&self, token: &str) -> Result<Answer, reqwest::Error> {
        self.okta_token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    async fn control(&self, method: Method, path: &str, body: Value) -> Answer {
        self.call(method, &format!("/_sandbox/{path}"), &[], body.to_string()).await.unwrap()
    }

    async fn fault(&self, provider: &str, fault: Value) {
        let answer = self.control(Method::POST, &format!("{provider}/faults"), fault).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
    }

    async fn state(&self, provider: &str) -> Value {
        self.control(Method::GET, &format!("{provider}/state"), Value::Null).await.json()
    }

    async fn advance(&self, seconds: u64) {
        assert_eq!(self.control(Method::POST, "clock", json!({"advance_s": seconds})).await.status, 200);
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn claims(jwt: &str) -> Value {
    serde_json::from_slice(&encode::from_base64url(jwt.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

const OKTA_SCOPES: &str = "openid profile email offline_access okta.users.read okta.groups.read";

#[tokio::test]
async fn a_code_is_redeemed_once_with_its_verifier_and_a_replay_revokes_its_tokens() {
    let stage = Stage::open().await;
    let back = stage.consent("/okta/org/oauth2/v1", OKTA_SCOPES, "alice@example.com", "allow").await;
    assert_eq!(back.param("state").as_deref(), Some("st-1"));
    let code = back.param("code").unwrap();
    let redeem = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    let tokens = stage.okta_token(&redeem).await.unwrap().json();
    let id = claims(text(&tokens, "id_token"));
    assert_eq!((text(&id, "iss"), text(&id, "nonce")), ("https://example.okta.com", "n-1"));
    assert_eq!(stage.get("/okta/org/api/v1/users/me", tokens["access_token"].as_str()).await.status, 200);
    let replay = stage.okta_token(&redeem).await.unwrap();
    assert_eq!((replay.status, text(&replay.json(), "error")), (400, "invalid_grant"));
    assert_eq!(stage.get("/okta/org/api/v1/users/me", tokens["access_token"].as_str()).await.status, 401);
    assert_eq!(stage.renew(text(&tokens, "refresh_token")).await.unwrap().status, 400);
}

#[tokio::test]
async fn a_wrong_verifier_redirect_or_secret_brings_nothing() {
    let stage = Stage::open().await;
    for (name, value) in [("code_verifier", "x".repeat(43)), ("redirect_uri", format!("{REDIRECT}/"))] {
        let back = stage.consent("/okta/org/oauth2/v1", OKTA_SCOPES, "alice@example.com", "allow").await;
        let code = back.param("code").unwrap();
        let mut pairs = vec![("grant_type", "authorization_code"), ("code", code.as_str())];
        pairs.push(("redirect_uri", if name == "redirect_uri" { value.as_str() } else { REDIRECT }));
        pairs.push(("code_verifier", if name == "code_verifier" { value.as_str() } else { VERIFIER }));
        assert_eq!(text(&stage.okta_token(&pairs).await.unwrap().json(), "error"), "invalid_grant", "{name}");
    }
    let wrong = [("client_id", "valetkey-sandbox"), ("client_secret", "no"), ("grant_type", "refresh_token")];
    let answer = stage.post_form("/okta/org/oauth2/v1/token", &wrong, &[]).await.unwrap();
    assert_eq!((answer.status, text(&answer.json(), "error")), (401, "invalid_client"));
    let page = stage
        .get("/okta/org/oauth2/v1/authorize?client_id=valetkey-sandbox&redirect_uri=http://evil.example/x&state=s&scope=openid&response_type=code", None)
        .await;
    assert_eq!(page.status, 400);
}

#[tokio::test]
async fn the_person_may_refuse_and_an_outsider_has_no_account_in_the_organisation() {
    let stage = Stage::open().await;
    let refused = stage.consent("/okta/org/oauth2/v1", OKTA_SCOPES, "alice@example.com", "deny").await;
    assert_eq!(refused.param("error").as_deref(), Some("access_denied"));
    let outsider =
        stage.consent("/okta/org/oauth2/v1", OKTA_SCOPES, "mallory@elsewhere.example", "allow").await;
    assert_eq!((outsider.param("error").as_deref(), outsider.param("code")), (Some("access_denied"), None));
}

#[tokio::test]
async fn a_spent_refresh_token_works_within_the_leeway_and_ends_the_family_after_it() {
    let stage = Stage::open().await;
    let first = text(&stage.okta_login(OKTA_SCOPES).await, "refresh_token").to_owned();
    let second = stage.renew(&first).await.unwrap().json();
    stage.advance(20).await;
    let again = stage.renew(&first).await.unwrap();
    assert_eq!(again.status, 200, "{}", again.body);
    stage.advance(20).await;
    let late = stage.renew(&first).await.unwrap().json();
    assert_eq!(text(&late, "error_description"), "The refresh token is invalid or expired.");
    assert_eq!(stage.renew(text(&second, "refresh_token")).await.unwrap().status, 400);
    assert_eq!(stage.get("/okta/org/api/v1/users/me", second["access_token"].as_str()).await.status, 401);
    let state = stage.state("okta").await;
    assert_eq!(
        (state["reuse_detected"].as_u64(), state["live_refresh"].as_array().unwrap().len()),
        (Some(1), 0)
    );
    assert_eq!(state["refreshes"]["alice@example.com"], 2);
}

#[tokio::test]
async fn a_renewal_narrows_and_returns_a_refresh_token_only_for_offline_access() {
    let stage = Stage::open().await;
    let refresh = text(&stage.okta_login(OKTA_SCOPES).await, "refresh_token").to_owned();
    let ask = |token: String, scope: &'static str| {
        let stage = &stage;
        async move {
            let pairs =
                [("grant_type", "refresh_token"), ("refresh_token", token.as_str()), ("scope", scope)];
            stage.okta_token(&pairs).await.unwrap()
        }
    };
    let narrow = ask(refresh, "offline_access okta.groups.read").await.json();
    assert_eq!(text(&narrow, "scope"), "offline_access okta.groups.read");
    let access = narrow["access_token"].as_str();
    assert_eq!(stage.get("/okta/org/api/v1/groups", access).await.status, 200);
    assert_eq!(stage.get("/okta/org/api/v1/users", access).await.status, 403);
    let wider = ask(text(&narrow, "refresh_token").to_owned(), "offline_access okta.logs.read").await;
    assert_eq!(text(&wider.json(), "error"), "invalid_scope");
    let back_to_all =
        ask(text(&narrow, "refresh_token").to_owned(), "offline_access okta.users.read").await.json();
    assert_eq!(stage.get("/okta/org/api/v1/users", back_to_all["access_token"].as_str()).await.status, 200);
    let without = ask(text(&back_to_all, "refresh_token").to_owned(), "okta.users.read").await.json();
    assert!(without.get("refresh_token").is_none());
}

#[tokio::test]
async fn tokens_end_with_the_clock_and_with_revocation() {
    let stage = Stage::open().await;
    let tokens = stage.okta_login(OKTA_SCOPES).await;
    stage.advance(3601).await;
    assert_eq!(stage.get("/okta/org/api/v1/users/me", tokens["access_token"].as_str()).await.status, 401);
    let fresh = stage.renew(text(&tokens, "refresh_token")).await.unwrap().json();
    let basic = format!("Basic {}", encode::base64(format!("valetkey-sandbox:{SECRET}").as_bytes()));
    let pairs = [("token", text(&fresh, "refresh_token")), ("token_type_hint", "refresh_token")];
    let revoked =
        stage.post_form("/okta/org/oauth2/v1/revoke", &pairs, &[("authorization", &basic)]).await.unwrap();
    assert_eq!(revoked.status, 200);
    assert_eq!(stage.get("/okta/org/api/v1/users/me", fresh["access_token"].as_str()).await.status, 401);
    let stage = Stage::open().await;
    let tokens = stage.okta_login(OKTA_SCOPES).await;
    stage.advance(91 * 86_400).await;
    assert_eq!(stage.renew(text(&tokens, "refresh_token")).await.unwrap().status, 400);
}

#[tokio::test]
async fn injected_faults_do_what_they_say_and_then_are_gone() {
    let stage = Stage::open().await;
    let mut refresh = text(&stage.okta_login(OKTA_SCOPES).await, "refresh_token").to_owned();
    stage.fault("okta", json!({"endpoint": "refresh", "kind": "status", "value": 503, "count": 2})).await;
    assert_eq!(stage.renew(&refresh).await.unwrap().status, 503);
    assert_eq!(stage.renew(&refresh).await.unwrap().status, 503);
    stage.fault("okta", json!({"endpoint": "refresh", "kind": "rate_limit", "value": 7})).await;
    let limited = stage.renew(&refresh).await.unwrap();
    assert_eq!((limited.status, limited.headers["retry-after"].to_str().unwrap()), (429, "7"));
    for kind in ["garbage", "html"] {
        stage.fault("okta", json!({"endpoint": "refresh", "kind": kind})).await;
        let answer = stage.renew(&refresh).await.unwrap();
        assert!(answer.status == 200 && serde_json::from_str::<Value>(&answer.body).is_err(), "{kind}");
    }
    stage.fault("okta", json!({"endpoint": "refresh", "kind": "expires_in", "value": 5})).await;
    stage
        .fault("okta", json!({"endpoint": "refresh", "kind": "broader_scope", "value": "okta.logs.read"}))
        .await;
    let twisted = stage.renew(&refresh).await.unwrap().json();
    assert_eq!(twisted["expires_in"], 5);
    assert!(text(&twisted, "scope").contains("okta.logs.read"));
    refresh = text(&twisted, "refresh_token").to_owned();
    stage.fault("okta", json!({"endpoint": "refresh", "kind": "latency", "value": 300})).await;
    let started = std::time::Instant::now();
    refresh = text(&stage.renew(&refresh).await.unwrap().json(), "refresh_token").to_owned();
    assert!(started.elapsed() >= Duration::from_millis(300));
    stage.fault("okta", json!({"endpoint": "refresh", "kind": "drop_after_commit"})).await;
    assert!(stage.renew(&refresh).await.is_err());
    assert_eq!(stage.state("okta").await["refreshes"]["alice@example.com"], 3);
    stage.fault("okta", json!({"endpoint": "refresh", "kind": "status", "value": 500})).await;
    stage.control(Method::DELETE, "okta/faults", Value::Null).await;
    assert_eq!(stage.renew(&refresh).await.unwrap().status, 200);
    let bad = stage.control(Method::POST, "okta/faults", json!({"endpoint": "refresh", "kind": "no"})).await;
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn api_calls_are_recorded_without_tokens() {
    let stage = Stage::open().await;
    let tokens = stage.okta_login(OKTA_SCOPES).await;
    let access = text(&tokens, "access_token");
    stage.get("/okta/org/api/v1/users?limit=1", Some(access)).await;
    let state = stage.state("okta").await;
    let call = &state["api_calls"][0];
    assert_eq!(
        *call,
        json!({"method": "GET", "path": "/api/v1/users", "query": "limit=1", "token_sha256": sha256(access), "status": 200})
    );
    assert_eq!(state["live_refresh"], json!([sha256(text(&tokens, "refresh_token"))]));
    assert_eq!(state["token_calls"], 1);
    let seen = &stage.control(Method::GET, "okta/calls", Value::Null).await.json()["calls"][0];
    assert_eq!((text(seen, "host"), text(seen, "who")), ("example.okta.com", "alice@example.com"));
    assert_eq!(seen["given"].as_array().unwrap().len(), 1, "one user was given out: {seen}");
}

#[tokio::test]
async fn entra_tokens_carry_every_consent_and_spent_refresh_tokens_stay_good() {
    let stage = Stage::open().await;
    stage.entra_login("openid profile offline_access User.Read Mail.ReadWrite", "alice@example.com").await;
    let tokens = stage
        .entra_login(
            "openid profile offline_access https://graph.microsoft.com/Calendars.Read",
            "alice@example.com",
        )
        .await;
    let all = "openid profile https://graph.microsoft.com/Calendars.Read https://graph.microsoft.com/Mail.ReadWrite https://graph.microsoft.com/User.Read";
    assert_eq!(text(&tokens, "scope"), all);
    let refresh = text(&tokens, "refresh_token");
    let pairs =
        [("grant_type", "refresh_token"), ("refresh_token", refresh), ("scope", "User.Read offline_access")];
    let first = stage.entra_token(&pairs).await.json();
    // Spelled as this request spelled them.
    assert_eq!(text(&first, "scope"), all.replace("https://graph.microsoft.com/", ""));
    assert_ne!(text(&first, "refresh_token"), refresh);
    stage.advance(3600).await;
    assert_eq!(stage.entra_token(&pairs).await.status, 200);
    let more = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("scope", "Chat.Read")];
    assert_eq!(stage.entra_token(&more).await.json()["error_codes"], json!([65001]));
    let id = claims(text(&tokens, "id_token"));
    assert_eq!(text(&id, "tid"), "11111111-2222-4333-8444-555555555555");
    assert_eq!(text(&id, "preferred_username"), "alice@example.com");
}

#[tokio::test]
async fn graph_pages_filters_and_refuses_as_graph_does() {
    let stage = Stage::open().await;
    let tokens =
        stage.entra_login("openid offline_access Mail.Read Files.Read Chat.Read", "bob@example.com").await;
    let access = tokens["access_token"].as_str();
    let graph = "/entra/graph/v1.0";
    let page = stage.get(&format!("{graph}/me/messages?$top=5&$select=subject"), access).await.json();
    assert_eq!(page["value"].as_array().unwrap().len(), 5);
    let next = text(&page, "@odata.nextLink").to_owned();
    assert!(
        next.starts_with("https://graph.microsoft.com/v1.0/me/messages?") && next.contains("$skip=5"),
        "{next}"
    );
    let filter = "$filter=receivedDateTime%20ge%202026-03-01T00:00:00Z%20and%20receivedDateTime%20lt%202026-05-01T00:00:00Z&$top=100";
    let spring = stage.get(&format!("{graph}/me/messages?{filter}"), access).await.json();
    let received: Vec<&str> =
        spring["value"].as_array().unwrap().iter().map(|m| text(m, "receivedDateTime")).collect();
    assert!(
        !received.is_empty() && received.iter().all(|r| ("2026-03-01".."2026-05-01").contains(r)),
        "{received:?}"
    );
    let inefficient = stage.get(&format!("{graph}/me/messages?{filter}&$orderby=subject"), access).await;
    assert_eq!(text(&inefficient.json()["error"], "code"), "InefficientFilter");
    let inbox = stage.get(&format!("{graph}/ME/mailfolders('inbox')/messages?$top=1"), access).await.json();
    let folder = stage.get(&format!("{graph}/me/mailFolders/inbox"), access).await.json();
    assert_eq!(inbox["value"][0]["parentFolderId"], folder["id"]);
    let plan = stage.get(&format!("{graph}/me/drive/root:/Projects/2026/plan.md"), access).await.json();
    let content = stage.get(&format!("{graph}/me/drive/items/{}/content", text(&plan, "id")), access).await;
    // The bytes are elsewhere, at an address that needs no token.
    let address = content.location();
    assert_eq!(address.host_str(), Some("example-my.sharepoint.com"));
    let path = format!("/entra/storage{}", &address[url::Position::BeforePath..]);
    assert!(stage.get(&path, None).await.body.contains("Plan for 2026"));
    stage.advance(3601).await;
    assert_eq!(stage.get(&path, None).await.status, 401);
    let filter = "$filter=receivedDateTime%20ge%202026-11-01%20or%20(subject%20eq%20%27x%27)";
    assert_eq!(
        stage.get(&format!("{graph}/me/messages?{filter}"), access).await.status,
        401,
        "an hour is over"
    );
    let tokens =
        stage.entra_login("openid offline_access Mail.Read Files.Read Chat.Read", "bob@example.com").await;
    let access = tokens["access_token"].as_str();
    let autumn = stage.get(&format!("{graph}/me/messages?{filter}"), access).await.json();
    assert_eq!(autumn["value"].as_array().unwrap().len(), 4);
    let unknown = stage.get(&format!("{graph}/me/messages?$filter=length(subject)%20gt%203"), access).await;
    assert_eq!(unknown.status, 400);
    let listed = stage.get(&format!("{graph}/me/drive/root:/Projects/2026:/children"), access).await.json();
    assert_eq!(listed["value"].as_array().unwrap().len(), 4);
    assert!(listed["value"].as_array().unwrap().iter().any(|item| item["remoteItem"]["id"].is_string()));
    assert_eq!(stage.get(&format!("{graph}/me/events"), access).await.status, 403);
    assert_eq!(stage.get(&format!("{graph}/users/alice@example.com/messages"), access).await.status, 403);
    assert_eq!(stage.get(&format!("{graph}/users/bob@example.com/messages"), access).await.status, 200);
    assert_eq!(stage.get(&format!("{graph}/me/messages"), None).await.status, 401);
    let send =
        json!({"message": {"subject": "x", "toRecipients": [{"emailAddress": {"address": "a@b.example"}}]}});
    assert_eq!(stage.post_json(&format!("{graph}/me/sendMail"), access.unwrap(), send).await.status, 403);
    let batch = json!({"requests": [{"id": "1", "method": "GET", "url": "/me/messages?$top=1"}]});
    let batch = stage.post_json(&format!("{graph}/$batch"), access.unwrap(), batch).await.json();
    assert_eq!(batch["responses"][0]["status"], 200);
}

#[tokio::test]
async fn the_proxy_answers_for_the_real_host_names_and_for_no_other() {
    let mut stage = Stage::open().await;
    stage.http = Client::builder()
        .redirect(Policy::none())
        .proxy(Proxy::all(&stage.sandbox.proxy_url).unwrap())
        .tls_certs_only([Certificate::from_pem(stage.sandbox.ca_pem.as_bytes()).unwrap()])
        .build()
        .unwrap();
    let metadata = stage.get("https://example.okta.com/.well-known/openid-configuration", None).await.json();
    assert_eq!(text(&metadata, "issuer"), "https://example.okta.com");
    let discovery = stage
        .get("https://login.microsoftonline.com/common/discovery/instance?api-version=1.1&authorization_endpoint=x", None)
        .await;
    assert_eq!(discovery.json()["metadata"][0]["preferred_network"], "login.microsoftonline.com");
    assert_eq!(stage.get("https://graph.microsoft.com/v1.0/me", None).await.status, 401);
    let other = stage.http.get("https://example.com/").send().await;
    assert!(other.is_err(), "{other:?}");
    let controls = stage
        .http
        .get("https://graph.microsoft.com/_sandbox/okta/state")
        .header("host", "localhost")
        .send()
        .await
        .unwrap();
    assert_eq!(controls.status().as_u16(), 421);
}

#[tokio::test]
async fn programmatic_id_tokens_are_for_employees_only() {
    let stage = Stage::open().await;
    let token = stage.sandbox.id_token("alice@example.com", "valetkey-assistant").unwrap();
    assert_eq!(text(&claims(&token), "aud"), "valetkey-assistant");
    assert!(stage.sandbox.id_token("mallory@elsewhere.example", "valetkey-assistant").is_none());
}

/// Every call that the shipped template opens, with made-up ids: the sandbox knows the route.
async fn unknown_routes(stage: &Stage, file: &str, prefix: &str, token: &str) -> Vec<String> {
    let path = format!("{}/providers/{file}", env!("CARGO_MANIFEST_DIR"));
    let template: toml::Value = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut unknown = Vec::new();
    let scopes = template["scope"].as_array().unwrap();
    let routes = scopes.iter().filter_map(|scope| scope.get("routes")?.as_array()).flatten();
    for call in routes.map(|route| route["call"].as_str().unwrap()) {
        let (method, path) = call.split_once(' ').unwrap();
        let path = path.replace(['{', '}'], "");
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = stage.call(method, &format!("{prefix}{path}"), &headers, "{}".to_owned()).await.unwrap();
        if [401, 403, 405].contains(&answer.status) || answer.body.contains("for the segment") {
            unknown.push(format!("{call}: {} {}", answer.status, answer.body));
        }
    }
    unknown
}

#[tokio::test]
async fn every_route_that_the_templates_open_is_known() {
    let stage = Stage::open().await;
    let scopes = "openid offline_access okta.users.read okta.users.manage okta.groups.manage okta.apps.read okta.logs.read";
    let okta = stage.okta_login(scopes).await;
    let unknown = unknown_routes(&stage, "okta.toml", "/okta/org", text(&okta, "access_token")).await;
    assert!(unknown.is_empty(), "{unknown:#?}");
    let scopes = "openid offline_access User.Read Mail.ReadWrite Mail.Send Calendars.ReadWrite Files.ReadWrite Sites.Read.All Chat.Read ChatMessage.Send Contacts.Read People.Read Tasks.Read";
    let entra = stage.entra_login(scopes, "alice@example.com").await;
    let unknown = unknown_routes(&stage, "entra.toml", "/entra/graph", text(&entra, "access_token")).await;
    // Channel messages need an admin's consent, which nobody can give here.
    let unknown: Vec<String> = unknown.into_iter().filter(|call| !call.contains("/teams/")).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}
