//! Budgets under races, restarts and broken-off answers.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;

use bytes::Bytes;

use super::*;
use crate::kernel::clock::ManualClock;
use crate::kernel::entropy::{Entropy, SeededEntropy};
use crate::kernel::ids::GrantId;
use crate::model::limit::{Bound, Period};
use crate::net::NetError;
use crate::store::{Backend, MemoryBackend, SledBackend};
use crate::vault::Vault;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A node: a store of its own over what all of them share.
struct Node(Store);

struct Fixture {
    backend: Arc<dyn Backend>,
    vault: Arc<Vault>,
    clock: Arc<ManualClock>,
    grant: GrantId,
}

impl Fixture {
    fn new() -> Self {
        Self::over(Arc::new(MemoryBackend::new()))
    }

    fn over(backend: Arc<dyn Backend>) -> Self {
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
        Self {
            backend,
            grant: GrantId::generate(entropy.as_ref()),
            vault: Arc::new(Vault::ephemeral(entropy)),
            clock: Arc::new(ManualClock::new(Timestamp::from_secs(1_790_000_000))),
        }
    }

    fn node(&self) -> Node {
        Node(Store::new(Arc::clone(&self.backend), self.vault.clone()))
    }

    fn tab(&self, node: &Node, accounts: &[(Option<&str>, &[Bound])]) -> Tab {
        let account = |(token, bounds): &(Option<&str>, &[Bound])| {
            Arc::new(Account {
                grant: self.grant.clone(),
                token: token.map(str::to_owned),
                ends_at: self.clock.now().plus(30 * DAY),
                limits: bounds.iter().cloned().map(Limit::general).collect(),
            })
        };
        Tab {
            store: node.0.clone(),
            clock: self.clock.clone(),
            accounts: accounts.iter().map(account).collect(),
        }
    }
}

fn calls(most: u64) -> Bound {
    Bound::Calls { most, per: Period::Day }
}

fn chunks(sizes: &[usize]) -> Chunks {
    let chunks: Vec<Result<Bytes, NetError>> =
        sizes.iter().map(|size| Ok(vec![b'x'; *size].into())).collect();
    stream::iter(chunks).boxed()
}

/// How many bytes come out, and whether the answer breaks off.
async fn drained(mut released: Chunks) -> (usize, bool) {
    let mut bytes = 0;
    while let Some(chunk) = released.next().await {
        match chunk {
            Ok(chunk) => bytes += chunk.len(),
            Err(_) => return (bytes, true),
        }
    }
    (bytes, false)
}

async fn used(tab: &Tab, measure: Measure) -> u64 {
    let usage = tab.accounts.first().unwrap().usage(&tab.store).await.unwrap();
    usage.used(measure, tab.clock.now())
}

/// What is given back is given back on tasks of their own: whether that comes to this in the end.
async fn settles_at(tab: &Tab, expected: u64) -> bool {
    for _ in 0..100_000 {
        if used(tab, Measure::BytesPerDay).await == expected {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_calls_at_once_on_two_nodes_share_one_budget() {
    let fixture = Fixture::new();
    let nodes = [fixture.node(), fixture.node()];
    let tabs: Vec<Tab> = nodes.iter().map(|node| fixture.tab(node, &[(None, &[calls(10)])])).collect();
    let all = (0..100).map(|at| {
        let tab = tabs.get(at % 2).unwrap().clone();
        tokio::spawn(async move { tab.charge_call().await })
    });
    let passed = join_all(all).await.into_iter().filter(|charged| charged.as_ref().unwrap().is_ok()).count();
    assert_eq!(passed, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_call_is_won_by_one() {
    let fixture = Fixture::new();
    let tab = fixture.tab(&fixture.node(), &[(None, &[Bound::Once {}])]);
    let all = (0..50).map(|_| {
        let tab = tab.clone();
        tokio::spawn(async move { tab.charge_call().await })
    });
    let passed = join_all(all).await.into_iter().filter(|charged| charged.as_ref().unwrap().is_ok()).count();
    assert_eq!(passed, 1);
    fixture.clock.advance(400 * DAY);
    let refused = tab.charge_call().await.unwrap_err();
    assert_eq!((refused.status, refused.limit.unwrap().kind.as_str()), (403, "once"));
}

#[tokio::test]
async fn a_restart_keeps_what_was_counted() {
    let dir = tempfile::tempdir().unwrap();
    let open = || -> Arc<dyn Backend> { Arc::new(SledBackend::open(dir.path(), 0).unwrap()) };
    let mut fixture = Fixture::over(open());
    for expected in [true, true, true, false] {
        let tab = fixture.tab(&fixture.node(), &[(None, &[calls(3)])]);
        assert_eq!(tab.charge_call().await.is_ok(), expected);
        drop(tab);
        fixture.backend = Arc::new(MemoryBackend::new());
        fixture.backend = open();
    }
}

#[tokio::test]
async fn a_call_that_the_grant_refuses_is_not_counted_for_the_token() {
    let fixture = Fixture::new();
    let node = fixture.node();
    let both: [(Option<&str>, &[Bound]); 2] = [(Some("t"), &[calls(5)]), (None, &[calls(2)])];
    let tab = fixture.tab(&node, &both);
    let results: Vec<bool> = [tab.charge_call().await, tab.charge_call().await, tab.charge_call().await]
        .iter()
        .map(Result::is_ok)
        .collect();
    assert_eq!(results, [true, true, false]);
    assert_eq!(used(&tab, Measure::CallsPerDay).await, 2);
}

#[tokio::test]
async fn the_day_ends_and_another_budget_begins() {
    let fixture = Fixture::new();
    let tab = fixture.tab(&fixture.node(), &[(None, &[calls(1)])]);
    tab.charge_call().await.unwrap();
    let refused = tab.charge_call().await.unwrap_err();
    let wait = refused.retry_after.unwrap();
    assert!(refused.status == 429 && wait > Duration::ZERO && wait <= DAY, "{wait:?}");
    fixture.clock.advance(wait - Duration::from_secs(1));
    assert!(tab.charge_call().await.is_err());
    fixture.clock.advance(Duration::from_secs(1));
    tab.charge_call().await.unwrap();
}

#[tokio::test]
async fn an_answer_is_cut_where_its_budget_ends() {
    let fixture = Fixture::new();
    let tab = fixture.tab(&fixture.node(), &[(None, &[Bound::Bytes { most: 100_000 }])]);
    let answer = (200, Vec::new(), chunks(&[30_000; 10]));
    let (_, _, released) = tab.pay_for_bytes(answer).await.unwrap();
    assert_eq!(drained(released).await, (100_000, true));
    let again = tab.pay_for_bytes((200, Vec::new(), chunks(&[1]))).await;
    assert_eq!(again.err().map(|denial| denial.status), Some(429));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn answers_at_the_same_time_release_no_more_than_the_budget() {
    let fixture = Fixture::new();
    let most = 3_000_000;
    let tab = fixture.tab(&fixture.node(), &[(None, &[Bound::Bytes { most }])]);
    let all = (0..20).map(|_| {
        let tab = tab.clone();
        tokio::spawn(async move {
            match tab.pay_for_bytes((200, Vec::new(), chunks(&[50_000; 20]))).await {
                Ok((_, _, released)) => drained(released).await.0,
                Err(_) => 0,
            }
        })
    });
    let released: usize = join_all(all).await.into_iter().map(Result::unwrap).sum();
    assert!(released as u64 <= most && released > 1_000_000, "{released}");
    assert!(settles_at(&tab, released as u64).await, "what was not used is given back");
}

#[tokio::test]
async fn what_was_taken_and_not_released_comes_back_unless_the_process_dies() {
    let fixture = Fixture::new();
    let tab = fixture.tab(&fixture.node(), &[(None, &[Bound::Bytes { most: 10_000_000 }])]);
    let (_, _, mut released) = tab.pay_for_bytes((200, Vec::new(), chunks(&[100, 100]))).await.unwrap();
    released.next().await.unwrap().unwrap();
    assert_eq!(used(&tab, Measure::BytesPerDay).await, 64 * 1024, "taken before it is released");
    // The client goes away.
    drop(released);
    assert!(settles_at(&tab, 100).await);
    // The process dies: nobody gives anything back.
    let (_, _, lost) = tab.pay_for_bytes((200, Vec::new(), chunks(&[100]))).await.unwrap();
    std::mem::forget(lost);
    assert_eq!(used(&tab, Measure::BytesPerDay).await, 100 + 64 * 1024, "one block at most, never less");
}

#[tokio::test]
async fn an_announced_answer_that_is_too_long_is_not_begun() {
    let fixture = Fixture::new();
    let tab = fixture.tab(&fixture.node(), &[(None, &[Bound::Bytes { most: 1000 }])]);
    let announced = |length: &str| vec![("content-length".to_owned(), length.as_bytes().to_vec())];
    let never = tab.pay_for_bytes((200, announced("1001"), chunks(&[1001]))).await.err().unwrap();
    assert_eq!(never.status, 403, "waiting does not help");
    let (_, _, released) = tab.pay_for_bytes((200, announced("600"), chunks(&[600]))).await.unwrap();
    assert_eq!(drained(released).await, (600, false));
    let later = tab.pay_for_bytes((200, announced("600"), chunks(&[600]))).await.err().unwrap();
    assert_eq!(later.status, 429);
    assert!(settles_at(&tab, 600).await);
}

#[tokio::test]
async fn items_are_paid_for_before_they_are_released() {
    let fixture = Fixture::new();
    let tab = fixture.tab(&fixture.node(), &[(None, &[Bound::Items { most: 5 }])]);
    let page = |body: &str| {
        let json = vec![("content-type".to_owned(), b"application/json".to_vec())];
        (200, json, stream::iter([Ok(Bytes::from(body.to_owned()))]).boxed())
    };
    let gives = |at: &str| {
        vec![crate::providers::template::ObjectPlace { object: "o".into(), at: at.into(), optional: false }]
    };
    let three = r#"{"value":[{},{},{}]}"#;
    let (_, _, released) = tab.pay_for_items(page(three), &gives("value.*")).await.unwrap();
    assert_eq!(drained(released).await, (three.len(), false));
    let denied = tab.pay_for_items(page(three), &gives("value.*")).await.err().unwrap();
    assert_eq!((denied.status, denied.limit.unwrap().asked.as_str()), (429, "3 items"));
    // Neither a failed answer nor one that cannot be read gives any.
    let (_, json, body) = page(three);
    assert!(tab.pay_for_items((404, json, body), &gives("value.*")).await.is_ok());
    assert_eq!(tab.pay_for_items(page("[1,"), &[]).await.err().map(|d| d.status), Some(502));
    assert_eq!(used(&tab, Measure::ItemsPerDay).await, 3);
    let (_, _, body) = page("a file");
    assert!(tab.pay_for_items((200, Vec::new(), body), &[]).await.is_ok(), "a file is one item");
    assert_eq!(used(&tab, Measure::ItemsPerDay).await, 4);
}
