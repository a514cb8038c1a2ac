//! Data folders that an earlier release has filled are served by this one, and every secret in them opens.
//!
//! `scripts/fixture` made them. The clock stands where they were written, so that nothing in them is ever over.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use valetkey::app::serve::{self, Listening};
use valetkey::app::services::Services;
use valetkey::config::Settings;
use valetkey::kernel::clock::{ManualClock, Timestamp};
use valetkey::kernel::entropy::SystemEntropy;

use crate::agent::Agent;
use crate::deployment::{Deployment, run};
use crate::observed::{CHATS, Keeper, PROVIDER, provider};

const PEOPLE: [(&str, &str); 3] = [
    ("alice@example.com", "refresh-of-alice-0123456789"),
    ("bob@example.com", "refresh-of-bob-0123456789"),
    ("mallory@elsewhere.example", "refresh-of-mallory-0123456789"),
];
/// Their access tokens end that long after they were written.
const ACCESS_LIFE: Duration = Duration::from_secs(3600);
/// As long as the vendors' are, and nobody else's.
const ACCESS_LENGTH: usize = 1000;

/// The release's folder in the place of a new one, and the provider that its people have accounts at.
fn unpacked(engine: &str) -> (Deployment, Keeper) {
    let (deployment, provider) = (Deployment::init(), provider());
    fs::remove_dir_all(deployment.path("data")).unwrap();
    fs::remove_file(deployment.path("root.key")).unwrap();
    let kept = format!("{}/tests/setup/release-0.1.0-{engine}.tar.gz", env!("CARGO_MANIFEST_DIR"));
    let done = std::process::Command::new("tar").args(["-xzf", &kept, "-C", &deployment.at("")]).status();
    assert!(done.unwrap().success());
    deployment.edit(|text| {
        let text = text.replacen("[root_key]", "allow_sandbox = true\n[root_key]", 1);
        let text = text.replacen("[storage]\n", &format!("[storage]\nengine = \"{engine}\"\n"), 1);
        format!(
            "{text}\n[outbound.origins]\n\"https://open.feishu.cn\" = \"http://127.0.0.1:{}\"\n",
            provider.port
        )
    });
    (deployment, provider)
}

/// What the release told of its administrator and its people's agents.
fn told(deployment: &Deployment) -> (String, Vec<Value>) {
    let text = fs::read_to_string(deployment.path("agents")).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let admin = lines.next().unwrap()["admin"].as_str().unwrap().to_owned();
    (admin, lines.collect())
}

/// How many requests hold that text.
fn held(provider: &Keeper, text: &str) -> usize {
    provider.all().iter().filter(|request| String::from_utf8_lossy(request).contains(text)).count()
}

/// One sample of `/metrics`; 0 while nothing was counted.
async fn figure(base: &str, name: &str) -> f64 {
    let text = reqwest::get(format!("{base}/metrics")).await.unwrap().text().await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

async fn each_token_is_used(engine: &str) {
    let (deployment, provider) = unpacked(engine);
    let (_, people) = told(&deployment);
    let written = fs::read_to_string(deployment.path("written")).unwrap().trim().parse().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(written)));
    let settings = Settings::load(Path::new(&deployment.at("valetkey.toml")), std::iter::empty()).unwrap();
    let entropy = Arc::new(SystemEntropy::default());
    let foundation = valetkey::app::open_with(&settings, clock.clone(), entropy).await.unwrap();
    let socket = serve::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base = format!("http://{}", socket.local_addr().unwrap());
    let listening = Listening { socket, workers: 1, tls: None };
    let running = serve::start(Services::assemble(foundation), listening).await.unwrap();

    assert_eq!(people.len(), PEOPLE.len(), "{people:?}");
    for (person, (email, refresh_token)) in people.iter().zip(PEOPLE) {
        let text = |name: &str| person[name].as_str().unwrap();
        assert_eq!(text("email"), email);
        let agent = Agent::new(&base, text("agent"), text("secret"));
        let read = [
            "valetkey_seal_operations_total{operation=\"open\"}",
            "valetkey_store_seconds_count{operation=\"get\"}",
        ];
        let before = [figure(&base, read[0]).await, figure(&base, read[1]).await];
        let exchanged = agent.exchange(email, PROVIDER).await;
        assert_eq!(exchanged.status, 200, "{engine}, {email}: {exchanged:?}");
        // Nobody has read this person's agent and grant since they were written: both are read, and opened.
        for (name, before) in read.into_iter().zip(before) {
            let by = figure(&base, name).await - before;
            assert!(by >= 2.0, "{engine}, {email}: {name} has grown by {by}");
        }
        let token = exchanged.text("access_token");
        // With the access token that lay there.
        let (asked, seen) = (provider.all().len(), held(&provider, refresh_token));
        assert_eq!(agent.call(&token, PROVIDER, CHATS).await.status, 200, "{engine}, {email}");
        let requests = provider.all();
        let call = String::from_utf8_lossy(&requests[asked]);
        let shown = call.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .starts_with("authorization: bearer ")
                .then(|| line["authorization: bearer ".len()..].to_owned())
        });
        let length = shown.unwrap_or_else(|| panic!("{call}")).len();
        assert_eq!((requests.len(), length, seen), (asked + 1, ACCESS_LENGTH, 0), "{engine}, {email}");
    }
    // When that is over, with the refresh token.
    clock.advance(ACCESS_LIFE + Duration::from_secs(60));
    for (person, (email, refresh_token)) in people.iter().zip(PEOPLE) {
        let text = |name: &str| person[name].as_str().unwrap();
        let agent = Agent::new(&base, text("agent"), text("secret"));
        let token = agent.exchange(email, PROVIDER).await.text("access_token");
        assert_eq!(agent.call(&token, PROVIDER, CHATS).await.status, 200, "{engine}, {email}");
        assert_eq!(held(&provider, refresh_token), 1, "{engine}, {email}: shown to the provider once");
    }
    running.stop().await;
}

/// On the runtime that the listener needs.
#[actix_web::test]
async fn agents_of_an_earlier_release_use_the_accounts_that_it_has_sealed() {
    for engine in ["sled", "redb"] {
        each_token_is_used(engine).await;
    }
}

#[tokio::test]
async fn everything_that_an_earlier_release_has_sealed_is_sealed_anew() {
    for engine in ["sled", "redb"] {
        let (mut deployment, _provider) = unpacked(engine);
        deployment.admin_token = told(&deployment).0;
        deployment.serve();
        let counted = deployment.admin(&["vault", "status", "--json", "--count"]).json();
        deployment.admin(&["vault", "rotate"]).ok();
        // What does not open stays under the old term.
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let status = deployment.admin(&["vault", "status", "--json", "--count"]).json();
            if status["terms"][0]["values"] == 0 {
                // Two tokens of each person lie sealed within a record that is sealed as well.
                let values = status["terms"][1]["values"].as_u64().unwrap();
                assert!(values >= status["records"].as_u64().unwrap() + 6, "{engine}: {status}");
                break;
            }
            assert!(Instant::now() < until, "{engine}: {status}");
        }
        assert!(
            counted["records"].as_u64().unwrap() >= 9,
            "people, agents and connections: {engine}: {counted}"
        );
        assert_eq!(deployment.terminate(), Some(0));
        run(&["audit", "verify", &deployment.at("data/audit")], &[]).ok();
    }
}
