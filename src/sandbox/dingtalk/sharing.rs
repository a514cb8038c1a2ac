//! Subscribed calendars and calendars' access lists, for the app's token.

use serde_json::{Value, json};

use crate::sandbox::office::{Access, Calendar};
use crate::sandbox::world::Person;

use super::api::{Answer, Call, Refusal, Route, app, ok};
use super::{employee, union_id};

pub(super) const ROUTES: &[Route] = &[
    app("POST /v1.0/calendar/users/{userId}/subscribedCalendars", create),
    app("GET /v1.0/calendar/users/{userId}/subscribedCalendars/{calendarId}", calendar),
    app("PUT /v1.0/calendar/users/{userId}/subscribedCalendars/{calendarId}", rename),
    app("DELETE /v1.0/calendar/users/{userId}/subscribedCalendars/{calendarId}", delete),
    app("POST /v1.0/calendar/users/{userId}/calendars/{calendarId}/subscribe", subscribe),
    app("GET /v1.0/calendar/users/{userId}/calendars/{calendarId}/acls", accesses),
    app("POST /v1.0/calendar/users/{userId}/calendars/{calendarId}/acls", permit),
    app("DELETE /v1.0/calendar/users/{userId}/calendars/{calendarId}/acls/{aclId}", forbid),
];

const fn invalid(message: &'static str) -> Refusal {
    Refusal::new(400, "invalidParameter", message)
}

/// A calendar beside the first one of the person in the path.
fn own(call: &Call<'_>) -> Result<Calendar, Refusal> {
    let person = call.owner("userId")?;
    let id = call.path.get("calendarId");
    let papers = call.office.papers();
    let found = papers.calendars.iter().find(|c| c.owner == person.email && c.id == id && !c.primary);
    found.cloned().ok_or(invalid("The calendar does not exist."))
}

fn name(call: &Call<'_>) -> Result<String, Refusal> {
    let body = call.body()?;
    let name = body.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or(invalid("The name cannot be blank."))
}

fn create(call: &Call<'_>) -> Answer {
    let owner = call.owner("userId")?.email;
    let name = name(call)?;
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, "calendar");
    papers.calendars.push(Calendar { id: id.clone(), owner, name, primary: false });
    ok(json!({"calendarId": id}))
}

fn calendar(call: &Call<'_>) -> Answer {
    let calendar = own(call)?;
    let author = union_id(&calendar.owner);
    ok(json!({
        "calendarId": calendar.id, "name": calendar.name, "description": "", "author": author,
        "managers": [author],
    }))
}

fn rename(call: &Call<'_>) -> Answer {
    let (calendar, name) = (own(call)?, name(call)?);
    let mut papers = call.office.papers();
    for found in papers.calendars.iter_mut().filter(|found| found.id == calendar.id) {
        found.name.clone_from(&name);
    }
    ok(json!({"result": true}))
}

fn delete(call: &Call<'_>) -> Answer {
    let calendar = own(call)?;
    let mut papers = call.office.papers();
    papers.calendars.retain(|other| other.id != calendar.id);
    papers.events.retain(|event| event.calendar != calendar.id);
    ok(json!({"result": true}))
}

/// Only public calendars can be subscribed to; nobody has one here.
fn subscribe(call: &Call<'_>) -> Answer {
    call.owner("userId")?;
    Err(invalid("The calendar is not public."))
}

/// The first calendar of the person in the path: no other has an access list.
fn shared(call: &Call<'_>) -> Result<(Person, String), Refusal> {
    let person = call.owner("userId")?;
    let id = call.path.get("calendarId");
    let papers = call.office.papers();
    let mut calendars = papers.calendars.iter().filter(|c| c.owner == person.email && c.primary);
    let found = calendars.find(|c| id == "primary" || c.id == id).map(|c| c.id.clone());
    Ok((person, found.ok_or(invalid("The calendar does not exist."))?))
}

fn shown(access: &Access) -> Value {
    json!({
        "privilege": access.privilege, "aclId": access.id,
        "scope": {"scopeType": "user", "userId": union_id(&access.who)},
    })
}

fn accesses(call: &Call<'_>) -> Answer {
    let (_, calendar) = shared(call)?;
    let papers = call.office.papers();
    let list = papers.accesses.iter().filter(|access| access.calendar == calendar);
    ok(json!({"acls": list.map(shown).collect::<Vec<_>>()}))
}

fn permit(call: &Call<'_>) -> Answer {
    let (_, calendar) = shared(call)?;
    let body = call.body()?;
    let privilege = body.get("privilege").and_then(Value::as_str);
    let privilege = privilege.filter(|p| matches!(*p, "free_busy_reader" | "reader" | "writer" | "owner"));
    let who = body.pointer("/scope/userId").and_then(Value::as_str).and_then(|id| employee(call.desk, id));
    let (privilege, who) = privilege.zip(who).ok_or(invalid("privilege and scope are needed."))?;
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, "acl");
    let access = Access { id, calendar, who: who.email, privilege: privilege.to_owned() };
    let document = shown(&access);
    papers.accesses.push(access);
    ok(document)
}

fn forbid(call: &Call<'_>) -> Answer {
    let (_, calendar) = shared(call)?;
    let id = call.path.get("aclId");
    let mut papers = call.office.papers();
    let before = papers.accesses.len();
    papers.accesses.retain(|access| access.id != id || access.calendar != calendar);
    if papers.accesses.len() < before { ok(json!({})) } else { Err(invalid("The acl does not exist.")) }
}
