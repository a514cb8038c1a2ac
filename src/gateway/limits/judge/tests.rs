use std::collections::BTreeMap;

use super::*;
use crate::gateway::denial::DenialCode;
use crate::kernel::scope::ScopeSet;
use crate::providers::routes::RouteTable;

const TEMPLATE: &str = r#"
schema = 1
name = { en = "A", zh = "A" }
docs = "https://docs.example"
call = [
    { api = "main", call = "GET /files/{id}", names = [{ object = "file", id = "path:id" }], gives = [{ object = "file" }] },
    { api = "main", call = "GET /files", names = [{ object = "file", id = "query:folder", absent = "root" }], gives = [{ object = "file", at = "items.*" }] },
    { api = "main", call = "POST /files/{id}/move", names = [{ object = "file", id = "path:id" }, { object = "file", id = "body:to.id" }], refuse = ["body:to.path", "query:path"] },
    { api = "main", call = "POST /files", carries = [{ object = "file", at = "file" }] },
    { api = "main", call = "PATCH /files/{id}", names = [{ object = "file", id = "path:id" }], carries = [{ object = "file" }] },
    { api = "main", call = "GET /about", free = ["folders"] },
    { api = "main", call = "POST /busy", window = { kind = "events", from = "from", until = "span.until", in = "body", as = "unix_s" } },
]
[identity]
source = "userinfo"
subject = "id"
company = "config"
label = ["name"]
[api.main]
base = "https://api.example.com"
select = "fields"
[api.other]
base = "https://other.example.com"
[object.file]
api = "main"
get = "GET /files/{id}"
fields = { id = "id", parent = "parent.id" }
[[limit]]
kind = "folders"
api = "main"
scopes = ["files"]
tests = { file = "tree" }
[[limit]]
kind = "documents"
api = "main"
scopes = ["files"]
tests = { file = "id" }
[[limit]]
kind = "events"
api = "main"
scopes = ["times"]
tests = { file = "time" }
[[scope]]
name = "files"
title = { en = "F", zh = "F" }
description = { en = "F", zh = "F" }
access = "write"
risk = "low"
routes = [
    { api = "main", call = "GET /files/{id}" },
    { api = "main", call = "GET /files" },
    { api = "main", call = "POST /files/{id}/move" },
    { api = "main", call = "POST /files" },
    { api = "main", call = "PATCH /files/{id}" },
    { api = "main", call = "POST /share" },
    { api = "main", call = "GET /about" },
]
[[scope]]
name = "times"
title = { en = "T", zh = "T" }
description = { en = "T", zh = "T" }
access = "read"
risk = "low"
routes = [{ api = "main", call = "POST /busy" }]
"#;

const FOLDER: &str = r#"[{"type":"valetkey_limit","api":"main","kind":"folders","items":["in"]}]"#;

/// Judges one request; `call` is `METHOD /path?query`.
fn judged(limits: &str, call: &str, body: &str) -> Judged {
    let template: Template = toml::from_str(TEMPLATE).unwrap();
    let routes = RouteTable::compile(&template).unwrap();
    let limits = Limit::parse_all(limits).unwrap();
    let (method, target) = call.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let found = routes.find("main", if method == "HEAD" { "GET" } else { method }, &segments).unwrap();
    let params: BTreeMap<&str, String> = found.params;
    let scopes = ScopeSet::parse("files times").unwrap();
    judge(&Asked {
        template: &template,
        routes: &routes,
        route: found.route,
        params: &params,
        limits: &limits,
        scopes: &scopes,
        method,
        query,
        body: body.as_bytes(),
        content_type: Some("application/json; charset=utf-8"),
    })
}

fn plan(limits: &str, call: &str, body: &str) -> Plan {
    judged(limits, call, body).outcome.unwrap_or_else(|denial| panic!("{call}: {}", denial.description))
}

fn refused(limits: &str, call: &str, body: &str) -> Denial {
    judged(limits, call, body).outcome.expect_err(call)
}

fn sent(plan: &Plan) -> &str {
    std::str::from_utf8(plan.body.as_deref().unwrap_or_default()).unwrap()
}

#[test]
fn what_is_named_by_the_limit_passes_and_the_rest_is_looked_up() {
    assert!(plan(FOLDER, "GET /files/in", "").checks.is_empty());
    let elsewhere = plan(FOLDER, "GET /files/out", "");
    assert_eq!(elsewhere.checks.len(), 1);
    assert_eq!((elsewhere.checks[0].id.as_str(), elsewhere.checks[0].test), ("out", Test::Tree));
    assert_eq!(elsewhere.answer.len(), 1);
    assert_eq!(plan(FOLDER, "GET /files", "").checks[0].id, "root", "what leaving it out means");
    assert_eq!(plan(FOLDER, "GET /files?folder=in", "").checks, []);
    let both = r#"[{"type":"valetkey_limit","api":"main","kind":"folders","items":["in"]},
                   {"type":"valetkey_limit","api":"main","kind":"documents","items":["x"]}]"#;
    assert_eq!(plan(both, "GET /files/in", "").checks.len(), 1, "all limits apply");
}

#[test]
fn what_the_template_does_not_say_is_closed_and_says_what_is_open() {
    let denial = refused(FOLDER, "POST /share", "");
    assert_eq!(denial.code, DenialCode::LimitExceeded);
    assert!(denial.description.contains("`POST /files/{id}/move`"), "{}", denial.description);
    assert!(!denial.description.contains("`POST /share`, "), "{}", denial.description);
    assert!(plan(FOLDER, "GET /about", "").answer.is_empty(), "unless it says that it is free");
    let unknown = r#"[{"type":"valetkey_limit","api":"main","kind":"chats","items":["x"]}]"#;
    assert_eq!(refused(unknown, "GET /about", "").code, DenialCode::LimitExceeded);
    let other = r#"[{"type":"valetkey_limit","api":"other","kind":"chats","items":["x"]}]"#;
    assert!(plan(other, "POST /share", "").checks.is_empty(), "a limit bounds its API");
}

#[test]
fn a_body_that_is_looked_into_is_sent_as_it_was_read() {
    let body = "{ \"to\": {\"id\": \"\\u0069n\"}, \"n\": 1.10, \"s\": \"\\/\" }";
    let plan = plan(FOLDER, "POST /files/in/move", body);
    assert!(plan.checks.is_empty());
    assert_eq!(sent(&plan), r#"{"to":{"id":"in"},"n":1.10,"s":"/"}"#);
    for (body, code) in [
        (r#"{"to":{"id":"in"},"x":[{"a":1,"a":2}]}"#, DenialCode::InvalidRequest),
        (r#"{"to":{"id":"in","id":"out"}}"#, DenialCode::InvalidRequest),
        (r#"{"to":{"id":"in"}} x"#, DenialCode::InvalidRequest),
        (r#"{"to":{"id":"in"},"To":{"id":"out"}}"#, DenialCode::LimitExceeded),
        (r#"{"to":{"id":"in","path":"/out"}}"#, DenialCode::LimitExceeded),
        (r#"{"to":{"id":"in","Path":"/out"}}"#, DenialCode::LimitExceeded),
        (r#"{"to":{"id":["in"]}}"#, DenialCode::LimitExceeded),
        (r#"{"to":{"id":null}}"#, DenialCode::LimitExceeded),
        (r#"[{"to":{"id":"in"}}]"#, DenialCode::LimitExceeded),
        ("{}", DenialCode::LimitExceeded),
        ("", DenialCode::LimitExceeded),
    ] {
        assert_eq!(refused(FOLDER, "POST /files/in/move", body).code, code, "{body}");
    }
    let in_query = "POST /files/in/move?path=/out";
    assert_eq!(refused(FOLDER, in_query, r#"{"to":{"id":"in"}}"#).code, DenialCode::LimitExceeded);
}

#[test]
fn what_an_agent_writes_about_an_object_proves_nothing() {
    let lie = plan(FOLDER, "POST /files", r#"{"file":{"id":"in","parent":{"id":"out"}}}"#);
    assert_eq!(lie.checks.iter().map(|check| check.id.as_str()).collect::<Vec<_>>(), ["out"]);
    refused(FOLDER, "POST /files", "{}");
    refused(FOLDER, "POST /files", r#"{"file":{"name":"x"}}"#);
    refused(FOLDER, "POST /files", r#"{"file":{"parent":{"id":"a/b"}}}"#);
    assert!(
        plan(FOLDER, "PATCH /files/in", r#"{"name":"x"}"#).checks.is_empty(),
        "a change may leave it out"
    );
    assert_eq!(plan(FOLDER, "PATCH /files/in", r#"{"parent":{"id":"out"}}"#).checks.len(), 1);
}

#[test]
fn members_that_are_compared_are_asked_for() {
    let query = |call: &str| plan(FOLDER, call, "").query;
    assert_eq!(query("GET /files?fields=name").as_deref(), Some("fields=name,id,parent"));
    assert_eq!(query("GET /files"), None);
    refused(FOLDER, "GET /files?Fields=name", "");
    refused(FOLDER, "GET /files?fields=name&fields=id", "");
    refused(FOLDER, "HEAD /files", "");
}

#[test]
fn a_window_in_the_body_is_kept_inside_and_made_where_there_is_none() {
    let times = r#"[{"type":"valetkey_limit","api":"main","kind":"events","from":"2026-11-01","until":"2026-12-01"}]"#;
    let busy = |body: &str| plan(times, "POST /busy", body);
    assert_eq!(sent(&busy("")), r#"{"from":1793491200,"span":{"until":1796083200}}"#);
    assert_eq!(
        sent(&busy(r#"{"from":"1","span":{"until":1793577600},"who":["a"]}"#)),
        r#"{"span":{"until":1793577600},"who":["a"],"from":"1793491200"}"#
    );
    for body in
        [r#"{"from":1896083200}"#, r#"{"from":"now"}"#, r#"{"from":[1]}"#, r#"{"FROM":1}"#, r#"{"span":5}"#]
    {
        assert_eq!(refused(times, "POST /busy", body).code, DenialCode::LimitExceeded, "{body}");
    }
}

#[test]
fn every_step_is_told_and_the_last_is_the_refusal() {
    let judged = judged(FOLDER, "POST /files/out/move", r#"{"to":{}}"#);
    let verdicts: Vec<Verdict> = judged.steps.iter().map(|step| step.verdict).collect();
    assert_eq!(verdicts, [Verdict::LooksUp]);
    assert!(judged.steps.iter().all(|step| step.limit == "folders" && step.said.has_key()));
}
