//! WeCom. The provider token is the app's and opens all that the app made; identifiers stand in bodies.

use serde_json::Value;
use valetkey::sandbox::wecom::id_of;
use valetkey::sandbox::world::content::{BEYOND_CALENDAR, BEYOND_DOCUMENT, BEYOND_TREE, BEYOND_WINDOW};

use crate::row::{Bounds, Row, Table, allowed, clipped, closed, harmless, stopped};
use crate::stage::{Stage, every_scope};
use crate::try_row;

/// Not a word of the world: marks what belongs to somebody else.
const OTHERS: &str = "OUTSIDE-PERSON";

#[rustfmt::skip]
const BOUNDS: &[Bounds] = &[
    Bounds {
        name: "tree",
        details: r#"[{"type":"valetkey_limit","api":"qyapi","kind":"folders","items":["{file:Invoices}"]}]"#,
        words: &[BEYOND_TREE],
    },
    Bounds {
        name: "minutes",
        details: r#"[{"type":"valetkey_limit","api":"qyapi","kind":"documents","items":["{document:minutes}"]}]"#,
        words: &[BEYOND_DOCUMENT],
    },
    Bounds {
        name: "company",
        details: r#"[{"type":"valetkey_limit","api":"qyapi","kind":"recipients","domains":["example.com"]}]"#,
        words: &[],
    },
    Bounds {
        name: "team",
        details: r#"[{"type":"valetkey_limit","api":"qyapi","kind":"calendars","items":["{calendar:team}"]}]"#,
        words: &[BEYOND_CALENDAR],
    },
    Bounds {
        name: "november",
        details: r#"[{"type":"valetkey_limit","api":"qyapi","kind":"events","from":"2026-11-01T00:00:00Z","until":"2026-12-01T00:00:00Z"}]"#,
        words: &[BEYOND_WINDOW],
    },
    Bounds { name: "look", details: r#"[{"type":"valetkey_limit","kind":"read_only"}]"#, words: &[OTHERS] },
    Bounds { name: "all", details: "[]", words: &[OTHERS] },
];

pub fn table() -> Table {
    let rows = [drive(), documents(), mail(), calendars(), others()].concat();
    Table { provider: "wecom", api: "wecom/qyapi", scopes: every_scope("wecom"), bounds: BOUNDS, rows }
}

#[rustfmt::skip] // A table reads by its lines.
fn drive() -> Vec<Row> {
    vec![
        allowed("tree", "POST /cgi-bin/wedrive/file_list").body(r#"{"spaceid":"{space:Team files}","fatherid":"{file:Invoices}","sort_type":1,"start":0,"limit":100}"#),
        allowed("tree", "POST /cgi-bin/wedrive/file_info").body(r#"{"fileid":"{file:receipt.txt}"}"#),
        stopped("tree", "other folder", "POST /cgi-bin/wedrive/file_list").body(r#"{"spaceid":"{space:Team files}","fatherid":"{file:Salaries}","sort_type":1,"start":0,"limit":100}"#),
        stopped("tree", "other folder", "POST /cgi-bin/wedrive/file_list").body(r#"{"spaceid":"{space:Team files}","fatherid":"{space:Team files}","sort_type":1,"start":0,"limit":100}"#),
        stopped("tree", "other folder", "POST /cgi-bin/wedrive/file_info").body(r#"{"fileid":"{file:salaries.txt}"}"#),
        stopped("tree", "other folder", "POST /cgi-bin/wedrive/file_info").body(r#"{"fileid":"{file:board.txt}"}"#),
        stopped("tree", "download URL", "POST /cgi-bin/wedrive/file_download").body(r#"{"fileid":"{file:salaries.txt}"}"#).acting(),
        stopped("tree", "move and copy", "POST /cgi-bin/wedrive/file_move").body(r#"{"fatherid":"{file:Invoices}","fileid":["{file:salaries.txt}"]}"#),
        stopped("tree", "move and copy", "POST /cgi-bin/wedrive/file_move").body(r#"{"fatherid":"{file:Salaries}","fileid":["{file:invoice-1107.txt}"]}"#),
        stopped("tree", "other folder", "POST /cgi-bin/wedrive/file_upload").body(r#"{"spaceid":"{space:Team files}","fatherid":"{file:Salaries}","file_name":"x.txt","file_base64_content":"eA=="}"#),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn documents() -> Vec<Row> {
    vec![
        allowed("minutes", "POST /cgi-bin/wedoc/document/get").body(r#"{"docid":"{document:minutes}"}"#),
        stopped("minutes", "other document", "POST /cgi-bin/wedoc/document/get").body(r#"{"docid":"{document:severance}"}"#),
        stopped("minutes", "other document", "POST /cgi-bin/wedoc/get_doc_base_info").body(r#"{"docid":"{document:severance}"}"#),
        stopped("minutes", "other document", "POST /cgi-bin/wedoc/del_doc").body(r#"{"docid":"{document:severance}"}"#),
        closed("minutes", "share link", "POST /cgi-bin/wedoc/doc_share").body(r#"{"docid":"{document:severance}"}"#),
        stopped("look", "write", "POST /cgi-bin/wedoc/rename_doc").body(r#"{"docid":"{document:minutes}","new_name":"x"}"#),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn mail() -> Vec<Row> {
    vec![
        stopped("company", "other recipient", "POST /cgi-bin/exmail/app/compose_send").body(r#"{"to":{"emails":["mallory@elsewhere.example"]},"subject":"x","content":"x"}"#),
        stopped("company", "other recipient", "POST /cgi-bin/exmail/app/compose_send").body(r#"{"to":{"emails":["bob@example.com"]},"cc":{"emails":["mallory@elsewhere.example"]},"subject":"x","content":"x"}"#),
        stopped("look", "write", "POST /cgi-bin/exmail/app/compose_send").body(r#"{"to":{"emails":["bob@example.com"]},"subject":"x","content":"x"}"#),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn calendars() -> Vec<Row> {
    vec![
        allowed("team", "POST /cgi-bin/oa/schedule/get_by_calendar").body(r#"{"cal_id":"{calendar:team}"}"#),
        stopped("team", "other calendar", "POST /cgi-bin/oa/schedule/get_by_calendar").body(r#"{"cal_id":"{calendar:board}"}"#),
        stopped("team", "batch", "POST /cgi-bin/oa/calendar/get").body(r#"{"cal_id_list":["{calendar:team}","{calendar:board}"]}"#),
        clipped("team", "batch", "POST /cgi-bin/oa/schedule/get").body(r#"{"schedule_id_list":["{event:Team meeting}","{event:Board meeting}"]}"#),
        stopped("team", "other calendar", "POST /cgi-bin/oa/schedule/del").body(r#"{"schedule_id":"{event:Board meeting}"}"#),
        stopped("team", "move and copy", "POST /cgi-bin/oa/schedule/update")
            .body(r#"{"schedule":{"schedule_id":"{event:Team meeting}","cal_id":"{calendar:board}","summary":"x"}}"#),
        clipped("november", "other window", "POST /cgi-bin/oa/schedule/get_by_calendar").body(r#"{"cal_id":"{calendar:team}"}"#),
        clipped("november", "other window", "POST /cgi-bin/oa/schedule/get").body(r#"{"schedule_id_list":["{event:Release}"]}"#),
        stopped("november", "other window", "POST /cgi-bin/oa/schedule/del").body(r#"{"schedule_id":"{event:Release}"}"#),
        stopped("november", "other window", "POST /cgi-bin/oa/schedule/add").body(r#"{"schedule":{"cal_id":"{calendar:team}","summary":"x","start_time":1785600000,"end_time":1785603600}}"#),
    ]
}

#[rustfmt::skip] // A table reads by its lines.
fn others() -> Vec<Row> {
    vec![
        harmless("all", "impersonation", "GET /cgi-bin/user/get?userid=bob"),
        closed("all", "impersonation", "GET /cgi-bin/user/list?department_id=1"),
        closed("all", "impersonation", "POST /cgi-bin/user/list_id").body("{}").acting(),
        closed("all", "other recipient", "POST /cgi-bin/appchat/create").body(r#"{"name":"x","userlist":["alice","bob"]}"#),
        closed("all", "other recipient", "POST /cgi-bin/message/send").body(r#"{"touser":"alice","toparty":"1","msgtype":"text","agentid":1000002,"text":{"content":"x"}}"#),
    ]
}

/// Names what the app made: whoever has the app's token has its identifiers from making it.
pub async fn learn(stage: &mut Stage) {
    let know = |stage: &mut Stage, kind: &str, sort: &str, of: &str, beyond: &[&'static str]| {
        stage.know(format!("{kind}:{of}"), &id_of(sort, of), beyond);
    };
    for space in ["Team files", "Board"] {
        know(stage, "space", "space", space, &[]);
    }
    for (sort, name, beyond) in [
        ("folder", "Invoices", &[][..]),
        ("folder", "Paid", &[]),
        ("file", "invoice-1107.txt", &[]),
        ("file", "receipt.txt", &[]),
        ("folder", "Salaries", &[BEYOND_TREE]),
        ("file", "salaries.txt", &[BEYOND_TREE]),
        ("file", "notes.txt", &[BEYOND_TREE]),
        ("file", "board.txt", &[BEYOND_TREE]),
    ] {
        know(stage, "file", sort, name, beyond);
    }
    for (name, beyond) in [("minutes", &[][..]), ("severance", &[BEYOND_DOCUMENT])] {
        know(stage, "document", "document", name, beyond);
    }
    for (name, beyond) in [("team", &[][..]), ("board", &[BEYOND_CALENDAR])] {
        know(stage, "calendar", "calendar", name, beyond);
    }
    for (name, beyond) in
        [("Team meeting", &[][..]), ("Release", &[BEYOND_WINDOW]), ("Board meeting", &[BEYOND_CALENDAR])]
    {
        know(stage, "event", "event", name, beyond);
    }
    let bob = stage.raw_json("GET /cgi-bin/user/get?userid=bob", &Value::Null).await;
    stage.know("person:bob", bob["name"].as_str().unwrap(), &[OTHERS]);
}

#[actix_web::test]
async fn nothing_gets_out_of_a_limit_at_wecom() {
    let table = table();
    let mut stage = Stage::of(&table).await;
    learn(&mut stage).await;
    let outcomes = try_row::all(&table, &mut stage).await;
    assert!(outcomes.len() >= 20);
    stage.app.stops().await;
    try_row::hold(&outcomes);
}
