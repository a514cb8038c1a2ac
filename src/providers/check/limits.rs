//! Objects, limits and what calls name, carry and give.

mod calls;
mod facts;
mod objects;

use crate::providers::check::limits::facts::Facts;
use crate::providers::check::shape::Kind::{
    AnyText, Bool, OneOf, Other, Table, Tables, Text, TextMap, Texts,
};
use crate::providers::check::shape::{Kind, Shape, may, need};
use crate::providers::check::tree::{Node, Report};

/// The kinds of limits that templates can offer.
const KIND: Kind = OneOf(&[
    "folders",
    "documents",
    "mail_folders",
    "mail_dates",
    "senders",
    "recipients",
    "calendars",
    "events",
    "chats",
    "read_only",
    "calls",
    "items",
    "bytes",
    "hours",
    "once",
]);
const TIME_FORM: Kind = OneOf(&["rfc3339", "unix_s", "unix_ms"]);

/// Judges them.
pub fn judge(root: &Node<'_>, report: &mut Report<'_>) {
    let facts = Facts::of(root);
    for (name, thing) in &facts.objects {
        objects::judge(name, thing, &facts, report);
    }
    let limits = root.items_of("limit");
    for (at, limit) in limits.iter().enumerate() {
        objects::judge_limit(limit, limits.get(..at).unwrap_or_default(), &facts, report);
    }
    calls::judge(root, &facts, report);
}

/// A kind of thing.
pub static OBJECT: Shape = Shape(&[
    need("api", Text, r#"api = "main""#),
    may("get", Text, r#"get = "GET /v1/files/{id}""#),
    may("query", TextMap, r#"query = { fields = "id,parent" }"#),
    may("body", Text, r#"body = '{"ids": ["{id}"]}'"#),
    may("token", OneOf(&["user", "app"]), r#"token = "app""#),
    may("at", AnyText, r#"at = "data.file""#),
    need("fields", Other, r#"fields = { id = "id", parent = "parent_id" }"#),
    may("strip", Texts, r#"strip = ["download_url"]"#),
    may("list", Table(&LIST), r#"list = { roots = "GET /v1/folders", items = "items.*", name = "name" }"#),
]);

/// How a person picks one.
pub static LIST: Shape = Shape(&[
    need("roots", Text, r#"roots = "GET /v1/files?parent=""#),
    may("children", Text, r#"children = "GET /v1/files?parent={id}""#),
    may("body", Text, r#"body = '{"parent": "{id}"}'"#),
    need("items", Text, r#"items = "value.*""#),
    need("name", Text, r#"name = "displayName""#),
    may("only", Text, r#"only = "type=folder""#),
    may("next", Text, r#"next = "page_token=data.next_page_token""#),
]);

/// A limit.
pub static LIMIT: Shape = Shape(&[
    need("kind", KIND, r#"kind = "folders""#),
    need("api", Text, r#"api = "main""#),
    need("scopes", Texts, r#"scopes = ["Files.Read"]"#),
    need("tests", TextMap, r#"tests = { file = "tree" }"#),
    may("pick", Text, r#"pick = "folder""#),
]);

/// A call.
pub static CALL: Shape = Shape(&[
    need("api", Text, r#"api = "main""#),
    need("call", Text, r#"call = "GET /v1/files/{id}", as the scope's route states it"#),
    may("names", Tables(&NAME), r#"names = [{ object = "file", id = "path:id" }]"#),
    may("carries", Tables(&PLACE), r#"carries = [{ object = "draft", at = "message" }]"#),
    may("gives", Tables(&PLACE), r#"gives = [{ object = "file", at = "value.*" }]"#),
    may(
        "window",
        Table(&WINDOW),
        r#"window = { kind = "events", from = "startDateTime", until = "endDateTime" }"#,
    ),
    may(
        "filter",
        Tables(&FILTER),
        r#"filter = [{ kind = "mail_dates", query = "$filter", from = "received ge {from}", until = "received lt {until}" }]"#,
    ),
    may("free", Texts, r#"free = ["mail_dates"]"#),
    may("refuse", Texts, r#"refuse = ["body:parentReference.path"]"#),
]);

/// An object that a request names.
pub static NAME: Shape = Shape(&[
    need("object", Text, r#"object = "file""#),
    need("id", Other, r#"id = "path:file_id""#),
    may("optional", Bool, "optional = true"),
    may("absent", Text, r#"absent = "root""#),
]);

/// Where objects are.
pub static PLACE: Shape = Shape(&[
    need("object", Text, r#"object = "file""#),
    may("at", AnyText, r#"at = "value.*""#),
    may("optional", Bool, "optional = true"),
]);

/// A span of time in a request.
pub static WINDOW: Shape = Shape(&[
    need("kind", KIND, r#"kind = "events""#),
    need("from", Text, r#"from = "startDateTime""#),
    need("until", Text, r#"until = "endDateTime""#),
    may("in", OneOf(&["query", "body"]), r#"in = "query""#),
    may("as", TIME_FORM, r#"as = "unix_s""#),
]);

/// A filter that is joined with the agent's.
pub static FILTER: Shape = Shape(&[
    need("kind", KIND, r#"kind = "mail_dates""#),
    need("query", Text, r#"query = "$filter""#),
    need("from", Text, r#"from = "receivedDateTime ge {from}""#),
    need("until", Text, r#"until = "receivedDateTime lt {until}""#),
    may("unless", Texts, r#"unless = ["$search"]"#),
]);
