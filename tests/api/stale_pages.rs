//! Consent pages that have stood open while accounts came and went: what was agreed to is what the page said.

use valetkey::app::demo::people::{ALICE, BOB};

use crate::app::{Ask, TestApp, page_of};
use crate::browser::{Answers, Arrived};

#[actix_web::test]
async fn a_page_that_showed_no_account_grants_nothing_on_one_that_was_connected_since() {
    let mut app = TestApp::start().await;
    let ticks = &["User.Read"];
    let first = app.agent_asks(&Ask::at("entra").scope(ticks[0])).await;
    let second = app.agent_asks(&app.assistant_asks_for_alice("entra", ticks[0])).await;
    let home = app.at("/");
    app.alice.walks(&home, Answers::default()).await;
    let page = app.alice.opens(&page_of(&second)).await;
    assert!(page.html.contains("Nothing is granted before that is done"), "{}", page.html);
    assert_eq!(app.alice_agrees_to(&first, ticks).await.status, 200);

    let answers = Answers { ticks, stops_before: Some("/entra/"), ..Answers::default() };
    let next = app.alice.goes_on(Arrived::Page(page), answers).await;
    assert!(matches!(next, Arrived::Before(_)), "the provider was to be asked next");
    let own = app.account(ALICE).await;
    assert!(app.grant_on(&app.assistant.id, &own).await.is_none(), "no page has named this account");
    // Opened again, the page names it.
    let page = app.alice.opens(&page_of(&second)).await;
    assert!(page.html.contains(&own), "{}", page.html);
    let end = app.alice.goes_on(Arrived::Page(page), answers).await;
    assert!(matches!(end, Arrived::Page(page) if page.status == 200));
    assert!(app.grant_on(&app.assistant.id, &own).await.is_some());
    app.stops().await;
}

#[actix_web::test]
async fn limits_that_a_page_says_hold_do_not_vanish_with_the_account_that_it_was_about() {
    let mut app = TestApp::start().await;
    app.with_two_accounts().await;
    let (own, other) = (app.account(ALICE).await, app.account(BOB).await);
    let question = app.agent_asks(&app.assistant_asks_for_alice("entra", "User.Read Contacts.Read")).await;
    let limits = &[("limit.read_only", "1")];
    let answers = Answers { ticks: &["User.Read", "Contacts.Read"], limits, ..Answers::default() };
    assert_eq!(app.alice_answers(&question, answers).await.status, 200);

    let question = app.agent_asks(&app.assistant_asks_for_alice("entra", "User.Read Mail.Read")).await;
    let page = app.alice.opens(&page_of(&question)).await;
    let limited = "These limits hold already";
    assert!(page.html.contains(limited), "{}", page.html);
    app.alice_disconnects(&own).await;
    let page = app.alice_agrees_on(&page, &other, "User.Read").await;
    assert_eq!(page.status, 400, "the limit has held on the other account only: {}", page.title());
    assert!(!page.html.contains(limited), "{}", page.html);
    assert!(app.grant_on(&app.assistant.id, &other).await.is_none());
    let page = app.alice_agrees_on(&page, &other, "User.Read").await;
    assert_eq!(page.status, 200, "{}", page.title());
    app.stops().await;
}
