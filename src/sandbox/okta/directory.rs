//! How the organisation's users, groups, apps and log look in the management API.

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

/// Name, description, and whether someone is in it.
type Group = (&'static str, &'static str, fn(&Person) -> bool);

const GROUPS: &[Group] = &[
    ("Everyone", "All users in your organization", |person| person.employee),
    ("Product", "Product management", |person| person.department == "Product"),
    ("Engineering", "Engineers", |person| person.department == "Engineering"),
];

pub(super) fn group_names(person: &Person) -> Vec<&'static str> {
    GROUPS.iter().filter(|(_, _, member)| member(person)).map(|(name, _, _)| *name).collect()
}

fn group_id(name: &str) -> String {
    format!("00g{}", opaque(&format!("okta:group:{name}"), 0, 17))
}

pub(super) fn groups(of: Option<&Person>) -> Vec<Value> {
    GROUPS
        .iter()
        .filter(|(_, _, member)| of.is_none_or(member))
        .map(|(name, description, _)| {
            let id = group_id(name);
            json!({
                "id": id,
                "created": iso(in_2026(1, 2, 8, 0)),
                "lastUpdated": iso(in_2026(1, 2, 8, 0)),
                "lastMembershipUpdated": iso(in_2026(1, 2, 8, 0)),
                "objectClass": ["okta:user_group"],
                "type": if *name == "Everyone" { "BUILT_IN" } else { "OKTA_GROUP" },
                "profile": {"name": name, "description": description},
                "_links": {"users": {"href": format!("{ISSUER}/api/v1/groups/{id}/users")}},
            })
        })
        .collect()
}

/// The members of a group; `None` when there is no such group.
pub(super) fn members(desk: &Desk, id: &str) -> Option<Vec<Value>> {
    let (_, _, member) = GROUPS.iter().find(|(name, _, _)| group_id(name) == id)?;
    Some(desk.world(|world| world.employees().filter(|person| member(person)).map(user).collect()))
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
