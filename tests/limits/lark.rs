//! Lark / Feishu.

use serde_json::{Value, json};
use valetkey::sandbox::world::content::{
    BEYOND_CALENDAR, BEYOND_CHAT, BEYOND_DATE, BEYOND_DOCUMENT, BEYOND_FOLDER, BEYOND_TREE, BEYOND_WINDOW,
};

use crate::row::{Bounds, Row, Table, allowed, clipped, closed, stopped};
use crate::stage::{Stage, every_scope};
use crate::try_row;

#[rustfmt::skip]
const BOUNDS: &[Bounds] = &[
    Bounds {
        name: "tree",
        details: r#"[{"type":"valetkey_limit","api":"open","kind":"folders","items":["{file:Projects/2026}"]}]"#,
        words: &[BEYOND_TREE],
    },
    Bounds {
        name: "plan",
        details: r#"[{"type":"valetkey_limit","api":"open","kind":"documents","items":["{file:Projects/2026/plan}"]}]"#,
        words: &[BEYOND_DOCUMENT],
    },
    Bounds {
        name: "inbox",
        details: r#"[{"type":"valetkey_limit","api":"open","kind":"mail_folders","items":["INBOX"]}]"#,
        words: &[BEYOND_FOLDER],
    },
    Bounds {
        name: "autumn",
        details: r#"[{"type":"valetkey_limit","api":"open","kind":"mail_dates","from":"2026-10-01T00:00:00Z"}]"#,
        words: &[BEYOND_DATE],
    },
    Bounds {
        name: "company",
        details: r#"[{"type":"valetkey_limit","api":"open","kind":"recipients","domains":["example.com"]}]"#,
        words: &[],
    },
    Bounds {
        name: "work",
        details: r#"[{"type":"valetkey_limit","api":"open","kind":"calendars","items":["{calendar:Work}"]}]"#,
        words: &[BEYOND_CALENDAR],
    },
    Bounds {
        name: "november",
        details: r#"[{"type":"valetkey_limit","api":"open","kind":"events","from":"2026-11-01T00:00:00Z","until":"2026-12-01T00:00:00Z"}]"#,
        words: &[BEYOND_WINDOW],
    },
    Bounds {
        name: "alpha",
        details: r#"[{"type":"valetkey_limit","api":"open","kind":"chats","items":["{chat:Project Alpha}"]}]"#,
        words: &[BEYOND_CHAT],
    },
    Bounds { name: "look", details: r#"[{"type":"valetkey_limit","kind":"read_only"}]"#, words: &[] },
];

pub fn table() -> Table {
    let rows = [documents(), drive(), writing(), mail(), calendars(), chats()].concat();
    Table { provider: "lark", api: "lark/open", scopes: every_scope("lark"), bounds: BOUNDS, rows }
}

#[rustfmt::skip] // A table reads by its lines.
fn documents() -> Vec<Row> {
    vec![
        allowed("tree", "GET /open-apis/docx/v1/documents/{file:Projects/2026/plan}/raw_content"),
        allowed("tree", "GET /open-apis/docx/v1/documents/{file:Projects/2026/Alpha/Design/sketch}/blocks"),
        allowed("plan", "GET /open-apis/docx/v1/documents/{file:Projects/2026/plan}"),
        allowed("plan", "GET /open-apis/docs/v1/content?doc_token={file:Projects/2026/plan}&doc_type=docx&content_type=markdown"),
        stopped("tree", "other folder", "GET /open-apis/docx/v1/documents/{file:Private/notes}/raw_content"),
        stopped("tree", "other folder", "GET /open-apis/docx/v1/documents/{file:Projects/2025/report}/blocks"),
        stopped("tree", "other folder", "GET /open-apis/docx/v1/documents/{file:Private/notes}"),
        stopped("tree", "other folder", "GET /open-apis/docs/v1/content?doc_token={file:Private/notes}&doc_type=docx&content_type=markdown"),
        stopped("tree", "other folder", "GET /open-apis/docx/v1/documents/{wiki:Expenses}/raw_content"),
        stopped("plan", "other document", "GET /open-apis/docx/v1/documents/{file:Projects/2026/Alpha/minutes}/raw_content"),
        stopped("plan", "other document", "GET /open-apis/docs/v1/content?doc_token={file:Projects/2026/Alpha/minutes}&doc_type=docx&content_type=markdown"),
        stopped("plan", "other document", "GET /open-apis/docx/v1/documents/{wiki:Expenses}/blocks"),
        stopped("tree", "export", "POST /open-apis/drive/v1/export_tasks")
            .body(r#"{"file_extension":"pdf","token":"{file:Private/notes}","type":"docx"}"#),
        stopped("tree", "export", "GET /open-apis/drive/v1/export_tasks/file/{export:Private/notes}/download"),
        stopped("plan", "export", "GET /open-apis/drive/v1/export_tasks/{ticket:Private/notes}?token={file:Private/notes}"),
        stopped("tree", "other folder", "GET /open-apis/bitable/v1/apps/{file:Private/Payroll}/tables"),
        stopped("tree", "other folder", "POST /open-apis/bitable/v1/apps/{file:Private/Payroll}/tables/{table:Payroll}/records/search").body("{}"),
        stopped("tree", "wiki", "GET /open-apis/wiki/v2/spaces/get_node?token={node:Expenses}"),
        stopped("tree", "wiki", "GET /open-apis/wiki/v2/spaces/{space:wiki}/nodes?parent_node_token={node:Company handbook}"),
        stopped("tree", "search", "POST /open-apis/search/v2/doc_wiki/search").body(r#"{"query":"OUTSIDE"}"#),
        stopped("tree", "search", "POST /open-apis/search/v2/doc_wiki/search")
            .body(r#"{"query":"OUTSIDE","doc_filter":{"folder_tokens":["{file:Projects/2026}","{file:Private}"]}}"#),
        stopped("tree", "search", "POST /open-apis/suite/docs-api/search/object").body(r#"{"search_key":"notes"}"#),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn drive() -> Vec<Row> {
    vec![
        allowed("tree", "GET /open-apis/drive/v1/files?folder_token={file:Projects/2026}"),
        allowed("tree", "GET /open-apis/drive/v1/files?folder_token={file:Projects/2026/Alpha}"),
        allowed("tree", "GET /open-apis/drive/v1/files/{file:Projects/2026/budget}/statistics"),
        stopped("tree", "other folder", "GET /open-apis/drive/v1/files?folder_token={file:Private}"),
        stopped("tree", "other folder", "GET /open-apis/drive/v1/files"),
        stopped("tree", "other folder", "GET /open-apis/drive/v1/files?folder_token="),
        stopped("tree", "other folder", "GET /open-apis/drive/v1/files?folder_token={file:Projects}"),
        stopped("tree", "other folder", "GET /open-apis/drive/v1/files/{file:Private/diary.txt}/download"),
        stopped("tree", "other folder", "GET /open-apis/drive/v1/files/{file:Private/diary.txt}/statistics"),
        stopped("tree", "other folder", "GET /open-apis/drive/explorer/v2/folder/{file:Private}/meta"),
        stopped("tree", "batch", "POST /open-apis/drive/v1/metas/batch_query").body(
            r#"{"request_docs":[{"doc_token":"{file:Projects/2026/plan}","doc_type":"docx"},{"doc_token":"{file:Private/notes}","doc_type":"docx"}],"with_url":true}"#,
        ),
        stopped("tree", "shortcut", "GET /open-apis/drive/v1/files/{target:diary.txt}/download"),
        stopped("tree", "other folder", "GET /open-apis/sheets/v3/spreadsheets/{file:Private/wages}"),
        stopped("plan", "other document", "GET /open-apis/sheets/v3/spreadsheets/{file:Projects/2026/budget}"),
        stopped("tree", "attachment", "GET /open-apis/drive/v1/medias/{media:Private/notes}/download"),
        closed("tree", "download URL", "GET /open-apis/drive/v1/medias/batch_get_tmp_download_url?file_tokens={media:Private/notes}"),
        stopped("tree", "other folder", "GET /open-apis/drive/v1/files/{file:Private/notes}/comments"),
        closed("tree", "write under a read scope", "POST /open-apis/drive/v1/files/{file:Private/notes}/comments?file_type=docx")
            .body(r#"{"reply_list":{"replies":[]}}"#),
        closed("tree", "subscription", "POST /open-apis/drive/v1/files/{file:Private/notes}/subscriptions")
            .body(r#"{"subscription_type":"comment_update"}"#),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn writing() -> Vec<Row> {
    vec![
        allowed("tree", "POST /open-apis/docx/v1/documents").body(r#"{"title":"New","folder_token":"{file:Projects/2026}"}"#),
        stopped("tree", "other folder", "POST /open-apis/docx/v1/documents").body(r#"{"title":"New","folder_token":"{file:Private}"}"#),
        stopped("tree", "other folder", "POST /open-apis/docx/v1/documents").body(r#"{"title":"New"}"#),
        stopped("tree", "other folder", "POST /open-apis/docx/v1/documents/{file:Private/notes}/blocks/{file:Private/notes}/children")
            .body(r#"{"children":[{"block_type":2,"text":{"elements":[{"text_run":{"content":"x"}}]}}]}"#),
        stopped("tree", "other folder", "POST /open-apis/drive/v1/files/create_folder").body(r#"{"name":"New","folder_token":"{file:Private}"}"#),
        closed("plan", "share link", "PATCH /open-apis/drive/v2/permissions/{file:Projects/2026/plan}/public?type=docx")
            .body(r#"{"link_share_entity":"anyone_readable"}"#),
        stopped("look", "write", "POST /open-apis/docx/v1/documents").body(r#"{"title":"New"}"#),
        stopped("look", "write", "POST /open-apis/mail/v1/user_mailboxes/me/messages/send")
            .body(r#"{"subject":"x","to":[{"mail_address":"bob@example.com"}],"body_plain_text":"eA"}"#),
        allowed("look", "GET /open-apis/calendar/v4/calendars"),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn mail() -> Vec<Row> {
    vec![
        allowed("inbox", "GET /open-apis/mail/v1/user_mailboxes/me/messages?page_size=20&folder_id=INBOX"),
        allowed("inbox", "GET /open-apis/mail/v1/user_mailboxes/me/messages/{mail:Your recovery codes}"),
        allowed("autumn", "GET /open-apis/mail/v1/user_mailboxes/me/messages/{mail:Agenda for Friday}"),
        stopped("inbox", "other folder", "GET /open-apis/mail/v1/user_mailboxes/me/messages/{mail:Booking confirmed}"),
        stopped("inbox", "other folder", "GET /open-apis/mail/v1/user_mailboxes/me/messages?page_size=20&folder_id=ARCHIVED"),
        stopped("inbox", "other folder", "GET /open-apis/mail/v1/user_mailboxes/me/messages?page_size=20"),
        stopped("inbox", "other folder", "GET /open-apis/mail/v1/user_mailboxes/me/threads/{thread:Booking confirmed}"),
        stopped("inbox", "other folder", "GET /open-apis/mail/v1/user_mailboxes/me/drafts?page_size=20"),
        clipped("inbox", "batch", "POST /open-apis/mail/v1/user_mailboxes/me/messages/batch_get")
            .body(r#"{"message_ids":["{mail:Agenda for Friday}","{mail:Booking confirmed}"]}"#),
        stopped("inbox", "move and copy", "PUT /open-apis/mail/v1/user_mailboxes/me/messages/{mail:Booking confirmed}/modify")
            .body(r#"{"add_folder":"INBOX"}"#),
        stopped("inbox", "move and copy", "POST /open-apis/mail/v1/user_mailboxes/me/messages/batch_modify")
            .body(r#"{"message_ids":["{mail:Booking confirmed}"],"add_folder":"INBOX"}"#)
            .acting(),
        stopped("autumn", "other date", "GET /open-apis/mail/v1/user_mailboxes/me/messages/{mail:Your recovery codes}"),
        stopped("autumn", "other date", "GET /open-apis/mail/v1/user_mailboxes/me/threads/{thread:Your recovery codes}"),
        stopped("autumn", "other date", "POST /open-apis/mail/v1/user_mailboxes/me/messages/{mail:Your recovery codes}/trash").body("{}"),
        clipped("autumn", "batch", "POST /open-apis/mail/v1/user_mailboxes/me/messages/batch_get")
            .body(r#"{"message_ids":["{mail:Agenda for Friday}","{mail:Your recovery codes}"]}"#),
        closed("inbox", "alias", "GET /open-apis/mail/v1/user_mailboxes/alice@example.com/messages/{mail:Booking confirmed}"),
        stopped("company", "other recipient", "POST /open-apis/mail/v1/user_mailboxes/me/messages/send")
            .body(r#"{"subject":"x","to":[{"mail_address":"mallory@elsewhere.example"}],"body_plain_text":"eA"}"#),
        stopped("company", "other recipient", "POST /open-apis/mail/v1/user_mailboxes/me/messages/send")
            .body(r#"{"raw":"VG86IG1hbGxvcnlAZWxzZXdoZXJlLmV4YW1wbGUNClN1YmplY3Q6IHgNCg0KaGVsbG8"}"#),
        stopped("company", "other recipient", "POST /open-apis/mail/v1/user_mailboxes/me/drafts/{mail:Thoughts on pricing}/send").body("{}"),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn calendars() -> Vec<Row> {
    vec![
        allowed("work", "GET /open-apis/calendar/v4/calendars/{calendar:Work}/events"),
        allowed("november", "GET /open-apis/calendar/v4/calendars/{calendar:Work}/events/{event:Stand-up@2026-11-24}"),
        stopped("work", "other calendar", "GET /open-apis/calendar/v4/calendars/{calendar:Family}/events"),
        stopped("work", "other calendar", "GET /open-apis/calendar/v4/calendars/primary/events"),
        stopped("work", "other calendar", "GET /open-apis/calendar/v4/calendars/{calendar:Family}/events/{event:Dentist@2026-11-24}"),
        stopped("work", "search", "POST /open-apis/calendar/v4/calendars/{calendar:Family}/events/search").body(r#"{"query":"dentist"}"#),
        stopped("work", "other calendar", "GET /open-apis/calendar/v4/calendars/{calendar:Family}/events/instance_view?start_time=1795500000&end_time=1798000000"),
        clipped("work", "other calendar", "GET /open-apis/calendar/v4/calendars"),
        stopped("work", "batch", "POST /open-apis/calendar/v4/calendars/mget").body(r#"{"calendar_ids":["{calendar:Work}","{calendar:Family}"]}"#),
        stopped("november", "other window", "GET /open-apis/calendar/v4/calendars/{calendar:Work}/events/{event:Retrospective@2026-09-03}"),
        clipped("november", "other window", "GET /open-apis/calendar/v4/calendars/primary/events"),
        clipped("november", "other window", "GET /open-apis/calendar/v4/calendars/primary/events?start_time=1760000000&end_time=1800000000"),
        clipped("november", "search", "POST /open-apis/calendar/v4/calendars/primary/events/search").body(r#"{"query":"a"}"#),
        stopped("november", "other window", "POST /open-apis/calendar/v4/calendars/primary/events")
            .body(r#"{"summary":"x","start_time":{"timestamp":"1785600000"},"end_time":{"timestamp":"1785603600"}}"#),
        stopped("november", "other window", "DELETE /open-apis/calendar/v4/calendars/{calendar:Work}/events/{event:Retrospective@2026-09-03}"),
        closed("work", "subscription", "POST /open-apis/calendar/v4/calendars/{calendar:Family}/events/subscription").body("{}"),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn chats() -> Vec<Row> {
    vec![
        allowed("alpha", "GET /open-apis/im/v1/messages?container_id_type=chat&container_id={chat:Project Alpha}"),
        allowed("alpha", "POST /open-apis/im/v1/messages?receive_id_type=chat_id")
            .body(r#"{"receive_id":"{chat:Project Alpha}","msg_type":"text","content":"{\"text\":\"hello\"}"}"#),
        stopped("alpha", "other chat", "GET /open-apis/im/v1/messages?container_id_type=chat&container_id={chat:Product only}"),
        clipped("alpha", "other chat", "GET /open-apis/im/v1/messages/{message:Product only}"),
        stopped("alpha", "other chat", "POST /open-apis/im/v1/messages?receive_id_type=chat_id")
            .body(r#"{"receive_id":"{chat:Product only}","msg_type":"text","content":"{\"text\":\"hello\"}"}"#),
        stopped("alpha", "other recipient", "POST /open-apis/im/v1/messages?receive_id_type=email")
            .body(r#"{"receive_id":"bob@example.com","msg_type":"text","content":"{\"text\":\"hello\"}"}"#),
        stopped("alpha", "other chat", "POST /open-apis/im/v1/messages/{message:Product only}/reply")
            .body(r#"{"msg_type":"text","content":"{\"text\":\"hello\"}"}"#),
        stopped("alpha", "other chat", "GET /open-apis/im/v1/chats/{chat:Product only}"),
        clipped("alpha", "other chat", "GET /open-apis/im/v1/chats"),
        clipped("alpha", "search", "GET /open-apis/im/v1/chats/search?query=product"),
        stopped("alpha", "search", "POST /open-apis/search/v2/message").body(r#"{"query":"product"}"#),
        closed("alpha", "share link", "POST /open-apis/im/v1/chats/{chat:Product only}/link").body("{}"),
    ]
}

async fn data(stage: &Stage, call: &str, body: &Value) -> Value {
    let answer = stage.raw_json(call, body).await;
    assert_eq!(answer["code"], 0, "{call}: {answer}");
    answer["data"].clone()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// Learns what there is, as anybody with the provider token would.
pub async fn learn(stage: &mut Stage) {
    learn_drive(stage).await;
    let none = &Value::Null;
    let calendars = data(stage, "GET /open-apis/calendar/v4/calendars", none).await;
    for calendar in calendars["calendar_list"].as_array().unwrap() {
        let (name, id) = (text(calendar, "summary"), text(calendar, "calendar_id"));
        stage.know(format!("calendar:{name}"), &id, if name == "Work" { &[] } else { &[BEYOND_CALENDAR] });
        let events = data(stage, &format!("GET /open-apis/calendar/v4/calendars/{id}/events"), none).await;
        for event in events["items"].as_array().unwrap() {
            let start: i64 = event["start_time"]["timestamp"].as_str().unwrap().parse().unwrap();
            let day = valetkey::sandbox::world::iso(start)[..10].to_owned();
            let words = &[BEYOND_CALENDAR, BEYOND_WINDOW];
            stage.know_by_text(
                format!("event:{}@{day}", text(event, "summary")),
                &text(event, "event_id"),
                event,
                words,
            );
        }
    }
    let mut page = String::new();
    loop {
        let path =
            format!("GET /open-apis/mail/v1/user_mailboxes/me/messages?page_size=20&page_token={page}");
        let listed = data(stage, &path, none).await;
        for id in listed["items"].as_array().unwrap().iter().filter_map(Value::as_str) {
            let path = format!("GET /open-apis/mail/v1/user_mailboxes/me/messages/{id}");
            let mail = data(stage, &path, none).await["message"].clone();
            let body =
                valetkey::kernel::encode::from_base64url(mail["body_plain_text"].as_str().unwrap()).unwrap();
            let body = Value::from(String::from_utf8(body).unwrap());
            let words = &[BEYOND_FOLDER, BEYOND_DATE];
            stage.know_by_text(format!("mail:{}", text(&mail, "subject")), id, &body, words);
            stage.know_by_text(
                format!("thread:{}", text(&mail, "subject")),
                &text(&mail, "thread_id"),
                &body,
                words,
            );
        }
        page = text(&listed, "page_token");
        if page.is_empty() {
            break;
        }
    }
    let chats = data(stage, "GET /open-apis/im/v1/chats", none).await;
    for chat in chats["items"].as_array().unwrap() {
        let (name, id) = (text(chat, "name"), text(chat, "chat_id"));
        let beyond: &[&'static str] = if name == "Project Alpha" { &[] } else { &[BEYOND_CHAT] };
        stage.know(format!("chat:{name}"), &id, beyond);
        stage.know(format!("named:{name}"), &name, beyond);
        let path = format!("GET /open-apis/im/v1/messages?container_id_type=chat&container_id={id}");
        let messages = data(stage, &path, none).await;
        stage.know(format!("message:{name}"), &text(&messages["items"][0], "message_id"), beyond);
    }
}

async fn learn_drive(stage: &mut Stage) {
    let none = &Value::Null;
    let mut open = vec![(String::new(), String::new())];
    while let Some((above, token)) = open.pop() {
        let listed = data(stage, &format!("GET /open-apis/drive/v1/files?folder_token={token}"), none).await;
        for file in listed["files"].as_array().unwrap() {
            let path = format!("{above}{}", text(file, "name"));
            let inside = path.starts_with("Projects/2026");
            let kind = text(file, "type");
            let beyond: &[&'static str] = match path.as_str() {
                "Projects" | "Projects/2026" | "Projects/2026/plan" => &[],
                _ if kind == "shortcut" => &[BEYOND_TREE, BEYOND_DOCUMENT],
                _ if inside => &[BEYOND_DOCUMENT],
                _ => &[BEYOND_TREE, BEYOND_DOCUMENT],
            };
            stage.know(format!("file:{path}"), &text(file, "token"), beyond);
            match kind.as_str() {
                "folder" => open.push((format!("{path}/"), text(file, "token"))),
                "shortcut" => {
                    let target = text(&file["shortcut_info"], "target_token");
                    stage.know(
                        format!("target:{}", text(file, "name")),
                        &target,
                        &[BEYOND_TREE, BEYOND_DOCUMENT],
                    );
                }
                _ => {}
            }
        }
    }
    let spaces = data(stage, "GET /open-apis/wiki/v2/spaces", none).await;
    let space = text(&spaces["items"][0], "space_id");
    stage.know("space:wiki", &space, &[]);
    let mut open = vec![String::new()];
    while let Some(parent) = open.pop() {
        let path = format!("GET /open-apis/wiki/v2/spaces/{space}/nodes?parent_node_token={parent}");
        for node in data(stage, &path, none).await["items"].as_array().unwrap() {
            let beyond = &[BEYOND_TREE, BEYOND_DOCUMENT];
            stage.know(format!("node:{}", text(node, "title")), &text(node, "node_token"), beyond);
            stage.know(format!("wiki:{}", text(node, "title")), &text(node, "obj_token"), beyond);
            open.push(text(node, "node_token"));
        }
    }
    let path = stage.filled("GET /open-apis/docx/v1/documents/{file:Private/notes}/blocks");
    let blocks = data(stage, &path, none).await;
    let picture = blocks["items"].as_array().unwrap().iter().find(|block| block["block_type"] == 27).unwrap();
    stage.know("media:Private/notes", &text(&picture["image"], "token"), &[BEYOND_TREE]);
    let path = stage.filled("GET /open-apis/bitable/v1/apps/{file:Private/Payroll}/tables");
    let tables = data(stage, &path, none).await;
    stage.know("table:Payroll", &text(&tables["items"][0], "table_id"), &[BEYOND_TREE]);
    let notes = stage.filled("{file:Private/notes}");
    let asked = json!({"file_extension": "pdf", "token": notes, "type": "docx"});
    let ticket = text(&data(stage, "POST /open-apis/drive/v1/export_tasks", &asked).await, "ticket");
    stage.know("ticket:Private/notes", &ticket, &[BEYOND_TREE, BEYOND_DOCUMENT]);
    let path = format!("GET /open-apis/drive/v1/export_tasks/{ticket}?token={notes}");
    let done = data(stage, &path, none).await;
    stage.know("export:Private/notes", &text(&done["result"], "file_token"), &[BEYOND_TREE, BEYOND_DOCUMENT]);
}

#[actix_web::test]
async fn nothing_gets_out_of_a_limit_at_lark() {
    let table = table();
    let mut stage = Stage::of(&table).await;
    learn(&mut stage).await;
    let outcomes = try_row::all(&table, &mut stage).await;
    assert!(outcomes.len() >= 50);
    stage.app.stops().await;
    try_row::hold(&outcomes);
}

#[actix_web::test]
async fn a_folder_is_looked_through_page_by_page_and_within_a_bound() {
    let table = table();
    let mut stage = Stage::of(&table).await;
    learn(&mut stage).await;
    let above = stage.filled("{file:Projects/2026}");
    let make = |above: &str, name: String| json!({"folder_token": above, "name": name});
    let mut made = Vec::new();
    // Two pages of 200 entries, and somewhat more.
    for n in 0..405 {
        let body = make(&above, format!("Week {n}"));
        let folder = data(&stage, "POST /open-apis/drive/v1/files/create_folder", &body).await;
        made.push(text(&folder, "token"));
    }
    let token = stage.token(&BOUNDS[0]).await;
    let files = |folder: &str| format!("lark/open/open-apis/drive/v1/files?folder_token={folder}");
    for folder in [&made[0], &made[210], &made[404]] {
        let answer = stage.app.calls(&token, "GET", &files(folder)).await;
        assert_eq!(answer.status, 200, "{}", answer.body_text());
    }
    // What is nowhere under it is looked for in some of the folders, and then refused.
    stage.app.pass(60);
    let before = stage.desk().calls().len();
    let outside = stage.app.calls(&token, "GET", &files("fldcnNobodyHasThis")).await;
    assert_eq!(outside.refusal(), (403, "limit_exceeded".to_owned()), "{}", outside.body_text());
    assert!(outside.text("error_description").contains("too many look-ups"), "{}", outside.body_text());
    assert_eq!(stage.seen_since(before).len(), 40, "the bound of look-ups of one call");
    stage.app.stops().await;
}
