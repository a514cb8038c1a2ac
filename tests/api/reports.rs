//! What can still act as a person, and what an agent can still do: the honest list, before and after.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};
use valetkey::app::demo::Ground;
use valetkey::app::demo::people::ALICE;
use valetkey::audiences::Audiences;
use valetkey::kernel::ids::AudienceId;
use valetkey::model::token::DelegatedTokens;
use valetkey::store::backend::Page;
use valetkey::store::{Backend, Batch, Committed, MemoryBackend, Store, StoreError, Tx};
use valetkey::tokens::GRANT_CLIENT;

use crate::app::{Ask, TestApp};
use crate::disk_full::BadDisk;
use crate::wire::refused;

const PEOPLE: &str = "https://people.example.com";

impl TestApp {
    async fn report(&self, path: &str) -> Value {
        let answer = self.admin("GET", &format!("{path}/report"), &Value::Null).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body_text());
        answer.json()
    }
}

fn count(report: &Value, list: &str) -> usize {
    report[list].as_array().unwrap().len()
}

#[actix_web::test]
async fn a_report_lists_what_acts_and_what_only_others_can_stop() {
    let mut app = TestApp::start().await;
    let id = app.user_id_of(ALICE).await;
    let person = format!("/users/{id}");
    let agent = format!("/agents/{}", app.personal.id);
    assert_eq!(count(&app.report(&person).await, "grants"), 0);
    // A grant, a provider token that has left under it, and an open question.
    let ask = Ask::at("lark").scope("im:chat:read").for_a_provider_token();
    let released = app.alice_has_answered(&ask, "im:chat:read").await;
    let has_left = released.text("issued_token_type").ends_with(":access_token");
    let asked = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    assert_eq!(asked.refusal(), refused(400, "interaction_required"));
    let report = app.report(&person).await;
    let grant = &report["grants"][0];
    assert_eq!((&grant["agent"], &grant["provider"]), (&json!(app.personal.id), &json!("lark")));
    assert_eq!((&grant["holds"], &grant["refused"]), (&json!(true), &Value::Null));
    assert_eq!(count(grant, "provider_tokens"), usize::from(has_left));
    assert_eq!((count(&report, "connections"), &report["open_interactions"]), (1, &json!(1)));
    assert_eq!((&report["sessions"], count(&report, "owned_agents")), (&json!(1), 2));
    // The personal agent and the assistant reach the people service for her; the autonomous one does not.
    assert_eq!(count(&report, "audiences"), 2);
    assert_eq!(report["audiences"][0]["tokens_end_within_s"], 300);
    let told = app.report(&agent).await;
    assert_eq!((count(&told, "grants"), count(&told, "audiences"), &told["refused"]), (1, 1, &Value::Null));
    assert_eq!(told["audiences"][0]["for"], json!({ "groups": ["staff"] }));

    // Suspended: the grant holds, and is of no use.
    app.admin_does(&format!("{agent}/suspend"), &Value::Null).await;
    let report = app.report(&person).await;
    assert_eq!(report["grants"][0]["refused"], "the agent is suspended");
    assert_eq!(count(&report, "audiences"), 1);
    let told = app.report(&agent).await;
    assert_eq!((&told["refused"], count(&told, "audiences")), (&json!("the agent is suspended"), 0));
    app.admin_does(&format!("{agent}/resume"), &Value::Null).await;

    // She has switched the service off.
    let audience = app.demo.services.audiences.named("https://people.example.com").await.unwrap().unwrap();
    app.demo.services.audiences.switch(&id, &audience.id, false).await.unwrap();
    assert_eq!(count(&app.report(&person).await, "audiences"), 0);

    // She has left: nothing acts any more.
    app.admin_does(&format!("{person}/depart"), &Value::Null).await;
    let report = app.report(&person).await;
    let holding = report["grants"].as_array().unwrap().iter().filter(|grant| grant["holds"] == true).count();
    assert_eq!((holding, count(&report, "connections"), count(&report, "audiences")), (0, 0, 0));
    assert_eq!((&report["sessions"], &report["open_interactions"]), (&json!(0), &json!(0)));
    for path in ["/users/usr_nobody", "/agents/agt_nobody"] {
        assert_eq!(app.admin("GET", &format!("{path}/report"), &Value::Null).await.status, 404);
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_report_lists_the_tokens_that_only_back_ends_could_refuse() {
    let app = TestApp::start().await;
    let person = format!("/users/{}", app.user_id_of(ALICE).await);
    let agent = format!("/agents/{}", app.personal.id);
    for path in [&person, &agent] {
        assert_eq!(app.report(path).await["delegation_tokens"], json!([]), "nothing has left yet");
    }
    let at_people = Ask::at("entra").with("audience", PEOPLE);
    let token = app.agent_asks(&at_people).await;
    let itself = at_people.clone().with("grant_type", GRANT_CLIENT).by(&app.autonomous);
    let itself = itself.without("subject_token").without("subject_token_type");
    assert_eq!((token.status, app.agent_asks(&itself).await.status), (200, 200));
    let left = app.report(&person).await["delegation_tokens"].clone();
    assert_eq!((&left[0]["identifier"], &left[0]["agent"]), (&json!(PEOPLE), &json!(app.personal.id)));
    assert_eq!(left.as_array().unwrap().len(), 1, "the autonomous agent does not act for her: {left}");
    let own = app.report(&format!("/agents/{}", app.autonomous.id)).await["delegation_tokens"].clone();
    assert_eq!((&own[0]["identifier"], &own[0]["user"]), (&json!(PEOPLE), &Value::Null));

    // Every door is closed, and the token is listed all the same.
    let audience = app.demo.services.audiences.named(PEOPLE).await.unwrap().unwrap();
    app.demo.services.audiences.switch(&app.user_id_of(ALICE).await, &audience.id, false).await.unwrap();
    assert_eq!(app.introspects(&app.personal, &token.text("access_token")).await, json!({ "active": false }));
    app.admin_does(&format!("{agent}/suspend"), &Value::Null).await;
    let departed = app.admin("POST", &format!("{person}/depart"), &json!({})).await.json();
    assert_eq!(departed["delegation_tokens"], left, "one record in two shapes");
    for path in [&person, &agent] {
        let report = app.report(path).await;
        assert_eq!((count(&report, "audiences"), &report["delegation_tokens"]), (0, &left), "{path}");
    }
    // Until its end, and not much longer.
    app.demo.advance(Duration::from_secs(299));
    assert_eq!(app.report(&person).await["delegation_tokens"], left);
    // Even if the back end's registration were lost.
    let mut tx = Tx::new();
    tx.delete(&app.demo.services.audiences.get(&audience.id).await.unwrap().unwrap());
    assert_eq!(app.demo.services.store.commit(tx).await.unwrap(), Committed::Done);
    assert_eq!(
        app.report(&person).await["delegation_tokens"][0]["identifier"],
        json!(audience.id),
        "nobody could tell where it works"
    );
    app.demo.advance(Duration::from_secs(80));
    assert_eq!(app.report(&person).await["delegation_tokens"], json!([]));
    app.stops().await;
}

/// The registry as another node, or the next process, has it.
fn another_node(app: &TestApp, store: Store) -> Audiences {
    let on = &app.demo.services;
    Audiences::new(store, on.vault.clone(), on.audit.clone(), on.clock.clone(), on.entropy.clone())
}

#[actix_web::test]
async fn a_token_that_could_not_be_listed_does_not_leave() {
    let disk = Arc::new(BadDisk::default());
    let app = TestApp::start_on(Ground { store_disk: disk.clone(), ..Ground::default() }).await;
    let at_people = Ask::at("entra").with("audience", PEOPLE);
    let user = app.user_id_of(ALICE).await;
    let other = another_node(&app, app.demo.services.store.clone());

    disk.full.store(true, Ordering::SeqCst);
    let answer = app.agent_asks(&at_people).await;
    assert_eq!(answer.refusal(), refused(503, "temporarily_unavailable"));
    assert_eq!(answer.json()["access_token"], Value::Null);
    disk.full.store(false, Ordering::SeqCst);
    assert_eq!(app.agent_asks(&at_people).await.status, 200);
    assert_eq!(other.handed_out_for(&user).await.unwrap()[0].agent.as_str(), app.personal.id);

    // Those that are listed already need no write.
    disk.full.store(true, Ordering::SeqCst);
    app.pass(60);
    assert_eq!(app.agent_asks(&at_people).await.status, 200);
    app.pass(30);
    assert_eq!(app.agent_asks(&at_people).await.status, 503, "it would outlive what is listed");
    app.stops().await;
}

#[actix_web::test]
async fn a_token_waits_for_its_decision_and_its_listing_at_the_same_time() {
    let audit = Arc::new(BadDisk::default());
    let app = TestApp::start_on(Ground { audit_disk: audit.clone(), ..Ground::default() }).await;
    let user = app.user_id_of(ALICE).await;
    // The decision is not durable in time; whoever waits for it first has nothing listed when the time is over.
    audit.hangs_after(0);
    let answer = app.agent_asks(&Ask::at("entra").with("audience", PEOPLE)).await;
    let listed = another_node(&app, app.demo.services.store.clone()).handed_out_for(&user).await.unwrap();
    audit.recovers();
    assert_eq!(answer.refusal(), refused(503, "temporarily_unavailable"));
    assert_eq!(listed.len(), 1);
    app.stops().await;
}

#[actix_web::test]
async fn what_is_listed_stays_for_as_long_as_clocks_may_differ() {
    let app = TestApp::start().await;
    assert_eq!(app.agent_asks(&Ask::at("entra").with("audience", PEOPLE)).await.status, 200);
    let services = &app.demo.services;
    let listed = async || {
        valetkey::app::jobs::sweep(services).await.unwrap();
        services.store.page::<DelegatedTokens>(None, 10).await.unwrap().len()
    };
    // The token lives 300 s and is listed for 375 s; a node that is behind issues under it all that time.
    app.pass(380);
    assert_eq!(listed().await, 1, "a node whose clock is behind believes that it is listed");
    app.pass(270);
    assert_eq!(listed().await, 1);
    app.pass(40);
    assert_eq!(listed().await, 0);
    app.stops().await;
}

/// Counts the commits, and lets others go on meanwhile.
struct Counting(MemoryBackend, Arc<AtomicUsize>);

impl Backend for Counting {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        self.0.get(key)
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.0.scan(prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.0.commit(batch).await
        })
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.sync()
    }

    fn failed(&self) -> bool {
        self.0.failed()
    }

    fn failed_signal(&self) -> BoxFuture<'_, ()> {
        self.0.failed_signal()
    }
}

#[actix_web::test]
async fn what_leaves_is_written_once_in_a_quarter_of_its_life_for_all_nodes_together() {
    const LIFE: Duration = Duration::from_secs(300);
    let app = TestApp::start().await;
    let writes = Arc::new(AtomicUsize::new(0));
    let counting = Counting(MemoryBackend::new(), writes.clone());
    let store = Store::new(Arc::new(counting), app.demo.services.vault.clone());
    let (one, other) = (another_node(&app, store.clone()), another_node(&app, store));
    let token = |after: u64| DelegatedTokens {
        agent: app.personal.id.parse().unwrap(),
        user: None,
        audience: AudienceId::generate(app.demo.services.entropy.as_ref()),
        end_by: app.demo.services.clock.now().plus(LIFE + Duration::from_secs(after)),
    };
    let first = token(0);
    let after = |secs: u64| DelegatedTokens { audience: first.audience.clone(), ..token(secs) };

    let at_once = join_all((0..40).map(|_| one.note_handed_out(&first, LIFE))).await;
    assert!(at_once.iter().all(Result::is_ok));
    assert_eq!(writes.load(Ordering::SeqCst), 1, "of those who come at one moment one writes");
    other.note_handed_out(&after(74), LIFE).await.unwrap();
    assert_eq!(writes.load(Ordering::SeqCst), 1, "another node has written what covers it");
    one.note_handed_out(&after(76), LIFE).await.unwrap();
    other.note_handed_out(&after(150), LIFE).await.unwrap();
    assert_eq!(writes.load(Ordering::SeqCst), 2, "a quarter of a life later");
    app.stops().await;
}
