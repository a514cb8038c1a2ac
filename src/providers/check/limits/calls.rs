//! What calls name, carry and give.

use std::collections::BTreeMap;

use crate::providers::check::limits::facts::{Facts, Thing, suggestion};
use crate::providers::check::texts;
use crate::providers::check::tree::{Node, Report};
use crate::providers::pattern::Pattern;

/// Kinds that are spans of time.
const SPANS: [&str; 2] = ["mail_dates", "events"];

/// One entry, with what it is about.
struct Entry<'a, 's> {
    node: &'a Node<'s>,
    api: &'s str,
    call: &'s str,
    has_body: bool,
    params: Vec<&'s str>,
}

/// Judges all entries.
pub fn judge(root: &Node<'_>, facts: &Facts<'_>, report: &mut Report<'_>) {
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for node in root.items_of("call") {
        facts.api(&node, report);
        let (Some(api), Some(call)) = (node.text("api"), node.text("call")) else { continue };
        if let Some(line) = seen.insert((api, call), report.line(&node)) {
            report.key(&node, "call", format!("stands in line {line} already"), "join the two");
            continue;
        }
        if facts.apis.contains(api) && !facts.calls.contains_key(&(api, call)) {
            let known = facts.calls.keys().filter(|(own, _)| *own == api).map(|(_, call)| *call);
            let instead = suggestion(call, known, || "write it as a scope's route states it".to_owned());
            report.key(&node, "call", "is no call that a scope opens", instead);
            continue;
        }
        let Ok(pattern) = Pattern::parse(call) else { continue };
        let has_body = ["POST", "PUT", "PATCH"].contains(&pattern.method);
        judge_entry(
            &Entry { node: &node, api, call, has_body, params: pattern.params().collect() },
            facts,
            report,
        );
    }
}

fn judge_entry(entry: &Entry<'_, '_>, facts: &Facts<'_>, report: &mut Report<'_>) {
    let node = entry.node;
    for name in node.items_of("names") {
        if let Some(thing) = judge_object(entry, &name, facts, report) {
            judge_name(entry, &name, thing, report);
        }
    }
    for place in node.items_of("carries") {
        judge_object(entry, &place, facts, report);
        texts::member(&place, "at", report);
    }
    if !entry.has_body && !node.items_of("carries").is_empty() {
        report.key(node, "carries", "is about a body, which this method has none of", "remove it");
    }
    for place in node.items_of("gives") {
        judge_object(entry, &place, facts, report);
        texts::member(&place, "at", report);
        if place.get("optional").is_some() {
            report.key(&place, "optional", "is about requests", "remove it: an answer may hold none");
        }
    }
    judge_window(entry, facts, report);
    for filter in node.items_of("filter") {
        judge_span(entry, &filter, facts, report);
        for key in ["from", "until"] {
            let placeholder = format!("{{{key}}}");
            if filter.text(key).is_some_and(|text| text.matches(&placeholder).count() != 1) {
                report.key(
                    &filter,
                    key,
                    format!("does not hold {placeholder} once"),
                    "write where the moment goes",
                );
            }
        }
    }
    let free = node.items_of("free");
    texts::unique(&free, report);
    for kind in &free {
        facts.kind(kind, kind.as_text().unwrap_or_default(), (entry.api, entry.call), report);
    }
    let refused = node.items_of("refuse");
    texts::unique(&refused, report);
    for place in &refused {
        let is_known =
            place.as_text().is_some_and(|text| text.starts_with("body:") || text.starts_with("query:"));
        if is_known {
            judge_source(entry, place, report);
        } else {
            report.at(
                place,
                "is no part of a request",
                "write `body:` and a path, or `query:` and a parameter",
            );
        }
    }
}

/// The object of a part of an entry, which some limit must compare, or which is there to be stripped.
fn judge_object<'f, 's>(
    entry: &Entry<'_, '_>,
    part: &Node<'_>,
    facts: &'f Facts<'s>,
    report: &mut Report<'_>,
) -> Option<&'f Thing<'s>> {
    let object = part.get("object")?;
    let name = object.as_text()?;
    let thing = facts.object(&object, name, entry.api, report)?;
    let opened_by = facts.calls.get(&(entry.api, entry.call));
    let is_compared = facts.limits.iter().any(|limit| {
        limit.tests.contains_key(name) && opened_by.is_none_or(|scopes| !scopes.is_disjoint(&limit.scopes))
    });
    if !is_compared && thing.node.items_of("strip").is_empty() {
        let problem = format!("`{name}` is compared by no limit that bears on this call");
        report.at(&object, problem, "remove it, or name it in the limit's `tests`");
    }
    Some(thing)
}

fn judge_name(entry: &Entry<'_, '_>, name: &Node<'_>, thing: &Thing<'_>, report: &mut Report<'_>) {
    let Some(id) = name.get("id") else { return };
    let sources = if id.is_list() { id.items() } else { vec![id.clone()] };
    if sources.len() != thing.parts {
        let problem = format!("has {} parts, but the object's identifier has {}", sources.len(), thing.parts);
        report.at(&id, problem, "write one source for each part");
    }
    for source in &sources {
        judge_source(entry, source, report);
    }
    let may_be_absent = |source: &Node<'_>| {
        source.as_text().is_some_and(|text| text.starts_with("query:") || text.starts_with("body:"))
    };
    for key in ["optional", "absent"].into_iter().filter(|key| name.get(key).is_some()) {
        if !sources.iter().any(may_be_absent) {
            report.key(name, key, "has no meaning: a path always names it", "remove it");
        } else if key == "absent" && name.is_set("optional") {
            report.key(name, key, "cannot stand beside `optional`", "keep the one that the vendor means");
        }
    }
}

fn judge_source(entry: &Entry<'_, '_>, source: &Node<'_>, report: &mut Report<'_>) {
    let stated = source.as_text().unwrap_or_default();
    let instead = "write `path:item_id`, `query:folder`, `body:parent.id` or `fixed:root`";
    match stated.split_once(':') {
        Some(("path", param)) if !entry.params.contains(&param) => {
            let known = entry.params.iter().copied();
            let instead =
                suggestion(param, known, || "write {name} as a segment of the route's call".to_owned());
            report.at(source, format!("names `{param}`, which is no parameter of this path"), instead);
        }
        Some(("path", _)) => {}
        Some(("query", param)) if texts::is_param_name(param) => {}
        Some(("query", _)) => report.at(source, "is no name of a parameter", "write it as the vendor does"),
        Some(("body", _)) if !entry.has_body => {
            report.at(source, "is about a body, which this method has none of", "write `path:` or `query:`");
        }
        Some(("body", path)) if !path.is_empty() => texts::member_text(source, path, report),
        Some(("fixed", id)) if !id.is_empty() => {}
        _ => report.at(source, "does not say where the identifier is", instead),
    }
}

fn judge_window(entry: &Entry<'_, '_>, facts: &Facts<'_>, report: &mut Report<'_>) {
    let Some(window) = entry.node.get("window") else { return };
    judge_span(entry, &window, facts, report);
    let is_in_body = window.text("in") == Some("body");
    if is_in_body && !entry.has_body {
        report.key(&window, "in", "is the body, which this method has none of", "write in = \"query\"");
    }
    for key in ["from", "until"] {
        if is_in_body {
            texts::member(&window, key, report);
        } else if window.stated(key).is_some_and(|name| !texts::is_param_name(name)) {
            report.key(&window, key, "is no name of a parameter", "write it as the vendor does");
        }
    }
}

/// Judges the kind of a window or filter.
fn judge_span(entry: &Entry<'_, '_>, part: &Node<'_>, facts: &Facts<'_>, report: &mut Report<'_>) {
    let Some(kind) = part.get("kind") else { return };
    let name = kind.as_text().unwrap_or_default();
    if SPANS.contains(&name) {
        facts.kind(&kind, name, (entry.api, entry.call), report);
    } else {
        report.at(&kind, format!("`{name}` is no span of time"), format!("write {}", SPANS.join(" or ")));
    }
}
