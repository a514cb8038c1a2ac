//! An orderly stop: what is being dialled is finished, and nothing else is begun.

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::provider::Fault;
use super::*;

#[tokio::test]
async fn an_orderly_end_waits_for_what_is_being_dialled() {
    let world = World::new(STRICT).await;
    let (id, other) = (world.connection().await, world.connection().await);
    world.provider.next(Fault::Slow(Duration::from_millis(100)));
    let (connections, lease) = (world.connections.clone(), id.clone());
    let caller = tokio::spawn(async move { connections.lease(&lease).await });
    while world.provider.dials() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(world.connections.drain(Duration::from_secs(2)).await);
    assert!(caller.await.unwrap().is_ok());
    assert_eq!(world.record(&id).await.intent, None);
    assert!(world.connections.lease(&other).await.is_err());
    assert_eq!(world.provider.dials(), 1);
}

#[tokio::test]
async fn an_orderly_end_dials_for_nobody_who_still_waits_for_a_permit() {
    let world = World::new(STRICT).await;
    let answers = Arc::new(Semaphore::new(0));
    let mut ids = Vec::new();
    for _ in 0..20 {
        let answers = answers.clone();
        world
            .provider
            .next(Fault::Meanwhile(Box::pin(async move { drop(answers.acquire().await.unwrap()) })));
        ids.push(world.connection().await);
    }
    for id in &ids {
        let (connections, id) = (world.connections.clone(), id.clone());
        tokio::spawn(async move { connections.lease(&id).await });
    }
    while world.provider.dials() < 8 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let connections = world.connections.clone();
    let draining = tokio::spawn(async move { connections.drain(Duration::from_secs(20)).await });
    while !world.connections.inner.flights.is_closing() {
        tokio::task::yield_now().await;
    }
    answers.add_permits(1);
    assert!(draining.await.unwrap());
    assert_eq!(world.provider.dials(), 8, "what waited was not begun");
    let records = join_all(ids.iter().map(|id| world.record(id))).await;
    assert!(records.iter().all(|record| record.intent.is_none()));
    let renewed = records.iter().filter(|record| record.generation == 2).count();
    assert_eq!(renewed, 8, "all that was begun");
}
