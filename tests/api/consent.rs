//! Invariant 3: a consent binds the user it was made for, the browser that opened it, and the company.

use url::Url;
use valetkey::app::demo::people::{ALICE, BOB, MALLORY};

use crate::app::{Ask, TestApp, page_of};
use crate::authentication::comparable;
use crate::browser::{Answers, Arrived};
use crate::wire::refused;

fn page(arrived: Arrived) -> valetkey::app::demo::headless::browser::Page {
    match arrived {
        Arrived::Page(page) => page,
        Arrived::Before(url) => panic!("stopped before {url}"),
    }
}

#[actix_web::test]
async fn a_link_opened_by_another_user_redeems_no_code_and_grants_nothing() {
    let mut app = TestApp::start().await;
    let question = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    let before = app.token_calls_at("entra").await;

    // Bob opens Alice's link: he signs in, and that is all.
    let answers = Answers { ticks: &["Mail.Read"], ..Answers::default() };
    let refusal = page(app.bob.walks(&page_of(&question), answers).await);
    assert_eq!(refusal.status, 403, "{}", refusal.title());
    assert!(refusal.form_with("decision").is_none());
    assert!(!refusal.html.contains(ALICE) && !refusal.html.contains("Mail.Read"), "it tells whose it is");
    // Nor with a form of his own making.
    let forged =
        vec![("decision".to_owned(), "agree".to_owned()), ("scope".to_owned(), "Mail.Read".to_owned())];
    assert_eq!(app.bob.sends(&page_of(&question), &forged).await.status, 403);

    // Alice goes all the way to the callback; Bob opens that address in his browser.
    let callback = app.alice_stops_before_the_callback(&question, &["Mail.Read"]).await;
    let refusal = app.bob.opens(&callback).await;
    assert_eq!(refusal.status, 400, "{}", refusal.title());
    assert_eq!(app.token_calls_at("entra").await, before, "a code was redeemed for a foreign user");
    assert_eq!(app.live_grants().await.len(), 0);
    assert_eq!(app.polls(&question.text("auth_req_id")).await.error(), "authorization_pending");

    // It is still Alice's: her own browser finishes it.
    assert_eq!(app.alice.opens(&callback).await.status, 200);
    assert_eq!(app.token_calls_at("entra").await, before + 1);
    assert_eq!(app.live_grants().await.len(), 1);
    app.stops().await;
}

#[actix_web::test]
async fn another_browser_of_the_same_user_cannot_finish_it() {
    let mut app = TestApp::start().await;
    let question = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    let before = app.token_calls_at("entra").await;
    let callback = app.alice_stops_before_the_callback(&question, &["Mail.Read"]).await;
    let mut other = app.another_browser_of(ALICE);
    assert_eq!(other.opens(&callback).await.status, 400, "nobody is signed in there");
    page(other.walks(&app.at("/"), Answers::default()).await);
    assert_eq!(other.opens(&callback).await.status, 400, "Alice's other browser is not the one that began");
    assert_eq!(app.token_calls_at("entra").await, before);
    assert_eq!(app.live_grants().await.len(), 0);

    // The right browser, too late.
    app.pass(601);
    assert_eq!(app.alice.opens(&callback).await.status, 400);
    assert_eq!(app.token_calls_at("entra").await, before);
    assert_eq!(app.live_grants().await.len(), 0);
    app.stops().await;
}

#[actix_web::test]
async fn the_last_step_comes_within_ten_minutes_of_opening_the_page() {
    for (here, there, grants) in [(290, 290, 1), (290, 320, 0)] {
        let mut app = TestApp::start().await;
        let question = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
        page(app.alice.walks(&app.at("/"), Answers::default()).await);
        let opened = app.alice.opens(&page_of(&question)).await;
        let mut fields = opened.form_with("decision").unwrap().with("decision", "agree");
        fields.push(("scope".to_owned(), "Mail.Read".to_owned()));
        app.pass(here);
        let at_vendor = app.alice.sends(&opened.url, &fields).await;
        assert_eq!(at_vendor.status, 200, "{}", at_vendor.title());
        app.pass(there);
        let before = app.token_calls_at("entra").await;
        let end = page(app.alice.goes_on(Arrived::Page(at_vendor), Answers::default()).await);
        assert_eq!(end.status, if grants == 1 { 200 } else { 400 }, "{}", end.title());
        assert_eq!(app.token_calls_at("entra").await, before + grants, "a code was redeemed too late");
        assert_eq!(app.live_grants().await.len() as u64, grants, "{here} s on the page, {there} s there");
        app.stops().await;
    }
}

#[actix_web::test]
async fn a_question_about_a_disconnected_account_connects_no_other() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("entra", "Mail.Read").await;
    let grant = app.live_grants().await.remove(0);
    let connection = grant["connection"].as_str().unwrap();
    let question = app.agent_asks(&Ask::at("entra").scope("Mail.Send").with("connection", connection)).await;
    assert_eq!(question.error(), "interaction_required", "{}", question.body_text());
    let opened = app.alice.opens(&page_of(&question)).await;
    let home = app.alice.opens(&app.at("/")).await;
    let form = home.forms().into_iter().find(|form| form.action.ends_with("/disconnect")).unwrap();
    assert_eq!(app.alice.sends(&app.at(&form.action), &form.fields).await.status, 200);
    let before = app.token_calls_at("entra").await;

    // The page that was open already, and the link opened anew.
    let mut fields = opened.form_with("decision").unwrap().with("decision", "agree");
    fields.push(("scope".to_owned(), "Mail.Send".to_owned()));
    let answered = app.alice.sends(&opened.url, &fields).await;
    assert_eq!(answered.status, 409, "{} {}", answered.url, answered.title());
    assert!(answered.html.contains("You have disconnected this account"), "{}", answered.html);
    let again = app.alice.opens(&page_of(&question)).await;
    assert_eq!(again.status, 410);
    assert!(again.form_with("decision").is_none() && again.html.contains("disconnected"), "{}", again.html);
    assert_eq!(app.token_calls_at("entra").await, before);
    assert_eq!(app.live_grants().await.len(), 0);
    app.stops().await;
}

#[actix_web::test]
async fn a_bent_or_replayed_callback_changes_nothing() {
    let mut app = TestApp::start().await;
    let question = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    let before = app.token_calls_at("entra").await;
    let good = app.alice_stops_before_the_callback(&question, &["Mail.Read"]).await;
    let value = |name: &str| {
        good.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned()).unwrap()
    };
    let (state, code) = (value("state"), value("code"));
    let mut flipped = state.clone();
    flipped.replace_range(0..1, if state.starts_with('A') { "B" } else { "A" });
    for (query, why) in [
        (format!("code={code}"), "no state"),
        (format!("code={code}&state="), "an empty state"),
        (format!("code={code}&state={flipped}"), "another state"),
        (format!("code={code}&state={state}x"), "a longer state"),
        (format!("code={code}&state={}", "A".repeat(4096)), "an oversized state"),
        (format!("code={code}&state=%00"), "a control character"),
        (format!("code={code}&state=%ff%fe"), "not UTF-8"),
        (format!("code={code}&state={state}&state={state}"), "state twice"),
        (format!("code={code}&code={code}&state={state}"), "code twice"),
    ] {
        let mut bent = good.clone();
        bent.set_query(Some(&query));
        let answer = app.alice.opens(&bent).await;
        assert_eq!(answer.status, 400, "{why}: {}", answer.title());
        assert!(!answer.html.contains(&code), "{why}: the page repeats the code");
    }
    // An answer meant for one provider cannot arrive at another.
    let mut elsewhere = good.clone();
    elsewhere.set_path("/callback/lark");
    assert_eq!(app.alice.opens(&elsewhere).await.status, 400);
    assert_eq!(app.token_calls_at("entra").await, before);
    assert_eq!(app.live_grants().await.len(), 0);

    assert_eq!(app.alice.opens(&good).await.status, 200);
    let granted = app.live_grants().await;
    assert_eq!(granted.len(), 1);
    assert_eq!(app.token_calls_at("entra").await, before + 1);
    assert_eq!(app.alice.opens(&good).await.status, 400, "the callback was replayed");
    assert_eq!(app.token_calls_at("entra").await, before + 1);
    assert_eq!(app.live_grants().await, granted, "a replay touched the grant");
    app.stops().await;
}

#[actix_web::test]
async fn leaving_early_or_refusing_grants_nothing() {
    let mut app = TestApp::start().await;
    // Agreed here, left at the vendor.
    let question = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    app.alice_stops_before_the_callback(&question, &["Mail.Read"]).await;
    assert_eq!(app.live_grants().await.len(), 0);
    assert_eq!(app.polls(&question.text("auth_req_id")).await.error(), "authorization_pending");
    let call = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    assert_eq!(call.error(), "interaction_required");
    assert_eq!(call.text("auth_req_id"), question.text("auth_req_id"));

    // Refused at the vendor.
    let question = app.agent_asks(&Ask::at("lark").scope("im:chat:read")).await;
    let at_vendor = Answers { ticks: &["im:chat:read"], refuses_at_the_vendor: true, ..Answers::default() };
    app.alice_answers(&question, at_vendor).await;
    assert_eq!(app.polls(&question.text("auth_req_id")).await.error(), "access_denied");

    // Refused here.
    let question = app.agent_asks(&Ask::at("okta").scope("okta.groups.read")).await;
    app.alice_answers(&question, Answers { refuses_here: true, ..Answers::default() }).await;
    assert_eq!(app.polls(&question.text("auth_req_id")).await.error(), "access_denied");
    let again = app.agent_asks(&Ask::at("okta").scope("okta.groups.read okta.apps.read")).await;
    assert_eq!(again.refusal(), refused(400, "access_denied"), "refused within 24 h");
    let other = app.agent_asks(&Ask::at("okta").scope("okta.apps.read")).await;
    assert_eq!(other.error(), "interaction_required", "another question is another question");
    assert_eq!(app.live_grants().await.len(), 0);

    // A link that only a day may live, and a refusal that stands as long.
    let late = app.agent_asks(&Ask::at("dingtalk").scope("Calendar.Event.Read")).await;
    app.pass(24 * 3600 + 1);
    let page =
        app.alice_answers(&late, Answers { ticks: &["Calendar.Event.Read"], ..Answers::default() }).await;
    assert_eq!(page.status, 410, "{}", page.title());
    assert_eq!(app.polls(&late.text("auth_req_id")).await.error(), "expired_token");
    let again = app.agent_asks(&Ask::at("okta").scope("okta.groups.read")).await;
    assert_eq!(again.error(), "interaction_required", "the refusal is a day old");
    app.stops().await;
}

#[actix_web::test]
async fn an_account_of_another_company_grants_nothing() {
    let mut app = TestApp::start().await;
    for (provider, scope) in [
        ("entra", "User.Read"),
        ("lark", "im:chat:read"),
        ("dingtalk", "Calendar.Event.Read"),
        ("wecom", "wecom.contact.read"),
    ] {
        app.alice.accounts.insert(provider.to_owned(), MALLORY.to_owned());
        let question = app.agent_asks(&Ask::at(provider).scope(scope)).await;
        let page = app.alice_answers(&question, Answers { ticks: &[scope], ..Answers::default() }).await;
        assert!(page.status >= 400, "{provider}: {} {}", page.status, page.title());
        let poll = app.polls(&question.text("auth_req_id")).await;
        assert_ne!(poll.status, 200, "{provider}: {}", poll.body_text());
    }
    assert_eq!(app.live_grants().await.len(), 0);
    let connections = app.admin("GET", "/connections", &serde_json::json!(null)).await.json();
    assert_eq!(connections["items"].as_array().map(Vec::len), Some(0), "{connections}");
    app.stops().await;
}

#[actix_web::test]
async fn a_personal_agent_reaches_its_owner_only() {
    let app = TestApp::start().await;
    let bob = app.user_id_of(BOB).await.to_string();
    let mut bodies = Vec::new();
    for name in [
        BOB,
        bob.as_str(),
        "nobody@example.com",
        "usr_00000000000000000000000000",
        "mallory@elsewhere.example",
        "alice@example.com.evil.example",
        "аlice@example.com",
        "alice@example.com,bob@example.com",
        "*",
        "admin@example.com",
    ] {
        let answer = app.agent_asks(&Ask::at("entra").naming(name)).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_request"), "{name}");
        bodies.push(comparable(&answer));
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "answers differ, so an agent can find out who works here");
    // Bob's own ID token does not help it.
    let proof = app.agent_asks(&Ask::at("entra").showing(&app.id_token_of(BOB))).await;
    assert_eq!(proof.refusal(), refused(400, "invalid_request"));
    assert_eq!(app.questions().await, 0, "a question was opened");
    let found = app.agent_asks(&Ask::at("entra").naming(app.user_id_of(ALICE).await.as_str())).await;
    assert_eq!(found.error(), "interaction_required");
    app.stops().await;
}

#[actix_web::test]
async fn looking_at_a_link_does_nothing() {
    let app = TestApp::start().await;
    let question = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    let link = page_of(&question);
    for method in ["GET", "HEAD"] {
        let answer = app.traffic.send(method, &link, &[], b"").await;
        assert!((300..400).contains(&answer.status) || answer.status == 405, "{method}: {}", answer.status);
        assert!(answer.header("set-cookie").is_none_or(|cookie| !cookie.contains("agree")));
    }
    let unknown = Url::parse(&link.as_str().replace("int_", "int_x")).unwrap();
    assert!(app.traffic.send("GET", &unknown, &[], b"").await.status >= 300);
    assert_eq!(app.polls(&question.text("auth_req_id")).await.error(), "authorization_pending");
    assert_eq!(app.live_grants().await.len(), 0);
    app.stops().await;
}
