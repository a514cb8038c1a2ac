//! Refreshing: one at a time, durable, and never losing a token that arrived.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};

use super::provider::Fault;
use super::*;
use crate::model::connection::{ReauthReason, StrayToken};
use crate::model::restored::Restored;
use crate::model::upgrade::Upgrades;
use crate::providers::template::ErrorClass;
use crate::store::backend::Page;
use crate::store::{Batch, StoreError};

#[tokio::test]
async fn a_hundred_callers_of_an_expired_connection_share_one_dial() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    world.provider.next(Fault::Slow(Duration::from_millis(50)));
    let tokens = join_all((0..100).map(|_| world.connections.lease(&id))).await;
    for token in tokens {
        assert_eq!(token.unwrap().token.expose(), "access-2");
    }
    assert_eq!(world.provider.dials(), 1);
    assert_eq!(world.connections.lease(&id).await.unwrap().token.expose(), "access-2");
    assert_eq!(world.provider.dials(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_strand_the_refresh() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    world.provider.next(Fault::Slow(Duration::from_millis(100)));
    let caller = tokio::time::timeout(Duration::from_millis(20), world.connections.lease(&id)).await;
    assert!(caller.is_err());
    let finished = async {
        while world.record(&id).await.intent.is_some() || world.refresh_token(&id).await != "refresh-2" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), finished).await.expect("the refresh is stranded");
    assert_eq!(world.refresh_token(&id).await, "refresh-2");
    assert_eq!(world.record(&id).await.intent, None);
}

#[tokio::test]
async fn a_slow_provider_costs_the_caller_its_patience_and_not_the_token() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    world.provider.next(Fault::Slow(Duration::from_millis(1800)));
    assert!(matches!(world.connections.lease(&id).await, Err(LeaseError::StillRefreshing)));
    assert_eq!(world.connections.lease(&id).await.unwrap().token.expose(), "access-2");
    assert_eq!(world.provider.dials(), 1);
}

#[tokio::test]
async fn a_lost_answer_costs_nothing_where_the_old_token_still_works() {
    for refresh in [KEEPS_OLD, GRACE] {
        let world = World::new(refresh).await;
        let id = world.connection().await;
        world.provider.next(Fault::LostAfter);
        assert!(world.connections.lease(&id).await.is_ok(), "{refresh}");
        assert_eq!(world.provider.dials(), 2);
        assert_eq!(world.record(&id).await.state, ConnectionState::Active);
    }
}

#[tokio::test]
async fn a_lost_answer_of_a_single_use_token_is_in_doubt_then_told_to_the_user() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    world.provider.next(Fault::LostAfter);
    assert!(matches!(world.connections.lease(&id).await, Err(LeaseError::RetryLater { .. })));
    assert!(matches!(world.record(&id).await.state, ConnectionState::InDoubt { .. }));
    assert!(world.connections.lease(&id).await.is_err());
    assert_eq!(world.provider.dials(), 1, "nothing is dialled while backing off");
    world.pass(60);
    let lost = world.connections.lease(&id).await;
    assert!(matches!(lost, Err(LeaseError::NeedsReauth(ReauthReason::AnswerLost))), "{lost:?}");
    world.pass(24 * 3600);
    assert!(world.connections.lease(&id).await.is_err());
    assert_eq!(world.provider.dials(), 2, "a dead connection costs nothing");
}

#[tokio::test]
async fn a_request_that_was_lost_on_the_way_out_is_repaired_by_trying_again() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    world.provider.next(Fault::LostBefore);
    world.provider.next(Fault::NotSent);
    assert!(world.connections.lease(&id).await.is_err());
    world.pass(60);
    assert!(world.connections.lease(&id).await.is_err());
    assert_eq!(world.record(&id).await.intent.unwrap().lost, 0, "what was not sent is no further doubt");
    world.pass(60);
    assert!(world.connections.lease(&id).await.is_ok());
}

#[tokio::test]
async fn past_its_grace_a_token_is_still_tried_but_not_at_once() {
    let world = World::new(GRACE).await;
    let id = world.connection().await;
    world.provider.next(Fault::LostBefore);
    world.provider.next(Fault::LostBefore);
    assert!(world.connections.lease(&id).await.is_err());
    assert_eq!(world.provider.dials(), 2);
    world.pass(31);
    world.provider.next(Fault::LostBefore);
    assert!(world.connections.lease(&id).await.is_err());
    assert_eq!(world.provider.dials(), 3);
    world.pass(3700);
    let gone = world.connections.lease(&id).await;
    assert!(matches!(gone, Err(LeaseError::NeedsReauth(ReauthReason::AnswerLost))));
    assert_eq!(world.provider.dials(), 3);
}

/// What another process would have stored: the next generation, with a token of its own.
fn renewed_elsewhere(world: &World, id: &ConnectionId) -> BoxFuture<'static, ()> {
    let store = world.store().clone();
    let (vault, id, token) = (world.vault.clone(), id.clone(), world.provider.issue());
    Box::pin(async move {
        store
            .update::<Connection, ()>(id.as_str(), |connection| {
                let mut next = connection.clone();
                next.generation += 1;
                let generation = next.generation;
                let context = Connection::refresh_context(&id, generation);
                next.refresh_token = Some(vault.seal(context, token.as_bytes()));
                next.access = Some(CachedToken {
                    token: vault.seal(Connection::access_context(&id, generation), b"elsewhere"),
                    scopes: next.scopes.clone(),
                    scopes_stated: true,
                    expires_at: START.plus(Duration::from_secs(3600)),
                    generation,
                });
                next.refreshed_at = START;
                next.intent = None;
                Ok(Some(next))
            })
            .await
            .unwrap();
    })
}

#[tokio::test]
async fn losing_a_race_is_not_death() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let spent = world.refresh_token(&id).await;
    let renewed = renewed_elsewhere(&world, &id);
    let provider = world.provider.clone();
    world.provider.next(Fault::Meanwhile(Box::pin(async move {
        renewed.await;
        provider.forget(&spent);
    })));
    let access = world.connections.lease(&id).await.unwrap();
    assert_eq!(access.token.expose(), "elsewhere");
    assert_eq!(world.record(&id).await.state, ConnectionState::Active);
}

#[tokio::test]
async fn a_token_that_arrives_too_late_is_kept_aside() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    world.provider.next(Fault::Meanwhile(renewed_elsewhere(&world, &id)));
    assert_eq!(world.connections.lease(&id).await.unwrap().token.expose(), "elsewhere");
    let strays = world.store().page::<StrayToken>(None, 10).await.unwrap();
    let key = crate::model::record::Record::key(strays[0].record());
    let opened = world.vault.open(StrayToken::context(&key), &strays[0].refresh_token).unwrap();
    assert!(world.provider.is_live(std::str::from_utf8(opened.expose()).unwrap()));
    assert_eq!(world.refresh_token(&id).await, "refresh-2");
}

#[tokio::test]
async fn refusals_are_told_in_the_templates_words_and_back_off() {
    let world = World::new(STRICT).await;
    for (class, reason) in [
        (ErrorClass::Reauth, ReauthReason::RefreshTokenRefused),
        (ErrorClass::StepUp, ReauthReason::StepUp),
        (ErrorClass::Gone, ReauthReason::AccountGone),
    ] {
        let id = world.connection().await;
        world.provider.next(Fault::Says(class));
        let refused = world.connections.lease(&id).await;
        assert!(matches!(refused, Err(LeaseError::NeedsReauth(told)) if told == reason), "{refused:?}");
    }
    let id = world.connection().await;
    world.provider.next(Fault::Says(ErrorClass::Admin));
    let refused = world.connections.lease(&id).await;
    assert!(matches!(refused, Err(LeaseError::Refused { class: ErrorClass::Admin })));
    let dials = world.provider.dials();
    assert!(matches!(world.connections.lease(&id).await, Err(LeaseError::RetryLater { .. })));
    assert_eq!(world.provider.dials(), dials);
    world.pass(301);
    assert!(world.connections.lease(&id).await.is_ok());
}

#[tokio::test]
async fn a_provider_in_trouble_is_left_alone_for_all_connections() {
    let world = World::new(STRICT).await;
    for _ in 0..5 {
        let id = world.connection().await;
        world.provider.next(Fault::NotSent);
        assert!(world.connections.lease(&id).await.is_err());
    }
    let id = world.connection().await;
    assert!(matches!(world.connections.lease(&id).await, Err(LeaseError::RetryLater { .. })));
    assert_eq!(world.provider.dials(), 5);
    world.pass(15);
    assert!(world.connections.lease(&id).await.is_ok());
}

#[tokio::test]
async fn an_access_token_that_an_api_refuses_is_renewed_once() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let access = world.connections.lease(&id).await.unwrap();
    let again = world.connections.invalidate_access(&id, access.generation).await.unwrap();
    assert!(!again, "a token this new is not the problem");
    world.pass(60);
    assert!(world.connections.invalidate_access(&id, access.generation).await.unwrap());
    assert!(!world.connections.invalidate_access(&id, access.generation).await.unwrap());
    assert_eq!(world.connections.lease(&id).await.unwrap().token.expose(), "access-3");
    assert_eq!(world.provider.dials(), 2);
}

#[tokio::test]
async fn without_a_refresh_token_a_connection_works_until_its_access_token_ends() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    world.connections.lease(&id).await.unwrap();
    let update = |c: &Connection| Ok::<_, ()>(Some(Connection { refresh_token: None, ..c.clone() }));
    world.store().update(id.as_str(), update).await.unwrap();
    world.pass(3400);
    assert!(world.connections.lease(&id).await.is_ok());
    world.pass(200);
    let over = world.connections.lease(&id).await;
    assert!(matches!(over, Err(LeaseError::NeedsReauth(ReauthReason::NoRefreshToken))), "{over:?}");
}

#[tokio::test]
async fn an_app_token_is_obtained_once_for_all_and_again_when_an_api_refuses_it() {
    let world = World::new(STRICT).await;
    let tokens = join_all((0..20).map(|_| world.connections.app_access(&world.slug))).await;
    let first = tokens.into_iter().next().unwrap().unwrap();
    assert_eq!(world.provider.dials(), 1);
    assert!(!world.connections.invalidate_app_token(&world.slug, first.generation).await.unwrap());
    world.pass(60);
    assert!(world.connections.invalidate_app_token(&world.slug, first.generation).await.unwrap());
    let second = world.connections.app_access(&world.slug).await.unwrap();
    assert_ne!(second.token.expose(), first.token.expose());
    assert_eq!(world.provider.dials(), 2);
}

/// A store that fails for good after a number of commits, as a killed process does.
pub(super) struct Dying {
    pub(super) inner: Arc<MemoryBackend>,
    pub(super) left: AtomicUsize,
}

impl Backend for Dying {
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
        let lives = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if lives.is_err() {
            return Box::pin(async { Err(StoreError::Failed) });
        }
        self.inner.commit(batch)
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

#[tokio::test]
async fn a_crash_at_any_step_of_our_own_loses_nothing() {
    for refresh in [STRICT, GRACE, KEEPS_OLD] {
        for step in 0..4 {
            let memory = Arc::new(MemoryBackend::new());
            let dying = Arc::new(Dying { inner: memory.clone(), left: AtomicUsize::new(usize::MAX) });
            let mut world = World::over(refresh, dying.clone()).await;
            let id = world.connection().await;
            dying.left.store(step, Ordering::SeqCst);
            let first = world.connections.lease(&id).await;
            assert_eq!(first.is_ok(), step >= 2, "step {step}: {first:?}");
            assert_eq!(world.provider.dials(), usize::from(step >= 1), "no dial without a durable intent");
            world.pass(2);
            world.restarted(memory);
            let recovered = world.connections.recover_at_start().await.unwrap();
            assert_eq!(recovered.from_spool, usize::from(step == 1), "step {step}");
            assert_eq!(recovered.open, 0, "step {step}: an answer that was received leaves no question");
            let after = world.connections.lease(&id).await;
            assert!(after.is_ok(), "{refresh}, step {step}: {after:?}");
            let token = world.refresh_token(&id).await;
            assert!(world.provider.is_live(&token), "{refresh}, step {step}");
            assert_eq!(world.provider.dials(), 1, "{refresh}, step {step}: no token is spent twice");
        }
    }
}

#[tokio::test]
async fn a_crash_while_the_answer_is_on_the_wire_costs_a_connection_only_where_tokens_work_once() {
    for (refresh, is_lost) in [(STRICT, true), (GRACE, false), (KEEPS_OLD, false)] {
        let memory = Arc::new(MemoryBackend::new());
        let dying = Arc::new(Dying { inner: memory.clone(), left: AtomicUsize::new(usize::MAX) });
        let mut world = World::over(refresh, dying.clone()).await;
        let id = world.connection().await;
        dying.left.store(1, Ordering::SeqCst);
        world.provider.next(Fault::LostAfter);
        assert!(world.connections.lease(&id).await.is_err());
        world.pass(2);
        world.restarted(memory);
        let recovered = world.connections.recover_at_start().await.unwrap();
        assert_eq!((recovered.from_spool, recovered.open), (0, 1), "{refresh}");
        assert_eq!(recovered.needs_reauth, usize::from(is_lost), "{refresh}");
        let after = world.connections.lease(&id).await;
        assert_eq!(after.is_ok(), !is_lost, "{refresh}: {after:?}");
        if is_lost {
            assert!(matches!(after, Err(LeaseError::NeedsReauth(ReauthReason::AnswerLost))));
        }
    }
}

#[tokio::test]
async fn a_crash_before_the_provider_acted_loses_nothing_even_where_tokens_work_once() {
    let memory = Arc::new(MemoryBackend::new());
    let dying = Arc::new(Dying { inner: memory.clone(), left: AtomicUsize::new(usize::MAX) });
    let mut world = World::over(STRICT, dying.clone()).await;
    let id = world.connection().await;
    dying.left.store(1, Ordering::SeqCst);
    world.provider.next(Fault::LostBefore);
    assert!(world.connections.lease(&id).await.is_err());
    world.restarted(memory);
    let recovered = world.connections.recover_at_start().await.unwrap();
    assert_eq!((recovered.open, recovered.resolved), (1, 1));
    assert!(world.connections.lease(&id).await.is_ok());
}

#[tokio::test]
async fn an_open_refresh_of_a_version_without_the_index_is_found_all_the_same() {
    let memory = Arc::new(MemoryBackend::new());
    let dying = Arc::new(Dying { inner: memory.clone(), left: AtomicUsize::new(usize::MAX) });
    let mut world = World::over(GRACE, dying.clone()).await;
    let id = world.connection().await;
    dying.left.store(1, Ordering::SeqCst);
    world.provider.next(Fault::LostBefore);
    assert!(world.connections.lease(&id).await.is_err());
    // As that version left it: neither an entry in the index, nor a word that there is one.
    let prefix = format!("x/connection/{}/", Connection::UNSETTLED);
    let entries = memory.scan(prefix.as_bytes(), None, 10).await.unwrap();
    assert_eq!(entries.len(), 1, "this version has one");
    let write = entries.into_iter().map(|(key, _)| (key, None)).collect();
    assert_eq!(memory.commit(Batch { expect: Vec::new(), write }).await.unwrap(), Committed::Done);
    world.restarted(memory.clone());
    assert_eq!(world.connections.recover_at_start().await.unwrap().resolved, 1);
    assert!(
        memory.scan(prefix.as_bytes(), None, 10).await.unwrap().is_empty(),
        "and nothing is left to finish"
    );
    assert!(world.store().get::<Upgrades>(Upgrades::KEY).await.unwrap().unwrap().unsettled_indexed);
}

#[tokio::test]
async fn while_the_disk_is_full_new_tokens_are_held_and_nothing_is_dialled() {
    let memory = Arc::new(MemoryBackend::new());
    let world = World::over(STRICT, memory.clone()).await;
    let id = world.connection().await;
    memory.set_full(true);
    assert!(matches!(world.connections.lease(&id).await, Err(LeaseError::Store(_))));
    assert_eq!(world.provider.dials(), 0);
    memory.set_full(false);
    let fills = memory.clone();
    world.provider.next(Fault::Meanwhile(Box::pin(async move { fills.set_full(true) })));
    let frees = memory.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        frees.set_full(false);
    });
    assert_eq!(world.connections.lease(&id).await.unwrap().token.expose(), "access-2");
    assert_eq!(world.refresh_token(&id).await, "refresh-2");
}

#[tokio::test]
async fn what_came_out_of_a_backup_is_not_spent_where_that_could_do_harm() {
    for (refresh, is_held) in [(STRICT, true), (GRACE, true), (KEEPS_OLD, false)] {
        let mut world = World::new(refresh).await;
        let id = world.connection().await;
        let mut tx = Tx::new();
        tx.insert(&Restored { taken_at: START, restored_at: START });
        assert_eq!(world.store().commit(tx).await.unwrap(), Committed::Done);
        world.pass(60);
        let held = world.connections.lease(&id).await;
        assert_eq!(matches!(held, Err(LeaseError::HeldBack)), is_held, "{refresh}: {held:?}");
        assert_eq!(world.provider.dials(), usize::from(!is_held));
        world.restarted(world.backend.clone());
        world.connections.recover_at_start().await.unwrap();
        assert_eq!(world.provider.dials(), usize::from(!is_held), "nor at the start");
        // An administrator says that it may be.
        let marker = world.store().get::<Restored>(Restored::KEY).await.unwrap().unwrap();
        let mut tx = Tx::new();
        tx.delete(&marker);
        assert_eq!(world.store().commit(tx).await.unwrap(), Committed::Done);
        assert!(world.connections.lease(&id).await.is_ok());
        assert_eq!(world.provider.dials(), 1);
    }
}
