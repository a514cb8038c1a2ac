//! How the organisation's users, groups, apps and log look in the management API.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::sandbox::desk::Desk;
use crate::sandbox::okta::ISSUER;
use crate::sandbox::world::{Person, in_2026, iso, opaque};

/// A user's id, which is also the `sub` of ID tokens.
pub(super) fn user_id(person: &Person) -> String {
    format!("00u{}", opaque("okta:user", person.id, 17))
}

pub(super) fn user(person: &Person) -> Value {
    let id = user_id(person);
    json!({
        "id": id,
        "status": "ACTIVE",
        "created": iso(in_2026(1, 2, 8, 0)),
        "activated": iso(in_2026(1, 2, 8, 0)),
        "statusChanged": iso(in_2026(1, 2, 8, 0)),
        "lastUpdated": iso(in_2026(10, 1, 8, 0)),
        "profile": {
            "login": person.email,
            "email": person.email,
            "firstName": person.given,
            "lastName": person.family,
            "displayName": person.name,
            "title": person.title,
            "department": person.department,
            "mobilePhone": person.mobile,
        },
        "credentials": {"provider": {"type": "OKTA", "name": "OKTA"}},
        "_links": {"self": {"href": format!("{ISSUER}/api/v1/users/{id}")}},
    })
}

/// One group.
#[derive(Clone)]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) name: String,
    description: String,
    built_in: bool,
    /// E-mails.
    members: Vec<String>,
}

/// The organisation's groups, which calls may change.
pub(super) struct Groups(Mutex<Vec<Group>>);

impl Default for Groups {
    fn default() -> Self {
        let group = |at: u64, name: &str, description: &str, members: &[&str]| Group {
            id: group_id(at),
            name: name.to_owned(),
            description: description.to_owned(),
            built_in: at == 0,
            members: members.iter().map(|member| (*member).to_owned()).collect(),
        };
        let (alice, bob) = ("alice@example.com", "bob@example.com");
        Self(Mutex::new(vec![
            group(0, "Everyone", "All users in your organization", &[alice, bob]),
            group(1, "Product", "Product management", &[alice]),
            group(2, "Engineering", "Engineers", &[bob]),
        ]))
    }
}

fn group_id(at: u64) -> String {
    format!("00g{}", opaque("okta:group", at, 17))
}

impl Groups {
    /// Puts the groups back to what they were at the start.
    pub(super) fn renew(&self) {
        *self.all() = std::mem::take(&mut *Self::default().all());
    }

    fn all(&self) -> MutexGuard<'_, Vec<Group>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The groups of one user, or all.
    pub(super) fn list(&self, of: Option<&Person>) -> Vec<Group> {
        let mine = |group: &&Group| of.is_none_or(|person| group.members.contains(&person.email));
        self.all().iter().filter(mine).cloned().collect()
    }

    pub(super) fn find(&self, id: &str) -> Option<Group> {
        self.all().iter().find(|group| group.id == id).cloned()
    }

    pub(super) fn create(&self, fresh: u64, name: &str, description: &str) -> Group {
        let group = Group {
            id: group_id(fresh),
            name: name.to_owned(),
            description: description.to_owned(),
            built_in: false,
            members: Vec::new(),
        };
        self.all().push(group.clone());
        group
    }

    /// Renames a group; `None` when there is no such group, or it is built in.
    pub(super) fn replace(&self, id: &str, name: &str, description: &str) -> Option<Group> {
        let mut all = self.all();
        let group = all.iter_mut().find(|group| group.id == id && !group.built_in)?;
        group.name = name.to_owned();
        group.description = description.to_owned();
        Some(group.clone())
    }

    /// Whether there was one to delete.
    pub(super) fn delete(&self, id: &str) -> bool {
        let mut all = self.all();
        let before = all.len();
        all.retain(|group| group.id != id || group.built_in);
        all.len() < before
    }

    /// Puts someone in or takes them out; `false` when there is no such group, or it is built in.
    pub(super) fn set_member(&self, id: &str, email: &str, is_member: bool) -> bool {
        let mut all = self.all();
        let Some(group) = all.iter_mut().find(|group| group.id == id && !group.built_in) else {
            return false;
        };
        group.members.retain(|member| member != email);
        if is_member {
            group.members.push(email.to_owned());
        }
        true
    }
}

pub(super) fn group_json(group: &Group) -> Value {
    json!({
        "id": group.id,
        "created": iso(in_2026(1, 2, 8, 0)),
        "lastUpdated": iso(in_2026(1, 2, 8, 0)),
        "lastMembershipUpdated": iso(in_2026(1, 2, 8, 0)),
        "objectClass": ["okta:user_group"],
        "type": if group.built_in { "BUILT_IN" } else { "OKTA_GROUP" },
        "profile": {"name": group.name, "description": group.description},
        "_links": {"users": {"href": format!("{ISSUER}/api/v1/groups/{}/users", group.id)}},
    })
}

/// The members of a group.
pub(super) fn members(desk: &Desk, group: &Group) -> Vec<Value> {
    desk.world(|world| {
        world.employees().filter(|person| group.members.contains(&person.email)).map(user).collect()
    })
}

pub(super) fn apps(desk: &Desk) -> Vec<Value> {
    desk.clients
        .iter()
        .enumerate()
        .map(|(at, client)| {
            json!({
                "id": format!("0oa{}", opaque(&format!("okta:app:{}", client.id), 0, 17)),
                "name": "oidc_client",
                "label": client.name,
                "status": "ACTIVE",
                "created": iso(in_2026(1, 3, 8, i8::try_from(at).unwrap_or_default())),
                "lastUpdated": iso(in_2026(1, 3, 8, i8::try_from(at).unwrap_or_default())),
                "signOnMode": "OPENID_CONNECT",
            })
        })
        .collect()
}

/// The system log, oldest first: one sign-in per employee and month.
pub(super) fn logs(desk: &Desk) -> Vec<Value> {
    let people: Vec<Person> = desk.world(|world| world.employees().cloned().collect());
    let mut entries: Vec<(i64, Value)> = Vec::new();
    for month in 1..=11 {
        for person in &people {
            let at = in_2026(month, 5, 8, i8::try_from(person.id % 60).unwrap_or_default());
            let entry = json!({
                "uuid": opaque("okta:log", person.id * 100 + u64::from(month.unsigned_abs()), 32),
                "published": iso(at),
                "eventType": "user.session.start",
                "severity": "INFO",
                "displayMessage": "User login to Okta",
                "outcome": {"result": "SUCCESS"},
                "actor": {
                    "id": user_id(person),
                    "type": "User",
                    "alternateId": person.email,
                    "displayName": person.name,
                },
            });
            entries.push((at, entry));
        }
    }
    entries.sort_by_key(|(at, _)| *at);
    entries.into_iter().map(|(_, entry)| entry).collect()
}
