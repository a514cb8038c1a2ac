//! A person as the directory states them, and as it reads them back.

use serde_json::{Map, Value, json};

use crate::kernel::clock::Timestamp;
use crate::kernel::text::clean;
use crate::model::user::{DirectoryEntry, User, UserState};
use crate::store::Stored;
use crate::web::scim::error::ScimError;
use crate::web::scim::message::meta;

pub const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// The longest name, address or identifier.
const LONGEST: usize = 254;

/// What the directory states of a person, as far as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    pub user_name: String,
    pub external_id: Option<String>,
    pub active: bool,
    pub display_name: Option<String>,
    pub given_name: Option<String>,
    pub family_name: Option<String>,
    pub email: Option<String>,
    pub department: Option<String>,
}

/// A member by its name; SCIM does not care about case (RFC 7643, section 2.1).
pub fn member<'v>(of: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    of.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// A text, cleaned; an empty one and `null` are none.
pub fn text(attribute: &str, value: &Value) -> Result<Option<String>, ScimError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.chars().count() > LONGEST => {
            Err(ScimError::bad("invalidValue", format!("{attribute} is longer than {LONGEST} characters")))
        }
        Value::String(text) => Ok(Some(clean(text.trim(), LONGEST)).filter(|text| !text.is_empty())),
        _ => Err(ScimError::bad("invalidValue", format!("{attribute} is not a text"))),
    }
}

/// A truth value; one large directory sends it as `"True"` or `"False"`.
pub fn truth(value: &Value) -> Result<bool, ScimError> {
    match value {
        Value::Bool(active) => Ok(*active),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(ScimError::bad("invalidValue", "active is true or false")),
    }
}

/// The address that counts: the primary one, else the first.
pub fn address(value: &Value) -> Result<Option<String>, ScimError> {
    let Some(list) = value.as_array() else {
        return Err(ScimError::bad("invalidValue", "emails is a list"));
    };
    let entries: Option<Vec<&Map<String, Value>>> = list.iter().map(Value::as_object).collect();
    let entries = entries.ok_or_else(|| ScimError::bad("invalidValue", "an entry of emails is an object"))?;
    let is_primary = |entry: &&&Map<String, Value>| {
        member(entry, "primary").is_some_and(|yes| matches!(truth(yes), Ok(true)))
    };
    let chosen = entries.iter().find(is_primary).or(entries.first());
    match chosen.and_then(|entry| member(entry, "value")) {
        Some(value) => text("emails", value),
        None => Ok(None),
    }
}

impl Person {
    /// Reads a whole representation, which may leave out whether the person is `active`. What is not kept here is
    /// passed over, as RFC 7644, section 3.3 allows.
    pub fn read(body: &Map<String, Value>, active: bool) -> Result<Self, ScimError> {
        let mut person = Self { active, ..Self::default() };
        for (name, value) in body {
            person.set(name, value)?;
        }
        if person.user_name.is_empty() {
            return Err(ScimError::bad("invalidValue", "userName is missing"));
        }
        Ok(person)
    }

    /// Sets one attribute by its name.
    pub fn set(&mut self, name: &str, value: &Value) -> Result<(), ScimError> {
        match name.to_ascii_lowercase().as_str() {
            "username" => {
                let name = text("userName", value)?;
                self.user_name = name.ok_or_else(|| ScimError::bad("invalidValue", "userName is empty"))?;
            }
            "externalid" => self.external_id = text("externalId", value)?,
            "active" => self.active = truth(value)?,
            "displayname" => self.display_name = text("displayName", value)?,
            "name" => {
                let Some(parts) = value.as_object() else {
                    return Err(ScimError::bad("invalidValue", "name is an object"));
                };
                for (part, value) in parts {
                    self.set(&format!("name.{part}"), value)?;
                }
            }
            "name.givenname" => self.given_name = text("name.givenName", value)?,
            "name.familyname" => self.family_name = text("name.familyName", value)?,
            "name.formatted" if self.display_name.is_none() => {
                self.display_name = text("name.formatted", value)?;
            }
            "emails" => self.email = address(value)?,
            other if other == ENTERPRISE.to_ascii_lowercase() => {
                let wrong = || ScimError::bad("invalidValue", "the enterprise extension is an object");
                let extension =
                    (!value.is_null()).then(|| value.as_object().ok_or_else(wrong)).transpose()?;
                if let Some(department) = extension.and_then(|extension| member(extension, "department")) {
                    self.department = text("department", department)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// As the user's record has them now.
    pub fn of(user: &User) -> Self {
        let entry = user.lifecycle.directory.as_ref();
        Self {
            user_name: user_name(user),
            external_id: entry.and_then(|entry| entry.external_id.clone()),
            active: user.state == UserState::Active,
            display_name: Some(user.name.clone()),
            given_name: entry.and_then(|entry| entry.given_name.clone()),
            family_name: entry.and_then(|entry| entry.family_name.clone()),
            email: user.email.clone(),
            department: user.department.clone(),
        }
    }

    /// The user's record with what is stated; their state is not changed here.
    pub fn onto(&self, user: &User, now: Timestamp) -> User {
        let mut user = user.clone();
        user.name = clean(&self.name(), 120);
        user.email =
            self.email.clone().or_else(|| self.user_name.contains('@').then(|| self.user_name.clone()));
        user.department.clone_from(&self.department);
        user.lifecycle.directory = Some(DirectoryEntry {
            user_name: self.user_name.clone(),
            external_id: self.external_id.clone(),
            given_name: self.given_name.clone(),
            family_name: self.family_name.clone(),
            removed: false,
            changed_at: now,
        });
        user
    }

    fn name(&self) -> String {
        let parts: Vec<&str> =
            [&self.given_name, &self.family_name].into_iter().flatten().map(String::as_str).collect();
        match &self.display_name {
            Some(name) => name.clone(),
            None if parts.is_empty() => self.user_name.clone(),
            None => parts.join(" "),
        }
    }
}

/// What the directory calls a user; somebody who has only signed in so far is known by their e-mail.
fn user_name(user: &User) -> String {
    match &user.lifecycle.directory {
        Some(entry) => entry.user_name.clone(),
        None => user.email.clone().unwrap_or_else(|| user.subject.clone()),
    }
}

/// The representation of a user, who is in those groups.
pub fn shown(user: &Stored<User>, groups: Vec<Value>, base: &str) -> Value {
    let person = Person::of(user);
    let changed = user.lifecycle.directory.as_ref().map_or(user.created_at, |entry| entry.changed_at);
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    let mut schemas = vec![CORE];
    schemas.extend(person.department.as_ref().map(|_| ENTERPRISE));
    put("schemas", json!(schemas));
    put("id", json!(user.id));
    put("userName", json!(person.user_name));
    put("active", json!(person.active));
    put("displayName", json!(user.name));
    let mut name = json!({ "formatted": user.name });
    if let Some(name) = name.as_object_mut() {
        name.extend(person.given_name.map(|given| ("givenName".to_owned(), given.into())));
        name.extend(person.family_name.map(|family| ("familyName".to_owned(), family.into())));
    }
    put("name", name);
    if let Some(external) = person.external_id {
        put("externalId", external.into());
    }
    if let Some(email) = &user.email {
        put("emails", json!([{ "value": email, "type": "work", "primary": true }]));
    }
    if let Some(department) = person.department {
        put(ENTERPRISE, json!({ "department": department }));
    }
    if !groups.is_empty() {
        put("groups", groups.into());
    }
    let location = format!("{base}/scim/v2/Users/{}", user.id);
    let (created, changed) = (user.created_at.rfc3339(), changed.rfc3339());
    put("meta", meta("User", &created, &changed, &user.version(), &location));
    Value::Object(members)
}
