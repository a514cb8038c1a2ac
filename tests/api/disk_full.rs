//! Invariant 4 on a disk that is full, slow or broken.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use valetkey::app::demo::Ground;
use valetkey::audit::verify;
use valetkey::store::disk::{Disk, RealDisk};

use crate::app::{Ask, TestApp};
use crate::browser::Answers;
use crate::wire::refused;

#[derive(Default)]
struct BadDisk {
    full: AtomicBool,
    half: AtomicBool,
    breaks: AtomicBool,
    slow_ms: AtomicU64,
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
        std::thread::sleep(Duration::from_millis(self.slow_ms.load(Ordering::SeqCst)));
        if self.breaks.load(Ordering::SeqCst) {
            return Err(io::Error::other("input/output error"));
        }
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

#[actix_web::test]
async fn a_disk_that_breaks_ends_the_service() {
    for broken in ["audit", "store"] {
        let (audit, store) = (Arc::new(BadDisk::default()), Arc::new(BadDisk::default()));
        let (app, token) = with_a_token(&audit, &store).await;
        let disk = if broken == "audit" { &audit } else { &store };
        disk.breaks.store(true, Ordering::SeqCst);
        let question = app.agent_asks(&Ask::at("okta").scope("okta.groups.read")).await;
        assert_eq!(question.status, 503, "{broken}: {}", question.body_text());
        let told = tokio::time::timeout(Duration::from_secs(1), app.demo.broker_failed()).await;
        assert!(told.is_ok(), "{broken}: the process was not told to leave");
        disk.breaks.store(false, Ordering::SeqCst);
        // What the disk holds cannot be trusted any more: nothing is released, also when it works again.
        let exchange = app.agent_asks(&Ask::at("entra")).await;
        assert_eq!(exchange.status, 503, "{broken}: {}", exchange.body_text());
        assert_eq!(app.calls(&token, "GET", MAIL).await.status, 503, "{broken}");
        assert_eq!(app.traffic.send("GET", &app.at("/readyz"), &[], b"").await.status, 503, "{broken}");
    }
}
