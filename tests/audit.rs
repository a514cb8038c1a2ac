//! The audit log: durable, chained, signed; damage is named, a torn end is repaired.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]

use std::fs;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use valetkey::audit::join::verify_all;
use valetkey::audit::verify::{BadEntry, verify};
use valetkey::audit::{AuditError, AuditLog, EventFilter, Reserve, export};
use valetkey::kernel::clock::{ManualClock, SystemClock, Timestamp};
use valetkey::kernel::entropy::{SeededEntropy, SystemEntropy};
use valetkey::kernel::ids::{AgentId, ProviderSlug};
use valetkey::model::event::{EventDraft, EventKind, WITNESSED};
use valetkey::store::disk::{Disk, RealDisk};
use valetkey::vault::Vault;

/// A disk that fails when told to.
#[derive(Default)]
struct BadDisk {
    full: AtomicBool,
    /// Writes half of what it is given, then says that it is full.
    half: AtomicBool,
    sync_fails: AtomicBool,
    /// What one write may have, where there is a limit that free space says nothing of.
    quota: AtomicUsize,
    slow_ms: AtomicU64,
}

impl Disk for BadDisk {
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        if self.full.load(Ordering::SeqCst) { Ok(1000) } else { RealDisk.free_bytes(dir) }
    }

    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if self.half.load(Ordering::SeqCst) {
            file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let quota = self.quota.load(Ordering::SeqCst);
        if quota > 0 && bytes.len() > quota {
            file.write_all(&bytes[..quota])?;
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        file.write_all(bytes)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(self.slow_ms.load(Ordering::SeqCst)));
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("input/output error"));
        }
        file.sync_data()
    }
}

struct Fixture {
    folder: tempfile::TempDir,
    vault: Vault,
    disk: Arc<BadDisk>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::ephemeral(Arc::new(SeededEntropy::new(11)));
        Self { folder, vault, disk: Arc::default() }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    fn segment(&self) -> PathBuf {
        self.dir().join("000001.log")
    }

    fn open(&self) -> Result<AuditLog, AuditError> {
        AuditLog::open_on(
            Reserve { disk: self.disk.clone(), bytes: 4096 },
            &self.dir(),
            self.vault.audit_signer(),
            self.vault.deployment().clone(),
            Arc::new(ManualClock::new(Timestamp::from_secs(1_700_000_000))),
            Arc::new(SeededEntropy::new(12)),
        )
    }

    /// A closed log with that many entries, written in one go.
    async fn written(count: usize) -> Self {
        let fixture = Self::new();
        let log = fixture.open().unwrap();
        let all: Vec<_> = (0..count).map(|n| log.begin(draft(&format!("test.{n}"))).1).collect();
        for one in all {
            one.await.unwrap();
        }
        log.close().await;
        fixture
    }

    fn key(&self) -> [u8; 32] {
        self.vault.audit_signer().public_key()
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.segment()).unwrap().lines().map(str::to_owned).collect()
    }

    /// Line 0 begins the segment, line n is entry n.
    fn rewrite(&self, lines: &[String]) {
        fs::write(self.segment(), lines.join("\n") + "\n").unwrap();
    }

    fn bad(&self) -> BadEntry {
        verify(&self.dir(), Some(self.key())).unwrap_err()
    }
}

fn draft(action: &str) -> EventDraft {
    EventDraft::new(EventKind::Service, action)
}

#[tokio::test]
async fn entries_are_chained_signed_private_and_verify_offline() {
    let fixture = Fixture::written(5).await;
    let report = verify(&fixture.dir(), Some(fixture.key())).unwrap();
    assert_eq!((report.entries, report.heads, report.unprotected_tail), (5, 1, 0));
    assert!(report.key_given);
    assert_eq!(fs::metadata(fixture.segment()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(fixture.dir()).unwrap().permissions().mode() & 0o777, 0o700);

    let file = fixture.folder.path().join("export.log");
    let told = export::export(&fixture.dir(), &file).unwrap();
    let report = verify(&file, None).unwrap();
    assert_eq!((report.entries, report.key_given), (5, false));
    assert_eq!((told.entries, told.heads), (report.entries, report.heads), "both count the same things");
    assert_eq!(report.public_key, Some(fixture.key()));
    assert!(report.to_string().contains("that the log itself names"));
    assert!(export::export(&fixture.dir(), &file).is_err(), "an export never overwrites");
}

#[tokio::test]
async fn a_head_is_signed_at_least_every_thousand_entries() {
    let fixture = Fixture::new();
    let log = fixture.open().unwrap();
    for _ in 0..3 {
        let all: Vec<_> = (0..800).map(|_| log.begin(draft("test")).1).collect();
        for one in all {
            one.await.unwrap();
        }
    }
    let report = verify(&fixture.dir(), Some(fixture.key())).unwrap();
    assert_eq!((report.entries, report.heads, report.last_signed_seq), (2400, 2, 2000));
    assert_eq!(report.unprotected_tail, 400);
    drop(log);
    let report = verify(&fixture.dir(), Some(fixture.key())).unwrap();
    assert_eq!((report.heads, report.unprotected_tail), (3, 0), "dropping the last handle signs the rest");
}

#[tokio::test]
async fn a_log_goes_on_where_it_ended_and_remembers_recent_events() {
    let fixture = Fixture::written(3).await;
    let log = fixture.open().unwrap();
    let mut by_agent = draft("agent");
    let agent = AgentId::generate(&SeededEntropy::new(1));
    by_agent.agent = Some(agent.clone());
    by_agent.provider = "a-provider".parse::<ProviderSlug>().ok();
    let id = log.record(by_agent).await.unwrap();
    let actions = |filter: &EventFilter, limit| -> Vec<String> {
        log.recent(filter, limit).into_iter().map(|event| event.draft.action).collect()
    };
    assert_eq!(actions(&EventFilter::default(), 2), ["agent", "test.2"]);
    let filter = EventFilter { agent: Some(agent), ..EventFilter::default() };
    assert_eq!(log.recent(&filter, 10)[0].id, id);
    assert_eq!(actions(&filter, 10).len(), 1);
    let filter = EventFilter { before_seq: Some(3), ..EventFilter::default() };
    assert_eq!(actions(&filter, 10), ["test.1", "test.0"]);
    log.close().await;
    assert!(matches!(log.record(draft("late")).await, Err(AuditError::Closed)));
    assert_eq!(verify(&fixture.dir(), Some(fixture.key())).unwrap().entries, 4);
}

#[tokio::test]
async fn every_kind_of_tampering_is_named_with_its_entry() {
    type Change = fn(&mut Vec<String>);
    let cases: [(&str, u64, Change); 8] = [
        ("edited", 3, |lines| lines[3] = lines[3].replace("test.2", "test.9")),
        ("deleted", 3, |lines| drop(lines.remove(3))),
        ("inserted", 4, |lines| lines.insert(4, lines[3].replace("\"seq\":3", "\"seq\":4"))),
        ("reordered", 3, |lines| lines.swap(3, 4)),
        ("duplicated", 4, |lines| lines.insert(4, lines[3].clone())),
        ("cut off", 4, |lines| lines.truncate(4)),
        ("not a line", 2, |lines| lines[2] = "{}".to_owned()),
        ("no first segment line", 1, |lines| drop(lines.remove(0))),
    ];
    for (name, seq, change) in cases {
        let fixture = Fixture::written(6).await;
        let mut lines = fixture.lines();
        change(&mut lines);
        fixture.rewrite(&lines);
        let bad = fixture.bad();
        assert_eq!(bad.seq, seq, "{name}: {bad}");
        assert!(bad.to_string().starts_with(&format!("entry {seq}: ")), "{bad}");
        let refused = fixture.open().map(drop).unwrap_err();
        assert!(matches!(refused, AuditError::Damaged(ref bad) if bad.seq == seq), "{name}: {refused}");
    }
}

#[tokio::test]
async fn a_rewritten_log_with_right_hashes_fails_at_the_signature() {
    let honest = Fixture::written(4).await;
    // The same installation's log as someone without the signing key can best fake it.
    let mut forged = honest.lines();
    let start = &forged[0];
    let mut link = start[start.find("\"prev\":\"").unwrap() + 8..][..64].to_owned();
    for line in &mut forged[1..=4] {
        let canonical = line["{\"entry\":".len()..line.len() - 75].replace("test.1", "fake.1");
        let mut bytes = hex(&link);
        bytes.extend_from_slice(canonical.as_bytes());
        link = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes)
            .as_ref()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        *line = format!("{{\"entry\":{canonical},\"hash\":\"{link}\"}}");
    }
    honest.rewrite(&forged);
    let bad = honest.bad();
    assert_eq!(bad.seq, 1, "{bad}");
    assert!(bad.problem.contains("rewritten"), "{bad}");
}

#[tokio::test]
async fn a_log_signed_by_another_key_is_refused() {
    let fixture = Fixture::written(2).await;
    let bad = verify(&fixture.dir(), Some([7; 32])).unwrap_err();
    assert!(bad.problem.contains("another key"), "{bad}");
    let mut lines = fixture.lines();
    let head = lines.last_mut().unwrap();
    *head = head.replace("\\n2\\n", "\\n3\\n");
    fixture.rewrite(&lines);
    assert!(fixture.bad().problem.contains("signature"), "{}", fixture.bad());
}

#[tokio::test]
async fn a_log_that_lost_its_end_or_all_of_it_is_noticed() {
    let fixture = Fixture::written(4).await;
    let whole = fixture.lines();
    // Entries and head cut off together: the copy of the newest head still knows.
    fixture.rewrite(&whole[..3]);
    assert_eq!(fixture.bad().seq, 3);
    assert!(matches!(fixture.open(), Err(AuditError::Damaged(_))));
    fs::remove_file(fixture.segment()).unwrap();
    assert!(matches!(fixture.open(), Err(AuditError::Damaged(_))));
    assert!(verify(&fixture.dir(), None).is_err());
}

#[tokio::test]
async fn a_torn_last_line_is_cut_off_and_told_and_the_log_goes_on() {
    for torn in ["{\"entry\":{\"seq\":4,", "\0\0\0\0\0\0\n", "{\"entry\":{\"seq\":4\0\0\0\n\0\0"] {
        let fixture = Fixture::written(3).await;
        let mut file = fs::OpenOptions::new().append(true).open(fixture.segment()).unwrap();
        file.write_all(torn.as_bytes()).unwrap();
        let log = fixture.open().unwrap();
        log.record(draft("after")).await.unwrap();
        let events = log.recent(&EventFilter::default(), 2);
        assert_eq!(events[0].draft.action, "after");
        assert_eq!((events[1].seq, events[1].draft.action.as_str()), (4, "audit.repaired"));
        assert!(events[1].draft.reasons[0].contains("cut off"), "{:?}", events[1].draft.reasons);
        log.close().await;
        assert_eq!(verify(&fixture.dir(), Some(fixture.key())).unwrap().entries, 5);
    }
}

/// A segment has its space ahead of its end, as zeros: they are neither entries nor damage, for any reader.
#[tokio::test]
async fn the_room_ahead_of_a_log_is_no_part_of_it() {
    let fixture = Fixture::new();
    let log = fixture.open().unwrap();
    log.record(draft("one")).await.unwrap();
    let bytes = fs::read(fixture.segment()).unwrap();
    assert!(bytes.ends_with(&[0; 1000]), "a log that is being written has room");
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    log.record(draft("two")).await.unwrap();
    assert_eq!(fs::metadata(fixture.segment()).unwrap().len(), bytes.len() as u64, "it goes into the room");

    let report = verify(&fixture.dir(), Some(fixture.key())).unwrap();
    assert_eq!((report.entries, report.torn_bytes), (2, 0));
    let exported = fixture.folder.path().join("export");
    assert_eq!(export::export(&fixture.dir(), &exported).unwrap().entries, 2);
    assert!(!fs::read(&exported).unwrap().contains(&0));

    log.close().await;
    let closed = fs::read(fixture.segment()).unwrap();
    assert!(closed.len() > end && closed.ends_with(b"\n"), "a log that was closed has no room");
    assert!(!closed.contains(&0));
}

#[tokio::test]
async fn a_log_whose_writer_was_killed_goes_on_in_front_of_its_room() {
    for (left_behind, is_told) in [("", false), ("{\"entry\":{\"seq\":4,", true)] {
        let fixture = Fixture::written(3).await;
        let mut bytes = fs::read(fixture.segment()).unwrap();
        bytes.extend_from_slice(left_behind.as_bytes());
        bytes.resize(bytes.len() + 100_000, 0);
        fs::write(fixture.segment(), &bytes).unwrap();
        let report = verify(&fixture.dir(), Some(fixture.key())).unwrap();
        assert_eq!((report.entries, report.torn_bytes), (3, left_behind.len() as u64));

        let log = fixture.open().unwrap();
        log.record(draft("after")).await.unwrap();
        let told = log.recent(&EventFilter::default(), 9).iter().any(|e| e.draft.action == "audit.repaired");
        assert_eq!(told, is_told, "left behind: {left_behind}");
        log.close().await;
        let report = verify(&fixture.dir(), Some(fixture.key())).unwrap();
        assert_eq!((report.entries, report.torn_bytes), (4 + u64::from(is_told), 0));
    }
}

/// Whoever writes zeros over the end of a log makes it look like room. The newest head counts what was there.
#[tokio::test]
async fn entries_that_were_made_room_of_are_missed() {
    let fixture = Fixture::written(3).await;
    let mut bytes = fs::read(fixture.segment()).unwrap();
    let at = String::from_utf8_lossy(&bytes).find("test.2").unwrap();
    let line = bytes[..at].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    bytes[line..].fill(0);
    fs::write(fixture.segment(), &bytes).unwrap();
    assert_eq!(fixture.bad().seq, 3);
    assert!(matches!(fixture.open(), Err(AuditError::Damaged(_))));
}

#[tokio::test]
async fn a_segment_that_was_never_begun_is_begun_again() {
    for bytes in [&b""[..], &[0; 5000]] {
        let fixture = Fixture::new();
        fs::create_dir(fixture.dir()).unwrap();
        fs::write(fixture.segment(), bytes).unwrap();
        let log = fixture.open().unwrap();
        log.record(draft("first")).await.unwrap();
        log.close().await;
        assert_eq!(verify(&fixture.dir(), Some(fixture.key())).unwrap().entries, 1);
    }
}

/// One flipped bit makes a zero byte of a space or an `@`; that is damage, and no write that a power cut has torn.
#[tokio::test]
async fn a_zero_byte_among_acknowledged_entries_cuts_nothing_off() {
    for (zeros, goes_on, knows_head) in [(1, false, false), (9, true, false), (9, false, true)] {
        let fixture = Fixture::written(3).await;
        if goes_on {
            let log = fixture.open().unwrap();
            log.record(draft("after a head")).await.unwrap();
            log.close().await;
        }
        if !knows_head {
            fs::remove_file(fixture.dir().join("head")).unwrap();
        }
        let kept =
            format!("{zeros} zeros, entries after a head: {goes_on}, the newest head is known: {knows_head}");
        let mut bytes = fs::read(fixture.segment()).unwrap();
        let at = String::from_utf8_lossy(&bytes).find("test.1").unwrap();
        bytes[at..at + zeros].fill(0);
        fs::write(fixture.segment(), &bytes).unwrap();
        let refused = fixture.open().map(drop).unwrap_err();
        assert!(matches!(refused, AuditError::Damaged(_)), "{kept}: {refused}");
        assert_eq!(fs::read(fixture.segment()).unwrap(), bytes, "{kept}");
    }
}

/// A block of the disk that was not written may hold one byte of a group only: its first, at the block's end.
#[tokio::test]
async fn a_lost_block_that_held_one_byte_of_a_group_is_torn_and_one_changed_byte_is_damage() {
    for (lost, is_torn) in [("the first byte", true), ("a byte in the midst", false), ("beside", false)] {
        let fixture = Fixture::new();
        let log = fixture.open().unwrap();
        let end = || fs::read(fixture.segment()).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
        log.record(draft("x")).await.unwrap();
        let before = end();
        log.record(draft("x")).await.unwrap();
        // As long as it takes for the next line to begin with the last byte of a block.
        let plain = end() - before;
        let more = (511 + 512 * 4 - (end() + plain) % 512) % 512;
        log.record(draft(&"x".repeat(1 + more))).await.unwrap();
        let first = end();
        assert_eq!(first % 512, 511);
        log.record(draft(&"y".repeat(512))).await.unwrap();
        log.close().await;
        fs::remove_file(fixture.dir().join("head")).unwrap();

        let mut bytes = fs::read(fixture.segment()).unwrap();
        let at = match lost {
            "the first byte" => first,
            "a byte in the midst" => first + 512,
            _ => first + 1,
        };
        bytes[at] = 0;
        fs::write(fixture.segment(), &bytes).unwrap();
        match fixture.open() {
            Ok(log) => log.close().await,
            Err(refused) => {
                assert!(matches!(refused, AuditError::Damaged(_)) && !is_torn, "{lost}: {refused}")
            }
        }
        assert_eq!(verify(&fixture.dir(), Some(fixture.key())).is_ok(), is_torn, "{lost}");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_entries_and_recovers_without_a_scar() {
    let fixture = Fixture::new();
    let log = fixture.open().unwrap();
    log.record(draft("before")).await.unwrap();
    for flag in [&fixture.disk.full, &fixture.disk.half] {
        flag.store(true, Ordering::SeqCst);
        assert!(matches!(log.record(draft("refused")).await, Err(AuditError::Full)));
        assert!(!log.failed());
        flag.store(false, Ordering::SeqCst);
        log.record(draft("after")).await.unwrap();
    }
    log.close().await;
    let report = verify(&fixture.dir(), Some(fixture.key())).unwrap();
    assert_eq!((report.entries, report.unprotected_tail), (3, 0));
    assert!(!fs::read_to_string(fixture.segment()).unwrap().contains("refused"));
}

/// The disk has space, and whoever writes may have little of it.
#[tokio::test]
async fn an_entry_that_a_quota_has_space_for_is_written_also_where_it_has_none_for_the_room() {
    let fixture = Fixture::new();
    fixture.disk.quota.store(16 << 10, Ordering::SeqCst);
    let log = fixture.open().unwrap();
    log.record(draft("one")).await.unwrap();
    log.record(draft("two")).await.unwrap();
    log.close().await;
    let report = verify(&fixture.dir(), Some(fixture.key())).unwrap();
    assert_eq!((report.entries, report.torn_bytes), (2, 0));
}

#[tokio::test]
async fn a_failed_sync_latches() {
    let fixture = Fixture::new();
    let log = fixture.open().unwrap();
    log.record(draft("before")).await.unwrap();
    fixture.disk.sync_fails.store(true, Ordering::SeqCst);
    assert!(matches!(log.record(draft("lost")).await, Err(AuditError::Failed)));
    tokio::time::timeout(Duration::from_secs(1), log.failed_signal()).await.unwrap();
    fixture.disk.sync_fails.store(false, Ordering::SeqCst);
    assert!(matches!(log.record(draft("later")).await, Err(AuditError::Failed)), "it stays latched");
}

#[tokio::test]
async fn a_slow_disk_costs_a_caller_two_seconds_at_most() {
    let fixture = Fixture::new();
    let log = fixture.open().unwrap();
    fixture.disk.slow_ms.store(2300, Ordering::SeqCst);
    let before = std::time::Instant::now();
    assert!(matches!(log.record(draft("slow")).await, Err(AuditError::TooSlow)));
    assert!(before.elapsed() < Duration::from_millis(2250), "{:?}", before.elapsed());
    fixture.disk.slow_ms.store(0, Ordering::SeqCst);
    log.close().await;
    assert_eq!(verify(&fixture.dir(), None).unwrap().entries, 1, "the entry landed all the same");
}

#[tokio::test]
async fn a_crowd_that_outruns_the_disk_is_refused_at_once_but_outcomes_still_fit() {
    let fixture = Fixture::new();
    let log = fixture.open().unwrap();
    fixture.disk.slow_ms.store(300, Ordering::SeqCst);
    let all: Vec<_> = (0..6000).map(|_| log.begin(draft("crowd")).1).collect();
    log.record_soon(draft("outcome"));
    fixture.disk.slow_ms.store(0, Ordering::SeqCst);
    let results = futures_util::future::join_all(all).await;
    let refused = results.iter().filter(|r| matches!(r, Err(AuditError::TooSlow))).count();
    assert!(refused > 500, "{refused}");
    log.close().await;
    assert!(fs::read_to_string(fixture.segment()).unwrap().contains("\"outcome\""));
}

#[tokio::test]
async fn a_second_writer_and_another_installation_are_refused() {
    let fixture = Fixture::new();
    let log = fixture.open().unwrap();
    let refused = fixture.open().map(drop).unwrap_err();
    assert!(matches!(refused, AuditError::InUse { .. }), "{refused}");
    drop(log);
    let other = Vault::ephemeral(Arc::new(SeededEntropy::new(99)));
    let refused = AuditLog::open(
        &fixture.dir(),
        other.audit_signer(),
        other.deployment().clone(),
        Arc::new(ManualClock::new(Timestamp::from_secs(1))),
        Arc::new(SeededEntropy::new(1)),
        0,
    );
    assert!(matches!(refused, Err(AuditError::Folder { .. } | AuditError::Damaged(_))));
}

/// Runs in a process of its own, until it is killed: prints each event's id when it is durable.
#[test]
#[ignore = "the child of the next test"]
fn child_that_records_until_it_is_killed() {
    let Ok(dir) = std::env::var("VALETKEY_TEST_AUDIT") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let vault = Vault::ephemeral(Arc::new(SeededEntropy::new(11)));
        let log = AuditLog::open(
            Path::new(&dir),
            vault.audit_signer(),
            vault.deployment().clone(),
            Arc::new(SystemClock),
            Arc::new(SystemEntropy::default()),
            0,
        )
        .unwrap();
        loop {
            let all: Vec<_> = (0..5).map(|_| log.record(draft("kill"))).collect();
            for id in futures_util::future::join_all(all).await {
                println!("durable {}", id.unwrap());
            }
        }
    });
}

#[test]
fn no_acknowledged_entry_is_lost_by_kill_9_and_the_log_still_verifies() {
    let fixture = Fixture::new();
    let mut acknowledged = Vec::new();
    for round in 0..4usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_records_until_it_is_killed", "--ignored", "--nocapture"])
            .env("VALETKEY_TEST_AUDIT", fixture.dir())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut read = |line: String| acknowledged.extend(line.split("durable ").nth(1).map(str::to_owned));
        lines.by_ref().take(100 + 37 * round).for_each(&mut read);
        child.kill().unwrap();
        child.wait().unwrap();
        lines.for_each(&mut read);
    }
    let text = fs::read_to_string(fixture.segment()).unwrap();
    let lost = acknowledged.iter().filter(|id| !text.contains(id.as_str())).count();
    assert_eq!((lost, acknowledged.len() > 500), (0, true), "{}", acknowledged.len());
    drop(fixture.open().unwrap());
    let report = verify(&fixture.dir(), Some(fixture.key())).unwrap();
    assert_eq!((report.unprotected_tail, report.torn_bytes), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever single byte is changed before the last signed head, the verifier notices.
    #[test]
    fn any_changed_byte_is_noticed(at in 0usize..10_000, by in 1u8..=255) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let fixture = runtime.block_on(Fixture::written(4));
        let mut bytes = fs::read(fixture.segment()).unwrap();
        let at = at % (bytes.len() - 1);
        bytes[at] = bytes[at].wrapping_add(by);
        fs::write(fixture.segment(), bytes).unwrap();
        prop_assert!(verify(&fixture.dir(), Some(fixture.key())).is_err());
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The log of one node of the fixture's deployment.
fn of_node(fixture: &Fixture, node: &str, seed: u64) -> (PathBuf, AuditLog) {
    let dir = fixture.folder.path().join(node);
    let log = AuditLog::open_on(
        Reserve { disk: fixture.disk.clone(), bytes: 4096 },
        &dir,
        fixture.vault.audit_signer().of_node(node),
        fixture.vault.deployment().clone(),
        Arc::new(ManualClock::new(Timestamp::from_secs(1_700_000_000))),
        Arc::new(SeededEntropy::new(seed)),
    );
    (dir, log.unwrap())
}

#[tokio::test]
async fn a_node_whose_log_was_cut_off_is_given_away_by_the_others() {
    let fixture = Fixture::new();
    let (one, log) = of_node(&fixture, "one", 21);
    for n in 0..5 {
        log.record(draft(&format!("test.{n}"))).await.unwrap();
    }
    log.close().await;
    drop(log);
    let seen = fs::read_to_string(one.join("head")).unwrap();
    let (two, log) = of_node(&fixture, "two", 22);
    let mut witnessed = EventDraft::new(EventKind::Service, WITNESSED);
    witnessed.reasons.push(seen);
    log.record(witnessed).await.unwrap();
    log.close().await;
    drop(log);

    let key = Some(fixture.key());
    let joint = verify_all(&[one.clone(), two.clone()], key).unwrap();
    let nodes: Vec<_> = joint.logs.iter().map(|log| log.node.as_deref()).collect();
    assert_eq!((nodes, joint.witnessed), (vec![Some("one"), Some("two")], 1));
    assert_eq!(verify_all(std::slice::from_ref(&two), key).unwrap().absent, ["one"]);
    let twice = verify_all(&[one.clone(), one.clone()], key).unwrap_err();
    assert!(twice.problem.contains("same node"), "{twice}");

    // Whoever can write a node's folder can cut its log off, and alone it still verifies.
    let segment = one.join("000001.log");
    let text = fs::read_to_string(&segment).unwrap();
    let kept: Vec<&str> = text.lines().take(4).collect();
    fs::write(&segment, kept.join("\n") + "\n").unwrap();
    fs::remove_file(one.join("head")).unwrap();
    assert_eq!(verify(&one, key).unwrap().entries, 3);
    let found = verify_all(&[one.clone(), two], key).unwrap_err();
    assert!(found.problem.contains("cut off") && found.file == one && found.seq == 4, "{found}");
}
