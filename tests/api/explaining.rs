//! Decisions explained: the gateway's own, step by step, calling nothing.

use serde_json::{Value, json};

use crate::app::{Ask, TestApp};
use crate::wire::refused;

const MAIL: &str = "/v1.0/me/messages";

async fn explained(app: &TestApp, method: &str, path: &str) -> Value {
    let grants = app.live_grants().await;
    let grant = grants[0]["id"].as_str().unwrap();
    app.admin_does(&format!("/grants/{grant}/explain"), &json!({"method": method, "path": path})).await
}

fn verdict_on(explained: &Value, subject: &str) -> String {
    let steps = explained["steps"].as_array().unwrap();
    let found = steps.iter().rfind(|step| step["subject"] == subject);
    found.unwrap_or_else(|| panic!("nothing on {subject} in {explained}"))["verdict"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[actix_web::test]
async fn what_is_explained_is_what_would_happen_and_nothing_is_called_or_counted() {
    let mut app = TestApp::start().await;
    let limits = json!([
        {"type": "valetkey_limit", "kind": "calls", "most": 2, "per": "day"},
        {"type": "valetkey_limit", "kind": "read_only"},
    ]);
    let scopes = "User.Read Mail.Read Mail.Send";
    let ask = Ask::at("entra").scope(scopes).with("authorization_details", &limits.to_string());
    let token = app.alice_has_answered(&ask, scopes).await.token();
    let before = app.data_calls_at("entra").await.len();
    for _ in 0..5 {
        let permitted = explained(&app, "GET", &format!("{MAIL}?$top=2")).await;
        assert_eq!(permitted["permitted"], true, "{permitted}");
        assert_eq!(verdict_on(&permitted, "budget"), "allowed");
        assert!(
            permitted["sent"]["url"].as_str().unwrap().ends_with("/v1.0/me/messages?$top=2"),
            "{permitted}"
        );
    }
    for (method, path, subject) in [
        ("GET", "/v1.0/me//messages", "path"),
        ("GET", "v1.0/me", "path"),
        ("GET", "/v1.0/users", "route"),
        ("GET", "/v1.0/me/drive/root/children", "standing"),
        ("POST", "/v1.0/me/sendMail", "read_only"),
        ("GET", "/v1.0/me/messages?$expand=attachments", "request"),
        ("GET", "/gateway/okta/mgmt/api/v1/users/me", "path"),
    ] {
        let denied = explained(&app, method, path).await;
        assert_eq!(denied["permitted"], false, "{method} {path}: {denied}");
        assert_eq!(verdict_on(&denied, subject), "refused", "{method} {path}: {denied}");
        // The gateway says the same.
        let called =
            path.strip_prefix("/gateway/").map_or_else(|| format!("entra/graph{path}"), str::to_owned);
        let json = [("Content-Type", "application/json")];
        let answer = app.calls_with(&token, method, &called, &json, b"").await;
        assert!(matches!(answer.status, 400 | 403), "{method} {path}: {}", answer.status);
    }
    let slashless = explained(&app, "GET", "v1.0/me").await.to_string();
    assert!(slashless.contains("has to begin with `/`"), "{slashless}");
    // The API was left out: the answer has the whole path.
    let answer = app.calls(&token, "GET", "entra/v1.0/me/messages").await;
    assert_eq!(answer.refusal(), refused(403, "route_not_allowed"));
    let words = answer.text("error_description");
    assert!(words.contains("`v1.0` is no API of `entra`"), "{words}");
    assert!(words.contains("/gateway/entra/graph/v1.0/me/messages"), "{words}");
    assert_eq!(app.data_calls_at("entra").await.len(), before, "the provider was called");
    for status in [200, 200, 429] {
        assert_eq!(app.calls(&token, "GET", &format!("entra/graph{MAIL}")).await.status, status);
    }
    let exhausted = explained(&app, "GET", MAIL).await;
    assert_eq!(verdict_on(&exhausted, "budget"), "refused");
    let unknown = format!("/grants/gnt_{}/explain", "0".repeat(32));
    assert_eq!(app.admin("POST", &unknown, &json!({"method": "GET", "path": MAIL})).await.status, 404);
    app.stops().await;
}
