//! What every backend, and the store over it, must do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use valetkey::store::{
    Backend, Batch, Committed, Expect, MAX_VALUE, Store, StoreError, Tx, UpdateError, Updated,
};

use crate::{Note, badged, note, stores};

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(entries: &[(&str, Option<&str>)]) -> Batch {
    let write = entries.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect();
    Batch { expect: Vec::new(), write }
}

async fn keys(backend: &dyn Backend, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let page = backend.scan(prefix.as_bytes(), after.map(str::as_bytes), limit).await.unwrap();
    page.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn a_backend_gets_and_scans_what_was_committed() {
    for (name, _store, backend, _folder) in stores() {
        let all = [
            ("a/1", Some("x")),
            ("a/2", Some("y")),
            ("a/3", Some("z")),
            ("b/1", Some("w")),
            ("a0", Some("v")),
        ];
        assert_eq!(backend.commit(put(&all)).await.unwrap(), Committed::Done);
        assert_eq!(backend.get(b"a/2").await.unwrap(), Some(bytes("y")), "{name}");
        assert_eq!(backend.get(b"a/").await.unwrap(), None);
        assert_eq!(keys(&*backend, "a/", None, 9).await, ["a/1", "a/2", "a/3"], "{name}");
        assert_eq!(keys(&*backend, "a/", Some("a/1"), 1).await, ["a/2"], "{name}");
        assert_eq!(keys(&*backend, "a/", Some("a"), 9).await.len(), 3, "before the prefix is from its start");
        assert_eq!(keys(&*backend, "a/", Some("a/3"), 9).await, Vec::<String>::new());
        assert_eq!(keys(&*backend, "a/", None, 0).await, Vec::<String>::new());
        assert_eq!(keys(&*backend, "c", None, 9).await, Vec::<String>::new());
        assert_eq!(backend.commit(put(&[("a/2", None), ("a/9", None)])).await.unwrap(), Committed::Done);
        assert_eq!(keys(&*backend, "a/", None, 9).await, ["a/1", "a/3"], "{name}");
        backend.sync().await.unwrap();
        assert!(!backend.failed());
    }
}

#[tokio::test]
async fn a_batch_is_applied_whole_or_not_at_all() {
    for (name, _store, backend, _folder) in stores() {
        let _ = backend.commit(put(&[("k", Some("1"))])).await.unwrap();
        let cases = [
            (vec![(bytes("k"), Expect::Absent)], Committed::Conflict),
            (vec![(bytes("k"), Expect::Is(bytes("2")))], Committed::Conflict),
            (vec![(bytes("none"), Expect::Is(bytes("1")))], Committed::Conflict),
            (vec![(bytes("k"), Expect::Is(bytes("1"))), (bytes("k"), Expect::Absent)], Committed::Conflict),
            (vec![(bytes("k"), Expect::Is(bytes("1"))), (bytes("none"), Expect::Absent)], Committed::Done),
        ];
        for (expect, outcome) in cases {
            let write = put(&[("l", Some("new")), ("k", Some("3"))]).write;
            let result = backend.commit(Batch { expect: expect.clone(), write }).await.unwrap();
            assert_eq!(result, outcome, "{name} {expect:?}");
            let written = backend.get(b"l").await.unwrap().is_some();
            assert_eq!(written, outcome == Committed::Done, "{name} {expect:?}");
        }
    }
}

#[tokio::test]
async fn a_batch_may_rest_on_a_number_that_has_not_been_raised() {
    for (name, _store, backend, _folder) in stores() {
        let at = |n: u32| Bytes::copy_from_slice(&n.to_be_bytes());
        let raise = |n| Batch { expect: Vec::new(), write: vec![(bytes("n"), Some(at(n)))] };
        let rest = |most| Batch {
            expect: vec![(bytes("n"), Expect::AtMost(most))],
            write: vec![(bytes(&format!("k{most}")), Some(bytes("1")))],
        };
        assert_eq!(
            backend.commit(rest(0)).await.unwrap(),
            Committed::Done,
            "{name}: no number is low enough"
        );
        let _ = backend.commit(raise(256)).await.unwrap();
        for (most, outcome) in
            [(255, Committed::Conflict), (256, Committed::Done), (u32::MAX, Committed::Done)]
        {
            assert_eq!(backend.commit(rest(most)).await.unwrap(), outcome, "{name} {most}");
            let written = backend.get(format!("k{most}").as_bytes()).await.unwrap().is_some();
            assert_eq!(written, outcome == Committed::Done, "{name} {most}");
        }
        let _ = backend.commit(put(&[("n", Some("no number"))])).await.unwrap();
        assert_eq!(backend.commit(rest(u32::MAX)).await.unwrap(), Committed::Conflict, "{name}");
    }
}

#[tokio::test]
async fn a_batch_may_only_check_and_what_is_too_long_is_refused() {
    for (name, _store, backend, _folder) in stores() {
        let check = |expect| Batch { expect: vec![(bytes("k"), expect)], write: Vec::new() };
        assert_eq!(backend.commit(check(Expect::Absent)).await.unwrap(), Committed::Done, "{name}");
        assert_eq!(backend.commit(check(Expect::Is(bytes("")))).await.unwrap(), Committed::Conflict);
        let long = "x".repeat(MAX_VALUE + 1);
        let refused = backend.commit(put(&[("fine", Some("1")), ("long", Some(&long))])).await;
        assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{name} {refused:?}");
        assert_eq!(backend.get(b"fine").await.unwrap(), None);
        let refused = backend.commit(put(&[(&long, Some("1"))])).await;
        assert!(matches!(refused, Err(StoreError::Codec { .. })), "{name} {refused:?}");
        assert_eq!(
            backend.commit(put(&[("fits", Some(&long[1..]))])).await.unwrap(),
            Committed::Done,
            "exactly {MAX_VALUE} bytes fit"
        );
    }
}

#[tokio::test]
async fn a_record_is_inserted_once_updated_and_deleted() {
    for (name, store, _backend, _folder) in stores() {
        let mut tx = Tx::new();
        tx.insert(&note("1", "ann"));
        assert_eq!(store.commit(tx).await.unwrap(), Committed::Done);
        let mut again = Tx::new();
        again.insert(&note("1", "bob"));
        assert_eq!(store.commit(again).await.unwrap(), Committed::Conflict, "{name}");

        let stored = store.get::<Note>("1").await.unwrap().unwrap();
        let mut tx = Tx::new();
        tx.update(&stored, &Note { count: 1, ..note("1", "ann") });
        assert_eq!(store.commit(tx).await.unwrap(), Committed::Done);
        for stale in [true, false] {
            let mut tx = Tx::new();
            if stale {
                tx.update(&stored, &note("1", "ann"))
            } else {
                tx.delete(&stored)
            };
            assert_eq!(store.commit(tx).await.unwrap(), Committed::Conflict, "{name} stale write");
        }
        let mut dependent = Tx::new();
        dependent.insert(&note("2", "ann")).require_unchanged(&stored);
        assert_eq!(store.commit(dependent).await.unwrap(), Committed::Conflict);

        let stored = store.get::<Note>("1").await.unwrap().unwrap();
        assert_eq!(stored.count, 1);
        let mut tx = Tx::new();
        tx.delete(&stored);
        assert_eq!(store.commit(tx).await.unwrap(), Committed::Done);
        assert!(store.get::<Note>("1").await.unwrap().is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_record_rewritten_with_the_same_content_is_still_a_change() {
    for (name, store, _backend, _folder) in stores() {
        let mut tx = Tx::new();
        tx.insert(&note("1", "ann"));
        let _ = store.commit(tx).await.unwrap();
        let before = store.get::<Note>("1").await.unwrap().unwrap();
        store.update::<Note, ()>("1", |note| Ok(Some(note.clone()))).await.unwrap();
        let mut tx = Tx::new();
        tx.update(&before, &note("1", "ann"));
        assert_eq!(store.commit(tx).await.unwrap(), Committed::Conflict, "{name}");
    }
}

#[tokio::test]
async fn indexes_follow_their_records() {
    for (name, store, _backend, _folder) in stores() {
        let owned = async |owner: &str| -> Vec<String> {
            store.find::<Note>("owner", owner).await.unwrap().iter().map(|n| n.id.clone()).collect()
        };
        let mut tx = Tx::new();
        // Values that try to reach into each other's range.
        for (id, owner) in [("1", "ann"), ("2", "ann"), ("3", "an"), ("4", "ann/2"), ("5", "3:ann/")] {
            tx.insert(&note(id, owner));
        }
        let _ = store.commit(tx).await.unwrap();
        assert_eq!(owned("ann").await, ["1", "2"], "{name}");
        assert_eq!(owned("an").await, ["3"], "{name}");
        assert_eq!(owned("ann/2").await, ["4"], "{name}");
        assert_eq!(owned("").await, Vec::<String>::new());
        store
            .update::<Note, ()>("1", |n| Ok(Some(Note { owner: "bob".to_owned(), ..n.clone() })))
            .await
            .unwrap();
        assert_eq!(owned("ann").await, ["2"], "{name}");
        assert_eq!(owned("bob").await, ["1"], "{name}");
        let stored = store.get::<Note>("1").await.unwrap().unwrap();
        let mut tx = Tx::new();
        tx.delete(&stored);
        let _ = store.commit(tx).await.unwrap();
        assert_eq!(owned("bob").await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_long_index_is_found_whole_and_pages_are_in_order() {
    for (name, store, _backend, _folder) in stores() {
        for chunk in 0..6 {
            let mut tx = Tx::new();
            for n in 0..100 {
                tx.insert(&note(&format!("{:03}", chunk * 100 + n), "ann"));
            }
            let _ = store.commit(tx).await.unwrap();
        }
        assert_eq!(store.find::<Note>("owner", "ann").await.unwrap().len(), 600, "{name}");
        let page = store.page::<Note>(Some("598"), 10).await.unwrap();
        assert_eq!(page.iter().map(|n| n.id.as_str()).collect::<Vec<_>>(), ["599"]);
        assert_eq!(store.page::<Note>(None, 2).await.unwrap()[1].id, "001", "{name}");
    }
}

#[tokio::test]
async fn a_unique_value_belongs_to_one_record_at_a_time() {
    for (name, store, _backend, _folder) in stores() {
        let mut tx = Tx::new();
        tx.insert(&badged("1", "gold"));
        let _ = store.commit(tx).await.unwrap();
        let mut tx = Tx::new();
        tx.insert(&badged("2", "gold"));
        assert_eq!(store.commit(tx).await.unwrap(), Committed::Conflict, "{name}");
        let mut tx = Tx::new();
        tx.insert(&badged("2", "silver"));
        let _ = store.commit(tx).await.unwrap();
        let found = store.find_unique::<Note>("badge", "gold").await.unwrap().unwrap();
        assert_eq!(found.id, "1");

        let second = store.get::<Note>("2").await.unwrap().unwrap();
        let mut steal = Tx::new();
        steal.update(&second, &badged("2", "gold"));
        assert_eq!(store.commit(steal).await.unwrap(), Committed::Conflict, "{name}");
        let mut hand_over = Tx::new();
        hand_over.delete(&found).update(&second, &badged("2", "gold"));
        assert_eq!(store.commit(hand_over).await.unwrap(), Committed::Done, "{name}");
        assert_eq!(store.find_unique::<Note>("badge", "gold").await.unwrap().unwrap().id, "2");
        assert!(store.find_unique::<Note>("badge", "silver").await.unwrap().is_none(), "{name}");
    }
}

#[tokio::test]
async fn an_update_reports_what_it_did() {
    for (_name, store, _backend, _folder) in stores() {
        let missing = store.update::<Note, ()>("1", |n| Ok(Some(n.clone()))).await.unwrap();
        assert!(matches!(missing, Updated::Missing));
        let mut tx = Tx::new();
        tx.insert(&note("1", "ann"));
        let _ = store.commit(tx).await.unwrap();
        assert!(matches!(store.update::<Note, ()>("1", |_| Ok(None)).await.unwrap(), Updated::Unchanged(_)));
        let refused = store.update::<Note, _>("1", |_| Err("no")).await;
        assert!(matches!(refused, Err(UpdateError::Refused("no"))));
        let renamed = store.update::<Note, ()>("1", |_| Ok(Some(note("2", "ann")))).await;
        assert!(matches!(renamed, Err(UpdateError::Store(StoreError::Codec { .. }))));
        let mut blind = Tx::new();
        blind.put(&note("1", "ann"));
        assert!(matches!(store.commit(blind).await, Err(StoreError::Codec { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_changes_one_record_and_no_change_is_lost() {
    for (name, store, _backend, _folder) in stores() {
        let mut tx = Tx::new();
        tx.insert(&note("1", "ann"));
        let _ = store.commit(tx).await.unwrap();
        let one = |store: Store| async move {
            store
                .update::<Note, ()>("1", |n| Ok(Some(Note { count: n.count + 1, ..n.clone() })))
                .await
                .map(drop)
        };
        let crowd: Vec<_> = (0..100).map(|_| tokio::spawn(one(store.clone()))).collect();
        for task in crowd {
            task.await.unwrap().unwrap();
        }
        assert_eq!(store.get::<Note>("1").await.unwrap().unwrap().count, 100, "{name}");
    }
}

#[tokio::test]
async fn what_was_read_before_a_change_is_not_what_is_read_after_it() {
    for (name, store, _backend, _folder) in stores() {
        let owned = |owner: &'static str| store.find::<Note>("owner", owner);
        let mut tx = Tx::new();
        tx.insert(&note("1", "ann"));
        let _ = store.commit(tx).await.unwrap();
        for _ in 0..3 {
            assert_eq!(store.get::<Note>("1").await.unwrap().unwrap().count, 0, "{name}");
            assert!(store.get::<Note>("2").await.unwrap().is_none(), "{name}");
            assert_eq!(
                (owned("ann").await.unwrap().len(), owned("bea").await.unwrap().len()),
                (1, 0),
                "{name}"
            );
        }
        let first = store.get::<Note>("1").await.unwrap().unwrap();
        let mut tx = Tx::new();
        tx.update(&first, &Note { count: 7, ..note("1", "bea") }).insert(&note("2", "ann"));
        let _ = store.commit(tx).await.unwrap();
        assert_eq!(store.get::<Note>("1").await.unwrap().unwrap().count, 7, "{name}");
        let second = store.get::<Note>("2").await.unwrap().unwrap();
        assert_eq!(owned("ann").await.unwrap()[0].id, "2", "{name}");
        assert_eq!(owned("bea").await.unwrap()[0].count, 7, "{name}");
        let mut tx = Tx::new();
        tx.delete(&second);
        let _ = store.commit(tx).await.unwrap();
        assert!(store.get::<Note>("2").await.unwrap().is_none(), "{name}");
        assert!(owned("ann").await.unwrap().is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_reads_while_others_write_never_goes_back_in_time() {
    for (name, store, _backend, _folder) in stores() {
        let mut tx = Tx::new();
        tx.insert(&note("1", "ann"));
        let _ = store.commit(tx).await.unwrap();
        let told = Arc::new(AtomicU64::new(0));
        let reader = |store: Store, told: Arc<AtomicU64>| async move {
            let mut newest = 0;
            while newest < 100 {
                // What the writer was told is durable, and what was seen once, is there from then on.
                let least = told.load(Ordering::SeqCst).max(newest);
                let by_key = store.get::<Note>("1").await.unwrap().unwrap().count;
                assert!(by_key >= least, "{name}: {by_key} after {least}");
                let by_index = store.find::<Note>("owner", "ann").await.unwrap()[0].count;
                assert!(by_index >= by_key, "{name}: {by_index} after {by_key}");
                newest = by_index;
                tokio::task::yield_now().await;
            }
        };
        let readers: Vec<_> =
            (0..3).map(|_| tokio::spawn(reader(store.clone(), Arc::clone(&told)))).collect();
        for count in 1..=100 {
            let raised = |n: &Note| Ok::<_, ()>(Some(Note { count, ..n.clone() }));
            store.update::<Note, ()>("1", raised).await.unwrap();
            told.store(count, Ordering::SeqCst);
        }
        for reader in readers {
            reader.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_conflict_inside_one_group_is_seen() {
    for (name, _store, backend, _folder) in stores() {
        let take =
            || Batch { expect: vec![(bytes("k"), Expect::Absent)], write: put(&[("k", Some("1"))]).write };
        let all = futures_util::future::join_all((0..50).map(|_| backend.commit(take()))).await;
        let done = all.into_iter().filter(|r| matches!(r, Ok(Committed::Done))).count();
        assert_eq!(done, 1, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any sequence of batches leaves what a sorted map would hold.
    #[test]
    fn a_backend_behaves_like_a_sorted_map(
        batches in proptest::collection::vec(
            proptest::collection::vec(("[ab]{1,3}", proptest::option::of("[xy]{0,3}")), 1..6), 1..12),
        prefix in "[ab]{0,2}", after in proptest::option::of("[ab]{0,3}"), limit in 0usize..8,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for (_name, _store, backend, _folder) in stores() {
                let begun = !keys(&*backend, "m/", None, 9).await.is_empty();
                let mut model = BTreeMap::new();
                for batch in &batches {
                    let write: Vec<_> = batch.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
                    assert_eq!(backend.commit(put(&write)).await.unwrap(), Committed::Done);
                    for (key, value) in batch {
                        match value {
                            Some(value) => drop(model.insert(key.clone(), value.clone())),
                            None => drop(model.remove(key)),
                        }
                    }
                }
                let expected: Vec<_> = model
                    .keys()
                    .filter(|key| key.starts_with(&prefix) && after.as_ref().is_none_or(|a| *key > a))
                    .take(limit)
                    .cloned()
                    .collect();
                let mut found = keys(&*backend, &prefix, after.as_deref(), limit + usize::from(begun)).await;
                found.retain(|key| !key.starts_with("m/"));
                found.truncate(limit);
                assert_eq!(found, expected);
            }
        });
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_a_failure_latches() {
    let backend = Arc::new(valetkey::store::MemoryBackend::new());
    let store = Store::new(backend.clone(), crate::vault());
    let insert = |id: &str| {
        let mut tx = Tx::new();
        tx.insert(&note(id, "ann"));
        tx
    };
    backend.set_full(true);
    assert!(matches!(store.commit(insert("1")).await, Err(StoreError::Full)));
    backend.set_full(false);
    assert_eq!(store.commit(insert("1")).await.unwrap(), Committed::Done);
    backend.fail();
    assert!(matches!(store.commit(insert("2")).await, Err(StoreError::Failed)));
    assert!(store.failed());
    store.failed_signal().await;
}
