//! The register of agents in a file: `valetkey agent export` and `valetkey agent apply`.

use std::fs;

use crate::deployment::{Demo, Ran, run};

fn agent(demo: &Demo, args: &[&str]) -> Ran {
    let token = demo.info["admin"]["token"].as_str().unwrap();
    let env = [("VALETKEY_SERVER", demo.info["issuer"].as_str().unwrap()), ("VALETKEY_ADMIN_TOKEN", token)];
    run(&[&["agent"], args].concat(), &env)
}

#[test]
fn a_register_lives_in_a_file_and_is_applied_after_its_plan_was_shown() {
    let demo = Demo::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agents.toml");
    let file = path.to_str().unwrap();
    let exported = agent(&demo, &["export"]).ok();
    assert!(!exported.contains("secret") && !exported.contains("vks_"), "{exported}");
    fs::write(&path, &exported).unwrap();
    assert!(agent(&demo, &["apply", file]).ok().contains("Nothing to do"));

    let more = "\n[[agent]]\nname = \"Contract reader\"\nkind = \"assistant\"\npurpose = \"Reads contracts\"\n\
        owner = \"alice@example.com\"\nstate = \"suspended\"\nlabels = [\"legal\"]\nreview_at = 2200-01-31\n\
        ceiling = { entra = \"Files.Read\" }\n";
    let changed = exported.replacen("Alice's helper", "Alice's own helper", 1) + more;
    fs::write(&path, &changed).unwrap();
    // Nobody has agreed: the plan is shown, and nothing is done.
    let planned = agent(&demo, &["apply", file]);
    assert_eq!(planned.code, Some(3), "{}", planned.err);
    for line in ["+ create  Contract reader", "~ change  Alice's own helper", "name: \"Alice's helper\" →"]
    {
        assert!(planned.out.contains(line), "{line}: {}", planned.out);
    }
    assert_eq!(agent(&demo, &["list", "--json"]).json()["items"].as_array().unwrap().len(), 3);

    let applied = agent(&demo, &["apply", file, "--yes", "--json"]).json();
    assert_eq!((&applied["applied"], applied["change"].as_array().unwrap().len()), (&true.into(), 1));
    let made = &applied["created"][0];
    assert!(made["client_secret"].as_str().unwrap().starts_with("vks_"), "{made}");
    let shown = agent(&demo, &["show", made["id"].as_str().unwrap(), "--json"]).json();
    assert_eq!(
        (&shown["state"], &shown["review_at"]),
        (&"suspended".into(), &"2200-01-31T00:00:00.000Z".into())
    );
    // The second time there is nothing left to do, although the file names no id.
    assert!(agent(&demo, &["apply", file]).ok().contains("Nothing to do"));
    let found = agent(&demo, &["list", "--label", "legal", "--state", "suspended", "--json"]).json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);

    // What the file leaves out is left as it is; what it says wrong is named, and nothing is done.
    fs::write(&path, more).unwrap();
    let left = agent(&demo, &["apply", file]).ok();
    assert_eq!(left.matches("is not in the file").count(), 3, "{left}");
    for (from, to, named) in [
        ("alice@example.com", "nobody@example.com", ":6: agent[0].owner: "),
        ("kind =", "sort =", ":4: agent[0].sort: is not known"),
        (
            "Files.Read\" }",
            "Files.Read\" }\ndefault_scopes = { entra = \"Mail.Read\" }",
            ":11: agent[0].default_scopes: ",
        ),
        ("name = \"Contract reader\"", "name = \"Another\"\nid = \"agt_unknown\"", ":4: agent[0].id: "),
    ] {
        fs::write(&path, more.replacen(from, to, 1)).unwrap();
        let refused = agent(&demo, &["apply", file, "--yes"]);
        assert_eq!(refused.code, Some(1), "{to}: {}", refused.out);
        assert!(refused.out.contains(named), "{named}: {}", refused.out);
    }
}

#[test]
fn the_file_says_how_agents_sign_in_and_holds_no_secret() {
    let demo = Demo::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agents.toml");
    let file = path.to_str().unwrap();
    let token = demo.info["admin"]["token"].as_str().unwrap();
    let env = [("VALETKEY_SERVER", demo.info["issuer"].as_str().unwrap()), ("VALETKEY_ADMIN_TOKEN", token)];
    let keys = folder.path().join("cluster.json");
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    fs::write(&keys, format!(r#"{{"keys":[{jwk}]}}"#)).unwrap();
    let source = run(
        &[
            ["trust", "add", "--name", "cluster", "--preset", "kubernetes"].as_slice(),
            ["--issuer", "https://c.example.com", "--jwks", keys.to_str().unwrap(), "--json"].as_slice(),
        ]
        .concat(),
        &env,
    )
    .json();
    let source = source["id"].as_str().unwrap();

    let hex = ["9D"; 32].join(":");
    let ways = format!(
        "sign_in = {{ keys = {{ jwks = {{ keys = [{{ kty = \"OKP\", crv = \"Ed25519\", kid = \"k1\", \
         x = \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\" }}] }} }}, \
         workloads = [{{ trust_source = \"{source}\", \
         pins = {{ namespace = \"agents\", service_account = \"mail\" }} }}], \
         certificates = {{ self_signed = {{ thumbprints = [\"{hex}\"] }} }} }}\n"
    );
    let one =
        "[[agent]]\nname = \"Mail\"\nkind = \"autonomous\"\npurpose = \"Sorts\"\nowner = \"team:staff\"\n";
    fs::write(&path, format!("{one}{ways}")).unwrap();
    assert!(agent(&demo, &["apply", file]).out.contains("+ create  Mail"));
    let made = agent(&demo, &["apply", file, "--yes", "--json"]).json();
    let id = made["created"][0]["id"].as_str().unwrap().to_owned();
    // Written in another form than it came in, and the same all the same.
    assert!(agent(&demo, &["apply", file]).ok().contains("Nothing to do"));
    let told = agent(&demo, &["credentials", &id, "--json"]).json();
    assert_eq!(told["sign_in"]["workloads"][0]["pins"]["service_account"], "mail");
    assert_eq!(told["sign_in"]["keys"]["jwks"]["keys"][0]["kid"], "k1");

    let exported = agent(&demo, &["export"]).ok();
    assert!(exported.contains(source) && exported.contains("sign_in = {}"), "{exported}");
    assert!(!exported.contains("secret") && !exported.contains("vks_"), "{exported}");
    fs::write(&path, &exported).unwrap();
    assert!(agent(&demo, &["apply", file]).ok().contains("Nothing to do"));

    // What the file does not speak of stays; what it says anew is planned first, and done.
    fs::write(&path, one.replace("Sorts", "Sorts mail")).unwrap();
    let planned = agent(&demo, &["apply", file]);
    assert!(planned.out.contains("purpose: ") && !planned.out.contains("sign_in: "), "{}", planned.out);
    agent(&demo, &["apply", file, "--yes"]).ok();
    let fewer = "sign_in = { keys = { jwks_uri = \"https://agents.example.com/jwks.json\" } }\n";
    fs::write(&path, format!("{one}{fewer}").replace("Sorts", "Sorts mail")).unwrap();
    let planned = agent(&demo, &["apply", file]);
    assert!(planned.code == Some(3) && planned.out.contains("sign_in: "), "{}", planned.out);
    let told = agent(&demo, &["credentials", &id, "--json"]).json();
    assert!(told["sign_in"]["workloads"].is_array(), "nobody has agreed: {told}");
    agent(&demo, &["apply", file, "--yes"]).ok();
    let told = agent(&demo, &["credentials", &id, "--json"]).json();
    assert_eq!(told["sign_in"]["keys"]["jwks_uri"], "https://agents.example.com/jwks.json");
    assert!(told["sign_in"].get("workloads").is_none() && told["sign_in"].get("certificates").is_none());

    for (wrong, named) in [
        ("sign_in = { passwords = [\"x\"] }", "passwords"),
        ("sign_in = { keys = { jwks_uri = \"http://agents.example.com/\" } }", "agent[0].sign_in"),
        ("sign_in = { certificates = { self_signed = { thumbprints = [\"AA\"] } } }", "agent[0].sign_in"),
        ("sign_in = \"by key\"", "agent[0].sign_in"),
    ] {
        fs::write(&path, format!("{one}{wrong}\n")).unwrap();
        let refused = agent(&demo, &["apply", file, "--yes"]);
        assert_eq!(refused.code, Some(1), "{wrong}: {}", refused.out);
        assert!(refused.out.contains(named), "{named}: {}", refused.out);
    }
}

#[test]
fn people_and_back_ends_are_administered_from_a_shell() {
    let demo = Demo::start();
    let token = demo.info["admin"]["token"].as_str().unwrap();
    let env = [("VALETKEY_SERVER", demo.info["issuer"].as_str().unwrap()), ("VALETKEY_ADMIN_TOKEN", token)];
    let made = run(
        &[
            "audience",
            "create",
            "--json",
            "--identifier",
            "https://ledger.example.com",
            "--name",
            "Ledger",
            "--purpose",
            "Invoices",
            "--scopes",
            "invoice.read invoice.write",
            "--claim",
            "email",
        ],
        &env,
    )
    .json();
    let id = made["id"].as_str().unwrap();
    assert!(made["client_secret"].as_str().unwrap().starts_with("vkb_"));
    let agent = demo.info["agents"]["assistant"]["id"].as_str().unwrap();
    let admission =
        format!(r#"{{"agents":["{agent}"],"for":{{"groups":["staff"]}},"scopes":["invoice.read"]}}"#);
    let changed = run(&["audience", "change", id, "--admission", &admission, "--json"], &env).json();
    assert_eq!((changed["admissions"].as_array().unwrap().len(), &changed["name"]), (1, &"Ledger".into()));
    assert_eq!(run(&["audience", "disable", id, "--json"], &env).json()["state"], "disabled");
    assert!(run(&["audience", "list"], &env).ok().contains("https://ledger.example.com"));

    let report = run(&["user", "report", "alice@example.com"], &env).ok();
    assert!(report.contains("audiences: 2") && report.contains("grants: 0"), "{report}");
    let told = run(&["agent", "report", agent, "--json"], &env).json();
    assert_eq!(told["audiences"][0]["identifier"], "https://people.example.com");
    let left = run(&["user", "depart", "alice@example.com", "--json"], &env).json();
    assert_eq!(left["user"]["state"], "disabled");
    assert!(run(&["user", "list", "--state", "disabled"], &env).ok().contains("alice@example.com"));
    assert!(run(&["agent", "list", "--flagged"], &env).ok().contains("no_active_owner"));
    assert_eq!(run(&["user", "restore", "alice@example.com", "--json"], &env).json()["state"], "active");
    assert!(run(&["user", "show", "nobody@example.com"], &env).refused().contains("nobody has"));
}

#[test]
fn whoever_vouches_is_listed_in_a_line_each() {
    let demo = Demo::start();
    let token = demo.info["admin"]["token"].as_str().unwrap();
    let env = [("VALETKEY_SERVER", demo.info["issuer"].as_str().unwrap()), ("VALETKEY_ADMIN_TOKEN", token)];
    let trust = |args: &[&str]| run(&[&["trust"], args].concat(), &env);
    let presets = trust(&["presets"]).ok();
    let github = presets.lines().find(|line| line.starts_with("github-actions")).unwrap();
    assert!(github.contains("repository_id*") && github.contains(" environment "), "{github}");
    assert!(!presets.contains(['{', '[']), "{presets}");

    let made = trust(&["add", "--name", "CI", "--preset", "github-actions", "--json"]).json();
    let own = "https://token.actions.githubusercontent.com";
    assert_eq!(made["vouches"]["tokens"]["issuer"], own, "the platform's own");
    let refused = trust(&["add", "--name", "Cluster", "--preset", "kubernetes"]).refused();
    assert!(refused.contains("issuer"), "each cluster has its own: {refused}");

    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Agents CA");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("ca.pem");
    fs::write(&pem, params.self_signed(&key).unwrap().pem()).unwrap();
    trust(&["add-authority", "--name", "Agents", "--certificates", pem.to_str().unwrap()]).ok();
    let listed = trust(&["list"]).ok();
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(listed.contains(own) && listed.contains("CN=Agents CA"), "{listed}");
}

#[test]
fn an_agent_is_made_with_limits_that_hold_for_all_its_grants() {
    let demo = Demo::start();
    let what =
        ["--kind", "personal", "--name", "Reader", "--purpose", "Reads", "--owner", "alice@example.com"];
    let create = |limits: &[&str]| agent(&demo, &[&["create", "--json"], what.as_slice(), limits].concat());
    let limits = ["--limit", "entra={\"kind\": \"read_only\"}", "--limit", "okta={\"kind\": \"read_only\"}"];
    let made = create(&limits).json();
    for provider in ["entra", "okta"] {
        assert_eq!(made["limits"][provider][0]["kind"], "read_only", "{made}");
    }
    for (wrong, told) in [("entra", "NAME=VALUE"), ("entra={", "not JSON"), ("entra=7", "PROVIDER={")] {
        let refused = create(&["--limit", wrong]);
        assert_eq!(refused.code, Some(2), "{wrong}");
        assert!(refused.err.contains(told), "{wrong}: {}", refused.err);
    }
    let unknown = create(&["--limit", "entra={\"kind\": \"moods\"}"]);
    assert_eq!(unknown.code, Some(1), "{}", unknown.out);
}
