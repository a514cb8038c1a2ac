//! Routes: what a request is recognised as.

use proptest::prelude::*;
use valetkey::kernel::scope::ScopeSet;
use valetkey::providers::template::{RouteToken, Template};
use valetkey::providers::{LoadedTemplate, RouteTable};

use crate::VALID;

fn table() -> RouteTable {
    LoadedTemplate::parse("sample", "sample.toml", VALID).unwrap().routes
}

fn found(table: &RouteTable, api: &str, method: &str, path: &str) -> Option<String> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    table.find(api, method, &segments).map(|found| found.route.pattern.clone())
}

#[test]
fn a_request_is_recognised_by_api_method_and_every_segment() {
    let table = table();
    let pattern = |api, method, path| found(&table, api, method, path);
    assert_eq!(pattern("main", "GET", "/v1/me/messages/7"), Some("GET /v1/me/messages/{id}".to_owned()));
    assert_eq!(
        pattern("main", "GET", "/v1/me/messages/delta()"),
        Some("GET /v1/me/messages/delta()".to_owned())
    );
    for (api, method, path) in [
        ("main", "POST", "/v1/me/messages/7"),
        ("main", "get", "/v1/me/messages/7"),
        ("main", "GET", "/v1/me/messages/7/attachments"),
        ("main", "GET", "/v1/me/messages/"),
        ("main", "GET", "/v1/me/messages//"),
        ("main", "GET", "/"),
        ("old", "GET", "/v1/me/messages/7"),
        ("none", "GET", "/v1/me/messages/7"),
    ] {
        assert_eq!(pattern(api, method, path), None, "{api} {method} {path}");
    }
    assert!(table.find("main", "GET", &[]).is_none());
}

#[test]
fn case_counts_unless_the_api_says_otherwise() {
    let table = table();
    assert!(found(&table, "main", "GET", "/V1/Me/MESSAGES").is_some());
    assert!(found(&table, "old", "GET", "/Todo/count").is_none());
}

#[test]
fn parameters_come_back_as_they_were_sent() {
    let table = table();
    let hit = table.find("main", "GET", &["v1", "me", "messages", "AAk%3D=="]).unwrap();
    assert_eq!(hit.params.into_iter().collect::<Vec<_>>(), [("id", "AAk%3D==".to_owned())]);
}

#[test]
fn a_literal_in_disguise_does_not_pass_for_a_parameter() {
    let table = table();
    for segment in ["delta%28%29", "delta(%29", "%64elta()", "DELTA%28%29"] {
        assert!(table.find("main", "GET", &["v1", "me", "messages", segment]).is_none(), "{segment}");
    }
    for segment in ["delta%29%28", "delta%28", "100%", "%zz", "%C3%BC"] {
        assert!(table.find("main", "GET", &["v1", "me", "messages", segment]).is_some(), "{segment}");
    }
}

#[test]
fn several_scopes_open_one_call_each_with_what_it_needs_besides() {
    let table = table();
    let message = table.find("main", "GET", &["v1", "me", "messages", "7"]).unwrap().route;
    let by: Vec<&str> = message.opened_by.iter().map(|by| by.scope.as_str()).collect();
    assert_eq!(by, ["Mail.Read", "Mail.Send"]);
    let granted = |text: &str| ScopeSet::parse(text).unwrap();
    assert!(message.is_open_to(&granted("Mail.Send")));
    let send = table.find("main", "POST", &["v1", "me", "sendMail"]).unwrap().route;
    assert!(!send.is_open_to(&granted("Mail.Send")));
    assert!(send.is_open_to(&granted("Mail.Send Mail.Read")));
    assert!(!send.is_open_to(&granted("")));
    let tasks = table.find("old", "POST", &["todo", "list"]).unwrap().route;
    assert_eq!((tasks.token, tasks.is_pinned()), (RouteToken::App, true));
    assert_eq!(tasks.refuse_body, ["dept"]);
}

/// The same question, answered without a tree: of all patterns that fit, the one that is literal at the
/// earliest segment where they differ.
fn naive(patterns: &[Vec<String>], request: &[&str], any_case: bool) -> Option<usize> {
    let is_param = |segment: &str| segment.starts_with('{');
    let fits = |pattern: &&(usize, &Vec<String>)| {
        pattern.1.len() == request.len()
            && pattern.1.iter().zip(request).all(|(segment, sent)| {
                let is_same = segment == sent || (any_case && segment.eq_ignore_ascii_case(sent));
                if is_param(segment) { !sent.is_empty() } else { is_same }
            })
    };
    let numbered: Vec<(usize, &Vec<String>)> = patterns.iter().enumerate().collect();
    let best = numbered
        .iter()
        .filter(fits)
        .min_by_key(|(_, pattern)| pattern.iter().map(|segment| is_param(segment)).collect::<Vec<bool>>());
    best.map(|(at, _)| *at)
}

fn segment() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "A", "me", "{x}"]).prop_map(str::to_owned)
}

fn compile(patterns: &[Vec<String>], any_case: bool) -> RouteTable {
    let calls: Vec<String> = patterns
        .iter()
        .map(|segments| {
            // Parameters need names of their own.
            let named = segments.iter().enumerate().map(|(at, s)| s.replace("{x}", &format!("{{x{at}}}")));
            format!("{{ api = \"m\", call = \"GET /{}\" }}", named.collect::<Vec<_>>().join("/"))
        })
        .collect();
    let text = format!(
        r#"
        schema = 1
        docs = "https://docs.example.com"
        name = {{ en = "X", zh = "某" }}
        identity = {{ source = "userinfo", subject = "id", company = "config", label = ["name"] }}
        api.m = {{ base = "https://api.example.com", case_insensitive = {any_case} }}
        [[scope]]
        name = "S"
        title = {{ en = "t", zh = "标题" }}
        description = {{ en = "d", zh = "说明" }}
        access = "read"
        risk = "low"
        routes = [{}]
        "#,
        calls.join(",")
    );
    let template: Template = toml::from_str(&text).unwrap();
    RouteTable::compile(&template).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_tree_answers_as_the_naive_matcher(
        patterns in prop::collection::vec(prop::collection::vec(segment(), 1..5), 0..12),
        request in prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "A", "me", "ME", "z", "", "%7a", "%"]), 0..5),
        any_case in any::<bool>(),
    ) {
        let table = compile(&patterns, any_case);
        let expected = naive(&patterns, &request, any_case);
        let hit = table.find("m", "GET", &request);
        prop_assert_eq!(hit.is_some(), expected.is_some());
        if let (Some(hit), Some(expected)) = (hit, expected) {
            let shape = |pattern: &str| {
                let parts = pattern.split('/').skip(1).map(|s| if s.starts_with('{') { "{x}" } else { s });
                let text = parts.collect::<Vec<_>>().join("/");
                if any_case { text.to_ascii_lowercase() } else { text }
            };
            let wanted = format!("/{}", patterns[expected].join("/"));
            prop_assert_eq!(shape(&hit.route.pattern), shape(&wanted));
            prop_assert_eq!(hit.params.len(), patterns[expected].iter().filter(|s| s.starts_with('{')).count());
        }
    }
}
