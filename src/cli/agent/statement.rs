//! The register as a TOML file: reading it strictly, with file, line and key of everything that is wrong,
//! and writing it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::providers::check::Finding;

/// What a value has to be.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Time,
    Texts,
    ScopesBy,
    Table,
    Switch,
}

/// The keys of an agent in the order in which they are written.
const KEYS: [(&str, Shape); 20] = [
    ("id", Shape::Text),
    ("name", Shape::Text),
    ("kind", Shape::Text),
    ("purpose", Shape::Text),
    ("owner", Shape::Text),
    ("state", Shape::Text),
    ("platform", Shape::Text),
    ("environment", Shape::Text),
    ("labels", Shape::Texts),
    ("data_classes", Shape::Texts),
    ("expires_at", Shape::Time),
    ("review_at", Shape::Time),
    ("subject_audiences", Shape::Texts),
    ("ceiling", Shape::ScopesBy),
    ("default_scopes", Shape::ScopesBy),
    ("audience_ceiling", Shape::ScopesBy),
    ("limits", Shape::Table),
    ("people", Shape::Table),
    ("sender_constrained", Shape::Switch),
    ("sign_in", Shape::Table),
];
const REQUIRED: [&str; 4] = ["name", "kind", "purpose", "owner"];
const STATES: [&str; 3] = ["active", "suspended", "retired"];

/// One agent of a file.
pub struct Stated {
    /// Its id, where the file names one.
    pub id: Option<String>,
    /// Its name.
    pub name: String,
    /// The state that it is to have, where the file says so.
    pub state: Option<String>,
    /// What the API takes.
    pub body: Value,
    /// The line at which it begins.
    pub line: usize,
    /// The line of each key.
    lines: BTreeMap<String, usize>,
    /// Which agent of the file, from 0.
    place: usize,
}

/// A file with its name and text.
pub struct Statement {
    file: String,
    /// Its agents.
    pub agents: Vec<Stated>,
}

impl Statement {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(file: &str, text: &str) -> Result<Self, Vec<Finding>> {
        let document = match DeTable::parse(text) {
            Ok(document) => document.into_inner(),
            Err(error) => return Err(vec![Finding::from_toml(file, text, &error)]),
        };
        let mut reader = Reader { file, text, findings: Vec::new() };
        let agents = reader.agents(&document);
        reader.twice(&agents);
        if reader.findings.is_empty() {
            return Ok(Self { file: file.to_owned(), agents });
        }
        reader.findings.sort_by_key(|finding| finding.line);
        Err(reader.findings)
    }

    /// What the broker says about an agent of this file: its words begin with the key.
    pub fn finding(&self, agent: &Stated, words: &str) -> Finding {
        let key = words.split(':').next().unwrap_or_default();
        let known = agent.lines.get(key);
        Finding {
            file: self.file.clone(),
            line: known.copied().unwrap_or(agent.line),
            key: match known {
                Some(_) => format!("agent[{}].{key}", agent.place),
                None => format!("agent[{}]", agent.place),
            },
            problem: match known {
                Some(_) => words.get(key.len() + 1..).unwrap_or_default().trim().to_owned(),
                None => words.to_owned(),
            },
            instead: String::new(),
        }
    }
}

struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn agents(&mut self, document: &DeTable<'_>) -> Vec<Stated> {
        let mut agents = Vec::new();
        for (key, value) in document {
            let DeValue::Array(items) = value.get_ref() else {
                self.add(
                    key.span().start,
                    key.get_ref(),
                    "is not known here",
                    "write [[agent]] for each agent",
                );
                continue;
            };
            if key.get_ref() != "agent" {
                self.add(
                    key.span().start,
                    key.get_ref(),
                    "is not known here",
                    "write [[agent]] for each agent",
                );
                continue;
            }
            for (place, item) in items.iter().enumerate() {
                agents.extend(self.agent(place, item));
            }
        }
        agents
    }

    fn agent(&mut self, place: usize, item: &Spanned<DeValue<'_>>) -> Option<Stated> {
        let at = format!("agent[{place}]");
        let DeValue::Table(table) = item.get_ref() else {
            self.add(item.span().start, &at, "is not a table", "write [[agent]]");
            return None;
        };
        let (mut body, mut lines, before) = (Map::new(), BTreeMap::new(), self.findings.len());
        for (key, value) in table {
            let name: &str = key.get_ref();
            let path = format!("{at}.{name}");
            let Some((_, shape)) = KEYS.iter().find(|(known, _)| *known == name) else {
                let known: Vec<&str> = KEYS.iter().map(|(known, _)| *known).collect();
                self.add(
                    key.span().start,
                    &path,
                    "is not known",
                    &format!("the keys are {}", known.join(", ")),
                );
                continue;
            };
            lines.insert(name.to_owned(), self.line(key.span().start));
            let json = json_of(value.get_ref());
            match wrong(*shape, &json) {
                Some(instead) => self.add(value.span().start, &path, "has the wrong form", instead),
                None => {
                    body.insert(name.to_owned(), json);
                }
            }
        }
        for name in REQUIRED {
            if !lines.contains_key(name) {
                self.add(item.span().start, &format!("{at}.{name}"), "is missing", "");
            }
        }
        let text = |body: &mut Map<String, Value>, name: &str| {
            body.remove(name).and_then(|value| value.as_str().map(str::to_owned))
        };
        let (id, state) = (text(&mut body, "id"), text(&mut body, "state"));
        if state.as_deref().is_some_and(|state| !STATES.contains(&state)) {
            let line = table.get("state").map_or(item.span().start, |value| value.span().start);
            self.add(line, &format!("{at}.state"), "is no state", "write active, suspended or retired");
        }
        let name = body.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let line = self.line(item.span().start);
        let body = Value::Object(body);
        (self.findings.len() == before).then_some(Stated { id, name, state, body, line, lines, place })
    }

    /// Two agents of one id, or of one name without ids, cannot be told apart.
    fn twice(&mut self, agents: &[Stated]) {
        let mut seen = BTreeSet::new();
        for agent in agents {
            let (key, value) = match &agent.id {
                Some(id) => ("id", id.clone()),
                None => ("name", agent.name.clone()),
            };
            if !seen.insert((key, value)) {
                self.findings.push(Finding {
                    file: self.file.to_owned(),
                    line: agent.lines.get(key).copied().unwrap_or(agent.line),
                    key: format!("agent[{}].{key}", agent.place),
                    problem: "stands in this file a second time".to_owned(),
                    instead: "agents of one name are told apart by their `id`".to_owned(),
                });
            }
        }
    }

    fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    fn add(&mut self, offset: usize, key: &str, problem: &str, instead: &str) {
        self.findings.push(Finding {
            file: self.file.to_owned(),
            line: self.line(offset),
            key: key.to_owned(),
            problem: problem.to_owned(),
            instead: instead.to_owned(),
        });
    }
}

fn wrong(shape: Shape, value: &Value) -> Option<&'static str> {
    let is_text_by =
        |value: &Value| value.as_object().is_some_and(|table| table.values().all(Value::is_string));
    let are_texts = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
    match shape {
        Shape::Text => (!value.is_string()).then_some("write a text"),
        Shape::Time => (!value.is_string()).then_some("write a date or a time"),
        Shape::Texts => (!are_texts(value)).then_some("write a list of texts"),
        Shape::ScopesBy => (!is_text_by(value)).then_some("write NAME = \"scope scope\" for each"),
        Shape::Table => (!value.is_object()).then_some("write a table"),
        Shape::Switch => (!value.is_boolean()).then_some("write true or false"),
    }
}

fn json_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Null, Value::from)
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(yes) => Value::from(*yes),
        DeValue::Datetime(moment) => Value::from(moment.to_string()),
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect(),
        DeValue::Table(table) => Value::Object(
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json_of(value.get_ref()))).collect(),
        ),
    }
}

/// One agent as the file has it: what is empty is left out, and nothing is in it that a file cannot state.
pub fn write(agent: &Value) -> String {
    let mut text = "[[agent]]\n".to_owned();
    for (name, _) in KEYS {
        let Some(value) = agent.get(name).filter(|value| !is_empty(value)) else { continue };
        let mut inline = String::new();
        let serializer = toml::ser::ValueSerializer::new(&mut inline);
        if serde::Serialize::serialize(value, serializer).is_ok() {
            text.push_str(&format!("{name} = {inline}\n"));
        }
    }
    text
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        // An empty ceiling at back ends closes all of them, and an empty circle holds nobody: both say something.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AGENT: &str =
        "[[agent]]\nname = \"Reader\"\nkind = \"assistant\"\npurpose = \"Reads\"\nowner = \"team:Legal\"\n";

    fn findings(text: &str) -> Vec<String> {
        match Statement::read("agents.toml", text) {
            Ok(_) => Vec::new(),
            Err(findings) => findings.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn everything_that_is_wrong_is_named_with_file_line_and_key() {
        assert!(findings(AGENT).is_empty());
        for (text, named) in [
            ("agent = 1".to_owned(), "agents.toml:1: agent: "),
            ("surprise = 1".to_owned(), "agents.toml:1: surprise: "),
            (format!("{AGENT}surprise = 1"), "agents.toml:6: agent[0].surprise: is not known"),
            (AGENT.replace("owner =", "# owner ="), "agents.toml:1: agent[0].owner: is missing"),
            (AGENT.replace("\"Reader\"", "7"), "agents.toml:2: agent[0].name: has the wrong form"),
            (format!("{AGENT}labels = \"x\""), "agents.toml:6: agent[0].labels: "),
            (format!("{AGENT}ceiling = {{ entra = 1 }}"), "agents.toml:6: agent[0].ceiling: "),
            (format!("{AGENT}state = \"asleep\""), "agents.toml:6: agent[0].state: is no state"),
            (format!("{AGENT}{AGENT}"), "agents.toml:7: agent[1].name: stands in this file a second time"),
            (format!("{AGENT}name = \"again\""), "agents.toml:6: "),
        ] {
            let found = findings(&text);
            assert!(found.iter().any(|finding| finding.starts_with(named)), "{named}: {found:?}");
        }
    }

    #[test]
    fn what_is_written_reads_as_it_was() {
        let agent = json!({
            "id": "agt_1", "name": "A \"quoted\" name", "kind": "assistant", "purpose": "p", "owner": "usr_1",
            "labels": [], "ceiling": { "entra": "Mail.Read" }, "audience_ceiling": {},
            "limits": { "entra": [{ "type": "valetkey_limit", "kind": "read_only" }] },
            "people": { "users": [], "groups": [] },
            "sign_in": { "workloads": [{ "trust_source": "tru_1", "pins": { "namespace": "agents" } }] }, "flags": ["expired"], "created_at": "now",
        });
        let read = Statement::read("f", &write(&agent)).map_err(|found| found.len()).unwrap();
        let body = &read.agents[0].body;
        for name in ["name", "ceiling", "audience_ceiling", "limits", "people", "sign_in"] {
            assert_eq!(body[name], agent[name], "{name}");
        }
        assert_eq!(read.agents[0].id.as_deref(), Some("agt_1"));
        assert!(body.get("labels").is_none() && body.get("flags").is_none());
        let time =
            Statement::read("f", &format!("{AGENT}expires_at = 2030-01-31")).map_err(|f| f.len()).unwrap();
        assert_eq!(time.agents[0].body["expires_at"], "2030-01-31");
    }
}
