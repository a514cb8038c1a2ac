//! What a consent brought, while the store takes no connection.

use std::sync::Mutex;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::*;
use crate::store::Batch;
use crate::store::backend::Page;

/// Answers whoever writes a connection as it was told.
struct Unwilling {
    inner: MemoryBackend,
    answer: Mutex<Option<Result<Committed, StoreError>>>,
}

impl Unwilling {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: MemoryBackend::new(), answer: Mutex::new(None) })
    }

    fn answers(&self, answer: Result<Committed, StoreError>) {
        *self.answer.lock().unwrap() = Some(answer);
    }

    fn is_willing(&self) {
        *self.answer.lock().unwrap() = None;
    }
}

impl Backend for Unwilling {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        self.inner.get(key)
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.inner.scan(prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let is_connection = batch.write.iter().any(|(key, _)| key.starts_with(b"r/connection/"));
        match self.answer.lock().unwrap().clone().filter(|_| is_connection) {
            Some(answer) => Box::pin(async { answer }),
            None => self.inner.commit(batch),
        }
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.sync()
    }

    fn failed(&self) -> bool {
        false
    }

    fn failed_signal(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

fn unreachable() -> Result<Committed, StoreError> {
    Err(StoreError::Unreachable { problem: "it restarts".to_owned() })
}

async fn all_is_done(world: &World) {
    assert!(world.connections.landed(Duration::from_secs(20)).await);
}

fn tries_again_after(world: &mut World, pause: Duration) {
    Arc::get_mut(&mut world.connections.inner).unwrap().waits.again = pause;
}

#[tokio::test]
async fn what_the_store_never_takes_is_given_back_in_the_end() {
    let full = Err(StoreError::TooLarge { key: "con_1".to_owned(), bytes: 70_000 });
    for answer in [unreachable(), Ok(Committed::Conflict), full] {
        let store = Unwilling::new();
        let mut world = World::over(STRICT, store.clone()).await;
        tries_again_after(&mut world, Duration::from_millis(1));
        store.answers(answer.clone());
        let held_up = world.back(&world.sent(None).await).await;
        assert!(matches!(held_up, Err(CompleteError::Store(_))), "{answer:?}: {held_up:?}");
        all_is_done(&world).await;
        assert_eq!(world.provider.revoked(), ["refresh-1"], "{answer:?}");
        assert!(world.connections.of_user(&world.user).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_the_store_takes_later_is_kept_and_counts_from_its_arrival() {
    let store = Unwilling::new();
    let mut world = World::over(STRICT, store.clone()).await;
    tries_again_after(&mut world, Duration::from_millis(200));
    store.answers(Err(StoreError::Full));
    assert!(world.back(&world.sent(None).await).await.is_err());
    world.pass(20);
    store.is_willing();
    all_is_done(&world).await;
    let made = world.connections.of_user(&world.user).await.unwrap().remove(0);
    assert_eq!(world.refresh_token(&made.id).await, "refresh-1");
    let ends = made.access.as_ref().unwrap().expires_at;
    assert_eq!(ends, START.plus(Duration::from_secs(3600)), "not twenty seconds more");
    assert!(world.provider.revoked().is_empty());
}

#[tokio::test]
async fn what_the_store_never_takes_is_left_alone_where_giving_it_back_could_end_the_consent_in_use() {
    let store = Unwilling::new();
    let mut world = World::over(STRICT, store.clone()).await;
    tries_again_after(&mut world, Duration::from_millis(1));
    let made = world.back(&world.sent(None).await).await.unwrap().connection.unwrap();
    store.answers(unreachable());
    assert!(world.back(&world.sent(None).await).await.is_err());
    all_is_done(&world).await;
    assert!(world.provider.revoked().is_empty());
    store.is_willing();
    assert_eq!(world.refresh_token(&made.id).await, "refresh-1");
}

#[tokio::test]
async fn what_waits_for_the_store_displaces_no_later_consent() {
    let store = Unwilling::new();
    let mut world = World::over(STRICT, store.clone()).await;
    tries_again_after(&mut world, Duration::from_millis(500));
    store.answers(unreachable());
    assert!(world.back(&world.sent(None).await).await.is_err());
    world.pass(5);
    store.is_willing();
    let made = world.back(&world.sent(None).await).await.unwrap().connection.unwrap();
    all_is_done(&world).await;
    assert_eq!(world.provider.redeemed(), 2);
    assert_eq!(world.refresh_token(&made.id).await, "refresh-2");
}

#[tokio::test]
async fn what_waits_for_the_store_does_not_connect_an_account_that_was_disconnected_since() {
    let store = Unwilling::new();
    let mut world = World::over(STRICT, store.clone()).await;
    tries_again_after(&mut world, Duration::from_millis(500));
    let made = world.back(&world.sent(None).await).await.unwrap().connection.unwrap();
    store.answers(unreachable());
    assert!(world.back(&world.sent(None).await).await.is_err());
    world.pass(5);
    store.is_willing();
    world.connections.disconnect(&world.user, &made.id).await.unwrap();
    all_is_done(&world).await;
    assert!(is_disconnected(&world.record(&made.id).await));
    assert!(!world.provider.is_live("refresh-2"), "it was given back");
}
