//! What `/metrics` counts: each figure moves with what it stands for, by as much, and by nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use valetkey::app::demo::people::ALICE;
use valetkey::model::connection::{Connection, Lease};
use valetkey::store::{Committed, Tx};

use crate::app::{Ask, TestApp};

// Every access token is over after that long: none is used while its successor is fetched.
const LONG: u64 = 7260;
const MAIL: &str = "entra/graph/v1.0/me/messages";
const FILES: &str = "lark/open/open-apis/drive/v1/files";
const OUTCOMES: [&str; 6] = ["renewed", "narrowed", "failed", "in_doubt", "refused", "lost"];

/// Every sample of `/metrics`, by its name and labels.
struct Figures(BTreeMap<String, f64>);

impl Figures {
    async fn of(app: &TestApp) -> Self {
        let answer = app.traffic.send("GET", &app.at("/metrics"), &[], b"").await;
        assert_eq!(answer.status, 200, "{}", answer.body_text());
        let text = answer.body_text();
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Self(samples.collect())
    }

    /// What has counted nothing yet is not shown.
    fn at(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    fn refreshes(&self, provider: &str) -> [f64; OUTCOMES.len()] {
        let name =
            |outcome| format!("valetkey_refreshes_total{{provider=\"{provider}\",outcome=\"{outcome}\"}}");
        OUTCOMES.map(|outcome| self.at(&name(outcome)))
    }

    fn grown(&self, before: &Self, name: &str) -> f64 {
        assert!(self.0.contains_key(name), "there is no `{name}`: {:?}", self.0.keys());
        self.at(name) - before.at(name)
    }
}

/// By how much each outcome has grown at a provider, those that have not left out.
fn grown(before: &Figures, after: &Figures, provider: &str) -> Vec<(&'static str, f64)> {
    let (before, after) = (before.refreshes(provider), after.refreshes(provider));
    let each = OUTCOMES.into_iter().zip(before).zip(after);
    each.map(|((outcome, before), after)| (outcome, after - before)).filter(|(_, by)| *by != 0.0).collect()
}

async fn status_of_a_call(app: &TestApp, provider: &str, path: &str) -> u16 {
    match app.agent_asks(&Ask::at(provider)).await {
        answer if answer.status == 200 => app.calls(&answer.token(), "GET", path).await.status,
        refused => refused.status,
    }
}

#[actix_web::test]
async fn each_refresh_is_counted_once_by_how_it_ended() {
    let mut app = TestApp::start().await;
    app.re_use_ends_the_family_at("lark").await;
    app.alice_has_granted("entra", "Mail.Read").await;
    app.alice_has_granted("lark", "space:document:retrieve").await;

    // One that the provider is too busy for, and one that succeeds.
    app.pass(LONG);
    let before = Figures::of(&app).await;
    app.provider_will("entra", json!({"endpoint": "refresh", "kind": "rate_limit", "value": 3})).await;
    let first = status_of_a_call(&app, "entra", MAIL).await;
    app.pass(600);
    assert_eq!(status_of_a_call(&app, "entra", MAIL).await, 200, "after {first}");
    let after = Figures::of(&app).await;
    assert_eq!(grown(&before, &after, "entra"), [("renewed", 1.0), ("failed", 1.0)], "after {first}");
    assert!(after.grown(&before, "valetkey_refresh_window_seconds_count") >= 1.0);

    // Its answer is lost; where the token works once, that is in doubt, and then lost.
    app.pass(LONG);
    let before = Figures::of(&app).await;
    app.provider_will("lark", json!({"endpoint": "refresh", "kind": "drop_after_commit"})).await;
    assert_ne!(status_of_a_call(&app, "lark", FILES).await, 200, "nobody has the next token");
    let after = Figures::of(&app).await;
    assert_eq!(grown(&before, &after, "lark"), [("in_doubt", 1.0)]);
    for _ in 0..20 {
        app.pass(120);
        assert_ne!(status_of_a_call(&app, "lark", FILES).await, 200);
    }
    let last = Figures::of(&app).await;
    assert_eq!(grown(&after, &last, "lark"), [("lost", 1.0)]);
    assert_eq!(grown(&after, &last, "entra"), [], "another provider's are its own");
    app.stops().await;
}

#[actix_web::test]
async fn a_refresh_that_the_provider_refuses_is_counted_as_refused() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("entra", "Mail.Read").await;
    // At the provider she ends everything that she has consented to.
    let own = app.demo.sandbox.access_token("entra", ALICE, "her own", "User.RevokeSessions.All").unwrap();
    let ends = format!("{}/entra/graph/v1.0/me/revokeSignInSessions", app.demo.sandbox.url).parse().unwrap();
    let headers = [("Authorization", &*format!("Bearer {own}"))];
    assert_eq!(app.traffic.send("POST", &ends, &headers, b"").await.status, 200);
    app.pass(LONG);
    let before = Figures::of(&app).await;
    assert_ne!(status_of_a_call(&app, "entra", MAIL).await, 200);
    let after = Figures::of(&app).await;
    assert_eq!(grown(&before, &after, "entra"), [("refused", 1.0)]);
    assert_eq!(after.grown(&before, "valetkey_lease_conflicts_total"), 0.0);
    app.stops().await;
}

#[actix_web::test]
async fn a_refresh_that_another_process_is_ahead_of_is_a_conflict_of_leases() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("entra", "Mail.Read").await;
    app.pass(LONG);
    let (store, clock) = (&app.demo.services.store, &app.demo.services.clock);
    // What a process that was killed a moment after its claim leaves behind.
    let user = app.user_id_of(ALICE).await;
    let stored = store.find::<Connection>("user", user.as_str()).await.unwrap().remove(0);
    let until = clock.now().plus(Duration::from_secs(40));
    let lease = Some(Lease { owner: "another process".to_owned(), epoch: 9, until });
    let mut tx = Tx::new();
    tx.update(&stored, &Connection { lease, ..stored.record().clone() });
    assert_eq!(store.commit(tx).await.unwrap(), Committed::Done);

    let before = Figures::of(&app).await;
    let token = app.agent_asks(&Ask::at("entra")).await.token();
    let calls = app.calls(&token, "GET", MAIL);
    let lapses = async {
        while Figures::of(&app).await.at("valetkey_lease_conflicts_total")
            <= before.at("valetkey_lease_conflicts_total")
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let waiting = Figures::of(&app).await;
        assert_eq!(grown(&before, &waiting, "entra"), [], "nothing is dialled while another may be dialling");
        app.pass(41);
    };
    let both = futures_util::future::join(calls, lapses);
    let (answer, ()) =
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("no conflict is counted");
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    assert_eq!(grown(&before, &Figures::of(&app).await, "entra"), [("renewed", 1.0)]);
    app.stops().await;
}

#[actix_web::test]
async fn the_log_the_store_and_seals_are_measured_by_what_a_token_and_a_question_take_of_them() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("entra", "Mail.Read").await;
    let before = Figures::of(&app).await;
    for _ in 0..3 {
        app.agent_asks(&Ask::at("entra")).await.token();
    }
    let after = Figures::of(&app).await;
    // Each token waits for its entry to be durable, and for no other.
    assert_eq!(after.grown(&before, "valetkey_audit_lag_seconds_count"), 3.0);
    assert!(after.grown(&before, "valetkey_audit_lag_seconds_sum") > 0.0);
    // What is written is sealed and committed.
    let (seal, commit) = (
        "valetkey_seal_operations_total{operation=\"seal\"}",
        "valetkey_store_seconds_count{operation=\"commit\"}",
    );
    let before = Figures::of(&app).await;
    let question = app.agent_asks(&Ask::at("lark").scope("space:document:retrieve")).await;
    assert_eq!(question.error(), "interaction_required");
    let after = Figures::of(&app).await;
    for name in [seal, commit] {
        assert!(after.grown(&before, name) >= 1.0, "{name}: a question is a record");
    }
    assert!(after.grown(&before, "valetkey_store_seconds_sum{operation=\"commit\"}") > 0.0);
    let refused = "valetkey_seal_operations_total{operation=\"refused\"}";
    assert_eq!(after.grown(&before, refused), 0.0, "everything has opened");
    app.stops().await;
}
