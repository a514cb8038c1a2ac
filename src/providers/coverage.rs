//! Where each limit of a template bites, call by call: for people who decide whether to rely on it.

use std::collections::BTreeSet;

use crate::model::limit::LimitKind;
use crate::providers::load::LoadedTemplate;
use crate::providers::routes::{CompiledRoute, Cover};
use crate::providers::template::{LimitEntry, Template, Test};

/// One limit on one call of a scope that it bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'t> {
    /// The API's name.
    pub api: &'t str,
    /// The call.
    pub call: &'t str,
    /// The limit.
    pub limit: LimitKind,
    /// How it bears on the call.
    pub cover: Cover,
    /// Where it is enforced: `path`, `query`, `body`, `look-up`, `answer`, `window`, `filter`; empty unless
    /// tested.
    pub at: Vec<&'static str>,
}

/// All of them: calls in the template's order, limits in theirs. Calls of other scopes are left out.
pub fn lines(loaded: &LoadedTemplate) -> Vec<Line<'_>> {
    let template = &loaded.template;
    let of_route = |route| template.limit.iter().filter_map(move |limit| line(template, route, limit));
    loaded.routes.iter().flat_map(of_route).collect()
}

/// The same as a table in Markdown: a row for each call, a column for each limit.
pub fn table(loaded: &LoadedTemplate) -> String {
    let lines = lines(loaded);
    let kinds: Vec<LimitKind> = loaded.template.limit.iter().map(|limit| limit.kind).collect();
    let mut text = String::from("| call |");
    for kind in &kinds {
        text += &format!(" {} |", kind.as_str());
    }
    text += "\n| --- |";
    text += &" --- |".repeat(kinds.len());
    text.push('\n');
    for calls in lines.chunk_by(|a, b| (a.api, a.call) == (b.api, b.call)) {
        let Some(first) = calls.first() else { continue };
        text += &format!("| `{}` |", first.call);
        for kind in &kinds {
            let cell =
                calls.iter().find(|line| line.limit == *kind).map_or_else(|| "–".to_owned(), Line::words);
            text += &format!(" {cell} |");
        }
        text.push('\n');
    }
    text
}

impl Line<'_> {
    /// Where it is enforced, or that it is not.
    pub fn words(&self) -> String {
        match self.cover {
            Cover::Outside => "–".to_owned(),
            Cover::Free => "free".to_owned(),
            Cover::Closed => "closed".to_owned(),
            Cover::Tested => self.at.join(", "),
        }
    }
}

fn line<'t>(template: &Template, route: &'t CompiledRoute, limit: &LimitEntry) -> Option<Line<'t>> {
    let cover = route.cover(limit);
    let at = if cover == Cover::Tested { places(template, route, limit) } else { Vec::new() };
    let line = Line { api: &route.api, call: &route.pattern, limit: limit.kind, cover, at };
    (cover != Cover::Outside).then_some(line)
}

fn places(template: &Template, route: &CompiledRoute, limit: &LimitEntry) -> Vec<&'static str> {
    const ORDER: [&str; 7] = ["path", "query", "body", "look-up", "window", "filter", "answer"];
    let terms = &route.terms;
    let mut found = BTreeSet::new();
    for name in &terms.names {
        let Some(test) = limit.tests.get(&name.object) else { continue };
        let sources = name.id.iter().filter_map(|place| place.split_once(':'));
        // What is fixed is what the path means.
        let places = sources.map(|(source, _)| if source == "fixed" { "path" } else { source });
        found.extend(places.filter_map(|place| ORDER.iter().copied().find(|known| *known == place)));
        let can_be_looked_up = template.object.get(&name.object).is_some_and(|entry| entry.get.is_some());
        if can_be_looked_up || !matches!(test, Test::Id) {
            found.insert("look-up");
        }
    }
    let mut add = |is_there: bool, place| {
        if is_there {
            found.insert(place);
        }
    };
    add(terms.carries.iter().any(|place| limit.tests.contains_key(&place.object)), "body");
    add(terms.gives.iter().any(|place| limit.tests.contains_key(&place.object)), "answer");
    add(terms.window.as_ref().is_some_and(|window| window.kind == limit.kind), "window");
    add(terms.filter.iter().any(|filter| filter.kind == limit.kind), "filter");
    ORDER.into_iter().filter(|place| found.contains(place)).collect()
}
