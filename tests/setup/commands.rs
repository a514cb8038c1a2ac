//! What holds for every command: help, exit codes, errors on stderr.

use std::fs;
use std::path::Path;

use crate::deployment::run;

/// The subcommands that a help text lists.
fn subcommands(help: &str) -> Vec<String> {
    let Some((_, rest)) = help.split_once("Commands:\n") else { return Vec::new() };
    rest.lines()
        .take_while(|line| !line.trim().is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn visit(path: &[String], seen: &mut Vec<String>) {
    let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let help = run(&args, &[]).ok();
    assert!(help.contains("Usage: valetkey"), "{path:?}: {help}");
    assert!(!help.starts_with("Usage"), "{path:?} says what it does first: {help}");
    seen.push(path.join(" "));
    for name in subcommands(&help) {
        visit(&[path, &[name]].concat(), seen);
    }
}

#[test]
fn every_command_explains_itself() {
    let mut seen = Vec::new();
    visit(&[], &mut seen);
    let wanted = [
        "demo",
        "init",
        "serve",
        "sandbox",
        "provider list",
        "provider lint",
        "provider add",
        "provider test",
        "agent create",
        "agent list",
        "agent show",
        "agent suspend",
        "agent resume",
        "agent rotate-secret",
        "agent retire",
        "agent hand-over",
        "agent history",
        "agent export",
        "agent apply",
        "agent report",
        "user list",
        "user show",
        "user report",
        "user depart",
        "user sign-out",
        "user restore",
        "audience create",
        "audience list",
        "audience show",
        "audience change",
        "audience enable",
        "audience disable",
        "audience rotate-secret",
        "stop",
        "resume",
        "token",
        "audit verify",
        "audit export",
        "audit tail",
        "openapi",
        "doctor",
        "gateway explain",
        "vault status",
        "vault rotate",
        "vault rekey",
        "vault restored",
        "vault backup",
        "vault restore",
        "vault migrate",
    ];
    for name in wanted {
        assert!(seen.iter().any(|one| one == name), "{name} is missing in {seen:?}");
    }
}

#[test]
fn what_cannot_be_understood_is_refused_with_a_hint() {
    for args in [
        &["serv"][..],
        &["serve", "--port", "1"],
        &["stop", "--reason", "no target"],
        &["stop", "--all", "--agent", "agt_x", "--reason", "two targets"],
        &["stop", "--all"],
        &["stop", "--user", "alice@example.com"],
        &["init"],
        &["init", "--data", "x", "--issuer", "no url"],
        &["agent", "create", "--kind", "personal"],
        &["audience", "create", "--identifier", "https://ledger.example.com"],
        &["init", "--data", "x", "--issuer", "https://v.example.com", "--another-admin"],
        &["provider", "lint"],
        &["token", "--issuer", "http://127.0.0.1:1", "--client-id", "x", "--user", "x"],
        &["token", "--issuer", "http://127.0.0.1:1", "--client-id", "x", "--provider", "x"],
    ] {
        let ran = run(args, &[]);
        assert_eq!(ran.code, Some(2), "{args:?}: {}{}", ran.out, ran.err);
        assert!(ran.out.is_empty() && ran.err.contains("--help"), "{args:?}: {}", ran.err);
    }
    let far = run(&["demo", "--listen", "0.0.0.0:0"], &[]).refused();
    assert!(far.contains("loopback"), "{far}");
    let far = run(&["sandbox", "--listen", "0.0.0.0:0"], &[]).refused();
    assert!(far.contains("loopback"), "{far}");
}

#[test]
fn lint_names_what_is_wrong_and_exits_with_1() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers");
    run(&["provider", "lint", shipped.to_str().unwrap()], &[]).ok();
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.toml");
    let okta = fs::read_to_string(shipped.join("okta.toml")).unwrap();
    fs::write(&broken, okta.replace("pkce = \"S256\"", "pkce = \"plain\"")).unwrap();
    let ran = run(&["provider", "lint", broken.to_str().unwrap()], &[]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("broken.toml:") && ran.out.contains("authorize.pkce"), "{}", ran.out);
    let as_json = run(&["provider", "lint", "--json", broken.to_str().unwrap()], &[]);
    let found: serde_json::Value = serde_json::from_str(&as_json.out).unwrap();
    assert_eq!((as_json.code, found["items"][0]["key"].as_str()), (Some(1), Some("authorize.pkce")));
}

#[test]
fn the_openapi_document_in_the_repository_is_the_current_one() {
    let printed = run(&["openapi"], &[]).ok();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let kept = fs::read_to_string(kept).unwrap_or_default();
    assert!(printed == kept, "the API has changed: write `valetkey openapi` to docs/openapi.json");
}
