//! The query options that lists understand: `$filter`, `$orderby`, `$search`, `$select`, `$top`, `$skip`, `$count`.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use crate::sandbox::entra::GRAPH;
use crate::sandbox::entra::graph::{Answer, Call, context, error};
use crate::sandbox::wire::{Params, Reply};
use crate::sandbox::world::from_iso;

/// An option's value; Graph reads names without the dollar sign and in any case as well.
pub(super) fn option<'p>(params: &'p Params, name: &str) -> Option<&'p str> {
    let is_it = |given: &str| given.strip_prefix('$').unwrap_or(given).eq_ignore_ascii_case(name);
    params.iter().find(|(given, value)| is_it(given) && !value.is_empty()).map(|(_, value)| value)
}

/// One page of a collection by the request's options.
pub(super) fn list(call: &Call<'_>, what: &str, items: Vec<Value>, usual_top: usize) -> Answer {
    let params = call.request.params();
    let (filter, order) = (option(&params, "filter"), option(&params, "orderby"));
    if option(&params, "search").is_some() && filter.is_some() {
        return Err(error(
            400,
            "SearchWithFilter",
            "The query parameter '$search' is not supported with '$filter'.",
        ));
    }
    let mut items = items;
    if let Some(words) = option(&params, "search") {
        items.retain(|item| matches_search(item, words));
    }
    if let Some(filter) = filter {
        items = filtered(items, filter, order)?;
    }
    if let Some(order) = order {
        sort(&mut items, order);
    }
    let number = |name: &str| option(&params, name).map(str::parse::<usize>);
    let top = match number("top") {
        None => usual_top,
        Some(Ok(top)) if (1..=1000).contains(&top) => top,
        Some(_) => {
            return Err(error(
                400,
                "BadRequest",
                "The limit of '1000' for Top query has been exceeded, or it is not a number.",
            ));
        }
    };
    let skip = match number("skip").or_else(|| number("skiptoken")) {
        None => 0,
        Some(Ok(skip)) => skip,
        Some(Err(_)) => return Err(error(400, "BadRequest", "Invalid value for $skip.")),
    };
    let total = items.len();
    let shown: Vec<Value> = items
        .into_iter()
        .skip(skip)
        .take(top)
        .map(|item| selected(item, option(&params, "select")))
        .collect();
    let mut page = Map::new();
    page.insert("@odata.context".to_owned(), json!(context(what)));
    if option(&params, "count") == Some("true") {
        page.insert("@odata.count".to_owned(), json!(total));
    }
    if skip.saturating_add(top) < total {
        page.insert("@odata.nextLink".to_owned(), json!(next_link(call, &params, skip.saturating_add(top))));
    }
    page.insert("value".to_owned(), Value::Array(shown));
    Ok(Reply::json(200, &Value::Object(page)))
}

/// One object, with `$select` applied.
pub(super) fn single(call: &Call<'_>, what: &str, item: Value) -> Answer {
    let params = call.request.params();
    let mut item = selected(item, option(&params, "select"));
    if let Some(members) = item.as_object_mut() {
        members.insert("@odata.context".to_owned(), json!(format!("{}/$entity", context(what))));
    }
    Ok(Reply::json(200, &item))
}

/// The address of the next page: the same query with another `$skip`. It is to be used whole.
fn next_link(call: &Call<'_>, params: &Params, skip: usize) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in params.iter() {
        if !matches!(name.trim_start_matches('$').to_ascii_lowercase().as_str(), "skip" | "skiptoken") {
            query.append_pair(name, value);
        }
    }
    query.append_pair("$skip", &skip.to_string());
    format!("{GRAPH}{}?{}", call.request.path, query.finish().replace("%24", "$"))
}

fn selected(item: Value, select: Option<&str>) -> Value {
    let (Some(select), Value::Object(members)) = (select, item.clone()) else { return item };
    let wanted: Vec<String> = select.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    let keep = |name: &str| {
        name == "id" || name.starts_with("@odata") || wanted.contains(&name.to_ascii_lowercase())
    };
    Value::Object(members.into_iter().filter(|(name, _)| keep(name)).collect())
}

fn matches_search(item: &Value, words: &str) -> bool {
    let words = words.trim_matches('"').to_lowercase();
    // KQL's `subject:word` and the bare word; the other properties are searched alike.
    let word = words.rsplit_once(':').map_or(words.as_str(), |(_, word)| word);
    item.to_string().to_lowercase().contains(word)
}

fn filtered(items: Vec<Value>, filter: &str, order: Option<&str>) -> Result<Vec<Value>, Reply> {
    let conditions: Vec<Condition> =
        split_and(filter).iter().map(|part| Condition::read(part)).collect::<Result<_, _>>()?;
    if let (Some(order), Some(first)) = (order, conditions.first()) {
        let property = order.split([' ', ',']).next().unwrap_or_default();
        if !first.property.eq_ignore_ascii_case(&property.replace('/', ".")) {
            let message = "The restriction or sort order is too complex for this operation.";
            return Err(error(400, "InefficientFilter", message));
        }
    }
    Ok(items.into_iter().filter(|item| conditions.iter().all(|c| c.holds(item))).collect())
}

/// Splits at `and`, outside of quotes.
fn split_and(filter: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for word in filter.split(' ') {
        if !quoted && word.eq_ignore_ascii_case("and") {
            parts.push(String::new());
            continue;
        }
        if word.matches('\'').count() % 2 == 1 {
            quoted = !quoted;
        }
        if let Some(part) = parts.last_mut() {
            if !part.is_empty() {
                part.push(' ');
            }
            part.push_str(word);
        }
    }
    parts
}

enum Test {
    Compare(fn(Ordering) -> bool, String),
    Contains(String),
    StartsWith(String),
}

struct Condition {
    /// The path with dots.
    property: String,
    test: Test,
}

impl Condition {
    fn read(text: &str) -> Result<Self, Reply> {
        let invalid = || {
            error(400, "ErrorInvalidUrlQueryFilter", "The query filter contains one or more invalid nodes.")
        };
        let text = text.trim();
        let function = |name: &str| {
            let inner = text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')?;
            let (path, value) = inner.split_once(',')?;
            Some((path.trim().replace('/', "."), unquoted(value.trim())))
        };
        if let Some((property, value)) = function("contains") {
            return Ok(Self { property, test: Test::Contains(value) });
        }
        if let Some((property, value)) = function("startswith").or_else(|| function("startsWith")) {
            return Ok(Self { property, test: Test::StartsWith(value) });
        }
        let text = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).unwrap_or(text);
        let mut words = text.splitn(3, ' ');
        let (property, operator, value) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let holds: fn(Ordering) -> bool = match operator {
            "eq" => Ordering::is_eq,
            "ne" => Ordering::is_ne,
            "ge" => Ordering::is_ge,
            "gt" => Ordering::is_gt,
            "le" => Ordering::is_le,
            "lt" => Ordering::is_lt,
            _ => return Err(invalid()),
        };
        if value.is_empty() {
            return Err(invalid());
        }
        Ok(Self { property: property.replace('/', "."), test: Test::Compare(holds, unquoted(value.trim())) })
    }

    fn holds(&self, item: &Value) -> bool {
        let value = property(item, &self.property);
        match &self.test {
            Test::Contains(part) => value.to_lowercase().contains(&part.to_lowercase()),
            Test::StartsWith(part) => value.to_lowercase().starts_with(&part.to_lowercase()),
            Test::Compare(holds, other) => holds(compare(&value, other)),
        }
    }
}

fn unquoted(text: &str) -> String {
    text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')).unwrap_or(text).replace("''", "'")
}

/// A property by its dotted path, in any case, as text.
fn property(item: &Value, path: &str) -> String {
    let mut found = item;
    for name in path.split('.') {
        let next = found.as_object().and_then(|o| o.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)));
        let Some((_, value)) = next else { return String::new() };
        found = value;
    }
    found.as_str().map_or_else(|| found.to_string(), str::to_owned)
}

fn compare(left: &str, right: &str) -> Ordering {
    match (from_iso(left), from_iso(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => left.to_lowercase().cmp(&right.to_lowercase()),
    }
}

fn sort(items: &mut [Value], order: &str) {
    let first = order.split(',').next().unwrap_or_default().trim();
    let (path, direction) = first.split_once(' ').unwrap_or((first, "asc"));
    let path = path.replace('/', ".");
    items.sort_by(|a, b| compare(&property(a, &path), &property(b, &path)));
    if direction.trim().eq_ignore_ascii_case("desc") {
        items.reverse();
    }
}
