//! A provider that answers as it is told, and remembers what it was asked.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use valetkey::kernel::clock::{Clock as _, ManualClock, Timestamp};
use valetkey::kernel::encode::base64url;
use valetkey::kernel::entropy::SeededEntropy;
use valetkey::kernel::scope::ScopeSet;
use valetkey::kernel::secret::SecretString;
use valetkey::net::{HttpClient, NetSettings};
use valetkey::providers::dialect::TokenSet;
use valetkey::providers::{Configured, LoadedTemplate};
use valetkey::upstream::{Redeemed, Redemption, Upstream, UpstreamError};

pub const CLIENT_ID: &str = "client-1";
pub const CLIENT_SECRET: &str = "canary-client-secret";

/// An OpenID Connect provider with everything stated.
pub const OIDC: &str = r#"
schema = 1
name = { en = "Example", zh = "示例" }
docs = "https://docs.example.com/"

[company.tenant]
title = { en = "Tenant", zh = "租户" }
example = "acme"
format = "word"

[authorize]
url = "https://id.example.com/authorize"

[authorize.scopes]
always = ["openid", "offline_access"]

[token]
url = "https://id.example.com/token"

[refresh]
rotation = "strict"
reuse_detection = true
narrowing = "narrows"
always = ["offline_access"]

[revoke]
url = "https://id.example.com/revoke"
access_tokens = true

[identity]
source = "id_token"
issuer = "https://id.example.com"
jwks_url = "https://id.example.com/keys"
subject = "oid"
company = "tid"
company_equals = "tenant"
label = ["email", "name"]

[[errors]]
at = "token"
member = "error"
values = ["invalid_grant"]
class = "reauth"

[[errors]]
at = "token"
member = "error"
values = ["invalid_client"]
class = "config"

[api.mail]
base = "https://api.example.com"

[[scope]]
name = "mail.read"
vendor = "https://api.example.com/mail.read"
title = { en = "Read mail", zh = "读取邮件" }
description = { en = "Reads your mail.", zh = "读取你的邮件。" }
access = "read"
risk = "medium"
routes = [{ api = "mail", call = "GET /v1/mail" }]

[[scope]]
name = "offline_access"
title = { en = "Stay connected", zh = "保持连接" }
description = { en = "Stays connected.", zh = "保持连接。" }
access = "read"
risk = "low"
bookkeeping = true
"#;

/// What the provider was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub query: String,
    pub headers: HashMap<String, String>,
    pub body: String,
    /// The client's port: requests over one connection share it.
    pub from: u16,
}

#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Reply {
    pub fn json(body: &Value) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.to_string() }
    }

    pub fn raw(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.to_owned() }
    }
}

#[derive(Default)]
pub struct Script {
    /// Replies by path, used up from the front; the last one stays.
    replies: HashMap<String, VecDeque<Reply>>,
    pub asked: Vec<Asked>,
}

pub struct World {
    pub upstream: Upstream,
    pub clock: Arc<ManualClock>,
    pub script: Arc<Mutex<Script>>,
    pub port: u16,
    pub key: EcdsaKeyPair,
}

async fn answer(request: HttpRequest, body: String, script: web::Data<Mutex<Script>>) -> HttpResponse {
    let mut script = script.lock().unwrap();
    let headers = request.headers().iter();
    script.asked.push(Asked {
        path: request.path().to_owned(),
        query: request.query_string().to_owned(),
        headers: headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect(),
        body,
        from: request.peer_addr().unwrap().port(),
    });
    let Some(queue) = script.replies.get_mut(request.path()) else {
        return HttpResponse::NotFound().finish();
    };
    let reply = if queue.len() > 1 { queue.pop_front().unwrap() } else { queue[0].clone() };
    let mut response = HttpResponse::build(actix_web::http::StatusCode::from_u16(reply.status).unwrap());
    for (name, value) in reply.headers {
        response.insert_header((name, value));
    }
    response.body(reply.body)
}

impl World {
    pub async fn new() -> Self {
        let script: Arc<Mutex<Script>> = Arc::default();
        let data = web::Data::from(Arc::clone(&script));
        let server =
            HttpServer::new(move || App::new().app_data(data.clone()).default_service(web::to(answer)))
                .workers(1)
                .bind(("127.0.0.1", 0))
                .unwrap();
        let port = server.addrs()[0].port();
        tokio::spawn(server.run());
        let origin = |host: &str| (format!("https://{host}"), format!("http://localhost:{port}"));
        let origins = vec![origin("id.example.com"), origin("api.example.com")];
        let net = HttpClient::new(NetSettings { origins, ..NetSettings::default() }).unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
        let upstream = Upstream::new(net, clock.clone(), Arc::new(SeededEntropy::new(1)));
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        let world = Self { upstream, clock, script, port, key };
        world.replies("/keys", vec![Reply::json(&json!({"keys": [world.jwk("k1")]}))]);
        world.replies("/revoke", vec![Reply::raw(200, "")]);
        world
    }

    pub fn replies(&self, path: &str, replies: Vec<Reply>) {
        self.script.lock().unwrap().replies.insert(path.to_owned(), replies.into());
    }

    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.script.lock().unwrap().asked.iter().filter(|asked| asked.path == path).cloned().collect()
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub fn now(&self) -> i64 {
        self.clock.now().secs()
    }

    pub fn jwk(&self, kid: &str) -> Value {
        let point = self.key.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "x": base64url(&point[1..33]), "y": base64url(&point[33..])})
    }

    pub fn claims(&self) -> Value {
        json!({
            "iss": "https://id.example.com", "aud": CLIENT_ID, "sub": "pairwise", "oid": "user-1", "tid": "acme",
            "iat": self.now(), "exp": self.now() + 3600, "nonce": "nonce-1",
            "email": "alice@example.com", "email_verified": true, "name": "Alice",
        })
    }

    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let text = format!(
            "{}.{}",
            base64url(header.to_string().as_bytes()),
            base64url(claims.to_string().as_bytes())
        );
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", base64url(signature.as_ref()))
    }

    pub fn id_token(&self, claims: &Value) -> String {
        self.signed(&json!({"alg": "ES256", "kid": "k1", "typ": "JWT"}), claims)
    }

    /// Answers the token endpoint with this ID token.
    pub fn answer_tokens(&self, id_token: &str) {
        self.replies("/token", vec![Reply::json(&json!({
            "access_token": "canary-access", "refresh_token": "canary-refresh", "token_type": "Bearer",
            "expires_in": 600, "scope": "https://api.example.com/mail.read offline_access", "id_token": id_token,
        }))]);
    }

    pub async fn redeem(&self, configured: &Configured) -> Result<Redeemed, UpstreamError> {
        self.upstream.redeem(configured, &redemption()).await
    }

    /// Redeems with an ID token that has these claims.
    pub async fn redeem_with(&self, claims: &Value) -> Result<Redeemed, UpstreamError> {
        self.answer_tokens(&self.id_token(claims));
        self.redeem(&oidc()).await
    }
}

pub fn redemption() -> Redemption {
    Redemption {
        code: secret("canary-code"),
        redirect_uri: "https://vault.example.com/callback/example".parse().unwrap(),
        verifier: Some(secret("canary-verifier-canary-verifier-canary-verifier")),
        nonce: Some("nonce-1".to_owned()),
        login: false,
    }
}

pub fn secret(text: &str) -> SecretString {
    SecretString::new(text.to_owned())
}

pub fn configured(template: &str, company: &[(&str, &str)]) -> Configured {
    let loaded =
        LoadedTemplate::parse("example", "providers/example.toml", template).unwrap_or_else(|findings| {
            panic!("{}", findings.iter().map(|f| format!("{f}\n")).collect::<String>())
        });
    let company: BTreeMap<String, String> =
        company.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Configured::new(
        "example".parse().unwrap(),
        &loaded,
        CLIENT_ID.to_owned(),
        secret(CLIENT_SECRET),
        &company,
    )
    .unwrap_or_else(|errors| panic!("{errors:?}"))
}

pub fn oidc() -> Configured {
    configured(OIDC, &[("tenant", "acme")])
}

pub fn form(body: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

/// Spends a refresh token and reads the answer.
pub async fn refreshed(
    upstream: &Upstream,
    configured: &Configured,
    token: &SecretString,
    scopes: Option<&ScopeSet>,
) -> Result<TokenSet, UpstreamError> {
    let answer = upstream.refresh(configured, token, scopes).await?;
    Upstream::read(configured, &answer)
}
