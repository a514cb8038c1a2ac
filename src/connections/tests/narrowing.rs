//! Provider tokens that may leave.

use super::provider::Fault;
use super::*;
use crate::model::connection::GrantToken;

#[tokio::test]
async fn a_narrowed_token_is_minted_once_per_grant_and_scope_set() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    world.connections.lease(&id).await.unwrap();
    let grant = world.grant(&id, "mail.read files.read").await;
    let mint =
        async || world.connections.lease_for_grant(&grant, &scopes("mail.read")).await.unwrap().unwrap();
    let (first, second) = (mint().await, mint().await);
    assert_eq!(first.token.expose(), second.token.expose());
    assert_eq!(first.scopes, scopes("mail.read"));
    assert_eq!(world.provider.dials(), 2);
    let other = world.connections.lease_for_grant(&grant, &scopes("files.read")).await.unwrap().unwrap();
    assert_ne!(other.token.expose(), first.token.expose());
    // The whole token is not the narrowed one, and has not changed.
    assert_eq!(world.connections.lease(&id).await.unwrap().token.expose(), "access-2");
}

#[tokio::test]
async fn two_grants_never_share_a_token() {
    let world = World::new(STRICT).await;
    let (id, other) = (world.connection().await, world.connection().await);
    let (one, two) = (world.grant(&id, "mail.read").await, world.grant(&other, "mail.read").await);
    let first = world.connections.lease_for_grant(&one, &scopes("mail.read")).await.unwrap().unwrap();
    let second = world.connections.lease_for_grant(&two, &scopes("mail.read")).await.unwrap().unwrap();
    assert_ne!(first.token.expose(), second.token.expose());
}

#[tokio::test]
async fn single_use_tokens_are_spent_one_after_the_other() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let grant = world.grant(&id, "mail.read files.read").await;
    world.provider.next(Fault::Slow(Duration::from_millis(50)));
    let (mail, files) = (scopes("mail.read"), scopes("files.read"));
    let (whole, mail, files) = tokio::join!(
        world.connections.lease(&id),
        world.connections.lease_for_grant(&grant, &mail),
        world.connections.lease_for_grant(&grant, &files),
    );
    assert!(whole.is_ok() && mail.unwrap().is_some() && files.unwrap().is_some());
    assert_eq!(world.provider.dials(), 3);
}

#[tokio::test]
async fn a_broader_or_unstated_scope_gives_no_token_but_keeps_the_refresh_token() {
    for stated in [Some("mail.read files.read"), Some("mail.read unrecognised:x"), None] {
        let world = World::new(STRICT).await;
        let id = world.connection().await;
        let grant = world.grant(&id, "mail.read files.read").await;
        world.provider.next(Fault::Scopes(stated));
        let asked = scopes("mail.read");
        assert!(world.connections.lease_for_grant(&grant, &asked).await.unwrap().is_none(), "{stated:?}");
        assert_eq!(world.refresh_token(&id).await, "refresh-2");
        // Not asked again at every call: each attempt would spend a refresh token.
        assert!(world.connections.lease_for_grant(&grant, &asked).await.unwrap().is_none());
        assert_eq!(world.provider.dials(), 1);
        assert!(world.store().page::<GrantToken>(None, 10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_may_not_leave_is_not_even_asked_for() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let mut grant = world.grant(&id, "mail.read all.read").await;
    for asked in ["all.read", "mail.read all.read", "files.read", "offline_access", ""] {
        assert!(
            world.connections.lease_for_grant(&grant, &scopes(asked)).await.unwrap().is_none(),
            "{asked}"
        );
    }
    grant.limits.push(crate::model::limit::Limit::general(crate::model::limit::Bound::ReadOnly {}));
    assert!(world.connections.lease_for_grant(&grant, &scopes("mail.read")).await.unwrap().is_none());
    let ignoring = World::new(KEEPS_OLD).await;
    let id = ignoring.connection().await;
    let grant = ignoring.grant(&id, "mail.read").await;
    assert!(ignoring.connections.lease_for_grant(&grant, &scopes("mail.read")).await.unwrap().is_none());
    assert_eq!(world.provider.dials() + ignoring.provider.dials(), 0);
}

#[tokio::test]
async fn a_token_that_would_outlive_the_hour_is_revoked_when_it_is_over() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let grant = world.grant(&id, "mail.read").await;
    world.provider.next(Fault::Life(7200));
    let asked = scopes("mail.read");
    let token = world.connections.lease_for_grant(&grant, &asked).await.unwrap().unwrap();
    assert_eq!(token.expires_at, START.plus(Duration::from_secs(3600)));
    assert_eq!(world.connections.sweep_grant_tokens().await.unwrap(), 0);
    world.pass(3550);
    let next = world.connections.lease_for_grant(&grant, &asked).await.unwrap().unwrap();
    assert_ne!(next.token.expose(), token.token.expose());
    world.pass(60);
    assert_eq!(world.connections.sweep_grant_tokens().await.unwrap(), 1);
    assert_eq!(world.provider.revoked(), [token.token.expose().as_str()]);
    assert_eq!(world.connections.live_tokens(&grant.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_grant_that_ends_while_its_token_is_minted_gets_none() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let grant = world.grant(&id, "mail.read").await;
    let (connections, ended) = (world.connections.clone(), grant.id.clone());
    world.provider.next(Fault::Meanwhile(Box::pin(async move {
        connections.revoke(&ended, crate::model::grant::RevokedBy::User).await.unwrap();
    })));
    assert!(world.connections.lease_for_grant(&grant, &scopes("mail.read")).await.unwrap().is_none());
    assert_eq!(world.provider.revoked(), ["access-2"]);
    assert!(world.store().page::<GrantToken>(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_scope_that_the_provider_withdrew_does_not_cost_the_connection() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let grant = world.grant(&id, "mail.read").await;
    world.provider.next(Fault::Says(crate::providers::template::ErrorClass::Reauth));
    world.provider.next(Fault::Scopes(Some("mail.read")));
    let asked = scopes("mail.read");
    // What came instead is the connection's own token, and stays here even though it would fit.
    assert!(world.connections.lease_for_grant(&grant, &asked).await.unwrap().is_none());
    assert!(world.connections.lease_for_grant(&grant, &asked).await.unwrap().is_none());
    assert_eq!(world.record(&id).await.state, ConnectionState::Active);
    assert_eq!(world.connections.lease(&id).await.unwrap().token.expose(), "access-2");
    assert_eq!(world.provider.dials(), 2);
}

#[tokio::test]
async fn a_dead_refresh_token_is_found_dead_by_a_narrowed_refresh_too() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    let grant = world.grant(&id, "mail.read").await;
    world.provider.forget(&world.refresh_token(&id).await);
    let dead = world.connections.lease_for_grant(&grant, &scopes("mail.read")).await;
    let reason = crate::model::connection::ReauthReason::RefreshTokenRefused;
    assert!(matches!(dead, Err(LeaseError::NeedsReauth(told)) if told == reason), "{dead:?}");
}
