//! Values are sealed where they stand: moved, changed, or under another key they do not open.

use std::sync::Arc;

use bytes::Bytes;
use valetkey::kernel::entropy::SeededEntropy;
use valetkey::kernel::ids::ConnectionId;
use valetkey::model::connection::Connection;
use valetkey::model::sealed::{Context, SealError, Sealed, Sealer as _};
use valetkey::store::{Backend, Batch, MemoryBackend, Store, StoreError, Tx};
use valetkey::vault::Vault;

use crate::{Note, badged, note, vault};

async fn with_note() -> (Store, Arc<MemoryBackend>) {
    let backend = Arc::new(MemoryBackend::new());
    let store = Store::new(backend.clone(), vault());
    let mut tx = Tx::new();
    tx.insert(&badged("1", "gold")).insert(&note("2", "ann"));
    let _ = store.commit(tx).await.unwrap();
    (store, backend)
}

async fn overwrite(backend: &MemoryBackend, key: &str, value: Bytes) {
    let write = vec![(Bytes::copy_from_slice(key.as_bytes()), Some(value))];
    let _ = backend.commit(Batch { expect: Vec::new(), write }).await.unwrap();
}

fn does_not_open<T>(result: Result<T, StoreError>) -> bool {
    matches!(
        result,
        Err(StoreError::Sealed { source: SealError::DoesNotOpen | SealError::UnknownFormat, .. })
    )
}

#[tokio::test]
async fn nothing_of_a_record_can_be_read_from_its_raw_bytes() {
    let (_store, backend) = with_note().await;
    let raw = backend.get(b"r/note/1").await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&raw);
    assert!(!text.contains("someone") && !text.contains("gold") && !text.contains("owner"));
}

#[tokio::test]
async fn a_record_moved_to_another_id_or_kind_does_not_open() {
    let (store, backend) = with_note().await;
    let raw = backend.get(b"r/note/1").await.unwrap().unwrap();
    overwrite(&backend, "r/note/2", raw.clone()).await;
    overwrite(&backend, "r/agent/1", raw).await;
    assert!(does_not_open(store.get::<Note>("2").await));
    assert!(does_not_open(store.get::<valetkey::model::agent::Agent>("1").await));
    assert!(does_not_open(store.page::<Note>(None, 10).await));
}

#[tokio::test]
async fn every_flipped_bit_of_a_record_is_refused_also_when_its_original_is_cached() {
    let (store, backend) = with_note().await;
    assert!(store.get::<Note>("1").await.unwrap().is_some());
    let raw = backend.get(b"r/note/1").await.unwrap().unwrap();
    for bit in 0..raw.len() * 8 {
        let mut changed = raw.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        overwrite(&backend, "r/note/1", changed.into()).await;
        assert!(does_not_open(store.get::<Note>("1").await), "bit {bit}");
    }
    overwrite(&backend, "r/note/1", raw).await;
    assert!(store.get::<Note>("1").await.unwrap().is_some());
}

#[tokio::test]
async fn another_installations_vault_does_not_open_a_record() {
    let (_store, backend) = with_note().await;
    let other = Store::new(backend, Arc::new(Vault::ephemeral(Arc::new(SeededEntropy::new(2)))));
    assert!(does_not_open(other.get::<Note>("1").await));
}

#[tokio::test]
async fn a_forged_index_entry_leads_nowhere() {
    let (store, backend) = with_note().await;
    overwrite(&backend, "x/note/owner/7:mallory/1", Bytes::new()).await;
    overwrite(&backend, "u/note/badge/6:silver", Bytes::from_static(b"1")).await;
    assert!(store.find::<Note>("owner", "mallory").await.unwrap().is_empty());
    assert!(store.find_unique::<Note>("badge", "silver").await.unwrap().is_none());
    assert!(store.find_unique::<Note>("badge", "gold").await.unwrap().is_some());
}

#[test]
fn a_sealed_field_opens_only_under_its_own_kind_id_field_and_generation() {
    let vault = vault();
    let entropy = SeededEntropy::new(3);
    let (id, other) = (ConnectionId::generate(&entropy), ConnectionId::generate(&entropy));
    let context = Connection::refresh_context(&id, 4);
    let sealed = vault.seal(context, b"refresh token");
    assert_eq!(vault.open(context, &sealed).unwrap().expose(), b"refresh token");
    let wrong = [
        Connection::refresh_context(&other, 4),
        Connection::refresh_context(&id, 5),
        Connection::access_context(&id, 4),
        Context { kind: "stray_token", ..context },
        // Parts that would run together without their lengths.
        Context { kind: "connectio", id: &format!("n{id}"), ..context },
    ];
    for context in wrong {
        assert_eq!(vault.open(context, &sealed).unwrap_err(), SealError::DoesNotOpen, "{context:?}");
    }
}

#[test]
fn an_unknown_format_or_term_is_refused() {
    let vault = vault();
    let context = Context { kind: "k", id: "1", field: "f", generation: 0 };
    let sealed = vault.seal(context, b"x").as_bytes().to_vec();
    for (at, value) in [(0, 2), (1, 2), (5, 9)] {
        let mut changed = sealed.clone();
        changed[at] = value;
        let refused = vault.open(context, &Sealed::from_bytes(changed)).unwrap_err();
        assert_eq!(refused, SealError::UnknownFormat, "byte {at}");
    }
    assert!(vault.open(context, &Sealed::from_bytes(Vec::new())).is_err());
    assert_ne!(vault.seal(context, b"x").as_bytes(), sealed, "each write has a key of its own");
}
