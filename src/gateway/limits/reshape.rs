//! Changes that keep a request inside a limit: windows of time, filters, members that are asked for.

use std::borrow::Cow;

use crate::gateway::denial::Denial;
use crate::gateway::limits::json::Json;
use crate::gateway::limits::query::{Query, Unclear};
use crate::gateway::limits::{filter, moments, places, words};
use crate::kernel::clock::Timestamp;
use crate::kernel::said::Said;
use crate::model::limit::{Limit, LimitKind, Span};
use crate::providers::template::{CallEntry, Filter, TimeForm, Window, WindowPlace};

/// Whether a call states the window of such a limit in its body.
pub fn window_in_body(terms: &CallEntry, kind: LimitKind) -> bool {
    terms.window.as_ref().is_some_and(|window| window.kind == kind && window.place == WindowPlace::Body)
}

/// Brings a request's window and filters inside a limit in time; says what was changed.
///
/// # Errors
/// When nothing of the window lies inside, or it cannot be read.
pub fn span(
    terms: &CallEntry,
    limit: &Limit,
    query: &mut Query,
    body: Option<&mut Json<'_>>,
) -> Result<Vec<Said>, Denial> {
    let Some(span) = limit.bound.span() else { return Ok(Vec::new()) };
    let mut changes = Vec::new();
    if let Some(window) = terms.window.as_ref().filter(|window| window.kind == limit.kind()) {
        clamp(window, span, limit, query, body)?;
        changes.push(Said::of("window_kept").and(window.from.as_str()).and(window.until.as_str()));
    }
    for entry in terms.filter.iter().filter(|entry| entry.kind == limit.kind()) {
        if join(entry, span, limit, query)? {
            changes.push(Said::of("filter_joined").and(entry.query.as_str()));
        }
    }
    Ok(changes)
}

/// Whether the limit's own condition is joined with what a parameter says.
pub fn is_joined(terms: &CallEntry, kind: LimitKind, parameter: &str, query: &Query) -> bool {
    let mut filters = terms.filter.iter().filter(|entry| entry.kind == kind && entry.query == parameter);
    filters.any(|entry| !entry.unless.iter().any(|other| query.has(other)))
}

fn clamp(
    window: &Window,
    span: Span,
    limit: &Limit,
    query: &mut Query,
    mut body: Option<&mut Json<'_>>,
) -> Result<(), Denial> {
    let mut stated = |name: &str, body: Option<&Json<'_>>| -> Result<Option<String>, Denial> {
        match window.place {
            WindowPlace::Query => query.judged(name).map_err(|problem| unclear(name, problem)),
            WindowPlace::Body => stated_in_body(name, limit, body),
        }
    };
    let from = stated(&window.from, body.as_deref())?;
    let until = stated(&window.until, body.as_deref())?;
    let read = |name: &str, text: &Option<String>| -> Result<Option<Timestamp>, Denial> {
        let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        match moments::read(text, window.form) {
            Some(read) => Ok(Some(read.at)),
            None => Err(words::refusal(limit, text, Said::of("no_moment").and(name))),
        }
    };
    let (starts, ends) = (read(&window.from, &from)?, read(&window.until, &until)?);
    let Some(inside) = moments::clamp(span, starts, ends) else {
        let asked = format!("{} to {}", from.unwrap_or_default(), until.unwrap_or_default());
        return Err(words::refusal(limit, &asked, Said::of("window_outside")));
    };
    for (name, moment) in [(&window.from, inside.from), (&window.until, inside.until)] {
        let Some(moment) = moment else { continue };
        let text = moments::write(moment.0, window.form);
        match (window.place, body.as_deref_mut()) {
            (WindowPlace::Query, _) => query.set(name, &text),
            (WindowPlace::Body, Some(body)) => put(body, name, &text, window.form, limit)?,
            (WindowPlace::Body, None) => return Err(odd_body(limit, name)),
        }
    }
    Ok(())
}

fn stated_in_body(name: &str, limit: &Limit, body: Option<&Json<'_>>) -> Result<Option<String>, Denial> {
    let found = body.map_or(Ok(Vec::new()), |body| places::find(body, name, true));
    match found.as_deref() {
        Ok([]) => Ok(None),
        Ok([one]) => one.scalar().map(|text| Some(text.into_owned())).ok_or_else(|| odd_body(limit, name)),
        _ => Err(odd_body(limit, name)),
    }
}

/// Writes a moment where one was, as a text or a number like before; a new one is a text unless it is a
/// number by its form.
fn put(body: &mut Json<'_>, name: &str, text: &str, form: TimeForm, limit: &Limit) -> Result<(), Denial> {
    let before = places::find(body, name, true).ok().and_then(|found| found.first().copied());
    let is_number = match before {
        Some(value) => matches!(value, Json::Plain(_)),
        None => form != TimeForm::Rfc3339,
    };
    let value = if is_number { Json::Plain(Cow::Owned(text.to_owned())) } else { Json::text(text) };
    places::put(body, name, value).map_err(|_| odd_body(limit, name))
}

fn join(entry: &Filter, span: Span, limit: &Limit, query: &mut Query) -> Result<bool, Denial> {
    if entry.unless.iter().any(|other| query.has(other)) {
        return Ok(false);
    }
    let agents = query.judged(&entry.query).map_err(|problem| unclear(&entry.query, problem))?;
    let agents = agents.unwrap_or_default();
    let joined = filter::join(&agents, &filter::conditions(entry, span)).map_err(|filter::Unbalanced| {
        words::refusal(limit, &agents, Said::of("filter_unbalanced").and(entry.query.as_str()))
    })?;
    let is_changed = joined != agents;
    if is_changed {
        query.set(&entry.query, &joined);
    }
    Ok(is_changed)
}

/// Adds members to the list that an agent picks; without a list, all are there anyway.
///
/// # Errors
/// When the list comes twice or in another spelling.
pub fn select(parameter: &str, needed: &[&str], query: &mut Query) -> Result<bool, Denial> {
    let agents = query.judged(parameter).map_err(|problem| unclear(parameter, problem))?;
    let Some(agents) = agents.filter(|agents| !agents.trim().is_empty()) else { return Ok(false) };
    let all = filter::select(&agents, needed);
    let is_changed = all != agents;
    if is_changed {
        query.set(parameter, &all);
    }
    Ok(is_changed)
}

fn unclear(name: &str, problem: Unclear) -> Denial {
    Denial::unclear(Said::of("looks_at_parameter").and(name).and(problem.said()))
}

fn odd_body(limit: &Limit, name: &str) -> Denial {
    words::refusal(limit, name, Said::of("odd_body").and(name))
}
