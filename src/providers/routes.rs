//! Which call a request is, and which scopes open it.
//!
//! Patterns hold the vendor's whole path from the first `/`, because an API's base is an origin. Segments
//! are compared as they were sent: nothing is decoded here, and whoever splits the path must already have
//! refused what two parsers could read differently (encoded slashes, encoded plain characters, dots).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kernel::scope::{Scope, ScopeSet};
use crate::providers::pattern::{Pattern, PatternProblem, Segment};
use crate::providers::template::{
    Access, CallEntry, LimitEntry, RouteEntry, RouteToken, ScopeEntry, Template,
};

/// All routes of a template. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct RouteTable(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    apis: BTreeMap<String, ApiRoutes>,
    routes: Vec<CompiledRoute>,
}

#[derive(Debug)]
struct ApiRoutes {
    case_insensitive: bool,
    methods: BTreeMap<String, Node>,
}

/// One step of a path. `literals` is sorted; in an API that ignores case they are lower case.
#[derive(Debug)]
struct Node {
    literals: Vec<(String, Node)>,
    param: Option<Box<Node>>,
    route: Option<usize>,
}

/// A [`Node`] while it grows.
#[derive(Default)]
struct Branch {
    literals: BTreeMap<String, Branch>,
    param: Option<Box<Branch>>,
    route: Option<usize>,
}

#[derive(Default)]
struct Builder {
    methods: BTreeMap<(String, String), Branch>,
    routes: Vec<CompiledRoute>,
}

/// One call, with everything that decides about it.
#[derive(Clone, Debug)]
pub struct CompiledRoute {
    /// The API's name.
    pub api: String,
    /// The method.
    pub method: String,
    /// The pattern as the template writes it: `GET /x/{id}`.
    pub pattern: String,
    /// Which token it takes.
    pub token: RouteToken,
    /// Whether it reaches the app's own data.
    pub app_data: bool,
    /// Path parameters that must be the user: parameter = pin.
    pub pin_path: BTreeMap<String, String>,
    /// Query parameters that are overwritten: parameter = pin.
    pub pin_query: BTreeMap<String, String>,
    /// Body members that are overwritten: member = pin.
    pub pin_body: BTreeMap<String, String>,
    /// Body members that are refused.
    pub refuse_body: Vec<String>,
    /// Whether a redirect to storage is followed by the gateway.
    pub follow: bool,
    /// The scopes that open it; any one of them does, together with its `also`.
    pub opened_by: Vec<OpenedBy>,
    /// Whether it only looks: a GET, or a call that a reading scope opens.
    pub reads: bool,
    /// What it names, carries and gives.
    pub terms: CallEntry,
    params: Vec<(usize, String)>,
}

/// How a limit bears on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// No scope that the limit is about opens the call.
    Outside,
    /// The template says that the call reaches nothing that the limit is about.
    Free,
    /// What the call names, carries or gives is tested.
    Tested,
    /// The template does not say how to test it: refused while the limit is in force.
    Closed,
}

/// A scope that opens a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedBy {
    /// The scope.
    pub scope: Scope,
    /// Scopes that are needed as well.
    pub also: ScopeSet,
}

/// A request that was recognised.
#[derive(Clone, Debug)]
pub struct RouteMatch<'t> {
    /// The call.
    pub route: &'t CompiledRoute,
    /// The parameters' raw text, as it was sent.
    pub params: BTreeMap<&'t str, String>,
}

/// Routes that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteProblem {
    /// Not a pattern.
    #[error("the route `{call}` {problem}")]
    Pattern {
        /// The text.
        call: String,
        /// Why.
        problem: PatternProblem,
    },
    /// An API that the template does not have.
    #[error("the route `{call}` names the unknown api `{api}`")]
    UnknownApi {
        /// The text.
        call: String,
        /// The name.
        api: String,
    },
    /// Terms of a call that no scope opens.
    #[error("`[[call]]` names `{call}`, which no scope's route states in these words")]
    NoSuchCall {
        /// The text.
        call: String,
    },
    /// The same call under other conditions.
    #[error(
        "the routes `{call}` and `{other}` are the same call with different tokens, pins or parameter names"
    )]
    Conflict {
        /// The later one.
        call: String,
        /// The earlier one.
        other: String,
    },
}

impl CompiledRoute {
    /// Whether these granted scopes open it.
    pub fn is_open_to(&self, granted: &ScopeSet) -> bool {
        self.opened_by.iter().any(|by| granted.contains(&by.scope) && by.also.is_subset(granted))
    }

    /// Whether anything in it is fixed to the user.
    pub fn is_pinned(&self) -> bool {
        !(self.pin_path.is_empty() && self.pin_query.is_empty() && self.pin_body.is_empty())
    }

    fn new(entry: &RouteEntry, pattern: &Pattern<'_>) -> Self {
        let params = pattern.segments.iter().enumerate().filter_map(|(at, segment)| match segment {
            Segment::Param(name) => Some((at, (*name).to_owned())),
            Segment::Literal(_) => None,
        });
        Self {
            api: entry.api.clone(),
            method: pattern.method.to_owned(),
            pattern: entry.call.clone(),
            token: entry.token,
            app_data: entry.app_data,
            pin_path: entry.pin_path.clone(),
            pin_query: entry.pin_query.clone(),
            pin_body: entry.pin_body.clone(),
            refuse_body: entry.refuse_body.clone(),
            follow: entry.follow,
            opened_by: Vec::new(),
            reads: pattern.method == "GET",
            terms: CallEntry::default(),
            params: params.collect(),
        }
    }

    /// How a limit that the template offers bears on it.
    pub fn cover(&self, limit: &LimitEntry) -> Cover {
        let is_bounded =
            limit.api == self.api && self.opened_by.iter().any(|by| limit.scopes.contains(&by.scope));
        let terms = &self.terms;
        let objects = terms.names.iter().map(|name| &name.object);
        let mut objects = objects.chain(terms.carries.iter().chain(&terms.gives).map(|place| &place.object));
        if !is_bounded {
            Cover::Outside
        } else if terms.free.contains(&limit.kind) {
            Cover::Free
        } else if objects.any(|object| limit.tests.contains_key(object))
            || terms.window.as_ref().is_some_and(|window| window.kind == limit.kind)
        {
            Cover::Tested
        } else {
            Cover::Closed
        }
    }

    fn has_terms_of(&self, other: &Self) -> bool {
        self.token == other.token
            && self.app_data == other.app_data
            && self.pin_path == other.pin_path
            && self.pin_query == other.pin_query
            && self.pin_body == other.pin_body
            && self.refuse_body == other.refuse_body
            && self.follow == other.follow
            && self.params == other.params
    }
}

impl RouteTable {
    /// Builds the table of a template.
    ///
    /// # Errors
    /// When routes contradict each other; the lint names each with its line.
    pub fn compile(template: &Template) -> Result<Self, RouteProblem> {
        let mut builder = Builder::default();
        for scope in &template.scope {
            for entry in &scope.routes {
                builder.add(template, scope, entry)?;
            }
        }
        for entry in &template.call {
            builder.set_terms(entry)?;
        }
        let mut apis: BTreeMap<String, ApiRoutes> = template
            .api
            .iter()
            .map(|(name, api)| {
                let case_insensitive = api.case_insensitive;
                (name.clone(), ApiRoutes { case_insensitive, methods: BTreeMap::new() })
            })
            .collect();
        for ((api, method), branch) in builder.methods {
            if let Some(routes) = apis.get_mut(&api) {
                routes.methods.insert(method, branch.into());
            }
        }
        Ok(Self(Arc::new(Table { apis, routes: builder.routes })))
    }

    /// The call that a request is. At each segment a literal beats a parameter.
    pub fn find<'t>(&'t self, api: &str, method: &str, segments: &[&str]) -> Option<RouteMatch<'t>> {
        let api = self.0.apis.get(api)?;
        let found = api.methods.get(method)?.find(segments, api.case_insensitive)?;
        let route = self.0.routes.get(found)?;
        let params = route
            .params
            .iter()
            .filter_map(|(at, name)| Some((name.as_str(), (*segments.get(*at)?).to_owned())))
            .collect();
        Some(RouteMatch { route, params })
    }

    /// All calls, in the template's order.
    pub fn iter(&self) -> impl Iterator<Item = &CompiledRoute> {
        self.0.routes.iter()
    }

    /// How many distinct calls there are.
    pub fn len(&self) -> usize {
        self.0.routes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.routes.is_empty()
    }
}

impl Builder {
    fn set_terms(&mut self, entry: &CallEntry) -> Result<(), RouteProblem> {
        let is_it = |route: &&mut CompiledRoute| route.api == entry.api && route.pattern == entry.call;
        let route = self.routes.iter_mut().find(is_it);
        let route = route.ok_or_else(|| RouteProblem::NoSuchCall { call: entry.call.clone() })?;
        route.terms = entry.clone();
        Ok(())
    }

    fn add(
        &mut self,
        template: &Template,
        scope: &ScopeEntry,
        entry: &RouteEntry,
    ) -> Result<(), RouteProblem> {
        let call = || entry.call.clone();
        let pattern =
            Pattern::parse(&entry.call).map_err(|problem| RouteProblem::Pattern { call: call(), problem })?;
        let api = template
            .api
            .get(&entry.api)
            .ok_or_else(|| RouteProblem::UnknownApi { call: call(), api: entry.api.clone() })?;
        let compiled = CompiledRoute::new(entry, &pattern);
        let root = self.methods.entry((entry.api.clone(), pattern.method.to_owned())).or_default();
        let leaf = root.leaf(&pattern.segments, api.case_insensitive);
        let next = self.routes.len();
        let index = *leaf.get_or_insert(next);
        if index == next {
            self.routes.push(compiled.clone());
        }
        if let Some(route) = self.routes.get_mut(index) {
            if !route.has_terms_of(&compiled) {
                return Err(RouteProblem::Conflict { call: call(), other: route.pattern.clone() });
            }
            route.reads |= scope.access == Access::Read;
            route
                .opened_by
                .push(OpenedBy { scope: scope.name.clone(), also: entry.also.iter().cloned().collect() });
        }
        Ok(())
    }
}

impl Branch {
    /// The place at the end of a pattern.
    fn leaf(&mut self, segments: &[Segment<'_>], any_case: bool) -> &mut Option<usize> {
        match segments.split_first() {
            None => &mut self.route,
            Some((Segment::Param(_), rest)) => self.param.get_or_insert_default().leaf(rest, any_case),
            Some((Segment::Literal(text), rest)) => {
                let key = if any_case { text.to_ascii_lowercase() } else { (*text).to_owned() };
                self.literals.entry(key).or_default().leaf(rest, any_case)
            }
        }
    }
}

impl From<Branch> for Node {
    fn from(branch: Branch) -> Self {
        Self {
            literals: branch.literals.into_iter().map(|(text, next)| (text, next.into())).collect(),
            param: branch.param.map(|next| Box::new((*next).into())),
            route: branch.route,
        }
    }
}

impl Node {
    /// Visits each node once at most, so the work is bounded by the table and not by the request.
    fn find(&self, segments: &[&str], any_case: bool) -> Option<usize> {
        let Some((first, rest)) = segments.split_first() else { return self.route };
        let compare = |(text, _): &(String, Node)| {
            if any_case { compare_lower(text, first) } else { text.as_str().cmp(first) }
        };
        let literal = self.literals.binary_search_by(compare).ok().and_then(|at| self.literals.get(at));
        literal.and_then(|(_, next)| next.find(rest, any_case)).or_else(|| {
            let next =
                self.param.as_ref().filter(|_| !first.is_empty() && !self.is_disguised(first, any_case))?;
            next.find(rest, any_case)
        })
    }

    /// Whether a segment is one of the literals here in percent-encoding. The vendor would take
    /// `delta%28%29` for `delta()`, so it must not pass for the id beside it.
    fn is_disguised(&self, segment: &str, any_case: bool) -> bool {
        let is_same = |literal: &str| {
            let decoded = Decoded { bytes: segment.bytes() };
            if any_case {
                decoded.map(|b| b.to_ascii_lowercase()).eq(literal.bytes())
            } else {
                decoded.eq(literal.bytes())
            }
        };
        segment.contains('%') && self.literals.iter().any(|(literal, _)| is_same(literal))
    }
}

/// The bytes that percent-encoding stands for; what encodes nothing stands for itself.
struct Decoded<'s> {
    bytes: std::str::Bytes<'s>,
}

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let byte = self.bytes.next()?;
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|value| u8::try_from(value).ok());
        if byte == b'%' {
            let mut ahead = self.bytes.clone();
            if let (Some(high), Some(low)) = (ahead.next().and_then(digit), ahead.next().and_then(digit)) {
                self.bytes = ahead;
                return Some(high * 16 + low);
            }
        }
        Some(byte)
    }
}

/// Compares a lower-case text with another as if that were lower case too, without making it so.
fn compare_lower(lower: &str, other: &str) -> Ordering {
    lower.bytes().cmp(other.bytes().map(|b| b.to_ascii_lowercase()))
}
