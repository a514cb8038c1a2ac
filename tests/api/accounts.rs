//! Several accounts of one person at one provider: which one an agent gets, and what agents that share one keep.

use serde_json::{Value, json};
use url::Url;
use valetkey::app::demo::Ground;
use valetkey::app::demo::headless::browser::Page;
use valetkey::app::demo::people::{ALICE, BOB};
use valetkey::kernel::ids::ConnectionId;
use valetkey::model::connection::Connection;
use valetkey::store::{Committed, Tx};

use crate::app::{Ask, TestApp, page_of};
use crate::browser::{Answers, Arrived, Browser};
use crate::wire::{Answer, refused};

impl TestApp {
    /// A question of the assistant about Alice, who has just signed in to it.
    pub fn assistant_asks_for_alice(&self, provider: &str, scopes: &str) -> Ask {
        Ask::at(provider).by(&self.assistant).showing(&self.id_token_of(ALICE)).scope(scopes)
    }

    /// A browser in which Alice is signed in here, and at Entra with an account that bears Bob's name.
    fn browser_with_the_other_account(&self) -> Browser {
        let mut browser = self.another_browser_of(ALICE);
        browser.accounts.insert("entra".to_owned(), BOB.to_owned());
        browser
    }

    async fn connections(&self) -> Vec<Value> {
        let answer = self.admin("GET", "/connections", &json!(null)).await.json();
        answer["items"].as_array().cloned().unwrap()
    }

    /// Alice's connection to the account of that name.
    pub async fn account(&self, label: &str) -> String {
        let alice = self.user_id_of(ALICE).await.to_string();
        let all = self.connections().await;
        let found = all.iter().find(|one| one["user"] == *alice && one["account"] == label);
        found.unwrap_or_else(|| panic!("no {label}: {all:?}"))["id"].as_str().unwrap().to_owned()
    }

    /// As whom a token acts there.
    async fn acts_as(&self, token: &Answer) -> String {
        assert_eq!(token.status, 200, "{}", token.body_text());
        let me = self.calls(&token.text("access_token"), "GET", "entra/graph/v1.0/me").await;
        assert_eq!(me.status, 200, "{}", me.body_text());
        me.json()["userPrincipalName"].as_str().unwrap().to_owned()
    }

    /// Alice has an account of her own there, her default, which the assistant uses; and another one, which she
    /// picked for her own agent.
    pub async fn with_two_accounts(&mut self) -> Browser {
        let ask = self.assistant_asks_for_alice("entra", "User.Read");
        self.alice_has_answered(&ask, "User.Read").await;
        let question = self.agent_asks(&Ask::at("entra").scope("User.Read")).await;
        let mut browser = self.browser_with_the_other_account();
        let end = walked(&mut browser, &question, &["User.Read"], Some("new")).await;
        assert_eq!(end.status, 200, "{}: {}", end.title(), end.html);
        assert_eq!(self.polls(&question.text("auth_req_id")).await.status, 200);
        assert_eq!(self.connections().await.len(), 2);
        browser
    }
}

async fn walked(browser: &mut Browser, question: &Answer, ticks: &[&str], account: Option<&str>) -> Page {
    match browser.walks(&page_of(question), Answers { ticks, account, ..Answers::default() }).await {
        Arrived::Page(page) => page,
        Arrived::Before(url) => panic!("stopped before {url}"),
    }
}

#[actix_web::test]
async fn an_agent_names_one_of_two_accounts_and_gets_that_one() {
    let mut app = TestApp::start().await;
    app.with_two_accounts().await;
    let (own, other) = (app.account(ALICE).await, app.account(BOB).await);
    let ask = Ask::at("entra").scope("User.Read");

    let question = app.agent_asks(&ask.clone().with("connection", &own)).await;
    assert_eq!(question.error(), "interaction_required", "a grant on one account is none on the other");
    // What is asked about one account cannot be answered with another one.
    let page = app.alice.opens(&page_of(&question)).await;
    assert!(!page.html.contains("value=\"new\"") && !page.html.contains(&other), "{}", page.html);
    let page = walked(&mut app.alice, &question, &["User.Read"], Some("new")).await;
    assert_eq!(page.status, 400, "{}", page.title());
    let page = walked(&mut app.alice, &question, &["User.Read"], None).await;
    assert_eq!(page.status, 200, "{}", page.title());

    for (connection, account) in [(&own, ALICE), (&other, BOB)] {
        let token = app.agent_asks(&ask.clone().with("connection", connection)).await;
        assert_eq!(app.acts_as(&token).await, account);
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_connection_of_another_user_reads_like_one_that_does_not_exist() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("entra", "User.Read").await;
    let ask = Ask::at("entra").by(&app.assistant).showing(&app.id_token_of(BOB)).scope("User.Read");
    let question = app.agent_asks(&ask).await;
    assert_eq!(walked(&mut app.bob, &question, &["User.Read"], None).await.status, 200);
    let alice = app.user_id_of(ALICE).await.to_string();
    let all = app.connections().await;
    let bobs = all.iter().find(|one| one["user"] != *alice).unwrap()["id"].as_str().unwrap();

    let ask = Ask::at("entra").scope("User.Read");
    let (questions, mut bodies) = (app.questions().await, Vec::new());
    for connection in [bobs, "con_00000000000000000000000000"] {
        let answer = app.agent_asks(&ask.clone().with("connection", connection)).await;
        assert_eq!(answer.refusal(), refused(400, "invalid_target"), "{}", answer.body_text());
        bodies.push(answer.body_text());
    }
    assert_eq!(bodies[0], bodies[1], "an agent can find out whose connections there are");
    assert_eq!(app.questions().await, questions, "a question was opened");
    app.stops().await;
}

#[actix_web::test]
async fn the_default_account_is_changed_by_its_owner_and_agents_follow() {
    let mut app = TestApp::start().await;
    app.with_two_accounts().await;
    let (own, other) = (app.account(ALICE).await, app.account(BOB).await);
    let ask = app.assistant_asks_for_alice("entra", "User.Read");
    let question = app.agent_asks(&ask.clone().with("connection", &other)).await;
    assert_eq!(walked(&mut app.alice, &question, &["User.Read"], None).await.status, 200);
    // It holds both; who names none gets the default one.
    assert_eq!(app.acts_as(&app.agent_asks(&ask).await).await, ALICE);

    let home = app.alice.opens(&app.at("/")).await;
    let offered: Vec<_> = home.forms().into_iter().filter(|form| form.action.ends_with("/default")).collect();
    assert_eq!(offered.len(), 1, "the default one needs no button");
    assert_eq!(offered[0].action, format!("/connections/{other}/default"));
    let to = app.at(&offered[0].action);
    app.bob.walks(&app.at("/"), Answers::default()).await;
    let forged = app.bob.sends(&to, &offered[0].fields).await;
    assert_eq!(forged.status, 403, "Bob has sent Alice's form: {}", forged.title());
    assert_eq!(app.acts_as(&app.agent_asks(&ask).await).await, ALICE);
    let done = app.alice.sends(&to, &offered[0].fields).await;
    assert_eq!((done.status, done.url.query()), (200, Some("done=default_set")));
    assert_eq!(app.acts_as(&app.agent_asks(&ask).await).await, BOB);
    let defaults = app.connections().await;
    let is_default = |id: &str| defaults.iter().find(|one| one["id"] == *id).unwrap()["is_default"].clone();
    assert_eq!((is_default(&own), is_default(&other)), (json!(false), json!(true)));
    app.stops().await;
}

/// The scopes that an authorize URL asks for.
fn asked_in(url: &Url) -> String {
    url.query_pairs().find(|(name, _)| name == "scope").unwrap().1.into_owned()
}

#[actix_web::test]
async fn where_a_consent_replaces_the_former_one_the_union_is_asked_for() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("okta", "okta.groups.read").await;
    let question = app.agent_asks(&app.assistant_asks_for_alice("okta", "okta.users.read.self")).await;
    let ticks = &["okta.users.read.self"];
    let answers = Answers { ticks, stops_before: Some("/okta/"), ..Answers::default() };
    let authorize = match app.alice.walks(&page_of(&question), answers).await {
        Arrived::Before(url) => url,
        Arrived::Page(page) => panic!("not sent to the vendor: {}", page.title()),
    };
    let asked = asked_in(&authorize);
    for scope in ["okta.groups.read", "okta.users.read.self"] {
        assert!(asked.split(' ').any(|one| one == scope), "{scope} is not in {asked}");
    }
    let at_vendor = Arrived::Page(app.alice.opens(&authorize).await);
    let Arrived::Page(end) = app.alice.goes_on(at_vendor, Answers::default()).await else { unreachable!() };
    assert_eq!(end.status, 200, "{}", end.title());
    let token = app.polls_as(&app.assistant, &question.text("auth_req_id")).await;
    assert_eq!(token.text("scope"), "okta.users.read.self", "the union is the connection's, not the agent's");

    app.pass(3_700);
    let before = app.refreshes_at("okta").await;
    app.reads_groups().await;
    assert_eq!(app.refreshes_at("okta").await, before + 1, "nothing was renewed");
    app.stops().await;
}

#[actix_web::test]
async fn a_new_consent_ends_the_former_ones_refresh_token_and_no_token_that_an_agent_holds() {
    for holds_a_token in [false, true] {
        let mut app = TestApp::start().await;
        app.alice_has_granted("okta", "okta.groups.read").await;
        let former = app.state_of("okta").await["live_refresh"][0].clone();
        let mut held = None;
        if holds_a_token {
            let ask = Ask::at("okta").scope("okta.groups.read").for_a_provider_token();
            let token = app.agent_asks(&ask).await;
            assert!(token.text("issued_token_type").ends_with(":access_token"), "{}", token.body_text());
            held = Some(token.text("access_token"));
        }
        // The provider is out of order meanwhile: what is not revoked at once is not forgotten.
        app.provider_will("okta", json!({"endpoint": "revoke", "kind": "status", "value": 503, "count": 9}))
            .await;
        let ask = app.assistant_asks_for_alice("okta", "okta.users.read.self");
        app.alice_has_answered(&ask, "okta.users.read.self").await;
        let connections = app.demo.services.connections.clone();
        // What was being dialled meanwhile has ended by then.
        app.pass(91);
        assert_eq!(connections.sweep_discarded().await.unwrap(), 0);
        app.provider_is_well("okta").await;
        app.pass(601);
        assert_eq!(connections.sweep_discarded().await.unwrap(), usize::from(!holds_a_token));

        let live = app.state_of("okta").await["live_refresh"].as_array().cloned().unwrap();
        match held {
            None => assert!(live.len() == 1 && live[0] != former, "{live:?}"),
            Some(token) => {
                assert_eq!(live.len(), 2, "{live:?}");
                let vendor = Url::parse(&format!("{}/okta/org/api/v1/groups", app.demo.sandbox.url)).unwrap();
                let bearer = format!("Bearer {token}");
                let groups = app.traffic.send("GET", &vendor, &[("Authorization", &bearer)], b"").await;
                assert_eq!(
                    groups.status,
                    200,
                    "the token that the agent holds was ended: {}",
                    groups.body_text()
                );
                app.pass(3_700);
                assert_eq!(connections.sweep_discarded().await.unwrap(), 1, "no agent holds one any more");
            }
        }
        app.reads_groups().await;
        app.stops().await;
    }
}

impl TestApp {
    /// Alice's own agent does what it was granted first.
    async fn reads_groups(&self) {
        let token = self.agent_asks(&Ask::at("okta").scope("okta.groups.read")).await;
        assert_eq!(token.status, 200, "{}", token.body_text());
        let groups = self.calls(&token.text("access_token"), "GET", "okta/mgmt/api/v1/groups").await;
        assert_eq!(groups.status, 200, "{}", groups.body_text());
    }
}

#[actix_web::test]
async fn another_account_that_turns_out_to_be_the_same_takes_nothing_from_other_agents() {
    let mut app = TestApp::start().await;
    app.alice_has_granted("okta", "okta.groups.read").await;
    let before = (app.connections().await, app.state_of("okta").await["live_refresh"].clone());
    let question = app.agent_asks(&app.assistant_asks_for_alice("okta", "okta.users.read.self")).await;

    let ticks = &["okta.users.read.self"];
    let end = walked(&mut app.alice, &question, ticks, Some("new")).await;
    assert_eq!(end.status, 409, "{}", end.title());
    assert!(end.html.contains("This account is connected already"), "{}", end.html);
    let after = (app.connections().await, app.state_of("okta").await["live_refresh"].clone());
    assert_eq!(after, before, "the connection was changed, or the tokens that are not kept live on");
    assert_eq!(app.live_grants().await.len(), 1);
    assert_eq!(
        app.polls_as(&app.assistant, &question.text("auth_req_id")).await.error(),
        "authorization_pending"
    );
    app.pass(3_700);
    app.reads_groups().await;

    // The same link, and the account from the list: both agents have what they need.
    let question = app.agent_asks(&app.assistant_asks_for_alice("okta", "okta.users.read.self")).await;
    let own = app.account(ALICE).await;
    let end = walked(&mut app.alice, &question, ticks, Some(&own)).await;
    assert_eq!(end.status, 200, "{}", end.title());
    app.reads_groups().await;
    app.stops().await;
}

#[actix_web::test]
async fn who_names_no_account_gets_the_default_one_or_the_one_that_was_picked_for_it() {
    let mut app = TestApp::start().await;
    let mut browser = app.with_two_accounts().await;
    let other = app.account(BOB).await;
    // Alice picked the other account for her own agent, which had named none. It stays so when it needs more.
    let ask = Ask::at("entra").scope("User.Read");
    assert_eq!(app.acts_as(&app.agent_asks(&ask).await).await, BOB);
    let question = app.agent_asks(&Ask::at("entra").scope("User.Read Contacts.Read")).await;
    let end = walked(&mut browser, &question, &["User.Read", "Contacts.Read"], None).await;
    assert_eq!(end.status, 200, "{}", end.title());
    assert_eq!(app.acts_as(&app.agent_asks(&ask).await).await, BOB);

    // The assistant has named it once. That is no pick of hers: without the name it is asked about the default one.
    let ask = app.assistant_asks_for_alice("entra", "User.Read");
    let grants = app.live_grants().await;
    let own = grants.iter().find(|one| one["agent"] == *app.assistant.id).unwrap()["id"].as_str().unwrap();
    app.admin_does(&format!("/grants/{own}/revoke"), &json!(null)).await;
    let named = ask.clone().with("connection", &other);
    let question = app.agent_asks(&named).await;
    assert_eq!(walked(&mut app.alice, &question, &["User.Read"], None).await.status, 200);
    assert_eq!(app.acts_as(&app.agent_asks(&named).await).await, BOB);
    let unnamed = app.agent_asks(&ask).await;
    assert_eq!(
        unnamed.refusal(),
        refused(400, "interaction_required"),
        "it got an account that it did not name"
    );
    // Once that is the default, it needs no name.
    let home = app.alice.opens(&app.at("/")).await;
    let form = home.forms().into_iter().find(|form| form.action.ends_with("/default")).unwrap();
    app.alice.sends(&app.at(&form.action), &form.fields).await;
    assert_eq!(app.acts_as(&app.agent_asks(&ask).await).await, BOB);
    app.stops().await;
}

impl TestApp {
    /// On her start page Alice makes the one account her default that is not.
    async fn alice_changes_her_default(&mut self) {
        let home = self.alice.opens(&self.at("/")).await;
        let form = home.forms().into_iter().find(|form| form.action.ends_with("/default")).unwrap();
        let done = self.alice.sends(&self.at(&form.action), &form.fields).await;
        assert_eq!(done.url.query(), Some("done=default_set"));
    }

    /// Alice picks an account on the page before her and agrees.
    pub async fn alice_agrees_on(&mut self, page: &Page, account: &str, scope: &str) -> Page {
        let form = page.form_with("decision").unwrap();
        let mut fields = form.with("decision", "agree");
        fields.retain(|(name, _)| name != "connection");
        fields.extend([("connection", account), ("scope", scope)].map(|(n, v)| (n.to_owned(), v.to_owned())));
        self.alice.sends(&page.url.join(&form.action).unwrap(), &fields).await
    }

    /// What an agent holds on an account.
    pub async fn grant_on(&self, agent: &str, connection: &str) -> Option<Value> {
        let grants = self.live_grants().await;
        grants.into_iter().find(|one| one["agent"] == agent && one["connection"] == connection)
    }
}

#[actix_web::test]
async fn what_holds_on_one_account_is_neither_shown_nor_counted_for_another() {
    let mut app = TestApp::start().await;
    app.with_two_accounts().await;
    let (own, other) = (app.account(ALICE).await, app.account(BOB).await);
    let question = app.agent_asks(&app.assistant_asks_for_alice("entra", "User.Read Contacts.Read")).await;
    let limits = &[("limit.read_only", "1")];
    let answers = Answers { ticks: &["User.Read", "Contacts.Read"], limits, ..Answers::default() };
    assert_eq!(app.alice_answers(&question, answers).await.status, 200);
    app.alice_changes_her_default().await;

    let details = r#"[{"type":"valetkey_limit","kind":"read_only"}]"#;
    let ask = app.assistant_asks_for_alice("entra", "User.Read").with("authorization_details", details);
    let question = app.agent_asks(&ask).await;
    let (holds, limited) = ("It may already do", "These limits hold already");
    let suggested = "<li><bdi>It may only look";
    let page = app.alice.opens(&page_of(&question)).await;
    for words in [holds, limited] {
        assert!(!page.html.contains(words), "of another account: {}", page.html);
    }
    assert!(page.html.contains(suggested), "what is suggested holds on another account only: {}", page.html);

    // Another account is picked than the one that the page told about: what holds there is shown first.
    let page = app.alice_agrees_on(&page, &own, "User.Read").await;
    assert_eq!(page.status, 400, "{}", page.title());
    assert!(page.html.contains(holds) && page.html.contains(limited), "{}", page.html);
    assert!(!page.html.contains(suggested), "{}", page.html);
    let page = app.alice_agrees_on(&page, &other, "User.Read").await;
    assert_eq!(page.status, 400, "limits of one account seemed to hold on the other: {}", page.title());
    assert!(!page.html.contains(holds) && !page.html.contains(limited), "{}", page.html);
    assert!(app.grant_on(&app.assistant.id, &other).await.is_none());
    let page = app.alice_agrees_on(&page, &other, "User.Read").await;
    assert_eq!(page.status, 200, "{}", page.title());
    let made = app.grant_on(&app.assistant.id, &other).await.unwrap();
    assert_eq!(
        (&made["scopes"], made["limits"].as_array().unwrap().len()),
        (&json!("User.Read"), 1),
        "{made}"
    );
    app.stops().await;
}

#[actix_web::test]
async fn of_two_accounts_that_were_picked_for_an_agent_it_gets_the_last() {
    let mut app = TestApp::start().await;
    app.alice_has_answered(&app.assistant_asks_for_alice("entra", "User.Read"), "User.Read").await;
    let ask = Ask::at("entra").scope("User.Read");
    let first = app.agent_asks(&ask).await;
    let second = app.agent_asks(&Ask::at("entra").scope("User.Read Contacts.Read")).await;
    let mut browser = app.browser_with_the_other_account();
    assert_eq!(walked(&mut browser, &first, &["User.Read"], Some("new")).await.status, 200);
    assert_eq!(app.acts_as(&app.agent_asks(&ask).await).await, BOB);

    app.a_third_account_is_the_default().await;
    app.pass(1);
    let own = app.account(ALICE).await;
    let page = app.alice.opens(&page_of(&second)).await;
    let page = app.alice_agrees_on(&page, &own, "User.Read").await;
    let page = app.alice_agrees_on(&page, &own, "User.Read").await;
    assert_eq!(page.status, 200, "{}", page.title());
    assert_eq!(app.acts_as(&app.agent_asks(&ask).await).await, ALICE);

    // A wider permission for the account that was picked before is no new pick.
    app.pass(1);
    let more = Ask::at("entra").scope("User.Read Contacts.Read").with("connection", &app.account(BOB).await);
    let question = app.agent_asks(&more).await;
    let page = walked(&mut browser, &question, &["User.Read", "Contacts.Read"], None).await;
    assert_eq!(page.status, 200, "{}", page.title());
    assert_eq!(app.acts_as(&app.agent_asks(&ask).await).await, ALICE);
    app.stops().await;
}

impl TestApp {
    /// The people of the demo have two accounts in the company: a third one is put into the store.
    async fn a_third_account_is_the_default(&self) {
        let services = &self.demo.services;
        let own: ConnectionId = self.account(ALICE).await.parse().unwrap();
        let stored = services.connections.get(&own).await.unwrap().unwrap();
        let mut third =
            Connection { id: ConnectionId::generate(&*services.entropy), ..stored.record().clone() };
        third.account.subject = "third".to_owned();
        third.account.label = "third@example.com".to_owned();
        let mut tx = Tx::new();
        tx.update(&stored, &Connection { is_default: false, ..stored.record().clone() }).insert(&third);
        assert_eq!(services.store.commit(tx).await.unwrap(), Committed::Done);
    }
}

impl TestApp {
    /// A deployment whose template does not know whether consents live side by side.
    async fn with_little_known_of_okta() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let template = include_str!("../../providers/okta.toml").replace("\napart = true\n", "\n");
        std::fs::write(folder.path().join("okta.toml"), template).unwrap();
        Self::start_on(Ground { templates: Some(folder.path().to_owned()), ..Ground::default() }).await
    }

    /// The refresh tokens that live there.
    async fn living_at_okta(&self) -> Value {
        self.state_of("okta").await["live_refresh"].clone()
    }

    pub async fn alice_disconnects(&mut self, connection: &str) {
        let home = self.alice.opens(&self.at("/")).await;
        let path = format!("/connections/{connection}/disconnect");
        let form = home.forms().into_iter().find(|form| form.action == path).unwrap();
        let done = self.alice.sends(&self.at(&path), &form.fields).await;
        assert_eq!(done.status, 200, "{}", done.title());
    }
}

#[actix_web::test]
async fn a_token_that_may_be_the_only_live_one_is_kept_until_the_account_is_repaired() {
    for repairs in [true, false] {
        let mut app = TestApp::with_little_known_of_okta().await;
        app.alice_has_granted("okta", "okta.groups.read").await;
        let (own, former) = (app.account(ALICE).await, app.living_at_okta().await);
        let ticks = &["okta.users.read.self"];
        let question = app.agent_asks(&app.assistant_asks_for_alice("okta", ticks[0])).await;
        let end = walked(&mut app.alice, &question, ticks, Some("new")).await;
        assert_eq!(end.status, 409, "{}", end.title());
        let held = app.agent_asks(&Ask::at("okta").scope("okta.groups.read")).await;
        assert_eq!(
            held.error(),
            "interaction_required",
            "an agent goes on with a consent that leaves it out"
        );
        let home = app.alice.opens(&app.at("/")).await;
        assert!(home.html.contains("leaves out what agents use this account for"), "{}", home.html);
        if repairs {
            // As the page says: the same link, and the account from the list.
            let end = walked(&mut app.alice, &question, ticks, Some(&own)).await;
            assert_eq!(end.status, 200, "{}", end.title());
            app.reads_groups().await;
        } else {
            app.alice_disconnects(&own).await;
            assert_eq!(app.living_at_okta().await, former, "the token that came last was thrown away");
        }
        app.stops().await;
    }
}

#[actix_web::test]
async fn consent_with_another_connected_account_keeps_the_token_that_it_brings() {
    let mut app = TestApp::with_little_known_of_okta().await;
    app.alice_has_granted("okta", "okta.groups.read").await;
    // Alice signs in here, then out at Okta, and comes back there with the other account.
    let mut browser = app.another_browser_of(ALICE);
    browser.walks(&app.at("/"), Answers::default()).await;
    browser.forgets(&app.demo.sandbox.url);
    browser.accounts.insert("okta".to_owned(), BOB.to_owned());
    let question = app.agent_asks(&app.assistant_asks_for_alice("okta", "okta.groups.read")).await;
    assert_eq!(walked(&mut browser, &question, &["okta.groups.read"], Some("new")).await.status, 200);
    let (other, before) = (app.account(BOB).await, app.living_at_okta().await);

    let question = app.agent_asks(&Ask::at("okta").scope("okta.groups.read okta.users.read.self")).await;
    let end = walked(&mut browser, &question, &["okta.groups.read", "okta.users.read.self"], None).await;
    assert!(end.status == 400 && end.html.contains("That is another account"), "{}", end.title());
    assert_eq!(app.living_at_okta().await.as_array().unwrap().len(), 3);
    app.alice_disconnects(&other).await;
    assert_eq!(app.living_at_okta().await, before, "the token that came last was thrown away");
    app.stops().await;
}
