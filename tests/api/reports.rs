//! What can still act as a person, and what an agent can still do: the honest list, before and after.

use serde_json::{Value, json};
use valetkey::app::demo::people::ALICE;

use crate::app::{Ask, TestApp};
use crate::wire::refused;

impl TestApp {
    async fn report(&self, path: &str) -> Value {
        let answer = self.admin("GET", &format!("{path}/report"), &Value::Null).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body_text());
        answer.json()
    }
}

fn count(report: &Value, list: &str) -> usize {
    report[list].as_array().unwrap().len()
}

#[actix_web::test]
async fn a_report_lists_what_acts_and_what_only_others_can_stop() {
    let mut app = TestApp::start().await;
    let id = app.user_id_of(ALICE).await;
    let person = format!("/users/{id}");
    let agent = format!("/agents/{}", app.personal.id);
    assert_eq!(count(&app.report(&person).await, "grants"), 0);
    // A grant, a provider token that has left under it, and an open question.
    let ask = Ask::at("lark").scope("im:chat:read").for_a_provider_token();
    let released = app.alice_has_answered(&ask, "im:chat:read").await;
    let has_left = released.text("issued_token_type").ends_with(":access_token");
    let asked = app.agent_asks(&Ask::at("entra").scope("Mail.Read")).await;
    assert_eq!(asked.refusal(), refused(400, "interaction_required"));
    let report = app.report(&person).await;
    let grant = &report["grants"][0];
    assert_eq!((&grant["agent"], &grant["provider"]), (&json!(app.personal.id), &json!("lark")));
    assert_eq!((&grant["holds"], &grant["refused"]), (&json!(true), &Value::Null));
    assert_eq!(count(grant, "provider_tokens"), usize::from(has_left));
    assert_eq!((count(&report, "connections"), &report["open_interactions"]), (1, &json!(1)));
    assert_eq!((&report["sessions"], count(&report, "owned_agents")), (&json!(1), 2));
    // The personal agent and the assistant reach the people service for her; the autonomous one does not.
    assert_eq!(count(&report, "audiences"), 2);
    assert_eq!(report["audiences"][0]["tokens_end_within_s"], 300);
    let told = app.report(&agent).await;
    assert_eq!((count(&told, "grants"), count(&told, "audiences"), &told["refused"]), (1, 1, &Value::Null));
    assert_eq!(told["audiences"][0]["for"], json!({ "groups": ["staff"] }));

    // Suspended: the grant holds, and is of no use.
    app.admin_does(&format!("{agent}/suspend"), &Value::Null).await;
    let report = app.report(&person).await;
    assert_eq!(report["grants"][0]["refused"], "the agent is suspended");
    assert_eq!(count(&report, "audiences"), 1);
    let told = app.report(&agent).await;
    assert_eq!((&told["refused"], count(&told, "audiences")), (&json!("the agent is suspended"), 0));
    app.admin_does(&format!("{agent}/resume"), &Value::Null).await;

    // She has switched the service off.
    let audience = app.demo.services.audiences.named("https://people.example.com").await.unwrap().unwrap();
    app.demo.services.audiences.switch(&id, &audience.id, false).await.unwrap();
    assert_eq!(count(&app.report(&person).await, "audiences"), 0);

    // She has left: nothing acts any more.
    app.admin_does(&format!("{person}/depart"), &Value::Null).await;
    let report = app.report(&person).await;
    let holding = report["grants"].as_array().unwrap().iter().filter(|grant| grant["holds"] == true).count();
    assert_eq!((holding, count(&report, "connections"), count(&report, "audiences")), (0, 0, 0));
    assert_eq!((&report["sessions"], &report["open_interactions"]), (&json!(0), &json!(0)));
    for path in ["/users/usr_nobody", "/agents/agt_nobody"] {
        assert_eq!(app.admin("GET", &format!("{path}/report"), &Value::Null).await.status, 404);
    }
    app.stops().await;
}
