//! Refresh tokens that nobody needs any more.

use tokio::sync::Semaphore;

use super::provider::Fault;
use super::*;

/// Longer than any dial that was under way.
const DIALS: u64 = 91;

impl World {
    async fn consented(&self) -> Connection {
        self.back(&self.sent(None).await).await.unwrap().connection.unwrap()
    }

    async fn sweeps(&self) -> usize {
        self.connections.sweep_discarded().await.unwrap()
    }
}

#[tokio::test]
async fn a_token_that_an_agent_gets_while_its_user_consents_is_not_ended_with_the_former_consent() {
    let world = World::new(APART).await;
    let made = world.consented().await;
    let grant = world.grant(&made.id, "mail.read").await;
    let answers = Arc::new(Semaphore::new(0));
    let answer = answers.clone();
    world.provider.next(Fault::AnswersAfter(Box::pin(async move { drop(answer.acquire().await.unwrap()) })));
    let connections = world.connections.clone();
    let minting =
        tokio::spawn(async move { connections.lease_for_grant(&grant, &scopes("mail.read")).await });
    while world.provider.dials() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.consented().await;
    assert_eq!(world.sweeps().await, 0);
    assert!(world.provider.revoked().is_empty(), "revoked while a token under it is being made");
    answers.add_permits(1);
    let token = minting.await.unwrap().unwrap().unwrap();
    assert_eq!(token.token.expose(), "access-2");

    for _ in 0..5 {
        world.pass(600);
        assert_eq!(world.sweeps().await, 0, "the token that the agent holds was ended");
    }
    world.pass(600);
    world.sweeps().await;
    assert!(world.provider.revoked().contains(&"refresh-1".to_owned()), "no agent holds one any more");
    assert!(world.provider.is_live(&world.refresh_token(&made.id).await));
}
