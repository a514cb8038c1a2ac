//! Grants and their end.

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::Semaphore;

use super::*;
use crate::audit::EventFilter;
use crate::model::connection::StrayToken;
use crate::model::grant::{GrantState, RevokedBy, Tightening};
use crate::model::record::Record as _;
use crate::store::Batch;
use crate::store::backend::Page;

#[tokio::test]
async fn a_newer_consent_takes_the_place_of_the_older_one() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let older = world.grant(&id, "mail.read files.read").await;
    let newer = world.grant(&id, "mail.read").await;
    let live = world.connections.live_for(&newer.agent, &world.user, &world.slug, Some(&id)).await.unwrap();
    assert_eq!(live.len(), 1);
    assert_eq!(live[0].id, newer.id);
    let older = world.connections.grant(&older.id).await.unwrap().unwrap();
    assert!(matches!(older.state, GrantState::Revoked { by: RevokedBy::NewConsent, .. }));
}

#[tokio::test]
async fn deciding_does_not_read_through_grants_that_have_ended() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let mut last = world.grant(&id, "mail.read").await;
    for _ in 0..5 {
        last = world.grant(&id, "mail.read").await;
    }
    world.connections.revoke_own(&world.user, &last.id).await.unwrap();
    let of_user = world.connections.grants_of_user(&world.user).await.unwrap();
    assert_eq!(of_user.len(), 6, "the history stays");
    assert!(
        of_user.iter().all(|grant| {
            grant.indexes().iter().all(|(index, _)| !["holder", "connection"].contains(index))
        })
    );
    let live = world.grant(&id, "mail.read").await;
    assert!(live.indexes().iter().any(|(index, _)| *index == "holder"));
}

#[tokio::test]
async fn revoking_a_grant_revokes_its_tokens_and_leaves_the_connection() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let grant = world.grant(&id, "mail.read").await;
    let token = world.connections.lease_for_grant(&grant, &scopes("mail.read")).await.unwrap().unwrap();
    let stranger = UserId::generate(&SeededEntropy::new(5));
    let refused = world.connections.revoke_own(&stranger, &grant.id).await;
    assert!(matches!(refused, Err(GrantError::NotFound)));
    let revoked = world.connections.revoke_own(&world.user, &grant.id).await.unwrap();
    assert!(revoked.still_alive.is_empty());
    assert_eq!(world.provider.revoked(), [token.token.expose().as_str()]);
    assert!(world.connections.lease(&id).await.is_ok());
    assert!(
        world.connections.live_for(&grant.agent, &world.user, &world.slug, None).await.unwrap().is_empty()
    );
}

#[tokio::test]
async fn disconnecting_ends_grants_revokes_upstream_and_wipes() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let grant = world.grant(&id, "mail.read").await;
    let refresh = world.refresh_token(&id).await;
    let stranger = UserId::generate(&SeededEntropy::new(5));
    assert!(world.connections.disconnect(&stranger, &id).await.is_err());
    let gone = world.connections.disconnect(&world.user, &id).await.unwrap();
    assert_eq!((gone.revoked_upstream, gone.grants), (true, vec![grant.id]));
    assert!(world.provider.revoked().contains(&refresh));
    let record = world.record(&id).await;
    assert!(record.refresh_token.is_none() && record.access.is_none());
    assert!(matches!(world.connections.lease(&id).await, Err(LeaseError::Disconnected)));
    assert!(world.connections.of_user(&world.user).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_disconnection_waits_for_a_refresh_and_revokes_what_it_brought() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    world.provider.next(provider::Fault::Slow(Duration::from_millis(100)));
    let (connections, lease) = (world.connections.clone(), id.clone());
    let leasing = tokio::spawn(async move { connections.lease(&lease).await });
    while world.provider.dials() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.connections.disconnect(&world.user, &id).await.unwrap();
    let _ = leasing.await;
    assert!(world.provider.revoked().contains(&"refresh-2".to_owned()), "{:?}", world.provider.revoked());
    assert!(world.record(&id).await.refresh_token.is_none());
}

#[tokio::test]
async fn a_token_that_one_node_receives_after_another_has_disconnected_the_account_is_revoked() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let (one, two) = (world.node("one"), world.node("two"));
    let answers = Arc::new(Semaphore::new(0));
    let answer = answers.clone();
    let late = Box::pin(async move { drop(answer.acquire().await.unwrap()) });
    world.provider.next(provider::Fault::AnswersAfter(late));
    let lease = id.clone();
    let leasing = tokio::spawn(async move { one.lease(&lease).await });
    while world.provider.dials() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    two.disconnect(&world.user, &id).await.unwrap();
    assert!(world.record(&id).await.refresh_token.is_none());
    answers.add_permits(1);
    assert!(leasing.await.unwrap().is_err());
    let strays = || async { world.store().page::<StrayToken>(None, 10).await.unwrap().len() };
    let revoked = async {
        while world.provider.is_live("refresh-2") || strays().await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), revoked).await.expect("the token lives on");
    assert!(world.provider.revoked().contains(&"refresh-2".to_owned()), "{:?}", world.provider.revoked());
}

#[tokio::test]
async fn a_provider_that_is_switched_off_gives_nothing_and_can_still_be_disconnected() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    world.connections.set_enabled(&world.slug, false, "admin@example.com").await.unwrap();
    assert!(matches!(world.connections.lease(&id).await, Err(LeaseError::Provider(_))));
    assert!(world.connections.disconnect(&world.user, &id).await.unwrap().revoked_upstream);
}

#[tokio::test]
async fn a_stop_revokes_the_tokens_that_have_left_and_keeps_the_grant() {
    use crate::model::stop::StopTarget;
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let grant = world.grant(&id, "mail.read").await;
    let asked = scopes("mail.read");
    let token = world.connections.lease_for_grant(&grant, &asked).await.unwrap().unwrap();
    let other = StopTarget::Provider("other".parse().unwrap());
    world.connections.revoke_tokens_under(&other).await.unwrap();
    assert!(world.provider.revoked().is_empty());
    let alive = world.connections.revoke_tokens_under(&StopTarget::Agent(grant.agent.clone())).await.unwrap();
    assert!(alive.is_empty());
    assert_eq!(world.provider.revoked(), [token.token.expose().as_str()]);
    let next = world.connections.lease_for_grant(&grant, &asked).await.unwrap().unwrap();
    assert_ne!(next.token.expose(), token.token.expose());
}

/// Takes writes a while after they were handed over, whoever waits.
struct Lazy(Arc<MemoryBackend>);

impl Backend for Lazy {
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
        let inner = self.0.clone();
        let written = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            inner.commit(batch).await
        });
        Box::pin(async move { written.await.unwrap() })
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.sync()
    }

    fn failed(&self) -> bool {
        false
    }

    fn failed_signal(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_grant_that_is_made_narrower_is_in_the_log_though_its_user_has_gone_away() {
    let world = World::over(STRICT, Arc::new(Lazy(Arc::new(MemoryBackend::new())))).await;
    let id = world.connection().await;
    let grant = world.grant(&id, "mail.read files.read").await;
    let by = Tightening { scopes: Some(scopes("mail.read")), ..Tightening::default() };
    // A closed connection drops what was being done for it.
    assert!(world.connections.tighten(&world.user, &grant.id, &by).now_or_never().is_none());
    let told = || {
        let recent = world.audit.recent(&EventFilter::default(), 50);
        recent.into_iter().any(|event| event.draft.action == "grant.tightened")
    };
    let in_the_log = async {
        while !told() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), in_the_log).await.expect("it is not in the log");
    assert_eq!(world.connections.grant(&grant.id).await.unwrap().unwrap().scopes, scopes("mail.read"));
}
