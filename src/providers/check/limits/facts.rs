//! What objects, limits and calls are held against.

use std::collections::{BTreeMap, BTreeSet};

use crate::providers::check::account;
use crate::providers::check::tree::{Node, Report, nearest};

/// The parts of a template that the others name.
pub struct Facts<'s> {
    /// APIs by name.
    pub apis: BTreeSet<&'s str>,
    /// Pins of the user.
    pub pins: Vec<&'s str>,
    /// Whether there is a token of the app.
    pub has_app_token: bool,
    /// Scopes that people grant, with the APIs that their routes are at.
    pub scopes: BTreeMap<&'s str, BTreeSet<&'s str>>,
    /// Calls of routes, with the scopes that open them.
    pub calls: BTreeMap<(&'s str, &'s str), BTreeSet<&'s str>>,
    /// Objects by name.
    pub objects: BTreeMap<&'s str, Thing<'s>>,
    /// Limits.
    pub limits: Vec<Offer<'s>>,
}

/// An object.
pub struct Thing<'s> {
    /// Where it stands.
    pub node: Node<'s>,
    /// Its API.
    pub api: &'s str,
    /// The fields that it states.
    pub fields: BTreeSet<&'s str>,
    /// How many parts its identifier has.
    pub parts: usize,
}

/// A limit.
pub struct Offer<'s> {
    /// Its kind.
    pub kind: &'s str,
    /// Its API.
    pub api: &'s str,
    /// The scopes that it bounds.
    pub scopes: BTreeSet<&'s str>,
    /// What it compares: object = test.
    pub tests: BTreeMap<&'s str, &'s str>,
}

impl<'s> Facts<'s> {
    /// Collects them from a template.
    pub fn of(root: &Node<'s>) -> Self {
        let mut scopes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut calls: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for scope in root.items_of("scope").iter().filter(|scope| !scope.is_set("bookkeeping")) {
            let Some(name) = scope.text("name") else { continue };
            let apis = scopes.entry(name).or_default();
            for route in scope.items_of("routes") {
                if let (Some(api), Some(call)) = (route.text("api"), route.text("call")) {
                    apis.insert(api);
                    calls.entry((api, call)).or_default().insert(name);
                }
            }
        }
        Self {
            apis: root.entries_of("api").into_iter().map(|(name, _)| name).collect(),
            pins: account::pins(root),
            has_app_token: root.get("app_token").is_some(),
            scopes,
            calls,
            objects: root
                .entries_of("object")
                .into_iter()
                .map(|(name, node)| (name, Thing::of(node)))
                .collect(),
            limits: root.items_of("limit").iter().map(Offer::of).collect(),
        }
    }

    /// An object that is named somewhere; a name that is none is reported.
    pub fn object(
        &self,
        node: &Node<'_>,
        name: &str,
        api: &str,
        report: &mut Report<'_>,
    ) -> Option<&Thing<'s>> {
        let Some(thing) = self.objects.get(name) else {
            let instead = suggestion(name, self.objects.keys().copied(), || format!("add [object.{name}]"));
            report.at(node, format!("names `{name}`, which is no object of this template"), instead);
            return None;
        };
        if thing.api != api {
            let problem = format!("names `{name}`, which is an object of the api `{}`", thing.api);
            report.at(node, problem, format!("name an object of `{api}`"));
            return None;
        }
        Some(thing)
    }

    /// Judges the name of an API.
    pub fn api(&self, table: &Node<'_>, report: &mut Report<'_>) {
        if let Some(api) = table.stated("api").filter(|api| !self.apis.contains(api)) {
            let instead =
                suggestion(api, self.apis.iter().copied(), || format!("add [api.{api}] with its base"));
            report.key(table, "api", format!("names `{api}`, which is no api of this template"), instead);
        }
    }

    /// The limit of a kind at an API.
    pub fn limit(&self, kind: &str, api: &str) -> Option<&Offer<'s>> {
        self.limits.iter().find(|limit| limit.kind == kind && limit.api == api)
    }

    /// Judges the name of a kind that a call speaks about: the template offers it, and it bears on the call.
    pub fn kind(&self, node: &Node<'_>, kind: &str, of: (&str, &str), report: &mut Report<'_>) {
        let (api, call) = of;
        let Some(limit) = self.limit(kind, api) else {
            let known = self.limits.iter().filter(|limit| limit.api == api).map(|limit| limit.kind);
            let instead = suggestion(kind, known, || "remove it, or add a [[limit]] of that kind".to_owned());
            report.at(
                node,
                format!("names `{kind}`, a limit that this template does not offer for `{api}`"),
                instead,
            );
            return;
        };
        let opened_by = self.calls.get(&(api, call));
        if opened_by.is_some_and(|scopes| scopes.is_disjoint(&limit.scopes)) {
            let problem = format!("names `{kind}`, which bounds no scope that opens this call");
            report.at(node, problem, "remove it: the call is as open as without that limit");
        }
    }
}

impl<'s> Thing<'s> {
    fn of(node: Node<'s>) -> Self {
        let fields: BTreeSet<&str> = node.entries_of("fields").into_iter().map(|(field, _)| field).collect();
        let id = node.get("fields").and_then(|fields| fields.get("id"));
        let stated = id.map_or(1, |id| id.get("at").unwrap_or(id).items().len().max(1));
        let texts = texts_of(&node);
        let asked =
            (0..8).rev().find(|part| texts.iter().any(|text| text.contains(&format!("{{id.{part}}}"))));
        let parts = asked.map_or(stated, |part| stated.max(part + 1));
        Self { api: node.text("api").unwrap_or_default(), fields, parts, node }
    }

    /// Whether one can be looked up by its identifier.
    pub fn has_get(&self) -> bool {
        self.node.get("get").is_some()
    }

    /// Whether what lies inside one can be listed.
    pub fn has_children(&self) -> bool {
        self.node.get("list").is_some_and(|list| list.get("children").is_some())
    }
}

/// The texts of a look-up that placeholders may be in.
pub fn texts_of<'s>(node: &Node<'s>) -> Vec<&'s str> {
    let query = node.entries_of("query");
    let query = query.iter().filter_map(|(_, value)| value.as_text());
    ["get", "body"].iter().filter_map(|key| node.text(key)).chain(query).collect()
}

impl<'s> Offer<'s> {
    fn of(node: &Node<'s>) -> Self {
        let tests = node.entries_of("tests");
        Self {
            kind: node.text("kind").unwrap_or_default(),
            api: node.text("api").unwrap_or_default(),
            scopes: node.items_of("scopes").iter().filter_map(Node::as_text).collect(),
            tests: tests.iter().filter_map(|(object, test)| Some((*object, test.as_text()?))).collect(),
        }
    }
}

/// What to write instead of an unknown word: the nearest known one, or else something.
pub fn suggestion<'k>(
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
    or: impl FnOnce() -> String,
) -> String {
    nearest(word, known).map_or_else(or, |near| format!("write `{near}`"))
}
