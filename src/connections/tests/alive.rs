//! Renewing what would end from lack of use, and leaving a provider alone that asks for it.

use super::provider::Fault;
use super::*;
use crate::connections::alive::KeptAlive;
use crate::model::grant::RevokedBy;

const DAY: u64 = 24 * 3600;

impl World {
    /// A connection whose refresh token ends in twenty days, and that nothing has used for ten.
    async fn idle(&self) -> ConnectionId {
        let id = self.connection().await;
        let update = |connection: &Connection| {
            let mut next = connection.clone();
            next.refreshed_at = START.minus(Duration::from_secs(10 * DAY));
            next.refresh_expires_at = Some(START.plus(Duration::from_secs(20 * DAY)));
            Ok::<_, ()>(Some(next))
        };
        self.store().update(id.as_str(), update).await.unwrap();
        self.long_grant(&id).await;
        id
    }

    async fn long_grant(&self, id: &ConnectionId) {
        let grant = self.grant(id, "mail.read").await;
        let update = |grant: &Grant| {
            Ok::<_, ()>(Some(Grant {
                expires_at: START.plus(Duration::from_secs(90 * DAY)),
                ..grant.clone()
            }))
        };
        self.store().update(grant.id.as_str(), update).await.unwrap();
    }
}

const MONTH: &str =
    "rotation = \"strict\"\nreuse_detection = true\nnarrowing = \"ignored\"\nlifetime_s = 2592000";

#[tokio::test]
async fn a_refresh_token_that_nobody_uses_is_renewed_before_it_ends() {
    let world = World::new(MONTH).await;
    let id = world.idle().await;
    world.pass(16 * DAY);
    assert_eq!(world.connections.keep_alive().await.unwrap(), KeptAlive::default(), "four days are left");
    world.pass(2 * DAY + DAY * 3 / 4);
    let round = world.connections.keep_alive().await.unwrap();
    assert_eq!((round.due, round.renewed), (1, 1));
    let record = world.record(&id).await;
    let end = record.refresh_expires_at.unwrap();
    assert_eq!(end, record.refreshed_at.plus(Duration::from_secs(30 * DAY)));
    assert_eq!(world.connections.keep_alive().await.unwrap(), KeptAlive::default());
    assert_eq!(world.provider.dials(), 1);
}

#[tokio::test]
async fn what_no_grant_stands_on_ends_and_a_fixed_life_cannot_be_lengthened() {
    let world = World::new(MONTH).await;
    world.idle().await;
    let grants = world.connections.grants_of_user(&world.user).await.unwrap();
    world.connections.revoke(&grants[0].id, RevokedBy::User).await.unwrap();
    world.pass(19 * DAY);
    assert_eq!(world.connections.keep_alive().await.unwrap(), KeptAlive::default());

    let world = World::new(&format!("{MONTH}\nfixed_life = true")).await;
    let id = world.idle().await;
    world.pass(19 * DAY);
    assert_eq!(world.connections.keep_alive().await.unwrap(), KeptAlive::default());
    world.connections.lease(&id).await.unwrap();
    assert_eq!(world.record(&id).await.refresh_expires_at, Some(START.plus(Duration::from_secs(20 * DAY))));
}

#[tokio::test]
async fn connections_made_together_are_not_renewed_together() {
    let world = World::new(MONTH).await;
    for _ in 0..40 {
        world.idle().await;
    }
    world.pass(18 * DAY);
    let first = world.connections.keep_alive().await.unwrap().renewed;
    world.pass(DAY / 4);
    let second = world.connections.keep_alive().await.unwrap().renewed;
    world.pass(DAY / 4);
    let third = world.connections.keep_alive().await.unwrap().renewed;
    assert_eq!(first + second + third, 40);
    assert!(first > 0 && second > 0 && third > 0, "{first}, {second}, {third}");
}

#[tokio::test]
async fn a_provider_that_asks_for_a_pause_is_left_alone_and_comes_back_by_itself() {
    let world = World::new(MONTH).await;
    for _ in 0..12 {
        world.idle().await;
    }
    world.pass(19 * DAY);
    world.provider.next(Fault::Pause(30));
    let round = world.connections.keep_alive().await.unwrap();
    assert_eq!(round.due, 12);
    assert_eq!(round.renewed + round.put_off, 12);
    assert!(round.put_off >= 11, "{round:?}");
    let other = world.connection().await;
    let refused = world.connections.lease(&other).await;
    assert!(
        matches!(refused, Err(LeaseError::RetryLater { after }) if after <= Duration::from_secs(30)),
        "{refused:?}"
    );
    world.pass(31);
    assert!(world.connections.lease(&other).await.is_ok(), "a pause is no trouble, and ends by itself");
    assert_eq!(world.connections.keep_alive().await.unwrap().renewed, round.put_off);
}
