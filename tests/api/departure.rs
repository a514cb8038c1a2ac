//! A person leaves: whatever could act as them is refused on the next request, by whichever door.

use std::time::Instant;

use serde_json::{Value, json};
use valetkey::app::demo::Ground;
use valetkey::app::demo::people::{ALICE, BOB};

use crate::app::{Ask, TestApp};
use crate::wire::{Answer, refused};

const PEOPLE: &str = "https://people.example.com";

/// Everything that can act as Alice, and a page of hers.
pub struct Alice {
    pub gateway_token: String,
    pub delegation: String,
    pub open_question: Answer,
    pub id_token: String,
}

impl TestApp {
    pub async fn everything_of_alice(&mut self) -> Alice {
        let gateway_token = self.alice_has_granted("okta", "okta.users.read.self").await.text("access_token");
        let at_people = Ask::at("entra").with("audience", PEOPLE);
        let delegation = self.agent_asks(&at_people).await.text("access_token");
        let open_question = self.agent_asks(&Ask::at("lark").scope("im:chat:read")).await;
        assert_eq!(open_question.refusal(), refused(400, "interaction_required"));
        assert_eq!(self.okta_call(&gateway_token).await.status, 200);
        assert!(self.alice.opens(&self.at("/")).await.html.contains("okta.users.read.self"));
        Alice { gateway_token, delegation, open_question, id_token: self.id_token_of(ALICE) }
    }

    pub async fn okta_call(&self, token: &str) -> Answer {
        self.calls(token, "GET", "okta/mgmt/api/v1/users/me").await
    }

    /// Every door, once each.
    pub async fn nothing_acts_as(&mut self, alice: &Alice) {
        assert_eq!(self.okta_call(&alice.gateway_token).await.refusal().0, 401);
        let asked = self.agent_asks(&Ask::at("okta")).await;
        assert_eq!(asked.refusal(), refused(400, "access_denied"), "{}", asked.body_text());
        let at_people = Ask::at("entra").with("audience", PEOPLE);
        assert_eq!(self.agent_asks(&at_people).await.refusal(), refused(400, "access_denied"));
        assert_eq!(self.introspects(&self.personal, &alice.delegation).await, json!({ "active": false }));
        assert_eq!(self.introspects(&self.personal, &alice.gateway_token).await, json!({ "active": false }));
        let shown = at_people.by(&self.assistant).showing(&alice.id_token);
        assert_eq!(self.agent_asks(&shown).await.status, 400);
        let polled = self.polls(&alice.open_question.text("auth_req_id")).await;
        assert_eq!(polled.refusal(), refused(400, "expired_token"));
        let home = self.alice.opens(&self.at("/")).await;
        assert!(!home.html.contains("okta.users.read.self"), "the session goes on: {}", home.title());
        assert_eq!(self.live_grants().await, [] as [Value; 0]);
    }
}

#[actix_web::test]
async fn whoever_has_left_is_refused_everywhere_on_the_next_request() {
    let mut app = TestApp::start().await;
    let alice = app.everything_of_alice().await;
    let refresh_tokens = app.state_of("okta").await["live_refresh"].as_array().unwrap().len();
    let id = app.user_id_of(ALICE).await;
    let began = Instant::now();
    let left = app.admin_does(&format!("/users/{id}/depart"), &Value::Null).await;
    assert_eq!(app.okta_call(&alice.gateway_token).await.status, 401);
    println!("from the admin's request to the first refused call: {:?}", began.elapsed());
    assert_eq!(left["user"]["state"], "disabled");
    assert_eq!(
        (&left["grants"], &left["connections"], &left["finished"]),
        (&json!(1), &json!(1), &json!(true))
    );
    app.nothing_acts_as(&alice).await;
    // The provider was told.
    assert_eq!(app.state_of("okta").await["live_refresh"].as_array().unwrap().len(), refresh_tokens - 1);
    // Nobody answers for her agents now.
    let agents = app.admin("GET", "/agents?flagged=no_active_owner", &Value::Null).await.json();
    let states: Vec<&Value> =
        agents["items"].as_array().unwrap().iter().map(|agent| &agent["state"]).collect();
    assert_eq!(states, [&json!("active"), &json!("active")]);
    // Bob is not concerned.
    let bobs = Ask::at("entra").with("audience", PEOPLE).by(&app.assistant).showing(&app.id_token_of(BOB));
    assert_eq!(app.agent_asks(&bobs).await.status, 200);

    // She comes back: what has ended stays ended, and she begins anew.
    app.admin_does(&format!("/users/{id}/restore"), &Value::Null).await;
    assert_eq!(app.okta_call(&alice.gateway_token).await.status, 401);
    let home = app.alice.opens(&app.at("/")).await;
    assert!(!home.html.contains("/logout"), "the session of before goes on: {}", home.title());
    app.pass(2);
    let again = app.alice_has_granted("okta", "okta.users.read.self").await.text("access_token");
    assert_eq!(app.okta_call(&again).await.status, 200);
    assert_eq!(app.admin("POST", "/users/usr_nobody/depart", &Value::Null).await.status, 404);
    app.stops().await;
}

#[actix_web::test]
async fn agents_that_nobody_answers_for_are_suspended_where_that_is_set() {
    let app = TestApp::start_on(Ground { suspend_without_owner: true, ..Ground::default() }).await;
    let id = app.user_id_of(ALICE).await;
    app.admin_does(&format!("/agents/{}/hand-over", app.autonomous.id), &json!({ "owner": "team:staff" }))
        .await;
    app.admin_does(&format!("/users/{id}/depart"), &Value::Null).await;
    let state = async |agent: &str| {
        app.admin("GET", &format!("/agents/{agent}"), &Value::Null).await.json()["state"].clone()
    };
    // The team has Bob left.
    assert_eq!(
        (state(&app.personal.id).await, state(&app.autonomous.id).await),
        (json!("suspended"), json!("active"))
    );
    let bob = app.user_id_of(BOB).await;
    app.admin_does(&format!("/users/{bob}/depart"), &Value::Null).await;
    assert_eq!(
        (state(&app.assistant.id).await, state(&app.autonomous.id).await),
        (json!("suspended"), json!("suspended"))
    );
    app.stops().await;
}

#[actix_web::test]
async fn whoever_is_signed_out_everywhere_begins_anew() {
    let mut app = TestApp::start().await;
    let alice = app.everything_of_alice().await;
    let id = app.user_id_of(ALICE).await;
    app.pass(1);
    app.admin_does(&format!("/users/{id}/sign-out"), &Value::Null).await;
    assert_eq!(app.okta_call(&alice.gateway_token).await.status, 401);
    assert_eq!(app.introspects(&app.personal, &alice.delegation).await, json!({ "active": false }));
    let shown = Ask::at("entra").with("audience", PEOPLE).by(&app.assistant);
    assert_eq!(
        app.agent_asks(&shown.clone().showing(&alice.id_token)).await.refusal(),
        refused(400, "invalid_request")
    );
    let home = app.alice.opens(&app.at("/")).await;
    assert!(!home.html.contains("okta.users.read.self"), "the session goes on: {}", home.title());
    // What was asked has ended, in the log too; nobody has refused it, so it may be asked anew.
    let question = alice.open_question.text("auth_req_id");
    assert_eq!(app.polls(&question).await.refusal(), refused(400, "expired_token"));
    let withdrawn = app.admin("GET", "/events?limit=100", &Value::Null).await.json();
    let withdrawn: Vec<&Value> = withdrawn["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["action"] == "interaction.withdrawn")
        .collect();
    assert_eq!(withdrawn.len(), 1, "{withdrawn:?}");
    assert_eq!((&withdrawn[0]["provider"], &withdrawn[0]["user"]), (&json!("lark"), &json!(id)));
    let again = app.agent_asks(&Ask::at("lark").scope("im:chat:read")).await;
    assert_eq!(again.refusal(), refused(400, "interaction_required"), "{}", again.body_text());
    assert_ne!(again.text("auth_req_id"), question);
    app.pass(2);
    assert_eq!(app.agent_asks(&shown.showing(&app.id_token_of(ALICE))).await.status, 200);
    let again = app.alice_has_granted("okta", "okta.users.read.self").await.text("access_token");
    assert_eq!(app.okta_call(&again).await.status, 200);
    app.stops().await;
}

#[actix_web::test]
async fn a_departure_that_was_interrupted_goes_on_and_spares_what_came_later() {
    let mut app = TestApp::start().await;
    let alice = app.everything_of_alice().await;
    let id = app.user_id_of(ALICE).await;
    // As if the process had died right after the door was closed.
    let now = valetkey::kernel::clock::Clock::now(app.demo.services.clock.as_ref());
    let store = app.demo.services.store.clone();
    let marked = store
        .update::<valetkey::model::user::User, std::convert::Infallible>(id.as_str(), |user| {
            let mut user = user.clone();
            user.state = valetkey::model::user::UserState::Disabled;
            user.lifecycle.signed_out_at = Some(now);
            user.lifecycle.farewell = Some(now);
            Ok(Some(user))
        })
        .await;
    assert!(marked.is_ok());
    assert_eq!(app.live_grants().await.len(), 1);
    app.demo.services.departures.go_on().await.unwrap();
    app.nothing_acts_as(&alice).await;
    let user = app.admin("GET", &format!("/users/{id}"), &Value::Null).await.json();
    assert_eq!(user["state"], "disabled");
    assert!(store.find::<valetkey::model::user::User>("farewell", "due").await.unwrap().is_empty());
    app.stops().await;
}
