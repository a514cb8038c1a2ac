//! A shell script as an agent: `valetkey token`, and the recipe with curl in the documentation.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::browser::{Browser, Page};
use crate::deployment::{Demo, Ran, run};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const PEOPLE: &str = "https://people.example.com";

fn token(demo: &Demo, kind: &str, args: &[&str]) -> Ran {
    run(&[&["token"], args].concat(), &demo.environment(kind))
}

fn at_entra<'a>(scope: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--user", ALICE, "--provider", "entra", "--scope", scope], more].concat()
}

/// The page that a message names.
fn page_in(words: &str) -> String {
    let start = words.find("http://").unwrap_or_else(|| panic!("no page: {words}"));
    words[start..].split(['"', '\n', ' ']).next().unwrap().to_owned()
}

async fn agrees(demo: &Demo, email: &str, page: &str) {
    let mut browser = Browser::new();
    let page = browser.open(page).await;
    let password = demo.user(email)["password"].as_str().unwrap();
    let page = browser.go_on(page, email, password, "").await;
    assert_eq!(page.status, 200, "{}", page.title());
}

async fn refuses(demo: &Demo, email: &str, page: &str) {
    let mut browser = Browser::new();
    let mut page = browser.open(page).await;
    let password = demo.user(email)["password"].as_str().unwrap();
    let offers = |page: &Page, value: &str| {
        let form = page.form_with("decision")?;
        form.buttons.contains(&("decision".to_owned(), value.to_owned())).then_some(form)
    };
    let form = loop {
        if let Some(form) = offers(&page, "refuse") {
            break form;
        }
        // Signs in with the company, on the way.
        page = match (page.form_with("password"), offers(&page, "allow"), page.form_with("csrf")) {
            (Some(form), ..) => {
                browser.submit(&page, &form, &[("username", email), ("password", password)]).await
            }
            (None, Some(form), _) => browser.submit(&page, &form, &[("decision", "allow")]).await,
            (None, None, form) => browser.submit(&page, &form.unwrap(), &[]).await,
        };
    };
    let page = browser.submit(&page, &form, &[("decision", "refuse")]).await;
    assert_eq!(page.status, 200, "{}", page.title());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_waits_for_its_person_and_then_has_its_token() {
    let demo = Demo::start();
    let asked = token(&demo, "personal", &at_entra("Mail.Read", &[]));
    assert_eq!((asked.code, asked.out.as_str()), (Some(3), ""), "{}", asked.err);
    let page = page_in(&asked.err);
    assert!(page.contains("/i/int_"), "{page}");

    let environment = demo.environment("personal").map(|(name, value)| (name, value.to_owned()));
    let waiting = tokio::task::spawn_blocking(move || {
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        run(&[&["token"], at_entra("Mail.Read", &["--wait=60"]).as_slice()].concat(), &environment)
    });
    agrees(&demo, ALICE, &page).await;
    let waited = waiting.await.unwrap();
    assert!(waited.err.contains(&page), "the page is named before: {}", waited.err);
    let text = waited.ok();
    let agent = Agent::new(demo.info["issuer"].as_str().unwrap(), "", "");
    let read = agent.call(text.trim_end(), "entra", ("GET", "graph/v1.0/me/messages")).await;
    assert_eq!(read.status, 200, "{}", read.body);

    let details = r#"[{"type":"valetkey_limit","kind":"calls","most":1,"per":"hour"}]"#;
    let whole = token(&demo, "personal", &at_entra("Mail.Read", &["--json", "--details", details])).json();
    assert_eq!(whole["scope"], "Mail.Read");
    assert_eq!(whole["authorization_details"][0]["most"], 1, "{whole}");
    assert_eq!(whole["gateway"], format!("{}/gateway/entra", demo.info["issuer"].as_str().unwrap()));
}

#[tokio::test]
async fn each_way_to_get_no_token_has_its_own_exit_code() {
    let demo = Demo::start();
    let unknown = token(&demo, "personal", &at_entra("No.Such", &[]));
    assert_eq!((unknown.code, unknown.out.as_str()), (Some(1), ""));
    assert!(unknown.err.contains("invalid_scope"), "{}", unknown.err);
    let another = token(&demo, "personal", &["--user", BOB, "--provider", "entra", "--json"]);
    let error: Value = serde_json::from_str(&another.err).unwrap();
    assert_eq!((another.code, &error["error"]), (Some(1), &json!("invalid_request")));

    let mut environment = demo.environment("personal");
    environment[2].1 = "vks_wrong";
    let wrong = run(&[&["token"], at_entra("Mail.Read", &[]).as_slice()].concat(), &environment);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.contains("invalid_client") && !wrong.err.contains("vks_wrong"), "{}", wrong.err);
    let without = run(&[&["token"], at_entra("Mail.Read", &[]).as_slice()].concat(), &environment[..2]);
    assert_eq!(without.code, Some(1));
    assert!(without.err.contains("VALETKEY_CLIENT_SECRET"), "{}", without.err);

    let asked = token(&demo, "personal", &at_entra("Mail.Send", &["--json"]));
    let error: Value = serde_json::from_str(&asked.err).unwrap();
    assert_eq!((asked.code, &error["error"]), (Some(3), &json!("interaction_required")));
    let impatient = token(&demo, "personal", &at_entra("Mail.Send", &["--wait=0"]));
    assert_eq!(impatient.code, Some(3));
    refuses(&demo, ALICE, error["interaction_uri"].as_str().unwrap()).await;
    let denied = token(&demo, "personal", &at_entra("Mail.Send", &[]));
    assert_eq!((denied.code, denied.out.as_str()), (Some(4), ""), "{}", denied.err);

    environment[0].1 = "http://127.0.0.1:1";
    let nobody = run(&[&["token"], at_entra("Mail.Read", &[]).as_slice()].concat(), &environment);
    assert_eq!(nobody.code, Some(5), "{}", nobody.err);
    environment[0].1 = "http://broker.example";
    let in_the_clear = run(&[&["token"], at_entra("Mail.Read", &[]).as_slice()].concat(), &environment);
    assert_eq!(in_the_clear.code, Some(1), "{}", in_the_clear.err);
}

#[test]
fn back_ends_are_reached_for_a_person_or_as_itself() {
    let demo = Demo::start();
    let itself = token(&demo, "autonomous", &["--audience", PEOPLE]).ok();
    assert_eq!(itself.trim_end().split('.').count(), 3, "{itself}");
    let folder = tempfile::tempdir().unwrap();
    let (id_token, secret) = (folder.path().join("id-token"), folder.path().join("secret"));
    fs::write(&id_token, demo.user(BOB)["id_token"].as_str().unwrap()).unwrap();
    let environment = demo.environment("assistant");
    fs::write(&secret, format!("{}\n", environment[2].1)).unwrap();
    let args = ["token", "--audience", PEOPLE, "--scope", "leave.read", "--json"];
    let files = ["--id-token-file", id_token.to_str().unwrap()];
    let key = ["--client-secret-file", secret.to_str().unwrap()];
    let for_bob = run(&[&args[..], &files, &key].concat(), &environment[..2]).json();
    assert_eq!(for_bob["scope"], "leave.read", "{for_bob}");
    let asserted = ["--client-assertion-file", id_token.to_str().unwrap()];
    let refused = run(&[&args[..], &files, &asserted].concat(), &environment[..2]);
    assert_eq!(refused.code, Some(1), "an ID token is no proof of who the agent is: {}", refused.err);
}

/// The block of shell text under that heading of docs/sdk.md.
fn recipe(heading: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sdk.md")).unwrap();
    let (_, section) = page.split_once(heading).unwrap_or_else(|| panic!("no `{heading}`"));
    let (_, block) = section.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recipe_with_curl_works_as_it_is_written() {
    let demo = Demo::start();
    // The page is known beforehand: the same question has the same interaction.
    let page = page_in(&token(&demo, "personal", &at_entra("Mail.Read", &[])).err);
    let running = Command::new("bash")
        .args(["-euc", &recipe("## With curl alone")])
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .envs(demo.environment("personal"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    agrees(&demo, ALICE, &page).await;
    let ended = running.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert!(ended.status.success(), "{out}{err}");
    assert!(err.contains(&page), "{err}");
    let messages: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    assert!(!messages["value"].as_array().unwrap().is_empty(), "{messages}");
}
