//! Invariant 4 on a disk that is full, slow or broken.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use valetkey::app::demo::Ground;
use valetkey::audit::verify;
use valetkey::store::disk::{Disk, RealDisk};

use crate::app::{Ask, TestApp};
use crate::browser::Answers;
use crate::wire::refused;

#[derive(Default)]
pub struct BadDisk {
    pub full: AtomicBool,
    half: AtomicBool,
    breaks: AtomicBool,
    /// As an engine does on a page that it cannot make sense of.
    panics: AtomicBool,
    slow_ms: AtomicU64,
    /// How many more syncs there are before one hangs.
    syncs_left: Mutex<Option<u64>>,
    goes_on: Condvar,
}

impl BadDisk {
    pub fn hangs_after(&self, syncs: u64) {
        *self.syncs_left.lock().unwrap() = Some(syncs);
    }

    pub fn recovers(&self) {
        *self.syncs_left.lock().unwrap() = None;
        self.goes_on.notify_all();
    }
}

impl Disk for BadDisk {
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        if self.full.load(Ordering::SeqCst) { Ok(4096) } else { RealDisk.free_bytes(dir) }
    }

    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if self.half.load(Ordering::SeqCst) {
            file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_all(bytes)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        let mut left = self.syncs_left.lock().unwrap();
        while let Some(syncs) = left.as_mut() {
            if *syncs > 0 {
                *syncs -= 1;
                break;
            }
            left = self.goes_on.wait(left).unwrap();
        }
        drop(left);
        std::thread::sleep(Duration::from_millis(self.slow_ms.load(Ordering::SeqCst)));
        if self.breaks.load(Ordering::SeqCst) {
            return Err(io::Error::other("input/output error"));
        }
        assert!(!self.panics.load(Ordering::SeqCst), "a bad page");
        file.sync_data()
    }
}

const MAIL: &str = "entra/graph/v1.0/me/messages";
const SEND: &str = "entra/graph/v1.0/me/sendMail";

async fn with_a_token(audit: &Arc<BadDisk>, store: &Arc<BadDisk>) -> (TestApp, String) {
    let ground = Ground { audit_disk: audit.clone(), store_disk: store.clone(), ..Ground::default() };
    let mut app = TestApp::start_on(ground).await;
    let question = app.agent_asks(&Ask::at("entra").scope("Mail.Read Mail.Send")).await;
    app.alice_agrees_to(&question, &["Mail.Read", "Mail.Send"]).await;
    let token = app.polls(&question.text("auth_req_id")).await.token();
    (app, token)
}

/// Nothing leaves, every answer comes within two seconds, and the service stays up.
async fn nothing_is_released(app: &TestApp, token: &str, why: &str) {
    let begun = Instant::now();
    let exchange = app.agent_asks(&Ask::at("entra")).await;
    assert_eq!(
        exchange.refusal(),
        refused(503, "temporarily_unavailable"),
        "{why}: {}",
        exchange.body_text()
    );
    assert_eq!(exchange.text("access_token"), "");
    assert!(exchange.header("retry-after").is_some());
    assert!(begun.elapsed() < Duration::from_millis(2600), "{why}: {:?}", begun.elapsed());
    let read = app.calls(token, "GET", MAIL).await;
    assert_eq!(read.status, 503, "{why}: {}", read.body_text());
    assert!(!read.body_text().contains("\"value\""), "{why}: mail was released");
    let seen = app.data_calls_at("entra").await.len();
    let json = [("Content-Type", "application/json")];
    let sent = app.calls_with(token, "POST", SEND, &json, br#"{"message":{"subject":"x"}}"#).await;
    assert_eq!(sent.status, 503, "{why}");
    assert_eq!(app.data_calls_at("entra").await.len(), seen, "{why}: a mail was sent without its decision");
    let question = app.agent_asks(&Ask::at("okta").scope("okta.groups.read")).await;
    assert_eq!(question.refusal(), refused(503, "temporarily_unavailable"), "{why}");
    let denied = app.calls(token, "GET", "entra/graph/v1.0/users").await;
    assert!(denied.status == 503 || denied.status == 403, "{why}: {}", denied.status);
    assert_eq!(app.traffic.send("GET", &app.at("/healthz"), &[], b"").await.status, 200, "{why}");
}

#[actix_web::test]
async fn a_full_audit_disk_releases_nothing_and_recovers() {
    let audit = Arc::new(BadDisk::default());
    let (mut app, token) = with_a_token(&audit, &Arc::default()).await;
    for (flag, why) in [(&audit.full, "full"), (&audit.half, "full in the middle of an entry")] {
        flag.store(true, Ordering::SeqCst);
        nothing_is_released(&app, &token, why).await;
        flag.store(false, Ordering::SeqCst);
        assert_eq!(app.agent_asks(&Ask::at("entra")).await.status, 200, "{why}: it did not recover");
        assert_eq!(app.calls(&token, "GET", MAIL).await.status, 200);
    }
    // A consent that cannot be written down grants nothing.
    let question = app.agent_asks(&Ask::at("lark").scope("im:chat:read")).await;
    let callback = app.alice_stops_before_the_callback(&question, &["im:chat:read"]).await;
    let grants = app.live_grants().await.len();
    audit.full.store(true, Ordering::SeqCst);
    let page = app.alice.opens(&callback).await;
    assert!(page.status >= 400, "{} {}", page.status, page.title());
    assert_eq!(app.live_grants().await.len(), grants, "a grant was made without its event");
    audit.full.store(false, Ordering::SeqCst);
    let again = app.agent_asks(&Ask::at("lark").scope("im:chat:read")).await;
    assert_eq!(again.error(), "interaction_required");
    let page = app.alice_answers(&again, Answers { ticks: &["im:chat:read"], ..Answers::default() }).await;
    assert_eq!(page.status, 200, "{}", page.title());

    // The log is whole.
    let key = app.demo.services.vault.audit_signer().public_key();
    app.demo.services.audit.close().await;
    let report = verify::verify(&app.demo.data_dir().join("audit"), Some(key)).unwrap();
    assert!(report.entries > 10);
    app.stops().await;
}

#[actix_web::test]
async fn a_slow_audit_disk_releases_nothing_late() {
    let audit = Arc::new(BadDisk::default());
    let (app, token) = with_a_token(&audit, &Arc::default()).await;
    audit.slow_ms.store(2600, Ordering::SeqCst);
    let begun = Instant::now();
    let answer = app.agent_asks(&Ask::at("entra")).await;
    assert_eq!(answer.refusal(), refused(503, "temporarily_unavailable"));
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    audit.slow_ms.store(0, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(3000)).await;
    assert_eq!(app.calls(&token, "GET", MAIL).await.status, 200);
    app.stops().await;
}

#[actix_web::test]
async fn a_full_store_loses_no_refresh_token() {
    let store = Arc::new(BadDisk::default());
    let (mut app, _) = with_a_token(&Arc::default(), &store).await;
    app.alice_has_granted("lark", "space:document:retrieve").await;
    app.pass(7260);
    let token = app.agent_asks(&Ask::at("lark")).await.token();
    let before = app.refreshes_at("lark").await;
    store.full.store(true, Ordering::SeqCst);
    let answer = app.calls(&token, "GET", "lark/open/open-apis/drive/v1/files").await;
    assert_eq!(answer.status, 503, "{}", answer.body_text());
    assert_eq!(app.refreshes_at("lark").await, before, "a refresh token was spent that could not be saved");
    let question = app.agent_asks(&Ask::at("okta").scope("okta.groups.read")).await;
    assert_eq!(question.refusal(), refused(503, "temporarily_unavailable"));
    let stop = app.admin("POST", "/stops", &json!({"all": true, "reason": "test"})).await;
    assert_eq!(stop.status, 503, "a stop that was not saved must not be confirmed");
    store.full.store(false, Ordering::SeqCst);
    app.pass(60);
    let token = app.agent_asks(&Ask::at("lark")).await.token();
    let answer = app.calls(&token, "GET", "lark/open/open-apis/drive/v1/files").await;
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    app.stops().await;
}

const FILES: &str = "lark/open/open-apis/drive/v1/files";

/// What comes in time while the disk hangs.
async fn unavailable<T>(answer: impl Future<Output = T>, why: &str) -> T {
    let begun = Instant::now();
    let answer = answer.await;
    assert!(begun.elapsed() < Duration::from_millis(2500), "{why}: {:?}", begun.elapsed());
    answer
}

/// What went on behind a disk that hung has ended when this holds.
pub async fn until(holds: impl AsyncFn() -> bool, why: &str) {
    for _ in 0..200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{why}");
}

#[actix_web::test]
async fn a_refresh_behind_a_hanging_store_goes_on_and_its_callers_are_told() {
    let store = Arc::new(BadDisk::default());
    let (mut app, _) = with_a_token(&Arc::default(), &store).await;
    app.alice_has_granted("lark", "space:document:retrieve").await;
    for (passing, spent, why) in [
        (0, 0, "room for the answer"),
        (1, 0, "the intent"),
        (2, 1, "the answer as it came"),
        (3, 1, "the new token"),
    ] {
        app.pass(7260);
        let token = app.agent_asks(&Ask::at("lark")).await.token();
        let before = app.refreshes_at("lark").await;
        store.hangs_after(passing);
        let answer = unavailable(app.calls(&token, "GET", FILES), why).await;
        assert_eq!(answer.status, 503, "{why}: {}", answer.body_text());
        assert_eq!(app.refreshes_at("lark").await, before + spent, "{why}");
        store.recovers();
        until(async || app.calls(&token, "GET", FILES).await.status == 200, why).await;
        assert_eq!(app.refreshes_at("lark").await, before + 1, "{why}: the new token was not kept");
    }
    assert_eq!(app.state_of("lark").await["reuse_detected"], 0);
    app.stops().await;
}

#[actix_web::test]
async fn a_withdrawal_behind_a_hanging_store_goes_on_and_is_told_when_done() {
    let store = Arc::new(BadDisk::default());
    let (mut app, token) = with_a_token(&Arc::default(), &store).await;
    let home = app.alice.opens(&app.at("/")).await;
    let form = home.forms().into_iter().find(|form| form.action.ends_with("/revoke")).unwrap();
    store.hangs_after(0);
    let url = app.at(&form.action);
    let answer = unavailable(app.alice.sends(&url, &form.fields), "a withdrawal").await;
    assert_eq!(answer.status, 503, "a withdrawal that was not saved must not be confirmed");
    store.recovers();
    until(async || app.calls(&token, "GET", MAIL).await.status == 401, "the grant lives on").await;
    let told = async || {
        let events = app.admin("GET", "/events", &json!(null)).await.json();
        events["items"].as_array().unwrap().iter().any(|event| event["action"] == "grant.revoked")
    };
    until(told, "the withdrawal is not in the log").await;
    app.stops().await;
}

#[actix_web::test]
async fn a_consent_behind_a_hanging_store_grants_nothing_and_keeps_what_the_code_brought() {
    for (passing, redeemed) in [(0, 0), (1, 1)] {
        let store = Arc::new(BadDisk::default());
        let (mut app, _) = with_a_token(&Arc::default(), &store).await;
        let question = app.agent_asks(&Ask::at("lark").scope("im:chat:read")).await;
        let callback = app.alice_stops_before_the_callback(&question, &["im:chat:read"]).await;
        let before = app.token_calls_at("lark").await;
        store.hangs_after(passing);
        let answer = unavailable(app.alice.opens(&callback), "a callback").await;
        assert_eq!(answer.status, 503, "{}", answer.title());
        assert_eq!(app.token_calls_at("lark").await, before + redeemed);
        store.recovers();
        let connected = async || {
            let all = app.admin("GET", "/connections", &json!(null)).await.json();
            all["items"].as_array().unwrap().iter().any(|one| one["provider"] == "lark")
        };
        if redeemed == 1 {
            until(connected, "the code was spent for nothing").await;
        }
        let at_lark = app.live_grants().await.iter().filter(|grant| grant["provider"] == "lark").count();
        assert_eq!(at_lark, 0, "nobody has confirmed the last step");
        // Answered again; where the account is connected by now, the vendor is not asked again.
        let page = app.alice_agrees_to(&question, &["im:chat:read"]).await;
        assert_eq!(page.status, 200, "{}", page.title());
        assert_eq!(app.polls(&question.text("auth_req_id")).await.scope(), ["im:chat:read"]);
        assert_eq!(app.token_calls_at("lark").await, before + 1);
        app.stops().await;
    }
}

#[actix_web::test]
async fn a_token_that_a_hanging_store_held_back_can_still_be_collected_once() {
    let store = Arc::new(BadDisk::default());
    let (mut app, _) = with_a_token(&Arc::default(), &store).await;
    let question = app.agent_asks(&Ask::at("entra").scope("Files.Read")).await;
    let handle = question.text("auth_req_id");
    app.alice_agrees_to(&question, &["Files.Read"]).await;
    store.hangs_after(0);
    let held = unavailable(app.polls(&handle), "a poll").await;
    assert_eq!(held.refusal(), refused(503, "temporarily_unavailable"), "{}", held.body_text());
    store.recovers();
    until(async || app.polls(&handle).await.status == 200, "the token is lost").await;
    assert_eq!(app.polls(&handle).await.refusal(), refused(400, "invalid_grant"), "it came twice");
    app.stops().await;
}

#[actix_web::test]
async fn a_disk_that_breaks_ends_the_service_and_so_does_a_panic_in_the_engine() {
    for (broken, panics) in [("audit", false), ("store", false), ("audit", true), ("store", true)] {
        let (audit, store) = (Arc::new(BadDisk::default()), Arc::new(BadDisk::default()));
        let (app, token) = with_a_token(&audit, &store).await;
        let disk = if broken == "audit" { &audit } else { &store };
        let fault = if panics { &disk.panics } else { &disk.breaks };
        let why = format!("{broken}, {}", if panics { "a panic" } else { "an error" });
        fault.store(true, Ordering::SeqCst);
        let question = app.agent_asks(&Ask::at("okta").scope("okta.groups.read")).await;
        assert_eq!(question.refusal(), refused(503, "temporarily_unavailable"), "{why}");
        let told = tokio::time::timeout(Duration::from_secs(1), app.demo.broker_failed()).await;
        assert!(told.is_ok(), "{why}: the process was not told to leave");
        fault.store(false, Ordering::SeqCst);
        // What the disk holds cannot be trusted any more: nothing is released, also when it works again.
        let exchange = app.agent_asks(&Ask::at("entra")).await;
        assert_eq!(exchange.status, 503, "{why}: {}", exchange.body_text());
        assert_eq!(app.calls(&token, "GET", MAIL).await.status, 503, "{why}");
        assert_eq!(app.traffic.send("GET", &app.at("/readyz"), &[], b"").await.status, 503, "{why}");
    }
}
