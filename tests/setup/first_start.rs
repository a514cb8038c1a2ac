//! What `init` makes, what a second one keeps, and every start that must not happen.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::browser::Browser;
use crate::deployment::{Deployment, link_in, run};

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_second_init_keeps_what_is_there_and_replaces_the_unused_link() {
    let mut deployment = Deployment::init();
    for (name, wanted) in [("", 0o700), ("data", 0o700), ("root.key", 0o600), ("valetkey.toml", 0o600)] {
        assert_eq!(mode(&deployment.path(name)), wanted, "{name}");
    }
    let kept = |name: &str| fs::read(deployment.path(name)).unwrap();
    let before = [kept("root.key"), kept("valetkey.toml"), kept("data/keyring.json")];
    let printed = deployment.init_again().ok();
    assert!(printed.contains("kept "), "{printed}");
    assert_eq!(before, [kept("root.key"), kept("valetkey.toml"), kept("data/keyring.json")]);
    let second = link_in(&printed).unwrap();
    assert_ne!(second, deployment.link);

    deployment.serve();
    assert_eq!(Browser::new().open(&deployment.link).await.status, 410, "the first link was replaced");
    let bare = second.split("?token").next().unwrap();
    for wrong in [bare.to_owned(), format!("{bare}?token=vki_x"), format!("{second}x")] {
        assert_eq!(Browser::new().open(&wrong).await.status, 410, "{wrong}");
    }
    deployment.link = second;
    crate::journey::first_admin(&mut deployment).await;
    assert_eq!(deployment.terminate(), Some(0));
    let printed = deployment.init_again().ok();
    assert!(link_in(&printed).is_none() && printed.contains("an admin already"), "{printed}");
}

#[test]
fn a_wrong_root_key_fails_at_the_start_and_changes_nothing() {
    let deployment = Deployment::init();
    let stranger = Deployment::init();
    let right = fs::read(deployment.path("root.key")).unwrap();
    fs::write(deployment.path("root.key"), fs::read(stranger.path("root.key")).unwrap()).unwrap();
    let words = deployment.serve_in_vain(&[]);
    assert!(words.to_lowercase().contains("root key"), "{words}");
    assert!(deployment.init_again().refused().to_lowercase().contains("root key"));
    fs::write(deployment.path("root.key"), "not a key\n").unwrap();
    deployment.serve_in_vain(&[]);
    fs::remove_file(deployment.path("root.key")).unwrap();
    let words = deployment.serve_in_vain(&[]);
    assert!(words.contains("root.key"), "it is named: {words}");
    fs::write(deployment.path("root.key"), right).unwrap();
    fs::set_permissions(deployment.path("root.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut deployment = deployment;
    deployment.serve();
    assert_eq!(deployment.terminate(), Some(0));
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    let deployment = Deployment::init();
    for mode in [0o644, 0o640, 0o604] {
        fs::set_permissions(deployment.path("root.key"), fs::Permissions::from_mode(mode)).unwrap();
        let words = deployment.serve_in_vain(&[]);
        assert!(words.contains("chmod 600") && words.contains("root.key"), "{mode:o}: {words}");
    }
}

#[test]
fn settings_that_cannot_be_right_are_named() {
    let deployment = Deployment::init();
    let whole = fs::read_to_string(deployment.path("valetkey.toml")).unwrap();
    let issuer = format!("issuer = \"{}\"", deployment.issuer);
    let listen = whole.lines().find(|line| line.starts_with("listen")).unwrap().to_owned();
    let table: [(&str, &str, &str); 9] = [
        ("[sign_in]", "[sing_in]", "sing_in"),
        ("reserve_mib = 1", "reserve_gib = 1", "reserve_gib"),
        ("reserve_mib = 1", "reserve_mib = \"much\"", "reserve_mib"),
        (&issuer, "issuer = \"http://valetkey.example.com\"", "must be https"),
        (&issuer, "issuer = \"https://valetkey.example.com\"", "tls"),
        (&listen, "listen = \"0.0.0.0:8443\"", "must be https"),
        (&listen, "listen = \"somewhere\"", "listen"),
        ("file = \"root.key\"", "", "root_key"),
        (
            "[sign_in]",
            "[outbound]\norigins = { \"https://a.example\" = \"http://localhost:1\" }\n[sign_in]",
            "allow_sandbox",
        ),
    ];
    for (from, to, named) in table {
        assert!(whole.contains(from), "{from}");
        deployment.edit(|_| whole.replacen(from, to, 1));
        let words = deployment.serve_in_vain(&[]);
        assert!(words.contains(named), "{from} -> {to}: {words}");
    }
    deployment.edit(|_| whole.clone());
    let words = deployment.serve_in_vain(&[("VALETKEY_OUTBOUND__SURPRISE", "1")]);
    let named = words.contains("variable `VALETKEY_OUTBOUND__SURPRISE`") && words.contains("surprise");
    assert!(named && !words.contains("valetkey.toml"), "also from the environment: {words}");
    let words = deployment.serve_in_vain(&[("VALETKEY_ISSUER", "http://valetkey.example.com")]);
    assert!(words.contains("variable `VALETKEY_ISSUER`") && words.contains("must be https"), "{words}");
    let words = deployment.serve_in_vain(&[("VALETKEY_OUTBOUND__EXTRA_CA", "[\"missing.pem\"]")]);
    assert!(words.contains("missing.pem"), "{words}");
    let words = run(&["serve", "--config", &deployment.at("nothing.toml")], &[]).refused();
    assert!(words.contains("nothing.toml") && words.contains("valetkey init"), "{words}");
}

/// Kubernetes, agents' SDKs and the shells of admins set variables that begin alike.
#[test]
fn variables_of_others_stop_nothing() {
    let deployment = Deployment::init();
    let config = deployment.at("valetkey.toml");
    let doctor = |env: &[(&str, &str)]| run(&["doctor", "--config", &config, "--json"], env).json();
    let environment = |told: &serde_json::Value| {
        let items = told["items"].as_array().unwrap().iter();
        items.filter(|item| item["check"] == "environment").map(ToString::to_string).collect::<String>()
    };
    let known = [
        ("VALETKEY_CLIENT_ID", "agt_x"),
        ("VALETKEY_SERVER", "https://valetkey.example.com"),
        ("VALETKEY_SERVICE_HOST", "10.0.0.1"),
        ("VALETKEY_PORT", "tcp://10.0.0.1:8443"),
        ("VALETKEY_PORT_8443_TCP_ADDR", "10.0.0.1"),
    ];
    assert_eq!(environment(&doctor(&known)), "");
    let slip = environment(&doctor(&[("VALETKEY_LISTNE", "127.0.0.1:1")]));
    assert!(slip.contains("VALETKEY_LISTNE") && slip.contains("doubtful"), "{slip}");
}

#[test]
fn an_issuer_that_could_not_be_served_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("vk");
    for (issuer, words) in [
        ("http://valetkey.example.com", "must be https"),
        ("https://valetkey.example.com/vault", "without a path"),
    ] {
        let ran = run(&["init", "--data", at.to_str().unwrap(), "--issuer", issuer], &[]);
        assert_eq!(ran.code, Some(2), "{issuer}: {}", ran.err);
        assert!(ran.err.contains(words) && !at.exists(), "{issuer}: {}", ran.err);
    }
    let printed =
        run(&["init", "--data", at.to_str().unwrap(), "--issuer", "https://v.example.com"], &[]).ok();
    assert!(printed.contains("trusted_proxies"), "{printed}");
}

#[tokio::test]
async fn another_admin_comes_by_a_link_that_needs_the_folder_and_the_root_key() {
    let mut deployment = Deployment::init();
    let another =
        |deployment: &Deployment| run(&["init", "--data", &deployment.at(""), "--another-admin"], &[]);
    deployment.serve();
    let mut first = crate::journey::first_admin(&mut deployment).await;
    assert!(another(&deployment).refused().contains("in use"), "not while the broker runs");
    for (email, password) in [
        ("second@example.com", "another long password"),
        (crate::journey::ADMIN, "a password for the one that was lost"),
    ] {
        assert_eq!(deployment.terminate(), Some(0));
        let link = link_in(&another(&deployment).ok()).unwrap();
        deployment.serve();
        let mut browser = Browser::new();
        let page = browser.open(&link).await;
        assert!(page.title().contains("another"), "{}", page.title());
        let form = page.form_to("/setup").unwrap();
        let fields = [("email", email), ("password", password), ("again", password)];
        let page = browser.submit(&page, &form, &fields).await;
        assert_eq!((page.status, page.url.path()), (200, "/login"), "{email}: {}", page.title());
        assert_eq!(Browser::new().open(&link).await.status, 410, "the link works once");
        let form = page.form_to("/login/local").unwrap();
        let page = browser.submit(&page, &form, &[("email", email), ("password", password)]).await;
        assert_eq!((page.status, page.url.path()), (200, "/admin"), "{email}: {}", page.title());
    }
    let page = first.open(&format!("{}/admin", deployment.issuer)).await;
    assert_eq!(page.url.path(), "/login", "whoever knew the former password is signed out");
    let told = deployment.admin(&["audit", "tail", "--limit", "100"]).ok();
    for action in ["admin.link_made", "admin.created", "admin.password_reset"] {
        assert!(told.contains(action), "{action}: {told}");
    }
}

#[test]
fn a_store_that_was_made_once_never_starts_empty() {
    let deployment = Deployment::init();
    fs::remove_dir_all(deployment.path("data/store")).unwrap();
    let words = deployment.serve_in_vain(&[]);
    assert!(words.contains("data"), "{words}");
    let words = deployment.init_again().refused();
    assert!(words.contains("data"), "{words}");
}

#[test]
fn a_passphrase_instead_of_a_key_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("vk");
    let args = ["init", "--data", at.to_str().unwrap(), "--issuer", "http://127.0.0.1:1", "--passphrase"];
    assert!(run(&args, &[]).refused().contains("VALETKEY_PASSPHRASE"));
    assert!(run(&args, &[("VALETKEY_PASSPHRASE", "short")]).refused().contains("16 characters"));
    let fourteen = [("VALETKEY_PASSPHRASE", "fourteen chars")];
    assert!(run(&args, &fourteen).refused().contains("16 characters"));
    assert!(!at.exists(), "nothing was begun");
    run(&args, &[("VALETKEY_PASSPHRASE", "correct horse battery")]).ok();
    assert!(!at.join("root.key").exists());
    let config = at.join("valetkey.toml");
    let serve = ["serve", "--config", config.to_str().unwrap()];
    assert!(run(&serve, &[]).refused().contains("VALETKEY_PASSPHRASE"));
    let words = run(&serve, &[("VALETKEY_PASSPHRASE", "wrong horse battery")]).refused();
    assert!(words.to_lowercase().contains("root key"), "{words}");
    assert!(!words.contains("battery"));
    // A folder that has a passphrase does not quietly get a key file too.
    run(&args[..5], &[]).refused();
    assert!(!at.join("root.key").exists());
}
