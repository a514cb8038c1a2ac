//! Judging a made-up request by the limits of a real template.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use valetkey::gateway::limits::judge::{Asked, judge};
use valetkey::kernel::scope::ScopeSet;
use valetkey::model::limit::Limit;
use valetkey::providers::load::{LoadedTemplate, Templates};
use valetkey::providers::routes::CompiledRoute;

pub const FROM: &str = "2026-10-01T00:00:00.000Z";

static TEMPLATES: LazyLock<Vec<Arc<LoadedTemplate>>> = LazyLock::new(|| {
    let all = Templates::embedded().unwrap();
    let names: Vec<String> = all.names().map(|name| name.to_string()).collect();
    names.iter().filter_map(|name| all.get(name)).filter(|loaded| !loaded.template.limit.is_empty()).collect()
});

/// One of the calls that some limit looks at, and every limit that its API has.
pub struct Case {
    pub loaded: Arc<LoadedTemplate>,
    pub route: CompiledRoute,
    pub limits: Vec<Limit>,
}

pub fn case(choice: u16, is_wanted: impl Fn(&CompiledRoute) -> bool) -> Option<Case> {
    let loaded = TEMPLATES.get(usize::from(choice) % TEMPLATES.len())?;
    let routes: Vec<&CompiledRoute> = loaded.routes.iter().filter(|route| is_wanted(route)).collect();
    let route = (*routes.get(usize::from(choice / 8) % routes.len().max(1))?).clone();
    let limits = loaded.template.limit.iter().filter(|entry| entry.api == route.api);
    let limits = limits.filter_map(|entry| limit(&route.api, entry.kind.as_str()));
    Some(Case { limits: limits.collect(), loaded: Arc::clone(loaded), route })
}

fn limit(api: &str, kind: &str) -> Option<Limit> {
    let values = match kind {
        "mail_dates" | "events" => format!(r#""from":"{FROM}","until":"2026-11-01""#),
        "senders" => r#""allow":["@example.com"]"#.to_owned(),
        "recipients" => r#""domains":["example.com"]"#.to_owned(),
        _ => r#""items":["inside"]"#.to_owned(),
    };
    let text = format!(r#"[{{"type":"valetkey_limit","api":"{api}","kind":"{kind}",{values}}}]"#);
    Limit::parse_all(&text).ok()?.pop()
}

/// What would be sent: the query and the body.
pub fn sent(case: &Case, only: usize, query: Option<&str>, body: &[u8]) -> Option<(Option<String>, Option<Vec<u8>>)> {
    let limits: Vec<Limit> = case.limits.get(only % case.limits.len().max(1)).cloned().into_iter().collect();
    let params: BTreeMap<&str, String> = case
        .route
        .pattern
        .split('/')
        .filter_map(|part| Some((part.strip_prefix('{')?.strip_suffix('}')?, "inside".to_owned())))
        .collect();
    let asked = Asked {
        template: &case.loaded.template,
        routes: &case.loaded.routes,
        route: &case.route,
        params: &params,
        limits: &limits,
        scopes: &ScopeSet::new(),
        method: &case.route.method,
        query,
        body,
        content_type: Some("application/json"),
    };
    let plan = judge(&asked).outcome.ok()?;
    Some((plan.query, plan.body))
}
