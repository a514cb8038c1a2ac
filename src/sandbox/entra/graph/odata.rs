//! The query options that lists understand: `$filter`, `$orderby`, `$search`, `$select`, `$top`, `$skip`, `$count`.

use serde_json::{Map, Value, json};

use crate::sandbox::entra::GRAPH;
use crate::sandbox::entra::graph::filter::{Filter, compare, property};
use crate::sandbox::entra::graph::{Answer, Call, context, error};
use crate::sandbox::wire::{Params, Reply};

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

/// How many there are, as plain text: `…/$count`.
pub(super) fn count(call: &Call<'_>, items: Vec<Value>) -> Answer {
    let params = call.request.params();
    let items = match option(&params, "filter") {
        Some(filter) => filtered(items, filter, None)?,
        None => items,
    };
    Ok(Reply::bytes(200, "text/plain", items.len().to_string()))
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
    // KQL's `property:word` and the bare word; the properties are searched alike.
    let word = words.rsplit_once(':').map_or(words.as_str(), |(_, word)| word);
    item.to_string().to_lowercase().contains(word)
}

fn filtered(items: Vec<Value>, filter: &str, order: Option<&str>) -> Result<Vec<Value>, Reply> {
    let invalid =
        || error(400, "ErrorInvalidUrlQueryFilter", "The query filter contains one or more invalid nodes.");
    let filter = Filter::read(filter).map_err(|_| invalid())?;
    if let Some(item) = items.first() {
        let known = |path: &&str| {
            let first = path.split('.').next().unwrap_or_default();
            item.as_object().is_some_and(|o| o.keys().any(|key| key.eq_ignore_ascii_case(first)))
        };
        if !filter.properties().iter().all(known) {
            return Err(invalid());
        }
    }
    if let (Some(order), Some(first)) = (order, filter.first_property()) {
        let property = order.split([' ', ',']).next().unwrap_or_default();
        if !first.eq_ignore_ascii_case(&property.replace('/', ".")) {
            let message = "The restriction or sort order is too complex for this operation.";
            return Err(error(400, "InefficientFilter", message));
        }
    }
    Ok(items.into_iter().filter(|item| filter.holds(item)).collect())
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
