//! Changes (RFC 7644, section 3.5.2), in the forms in which directories really send them: operations in any
//! case, truth as text, attributes without a path, addresses picked by a filter, and full schema names.

use serde_json::{Map, Value};

use crate::web::scim::error::ScimError;
use crate::web::scim::person::{CORE, ENTERPRISE, Person, member, text};

const MOST_OPERATIONS: usize = 100;
const LONGEST_PATH: usize = 300;

/// What is done to an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// To one of a single value it does what `Replace` does.
    Add,
    /// The new value takes the place of the former one.
    Replace,
    /// The value goes.
    Remove,
}

/// One change of one attribute.
#[derive(Clone, Copy, Debug)]
pub struct Change<'b> {
    /// What is done.
    pub act: Act,
    /// The attribute, in the directory's writing.
    pub path: &'b str,
    /// With what. Always there, but for `Remove`.
    pub value: Option<&'b Value>,
}

/// Reads a `PatchOp` message; what comes without a path names its attributes in the value.
pub fn changes(body: &Map<String, Value>) -> Result<Vec<Change<'_>>, ScimError> {
    let operations = member(body, "Operations").and_then(Value::as_array);
    let operations = operations.filter(|list| !list.is_empty() && list.len() <= MOST_OPERATIONS);
    let missing = || ScimError::bad("invalidSyntax", "Operations is a list of 1 to 100");
    let mut changes = Vec::new();
    for operation in operations.ok_or_else(missing)? {
        changes.extend(one(operation.as_object().ok_or_else(missing)?)?);
    }
    let is_fine = |path: &str| path.len() <= LONGEST_PATH && !path.contains(char::is_control);
    if changes.iter().all(|change| is_fine(change.path)) {
        return Ok(changes);
    }
    Err(ScimError::bad("invalidPath", "the path cannot be read"))
}

fn one(operation: &Map<String, Value>) -> Result<Vec<Change<'_>>, ScimError> {
    let word = member(operation, "op").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let act = match word.as_str() {
        "add" => Act::Add,
        "replace" => Act::Replace,
        "remove" => Act::Remove,
        _ => return Err(ScimError::bad("invalidSyntax", "op is add, replace or remove")),
    };
    let path = match member(operation, "path") {
        None | Some(Value::Null) => None,
        Some(Value::String(path)) => Some(path.as_str()).filter(|path| !path.is_empty()),
        Some(_) => return Err(ScimError::bad("invalidPath", "path is a text")),
    };
    let value = member(operation, "value");
    match (act, path, value) {
        (Act::Remove, Some(path), value) => Ok(vec![Change { act, path, value }]),
        (Act::Remove, None, _) => Err(ScimError::bad("noTarget", "remove needs a path")),
        (_, Some(path), Some(_)) => Ok(vec![Change { act, path, value }]),
        (_, None, Some(Value::Object(members))) => {
            Ok(members.iter().map(|(path, value)| Change { act, path, value: Some(value) }).collect())
        }
        _ => Err(ScimError::bad("invalidValue", "a value is missing")),
    }
}

/// Applies a `PatchOp` message to a person.
pub fn apply(person: &mut Person, body: &Map<String, Value>) -> Result<(), ScimError> {
    for change in changes(body)? {
        at(person, change.path, change.value.filter(|_| change.act != Act::Remove))?;
    }
    Ok(())
}

/// Sets or removes what a path names. What is not kept here is passed over, like in a whole representation.
fn at(person: &mut Person, path: &str, value: Option<&Value>) -> Result<(), ScimError> {
    let path = strip(path, CORE).unwrap_or(path);
    if let Some(attribute) = strip(path, ENTERPRISE) {
        if attribute.eq_ignore_ascii_case("department") {
            person.department = text("department", value.unwrap_or(&Value::Null))?;
        }
        return Ok(());
    }
    let lower = path.to_ascii_lowercase();
    if lower.starts_with("emails[") {
        let is_value = lower.ends_with("].value");
        if is_value {
            person.email = text("emails", value.unwrap_or(&Value::Null))?;
        } else if value.is_none() && lower.ends_with(']') {
            person.email = None;
        }
        return Ok(());
    }
    match (lower.as_str(), value) {
        ("username" | "active", None) => {
            Err(ScimError::bad("mutability", "this attribute cannot be removed"))
        }
        ("emails", None) => {
            person.email = None;
            Ok(())
        }
        ("name", None) => {
            (person.given_name, person.family_name) = (None, None);
            Ok(())
        }
        // A new full name counts, whatever the shown name was.
        ("name.formatted", Some(value)) => {
            person.display_name = text("name.formatted", value)?;
            Ok(())
        }
        ("displayname", None) => {
            person.display_name = None;
            Ok(())
        }
        ("id", Some(_)) => Err(ScimError::bad("mutability", "id is ours")),
        (_, value) => person.set(path, value.unwrap_or(&Value::Null)),
    }
}

/// The attribute of a schema that a full name means.
pub fn strip<'p>(path: &'p str, schema: &str) -> Option<&'p str> {
    let (start, rest) = path.split_at_checked(schema.len())?;
    let rest = rest.strip_prefix(':')?;
    start.eq_ignore_ascii_case(schema).then_some(rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn after(operations: Value) -> Result<Person, ScimError> {
        let mut person = Person {
            user_name: "alice@example.com".to_owned(),
            active: true,
            email: Some("alice@example.com".to_owned()),
            department: Some("Sales".to_owned()),
            ..Person::default()
        };
        let body =
            json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
        apply(&mut person, body.as_object().unwrap()).map(|()| person)
    }

    #[test]
    fn deactivation_is_understood_in_every_form_that_directories_use() {
        for operations in [
            json!([{ "op": "Replace", "path": "active", "value": "False" }]),
            json!([{ "op": "replace", "path": "active", "value": false }]),
            json!([{ "op": "replace", "value": { "active": false } }]),
            json!([{ "op": "Add", "path": "active", "value": "false" }]),
            json!([{ "op": "replace", "value": { format!("{CORE}:active"): "False" } }]),
            json!([{ "op": "replace", "path": "title", "value": "x" }, { "op": "replace", "path": "active", "value": false }]),
        ] {
            assert!(!after(operations.clone()).unwrap().active, "{operations}");
        }
    }

    #[test]
    fn attributes_are_set_and_removed_where_a_path_names_them() {
        let work = r#"emails[type eq "work"].value"#;
        let person = after(json!([
            { "op": "Replace", "path": work, "value": "new@example.com" },
            { "op": "Add", "path": "name.givenName", "value": "Alice" },
            { "op": "add", "path": format!("{ENTERPRISE}:department"), "value": "Legal" },
            { "op": "replace", "value": { "externalId": "00u1", "name.familyName": "Example" } },
            { "op": "add", "path": r#"addresses[type eq "work"].country"#, "value": "NL" },
        ]))
        .unwrap();
        assert_eq!(person.email.as_deref(), Some("new@example.com"));
        assert_eq!(person.department.as_deref(), Some("Legal"));
        assert_eq!(
            (person.given_name.as_deref(), person.family_name.as_deref()),
            (Some("Alice"), Some("Example"))
        );
        assert_eq!(person.external_id.as_deref(), Some("00u1"));
        let removed = after(json!([
            { "op": "Remove", "path": work },
            { "op": "remove", "path": format!("{ENTERPRISE}:department") },
        ]));
        let removed = removed.unwrap();
        assert_eq!((removed.email, removed.department), (None, None));
    }

    #[test]
    fn what_cannot_be_done_is_refused_as_a_whole() {
        for operations in [
            json!([]),
            json!([1]),
            json!([{ "op": "move", "path": "active", "value": true }]),
            json!([{ "op": "remove" }]),
            json!([{ "op": "replace", "path": 7, "value": { "active": false } }]),
            json!([{ "op": "remove", "path": "userName" }]),
            json!([{ "op": "remove", "path": "active" }]),
            json!([{ "op": "replace", "path": "active", "value": "perhaps" }]),
            json!([{ "op": "replace", "path": "active" }]),
            json!([{ "op": "replace", "path": "userName", "value": "" }]),
            json!([{ "op": "replace", "path": "userName", "value": 7 }]),
            json!([{ "op": "replace", "path": "id", "value": "usr_1" }]),
            json!([{ "op": "replace", "path": "a\u{0}b", "value": "x" }]),
            json!([{ "op": "replace", "path": "displayName", "value": "x".repeat(300) }]),
        ] {
            assert!(after(operations.clone()).is_err(), "{operations}");
        }
    }
}
