//! DingTalk. The provider token is the app's: it acts for whomever a call names.

use serde_json::{Value, json};
use url::Url;
use valetkey::sandbox::world::content::{BEYOND_DOCUMENT, BEYOND_TREE, BEYOND_WINDOW};

use crate::row::{Bounds, Row, Table, allowed, clipped, closed, harmless, stopped};
use crate::stage::{Stage, every_scope};
use crate::try_row;

/// Not a word of the world: marks what belongs to somebody else.
const OTHERS: &str = "OUTSIDE-PERSON";

#[rustfmt::skip]
const BOUNDS: &[Bounds] = &[
    Bounds {
        name: "tree",
        details: r#"[{"type":"valetkey_limit","api":"api","kind":"folders","items":["{folder:/Projects/2026}"]}]"#,
        words: &[BEYOND_TREE, OTHERS],
    },
    Bounds {
        name: "plan",
        details: r#"[{"type":"valetkey_limit","api":"api","kind":"documents","items":["{uuid:/Projects/2026/plan.adoc}"]}]"#,
        words: &[BEYOND_DOCUMENT, OTHERS],
    },
    Bounds {
        name: "november",
        details: r#"[{"type":"valetkey_limit","api":"api","kind":"events","from":"2026-11-01T00:00:00Z","until":"2026-12-01T00:00:00Z"}]"#,
        words: &[BEYOND_WINDOW, OTHERS],
    },
    Bounds { name: "look", details: r#"[{"type":"valetkey_limit","kind":"read_only"}]"#, words: &[OTHERS, "bob@example.com"] },
];

pub fn table() -> Table {
    let rows = [drive(), changes(), knowledge(), calendar(), others()].concat();
    Table { provider: "dingtalk", api: "dingtalk/api", scopes: every_scope("dingtalk"), bounds: BOUNDS, rows }
}

#[rustfmt::skip] // A table reads by its lines.
fn drive() -> Vec<Row> {
    vec![
        allowed("tree", "GET /v1.0/storage/spaces/{space:alice}/dentries?unionId={union:alice}&parentId={dentry:/Projects/2026}"),
        allowed("tree", "POST /v1.0/storage/spaces/{space:alice}/dentries/{dentry:/Projects/2026/Alpha/minutes.adoc}/query?unionId={union:alice}").body("{}"),
        allowed("tree", "GET /v1.0/storage/spaces/{space:alice}/dentries/{dentry:/Projects/2026/budget.axls}/versions?unionId={union:alice}"),
        stopped("tree", "other folder", "GET /v1.0/storage/spaces/{space:alice}/dentries?unionId={union:alice}&parentId={dentry:/Private}"),
        stopped("tree", "other folder", "GET /v1.0/storage/spaces/{space:alice}/dentries?unionId={union:alice}&parentId=0"),
        stopped("tree", "other folder", "GET /v1.0/storage/spaces/{space:alice}/dentries?unionId={union:alice}"),
        stopped("tree", "said twice", "GET /v1.0/storage/spaces/{space:alice}/dentries?unionId={union:alice}&parentId={dentry:/Projects/2026}&parentId={dentry:/Private}").undocumented(),
        stopped("tree", "other folder", "POST /v1.0/storage/spaces/{space:alice}/dentries/{dentry:/Private/diary.txt}/query?unionId={union:alice}").body("{}"),
        stopped("tree", "other folder", "GET /v1.0/storage/spaces/{space:alice}/dentries/{dentry:/Private/diary.txt}/versions?unionId={union:alice}"),
        stopped("tree", "batch", "POST /v1.0/storage/spaces/{space:alice}/dentries/query?unionId={union:alice}")
            .body(r#"{"dentryIds":["{dentry:/Projects/2026/budget.axls}","{dentry:/Private/diary.txt}"]}"#),
        clipped("tree", "other folder", "POST /v1.0/storage/spaces/{space:alice}/dentries/listAll?unionId={union:alice}").body("{}"),
        stopped("tree", "download URL", "POST /v1.0/storage/spaces/{space:alice}/dentries/{dentry:/Private/diary.txt}/downloadInfos/query?unionId={union:alice}").body("{}"),
        stopped("plan", "download URL", "POST /v1.0/storage/spaces/{space:alice}/dentries/{dentry:/Private/tax-return.txt}/downloadInfos/query?unionId={union:alice}").body("{}"),
        stopped("tree", "search", "POST /v2.0/storage/dentries/search?operatorId={union:alice}").body(r#"{"keyword":"diary"}"#),
        stopped("plan", "search", "POST /v2.0/storage/dentries/search?operatorId={union:alice}").body(r#"{"keyword":"minutes"}"#),
        stopped("tree", "other folder", "POST /v2.0/storage/spaces/dentries/{uuid:/Private/diary.txt}/permissions/query?unionId={union:alice}").body("{}"),
        closed("tree", "upload session", "POST /v2.0/storage/spaces/files/{uuid:/Private}/uploadInfos/query?unionId={union:alice}").body("{}").acting(),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn changes() -> Vec<Row> {
    vec![
        allowed("tree", "POST /v1.0/storage/spaces/{space:alice}/dentries/{dentry:/Projects/2026}/folders?unionId={union:alice}").body(r#"{"name":"New"}"#),
        stopped("tree", "other folder", "POST /v1.0/storage/spaces/{space:alice}/dentries/{dentry:/Private}/folders?unionId={union:alice}").body(r#"{"name":"New"}"#),
        stopped("tree", "move and copy", "POST /v1.0/storage/spaces/{space:alice}/dentries/{dentry:/Private/diary.txt}/copy?unionId={union:alice}")
            .body(r#"{"targetSpaceId":"{space:alice}","targetFolderId":"{dentry:/Projects/2026}"}"#),
        stopped("tree", "move and copy", "POST /v1.0/storage/spaces/{space:alice}/dentries/{dentry:/Private/diary.txt}/move?unionId={union:alice}")
            .body(r#"{"targetSpaceId":"{space:alice}","targetFolderId":"{dentry:/Projects/2026}"}"#),
        stopped("tree", "move and copy", "POST /v1.0/storage/spaces/{space:alice}/dentries/{dentry:/Projects/2026/budget.axls}/move?unionId={union:alice}")
            .body(r#"{"targetSpaceId":"{space:alice}","targetFolderId":"{dentry:/Private}"}"#),
        stopped("tree", "other folder", "POST /v1.0/storage/spaces/{space:alice}/dentries/{dentry:/Private/diary.txt}/rename?unionId={union:alice}").body(r#"{"newName":"x"}"#),
        stopped("tree", "other folder", "DELETE /v1.0/storage/spaces/{space:alice}/dentries/{dentry:/Private/diary.txt}?unionId={union:alice}"),
        stopped("tree", "share link", "POST /v2.0/storage/spaces/dentries/{uuid:/Private/diary.txt}/permissions?unionId={union:alice}")
            .body(r#"{"roleId":"READER","members":[{"type":"USER","id":"{union:bob}"}]}"#),
        stopped("look", "write", "DELETE /v1.0/storage/spaces/{space:alice}/dentries/{dentry:/Private/diary.txt}?unionId={union:alice}"),
        stopped("look", "write", "POST /v1.0/todo/users/{union:alice}/tasks?operatorId={union:alice}").body(r#"{"subject":"x"}"#),
        allowed("look", "POST /v1.0/todo/users/{union:alice}/org/tasks/query").body("{}"),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn knowledge() -> Vec<Row> {
    vec![
        allowed("plan", "GET /v1.0/doc/suites/documents/{uuid:/Projects/2026/plan.adoc}/blocks?operatorId={union:alice}"),
        stopped("plan", "other document", "GET /v1.0/doc/suites/documents/{uuid:/Projects/2026/Alpha/minutes.adoc}/blocks?operatorId={union:alice}"),
        stopped("plan", "other document", "GET /v1.0/doc/suites/documents/{uuid:/Private/notes.adoc}/blocks?operatorId={union:alice}"),
        stopped("tree", "other folder", "GET /v1.0/doc/suites/documents/{uuid:/Private/notes.adoc}/blocks?operatorId={union:alice}"),
        stopped("tree", "other folder", "GET /v2.0/wiki/nodes?operatorId={union:alice}&parentNodeId={uuid:/Private}"),
        stopped("tree", "other folder", "GET /v2.0/wiki/nodes/{uuid:/Private/notes.adoc}?operatorId={union:alice}"),
        stopped("tree", "share link", "POST /v2.0/wiki/nodes/queryByUrl?operatorId={union:alice}")
            .body(r#"{"url":"https://alidocs.dingtalk.com/i/nodes/{uuid:/Private/notes.adoc}"}"#),
        stopped("tree", "batch", "POST /v2.0/wiki/nodes/batchQuery?operatorId={union:alice}")
            .body(r#"{"nodeIds":["{uuid:/Projects/2026/plan.adoc}","{uuid:/Private/notes.adoc}"]}"#),
        stopped("tree", "other folder", "GET /v1.0/doc/workbooks/{uuid:/Private/wages.axls}/sheets/Sheet1/ranges/A1:B9?operatorId={union:alice}"),
        stopped("plan", "other document", "GET /v1.0/doc/workbooks/{uuid:/Private/wages.axls}/sheets/Sheet1/ranges/A1:B9?operatorId={union:alice}"),
        stopped("tree", "other folder", "POST /v1.0/doc/suites/documents/{uuid:/Private/notes.adoc}/overwriteContent?operatorId={union:alice}").body(r#"{"content":"x"}"#),
        stopped("tree", "other folder", "PUT /v1.0/doc/workbooks/{uuid:/Private/wages.axls}/sheets/Sheet1/ranges/A1:A1?operatorId={union:alice}").body(r#"{"values":[["x"]]}"#),
        stopped("tree", "alias", "GET /v2.0/doc/dentries/{uuid:/Private/notes.adoc}/queryDentryId?operatorId={union:alice}"),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn calendar() -> Vec<Row> {
    vec![
        allowed("november", "GET /v1.0/calendar/users/{union:alice}/calendars/primary/events?timeMin=2026-11-10T00:00:00Z&timeMax=2026-11-20T00:00:00Z"),
        allowed("november", "GET /v1.0/calendar/users/{union:alice}/calendars/primary/events/{event:Customer visit}"),
        stopped("november", "other window", "GET /v1.0/calendar/users/{union:alice}/calendars/primary/events/{event:Offsite}"),
        clipped("november", "other window", "GET /v1.0/calendar/users/{union:alice}/calendars/primary/events"),
        clipped("november", "other window", "GET /v1.0/calendar/users/{union:alice}/calendars/primary/events?timeMin=2026-01-01T00:00:00Z&timeMax=2026-12-31T00:00:00Z"),
        clipped("november", "other window", "GET /v1.0/calendar/users/{union:alice}/calendars/primary/eventsview?timeMin=2026-01-01T00:00:00Z&timeMax=2026-12-31T00:00:00Z"),
        stopped("november", "other window", "DELETE /v1.0/calendar/users/{union:alice}/calendars/primary/events/{event:Offsite}"),
        stopped("november", "other window", "PUT /v1.0/calendar/users/{union:alice}/calendars/primary/events/{event:Offsite}").body(r#"{"summary":"x"}"#),
        stopped("november", "other window", "POST /v1.0/calendar/users/{union:alice}/calendars/primary/events")
            .body(r#"{"summary":"x","start":{"dateTime":"2026-08-01T09:00:00Z"},"end":{"dateTime":"2026-08-01T10:00:00Z"}}"#),
        stopped("november", "other window", "PUT /v1.0/calendar/users/{union:alice}/calendars/primary/events/{event:Customer visit}")
            .body(r#"{"start":{"dateTime":"2026-08-01T09:00:00Z"},"end":{"dateTime":"2026-08-01T10:00:00Z"}}"#),
        stopped("november", "invite", "POST /v1.0/calendar/users/{union:alice}/calendars/primary/events/{event:Offsite}/attendees")
            .body(r#"{"attendeesToAdd":[{"id":"{union:bob}"}]}"#),
        closed("november", "other calendar", "GET /v1.0/calendar/users/{union:alice}/calendars/{calendar:Family}/events"),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn others() -> Vec<Row> {
    vec![
        stopped("november", "impersonation", "GET /v1.0/calendar/users/{union:bob}/calendars/primary/events?timeMin=2026-11-10T00:00:00Z&timeMax=2026-11-20T00:00:00Z"),
        stopped("november", "impersonation", "POST /v1.0/calendar/users/{union:bob}/calendars/primary/events")
            .body(r#"{"summary":"x","start":{"dateTime":"2026-11-27T09:00:00Z"},"end":{"dateTime":"2026-11-27T10:00:00Z"}}"#),
        stopped("look", "impersonation", "POST /v1.0/todo/users/{union:bob}/org/tasks/query").body("{}"),
        harmless("look", "impersonation", "GET /v1.0/storage/spaces/{space:bob}/dentries?unionId={union:bob}&parentId=0"),
        harmless("look", "impersonation", "POST /v1.0/storage/spaces/{space:bob}/dentries/{bob:/Private/diary.txt}/query?unionId={union:bob}").body("{}"),
        harmless("look", "impersonation", "GET /v2.0/wiki/nodes/{bobs:/Private/notes.adoc}?operatorId={union:bob}"),
        harmless("look", "impersonation", "GET /v1.0/doc/suites/documents/{bobs:/Private/notes.adoc}/blocks?operatorId={union:bob}"),
        harmless("look", "impersonation", "GET /v2.0/wiki/mineWorkspaces?operatorId={union:bob}&OPERATORID={union:bob}"),
        stopped("tree", "impersonation", "GET /v1.0/doc/suites/documents/{bobs:/Private/notes.adoc}/blocks?operatorId={union:bob}"),
    ]
}

/// The old API, with the app's token.
async fn old_api(stage: &Stage, path: &str, body: Value) -> Value {
    let url = format!("{}/dingtalk/oapi{path}?access_token={}", stage.app.demo.sandbox.url, stage.raw);
    let headers = [("Content-Type", "application/json")];
    let url = Url::parse(&url).unwrap();
    let answer = stage.app.traffic.send("POST", &url, &headers, body.to_string().as_bytes()).await;
    answer.json()["result"].clone()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// Learns what there is, as anybody with the app's token would.
pub async fn learn(stage: &mut Stage) {
    let people = old_api(stage, "/topapi/user/listid", json!({"dept_id": 1})).await;
    for id in people["userid_list"].as_array().unwrap().clone() {
        let person = old_api(stage, "/topapi/v2/user/get", json!({"userid": id})).await;
        let (email, union) = (text(&person, "email"), text(&person, "unionid"));
        let name = email.split('@').next().unwrap().to_owned();
        stage.know(format!("union:{name}"), &union, &[]);
        learn_drive(stage, &name, &union).await;
    }
    let bob = stage.filled("{union:bob}");
    let path = format!("GET /v1.0/calendar/users/{bob}/calendars/primary/events");
    for event in stage.raw_json(&path, &Value::Null).await["events"].as_array().unwrap().clone() {
        stage.know(format!("bobs event:{}", text(&event, "id")), &text(&event, "id"), &[OTHERS]);
    }
    let path = format!("POST /v1.0/todo/users/{bob}/org/tasks/query");
    for todo in stage.raw_json(&path, &json!({})).await["todoCards"].as_array().unwrap().clone() {
        stage.know(format!("bobs todo:{}", text(&todo, "taskId")), &text(&todo, "taskId"), &[OTHERS]);
    }
    let union = stage.filled("{union:alice}");
    let path = format!("GET /v1.0/calendar/users/{union}/calendars/primary/events");
    for event in stage.raw_json(&path, &Value::Null).await["events"].as_array().unwrap().clone() {
        let name = format!("event:{}", text(&event, "summary"));
        stage.know_by_text(name, &text(&event, "id"), &event, &[BEYOND_WINDOW]);
    }
    let path = format!("GET /v1.0/calendar/users/{union}/calendars");
    let calendars = stage.raw_json(&path, &Value::Null).await["response"]["calendars"].clone();
    for calendar in calendars.as_array().unwrap() {
        stage.know(format!("calendar:{}", text(calendar, "summary")), &text(calendar, "id"), &[]);
    }
}

async fn learn_drive(stage: &mut Stage, name: &str, union: &str) {
    let path = format!("GET /v2.0/wiki/mineWorkspaces?operatorId={union}");
    let root = text(&stage.raw_json(&path, &Value::Null).await["workspace"], "rootNodeId");
    let path = format!("GET /v2.0/doc/dentries/{root}/queryDentryId?operatorId={union}");
    let space = text(&stage.raw_json(&path, &Value::Null).await, "spaceId");
    let mine = name == "alice";
    stage.know(format!("root:{name}"), &root, if mine { &[] } else { &[OTHERS] });
    stage.know(format!("space:{name}"), &space, if mine { &[] } else { &[OTHERS] });
    let path = format!("POST /v1.0/storage/spaces/{space}/dentries/listAll?unionId={union}");
    for dentry in stage.raw_json(&path, &json!({})).await["dentries"].as_array().unwrap().clone() {
        let path = text(&dentry, "path");
        let beyond: &[&'static str] = match path.as_str() {
            _ if !mine => &[OTHERS, BEYOND_TREE, BEYOND_DOCUMENT],
            "/Projects" | "/Projects/2026" | "/Projects/2026/plan.adoc" => &[],
            // A pointer to what lies outside.
            "/Projects/2026/diary.txt" => &[],
            _ if path.starts_with("/Projects/2026") => &[BEYOND_DOCUMENT],
            _ => &[BEYOND_TREE, BEYOND_DOCUMENT],
        };
        let (dentry_name, uuid_name) = if mine { ("dentry", "uuid") } else { ("bob", "bobs") };
        let id = text(&dentry, "id");
        stage.know(format!("{dentry_name}:{path}"), &id, beyond);
        stage.know(format!("{uuid_name}:{path}"), &text(&dentry, "uuid"), beyond);
        if mine {
            stage.know(format!("folder:{path}"), &format!("{space}/{id}"), &[]);
        }
    }
}

#[actix_web::test]
async fn nothing_gets_out_of_a_limit_at_dingtalk() {
    let table = table();
    let mut stage = Stage::of(&table).await;
    learn(&mut stage).await;
    let outcomes = try_row::all(&table, &mut stage).await;
    assert!(outcomes.len() >= 40);
    stage.app.stops().await;
    try_row::hold(&outcomes);
}
