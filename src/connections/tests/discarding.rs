//! Refresh tokens that nobody needs any more.

use tokio::sync::Semaphore;

use super::provider::{Fault, Revocations};
use super::*;
use crate::audit::EventFilter;
use crate::model::connection::StrayToken;
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::record::Record as _;
use crate::model::restored::Restored;
use crate::providers::template::ErrorClass;

/// Longer than any dial that was under way.
const DIALS: u64 = 91;

impl World {
    async fn consented(&self) -> Connection {
        self.back(&self.sent(None).await).await.unwrap().connection.unwrap()
    }

    async fn sweeps(&self) -> usize {
        self.connections.sweep_discarded().await.unwrap()
    }

    /// Whoever renews that account comes back with bob's, whose tokens are not kept.
    async fn bob_is_refused(&self, renewed: &ConnectionId) {
        self.provider.signed_in("bob");
        let refused = self.back(&self.sent(Some(renewed.clone())).await).await;
        assert!(matches!(refused, Err(CompleteError::OtherAccount { .. })), "{refused:?}");
    }

    /// A note that is due, of a token that lives; returns its key.
    async fn noted(&self, of: &ConnectionId, attempt: &str) -> String {
        let (key, token) = (StrayToken::key_of(of, attempt), self.provider.issue());
        let now = self.clock.now();
        let note = StrayToken {
            connection: of.clone(),
            attempt: attempt.to_owned(),
            refresh_token: self.vault.seal(StrayToken::context(&key), token.as_bytes()),
            at: now,
            revoke_at: Some(now),
            former: None,
        };
        let mut tx = Tx::new();
        tx.insert(&note);
        assert_eq!(self.store().commit(tx).await.unwrap(), Committed::Done);
        note.key()
    }

    async fn note(&self, key: &str) -> Option<Stored<StrayToken>> {
        self.store().get::<StrayToken>(key).await.unwrap()
    }

    async fn notes(&self) -> usize {
        self.store().page::<StrayToken>(None, 100).await.unwrap().len()
    }

    /// What the log says of tokens that were not needed any more.
    async fn revocations_told(&self) -> Vec<Outcome> {
        // One after those that are written on the side.
        let marker = EventDraft::new(EventKind::Revocation, "marker");
        self.audit.record(marker).await.unwrap();
        let events = self.audit.recent(&EventFilter::default(), 50);
        let told = events.iter().filter(|event| event.draft.action == "refresh_token.revoked");
        told.filter_map(|event| event.draft.outcome).collect()
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

#[tokio::test]
async fn what_was_not_kept_is_never_revoked_late_where_that_could_end_a_consent_that_came_since() {
    let world = World::new(STRICT).await;
    let alice = world.consented().await;
    world.provider.revocations(Revocations::Fail(ErrorClass::Retry));
    world.bob_is_refused(&alice.id).await;
    assert_eq!(world.provider.asked_to_revoke(), 1);
    world.provider.revocations(Revocations::Work);
    let bob = world.consented().await;
    // An earlier release has noted such a token.
    let note = world.noted(&alice.id, "unneeded-00").await;
    for _ in 0..3 {
        world.sweeps().await;
        world.pass(601);
    }
    assert!(world.provider.revoked().is_empty(), "{:?} may have been bob's", world.provider.revoked());
    assert!(world.note(&note).await.is_none());
    world.pass(3600);
    assert!(world.connections.lease(&bob.id).await.is_ok());
}

#[tokio::test]
async fn where_consents_are_apart_a_revocation_that_failed_is_made_up_for() {
    let world = World::new(APART).await;
    let alice = world.consented().await;
    world.provider.revocations(Revocations::Fail(ErrorClass::Retry));
    world.bob_is_refused(&alice.id).await;
    world.provider.revocations(Revocations::Work);
    world.pass(599);
    assert_eq!(world.sweeps().await, 0, "too early");
    world.pass(1);
    assert_eq!(world.sweeps().await, 1);
    assert_eq!(world.provider.revoked(), ["refresh-2"]);
    assert_eq!(world.notes().await, 0);
    assert_eq!(world.revocations_told().await, [Outcome::Done]);
}

#[tokio::test]
async fn a_revocation_that_cannot_succeed_is_asked_for_once() {
    for hopeless in [Revocations::NotOffered, Revocations::Fail(ErrorClass::Reauth)] {
        let world = World::new(APART).await;
        let alice = world.consented().await;
        world.provider.revocations(hopeless);
        world.bob_is_refused(&alice.id).await;
        assert_eq!(world.notes().await, 0);
        for _ in 0..3 {
            world.pass(3600);
            world.sweeps().await;
        }
        assert_eq!(world.provider.asked_to_revoke(), 1);
        assert_eq!(world.revocations_told().await, [Outcome::Failed]);
    }
}

#[tokio::test]
async fn a_provider_that_goes_on_refusing_is_asked_less_and_less_and_in_the_end_no_more() {
    let world = World::new(APART).await;
    let alice = world.consented().await;
    world.provider.revocations(Revocations::Fail(ErrorClass::Config));
    world.bob_is_refused(&alice.id).await;
    let week = 7 * 24 * 6;
    for _ in 0..week {
        world.pass(600);
        world.sweeps().await;
    }
    let asked = world.provider.asked_to_revoke();
    assert!((28..50).contains(&asked), "asked {asked} times in a week");
    for _ in 0..24 * 4 {
        world.pass(6 * 3600);
        world.sweeps().await;
    }
    assert_eq!(world.notes().await, 0);
    assert_eq!(world.revocations_told().await, [Outcome::Failed]);
}

#[tokio::test]
async fn a_provider_gets_the_pause_that_it_asks_for() {
    let world = World::new(APART).await;
    let alice = world.consented().await;
    world.provider.revocations(Revocations::Pause(3000));
    world.bob_is_refused(&alice.id).await;
    for _ in 0..4 {
        world.pass(749);
        world.sweeps().await;
    }
    assert_eq!(world.provider.asked_to_revoke(), 1);
    world.pass(5);
    world.sweeps().await;
    assert_eq!(world.provider.asked_to_revoke(), 2);
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_once_in_each_round() {
    let world = World::new(APART).await;
    let alice = world.consented().await;
    for attempt in ["unneeded-01", "unneeded-02", "unneeded-03"] {
        world.noted(&alice.id, attempt).await;
    }
    world.provider.revocations(Revocations::Fail(ErrorClass::Retry));
    world.sweeps().await;
    assert_eq!(world.provider.asked_to_revoke(), 1);
    world.provider.revocations(Revocations::Work);
    assert_eq!(world.sweeps().await, 2, "the others come to their turn in the next one");
}

#[tokio::test]
async fn of_several_nodes_one_revokes_and_tells_of_it() {
    let world = World::new(APART).await;
    let alice = world.consented().await;
    world.noted(&alice.id, "unneeded-01").await;
    let (one, two) = (world.node("one"), world.node("two"));
    let (one, two) = tokio::join!(one.sweep_discarded(), two.sweep_discarded());
    assert_eq!(one.unwrap() + two.unwrap(), 1);
    assert_eq!(world.provider.asked_to_revoke(), 1);
    assert_eq!(world.revocations_told().await, [Outcome::Done]);
}

#[tokio::test]
async fn a_node_that_dies_over_a_revocation_leaves_it_to_the_others() {
    let world = World::new(APART).await;
    let alice = world.consented().await;
    world.noted(&alice.id, "unneeded-01").await;
    let one = world.node("one");
    world.provider.revocations(Revocations::Hang);
    let dies = tokio::spawn(async move { one.sweep_discarded().await });
    while world.provider.asked_to_revoke() == 0 {
        tokio::task::yield_now().await;
    }
    dies.abort();
    assert!(dies.await.is_err());
    world.provider.revocations(Revocations::Work);
    assert_eq!(world.sweeps().await, 0);
    world.pass(60);
    assert_eq!(world.sweeps().await, 1);
}

#[tokio::test]
async fn notes_out_of_a_backup_are_left_alone_until_the_restored_store_is_confirmed() {
    let world = World::new(APART).await;
    let alice = world.consented().await;
    world.noted(&alice.id, "unneeded-01").await;
    world.pass(60);
    let mut tx = Tx::new();
    tx.insert(&Restored { taken_at: START, restored_at: world.clock.now() });
    assert_eq!(world.store().commit(tx).await.unwrap(), Committed::Done);
    world.pass(60);
    assert_eq!(world.sweeps().await, 0);
    // What came to be of no use here is this deployment's own.
    world.bob_is_refused(&alice.id).await;
    assert_eq!(world.provider.revoked(), ["refresh-3"]);
    let marker = world.store().get::<Restored>(Restored::KEY).await.unwrap().unwrap();
    let mut tx = Tx::new();
    tx.delete(&marker);
    assert_eq!(world.store().commit(tx).await.unwrap(), Committed::Done);
    assert_eq!(world.sweeps().await, 1);
    assert_eq!(world.provider.revoked(), ["refresh-3", "refresh-2"]);
}

impl World {
    /// A connection beside whose token another one was kept, of a renewal that a consent has overtaken.
    async fn with_a_kept_token(refresh: &str) -> (Self, ConnectionId) {
        let world = Self::new(refresh).await;
        let made = world.consented().await;
        world.pass(3600);
        world.provider.next(Fault::Slow(Duration::from_millis(200)));
        let (connections, id) = (world.connections.clone(), made.id.clone());
        let leasing = tokio::spawn(async move { connections.lease(&id).await });
        while world.provider.dials() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.consented().await;
        assert!(leasing.await.unwrap().is_ok());
        assert!(world.provider.is_live("refresh-3"), "the renewal's own");
        (world, made.id)
    }

    fn living(&self) -> Vec<String> {
        let all = (1..=9).map(|number| format!("refresh-{number}"));
        all.filter(|token| self.provider.is_live(token)).collect()
    }
}

#[tokio::test]
async fn disconnecting_revokes_the_tokens_that_were_kept_as_well() {
    for refresh in [STRICT, APART] {
        let (world, id) = World::with_a_kept_token(refresh).await;
        let ended = world.connections.disconnect(&world.user, &id).await.unwrap();
        assert!(ended.revoked_upstream);
        assert_eq!(world.living(), Vec::<String>::new());
        assert_eq!(world.notes().await, 0);
    }
}

#[tokio::test]
async fn what_a_disconnection_could_not_revoke_is_made_up_for() {
    for refresh in [STRICT, APART] {
        let (world, id) = World::with_a_kept_token(refresh).await;
        world.provider.revocations(Revocations::Fail(ErrorClass::Retry));
        let ended = world.connections.disconnect(&world.user, &id).await.unwrap();
        assert!(!ended.revoked_upstream);
        assert!(world.record(&id).await.refresh_token.is_none());
        world.provider.revocations(Revocations::Work);
        world.pass(600);
        world.sweeps().await;
        assert_eq!(world.living(), Vec::<String>::new());
        assert_eq!(world.notes().await, 0);
    }
}

#[tokio::test]
async fn what_a_disconnection_could_not_revoke_is_kept_while_the_account_is_connected_again() {
    let (world, id) = World::with_a_kept_token(STRICT).await;
    world.provider.revocations(Revocations::Fail(ErrorClass::Retry));
    world.connections.disconnect(&world.user, &id).await.unwrap();
    world.provider.revocations(Revocations::Work);
    assert_eq!(world.consented().await.id, id);
    for _ in 0..3 {
        world.pass(601);
        assert_eq!(world.sweeps().await, 0);
    }
    assert!(!world.provider.revoked().iter().any(|token| token.starts_with("refresh")));
    world.connections.disconnect(&world.user, &id).await.unwrap();
    assert_eq!(world.living(), Vec::<String>::new());
    assert_eq!(world.notes().await, 0);
}

#[tokio::test]
async fn a_kept_token_of_a_former_consent_ends_with_that_one_where_consents_are_apart() {
    let (world, id) = World::with_a_kept_token(APART).await;
    world.pass(DIALS);
    assert_eq!(world.sweeps().await, 2);
    assert_eq!(world.living(), [world.refresh_token(&id).await]);
    let (world, id) = World::with_a_kept_token(STRICT).await;
    world.pass(DIALS);
    assert_eq!(world.sweeps().await, 0);
    assert_eq!(world.living(), [world.refresh_token(&id).await, "refresh-3".to_owned()]);
}
