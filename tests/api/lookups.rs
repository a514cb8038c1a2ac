//! Look-ups for limits when the provider fails: nothing is released, and the agent is told to come again.

use serde_json::{Value, json};

use crate::app::{Ask, TestApp};

const DRIVE: &str = "entra/graph/v1.0/me/drive";

/// A token for the files under `Projects`, and a call of something inside that has to be looked up.
async fn under_projects() -> (TestApp, String, String) {
    let mut app = TestApp::start().await;
    let all = app.alice_has_granted("entra", "Files.Read").await.token();
    let named = async |path: &str, name: &str| -> Value {
        let listed = app.calls(&all, "GET", &format!("{DRIVE}/{path}/children")).await.json();
        let items = listed["value"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    };
    let projects = named("root", "Projects").await["id"].as_str().unwrap().to_owned();
    let year = named(&format!("items/{projects}"), "2026").await["id"].as_str().unwrap().to_owned();
    let limit = json!([{"type": "valetkey_limit", "api": "graph", "kind": "folders", "items": [projects]}]);
    let ask = Ask::at("entra").with("authorization_details", &limit.to_string());
    let token = app.agent_asks(&ask).await.token();
    (app, token, format!("{DRIVE}/items/{year}/children"))
}

#[actix_web::test]
async fn a_look_up_that_fails_refuses_and_nothing_is_released() {
    let (app, token, call) = under_projects().await;
    for (fault, status) in [
        (json!({"endpoint": "api", "kind": "status", "value": 500}), 503),
        (json!({"endpoint": "api", "kind": "status", "value": 503}), 503),
        (json!({"endpoint": "api", "kind": "rate_limit", "value": 3}), 503),
        (json!({"endpoint": "api", "kind": "html"}), 502),
        (json!({"endpoint": "api", "kind": "garbage"}), 502),
    ] {
        // What was looked up is believed for half a minute, and a token lives for five.
        app.pass(40);
        let before = app.data_calls_at("entra").await.len();
        app.provider_will("entra", fault.clone()).await;
        let answer = app.calls(&token, "GET", &call).await;
        assert!([502, 503].contains(&answer.status), "{fault}: {} {}", answer.status, answer.body_text());
        assert_eq!(answer.status, status, "{fault}: {}", answer.body_text());
        assert_eq!(answer.header("retry-after").is_some(), status == 503, "{fault}");
        assert!(answer.header("x-valetkey-event").is_some() && !answer.body_text().contains("localhost"));
        assert_eq!(app.data_calls_at("entra").await.len(), before + 1, "{fault}: only the look-up was made");
        assert_eq!(app.calls(&token, "GET", &call).await.status, 200, "{fault}: it passes again");
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_token_that_a_look_up_finds_stale_is_renewed_once() {
    let (app, token, call) = under_projects().await;
    let made = async || {
        app.pass(40);
        let before = app.data_calls_at("entra").await.len();
        assert_eq!(app.calls(&token, "GET", &call).await.status, 200, "the agent notices nothing");
        app.data_calls_at("entra").await.len() - before
    };
    let (usual, renewals) = (made().await, app.refreshes_at("entra").await);
    app.provider_will("entra", json!({"endpoint": "api", "kind": "status", "value": 401})).await;
    assert_eq!(made().await, usual + 1, "one look-up was made twice");
    assert_eq!(app.refreshes_at("entra").await, renewals + 1);
}

#[actix_web::test]
async fn a_look_up_that_stays_refused_releases_nothing_and_renews_no_more_than_once() {
    let (app, token, call) = under_projects().await;
    app.pass(40);
    let (calls, renewals) = (app.data_calls_at("entra").await.len(), app.refreshes_at("entra").await);
    app.provider_will("entra", json!({"endpoint": "api", "kind": "status", "value": 401, "count": 2})).await;
    let answer = app.calls(&token, "GET", &call).await;
    assert_eq!(answer.status, 502, "{}", answer.body_text());
    assert_eq!(app.refreshes_at("entra").await, renewals + 1);
    assert_eq!(app.data_calls_at("entra").await.len(), calls + 2, "only the look-up was made, twice");
}
