//! Objects: their fields, look-ups and lists; and the limits that compare them.

use crate::model::limit::LimitKind;
use crate::providers::check::limits::facts::{Facts, Thing, suggestion, texts_of};
use crate::providers::check::texts;
use crate::providers::check::tree::{Node, Report};

const FIELDS: [&str; 12] = [
    "id",
    "parent",
    "folder",
    "time",
    "start",
    "end",
    "sender",
    "recipients",
    "calendar",
    "chat",
    "elsewhere",
    "target",
];
const TIMES: [&str; 3] = ["time", "start", "end"];
const FORMS: [&str; 3] = ["rfc3339", "unix_s", "unix_ms"];

/// Tests, with the fields that an object needs for each.
const TESTS: [(&str, &[&str]); 9] = [
    ("id", &["id"]),
    ("tree", &["id", "parent"]),
    ("folder", &["folder"]),
    ("time", &["time"]),
    ("span", &["start", "end"]),
    ("sender", &["sender"]),
    ("recipients", &["recipients"]),
    ("calendar", &["calendar"]),
    ("chat", &["chat"]),
];

/// The tests that say what a kind of limit means.
fn tests_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "folders" | "documents" => &["id", "tree"],
        "mail_folders" => &["id", "folder"],
        "mail_dates" => &["time"],
        "senders" => &["sender"],
        "recipients" => &["recipients"],
        "calendars" => &["id", "calendar"],
        "events" => &["span"],
        "chats" => &["id", "chat"],
        _ => &[],
    }
}

/// Judges an object.
pub fn judge(name: &str, thing: &Thing<'_>, facts: &Facts<'_>, report: &mut Report<'_>) {
    let node = &thing.node;
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.len() > 32 || !name.bytes().all(is_plain) {
        let instead = "write 1 to 32 lower-case letters, digits or underscores";
        report.at(node, "is no name for an object", instead);
    }
    facts.api(node, report);
    judge_fields(node, report);
    judge_lookup(thing, facts, report);
    if let Some(list) = node.get("list") {
        judge_list(&list, thing, facts, report);
    }
    texts::unique(&node.items_of("strip"), report);
    let is_compared = facts.limits.iter().any(|limit| limit.tests.contains_key(name));
    let is_stripped = !node.items_of("strip").is_empty();
    if !is_compared && !is_stripped && node.get("list").is_none() {
        report.at(node, "is compared by no limit", "remove it, or name it in the `tests` of a [[limit]]");
    }
}

fn judge_fields(node: &Node<'_>, report: &mut Report<'_>) {
    let Some(fields) = node.get("fields") else { return };
    if fields.entries().is_empty() {
        report.at(&fields, "states no field", "write for example fields = { id = \"id\" }");
    }
    for (field, place) in fields.entries() {
        if !FIELDS.contains(&field) {
            let instead = suggestion(field, FIELDS, || format!("write one of {}", FIELDS.join(", ")));
            report.at(&place, format!("`{field}` is no field that a limit compares"), instead);
        }
        judge_place(field, &place, report);
    }
}

fn judge_place(field: &str, place: &Node<'_>, report: &mut Report<'_>) {
    let at = if place.is_table() { place.get("at") } else { Some(place.clone()) };
    let paths =
        at.as_ref().map(|at| if at.is_list() { at.items() } else { vec![at.clone()] }).unwrap_or_default();
    if paths.is_empty() || paths.iter().any(|path| path.as_text().is_none_or(str::is_empty)) {
        let instead = "write a path, a list of paths, or { at = \"start\", as = \"unix_s\" }";
        report.at(place, "does not say where the field is", instead);
    }
    for path in &paths {
        texts::member_text(path, path.as_text().unwrap_or_default(), report);
    }
    for (key, value) in place.entries() {
        match key {
            "at" => {}
            "as" | "zone" if !TIMES.contains(&field) => {
                report.at(&value, "is about times, which this field is none of", "remove it");
            }
            "as" if !value.as_text().is_some_and(|form| FORMS.contains(&form)) => {
                report.at(&value, "is no form of a time", format!("write one of {}", FORMS.join(", ")));
            }
            "as" => {}
            "zone" => texts::member_text(&value, value.as_text().unwrap_or(" "), report),
            _ => report.at(&value, "is not a known key", "the keys here are at, as, zone"),
        }
    }
}

fn judge_lookup(thing: &Thing<'_>, facts: &Facts<'_>, report: &mut Report<'_>) {
    let node = &thing.node;
    let Some(get) = node.get("get") else {
        for key in ["query", "body", "token", "at"].into_iter().filter(|key| node.get(key).is_some()) {
            report.key(node, key, "is about a look-up, which is not stated", "add `get`, or remove it");
        }
        return;
    };
    if get.as_text().is_some_and(|call| call.contains(['?', '#'])) {
        report.at(&get, "has a query or fragment", "write the parameters under `query`");
    }
    judge_call(&get, node, report);
    let placeholders: Vec<&str> = texts_of(node).iter().flat_map(|text| names_in(text)).collect();
    let is_part = |name: &&str| name.strip_prefix("id.").is_some_and(|part| part.parse::<usize>().is_ok());
    let is_known = |name: &&str| *name == "id" || is_part(name) || facts.pins.contains(name);
    for name in placeholders.iter().filter(|name| !is_known(name)) {
        let known = facts.pins.iter().copied().chain(["id"]);
        let instead = suggestion(name, known, || "write {id}, {id.0} or a pin of the user".to_owned());
        report.at(&get, format!("holds {{{name}}}, which is neither the identifier nor a pin"), instead);
    }
    let has = |part: &str| placeholders.contains(&part);
    if thing.parts > 1 && (has("id") || (0..thing.parts).any(|part| !has(&format!("id.{part}")))) {
        let parts: Vec<String> = (0..thing.parts).map(|part| format!("{{id.{part}}}")).collect();
        let instead = format!("write each part once: {}", parts.join(" and "));
        report.at(&get, format!("does not hold the {} parts of the identifier", thing.parts), instead);
    }
    if node.text("token") == Some("app") && !facts.has_app_token {
        report.key(node, "token", "is the app's, but there is none", "add [app_token]");
    }
    texts::member(node, "at", report);
}

/// Judges a call that Valetkey makes itself: method, path, and a body that goes with it.
fn judge_call(call: &Node<'_>, table: &Node<'_>, report: &mut Report<'_>) {
    let stated = call.as_text().unwrap_or_default();
    let parsed = stated.split_once(' ').filter(|(method, path)| {
        ["GET", "POST"].contains(method) && path.starts_with('/') && !path.contains(char::is_whitespace)
    });
    if parsed.is_none() {
        report.at(call, "is no call that looks something up", "write for example `GET /v1/files/{id}`");
    }
    if let Some(body) = table.get("body") {
        if parsed.is_some_and(|(method, _)| method == "GET") {
            report.at(&body, "is about a body, which GET has none of", "write POST, or use the query");
        }
        let is_json =
            body.as_text().is_some_and(|text| serde_json::from_str::<serde_json::Value>(text).is_ok());
        if !is_json {
            report.at(
                &body,
                "is no JSON",
                "write for example '{\"ids\": [\"{id}\"]}', placeholders inside texts",
            );
        }
    }
}

fn judge_list(list: &Node<'_>, thing: &Thing<'_>, facts: &Facts<'_>, report: &mut Report<'_>) {
    if !thing.fields.contains("id") {
        report.at(list, "lists what has no `id` field", "state `id` in its fields");
    }
    for key in ["roots", "children"] {
        let Some(call) = list.get(key) else { continue };
        judge_call(&call, list, report);
        let texts = [call.as_text(), list.text("body")];
        let names: Vec<&str> = texts.into_iter().flatten().flat_map(names_in).collect();
        let is_id = |name: &&str| *name == "id" || name.starts_with("id.");
        for name in names.iter().filter(|name| !is_id(name) && !facts.pins.contains(name)) {
            let known = facts.pins.iter().copied().chain(["id"]);
            let instead = suggestion(name, known, || "write {id} or a pin of the user".to_owned());
            report.at(&call, format!("holds {{{name}}}, which is neither the identifier nor a pin"), instead);
        }
        if key == "children" && !names.iter().any(is_id) {
            report.at(&call, "does not say inside what it lists", "write {id} where the outer one is named");
        }
        if key == "roots" && call.as_text().is_some_and(|text| names_in(text).any(|name| is_id(&name))) {
            report.at(&call, "names one, but the outermost are inside none", "move it to `children`");
        }
    }
    texts::member(list, "items", report);
    texts::member(list, "name", report);
}

/// The names in braces. JSON's own braces hold quotes and colons, and are none.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |name: &&str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name)).filter(is_name)
}

/// Judges a limit.
pub fn judge_limit(node: &Node<'_>, earlier: &[Node<'_>], facts: &Facts<'_>, report: &mut Report<'_>) {
    let (Some(kind), Some(api)) = (node.text("kind"), node.text("api")) else { return };
    if LimitKind::ALL.iter().any(|known| known.as_str() == kind && known.is_general()) {
        let problem = format!("`{kind}` bounds every call alike, whatever the API");
        report.key(node, "kind", problem, "remove the entry: people can choose that limit everywhere");
        return;
    }
    facts.api(node, report);
    let is_same = |other: &&Node<'_>| other.text("kind") == Some(kind) && other.text("api") == Some(api);
    if let Some(first) = earlier.iter().find(is_same) {
        let problem = format!("`{kind}` stands in line {} already", report.line(first));
        report.key(node, "kind", problem, "join the two");
    }
    judge_scopes(node, api, facts, report);
    let tests = node.entries_of("tests");
    if tests.is_empty() {
        report.key(node, "tests", "compares nothing", "write for example tests = { file = \"tree\" }");
    }
    for (object, test) in tests {
        if let Some(thing) = facts.object(&test, object, api, report) {
            judge_test(kind, (object, thing), &test, report);
        }
    }
    judge_pick(node, kind, api, facts, report);
}

fn judge_scopes(node: &Node<'_>, api: &str, facts: &Facts<'_>, report: &mut Report<'_>) {
    let scopes = node.items_of("scopes");
    if scopes.is_empty() {
        report.key(node, "scopes", "bounds no scope", "list the scopes whose calls it bounds");
    }
    texts::unique(&scopes, report);
    for scope in &scopes {
        let name = scope.as_text().unwrap_or_default();
        match facts.scopes.get(name) {
            None => {
                let known = facts.scopes.keys().copied();
                let instead = suggestion(name, known, || "add a [[scope]] with that name".to_owned());
                report.at(
                    scope,
                    format!("names `{name}`, which is no scope that people grant here"),
                    instead,
                );
            }
            Some(apis) if !apis.contains(api) => {
                report.at(scope, format!("`{name}` opens no call of `{api}`"), "remove it");
            }
            Some(_) => {}
        }
    }
}

fn judge_test(kind: &str, (object, thing): (&str, &Thing<'_>), test: &Node<'_>, report: &mut Report<'_>) {
    let stated = test.as_text().unwrap_or_default();
    let Some((_, needed)) = TESTS.iter().find(|(known, _)| *known == stated) else {
        let known = TESTS.map(|(known, _)| known);
        let instead = suggestion(stated, known, || format!("write one of {}", known.join(", ")));
        report.at(test, format!("`{stated}` is no test"), instead);
        return;
    };
    let fitting = tests_of(kind);
    if !fitting.contains(&stated) {
        let instead = format!("write {}", fitting.join(" or "));
        report.at(test, format!("`{stated}` does not say what `{kind}` means"), instead);
        return;
    }
    for field in needed.iter().filter(|field| !thing.fields.contains(**field)) {
        let problem = format!("compares `{field}`, which `{object}` does not state");
        report.at(test, problem, format!("add {field} to [object.{object}.fields]"));
    }
    if stated == "tree" && !thing.has_get() && !thing.has_children() {
        let problem = format!("needs to know what is above `{object}`");
        let instead = format!("add `get` to [object.{object}], or `children` to its list");
        report.at(test, problem, instead);
    }
}

fn judge_pick(node: &Node<'_>, kind: &str, api: &str, facts: &Facts<'_>, report: &mut Report<'_>) {
    let Some(pick) = node.get("pick") else { return };
    if !["folders", "documents", "mail_folders", "calendars", "chats"].contains(&kind) {
        report.at(&pick, format!("has no meaning: `{kind}` names no things"), "remove it");
        return;
    }
    let name = pick.as_text().unwrap_or_default();
    if let Some(thing) = facts.object(&pick, name, api, report)
        && thing.node.get("list").is_none()
    {
        report.at(
            &pick,
            format!("names `{name}`, which cannot be listed"),
            format!("add [object.{name}.list]"),
        );
    }
}
