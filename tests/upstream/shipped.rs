//! The shipped templates against the provider sandbox, by both of its doors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Proxy};
use serde_json::json;
use url::Url;
use valetkey::kernel::clock::OffsetClock;
use valetkey::kernel::entropy::{Entropy, SystemEntropy};
use valetkey::kernel::scope::ScopeSet;
use valetkey::kernel::secret::SecretString;
use valetkey::net::{HttpClient, NetSettings};
use valetkey::providers::template::{Access, ErrorClass, Narrowing, Rotation};
use valetkey::providers::{Configured, Templates};
use valetkey::sandbox::{ASSISTANT_CLIENT, Running, Sandbox, SandboxSettings};
use valetkey::upstream::{
    AuthorizeRequest, Cause, Delivered, Redeemed, Redemption, Revoked, TokenHint, Upstream, UpstreamError,
};

use crate::world::{refreshed, secret};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    RewrittenOrigins,
    Proxy,
}

struct Stage {
    sandbox: Running,
    upstream: Upstream,
    browser: Client,
    clock: Arc<OffsetClock>,
}

const ALICE: &str = "alice@example.com";
const MALLORY: &str = "mallory@elsewhere.example";

impl Stage {
    async fn open(door: Door) -> Self {
        valetkey::net::install_crypto();
        let accounts = [ALICE, "bob@example.com", MALLORY];
        let accounts = accounts.map(|email| (email.to_owned(), secret("pass word"))).into();
        let clock = Arc::new(OffsetClock::default());
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
        let settings = SandboxSettings::local(
            Arc::clone(&clock),
            Arc::clone(&entropy),
            secret("sandbox-secret"),
            accounts,
        );
        let sandbox = Sandbox::start(settings).await.unwrap();
        let browser = Client::builder().redirect(Policy::none()).no_proxy();
        let (net, browser) = match door {
            Door::RewrittenOrigins => {
                (NetSettings { origins: sandbox.origins(), ..NetSettings::default() }, browser)
            }
            Door::Proxy => {
                let net = NetSettings {
                    proxy: Some(Url::parse(&sandbox.proxy_url).unwrap()),
                    extra_ca_pem: vec![sandbox.ca_pem.clone().into_bytes()],
                    ..NetSettings::default()
                };
                let ca = Certificate::from_pem(sandbox.ca_pem.as_bytes()).unwrap();
                let proxy = Proxy::all(&sandbox.proxy_url).unwrap();
                (net, browser.proxy(proxy).tls_certs_only([ca]))
            }
        };
        let upstream = Upstream::new(HttpClient::new(net).unwrap(), clock.clone(), entropy);
        Self { sandbox, upstream, browser: browser.build().unwrap(), clock }
    }

    /// Signs in and agrees; the parameters that come back.
    async fn visit(&self, url: &Url, email: &str) -> Vec<(String, String)> {
        let mut cookie = String::new();
        let sign_in = [("username", email), ("password", "pass word")];
        for pairs in [&sign_in[..], &[("decision", "allow")]] {
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            let request = self.browser.post(url.clone()).body(body).header("cookie", &cookie);
            let answer =
                request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
            if let Some(location) = answer.headers().get("location") {
                let back = Url::parse(location.to_str().unwrap()).unwrap();
                return back.query_pairs().into_owned().collect();
            }
            if let Some(set) = answer.headers().get("set-cookie") {
                cookie = set.to_str().unwrap().split(';').next().unwrap().to_owned();
            }
            let status = answer.status();
            let page = answer.text().await.unwrap();
            assert!(status.is_success(), "{url}: {status}: {page}");
        }
        panic!("{url} leads nowhere");
    }

    async fn connect(
        &self,
        configured: &Configured,
        email: &str,
        scopes: &ScopeSet,
        login: bool,
    ) -> Result<Redeemed, UpstreamError> {
        let redirect_uri: Url = "http://127.0.0.1:9/callback/x".parse().unwrap();
        let state = self.upstream.new_state(configured);
        let verifier = self.upstream.new_verifier();
        let nonce = self.upstream.new_nonce();
        let request = AuthorizeRequest {
            redirect_uri: &redirect_uri,
            state: state.expose(),
            nonce: Some(&nonce),
            pkce_verifier: Some(&verifier),
            scopes,
            login,
        };
        let url = self.upstream.authorize_url(configured, &request).await?;
        let params = self.visit(&tampered(&url), email).await;
        assert!(params.iter().any(|(name, value)| name == "state" && value == state.expose()), "{params:?}");
        let code = self.upstream.callback_code(configured, &params).await.unwrap();
        let uses_pkce = url.query_pairs().any(|(name, _)| name == "code_challenge");
        let verifier = uses_pkce.then_some(verifier);
        let redemption = Redemption { code, redirect_uri, verifier, nonce: Some(nonce), login };
        self.upstream.redeem(configured, &redemption).await
    }
}

/// People can edit what their own browser opens: a hint at the company is no proof of it.
fn tampered(url: &Url) -> Url {
    let mut tampered = url.clone();
    let kept: Vec<(String, String)> =
        url.query_pairs().into_owned().filter(|(name, _)| name != "corpId").collect();
    tampered.query_pairs_mut().clear().extend_pairs(kept);
    tampered
}

fn shipped(name: &str) -> Configured {
    let company: &[(&str, &str)] = match name {
        "entra" => &[("tenant", "11111111-2222-4333-8444-555555555555")],
        "okta" => &[("issuer", "https://example.okta.com")],
        "lark" => &[("tenant_key", "2ed263bf32cf1651")],
        "dingtalk" => &[("corp_id", "dingcorp0001")],
        "wecom" => &[("corp_id", "ww0123456789abcdef"), ("agent_id", "1000002")],
        other => panic!("{other}"),
    };
    let company: BTreeMap<String, String> =
        company.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let template = Templates::embedded().unwrap().get(name).unwrap();
    let client_secret = SecretString::new("sandbox-secret".to_owned());
    Configured::new(name.parse().unwrap(), &template, "valetkey-sandbox".to_owned(), client_secret, &company)
        .unwrap_or_else(|errors| panic!("{name}: {errors:?}"))
}

/// Two scopes that only read.
fn modest(configured: &Configured) -> ScopeSet {
    let entries = configured.loaded.template.scope.iter();
    entries
        .filter(|entry| !entry.bookkeeping && entry.access == Access::Read)
        .take(2)
        .map(|entry| entry.name.clone())
        .collect()
}

async fn whole_life(door: Door) {
    let stage = Stage::open(door).await;
    for name in ["entra", "okta", "lark", "dingtalk", "wecom"] {
        if stage.sandbox.desk(name).is_none() {
            continue;
        }
        let configured = shipped(name);
        let template = &configured.loaded.template;
        stage.upstream.probe(&configured).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let scopes = modest(&configured);
        let redeemed = stage.connect(&configured, ALICE, &scopes, false).await;
        let redeemed = redeemed.unwrap_or_else(|error| panic!("{name}: {error} {error:?}"));
        assert!(!redeemed.account.subject.is_empty() && !redeemed.account.company.is_empty(), "{name}");
        for pin in template.scope.iter().flat_map(|scope| &scope.routes).flat_map(|route| {
            route.pin_path.values().chain(route.pin_query.values()).chain(route.pin_body.values())
        }) {
            assert!(
                redeemed.account.pins.contains_key(pin),
                "{name}: no pin `{pin}`: {:?}",
                redeemed.account
            );
        }
        let Some(refresh) = &template.refresh else { continue };
        let first = redeemed.tokens.refresh_token.unwrap_or_else(|| panic!("{name}: no refresh token"));
        if let Some(stated) = &redeemed.tokens.scopes {
            assert!(scopes.is_subset(stated), "{name}: {stated}");
        }
        let renewed = refreshed(&stage.upstream, &configured, &first, Some(&scopes)).await;
        let renewed = renewed.unwrap_or_else(|error| panic!("{name}: {error}"));
        let second = renewed.refresh_token.as_ref().map_or(first.expose(), |token| token.expose()).clone();
        if refresh.rotation == Rotation::Strict {
            assert_ne!(&second, first.expose(), "{name} rotates");
        }
        if refresh.narrowing == Narrowing::Narrows {
            let one: ScopeSet = scopes.iter().take(1).cloned().collect();
            let second = secret(&second);
            let narrowed = refreshed(&stage.upstream, &configured, &second, Some(&one)).await.unwrap();
            let stated = narrowed.scopes.unwrap().difference(&template.bookkeeping());
            assert_eq!(stated, one, "{name} narrows");
        }
        if refresh.rotation == Rotation::Strict {
            let spent = refreshed(&stage.upstream, &configured, &first, None).await.unwrap_err();
            assert_eq!(
                (spent.class, spent.delivered),
                (ErrorClass::Reauth, Delivered::Yes),
                "{name}: {spent:?}"
            );
        }
        let again = stage.connect(&configured, ALICE, &scopes, false).await.unwrap();
        let token = again.tokens.refresh_token.unwrap();
        let revoked = stage.upstream.revoke(&configured, &token, TokenHint::RefreshToken).await.unwrap();
        let expected = if template.revoke.is_some() { Revoked::Done } else { Revoked::NotOffered };
        assert_eq!(revoked, expected, "{name}");
        if revoked == Revoked::Done {
            assert!(refreshed(&stage.upstream, &configured, &token, None).await.is_err(), "{name}");
        }
    }
    stage.sandbox.stop().await;
}

#[actix_web::test]
async fn every_shipped_template_lives_through_rewritten_origins() {
    whole_life(Door::RewrittenOrigins).await;
}

#[actix_web::test]
async fn every_shipped_template_lives_through_the_proxy_with_nothing_rewritten() {
    whole_life(Door::Proxy).await;
}

#[actix_web::test]
async fn another_companys_account_is_refused_where_the_vendor_lets_it_in() {
    let stage = Stage::open(Door::RewrittenOrigins).await;
    for name in ["lark", "dingtalk"] {
        let configured = shipped(name);
        let refused = stage.connect(&configured, MALLORY, &modest(&configured), false).await;
        let error = refused.map(|redeemed| redeemed.account).unwrap_err();
        assert_eq!(error.cause, Cause::CompanyMismatch, "{name}: {error:?}");
    }
}

#[actix_web::test]
async fn the_sign_in_provider_signs_in_and_vouches() {
    let stage = Stage::open(Door::RewrittenOrigins).await;
    let okta = shipped("okta");
    let signed_in = stage.connect(&okta, ALICE, &ScopeSet::new(), true).await.unwrap();
    let claims = signed_in.id_claims.unwrap();
    assert_eq!(claims.issuer, "https://example.okta.com");
    assert_eq!(claims.email.as_deref(), Some(ALICE));
    assert!(signed_in.tokens.refresh_token.is_none(), "a sign-in leaves nothing lasting");
    let token = stage.sandbox.id_token(ALICE, ASSISTANT_CLIENT).unwrap();
    let audience = [ASSISTANT_CLIENT.to_owned()];
    let seen = stage.upstream.verify_id_token(&okta, &token, &audience, None).await.unwrap();
    assert_eq!(seen.subject, claims.subject, "the same person, whoever asks");
    stage.clock.advance(Duration::from_secs(3700));
    assert!(stage.upstream.verify_id_token(&okta, &token, &audience, None).await.is_err());
}

#[actix_web::test]
async fn faults_of_the_vendors_are_told_apart() {
    let stage = Stage::open(Door::RewrittenOrigins).await;
    let okta = shipped("okta");
    for (kind, value, delivered) in [
        ("status", json!(503), Delivered::Unknown),
        ("rate_limit", json!(7), Delivered::Yes),
        ("html", json!(null), Delivered::Unknown),
        ("garbage", json!(null), Delivered::Unknown),
        ("drop_after_commit", json!(null), Delivered::Unknown),
    ] {
        let connected = stage.connect(&okta, ALICE, &modest(&okta), false).await.unwrap();
        let token = connected.tokens.refresh_token.unwrap();
        let fault = json!({"endpoint": "refresh", "kind": kind, "value": value, "count": 1});
        let url = format!("{}/_sandbox/okta/faults", stage.sandbox.url);
        let set = stage.browser.post(url).body(fault.to_string()).send().await.unwrap();
        assert!(set.status().is_success(), "{kind}: {}", set.text().await.unwrap());
        let error = refreshed(&stage.upstream, &okta, &token, None).await.unwrap_err();
        assert_eq!(error.delivered, delivered, "{kind}: {error:?}");
        let wait = error.retry_after.map(|wait| wait.as_secs());
        assert_eq!(wait, (kind == "rate_limit").then_some(7), "{kind}");
    }
}
