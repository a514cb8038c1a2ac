//! Classes of data: an agent that is restricted to some is asked for, granted and given nothing else, by
//! whichever door it comes, and an admin who narrows them is obeyed on the next request.

use serde_json::{Value, json};
use valetkey::app::demo::people::ALICE;
use valetkey::tokens::GRANT_CLIENT;

use crate::app::{Ask, Credentials, TestApp};
use crate::wire::{Answer, refused};

const PEOPLE: &str = "https://people.example.com";
const MAIL: &str = "entra/graph/v1.0/me/messages";
const EVENTS: &str = "entra/graph/v1.0/me/events";

impl TestApp {
    async fn may_touch(&self, agent: &Credentials, classes: &[&str]) {
        let patch = json!({ "data_classes": classes });
        let answer = self.admin("PATCH", &format!("/agents/{}", agent.id), &patch).await;
        assert_eq!(answer.status, 200, "{}", answer.body_text());
    }

    /// The people service with these classes of data.
    async fn people_hold(&self, classes: Value) -> Answer {
        let found = self.demo.services.audiences.named(PEOPLE).await.unwrap().unwrap();
        let path = format!("/audiences/{}", found.id);
        let mut stated = self.admin("GET", &path, &Value::Null).await.json();
        for member in ["id", "state", "created_at"] {
            stated.as_object_mut().unwrap().remove(member);
        }
        stated["data_classes"] = classes;
        self.admin("PUT", &path, &stated).await
    }
}

fn at_people() -> Ask {
    Ask::at("entra").with("audience", PEOPLE)
}

#[actix_web::test]
async fn nothing_of_another_class_is_asked_for_by_any_door() {
    let app = TestApp::start().await;
    app.may_touch(&app.personal, &["calendar", "profile"]).await;
    for scopes in ["Mail.Read", "Calendars.Read Mail.Read", "User.Read", "Contacts.Read"] {
        let ask = Ask::at("entra").scope(scopes);
        for ask in [ask.clone(), ask.clone().for_a_provider_token()] {
            let answer = app.agent_asks(&ask).await;
            assert_eq!(answer.refusal(), refused(400, "invalid_scope"), "{scopes}: {}", answer.body_text());
        }
        let ahead = ask.without("grant_type");
        let ahead = app.posts("/oauth2/bc-authorize", &app.personal, ahead.fields()).await;
        assert_eq!(ahead.refusal(), refused(400, "invalid_scope"), "{scopes}: {}", ahead.body_text());
    }
    let told = app.agent_asks(&Ask::at("entra").scope("User.Read")).await.text("error_description");
    assert!(told.contains("User.Read (profile directory)"), "one of two classes is not enough: {told}");
    assert_eq!(app.agent_asks(&Ask::at("okta").scope("okta.groups.read")).await.error(), "invalid_scope");
    assert_eq!(app.questions().await, 0, "nobody was asked");
    app.stops().await;
}

#[actix_web::test]
async fn an_agent_that_names_no_scope_asks_for_what_it_may_touch() {
    let mut app = TestApp::start().await;
    app.may_touch(&app.personal, &["calendar"]).await;
    let question = app.agent_asks(&Ask::at("entra")).await;
    assert_eq!(question.error(), "interaction_required");
    let asked = app.admin("GET", "/interactions", &Value::Null).await.json();
    assert_eq!(asked["items"][0]["scopes"], "Calendars.Read", "{asked}");
    app.alice_agrees_to(&question, &["Calendars.Read"]).await;
    let token = app.polls(&question.text("auth_req_id")).await;
    assert_eq!(token.status, 200, "{}", token.body_text());
    assert_eq!(token.scope(), ["Calendars.Read"]);
    let granted = app.live_grants().await;
    assert_eq!(granted.iter().map(|grant| &grant["scopes"]).collect::<Vec<_>>(), ["Calendars.Read"]);

    // What was granted is all closed, and so are the default scopes: not that there are none.
    app.may_touch(&app.personal, &["mail"]).await;
    let closed = app.agent_asks(&Ask::at("entra")).await;
    assert_eq!(closed.refusal(), refused(400, "invalid_scope"));
    let told = closed.text("error_description");
    assert!(told.contains("of classes of data") && told.contains("Calendars.Read (calendar)"), "{told}");
    app.may_touch(&app.personal, &["apps"]).await;
    let nothing = app.agent_asks(&Ask::at("entra")).await;
    assert_eq!(nothing.refusal(), refused(400, "invalid_scope"));
    assert!(nothing.text("error_description").contains("none of the classes"), "{}", nothing.body_text());
    app.stops().await;
}

#[actix_web::test]
async fn a_box_that_was_not_there_agrees_to_nothing_more() {
    let mut app = TestApp::start().await;
    app.may_touch(&app.personal, &["calendar"]).await;
    let question = app.agent_asks(&Ask::at("entra")).await;
    app.alice_agrees_to(&question, &["Calendars.Read", "Mail.Read"]).await;
    for grant in app.live_grants().await {
        assert_eq!(grant["scopes"], "Calendars.Read");
    }
    let token = app.polls(&question.text("auth_req_id")).await;
    assert!(token.scope().iter().all(|scope| scope == "Calendars.Read"), "{}", token.body_text());
    app.stops().await;
}

#[actix_web::test]
async fn narrowing_takes_effect_on_the_next_call_and_widening_gives_it_back() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "Calendars.Read Mail.Read").await.token();
    let call = async |path: &str| app.calls(&token, "GET", path).await;
    assert_eq!((call(MAIL).await.status, call(EVENTS).await.status), (200, 200));

    app.may_touch(&app.personal, &["calendar"]).await;
    let denied = call(MAIL).await;
    assert_eq!(denied.refusal(), refused(403, "insufficient_scope"), "{}", denied.body_text());
    assert_eq!(denied.text("interaction_uri"), "", "no person can allow it: {}", denied.body_text());
    assert_eq!(call(EVENTS).await.status, 200);
    assert_eq!(app.introspects(&app.personal, &token).await["scope"], "Calendars.Read");
    assert_eq!(app.agent_asks(&Ask::at("entra")).await.scope(), ["Calendars.Read"]);
    let both = Ask::at("entra").scope("Calendars.Read Mail.Read");
    assert_eq!(app.agent_asks(&both).await.refusal(), refused(400, "invalid_scope"));

    app.may_touch(&app.personal, &["tasks"]).await;
    assert_eq!((call(MAIL).await.status, call(EVENTS).await.status), (403, 403));
    assert_eq!(app.introspects(&app.personal, &token).await, json!({ "active": false }));
    let report = app.admin("GET", &format!("/agents/{}/report", app.personal.id), &Value::Null).await.json();
    let refusal = report["grants"][0]["refused"].as_str().unwrap_or_else(|| panic!("{report}"));
    assert!(refusal.contains("classes of data"), "{refusal}");

    app.may_touch(&app.personal, &[]).await;
    assert_eq!((call(MAIL).await.status, call(EVENTS).await.status), (200, 200));
    assert_eq!(app.agent_asks(&both).await.status, 200);
    app.stops().await;
}

#[actix_web::test]
async fn a_question_from_before_the_narrowing_grants_nothing_after_it() {
    let mut app = TestApp::start().await;
    let open = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    app.may_touch(&app.personal, &["calendar"]).await;
    let page = app.alice_agrees_to(&open, &["Mail.Read"]).await;
    assert_ne!(page.status, 200, "{}", page.title());
    assert!(app.live_grants().await.is_empty());
    assert_ne!(app.polls(&open.text("auth_req_id")).await.status, 200);

    // Agreed to, and narrowed before the token is collected.
    app.may_touch(&app.personal, &[]).await;
    let ask = Ask::at("lark").scope("im:chat:read");
    let question = app.agent_asks(&ask).await;
    app.alice_agrees_to(&question, &["im:chat:read"]).await;
    app.may_touch(&app.personal, &["calendar"]).await;
    let late = app.polls(&question.text("auth_req_id")).await;
    assert_eq!(late.refusal(), refused(400, "invalid_scope"), "{}", late.body_text());
    let told = late.text("error_description");
    assert!(told.contains("of classes of data") && !told.contains("ceiling"), "{told}");
    app.stops().await;
}

#[actix_web::test]
async fn a_back_end_is_open_to_an_agent_that_may_touch_all_of_what_it_holds() {
    let app = TestApp::start().await;
    let token = app.agent_asks(&at_people()).await.token();
    let itself = at_people().with("grant_type", GRANT_CLIENT).by(&app.autonomous);
    let itself = itself.without("subject_token").without("subject_token_type");
    assert_eq!(app.agent_asks(&itself).await.status, 200);
    for agent in [&app.personal, &app.assistant, &app.autonomous] {
        app.may_touch(agent, &["mail"]).await;
    }
    let as_assistant = at_people().by(&app.assistant).showing(&app.id_token_of(ALICE));
    for ask in [at_people(), at_people().scope("leave.read"), as_assistant.clone(), itself.clone()] {
        assert_eq!(app.agent_asks(&ask).await.refusal(), refused(400, "invalid_target"), "{ask:?}");
    }
    assert_eq!(app.introspects(&app.personal, &token).await, json!({ "active": false }));

    app.may_touch(&app.personal, &["mail", "payroll"]).await;
    app.may_touch(&app.autonomous, &["payroll"]).await;
    assert_eq!(app.agent_asks(&at_people()).await.status, 200);
    assert_eq!(app.agent_asks(&itself).await.status, 200);
    assert_eq!(app.introspects(&app.personal, &token).await["active"], true);

    // An agent that may not go there sends nobody who may.
    let issuer = app.demo.issuer.as_str().trim_end_matches('/').to_owned();
    let sending = as_assistant.with("audience", &issuer).scope("leave.read");
    let sent = app.agent_asks(&sending.with("may_act", &app.personal.id)).await.text("access_token");
    let used = at_people().with("subject_token", &sent);
    let used = used.with("subject_token_type", "urn:ietf:params:oauth:token-type:jwt");
    let refusal = app.agent_asks(&used).await;
    assert_eq!(refusal.refusal(), refused(400, "invalid_target"), "{}", refusal.body_text());
    app.may_touch(&app.assistant, &["payroll"]).await;
    assert_eq!(app.agent_asks(&used).await.status, 200);

    // A second class closes it again, and one that says nothing of itself is closed to whoever is restricted.
    for held in [json!(["directory", "payroll"]), json!([])] {
        let answer = app.people_hold(held.clone()).await;
        assert_eq!(answer.json()["data_classes"], held, "{}", answer.body_text());
        assert_eq!(app.agent_asks(&at_people()).await.refusal(), refused(400, "invalid_target"), "{held}");
    }
    app.may_touch(&app.personal, &[]).await;
    assert_eq!(app.agent_asks(&at_people()).await.status, 200, "not restricted");
    app.stops().await;
}

#[actix_web::test]
async fn words_that_could_be_taken_for_a_class_are_refused() {
    let app = TestApp::start().await;
    for (word, told) in [("Mail", "`mail`"), ("CALENDAR", "`calendar`"), ("Unclassified", "no class")] {
        let path = format!("/agents/{}", app.personal.id);
        let agent = app.admin("PATCH", &path, &json!({ "data_classes": [word] })).await;
        for answer in [agent, app.people_hold(json!([word])).await] {
            assert_eq!(answer.status, 400, "{word}: {}", answer.body_text());
            let detail = answer.text("detail");
            assert!(detail.contains("data_classes") && detail.contains(told), "{detail}");
        }
    }
    let templates = app.admin("GET", "/templates", &Value::Null).await.json();
    let entra = templates["items"].as_array().unwrap().iter().find(|one| one["name"] == "entra").unwrap();
    assert_eq!(entra["data_classes"]["Mail.Read"], json!(["mail"]));
    assert_eq!(entra["data_classes"].get("openid"), None);
    app.stops().await;
}
