//! What a store of an earlier version gets at its first start.

use std::sync::Arc;

use serde_json::json;
use valetkey::model::upgrade::Upgrades;
use valetkey::model::user::User;
use valetkey::store::{Backend, Batch, Committed, MemoryBackend, Store, Tx};

use crate::records::read;
use crate::vault;

const GROUP: &str = "Sales, EMEA";

fn user(number: usize, groups: &[&str]) -> User {
    read(json!({
        "id": format!("usr_{number:032x}"), "issuer": "https://issuer.example", "subject": number.to_string(),
        "email": null, "name": "Alice Example", "groups": groups, "state": "active", "created_at": 0,
        "last_sign_in": null,
    }))
}

/// Takes away the index of groups, as a version had it that knew none.
async fn forget_members(backend: &MemoryBackend) -> usize {
    let entries = backend.scan(b"x/user/group/", None, 5000).await.unwrap();
    let found = entries.len();
    let write = entries.into_iter().map(|(key, _)| (key, None)).collect();
    assert_eq!(backend.commit(Batch { expect: Vec::new(), write }).await.unwrap(), Committed::Done);
    found
}

#[tokio::test]
async fn members_from_before_groups_had_an_index_are_found_after_the_first_start_and_counted_once() {
    let backend = Arc::new(MemoryBackend::new());
    let store = Store::new(backend.clone(), vault());
    // More than one page of users, those in no group among them.
    for number in 0..1200 {
        let groups: &[&str] = if number % 2 == 0 { &[GROUP, "staff"] } else { &[] };
        let mut tx = Tx::new();
        tx.insert(&user(number, groups));
        assert_eq!(store.commit(tx).await.unwrap(), Committed::Done);
    }
    assert_eq!(forget_members(&backend).await, 1200, "this version has two entries for each of 600");

    // A start of this version; another upgrade has been noted before it.
    let store = Store::new(backend.clone(), vault());
    store.upgraded(|done| Upgrades { unsettled_indexed: true, ..done }).await.unwrap();
    assert!(store.find::<User>("group", GROUP).await.unwrap().is_empty());
    store.index_members().await.unwrap();
    assert_eq!(store.find::<User>("group", GROUP).await.unwrap().len(), 600);
    assert_eq!(store.find::<User>("group", "staff").await.unwrap().len(), 600);
    let done = store.get::<Upgrades>(Upgrades::KEY).await.unwrap().unwrap();
    assert!(done.members_indexed && done.unsettled_indexed, "what was noted before stays");

    // Later starts look at nothing.
    forget_members(&backend).await;
    let store = Store::new(backend.clone(), vault());
    store.index_members().await.unwrap();
    assert!(store.find::<User>("group", GROUP).await.unwrap().is_empty());
}
