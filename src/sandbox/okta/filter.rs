//! `q`, `filter` and `search` of the management API's lists.

use serde_json::Value;

use crate::sandbox::okta::api_error;
use crate::sandbox::wire::{Reply, Request};

/// `name eq "value"`, with the operators that the vendor documents.
struct Condition {
    path: String,
    operator: String,
    value: String,
}

/// What of a list the request chooses.
pub(super) fn chosen(request: &Request, items: Vec<Value>) -> Result<Vec<Value>, Reply> {
    let params = request.params();
    let mut items = items;
    if let Some(q) = params.filled("q") {
        let q = q.to_lowercase();
        items.retain(|item| begins(item, &q));
    }
    for name in ["filter", "search"] {
        if let Some(text) = params.filled(name) {
            let any_of = read(text)
                .ok_or_else(|| api_error(400, "E0000031", &format!("Invalid search criteria: {text}")))?;
            items.retain(|item| any_of.iter().any(|all_of| all_of.iter().all(|c| c.holds(item))));
        }
    }
    Ok(items)
}

/// `q` matches the beginning of a name or an e-mail; in the log, of any text.
fn begins(item: &Value, q: &str) -> bool {
    match item {
        Value::String(text) => text.to_lowercase().starts_with(q),
        Value::Array(items) => items.iter().any(|item| begins(item, q)),
        Value::Object(members) => members.iter().any(|(name, value)| name != "_links" && begins(value, q)),
        _ => false,
    }
}

/// Conditions joined by `and`, those groups joined by `or`; brackets are not read.
fn read(text: &str) -> Option<Vec<Vec<Condition>>> {
    text.split(" or ").map(|all| all.split(" and ").map(condition).collect()).collect()
}

fn condition(text: &str) -> Option<Condition> {
    let mut words = text.trim().splitn(3, ' ');
    let (path, operator) = (words.next()?.to_owned(), words.next()?.to_ascii_lowercase());
    let value = words.next().unwrap_or_default().trim().trim_matches('"').to_owned();
    let known = ["eq", "ne", "sw", "co", "ew", "gt", "ge", "lt", "le", "pr"].contains(&operator.as_str());
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_');
    (known && plain).then_some(Condition { path, operator, value })
}

impl Condition {
    fn holds(&self, item: &Value) -> bool {
        let found = self.path.split('.').try_fold(item, |value, name| value.get(name));
        let found = found.and_then(Value::as_str).unwrap_or_default().to_lowercase();
        let value = self.value.to_lowercase();
        match self.operator.as_str() {
            "eq" => found == value,
            "ne" => found != value,
            "sw" => found.starts_with(&value),
            "co" => found.contains(&value),
            "ew" => found.ends_with(&value),
            "gt" => found > value,
            "ge" => found >= value,
            "lt" => found < value,
            "le" => found <= value,
            _ => !found.is_empty(),
        }
    }
}
