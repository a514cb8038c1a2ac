//! `/me` itself, users, contacts, tasks, and what lies outside of one's own things.

use serde_json::{Value, json};

use crate::sandbox::entra::graph::odata::{list, single};
use crate::sandbox::entra::graph::{Answer, Call, Path, context, error, not_a_segment, not_found, text};
use crate::sandbox::entra::object_id;
use crate::sandbox::tokens::sha256;
use crate::sandbox::wire::Reply;
use crate::sandbox::world::{Contact, Person, Todo, guid, iso, opaque};

const CONTACTS: &[&str] = &["Contacts.Read", "Contacts.ReadWrite"];
const TASKS: &[&str] = &["Tasks.Read", "Tasks.ReadWrite"];

/// A user's profile.
pub(super) fn profile(person: &Person) -> Value {
    json!({
        "@odata.context": context("users/$entity"),
        "id": object_id(person),
        "displayName": person.name,
        "givenName": person.given,
        "surname": person.family,
        "userPrincipalName": person.email,
        "mail": person.email,
        "jobTitle": person.title,
        "mobilePhone": person.mobile,
        "businessPhones": [],
        "officeLocation": null,
        "preferredLanguage": "en-US",
    })
}

/// `/oidc/userinfo`.
pub(super) fn userinfo(call: &Call<'_>) -> Answer {
    Ok(Reply::json(
        200,
        &json!({
            "sub": sha256(&format!("entra:userinfo:{}", object_id(&call.me))),
            "name": call.me.name,
            "given_name": call.me.given,
            "family_name": call.me.family,
            "email": call.me.email,
        }),
    ))
}

pub(super) fn users(call: &Call<'_>) -> Answer {
    call.need(&["User.ReadBasic.All"])?;
    let users = call.desk.world(|world| world.employees().map(profile).collect());
    list(call, "users", users, 100)
}

pub(super) fn route(call: &Call<'_>, path: &Path) -> Answer {
    match (call.method(), path.low().as_slice()) {
        ("GET", []) => {
            call.need(&["User.Read"])?;
            single(call, "users", profile(&call.me))
        }
        ("GET", ["photo"]) => {
            call.need(&["User.Read"])?;
            Err(error(404, "ImageNotFound", "The photo wasn't found."))
        }
        ("GET", ["memberof" | "directreports" | "licensedetails"]) => {
            call.need(&["User.Read"])?;
            list(call, "directoryObjects", Vec::new(), 100)
        }
        ("POST", ["revokesigninsessions"]) => {
            call.need(&["User.RevokeSessions.All"])?;
            call.desk.book.revoke_person(&call.me.email);
            Ok(Reply::json(200, &json!({"@odata.context": context("Edm.Boolean"), "value": true})))
        }
        ("GET", ["people"]) => {
            call.need(&["People.Read"])?;
            list(call, "users('me')/people", call.me.contacts.iter().map(relevant_person).collect(), 10)
        }
        ("GET", ["contacts"]) => {
            call.need(CONTACTS)?;
            list(call, "users('me')/contacts", call.me.contacts.iter().map(contact_json).collect(), 10)
        }
        ("GET", ["contacts", _]) => {
            call.need(CONTACTS)?;
            let found =
                call.me.contacts.iter().find(|c| contact_id(c) == path.raw(1)).ok_or_else(not_found)?;
            single(call, "users('me')/contacts", contact_json(found))
        }
        ("GET", ["contactfolders"]) => {
            call.need(CONTACTS)?;
            list(call, "users('me')/contactFolders", Vec::new(), 10)
        }
        ("GET", ["contactfolders", ..]) => {
            call.need(CONTACTS)?;
            Err(not_found())
        }
        ("GET", ["followedsites"]) => {
            call.need(&["Sites.Read.All"])?;
            list(call, "sites", Vec::new(), 100)
        }
        ("GET", ["planner", "tasks"]) => {
            call.need(TASKS)?;
            list(call, "users('me')/planner/tasks", Vec::new(), 100)
        }
        (_, ["todo", "lists", ..]) => todo(call, &path.below(2)),
        _ => Err(not_a_segment(path.raw(0))),
    }
}

/// The one list of tasks that everybody has.
fn todo(call: &Call<'_>, path: &Path) -> Answer {
    call.need(if call.method() == "GET" { TASKS } else { &["Tasks.ReadWrite"] })?;
    let list_id = format!("AAMkTl{}", opaque("entra:todo", call.me.id, 40));
    let tasks_list = json!({
        "id": list_id,
        "displayName": "Tasks",
        "isOwner": true,
        "isShared": false,
        "wellknownListName": "defaultList",
    });
    if path.low.is_empty() {
        return list(call, "users('me')/todo/lists", vec![tasks_list], 100);
    }
    if path.raw(0) != list_id {
        return Err(not_found());
    }
    let what = "users('me')/todo/lists/tasks";
    match (call.method(), path.low().as_slice()) {
        ("GET", [_]) => single(call, "users('me')/todo/lists", tasks_list),
        ("GET", [_, "tasks"]) => list(call, what, call.me.todos.iter().map(task_json).collect(), 100),
        ("GET", [_, "tasks", _]) => {
            let found = call.me.todos.iter().find(|t| task_id(t) == path.raw(2)).ok_or_else(not_found)?;
            single(call, what, task_json(found))
        }
        ("POST", [_, "tasks"]) => {
            let body = call.body()?;
            let title = text(&body, "/title").filter(|title| !title.is_empty());
            let title = title.ok_or_else(|| error(400, "invalidRequest", "A title is required."))?;
            let due = call.desk.now().secs() + 7 * 86_400;
            call.change(|person, fresh| {
                let task = Todo { id: fresh, title: title.to_owned(), done: false, due };
                person.todos.push(task.clone());
                Ok(Reply::json(201, &task_json(&task)))
            })
        }
        _ => Err(not_a_segment(path.raw(1))),
    }
}

fn contact_id(contact: &Contact) -> String {
    format!("AAMkCo{}", opaque("entra:contact", contact.id, 60))
}

fn contact_json(contact: &Contact) -> Value {
    json!({
        "id": contact_id(contact),
        "displayName": contact.address.name,
        "companyName": contact.company,
        "emailAddresses": [{"name": contact.address.name, "address": contact.address.email}],
        "businessPhones": [contact.phone],
    })
}

fn relevant_person(contact: &Contact) -> Value {
    json!({
        "id": guid("entra:relevant", contact.id),
        "displayName": contact.address.name,
        "companyName": contact.company,
        "scoredEmailAddresses": [{"address": contact.address.email, "relevanceScore": 10.0}],
    })
}

fn task_id(task: &Todo) -> String {
    format!("AAMkTa{}", opaque("entra:task", task.id, 60))
}

fn task_json(task: &Todo) -> Value {
    json!({
        "id": task_id(task),
        "title": task.title,
        "status": if task.done { "completed" } else { "notStarted" },
        "importance": "normal",
        "dueDateTime": {"dateTime": iso(task.due).trim_end_matches('Z'), "timeZone": "UTC"},
    })
}
