//! A clock that was ahead, and is right again.

use super::provider::Fault;
use super::*;

const JUMP: Duration = Duration::from_secs(10 * 24 * 3600);

#[tokio::test]
async fn what_was_obtained_while_the_clock_was_ahead_is_stale_when_it_is_right_again() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    world.clock.advance(JUMP);
    assert_eq!(world.connections.lease(&id).await.unwrap().token.expose(), "access-2");
    let app = world.connections.app_access(&world.slug).await.unwrap();
    world.clock.turn_back(JUMP);
    let access = world.connections.lease(&id).await.unwrap();
    assert_eq!(access.token.expose(), "access-3", "when the one before it ends is not known");
    assert_eq!(access.expires_at, START.plus(Duration::from_secs(3600)));
    let again = world.connections.app_access(&world.slug).await.unwrap();
    assert_ne!(again.token.expose(), app.token.expose());
}

#[tokio::test]
async fn an_access_token_of_a_clock_that_was_ahead_can_be_called_stale() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    world.clock.advance(JUMP);
    let access = world.connections.lease(&id).await.unwrap();
    world.clock.turn_back(JUMP);
    assert!(world.connections.invalidate_access(&id, access.generation).await.unwrap());
}

#[tokio::test]
async fn a_wait_of_a_clock_that_was_ahead_is_over_when_it_is_right_again() {
    let world = World::new(STRICT).await;
    let id = world.connection().await;
    world.clock.advance(JUMP);
    for _ in 0..5 {
        world.provider.next(Fault::NotSent);
        assert!(world.connections.lease(&id).await.is_err());
        world.pass(900);
    }
    world.clock.turn_back(JUMP);
    assert!(world.connections.lease(&id).await.is_ok());
}
