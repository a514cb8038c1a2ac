//! Routes: what each scope opens, with which token, pinned to whom.

use std::collections::BTreeMap;

use crate::providers::check::account;
use crate::providers::check::texts;
use crate::providers::check::tree::{Node, Report, nearest};
use crate::providers::pattern::{Overlap, Pattern};

/// More routes than any vendor has; comparing them all with each other stays quick below.
const MAX_ROUTES: usize = 2000;

/// What all routes are held against.
struct Facts<'s> {
    apis: BTreeMap<&'s str, bool>,
    /// APIs that name hosts of storage.
    with_storage: Vec<&'s str>,
    pins: Vec<&'s str>,
    scopes: Vec<(&'s str, bool)>,
    has_user_token: bool,
    has_app_token: bool,
}

/// A route that could be read.
struct Known<'s> {
    node: Node<'s>,
    scope: &'s str,
    api: &'s str,
    call: &'s str,
    pattern: Pattern<'s>,
    any_case: bool,
    terms: Terms,
}

/// What decides how a call is made: app token or not, the app's own data or not, redirects followed or not;
/// pins; refused members.
type Terms = ((bool, bool, bool), Vec<(String, String)>, Vec<String>);

/// Judges them.
pub fn judge(root: &Node<'_>, report: &mut Report<'_>) {
    let is_discovered = root.get("discovery").is_some();
    let facts = Facts {
        apis: root
            .entries_of("api")
            .into_iter()
            .map(|(name, api)| (name, api.is_set("case_insensitive")))
            .collect(),
        with_storage: (root.entries_of("api").into_iter())
            .filter(|(_, api)| !api.items_of("storage_hosts").is_empty())
            .map(|(name, _)| name)
            .collect(),
        pins: account::pins(root),
        scopes: root
            .items_of("scope")
            .iter()
            .filter_map(|scope| Some((scope.text("name")?, scope.is_set("bookkeeping"))))
            .collect(),
        has_user_token: is_discovered || root.get("token").is_some(),
        has_app_token: root.get("app_token").is_some(),
    };
    let mut known: Vec<Known<'_>> = Vec::new();
    for scope in root.items_of("scope") {
        let name = scope.text("name").unwrap_or_default();
        for route in scope.items_of("routes") {
            if known.len() == MAX_ROUTES {
                report.at(&route, format!("is one of more than {MAX_ROUTES} routes"), "split the template");
                return;
            }
            if let Some(route) = judge_route(name, route, &facts, report) {
                known.push(route);
            }
        }
    }
    for (at, route) in known.iter().enumerate() {
        for earlier in known.iter().take(at) {
            judge_pair(earlier, route, report);
        }
    }
}

fn judge_route<'s>(
    scope: &'s str,
    route: Node<'s>,
    facts: &Facts<'s>,
    report: &mut Report<'_>,
) -> Option<Known<'s>> {
    let api = route.stated("api");
    if let Some(api) = api
        && !facts.apis.contains_key(api)
    {
        let near = nearest(api, facts.apis.keys().copied()).map(|near| format!("write `{near}`"));
        let instead = near.unwrap_or_else(|| format!("add [api.{api}] with its base"));
        report.key(&route, "api", format!("names `{api}`, which is no api of this template"), instead);
    }
    judge_token(&route, facts, report);
    judge_also(scope, &route, facts, report);
    let call = route.stated("call")?;
    let pattern = match Pattern::parse(call) {
        Ok(pattern) => pattern,
        Err(problem) => {
            report.key(&route, "call", problem.to_string(), problem.instead());
            return None;
        }
    };
    judge_pins(&route, &pattern, facts, report);
    let api = api?;
    if route.is_set("follow") && pattern.method != "GET" {
        report.key(&route, "follow", "is for GET only: nothing else is sent twice", "remove it");
    }
    if route.is_set("follow") && !facts.with_storage.contains(&api) {
        let instead = format!("add storage_hosts = [\"*.files.example.com\"] to [api.{api}]");
        report.key(&route, "follow", "leads to storage that the api does not name", instead);
    }
    let any_case = *facts.apis.get(api)?;
    let terms = terms(&route);
    Some(Known { node: route, scope, api, call, pattern, any_case, terms })
}

fn judge_token(route: &Node<'_>, facts: &Facts<'_>, report: &mut Report<'_>) {
    let is_app = route.text("token") == Some("app");
    let is_pinned = ["pin_path", "pin_query", "pin_body"].iter().any(|key| !route.entries_of(key).is_empty());
    let is_app_data = route.is_set("app_data");
    if is_app && !is_pinned && !is_app_data {
        let instead = "pin the user in pin_path, pin_query or pin_body, or write app_data = true where it is \
                       not about a user";
        report.at(route, "takes the app's token and is not pinned to the user", instead);
    }
    if is_app_data && (!is_app || is_pinned) {
        let instead = "remove it; it is for routes with token = \"app\" and no pin";
        report.key(route, "app_data", "has no meaning here", instead);
    }
    if is_app && !facts.has_app_token {
        report.key(route, "token", "is the app's, but there is none", "add [app_token]");
    }
    if !is_app && !facts.has_user_token {
        let instead = "write token = \"app\" and pin the user";
        report.key(route, "token", "is the user's, but this provider issues none", instead);
    }
}

fn judge_also(scope: &str, route: &Node<'_>, facts: &Facts<'_>, report: &mut Report<'_>) {
    for node in route.items_of("also") {
        let Some(also) = node.as_text() else { continue };
        match facts.scopes.iter().find(|(name, _)| *name == also) {
            _ if also == scope => report.at(&node, "is the scope itself", "remove it"),
            Some((_, true)) => {
                report.at(&node, "is a bookkeeping scope, which nobody is asked for", "remove it")
            }
            Some((_, false)) => {}
            None => {
                let known = facts.scopes.iter().map(|(name, _)| *name);
                let near = nearest(also, known).map(|near| format!("write `{near}`"));
                let instead = near.unwrap_or_else(|| "add a [[scope]] with that name".to_owned());
                report.at(&node, format!("names `{also}`, which is no scope of this template"), instead);
            }
        }
    }
}

fn judge_pins(route: &Node<'_>, pattern: &Pattern<'_>, facts: &Facts<'_>, report: &mut Report<'_>) {
    for key in ["pin_path", "pin_query", "pin_body"] {
        for (place, node) in route.entries_of(key) {
            let Some(pin) = node.as_text() else { continue };
            if !facts.pins.contains(&pin) {
                let near = nearest(pin, facts.pins.iter().copied()).map(|near| format!("write `{near}`"));
                let instead =
                    near.unwrap_or_else(|| format!("add `{pin}` to identity.pins or pin_lookup.pins"));
                report.at(&node, format!("names `{pin}`, which is no pin of this template"), instead);
            }
            if key == "pin_path" && !pattern.params().any(|param| param == place) {
                let instead = format!("write {{{place}}} as a segment of `call`, or pin it elsewhere");
                report.at(&node, "is no parameter of this path", instead);
            }
            let is_plain = (1..=64).contains(&place.len()) && place.chars().all(|c| c.is_ascii_graphic());
            if !is_plain {
                report.at(&node, "is no name of a parameter or member", "write it as the vendor does");
            }
        }
    }
    let refused = route.items_of("refuse_body");
    texts::unique(&refused, report);
    for node in &refused {
        if node.as_text().is_some_and(|name| route.entries_of("pin_body").iter().any(|(pin, _)| *pin == name))
        {
            report.at(node, "is pinned as well, so it would refuse what it overwrites", "remove one");
        }
    }
    if !["POST", "PUT", "PATCH"].contains(&pattern.method) {
        let with_body = [!route.entries_of("pin_body").is_empty(), !refused.is_empty()];
        for (key, _) in
            ["pin_body", "refuse_body"].into_iter().zip(with_body).filter(|(_, is_stated)| *is_stated)
        {
            let problem = format!("is about a body, which {} has none of", pattern.method);
            report.key(route, key, problem, "use pin_path or pin_query");
        }
    }
}

fn judge_pair(earlier: &Known<'_>, route: &Known<'_>, report: &mut Report<'_>) {
    if earlier.api != route.api {
        return;
    }
    let overlap = earlier.pattern.overlap(&route.pattern, route.any_case);
    let line = report.line(&earlier.node);
    let is_same_call = overlap == Overlap::Same;
    if is_same_call && earlier.scope == route.scope {
        report.key(&route.node, "call", format!("stands in line {line} already"), "remove one");
        return;
    }
    if is_same_call && !earlier.pattern.params().eq(route.pattern.params()) {
        let problem = format!("names its parameters differently from the same call in line {line}");
        report.key(&route.node, "call", problem, format!("write `{}`", earlier.call));
        return;
    }
    if matches!(overlap, Overlap::Apart | Overlap::Contained) || earlier.terms == route.terms {
        return;
    }
    let problem = match overlap {
        Overlap::Same => format!("is the call of line {line}, but with another token or other pins"),
        _ => format!(
            "and `{}` in line {line} match the same request with another token or other pins",
            earlier.call
        ),
    };
    report.key(&route.node, "call", problem, "give both the same token and pins");
}

fn terms(route: &Node<'_>) -> Terms {
    let refused = route.items_of("refuse_body");
    let refused = refused.iter().filter_map(|node| node.as_text().map(str::to_owned));
    let pins = ["pin_path", "pin_query", "pin_body"].iter().flat_map(|key| {
        let text = |node: &Node<'_>| node.as_text().unwrap_or_default().to_owned();
        route.entries_of(key).into_iter().map(move |(place, node)| (format!("{key}.{place}"), text(&node)))
    });
    let switches = (route.text("token") == Some("app"), route.is_set("app_data"), route.is_set("follow"));
    (switches, pins.collect(), refused.collect())
}
