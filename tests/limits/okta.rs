//! Okta's management API: what it names cannot be bounded by folder or date, so only calls that look, and only
//! the routes that a scope's title promises.

use serde_json::Value;

use valetkey::sandbox::world::content::BEYOND_WINDOW;

use crate::row::{Bounds, Row, Table, allowed, clipped, closed, stopped};
use crate::stage::Stage;
use crate::try_row;

const SCOPES: &str = "okta.users.read okta.groups.read okta.groups.manage okta.apps.read okta.logs.read";

/// Not a word of the world: marks what no scope's title speaks of.
const SECRETS: &str = "OUTSIDE-ROUTES";

#[rustfmt::skip]
const BOUNDS: &[Bounds] = &[
    Bounds { name: "look", details: r#"[{"type":"valetkey_limit","kind":"read_only"}]"#, words: &[SECRETS] },
    Bounds {
        name: "november",
        details: r#"[{"type":"valetkey_limit","api":"mgmt","kind":"events","from":"2026-11-01T00:00:00Z"}]"#,
        words: &[BEYOND_WINDOW],
    },
    Bounds { name: "all", details: "[]", words: &[SECRETS] },
];

pub fn table() -> Table {
    Table { provider: "okta", api: "okta/mgmt", scopes: SCOPES, bounds: BOUNDS, rows: rows() }
}

#[rustfmt::skip] // A table reads by its lines.
fn rows() -> Vec<Row> {
    vec![
        allowed("look", "GET /api/v1/users/me"),
        allowed("look", "GET /api/v1/groups?limit=1"),
        allowed("look", "GET /api/v1/users?search=profile.lastName%20eq%20%22Example%22"),
        allowed("look", "GET /api/v1/logs?since=2026-10-01T00:00:00Z&limit=5"),
        allowed("all", "PUT /api/v1/groups/{group:Product}/users/{user:bob@example.com}"),
        stopped("look", "write", "PUT /api/v1/groups/{group:Engineering}/users/{user:alice@example.com}"),
        stopped("look", "write", "DELETE /api/v1/groups/{group:Engineering}/users/{user:bob@example.com}"),
        stopped("look", "write", "POST /api/v1/groups").body(r#"{"profile":{"name":"Backdoor","description":"x"}}"#),
        stopped("look", "write", "PUT /api/v1/groups/{group:Product}").body(r#"{"profile":{"name":"Renamed","description":"x"}}"#),
        stopped("look", "write", "DELETE /api/v1/groups/{group:Product}"),
        allowed("november", "GET /api/v1/logs?since=2026-11-02T00:00:00Z"),
        clipped("november", "other window", "GET /api/v1/logs"),
        clipped("november", "other window", "GET /api/v1/logs?since=2026-01-01T00:00:00Z&limit=100"),
        clipped("november", "filter", "GET /api/v1/logs?filter=eventType%20eq%20%22user.session.start%22"),
        clipped("november", "paging", "GET /api/v1/logs?after=4&limit=4"),
        closed("look", "method override", "POST /api/v1/groups/{group:Product}")
            .header("X-HTTP-Method-Override", "DELETE").undocumented(),
        closed("all", "more under the scope", "GET /api/v1/users/{user:bob@example.com}/factors"),
        closed("all", "more under the scope", "GET /api/v1/users/{user:bob@example.com}/grants"),
        closed("all", "more under the scope", "GET /api/v1/users/{user:bob@example.com}/clients"),
        closed("all", "more under the scope", "GET /api/v1/users/{user:bob@example.com}/blocks"),
        closed("all", "more under the scope", "GET /api/v1/apps/{app:Valetkey}/credentials/keys"),
        closed("all", "more under the scope", "GET /api/v1/apps/{app:Valetkey}/credentials/secrets"),
        closed("all", "more under the scope", "GET /api/v1/apps/{app:Valetkey}/tokens"),
        closed("all", "case", "GET /api/v1/USERS/{user:bob@example.com}/factors").undocumented(),
    ]
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Learns what there is, as anybody with the provider token would.
pub async fn learn(stage: &mut Stage) {
    let none = &Value::Null;
    for user in stage.raw_json("GET /api/v1/users", none).await.as_array().unwrap() {
        let id = text(user, "/id");
        stage.know(format!("user:{}", text(user, "/profile/email")), &id, &[]);
        let factors = stage.raw_json(&format!("GET /api/v1/users/{id}/factors"), none).await;
        stage.know(format!("factor:{id}"), &text(&factors, "/0/id"), &[SECRETS]);
    }
    for entry in stage.raw_json("GET /api/v1/logs", none).await.as_array().unwrap() {
        let (id, at) = (text(entry, "/uuid"), text(entry, "/published"));
        let beyond: &[&'static str] = if at.as_str() < "2026-11" { &[BEYOND_WINDOW] } else { &[] };
        stage.know(format!("entry:{id}"), &id, beyond);
    }
    for group in stage.raw_json("GET /api/v1/groups", none).await.as_array().unwrap() {
        stage.know(format!("group:{}", text(group, "/profile/name")), &text(group, "/id"), &[]);
    }
    for app in stage.raw_json("GET /api/v1/apps", none).await.as_array().unwrap() {
        let id = text(app, "/id");
        stage.know(format!("app:{}", text(app, "/label")), &id, &[]);
        let keys = stage.raw_json(&format!("GET /api/v1/apps/{id}/credentials/keys"), none).await;
        stage.know(format!("key:{id}"), &text(&keys, "/0/kid"), &[SECRETS]);
        let tokens = stage.raw_json(&format!("GET /api/v1/apps/{id}/tokens"), none).await;
        stage.know(format!("token:{id}"), &text(&tokens, "/0/id"), &[SECRETS]);
    }
}

#[actix_web::test]
async fn nothing_gets_out_of_a_limit_at_okta() {
    let table = table();
    let mut stage = Stage::of(&table).await;
    learn(&mut stage).await;
    let outcomes = try_row::all(&table, &mut stage).await;
    assert!(outcomes.len() >= 15);
    stage.app.stops().await;
    try_row::hold(&outcomes);
}

#[actix_web::test]
async fn the_next_page_is_named_at_the_gateway_and_lies_within_the_limit() {
    let table = table();
    let mut stage = Stage::of(&table).await;
    learn(&mut stage).await;
    let bounds = &BOUNDS[1];
    let token = stage.token(bounds).await;
    let issuer = stage.app.at("/gateway/").to_string();
    let mut at = "okta/mgmt/api/v1/logs?limit=1".to_owned();
    let mut pages = Vec::new();
    loop {
        let answer = stage.app.calls(&token, "GET", &at).await;
        assert_eq!(answer.status, 200, "{at}: {}", answer.body_text());
        assert!(!answer.body_text().contains(BEYOND_WINDOW), "{at}: {}", answer.body_text());
        assert!(
            !answer.head.contains("rel=\"self\"") && !answer.head.contains("okta.com"),
            "{}",
            answer.head
        );
        pages.push(answer.json().as_array().unwrap().len());
        let Some(link) = answer.header("link") else { break };
        let target = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\"")).unwrap();
        at = target.strip_prefix(&issuer).unwrap_or_else(|| panic!("{link}")).to_owned();
    }
    assert!(pages.len() > 1, "{pages:?}");
    stage.app.stops().await;
}
