//! A group as the directory states it, and as it reads it back.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::kernel::ids::{GroupId, UserId};
use crate::model::group::Group;
use crate::model::user::User;
use crate::store::Stored;
use crate::web::scim::error::ScimError;
use crate::web::scim::filter;
use crate::web::scim::message::meta;
use crate::web::scim::patch::{Act, Change, changes, strip};
use crate::web::scim::person::{member, text};

pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

/// What the directory states of a group; nothing where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    pub display_name: Option<String>,
    pub external_id: Option<Option<String>>,
    pub members: Members,
}

/// How a group's members change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Whether nobody stays but those who are added.
    pub only: bool,
    pub add: BTreeSet<UserId>,
    pub remove: BTreeSet<UserId>,
}

impl Members {
    fn add(&mut self, users: BTreeSet<UserId>) {
        self.remove.retain(|user| !users.contains(user));
        self.add.extend(users);
    }

    fn remove(&mut self, users: BTreeSet<UserId>) {
        self.add.retain(|user| !users.contains(user));
        self.remove.extend(users);
    }

    fn replace(&mut self, users: BTreeSet<UserId>) {
        *self = Self { only: true, add: users, remove: BTreeSet::new() };
    }
}

impl Stated {
    /// Reads a whole representation. What is not kept here is passed over, as RFC 7644, section 3.3 allows.
    pub fn read(body: &Map<String, Value>) -> Result<Self, ScimError> {
        let external = member(body, "externalId").unwrap_or(&Value::Null);
        let mut members = Members::default();
        members.replace(known(users(member(body, "members").unwrap_or(&Value::Null))?)?);
        Ok(Self {
            display_name: Some(name(member(body, "displayName").unwrap_or(&Value::Null))?),
            external_id: Some(text("externalId", external)?),
            members,
        })
    }

    /// Reads a `PatchOp` message, in the forms in which directories really send them.
    pub fn patch(body: &Map<String, Value>, id: &GroupId) -> Result<Self, ScimError> {
        let mut stated = Self::default();
        for change in changes(body)? {
            stated.take(change, id)?;
        }
        Ok(stated)
    }

    fn take(&mut self, change: Change<'_>, id: &GroupId) -> Result<(), ScimError> {
        let path = strip(change.path, GROUP).unwrap_or(change.path);
        let lower = path.to_ascii_lowercase();
        let value = change.value.unwrap_or(&Value::Null);
        match (lower.as_str(), change.act) {
            ("displayname", Act::Remove) => {
                return Err(ScimError::bad("mutability", "displayName cannot be removed"));
            }
            ("displayname", _) => self.display_name = Some(name(value)?),
            ("externalid", Act::Remove) => self.external_id = Some(None),
            ("externalid", _) => self.external_id = Some(text("externalId", value)?),
            // One large directory repeats it when it renames a group.
            ("id", act) if act == Act::Remove || value.as_str() != Some(id.as_str()) => {
                return Err(ScimError::bad("mutability", "id is ours"));
            }
            ("members", Act::Add) => self.members.add(known(users(value)?)?),
            ("members", Act::Replace) => self.members.replace(known(users(value)?)?),
            ("members", Act::Remove) if value.is_null() => self.members.replace(BTreeSet::new()),
            // Not as RFC 7644 has it, but as another large directory names those who go.
            ("members", Act::Remove) => self.members.remove(users(value)?.into_iter().flatten().collect()),
            // Whatever looks like members and cannot be read must not seem to have worked.
            (path, act) if path.starts_with("members") => self.members.remove(one(change.path, act)?),
            _ => {}
        }
        Ok(())
    }
}

/// Whom `members[value eq "…"]` takes out.
fn one(path: &str, act: Act) -> Result<BTreeSet<UserId>, ScimError> {
    let within = path.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']'));
    let terms = within.and_then(|text| filter::terms(text, GROUP)).unwrap_or_default();
    match terms.as_slice() {
        [term] if term.attribute == "value" && act == Act::Remove => {
            Ok(term.value.parse::<UserId>().into_iter().collect())
        }
        _ => {
            Err(ScimError::bad("invalidPath", "of members, write members or remove members[value eq \"…\"]"))
        }
    }
}

fn name(value: &Value) -> Result<String, ScimError> {
    let name = text("displayName", value)?;
    name.ok_or_else(|| ScimError::bad("invalidValue", "displayName is missing"))
}

/// The users of a list of references, or of one; what is no user's id is `None`.
fn users(value: &Value) -> Result<Vec<Option<UserId>>, ScimError> {
    let wrong = || ScimError::bad("invalidValue", "members is a list of {\"value\": \"the id of a user\"}");
    let list = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    };
    let id = |entry: &Value| {
        let id = entry.as_object().and_then(|entry| member(entry, "value")).and_then(Value::as_str);
        id.map(|id| id.parse::<UserId>().ok()).ok_or_else(wrong)
    };
    list.into_iter().map(id).collect()
}

/// Those of which each is a user's id.
fn known(users: Vec<Option<UserId>>) -> Result<BTreeSet<UserId>, ScimError> {
    let nobody =
        || ScimError::bad("invalidValue", "a member is no user here; groups within groups are not kept");
    users.into_iter().map(|user| user.ok_or_else(nobody)).collect()
}

/// The representation of a group; its members where they were asked for.
pub fn shown(group: &Stored<Group>, members: Option<&[Stored<User>]>, base: &str) -> Value {
    let mut shown = json!({
        "schemas": [GROUP],
        "id": group.id,
        "displayName": group.display_name,
        "meta": meta(
            "Group", &group.created_at.rfc3339(), &group.changed_at.rfc3339(), &group.version(),
            &format!("{base}/scim/v2/Groups/{}", group.id),
        ),
    });
    let reference = |user: &Stored<User>| {
        let address = format!("{base}/scim/v2/Users/{}", user.id);
        json!({ "value": user.id, "display": user.name, "type": "User", "$ref": address })
    };
    if let Some(shown) = shown.as_object_mut() {
        shown.extend(group.external_id.clone().map(|external| ("externalId".to_owned(), external.into())));
        let members = members.map(|members| members.iter().map(reference).collect());
        shown.extend(members.map(|members| ("members".to_owned(), Value::Array(members))));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "usr_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "usr_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const OURS: &str = "grp_cccccccccccccccccccccccccccccccc";

    fn patched(operations: Value) -> Result<Stated, ScimError> {
        let body =
            json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
        Stated::patch(body.as_object().unwrap(), &OURS.parse().unwrap())
    }

    fn members(only: bool, add: &[&str], remove: &[&str]) -> Members {
        let set = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect();
        Members { only, add: set(add), remove: set(remove) }
    }

    #[test]
    fn members_come_and_go_in_every_form_that_directories_use() {
        let filtered = |id: &str| format!("members[value eq \"{id}\"]");
        for (operations, expected) in [
            (
                json!([{ "op": "Add", "path": "members", "value": [{ "$ref": null, "value": A }] }]),
                members(false, &[A], &[]),
            ),
            (json!([{ "op": "add", "path": "members", "value": { "value": A } }]), members(false, &[A], &[])),
            (
                json!([{ "op": "add", "value": { "members": [{ "value": A, "display": "a" }] } }]),
                members(false, &[A], &[]),
            ),
            (
                json!([{ "op": "add", "path": format!("{GROUP}:members"), "value": [{ "value": A }] }]),
                members(false, &[A], &[]),
            ),
            (
                json!([{ "op": "Remove", "path": "members", "value": [{ "$ref": null, "value": A }] }]),
                members(false, &[], &[A]),
            ),
            (json!([{ "op": "Remove", "path": filtered(A) }]), members(false, &[], &[A])),
            (
                json!([{ "op": "remove", "path": format!("Members[Value Eq \"{A}\"]") }]),
                members(false, &[], &[A]),
            ),
            (json!([{ "op": "remove", "path": filtered("somebody else's") }]), members(false, &[], &[])),
            (json!([{ "op": "remove", "path": "members", "value": [] }]), members(false, &[], &[])),
            (json!([{ "op": "remove", "path": "members" }]), members(true, &[], &[])),
            (
                json!([{ "op": "replace", "path": "members", "value": [{ "value": B }] }]),
                members(true, &[B], &[]),
            ),
            (
                json!([{ "op": "remove", "path": filtered(A) }, { "op": "add", "path": "members", "value": [{ "value": B }] }]),
                members(false, &[B], &[A]),
            ),
            (
                json!([{ "op": "add", "path": "members", "value": [{ "value": A }] }, { "op": "remove", "path": filtered(A) }]),
                members(false, &[], &[A]),
            ),
            (
                json!([{ "op": "remove", "path": "members" }, { "op": "add", "path": "members", "value": [{ "value": A }] }]),
                members(true, &[A], &[]),
            ),
        ] {
            assert_eq!(patched(operations.clone()).unwrap().members, expected, "{operations}");
        }
    }

    #[test]
    fn a_group_is_renamed_as_directories_do_it() {
        for operations in [
            json!([{ "op": "Replace", "path": "displayName", "value": "Legal" }]),
            json!([{ "op": "replace", "value": { "id": OURS, "displayName": "Legal" } }]),
        ] {
            let stated = patched(operations.clone()).unwrap();
            assert_eq!(stated.display_name.as_deref(), Some("Legal"), "{operations}");
            assert_eq!(stated.members, Members::default(), "{operations}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_as_a_whole() {
        for operations in [
            json!([]),
            json!([{ "op": "remove", "path": "displayName" }]),
            json!([{ "op": "replace", "path": "displayName", "value": "" }]),
            json!([{ "op": "replace", "value": { "id": "grp_other", "displayName": "x" } }]),
            json!([{ "op": "add", "path": "members", "value": [A] }]),
            json!([{ "op": "add", "path": "members", "value": [{ "value": OURS, "type": "Group" }] }]),
            json!([{ "op": "add", "path": "members", "value": "everybody" }]),
            json!([{ "op": "remove", "path": "members[display eq \"Alice\"]" }]),
            json!([{ "op": "remove", "path": "members[value ne \"a\"]" }]),
            json!([{ "op": "remove", "path": "members[value eq \"a\"" }]),
            json!([{ "op": "remove", "path": "members.value" }]),
            json!([{ "op": "replace", "path": format!("members[value eq \"{A}\"]"), "value": { "value": B } }]),
        ] {
            assert!(patched(operations.clone()).is_err(), "{operations}");
        }
        let whole = |body: Value| Stated::read(body.as_object().unwrap());
        assert!(whole(json!({ "members": [] })).is_err());
        let stated = whole(json!({ "displayName": " Legal ", "members": [{ "value": A }] })).unwrap();
        assert_eq!(
            (stated.display_name.as_deref(), stated.members),
            (Some("Legal"), members(true, &[A], &[]))
        );
    }
}
