//! The consent page: whose it is, what it asks, and what comes out.

use std::time::Duration;

use valetkey::kernel::ids::InteractionId;
use valetkey::kernel::scope::ScopeSet;
use valetkey::model::grant::Grant;
use valetkey::model::interaction::InteractionState;
use valetkey::model::stop::StopTarget;

use crate::world::{Browser, Seen, World, all_scopes};

struct Asked {
    world: World,
    browser: Browser,
    id: InteractionId,
}

async fn asked() -> Asked {
    let world = World::new();
    world.provider().await;
    let alice = world.user("alice@example.com").await;
    let agent = world.agent(&alice).await;
    world.connection(&alice, all_scopes()).await;
    let id = world.question(&agent, &alice).await;
    let browser = world.browser_of(&alice).await;
    Asked { world, browser, id }
}

impl Asked {
    fn path(&self) -> String {
        format!("/i/{}", self.id)
    }

    async fn open(&mut self) -> Seen {
        self.browser.get(&self.world, &format!("/i/{}", self.id)).await
    }

    async fn answer(&mut self, fields: &[(&str, &str)]) -> Seen {
        let path = self.path();
        let csrf = self.open().await.token(&path);
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend(fields);
        self.browser.post(&self.world, &path, &all).await
    }

    async fn is_pending(&self) -> bool {
        self.world.interaction(&self.id).await.state == InteractionState::Pending
    }
}

#[actix_web::test]
async fn the_page_says_who_asks_what_and_leaves_what_changes_things_unticked() {
    let mut asked = asked().await;
    let seen = asked.open().await;
    assert_eq!(seen.status, 200);
    assert!(seen.html.contains("May Group Keeper use your Okta account?"), "{}", seen.html);
    assert!(seen.html.contains("Let me &#60;b&#62;tidy&#60;/b&#62; up"));
    assert!(seen.html.contains("value=\"okta.users.read\" checked"));
    assert!(seen.html.contains("value=\"okta.groups.manage\">"));
    assert!(seen.html.contains("alice@okta.example"));
    assert!(seen.set_cookies.is_empty());
    assert!(asked.is_pending().await);
}

#[actix_web::test]
async fn what_comes_out_is_what_was_asked_and_ticked() {
    let mut asked = asked().await;
    let seen = asked
        .answer(&[
            ("decision", "agree"),
            ("duration", "3600"),
            ("scope", "okta.users.read"),
            ("scope", "okta.logs.read"),
        ])
        .await;
    assert_eq!(seen.location, Some(asked.path()));
    let done = asked.open().await;
    assert!(done.html.contains("It is agreed") && done.html.contains("in 1 h"), "{}", done.html);
    let InteractionState::Granted { grant, .. } = asked.world.interaction(&asked.id).await.state else {
        panic!()
    };
    let grant = asked.world.state.store.get::<Grant>(grant.as_str()).await.unwrap().unwrap();
    assert_eq!(grant.scopes, ScopeSet::parse("okta.users.read").unwrap());
    assert_eq!(grant.expires_at.since(grant.created_at), Duration::from_secs(3600));
}

#[actix_web::test]
async fn an_answer_counts_once() {
    let mut asked = asked().await;
    let path = asked.path();
    let csrf = asked.open().await.token(&path);
    let fields =
        [("csrf", csrf.as_str()), ("decision", "agree"), ("duration", "3600"), ("scope", "okta.users.read")];
    assert_eq!(asked.browser.post(&asked.world, &path, &fields).await.status, 303);
    let again = asked.browser.post(&asked.world, &path, &fields).await;
    assert_eq!(again.status, 409);
    assert!(again.html.contains("already answered"));
}

#[actix_web::test]
async fn refusing_is_final_and_says_so() {
    let mut asked = asked().await;
    let seen =
        asked.answer(&[("decision", "refuse"), ("scope", "okta.users.read"), ("duration", "3600")]).await;
    assert_eq!(seen.location, Some(asked.path()));
    assert!(asked.open().await.html.contains("You refused"));
    assert!(matches!(asked.world.interaction(&asked.id).await.state, InteractionState::Refused { .. }));
}

#[actix_web::test]
async fn mistakes_are_told_on_the_same_page_and_lose_nothing() {
    let mut asked = asked().await;
    for (fields, words) in [
        (vec![("decision", "agree"), ("duration", "3600")], "Nothing is ticked"),
        (
            vec![("decision", "agree"), ("duration", "1"), ("scope", "okta.users.read")],
            "Pick one of the durations",
        ),
        (
            vec![("decision", "agree"), ("duration", "soon"), ("scope", "okta.users.read")],
            "Pick one of the durations",
        ),
        (
            vec![
                ("decision", "agree"),
                ("duration", "3600"),
                ("scope", "okta.users.read"),
                ("connection", "con_00000000000000000000000000000000"),
            ],
            "Pick one of the accounts",
        ),
    ] {
        let seen = asked.answer(&fields).await;
        assert_eq!(seen.status, 400, "{words}");
        assert!(seen.html.contains(words), "{words}");
        assert!(asked.is_pending().await, "{words}");
    }
    let seen = asked
        .answer(&[
            ("decision", "agree"),
            ("duration", "3600"),
            ("scope", "okta.groups.read"),
            ("connection", "nobody"),
        ])
        .await;
    assert!(seen.html.contains("value=\"okta.groups.read\" checked"), "what was ticked stays ticked");
    assert!(seen.html.contains("value=\"okta.users.read\">"), "what was unticked stays unticked");
    assert_eq!(asked.answer(&[("decision", "maybe")]).await.status, 400);
    assert_eq!(asked.answer(&[]).await.status, 400);
}

#[actix_web::test]
async fn a_link_made_for_another_person_shows_and_grants_nothing() {
    let mut asked = asked().await;
    let bob = asked.world.user("bob@example.com").await;
    let mut other = asked.world.browser_of(&bob).await;
    let path = asked.path();
    let seen = other.get(&asked.world, &path).await;
    assert_eq!(seen.status, 403);
    for hidden in ["alice", "Group Keeper", "Okta", "okta.", "tidy"] {
        assert!(!seen.html.contains(hidden), "{hidden}");
    }
    // Also with the token that the right person's page has, and with one of their own.
    let right = asked.open().await.token(&path);
    let own = other.get(&asked.world, "/").await.token("/logout");
    for csrf in [right, own] {
        let fields = [
            ("csrf", csrf.as_str()),
            ("decision", "agree"),
            ("duration", "3600"),
            ("scope", "okta.users.read"),
        ];
        assert_eq!(other.post(&asked.world, &path, &fields).await.status, 403);
    }
    let unknown = other.get(&asked.world, "/i/int_00000000000000000000000000000000").await;
    assert_eq!(unknown.status, 403, "a link that never was reads the same");
    assert!(asked.is_pending().await);
}

#[actix_web::test]
async fn an_answer_from_another_browser_of_the_same_person_is_refused() {
    let mut asked = asked().await;
    let path = asked.path();
    let csrf = asked.open().await.token(&path);
    let alice = asked.world.interaction(&asked.id).await.question.user;
    let mut other = asked.world.browser_of(&alice).await;
    let fields =
        [("csrf", csrf.as_str()), ("decision", "agree"), ("duration", "3600"), ("scope", "okta.users.read")];
    assert_eq!(other.post(&asked.world, &path, &fields).await.status, 403);
    assert!(asked.is_pending().await);
}

#[actix_web::test]
async fn a_page_that_was_open_for_more_than_ten_minutes_must_be_opened_again() {
    let mut asked = asked().await;
    let path = asked.path();
    let csrf = asked.open().await.token(&path);
    asked.world.clock.advance(Duration::from_secs(601));
    let fields =
        [("csrf", csrf.as_str()), ("decision", "agree"), ("duration", "3600"), ("scope", "okta.users.read")];
    let late = asked.browser.post(&asked.world, &path, &fields).await;
    assert_eq!(late.status, 400);
    assert!(late.html.contains("open too long") && asked.is_pending().await);
    assert_eq!(asked.answer(&fields[1..]).await.status, 303);
}

#[actix_web::test]
async fn a_link_ends_after_a_day() {
    let mut asked = asked().await;
    asked.world.clock.advance(Duration::from_secs(24 * 3600 + 1));
    let alice = asked.world.interaction(&asked.id).await.question.user;
    asked.browser = asked.world.browser_of(&alice).await;
    let seen = asked.open().await;
    assert_eq!(seen.status, 410);
    assert!(seen.html.contains("This request has ended"));
}

#[actix_web::test]
async fn what_an_admin_has_stopped_cannot_be_agreed_to() {
    let mut asked = asked().await;
    asked.world.state.kill_switch.stop(StopTarget::All, "looking into it", "admin").await.unwrap();
    let seen =
        asked.answer(&[("decision", "agree"), ("duration", "3600"), ("scope", "okta.users.read")]).await;
    assert_eq!(seen.status, 400);
    assert!(seen.html.contains("not allowed at present") && asked.is_pending().await);
}
