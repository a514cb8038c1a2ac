//! The admin API: who may, what it takes, and lists that are read page by page.

use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use valetkey::kernel::bearer::{self, BearerKind};
use valetkey::kernel::clock::Clock as _;
use valetkey::kernel::ids::AdminTokenId;
use valetkey::model::user::{AdminToken, Role};
use valetkey::store::{Committed, Tx};

use crate::agent::Answer;
use crate::broker::{Broker, assert_clear};

async fn auditor(broker: &Broker) -> String {
    let services = &broker.demo.services;
    let secret = bearer::generate(BearerKind::AdminToken, &*services.entropy);
    let mut tx = Tx::new();
    tx.insert(&AdminToken {
        id: AdminTokenId::generate(&*services.entropy),
        digest: services.vault.digest(BearerKind::AdminToken, secret.expose()),
        name: "auditor".to_owned(),
        role: Role::Auditor,
        created_at: broker.demo.clock.now(),
        expires_at: None,
    });
    assert_eq!(services.store.commit(tx).await.unwrap(), Committed::Done);
    secret.expose().clone()
}

async fn send(
    broker: &Broker,
    token: &str,
    method: &str,
    path: &str,
    body: Option<(&str, String)>,
) -> Answer {
    let mut request = broker.request(method, path).header(AUTHORIZATION, format!("Bearer {token}"));
    if let Some((content_type, body)) = body {
        request = request.header("content-type", content_type).body(body);
    }
    Answer::of(request).await
}

fn assert_problem(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(answer.error(), (status, code.to_owned()), "{what}: {}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    assert_eq!(answer.json()["status"], status, "{what}");
    assert_clear(answer, what);
}

const LISTS: [&str; 9] =
    ["agents", "templates", "providers", "users", "connections", "grants", "interactions", "stops", "events"];

#[actix_web::test]
async fn only_admins_get_in_and_auditors_only_read() {
    let broker = Broker::start().await;
    let admin = broker.demo.cast.admin_token.expose().clone();
    let auditor = auditor(&broker).await;
    let agent = broker.agent.secret.clone();
    let strangers = ["", "x", "vka_x", &agent, &format!("{admin}x"), "vkg_AAAA"];
    for list in LISTS.iter().chain(&["keys"]) {
        let path = format!("/api/v1/{list}");
        let bare = Answer::of(broker.request("GET", &path)).await;
        assert_problem(&bare, 401, "unauthorized", list);
        assert!(bare.header("www-authenticate").is_some(), "{list}");
        for token in strangers {
            assert_problem(&send(&broker, token, "GET", &path, None).await, 401, "unauthorized", token);
        }
        let basic = broker.request("GET", &path).basic_auth("admin", Some(&admin));
        assert_problem(&Answer::of(basic).await, 401, "unauthorized", "basic");
        for token in [&admin, &auditor] {
            let found = send(&broker, token, "GET", &path, None).await;
            assert_eq!(found.status, 200, "{list}: {}", found.body);
            assert!(found.json()["items"].is_array(), "{list}");
        }
    }
    let id = broker.agent.id.clone();
    let writes = [
        "/api/v1/agents".to_owned(),
        "/api/v1/providers".to_owned(),
        "/api/v1/stops".to_owned(),
        format!("/api/v1/agents/{id}/suspend"),
        format!("/api/v1/agents/{id}/retire"),
        format!("/api/v1/agents/{id}/rotate-secret"),
        "/api/v1/providers/okta/disable".to_owned(),
    ];
    for path in writes {
        let body = Some(("application/json", "{}".to_owned()));
        assert_problem(&send(&broker, &auditor, "POST", &path, body).await, 403, "forbidden", &path);
    }
    let shown = send(&broker, &auditor, "GET", &format!("/api/v1/agents/{id}"), None).await;
    assert_eq!(shown.json()["state"], "active");
    assert!(!shown.body.contains("vks_") && !shown.body.contains("secret"));
    broker.stop().await;
}

#[actix_web::test]
async fn what_the_api_cannot_take_is_named() {
    let broker = Broker::start().await;
    let admin = broker.demo.cast.admin_token.expose().clone();
    const JSON: &str = "application/json";
    let stop = |more: &str| format!("{{\"reason\": \"drill\"{more}}}");
    let table: Vec<(&str, &str, String, u16, &str, &str)> = vec![
        ("/api/v1/stops", JSON, stop(", \"al\": true"), 400, "invalid_request", "unknown field `al`"),
        ("/api/v1/stops", JSON, "{\"all\": true}".to_owned(), 400, "invalid_request", "`reason`"),
        ("/api/v1/stops", JSON, stop(", \"all\": \"yes\""), 400, "invalid_request", "wrong type"),
        ("/api/v1/stops", JSON, stop(", \"all\": true, \"all\": true"), 400, "invalid_request", "duplicate"),
        ("/api/v1/stops", JSON, stop(""), 400, "invalid_stop", "exactly one"),
        ("/api/v1/stops", JSON, stop(", \"all\": true, \"provider\": \"okta\""), 400, "invalid_stop", "exactly one"),
        ("/api/v1/stops", JSON, stop(", \"agent\": \"no id\""), 400, "invalid_stop", "agent"),
        ("/api/v1/stops", JSON, "{\"all\": true, \"reason\": \" \"}".to_owned(), 400, "invalid_stop", "reason"),
        ("/api/v1/stops", JSON, "{\"reason\": \"dri".to_owned(), 400, "invalid_request", "not JSON"),
        ("/api/v1/stops", JSON, String::new(), 400, "invalid_request", "not JSON"),
        ("/api/v1/stops", JSON, "[".repeat(100_000), 400, "invalid_request", "not an object"),
        ("/api/v1/stops", JSON, format!("{{\"x\": {}", "[".repeat(100_000)), 400, "invalid_request", "line 1"),
        ("/api/v1/stops", JSON, stop(&format!(", \"x\": \"{}\"", "y".repeat(300_000))), 413, "request_too_large", ""),
        ("/api/v1/stops", "text/plain", stop(", \"all\": true"), 415, "unsupported_media_type", JSON),
        ("/api/v1/agents", JSON, json!({"kind": "robot", "name": "x", "purpose": "x", "owner": "x"}).to_string(), 400, "invalid_request", "wrong type or value"),
        ("/api/v1/agents", JSON, json!({"kind": "personal", "name": "x", "purpose": "x", "owner": "x"}).to_string(), 400, "invalid_agent", "owner"),
        ("/api/v1/agents", JSON, json!({"kind": "personal", "name": "x", "purpose": "x", "owner": "alice@example.com", "ceiling": {"okta": "a\"b"}}).to_string(), 400, "invalid_agent", "ceiling"),
        ("/api/v1/providers", JSON, json!({"slug": "No Slug", "client_id": "x", "client_secret": "canary-secret"}).to_string(), 400, "invalid_provider", ""),
        ("/api/v1/providers", JSON, json!({"slug": "mine", "client_id": "x", "client_secret": "canary-secret"}).to_string(), 400, "invalid_provider", "template"),
        ("/api/v1/providers", JSON, json!({"slug": "okta", "client_id": "x", "client_secret": ["canary-secret"]}).to_string(), 400, "invalid_request", ""),
    ];
    for (path, content_type, body, status, code, named) in table {
        let what: String = body.chars().take(90).collect();
        let answer = send(&broker, &admin, "POST", path, Some((content_type, body))).await;
        assert_problem(&answer, status, code, &what);
        assert!(answer.text("detail").contains(named), "{what}: {}", answer.body);
        assert!(!answer.body.contains("canary"), "what was sent does not come back: {}", answer.body);
    }
    for path in [
        "/api/v1/nosuch",
        "/api/v1",
        "/api/v1/",
        "/api/v1/agents/agt_nosuch",
        "/api/v1/agents/%00",
        "/api/v1/agents/agt_nosuch/nosuch",
    ] {
        assert_problem(&send(&broker, &admin, "GET", path, None).await, 404, "not_found", path);
    }
    for path in [
        "/api/v1/agents/agt_nosuch/suspend",
        "/api/v1/stops/stp_nosuch/resume",
        "/api/v1/grants/gnt_x/revoke",
        "/api/v1/providers/nosuch/test",
    ] {
        assert_problem(&send(&broker, &admin, "POST", path, None).await, 404, "not_found", path);
    }
    for (method, path) in
        [("DELETE", "/api/v1/agents"), ("POST", "/api/v1/events"), ("GET", "/api/v1/providers/okta/test")]
    {
        let answer = send(&broker, &admin, method, path, None).await;
        assert_problem(&answer, 405, "method_not_allowed", path);
    }
    let stops = send(&broker, &admin, "GET", "/api/v1/stops", None).await;
    assert_eq!(stops.json()["items"], json!([]), "none of these stopped anything");
    assert_eq!(broker.agent.exchange("alice@example.com", "okta").await.error().1, "interaction_required");
    broker.stop().await;
}

#[actix_web::test]
async fn lists_are_read_page_by_page() {
    let broker = Broker::start().await;
    let admin = broker.demo.cast.admin_token.expose().clone();
    let get = |path: String| {
        let (broker, admin) = (&broker, &admin);
        async move { send(broker, admin, "GET", &path, None).await }
    };
    for (list, key, at_least) in [("agents", "id", 3), ("providers", "slug", 5), ("events", "seq", 4)] {
        let whole = get(format!("/api/v1/{list}")).await.json();
        let whole: Vec<Value> =
            whole["items"].as_array().unwrap().iter().map(|item| item[key].clone()).collect();
        assert!(whole.len() >= at_least, "{list}: {whole:?}");
        let (mut read, mut cursor) = (Vec::new(), String::new());
        for _ in 0..100 {
            let page = get(format!("/api/v1/{list}?limit=2{cursor}")).await.json();
            read.extend(page["items"].as_array().unwrap().iter().map(|item| item[key].clone()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(read, whole, "{list}: every item once, in order");
        for bad in ["limit=0", "limit=201", "limit=x", "limit=-1", "limit=1&limit=2", "limit=%ff"] {
            let answer = get(format!("/api/v1/{list}?{bad}")).await;
            assert_problem(&answer, 400, "invalid_request", bad);
        }
    }
    for bad in ["cursor=x", "agent=nobody", "user=x", "grant=x", "provider=No%20Slug"] {
        assert_problem(&get(format!("/api/v1/events?{bad}")).await, 400, "invalid_request", bad);
    }
    broker.stop().await;
}
