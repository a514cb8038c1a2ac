//! What is different between two states of an agent, in words for its history.

use serde_json::{Map, Value};

use crate::agents::secret_name;
use crate::kernel::text::clean;
use crate::model::agent::{Agent, AgentSecret};

/// A list of a thousand people would fill the log.
const LONGEST: usize = 300;

/// A line for each value that differs. Of secrets only their names.
pub(super) fn differences(before: &Agent, after: &Agent) -> Vec<String> {
    let (before, after) = (members(before), members(after));
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differing.map(|name| line(name, before.get(name), after.get(name))).collect()
}

/// The record's members, those of its entry beside the others.
fn members(agent: &Agent) -> Map<String, Value> {
    let Ok(Value::Object(mut members)) = serde_json::to_value(agent) else { return Map::new() };
    if let Some(Value::Object(entry)) = members.remove("entry") {
        members.extend(entry);
    }
    members.insert("secrets".to_owned(), secrets(agent).into());
    members
}

fn secrets(agent: &Agent) -> String {
    let name = |secret: &AgentSecret| match secret.expires_at {
        None => secret_name(secret),
        Some(ends) => format!("{} until {}", secret_name(secret), ends.rfc3339()),
    };
    let names: Vec<String> = agent.secrets.iter().map(name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn line(name: &str, before: Option<&Value>, after: Option<&Value>) -> String {
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(Value::String(text)) => clean(text, LONGEST),
        Some(other) => clean(&other.to_string(), LONGEST),
    };
    format!("{name}: {} → {}", text(before), text(after))
}
