//! What the limits in force make of a request: a plan, made without dialling anything.
//!
//! Every step is kept in words, so that a decision can be explained. The first refusal ends the plan.

use crate::gateway::denial::Denial;
use crate::gateway::limits::facts::{Facts, Held, Source, fields_of};
use crate::gateway::limits::json::{Json, NotOne};
use crate::gateway::limits::names::{self, Unnamed};
pub use crate::gateway::limits::plan::{AnswerTest, Asked, Check, Judged, Plan, Step, Verdict};
use crate::gateway::limits::query::Query;
use crate::gateway::limits::{places, reshape, words};
use crate::kernel::said::Said;
use crate::model::limit::Limit;
use crate::providers::routes::{CompiledRoute, Cover};
use crate::providers::template::{Field, LimitEntry, NameRef, ObjectEntry, ObjectPlace, Template, Test};

/// Whether a limit in force looks into the body of a call.
pub fn looks_into_body(template: &Template, route: &CompiledRoute, limits: &[Limit]) -> bool {
    let terms = &route.terms;
    limits.iter().filter(|limit| bears_on(limit, route)).any(|limit| {
        let Some(entry) = template.limit_entry(limit.kind(), &route.api) else { return false };
        let in_body = |name: &NameRef| name.id.iter().any(|place| place.starts_with("body:"));
        let is_tested = |object: &str| entry.tests.contains_key(object);
        route.cover(entry) == Cover::Tested
            && (terms.names.iter().any(|name| in_body(name) && is_tested(&name.object))
                || terms.carries.iter().any(|place| is_tested(&place.object))
                || terms.refuse.iter().any(|place| place.starts_with("body:"))
                || reshape::window_in_body(terms, limit.kind()))
    })
}

/// Whether a limit bears on a call by what it names, carries or gives.
pub fn bears_on(limit: &Limit, route: &CompiledRoute) -> bool {
    limit.is_on(&route.api) && !limit.kind().is_general()
}

/// Judges a request by all limits in force. General bounds are not judged here: they need no template.
pub fn judge(asked: &Asked<'_>) -> Judged {
    let mut steps = Vec::new();
    if asked.limits.is_empty() {
        let plan = Plan { query: asked.query.map(str::to_owned), ..Plan::default() };
        return Judged { steps, outcome: Ok(plan) };
    }
    let outcome = plan(asked, &mut steps);
    Judged { steps, outcome }
}

fn plan(asked: &Asked<'_>, steps: &mut Vec<Step>) -> Result<Plan, Denial> {
    let looks_into_body = looks_into_body(asked.template, asked.route, asked.limits);
    let query = Query::parse(asked.query)
        .map_err(|problem| Denial::unclear(Said::of("parameter_name").and(problem.said())))?;
    let mut judging = Judging {
        asked,
        steps,
        query,
        body: if looks_into_body { Some(body(asked)?) } else { None },
        plan: Plan::default(),
    };
    for (at, limit) in asked.limits.iter().enumerate().filter(|(_, limit)| bears_on(limit, asked.route)) {
        judging.limit(at, limit)?;
    }
    judging.finish()
}

/// The body, read strictly. It is sent as it was read: in one spelling.
fn body<'a>(asked: &Asked<'a>) -> Result<Json<'a>, Denial> {
    if asked.body.is_empty() {
        return Ok(Json::Object(Vec::new()));
    }
    let kind = asked.content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let words =
            "a limit of this grant looks into the body: send JSON, with content-type: application/json";
        return Err(Denial::bad_request(415, words));
    }
    let unreadable = |problem: NotOne| Denial::unclear(Said::of("body_is").and(problem.said()));
    let mut body = Json::parse(asked.body).map_err(unreadable)?;
    body.plain().map_err(unreadable)?;
    Ok(body)
}

struct Judging<'a, 's> {
    asked: &'a Asked<'a>,
    steps: &'s mut Vec<Step>,
    query: Query,
    body: Option<Json<'a>>,
    plan: Plan,
}

impl<'a> Judging<'a, '_> {
    fn step(&mut self, limit: &Limit, verdict: Verdict, said: Said) {
        self.steps.push(Step { limit: limit.kind().as_str(), verdict, said });
    }

    fn limit(&mut self, at: usize, limit: &Limit) -> Result<(), Denial> {
        let route = self.asked.route;
        // INVARIANT: a limit that cannot be enforced refuses; it is never passed over.
        let Some(entry) = self.asked.template.limit_entry(limit.kind(), &route.api) else {
            return Err(words::refusal(limit, &route.pattern, Said::of("no_way")));
        };
        match route.cover(entry) {
            Cover::Outside => {
                self.step(limit, Verdict::Passes, Said::of("not_bounded"));
                Ok(())
            }
            Cover::Free => {
                self.step(limit, Verdict::Passes, Said::of("reaches_nothing"));
                Ok(())
            }
            Cover::Closed => {
                let problem = Said::of("cannot_be_held").and(route.pattern.as_str());
                Err(self.with_others(words::refusal(limit, &route.pattern, problem)))
            }
            Cover::Tested => self.tested(at, limit, entry),
        }
    }

    fn tested(&mut self, at: usize, limit: &Limit, entry: &LimitEntry) -> Result<(), Denial> {
        let terms = &self.asked.route.terms;
        terms.refuse.iter().try_for_each(|place| self.refuse(limit, place))?;
        for name in &terms.names {
            if let Some(test) = entry.tests.get(&name.object) {
                self.named(at, limit, name, *test)?;
            }
        }
        for place in &terms.carries {
            if let Some(test) = entry.tests.get(&place.object) {
                self.carried(at, limit, place, *test)?;
            }
        }
        self.reshape(limit)?;
        self.refuse_searching(limit, entry)?;
        for (place, given) in terms.gives.iter().enumerate() {
            if let Some(test) = entry.tests.get(&given.object) {
                self.plan.answer.push(AnswerTest { limit: at, place, test: *test });
                let said = Said::of("tests_answer").and(Said::noun(&given.object));
                self.step(limit, Verdict::TestsAnswer, said.and(words::compared(*test)));
            }
        }
        Ok(())
    }

    /// What would name things in a way that no test follows.
    fn refuse(&self, limit: &Limit, place: &str) -> Result<(), Denial> {
        let is_there = match place.split_once(':') {
            Some(("query", name)) => self.query.has(name),
            Some(("body", path)) => {
                self.body.as_ref().is_some_and(|body| places::find(body, path, true) != Ok(Vec::new()))
            }
            _ => true,
        };
        if is_there {
            return Err(words::refusal(limit, place, Said::of("not_comparable").and(place)));
        }
        Ok(())
    }

    /// What an agent searches for by what is in it shows, by what is missing, also what lies outside; unless the
    /// request itself is held inside: by what it names, by its window, or by the limit's own condition.
    fn refuse_searching(&self, limit: &Limit, entry: &LimitEntry) -> Result<(), Denial> {
        let terms = &self.asked.route.terms;
        let is_tested = |object: &str| entry.tests.contains_key(object);
        let lists =
            |given: &ObjectPlace| is_tested(&given.object) && places::split_at_list(&given.at).is_some();
        let is_held = terms.names.iter().any(|name| is_tested(&name.object))
            || terms.window.as_ref().is_some_and(|window| window.kind == limit.kind());
        if is_held || !terms.gives.iter().any(lists) {
            return Ok(());
        }
        let api = self.asked.template.api.get(&self.asked.route.api);
        let mut searches = api.map(|api| api.searches.as_slice()).unwrap_or_default().iter();
        let open = searches
            .find(|name| self.query.has(name) && !reshape::is_joined(terms, limit.kind(), name, &self.query));
        match open {
            Some(name) => {
                let denial = words::refusal(limit, name, Said::of("would_tell").and(name.as_str()));
                Err(self.with_others(denial))
            }
            None => Ok(()),
        }
    }

    fn named(&mut self, at: usize, limit: &Limit, name: &NameRef, test: Test) -> Result<(), Denial> {
        let object = &name.object;
        let mut request =
            names::Request { params: self.asked.params, query: &mut self.query, body: self.body.as_ref() };
        let ids = names::identifiers(name, &mut request).map_err(|unnamed| {
            let asked = if let Unnamed::NotPlain(text) = &unnamed { text } else { &self.asked.route.pattern };
            words::refusal(limit, asked, unnamed.said(object))
        })?;
        ids.into_iter().try_for_each(|id| self.id(at, limit, object, id, test))
    }

    /// An object that is named by its identifier.
    fn id(&mut self, at: usize, limit: &Limit, object: &str, id: String, test: Test) -> Result<(), Denial> {
        if matches!(test, Test::Id | Test::Tree) && limit.bound.names(&id) {
            let said = Said::of("is_named").and(Said::noun(object)).and(words::quoted(&id));
            self.step(limit, Verdict::Passes, said);
            return Ok(());
        }
        // Without a look-up, a tree is looked through from the folders that the limit names.
        let is_listed = |entry: &ObjectEntry| entry.list.as_ref().is_some_and(|list| list.children.is_some());
        let can_be_looked_up = self
            .object(object)
            .is_some_and(|entry| entry.get.is_some() || (test == Test::Tree && is_listed(entry)));
        if can_be_looked_up {
            let said = Said::of("is_looked_up").and(Said::noun(object)).and(words::quoted(&id));
            self.step(limit, Verdict::LooksUp, said.and(words::compared(test)));
            self.plan.checks.push(Check { limit: at, object: object.to_owned(), id, test });
            return Ok(());
        }
        let problem = if test == Test::Id {
            Said::of("not_named").and(Said::noun(object))
        } else {
            Said::of("not_known_before").and(Said::noun(object)).and(words::compared(test))
        };
        let denial = self.with_others(words::refusal(limit, &id, problem));
        // Where the identifier itself is compared, it is also what would have to be allowed.
        Err(if matches!(test, Test::Id | Test::Tree) { denial.beyond(limit, Some(&id)) } else { denial })
    }

    /// An object that the body holds.
    fn carried(&mut self, at: usize, limit: &Limit, place: &ObjectPlace, test: Test) -> Result<(), Denial> {
        let object = &place.object;
        let may_leave_out = place.optional || self.asked.method == "PATCH";
        let source = if may_leave_out { Source::AgentsChange } else { Source::Agent };
        let Some(entry) = self.object(object) else {
            return Err(words::refusal(limit, object, Said::of("template_is_silent")));
        };
        let body = self.body.as_ref();
        let found = body.map_or(Ok(Vec::new()), |body| places::find(body, &place.at, true));
        let found = found.map_err(|problem| {
            let said = Said::of("body_unchecked").and(problem.said()).and(Said::noun(object));
            words::refusal(limit, &place.at, said)
        })?;
        if found.is_empty() && source == Source::Agent {
            let problem = Said::of("must_hold").and(Said::noun(object)).and(place.at.as_str());
            return Err(words::refusal(limit, &place.at, problem));
        }
        let facts: Vec<Facts> = found.into_iter().map(|value| Facts::of(value, entry, source)).collect();
        facts.iter().try_for_each(|facts| match test {
            Test::Id | Test::Tree => self.carried_ids(at, limit, (object, entry), facts, (test, source)),
            _ => self.carried_fields(limit, object, facts.test(test, &limit.bound, entry, source), test),
        })
    }

    /// What an agent writes about an object proves nothing, so each identifier in it is checked by itself.
    fn carried_ids(
        &mut self,
        at: usize,
        limit: &Limit,
        (object, entry): (&str, &ObjectEntry),
        facts: &Facts,
        (test, source): (Test, Source),
    ) -> Result<(), Denial> {
        let parts = entry.fields.get(&Field::Id).map_or(1, |place| place.at.len());
        let fields: &[Field] = if test == Test::Tree { &[Field::Id, Field::Parent] } else { &[Field::Id] };
        let mut ids = Vec::new();
        for field in fields {
            let values = facts.values(*field).map_err(|_| missing(limit, object, *field))?;
            ids.extend_from_slice(values);
        }
        if ids.is_empty() && source == Source::Agent {
            return Err(missing(limit, object, Field::Parent));
        }
        for id in ids {
            if id.splitn(parts, '/').any(|part| !names::is_plain(part)) {
                return Err(words::refusal(limit, &id, Unnamed::NotPlain(String::new()).said(object)));
            }
            self.id(at, limit, object, id, test)?;
        }
        Ok(())
    }

    fn carried_fields(&mut self, limit: &Limit, object: &str, held: Held, test: Test) -> Result<(), Denial> {
        match held {
            Held::Inside => {
                let said = Said::of("body_inside").and(Said::noun(object)).and(words::compared(test));
                self.step(limit, Verdict::Passes, said);
                Ok(())
            }
            Held::Outside(asked) => {
                let said = Said::of("body_outside").and(Said::noun(object)).and(words::compared(test));
                Err(words::refusal(limit, &asked, said).beyond(limit, Some(&asked)))
            }
            Held::Missing(field) => Err(missing(limit, object, field)),
        }
    }

    fn reshape(&mut self, limit: &Limit) -> Result<(), Denial> {
        let terms = &self.asked.route.terms;
        let changes = reshape::span(terms, limit, &mut self.query, self.body.as_mut())?;
        for said in changes {
            self.step(limit, Verdict::Changed, said);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Plan, Denial> {
        if let Some(test) = self.plan.answer.first() {
            if self.asked.method == "HEAD"
                && let Some(limit) = self.asked.limits.get(test.limit)
            {
                return Err(words::refusal(limit, "HEAD", Said::of("head")));
            }
            self.select()?;
        }
        // The re-serialised body is sent: what was judged has no second reading.
        let is_sent = self.body.is_some() && !(self.asked.body.is_empty() && self.is_empty_body());
        let body = self.body.as_ref().filter(|_| is_sent).map(Json::to_bytes);
        Ok(Plan { query: self.query.render(), body, ..self.plan })
    }

    fn is_empty_body(&self) -> bool {
        matches!(&self.body, Some(Json::Object(members)) if members.is_empty())
    }

    /// Asks for the members that have to be compared, where the agent picks members.
    fn select(&mut self) -> Result<(), Denial> {
        let api = self.asked.template.api.get(&self.asked.route.api);
        let Some(parameter) = api.and_then(|api| api.select.as_deref()) else { return Ok(()) };
        let needed = self.plan.answer.iter().flat_map(|test| self.members_of(*test));
        let mut needed: Vec<&str> = needed.collect();
        needed.sort_unstable();
        needed.dedup();
        let changed = reshape::select(parameter, &needed, &mut self.query)?;
        if changed
            && let Some(limit) = self.plan.answer.first().and_then(|test| self.asked.limits.get(test.limit))
        {
            self.step(limit, Verdict::Changed, Said::of("select_grows").and(parameter));
        }
        Ok(())
    }

    /// The outermost members that a test of the answer looks at.
    fn members_of(&self, test: AnswerTest) -> Vec<&'a str> {
        let place = self.asked.route.terms.gives.get(test.place);
        let entry = place.and_then(|place| self.asked.template.object.get(&place.object));
        let Some(entry) = entry else { return Vec::new() };
        let paths = fields_of(test.test).iter().filter_map(|field| entry.fields.get(field));
        paths.flat_map(|place| &place.at).map(|path| path.split('.').next().unwrap_or(path)).collect()
    }

    fn object(&self, name: &str) -> Option<&'a ObjectEntry> {
        self.asked.template.object.get(name)
    }

    /// The denial, with a few calls of the same scopes that the limits in force leave open.
    fn with_others(&self, denial: Denial) -> Denial {
        let Asked { template, routes, route, limits, scopes, .. } = self.asked;
        let is_open = |other: &&CompiledRoute| {
            let is_closed = |limit: &Limit| {
                let entry = template.limit_entry(limit.kind(), &other.api);
                entry.is_none_or(|entry| other.cover(entry) == Cover::Closed)
            };
            other.api == route.api
                && other.is_open_to(scopes)
                && !limits.iter().any(|limit| bears_on(limit, other) && is_closed(limit))
        };
        let mut open: Vec<&CompiledRoute> = routes.iter().filter(is_open).collect();
        open.sort_by_key(|other| other.method != route.method);
        let open: Vec<String> = open.iter().take(4).map(|other| format!("`{}`", other.pattern)).collect();
        if open.is_empty() { denial } else { denial.adding(Said::of("instead").and(open.join(", "))) }
    }
}

fn missing(limit: &Limit, object: &str, field: Field) -> Denial {
    let name = words::field(field);
    let problem = Said::of("body_lacks").and(Said::noun(object)).and(name.clone());
    words::refusal(limit, &name.english(), problem)
}

#[cfg(test)]
mod tests;
