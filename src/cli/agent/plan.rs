//! What would have to be done for the register to be what a file says.

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::cli::agent::statement::{Stated, Statement};
use crate::cli::remote::{Refused, Remote};
use crate::net::http::Method;
use crate::providers::check::Finding;

/// What is different about an agent: member, value now, value then.
pub type Differences = Vec<(String, Value, Value)>;

/// One step.
pub enum Step<'s> {
    /// Register it.
    Create(&'s Stated),
    /// Change it.
    Change {
        /// What the file says.
        stated: &'s Stated,
        /// Its id.
        id: String,
        /// What is different, its state left out.
        differences: Differences,
        /// `suspend`, `resume` or `retire`, where its state has to change.
        action: Option<&'static str>,
    },
    /// It is as the file says.
    Same(&'s Stated, String),
}

/// All steps, and those agents of the register that the file does not name: they are left as they are.
pub struct Plan<'s> {
    /// The steps, in the order of the file.
    pub steps: Vec<Step<'s>>,
    /// Ids and names.
    pub left: Vec<(String, String)>,
}

impl<'s> Plan<'s> {
    /// Makes a plan: asks the broker about each agent, and changes nothing.
    ///
    /// # Errors
    /// When the broker cannot be asked. Inside: everything that it would refuse.
    pub fn make(remote: &Remote, statement: &'s Statement) -> anyhow::Result<Result<Self, Vec<Finding>>> {
        let register = remote.all("/api/v1/agents?limit=200")?;
        let register = register.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let (mut steps, mut findings) = (Vec::new(), Vec::new());
        for stated in &statement.agents {
            match find(&register, stated) {
                Err(words) => findings.push(statement.finding(stated, &words)),
                Ok(None) => {
                    match remote.ask(Method::POST, "/api/v1/agents?dry_run=true", Some(&stated.body))? {
                        Ok(_) => steps.push(Step::Create(stated)),
                        Err(refused) => findings.push(statement.finding(stated, &told(&refused)?)),
                    }
                }
                Ok(Some(now)) => {
                    let id = text(now, "id");
                    let path = format!("/api/v1/agents/{id}?dry_run=true");
                    match remote.ask(Method::PUT, &path, Some(&stated.body))? {
                        Ok(then) => steps.push(step(stated, id, now, &then)),
                        Err(refused) => findings.push(statement.finding(stated, &told(&refused)?)),
                    }
                }
            }
        }
        if !findings.is_empty() {
            return Ok(Err(findings));
        }
        let named = |id: &String| {
            steps.iter().any(
                |step| matches!(step, Step::Change { id: named, .. } | Step::Same(_, named) if named == id),
            )
        };
        let left = register.iter().map(|agent| (text(agent, "id"), text(agent, "name")));
        let left = left.filter(|(id, _)| !named(id)).collect();
        Ok(Ok(Self { steps, left }))
    }

    /// Whether there is anything to do.
    pub fn is_done(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Same(..)))
    }

    /// For programs.
    pub fn json(&self) -> Map<String, Value> {
        let (mut create, mut change, mut same) = (Vec::new(), Vec::new(), Vec::new());
        for step in &self.steps {
            match step {
                Step::Create(stated) => create.push(json!({ "name": stated.name, "line": stated.line })),
                Step::Change { stated, id, differences, action } => {
                    let differences = differences
                        .iter()
                        .map(|(member, now, then)| json!({ "member": member, "from": now, "to": then }));
                    let changes: Vec<Value> = differences.collect();
                    change.push(json!({ "id": id, "name": stated.name, "line": stated.line,
                        "changes": changes, "state": action }));
                }
                Step::Same(stated, id) => same.push(json!({ "id": id, "name": stated.name })),
            }
        }
        let left: Vec<Value> = self.left.iter().map(|(id, name)| json!({ "id": id, "name": name })).collect();
        let members = [("create", create), ("change", change), ("same", same), ("left", left)];
        members.into_iter().map(|(name, items)| (name.to_owned(), Value::from(items))).collect()
    }

    /// For people, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for step in &self.steps {
            match step {
                Step::Create(stated) => lines.push(format!("+ create  {}", stated.name)),
                Step::Change { stated, id, differences, action } => {
                    lines.push(format!("~ change  {} ({id})", stated.name));
                    for (member, now, then) in differences {
                        lines.push(format!("            {member}: {now} → {then}"));
                    }
                    lines.extend(action.map(|action| format!("            {action}")));
                }
                Step::Same(stated, id) => lines.push(format!("  same    {} ({id})", stated.name)),
            }
        }
        for (id, name) in &self.left {
            lines.push(format!("  left    {name} ({id}) is not in the file"));
        }
        lines
    }
}

/// The agent of the register that is meant: by id, else by a name that one agent only has.
fn find<'r>(register: &'r [Value], stated: &Stated) -> Result<Option<&'r Value>, String> {
    if let Some(id) = &stated.id {
        let found = register.iter().find(|agent| &text(agent, "id") == id);
        return found
            .map(Some)
            .ok_or_else(|| "id: no agent has it; leave it out to register a new one".to_owned());
    }
    let is_meant = |agent: &&Value| text(agent, "name") == stated.name && text(agent, "state") != "retired";
    let found: Vec<&Value> = register.iter().filter(is_meant).collect();
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        _ => Err("name: several agents have it; state the `id`".to_owned()),
    }
}

fn step<'s>(stated: &'s Stated, id: String, now: &Value, then: &Value) -> Step<'s> {
    let of = |value: &Value, name: &str| value.get(name).cloned().unwrap_or(Value::Null);
    let members = [now, then].into_iter().filter_map(Value::as_object).flat_map(|members| members.keys());
    let mut members: Vec<&String> =
        members.filter(|name| !["flags", "state"].contains(&name.as_str())).collect();
    members.sort();
    members.dedup();
    let differences: Differences = members
        .into_iter()
        .map(|name| (name.clone(), of(now, name), of(then, name)))
        .filter(|(_, now, then)| now != then)
        .collect();
    let action = match stated.state.as_deref() {
        Some(wanted) if wanted == text(now, "state") => None,
        Some("suspended") => Some("suspend"),
        Some("active") => Some("resume"),
        Some("retired") => Some("retire"),
        _ => None,
    };
    if differences.is_empty() && action.is_none() {
        return Step::Same(stated, id);
    }
    Step::Change { stated, id, differences, action }
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A refusal that is about the file; anything else ends the command.
fn told(refused: &Refused) -> anyhow::Result<String> {
    let is_about_it = matches!(refused.status, 400 | 404 | 409 | 422);
    is_about_it
        .then(|| refused.words.clone())
        .with_context(|| format!("the broker refused ({}): {}", refused.status, refused.words))
}
