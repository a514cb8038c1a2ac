//! Every secret of a whole run is searched for wherever it must not be: logs at trace level, answers,
//! pages, metrics, audit log, raw store bytes; as it is, and in the encodings in which it could hide.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::json;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use url::{Url, form_urlencoded};
use valetkey::app::demo::people::ADMIN;

use crate::app::{Ask, TestApp};
use crate::browser::Browser;
use crate::capture::Tap;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Everything that the process logs from now on, by the filter that the command line would use.
    fn at_trace_level() -> Self {
        let log = Self::default();
        let writer = log.clone();
        let layer = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
        let filter = valetkey::cli::log_filter("trace").unwrap();
        tracing_subscriber::registry().with(filter).with(layer).try_init().unwrap();
        log
    }
}

/// A secret, what it is, and where it may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Canary {
    what: &'static str,
    text: String,
    /// The one path of ours whose answers may hold it.
    belongs_to: Option<&'static str>,
}

fn base64_cores(text: &str) -> Vec<String> {
    let mut cores = Vec::new();
    for (before, skipped) in [(0, 0), (1, 2), (2, 3)] {
        let shifted: Vec<u8> = std::iter::repeat_n(0, before).chain(text.bytes()).collect();
        for engine in [&STANDARD, &URL_SAFE] {
            let encoded = engine.encode(&shifted);
            cores.push(encoded[skipped..encoded.len() - 4].to_owned());
        }
    }
    cores
}

/// The forms in which a secret could be found.
fn forms(text: &str) -> BTreeSet<String> {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms: BTreeSet<String> = base64_cores(text).into_iter().collect();
    forms.insert(form_urlencoded::byte_serialize(text.as_bytes()).collect());
    forms.insert(hex.to_ascii_uppercase());
    forms.insert(hex);
    forms.insert(text.to_owned());
    if text.len() >= 32 {
        forms.insert(text[text.len() - 20..].to_owned());
    }
    forms
}

/// The text between a marker and the next character that cannot be part of a secret.
fn values(text: &str, marker: &str) -> Vec<String> {
    let parts = text.split(marker).skip(1);
    let found = parts.filter_map(|rest| rest.split(['"', '&', ' ', '\r', '\n', '}']).next());
    found.filter(|value| value.len() >= 12).map(str::to_owned).collect()
}

fn add(canaries: &mut BTreeSet<Canary>, what: &'static str, found: impl IntoIterator<Item = String>) {
    let before = canaries.len();
    canaries.extend(found.into_iter().map(|text| Canary { what, text, belongs_to: None }));
    assert!(canaries.len() > before, "the test has seen no {what}: it would prove nothing");
}

fn files_below(dir: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

pub async fn signs_in_as_admin(app: &TestApp, browser: &mut Browser) {
    let url = app.at("/login?local=1");
    let page = browser.opens(&url).await;
    let form = page.form_with("password").expect("a form for local admins");
    let filled: Vec<(String, String)> = form
        .fields
        .iter()
        .map(|(name, value)| match (name.as_str(), value.as_str()) {
            ("password", _) => (name.clone(), app.demo.passwords.admin.expose().clone()),
            (_, "") => (name.clone(), ADMIN.to_owned()),
            _ => (name.clone(), value.clone()),
        })
        .collect();
    let page = browser.sends(&page.url.join(&form.action).unwrap(), &filled).await;
    assert_eq!(page.status, 200, "{}", page.title());
}

/// The main job at every provider, with what goes wrong on the way. Returns the tokens that left and
/// the handles.
async fn the_whole_flow(app: &mut TestApp, tap: &Tap) -> Vec<(&'static str, String)> {
    let mut left = Vec::new();
    for (provider, scope, path, tight) in [
        ("entra", "Mail.Read", "entra/graph/v1.0/me/messages", false),
        ("okta", "okta.groups.read", "okta/mgmt/api/v1/groups", true),
        ("lark", "docs:document.content:read", "lark/open/open-apis/docs/v1/content", true),
        ("dingtalk", "Contact.User.Read", "dingtalk/api/v1.0/contact/users/me", false),
        ("wecom", "wecom.contact.read", "wecom/qyapi/cgi-bin/user/get", false),
    ] {
        let ask = Ask::at(provider).scope(scope).with("binding_message", "canary run").with("task", "canary");
        let question = app.agent_asks(&ask).await;
        left.push(("handle", question.text("auth_req_id")));
        app.alice_agrees_to(&question, &[scope]).await;
        let first = app.polls(&question.text("auth_req_id")).await.token();
        app.calls(&first, "GET", path).await;
        app.calls(&first, "GET", &format!("{provider}/nothing/at/all")).await;
        left.push(("gateway token", first));
        app.pass(7300);
        for kind in ["garbage", "html"] {
            app.provider_will(provider, json!({"endpoint": "refresh", "kind": kind})).await;
            let token = app.agent_asks(&ask).await.token();
            app.calls(&token, "GET", path).await;
            app.pass(120);
        }
        let token = app.agent_asks(&ask).await.token();
        app.calls(&token, "GET", path).await;
        app.provider_will(provider, json!({"endpoint": "api", "kind": "status", "value": 500})).await;
        app.calls(&token, "GET", path).await;
        left.push(("gateway token", token));
        if tight {
            let answer = app.agent_asks(&ask.clone().for_a_provider_token()).await;
            left.push(("released provider token", answer.token()));
        }
    }
    // Secrets in places where they do not belong are not repeated either.
    let spent = values(&tap.answered(), "\"refresh_token\":\"").remove(0);
    let access = values(&tap.answered(), "\"access_token\":\"").remove(0);
    for ask in [
        Ask::at("entra").with("refresh_token", &spent),
        Ask::at("entra").with("subject_token", &access),
        Ask::at("entra").with("scope", &access),
        Ask::at("entra").with("audience", &format!("provider:{access}")),
        Ask::at("entra").with(&app.personal.secret.clone(), "a secret as a name"),
        Ask::at("entra").with(&app.personal.secret.clone(), "1").and(&app.personal.secret.clone(), "2"),
    ] {
        app.agent_asks(&ask).await;
    }
    app.calls(&spent, "GET", "entra/graph/v1.0/me/messages").await;
    app.polls(&access).await;
    left
}

#[actix_web::test]
async fn no_secret_is_found_where_it_does_not_belong() {
    let log = Log::at_trace_level();
    let (tap, mut app) = Tap::on_a_new_app().await;
    let left = the_whole_flow(&mut app, &tap).await;
    let issuer = app.demo.issuer.origin();
    let mut admin = app.another_browser_of(ADMIN);
    signs_in_as_admin(&app, &mut admin).await;
    for path in ["/admin", "/admin/agents", "/admin/providers", "/admin/events", "/admin/interactions"] {
        admin.opens(&app.at(path)).await;
    }
    app.alice.walks(&app.at("/"), crate::browser::Answers::default()).await;
    for list in
        ["agents", "providers", "users", "connections", "grants", "interactions", "stops", "events", "keys"]
    {
        app.admin("GET", &format!("/{list}"), &json!(null)).await;
    }
    for path in ["/metrics", "/healthz", "/readyz", "/.well-known/oauth-authorization-server"] {
        app.traffic.send("GET", &app.at(path), &[], b"").await;
    }

    let (sent, answered) = (tap.sent(), tap.answered());
    let mut canaries = BTreeSet::new();
    let under = |names: &[&str], text: &str| -> Vec<String> {
        names.iter().flat_map(|name| values(text, name)).collect()
    };
    add(&mut canaries, "refresh token", under(&["\"refresh_token\":\"", "\"refreshToken\":\""], &answered));
    add(&mut canaries, "access token", under(&["\"access_token\":\"", "\"accessToken\":\""], &answered));
    add(&mut canaries, "ID token", under(&["\"id_token\":\""], &answered));
    add(&mut canaries, "verifier", under(&["code_verifier=", "\"code_verifier\":\""], &sent));
    let client = app.demo.sandbox.desk("okta").unwrap();
    add(&mut canaries, "client secret", [client.clients[0].secret.expose().clone()]);
    add(
        &mut canaries,
        "code",
        app.traffic.all().into_iter().filter(|exchange| exchange.url.origin() == issuer).flat_map(
            |exchange| {
                exchange
                    .url
                    .query_pairs()
                    .filter(|(name, _)| name == "code" || name == "authCode")
                    .map(|(_, value)| value.into_owned())
                    .collect::<Vec<_>>()
            },
        ),
    );
    add(
        &mut canaries,
        "agent secret",
        [&app.personal, &app.assistant, &app.autonomous].map(|agent| agent.secret.clone()),
    );
    add(&mut canaries, "admin token", [app.demo.cast.admin_token.expose().clone()]);
    add(&mut canaries, "password", [app.demo.passwords.admin.expose().clone()]);
    let origin = issuer.ascii_serialization();
    let cookies = [&app.alice, &admin]
        .iter()
        .flat_map(|browser| browser.cookies_of(&origin))
        .filter(|value| value.len() >= 16)
        .collect::<Vec<_>>();
    add(&mut canaries, "cookie", cookies);
    for (what, token) in left {
        canaries.retain(|canary| canary.text != token);
        canaries.insert(Canary { what, text: token, belongs_to: Some("/oauth2/token") });
    }

    let mut places: Vec<(String, Option<Url>, String)> = Vec::new();
    let logged = log.0.lock().unwrap().clone();
    for level in ["DEBUG", "TRACE"] {
        let line = format!("\"level\":\"{level}\"");
        assert!(String::from_utf8_lossy(&logged).contains(&line), "nothing was captured at level {level}");
    }
    places.push(("the log".to_owned(), None, String::from_utf8_lossy(&logged).into_owned()));
    let mut files = Vec::new();
    files_below(&app.demo.data_dir(), &mut files);
    assert!(files.iter().any(|(name, _)| name.contains("audit")) && files.len() > 3, "{}", files.len());
    for (name, bytes) in files {
        places.push((name, None, String::from_utf8_lossy(&bytes).into_owned()));
    }
    for exchange in app.traffic.all().into_iter().filter(|exchange| exchange.url.origin() == issuer) {
        let whole = format!("{}\n\n{}", exchange.answer.head, exchange.answer.body_text());
        places.push((format!("the answer of {}", exchange.url.path()), Some(exchange.url), whole));
    }
    let mut found = BTreeSet::new();
    for canary in &canaries {
        let forms = forms(&canary.text);
        for (name, url, text) in &places {
            let path = url.as_ref().map(Url::path);
            if canary.belongs_to.is_some() && path == canary.belongs_to {
                continue;
            }
            let lines = text.lines().filter(|line| {
                let sets_it = canary.what == "cookie" && line.to_ascii_lowercase().starts_with("set-cookie:");
                !(sets_it && path.is_some())
            });
            let text: String = if canary.what == "cookie" { lines.collect() } else { text.clone() };
            for form in forms.iter().filter(|form| text.contains(form.as_str())) {
                let at = text.find(form.as_str()).unwrap();
                let before: String =
                    text[..at].chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect();
                found.insert(format!("{} in {name}, after …{before}", canary.what));
            }
        }
    }
    // The search does find what is there.
    for canary in canaries.iter().filter(|canary| canary.belongs_to.is_some()) {
        let is_answered = |(_, url, text): &(String, Option<Url>, String)| {
            url.as_ref().map(Url::path) == canary.belongs_to && text.contains(&canary.text)
        };
        assert!(places.iter().any(is_answered), "the {} was not found where it belongs", canary.what);
    }
    let written = |(name, _, text): &(String, Option<Url>, String)| {
        name.contains("/audit/") && text.contains("canary run")
    };
    assert!(places.iter().any(written), "the audit log was not read");
    assert!(
        found.is_empty(),
        "{} canaries, found:\n{}",
        canaries.len(),
        found.into_iter().collect::<Vec<_>>().join("\n")
    );
    app.stops().await;
}
