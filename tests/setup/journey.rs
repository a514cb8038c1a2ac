//! From an empty folder to granted tokens at all five providers, as a company would do it: an outbound
//! proxy and its CA in the settings, no origin rewritten, no demo.

use std::fs;

use serde_json::{Value, json};
use valetkey::app::demo::cast::default_scopes;
use valetkey::app::demo::headless::act_for;

use crate::agent::Agent;
use crate::browser::{Browser, Page};
use crate::deployment::{Deployment, PROVIDERS, Ran, Sandbox, company, run};

pub const ADMIN: &str = "admin@example.com";
pub const PASSWORD: &str = "a long enough password";
pub const ALICE: &str = "alice@example.com";

/// The vendor's own host that a person's browser is sent to.
fn front_door(provider: &str) -> &'static str {
    match provider {
        "dingtalk" => "login.dingtalk.com",
        "lark" => "accounts.feishu.cn",
        "wecom" => "login.work.weixin.qq.com",
        "entra" => "login.microsoftonline.com",
        _ => "example.okta.com",
    }
}

/// Opens the first admin's link, sets a password, signs in, makes an API token.
pub async fn first_admin(deployment: &mut Deployment) -> Browser {
    let mut browser = Browser::new();
    let page = browser.open(&deployment.link).await;
    assert_eq!(page.status, 200, "{}", page.title());
    let form = page.form_to("/setup").unwrap();
    let email = ("email", ADMIN);
    for (problem, password, again) in
        [("differ", PASSWORD, "something else here"), ("short", "tiny key", "tiny key")]
    {
        let page = browser.submit(&page, &form, &[email, ("password", password), ("again", again)]).await;
        assert_eq!(page.status, 400, "{problem}");
        assert!(page.html.contains("setup-problem"), "{problem}: {}", page.html);
        assert!(!page.html.contains(password), "a password does not come back");
    }
    let page = browser.submit(&page, &form, &[email, ("password", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!((page.status, page.url.path()), (200, "/login"), "{}", page.title());
    let used = Browser::new().open(&deployment.link).await;
    assert_eq!(used.status, 410, "the link works once");

    let form = page.form_to("/login/local").unwrap();
    let page = browser.submit(&page, &form, &[email, ("password", PASSWORD)]).await;
    assert_eq!((page.status, page.url.path()), (200, "/admin"), "{}", page.title());
    deployment.admin_token = api_token(deployment, &mut browser, "admin").await;
    browser
}

async fn api_token(deployment: &Deployment, browser: &mut Browser, role: &str) -> String {
    let page = browser.open(&format!("{}/admin/tokens", deployment.issuer)).await;
    let form = page.form_with("role").unwrap();
    let page = browser.submit(&page, &form, &[("name", "set-up"), ("role", role)]).await;
    let start = page.html.find("vka_").unwrap_or_else(|| panic!("no token: {}", page.html));
    page.html[start..].split('<').next().unwrap().to_owned()
}

/// The sign-in page's one button, the company's own sign-in, and back.
pub async fn sign_in(deployment: &Deployment, browser: &mut Browser, sandbox: &Sandbox) -> Page {
    let page = browser.open(&format!("{}/", deployment.issuer)).await;
    assert_eq!(page.url.path(), "/login");
    let page = browser.go_on(page, ALICE, sandbox.password(ALICE), "").await;
    assert_eq!((page.status, page.url.path()), (200, "/"), "{}", page.title());
    page
}

pub fn add_providers(deployment: &Deployment, sandbox: &Sandbox) {
    let secret = deployment.write("client-secret", sandbox.text("client_secret"));
    for provider in PROVIDERS {
        let mut args = vec!["provider", "add", provider, "--client-id", sandbox.text("client_id")];
        args.extend(["--client-secret-file", &secret, "--json"]);
        company(provider).iter().for_each(|pair| args.extend(["--company", *pair]));
        let made = deployment.admin(&args).json();
        let mut uris = vec![format!("{}/callback/{provider}", deployment.issuer)];
        // The others issue no ID tokens: nobody can sign in with them.
        if matches!(provider, "entra" | "okta") {
            uris.push(format!("{}/login/callback", deployment.issuer));
        }
        assert_eq!(made["redirect_uris"], json!(uris));
        assert_eq!((&made["slug"], &made["enabled"]), (&json!(provider), &json!(true)));
        assert!(!made.to_string().contains(sandbox.text("client_secret")));
        let tested = deployment.admin(&["provider", "test", provider]).ok();
        assert!(tested.contains("✓"), "{provider}: {tested}");
    }
    fs::remove_file(secret).unwrap();
    let listed = deployment.admin(&["provider", "list", "--json"]).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 5);
    let table = deployment.admin(&["provider", "list"]).ok();
    assert!(table.lines().next().unwrap().starts_with("SLUG") && table.contains("dingtalk"), "{table}");
}

fn make_agent(deployment: &Deployment) -> Agent {
    let pairs: Vec<String> =
        PROVIDERS.iter().map(|provider| format!("{provider}={}", default_scopes(provider))).collect();
    let mut args = vec!["agent", "create", "--kind", "personal", "--name", "Alice's helper", "--json"];
    args.extend(["--purpose", "Prepares her day.", "--owner", ALICE]);
    for pair in &pairs {
        args.extend(["--ceiling", pair, "--default-scopes", pair]);
    }
    let made = deployment.admin(&args).json();
    Agent::new(&deployment.issuer, made["id"].as_str().unwrap(), made["client_secret"].as_str().unwrap())
}

/// Asks, has the employee agree, and collects: a token that works, and its grant.
async fn main_job(agent: &Agent, browser: &mut Browser, password: &str, provider: &str) -> String {
    let act = act_for(provider);
    let asked = agent.exchange(ALICE, provider).await;
    assert_eq!(asked.error(), (400, "interaction_required".to_owned()), "{provider}: {}", asked.body);
    let handle = asked.text("auth_req_id");

    browser.trail.clear();
    let page = browser.open(&asked.text("interaction_uri")).await;
    let page = browser.go_on(page, ALICE, password, act.refused_scope).await;
    assert_eq!(page.status, 200, "{provider}: {}", page.title());
    assert!(browser.trail.iter().any(|host| host == front_door(provider)), "{:?}", browser.trail);
    assert!(browser.trail.iter().all(|host| host == "127.0.0.1" || host == front_door(provider)));

    let collected = agent.poll(&handle).await;
    assert_eq!(collected.status, 200, "{provider}: {}", collected.body);
    let body = collected.json();
    let scopes: Vec<&str> = body["scope"].as_str().unwrap().split(' ').collect();
    assert!(!scopes.is_empty() && !scopes.contains(&act.refused_scope), "{scopes:?}");
    assert_eq!(body["gateway"], format!("{}/gateway/{provider}", agent.issuer));
    let token = collected.text("access_token");
    let inside = agent.call(&token, provider, act.allowed).await;
    assert_eq!(inside.status, 200, "{provider}: {}", inside.body);
    assert!(inside.header("x-valetkey-event").is_some());
    let outside = agent.call(&token, provider, act.outside).await;
    assert_eq!(outside.error(), (403, "insufficient_scope".to_owned()), "{provider}");
    token
}

#[tokio::test]
async fn from_an_empty_folder_to_a_granted_token_at_every_provider() {
    let sandbox = Sandbox::start();
    let mut deployment = Deployment::init();
    deployment.write("sandbox-ca.pem", sandbox.text("ca_pem"));
    deployment.edit(|text| {
        let text = text.replace("# provider = \"my-sign-in\"", "provider = \"okta\"");
        format!(
            "{text}\n[outbound]\nproxy = \"{}\"\nextra_ca = [\"sandbox-ca.pem\"]\n",
            sandbox.text("proxy")
        )
    });
    deployment.serve();
    let mut admin = first_admin(&mut deployment).await;
    add_providers(&deployment, &sandbox);

    let owner = ["agent", "create", "--kind", "personal", "--name", "x", "--purpose", "x", "--owner", ALICE];
    let too_early = deployment.admin(&owner).refused();
    assert!(too_early.contains("users appear with their first sign-in"), "{too_early}");
    let mut browser = Browser::behind(sandbox.text("proxy"), sandbox.text("ca_pem"));
    sign_in(&deployment, &mut browser, &sandbox).await;
    let agent = make_agent(&deployment);
    let mut tokens = Vec::new();
    for provider in PROVIDERS {
        tokens.push(main_job(&agent, &mut browser, sandbox.password(ALICE), provider).await);
    }
    let home = browser.open(&format!("{}/", deployment.issuer)).await;
    let revoke = home.forms().into_iter().filter(|form| form.action.ends_with("/revoke")).count();
    assert_eq!(revoke, 5, "each grant can be revoked on the page");

    let token = &tokens[4];
    suspension(&deployment, &agent, token).await;
    stopping(&deployment, &agent, token).await;
    refusals(&deployment, &mut admin).await;
    neighbours(&deployment);

    deployment.kill();
    deployment.serve();
    for provider in PROVIDERS {
        let again = agent.exchange(ALICE, provider).await;
        assert_eq!(again.status, 200, "{provider}: a grant outlives `kill -9`: {}", again.body);
        let call = agent.call(&again.text("access_token"), provider, act_for(provider).allowed).await;
        assert_eq!(call.status, 200, "{provider}: {}", call.body);
    }
    let key = public_key(&deployment).await;
    assert_eq!(deployment.terminate(), Some(0), "a broker that was asked to end has not failed");
    the_log(&deployment, &key);
}

async fn suspension(deployment: &Deployment, agent: &Agent, token: &str) {
    let id = agent.id.as_str();
    let call = || agent.call(token, "okta", act_for("okta").allowed);
    let state = deployment.admin(&["agent", "suspend", id, "--json"]).json();
    assert_eq!(state["state"], "suspended");
    assert_eq!(agent.exchange(ALICE, "okta").await.error(), (400, "unauthorized_client".to_owned()));
    assert_eq!(call().await.error(), (401, "invalid_token".to_owned()));
    assert_eq!(deployment.admin(&["agent", "resume", id, "--json"]).json()["state"], "active");
    assert_eq!(call().await.status, 200);
    assert!(deployment.admin(&["agent", "show", id]).ok().contains("state: active"));
    let listed = deployment.admin(&["agent", "list"]).ok();
    assert!(listed.lines().nth(1).unwrap().contains(id), "{listed}");
}

async fn stopping(deployment: &Deployment, agent: &Agent, token: &str) {
    let args = ["stop", "--provider", "okta", "--reason", "an incident", "--json"];
    let stop = deployment.admin(&args).json();
    assert_eq!((&stop["target"], &stop["target_id"]), (&json!("provider"), &json!("okta")));
    assert_eq!(agent.exchange(ALICE, "okta").await.error(), (400, "access_denied".to_owned()));
    let refused = agent.call(token, "okta", act_for("okta").allowed).await;
    assert_eq!(refused.status, 401, "{}", refused.body);
    assert_eq!(agent.exchange(ALICE, "entra").await.status, 200, "others go on");
    let twice = deployment.admin(&args).json();
    assert_eq!(twice["id"], stop["id"], "a target is stopped once");
    let listed = deployment.admin(&["stop"]).ok();
    assert!(listed.contains(stop["id"].as_str().unwrap()) && listed.contains("an incident"), "{listed}");
    deployment.admin(&["resume", stop["id"].as_str().unwrap()]).ok();
    assert_eq!(agent.call(token, "okta", act_for("okta").allowed).await.status, 200);
    assert!(deployment.admin(&["stop"]).ok().contains("no stop is in force"));
    let again = deployment.admin(&["resume", stop["id"].as_str().unwrap()]).refused();
    assert!(again.contains("there is no such stop"), "{again}");
}

async fn refusals(deployment: &Deployment, admin: &mut Browser) {
    let unknown = deployment.admin(&["agent", "show", "agt_00000000000000000000"]).refused();
    assert!(unknown.contains("there is no such agent"), "{unknown}");
    let auditor = api_token(deployment, admin, "auditor").await;
    let as_auditor = |args: &[&str]| {
        run(args, &[("VALETKEY_SERVER", &deployment.issuer), ("VALETKEY_ADMIN_TOKEN", &auditor)])
    };
    as_auditor(&["agent", "list"]).ok();
    let tail = as_auditor(&["audit", "tail", "--limit", "5", "--json"]).json();
    assert_eq!(tail["items"].as_array().unwrap().len(), 5);
    let words = as_auditor(&["stop", "--all", "--reason", "no"]).refused();
    assert!(words.contains("403") && words.contains("read only"), "{words}");
    let nobody: Ran = run(&["agent", "list"], &[("VALETKEY_SERVER", &deployment.issuer)]);
    let words = nobody.refused();
    assert!(words.contains("VALETKEY_ADMIN_TOKEN") && !words.contains("variable not found"), "{words}");
    let wrong = run(
        &["agent", "list"],
        &[("VALETKEY_SERVER", &deployment.issuer), ("VALETKEY_ADMIN_TOKEN", "vka_wrong")],
    );
    assert!(wrong.refused().contains("401"));
    let elsewhere = [("VALETKEY_SERVER", "http://127.0.0.1:1"), ("VALETKEY_ADMIN_TOKEN", auditor.as_str())];
    let words = run(&["agent", "list"], &elsewhere).refused();
    assert!(words.contains("http://127.0.0.1:1") && words.contains("--server"), "{words}");
    assert!(!words.contains("provider"), "it is the broker that does not answer: {words}");
    let port = deployment.issuer.rsplit(':').next().unwrap();
    let tls = format!("https://localhost:{port}");
    let words =
        run(&["agent", "list"], &[("VALETKEY_SERVER", &tls), ("VALETKEY_ADMIN_TOKEN", &auditor)]).refused();
    assert!(words.contains("does not speak TLS"), "it was dialled: {words}");
    let to = deployment.at("refused.backup");
    let wrong = [("VALETKEY_SERVER", deployment.issuer.as_str()), ("VALETKEY_ADMIN_TOKEN", "vka_wrong")];
    let words = run(&["vault", "backup", "--to", &to], &wrong).refused();
    assert!(words.contains("401") && words.contains("admin token"), "the broker's own words: {words}");
    let add = |provider: &str, from: &str| {
        deployment.admin(&["provider", "add", provider, "--client-id", "x", "--client-secret-file", from])
    };
    let words = add("okta", "-").refused();
    assert!(words.contains("client secret"), "an empty secret: {words}");
    let words = add("mine", &deployment.at("sandbox-ca.pem")).refused();
    assert!(words.contains("template"), "{words}");
    let words = add("entra", &deployment.at("sandbox-ca.pem")).refused();
    assert!(words.contains("tenant"), "what is missing about the company is named: {words}");
}

/// A second process on the same folder is told so, whatever it wants to do.
fn neighbours(deployment: &Deployment) {
    let port = crate::deployment::free_port();
    let listen = format!("127.0.0.1:{port}");
    let words = deployment.serve_in_vain(&[("VALETKEY_LISTEN", &listen)]);
    assert!(words.contains("another process") || words.contains("in use"), "{words}");
    let words = deployment.init_again().refused();
    assert!(words.contains("another process") || words.contains("in use"), "{words}");
}

async fn public_key(deployment: &Deployment) -> String {
    let request = crate::browser::client().get(format!("{}/api/v1/keys", deployment.issuer));
    let keys = crate::agent::Answer::of(request.bearer_auth(&deployment.admin_token)).await.json();
    let key = keys["items"].as_array().unwrap().iter().find_map(|key| key["public_key"].as_str());
    key.unwrap_or_else(|| panic!("no key: {keys}")).to_owned()
}

/// The log, checked offline: in its folder, exported, with another's key, and with one byte changed.
fn the_log(deployment: &Deployment, key: &str) {
    let folder = deployment.at("data/audit");
    let verify = |path: &str, key: &str| run(&["audit", "verify", path, "--public-key", key, "--json"], &[]);
    let report: Value = verify(&folder, key).json();
    assert!(report["entries"].as_u64().unwrap() > 50, "{report}");
    assert_eq!((&report["unprotected_tail"], &report["key_given"]), (&json!(0), &json!(true)), "{report}");

    let export = deployment.at("log.jsonl");
    run(&["audit", "export", &folder, "--to", &export], &[]).ok();
    let twice = run(&["audit", "export", &folder, "--to", &export], &[]).refused();
    assert!(twice.contains("exist"), "{twice}");
    assert_eq!(verify(&export, key).json()["entries"], report["entries"]);
    let words = verify(&export, &"ab".repeat(32)).refused();
    assert!(words.contains("sign") || words.contains("key"), "{words}");
    let text = fs::read_to_string(&export).unwrap();
    for secret in ["vks_", "vka_", "vkg_", "vkr_", "vki_"] {
        assert!(!text.contains(secret), "the log holds something like {secret}…");
    }
    let changed = deployment.write("changed.jsonl", &text.replacen("okta", "0kta", 1));
    let words = verify(&changed, key).refused();
    assert!(words.contains("entry") || words.contains("seq"), "{words}");
}
