//! Trips to a provider and back.

use super::*;
use crate::kernel::bearer::TokenDigest;
use crate::model::session::Purpose;

const BROWSER: TokenDigest = TokenDigest::from_bytes([1; 32]);
const OTHER_BROWSER: TokenDigest = TokenDigest::from_bytes([2; 32]);

impl World {
    pub(super) async fn sent(&self, connection: Option<ConnectionId>) -> Vec<(String, String)> {
        let begin = Begin {
            provider: &self.slug,
            purpose: Purpose::Connect { interaction: InteractionId::generate(&*self.entropy), connection },
            browser: BROWSER,
            user: Some(self.user.clone()),
            opened_at: self.clock.now(),
            scopes: &scopes("mail.read"),
        };
        let url = self.connections.begin(begin).await.unwrap();
        let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let redirect = url.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
        assert_eq!(redirect, "https://valetkey.example.com/callback/example");
        vec![("code".to_owned(), "code-1".to_owned()), ("state".to_owned(), state)]
    }

    pub(super) async fn back(&self, params: &[(String, String)]) -> Result<Completed, CompleteError> {
        self.connections.complete(&self.slug, params, &BROWSER, Some(&self.user)).await
    }
}

#[tokio::test]
async fn a_consent_makes_a_connection_with_what_the_provider_gave() {
    let world = World::new(STRICT).await;
    let params = world.sent(None).await;
    let made = world.back(&params).await.unwrap().connection.unwrap();
    assert_eq!(made.scopes, scopes("mail.read"));
    assert!(made.is_default);
    assert_eq!(world.connections.lease(&made.id).await.unwrap().token.expose(), "access-1");
    let again = world.back(&params).await;
    assert!(matches!(again, Err(CompleteError::UnknownState)), "single use");
    assert_eq!(world.provider.redeemed(), 1);
}

#[tokio::test]
async fn a_foreign_browser_or_user_redeems_no_code_and_leaves_it_to_its_owner() {
    let world = World::new(STRICT).await;
    let params = world.sent(None).await;
    let stranger = UserId::generate(&SeededEntropy::new(5));
    let complete = async |browser: &TokenDigest, user: Option<&UserId>| {
        world.connections.complete(&world.slug, &params, browser, user).await
    };
    let other = complete(&OTHER_BROWSER, Some(&world.user)).await;
    assert!(matches!(other, Err(CompleteError::OtherBrowser)));
    assert!(matches!(complete(&BROWSER, Some(&stranger)).await, Err(CompleteError::OtherUser)));
    assert!(matches!(complete(&BROWSER, None).await, Err(CompleteError::OtherUser)));
    assert_eq!(world.provider.redeemed(), 0);
    assert!(complete(&BROWSER, Some(&world.user)).await.is_ok());
}

#[tokio::test]
async fn an_old_unknown_or_repeated_state_is_refused() {
    let world = World::new(STRICT).await;
    let params = world.sent(None).await;
    world.pass(601);
    assert!(matches!(world.back(&params).await, Err(CompleteError::Expired)));
    assert_eq!(world.connections.sweep_transactions().await.unwrap(), 1);
    let mut params = world.sent(None).await;
    params.push(params[1].clone());
    assert!(matches!(world.back(&params).await, Err(CompleteError::UnknownState)));
    assert!(matches!(world.back(&[]).await, Err(CompleteError::UnknownState)));
    let other: ProviderSlug = "other".parse().unwrap();
    let params = world.sent(None).await;
    let elsewhere = world.connections.complete(&other, &params, &BROWSER, Some(&world.user)).await;
    assert!(matches!(elsewhere, Err(CompleteError::UnknownState)));
    assert_eq!(world.provider.redeemed(), 0);
}

#[tokio::test]
async fn two_answers_with_one_state_redeem_one_code() {
    let world = World::new(STRICT).await;
    let params = world.sent(None).await;
    let (one, two) = tokio::join!(world.back(&params), world.back(&params));
    assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
    assert_eq!(world.provider.redeemed(), 1);
}

#[tokio::test]
async fn a_denial_is_told_with_what_it_was_for() {
    let world = World::new(STRICT).await;
    let mut params = world.sent(None).await;
    params[0] = ("error".to_owned(), "access_denied".to_owned());
    let denied = world.back(&params).await.unwrap_err();
    assert!(matches!(denied, CompleteError::Denied { .. }) && denied.purpose().is_some());
    assert_eq!(world.provider.redeemed(), 0);
}

#[tokio::test]
async fn the_same_account_is_renewed_and_another_one_refused() {
    let world = World::new(STRICT).await;
    let first = world.back(&world.sent(None).await).await.unwrap().connection.unwrap();
    let renewed = world.back(&world.sent(None).await).await.unwrap().connection.unwrap();
    assert_eq!(renewed.id, first.id);
    assert_eq!(renewed.generation, first.generation + 1);
    world.provider.signed_in("bob");
    let other = world.back(&world.sent(Some(first.id.clone())).await).await;
    assert!(matches!(other, Err(CompleteError::OtherAccount { .. })));
    assert_eq!(world.provider.revoked(), ["refresh-3"], "what is not kept is given back");
    assert_eq!(world.connections.of_user(&world.user).await.unwrap().len(), 1);
    let second = world.back(&world.sent(None).await).await.unwrap().connection.unwrap();
    assert!(second.id != first.id && !second.is_default);
    assert!(world.connections.set_default(&world.user, &second.id).await.unwrap());
    assert!(!world.record(&first.id).await.is_default);
}

#[tokio::test]
async fn a_new_consent_repairs_a_connection_while_a_refresh_is_under_way() {
    let world = World::new(STRICT).await;
    let made = world.back(&world.sent(None).await).await.unwrap().connection.unwrap();
    world.pass(3600);
    world.provider.next(provider::Fault::Slow(Duration::from_millis(200)));
    let (connections, id, before) = (world.connections.clone(), made.id.clone(), world.provider.dials());
    let leasing = tokio::spawn(async move { connections.lease(&id).await });
    while world.provider.dials() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.back(&world.sent(None).await).await.unwrap();
    assert!(leasing.await.unwrap().is_ok());
    let token = world.refresh_token(&made.id).await;
    assert!(world.provider.is_live(&token));
    assert_eq!(token, "refresh-2", "the consent's own token stands, the other one is kept aside");
}

#[tokio::test]
async fn a_disconnected_account_can_be_connected_again() {
    let world = World::new(STRICT).await;
    let first = world.back(&world.sent(None).await).await.unwrap().connection.unwrap();
    world.connections.disconnect(&world.user, &first.id).await.unwrap();
    let again = world.back(&world.sent(None).await).await.unwrap().connection.unwrap();
    assert_eq!(again.id, first.id);
    assert!(world.connections.lease(&again.id).await.is_ok());
}
