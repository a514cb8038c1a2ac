//! The register of agents as an admin keeps it: what it holds is enforced, found again, and remembered.

use serde_json::{Value, json};
use valetkey::app::demo::people::{ALICE, BOB};

use crate::app::{Ask, TestApp};
use crate::wire::refused;

const PEOPLE: &str = "https://people.example.com";

impl TestApp {
    async fn agents_found(&self, query: &str) -> Vec<String> {
        let answer = self.admin("GET", &format!("/agents?{query}"), &Value::Null).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body_text());
        let items = answer.json()["items"].as_array().cloned().unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    async fn restates(&self, agent: &str, patch: Value) -> Value {
        let answer = self.admin("PATCH", &format!("/agents/{agent}"), &patch).await;
        assert_eq!(answer.status, 200, "{}", answer.body_text());
        answer.json()
    }

    fn assistant_for(&self, email: &str) -> Ask {
        let ask = Ask::at("entra").with("audience", PEOPLE).by(&self.assistant);
        ask.showing(&self.id_token_of(email))
    }
}

#[actix_web::test]
async fn an_agent_is_found_by_everything_that_the_register_holds_of_it() {
    let app = TestApp::start().await;
    let made = app
        .admin_does(
            "/agents",
            &json!({
                "kind": "assistant", "name": "Contract reader", "purpose": "Reads contracts", "owner": "team:staff",
                "platform": "Model Studio", "environment": "production", "labels": ["legal"],
                "data_classes": ["confidential"], "people": { "groups": ["staff"] },
                "review_at": "2020-01-31", "expires_at": "2200-01-01T00:00:00Z",
                "limits": { "entra": [{ "type": "valetkey_limit", "kind": "read_only" }] },
                "ceiling": { "entra": "Files.Read" }, "audience_ceiling": { PEOPLE: "leave.read" },
            }),
        )
        .await;
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made["owner"], "team:staff");
    assert_eq!(made["flags"], json!(["review_due"]));
    assert_eq!(made["limits"]["entra"][0]["kind"], "read_only");
    for query in [
        "q=CONTRACT",
        "kind=assistant&label=legal",
        "label=model%20studio",
        "label=production",
        "data_class=confidential",
        "owner=team:staff",
        "flagged=true",
        "flagged=review_due",
        "state=active&q=reads%20contracts",
    ] {
        assert_eq!(app.agents_found(query).await, std::slice::from_ref(&id), "{query}");
    }
    for query in ["q=nothing", "label=legal&kind=personal", "flagged=expired", "state=retired"] {
        assert_eq!(app.agents_found(query).await, [""; 0], "{query}");
    }
    assert_eq!(app.agents_found(&format!("owner={ALICE}")).await.len(), 2);
    assert_eq!(app.agents_found("").await.len(), 4);
    // A page of one leads to the next.
    let first = app.admin("GET", "/agents?limit=1", &Value::Null).await.json();
    let rest = app.agents_found(&format!("cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!(rest.len(), 3);
    for bad in ["kind=robot", "state=asleep", "flagged=red", "owner=nobody@example.com"] {
        assert_eq!(app.admin("GET", &format!("/agents?{bad}"), &Value::Null).await.status, 400, "{bad}");
    }
    app.stops().await;
}

#[actix_web::test]
async fn what_cannot_be_taken_is_named_and_changes_nothing() {
    let app = TestApp::start().await;
    let path = format!("/agents/{}", app.assistant.id);
    let before = app.admin("GET", &path, &Value::Null).await.json();
    for (patch, named) in [
        (json!({ "owner": "nobody@example.com" }), "owner"),
        (json!({ "owner": "team:nobody" }), "owner"),
        (json!({ "kind": "personal" }), "kind"),
        (json!({ "name": null }), "name"),
        (json!({ "surprise": 1 }), "surprise"),
        (json!({ "expires_at": "soon" }), "expires_at"),
        (json!({ "labels": [" "] }), "labels"),
        (json!({ "limits": { "entra": [{ "type": "valetkey_limit", "kind": "once" }] } }), "once"),
        (json!({ "limits": { "nobody": [] } }), "limits"),
        (json!({ "ceiling": { "entra": null } }), "default_scopes"),
    ] {
        let answer = app.admin("PATCH", &path, &patch).await;
        assert_eq!(answer.status, 400, "{patch}: {}", answer.body_text());
        assert!(answer.text("detail").contains(named), "{patch}: {}", answer.body_text());
    }
    assert_eq!(app.admin("GET", &path, &Value::Null).await.json(), before);
    let personal = format!("/agents/{}", app.personal.id);
    for patch in [json!({ "people": { "groups": ["staff"] } }), json!({ "owner": "team:staff" })] {
        assert_eq!(app.admin("PATCH", &personal, &patch).await.status, 400, "{patch}");
    }
    let handed = app.admin("POST", &format!("{personal}/hand-over"), &json!({ "owner": BOB })).await;
    assert_eq!(handed.status, 400, "{}", handed.body_text());
    app.stops().await;
}

#[actix_web::test]
async fn an_assistant_serves_whom_it_is_registered_for_and_nobody_else() {
    let app = TestApp::start().await;
    let bob = app.user_id_of(BOB).await;
    assert_eq!(app.agent_asks(&app.assistant_for(ALICE)).await.status, 200);
    app.restates(&app.assistant.id, json!({ "people": { "users": [bob] } })).await;
    assert_eq!(app.agent_asks(&app.assistant_for(ALICE)).await.refusal(), refused(400, "access_denied"));
    assert_eq!(app.agent_asks(&app.assistant_for(BOB)).await.status, 200);
    let at_provider = Ask::at("entra").by(&app.assistant).showing(&app.id_token_of(ALICE));
    assert_eq!(app.agent_asks(&at_provider).await.refusal(), refused(400, "access_denied"));
    // Nobody is nobody; a group is its members; left out is everybody.
    app.restates(&app.assistant.id, json!({ "people": { "users": null } })).await;
    assert_eq!(app.agent_asks(&app.assistant_for(BOB)).await.refusal(), refused(400, "access_denied"));
    app.restates(&app.assistant.id, json!({ "people": { "groups": ["staff"] } })).await;
    assert_eq!(app.agent_asks(&app.assistant_for(ALICE)).await.status, 200);
    app.restates(&app.assistant.id, json!({ "people": null })).await;
    assert_eq!(app.agent_asks(&app.assistant_for(BOB)).await.status, 200);
    app.stops().await;
}

#[actix_web::test]
async fn a_ceiling_at_a_back_end_holds_for_the_agent_and_for_those_that_it_sends() {
    let app = TestApp::start().await;
    app.restates(&app.assistant.id, json!({ "audience_ceiling": { PEOPLE: "leave.read" } })).await;
    let answer = app.agent_asks(&app.assistant_for(ALICE)).await;
    assert_eq!(answer.text("scope"), "leave.read");
    let above = app.agent_asks(&app.assistant_for(ALICE).scope("salary.read")).await;
    assert_eq!(above.refusal(), refused(400, "invalid_scope"));
    let issuer = app.demo.issuer.as_str().trim_end_matches('/').to_owned();
    let sending = app.assistant_for(ALICE).with("audience", &issuer).scope("salary.read");
    let sent = app.agent_asks(&sending.with("may_act", &app.personal.id)).await.text("access_token");
    let used = Ask::at("entra").with("audience", PEOPLE).with("subject_token", &sent);
    let used = used.with("subject_token_type", "urn:ietf:params:oauth:token-type:jwt");
    assert_eq!(app.agent_asks(&used).await.refusal(), refused(400, "invalid_scope"));
    app.restates(&app.assistant.id, json!({ "audience_ceiling": { PEOPLE: null } })).await;
    assert_eq!(app.agent_asks(&app.assistant_for(ALICE)).await.refusal(), refused(400, "invalid_target"));
    app.stops().await;
}

#[actix_web::test]
async fn a_limit_of_the_register_holds_for_every_grant_on_the_next_call() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "Mail.Read Mail.Send").await.text("access_token");
    let mail = json!({ "message": { "subject": "Hello", "body": { "contentType": "text", "content": "Hi" },
        "toRecipients": [{ "emailAddress": { "address": BOB } }] } });
    let send = async || {
        let headers = [("Content-Type", "application/json")];
        let body = mail.to_string();
        app.calls_with(&token, "POST", "entra/graph/v1.0/me/sendMail", &headers, body.as_bytes()).await.status
    };
    assert_eq!(send().await, 202);
    let limits = json!({ "limits": { "entra": [{ "type": "valetkey_limit", "kind": "read_only" }] } });
    app.restates(&app.personal.id, limits).await;
    assert_eq!(send().await, 403);
    assert_eq!(app.calls(&token, "GET", "entra/graph/v1.0/me/messages").await.status, 200);
    app.restates(&app.personal.id, json!({ "limits": null })).await;
    assert_eq!(send().await, 202);
    app.stops().await;
}

#[actix_web::test]
async fn an_expired_agent_is_refused_as_a_suspended_one_until_it_gets_a_new_end() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("okta", "okta.users.read.self").await.text("access_token");
    let call = async || app.calls(&token, "GET", "okta/mgmt/api/v1/users/me").await.status;
    assert_eq!(call().await, 200);
    app.restates(&app.personal.id, json!({ "expires_at": "2020-01-01" })).await;
    assert_eq!(call().await, 401);
    let asked = app.agent_asks(&Ask::at("okta")).await;
    assert_eq!(asked.refusal(), refused(400, "unauthorized_client"), "{}", asked.body_text());
    assert_eq!(app.agents_found("flagged=expired").await, [app.personal.id.clone()]);
    app.restates(&app.personal.id, json!({ "expires_at": "2200-01-01" })).await;
    assert_eq!(call().await, 200);
    app.stops().await;
}

#[actix_web::test]
async fn an_agent_is_handed_over_and_its_history_says_who_did_what() {
    let app = TestApp::start().await;
    let path = format!("/agents/{}", app.autonomous.id);
    let bob = app.user_id_of(BOB).await;
    let handed = app.admin_does(&format!("{path}/hand-over"), &json!({ "owner": BOB })).await;
    assert_eq!(handed["owner"], json!(bob));
    app.admin_does(&format!("{path}/hand-over"), &json!({ "owner": "team:staff" })).await;
    app.admin_does(&format!("{path}/suspend"), &Value::Null).await;
    // A second time changes nothing, and leaves nothing.
    app.admin_does(&format!("{path}/suspend"), &Value::Null).await;
    let history = app.admin("GET", &format!("{path}/history"), &Value::Null).await.json();
    let told: Vec<(&str, &Value)> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["action"].as_str().unwrap(), &item["changes"]))
        .collect();
    let alice = app.user_id_of(ALICE).await;
    assert_eq!(
        told,
        [
            ("agent.suspended", &json!(["state: active → suspended"])),
            ("agent.handed_over", &json!([format!("owner: {bob} → {{\"team\":\"staff\"}}")])),
            ("agent.handed_over", &json!([format!("owner: {alice} → {bob}")])),
            ("agent.registered", &json!([])),
        ]
    );
    assert!(history["items"][0]["by"].as_str().unwrap().starts_with("demo (tok_"));
    app.stops().await;
}

#[actix_web::test]
async fn the_history_tells_of_secrets_and_of_how_an_agent_signs_in_and_holds_neither() {
    let app = TestApp::start().await;
    let path = format!("/agents/{}", app.autonomous.id);
    let names = async || {
        let told = app.admin("GET", &format!("{path}/credentials"), &Value::Null).await.json();
        let names =
            told["secrets"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let first = names().await.remove(0);
    let made = app.admin_does(&format!("{path}/rotate-secret"), &Value::Null).await;
    let second = names().await.remove(1);
    let keys = json!({ "keys": { "jwks_uri": "https://agents.example.com/jwks.json" } });
    for _ in 0..2 {
        // A second time changes nothing, and leaves nothing.
        assert_eq!(app.admin("PUT", &format!("{path}/sign-in"), &keys).await.status, 200);
    }
    app.admin_does(&format!("{path}/secrets/{first}/end"), &Value::Null).await;
    let history = app.admin("GET", &format!("{path}/history"), &Value::Null).await;
    let told = history.json();
    let lines: Vec<(&str, String)> = told["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["action"].as_str().unwrap(), item["changes"].to_string()))
        .collect();
    let actions: Vec<&str> = lines.iter().map(|(action, _)| *action).collect();
    assert_eq!(
        actions,
        ["agent.secret_ended", "agent.sign_in_changed", "agent.secret_rotated", "agent.registered"]
    );
    assert!(lines[0].1.contains(&first) && lines[0].1.ends_with(&format!("→ {second}\"]")), "{}", lines[0].1);
    assert!(lines[1].1.contains("sign_in: nothing → "), "{}", lines[1].1);
    assert!(lines[2].1.contains(&format!("secrets: {first} → {first} until ")), "{}", lines[2].1);
    for secret in [&app.autonomous.secret, made["client_secret"].as_str().unwrap()] {
        assert!(!history.body_text().contains(secret));
    }
    app.stops().await;
}
