//! Calendars, for the app's token: the person is whoever stands in the path.

use serde_json::{Value, json};

use crate::kernel::clock::Timestamp;
use crate::sandbox::office::{Calendar, Event};
use crate::sandbox::world::{Person, from_iso};

use super::api::{Answer, Call, Refusal, Route, app, ok};
use super::{employee, moment, union_id};

pub(super) const ROUTES: &[Route] = &[
    app("GET /v1.0/calendar/users/{userId}/calendars", calendars),
    app("GET /v1.0/calendar/users/{userId}/calendars/{calendarId}/events", events),
    app("GET /v1.0/calendar/users/{userId}/calendars/{calendarId}/eventsview", events),
    app("GET /v1.0/calendar/users/{userId}/calendars/{calendarId}/events/{eventId}", event),
    app("GET /v1.0/calendar/users/{userId}/calendars/{calendarId}/events/{eventId}/attendees", attendees),
    app("POST /v1.0/calendar/users/{userId}/calendars/{calendarId}/events", create),
    app("PUT /v1.0/calendar/users/{userId}/calendars/{calendarId}/events/{eventId}", update),
    app("DELETE /v1.0/calendar/users/{userId}/calendars/{calendarId}/events/{eventId}", delete),
    app("POST /v1.0/calendar/users/{userId}/calendars/{calendarId}/events/{eventId}/attendees", invite),
    app(
        "POST /v1.0/calendar/users/{userId}/calendars/{calendarId}/events/{eventId}/attendees/batchRemove",
        uninvite,
    ),
    app("POST /v1.0/calendar/users/{userId}/calendars/{calendarId}/events/{eventId}/respond", respond),
    app("POST /v1.0/calendar/users/{userId}/querySchedule", schedule),
];

/// The longest window of a list.
const LONGEST_WINDOW_S: i64 = 366 * 86_400;

const fn invalid(message: &'static str) -> Refusal {
    Refusal::new(400, "invalidParameter", message)
}

fn calendar(call: &Call<'_>) -> Result<(Person, Calendar), Refusal> {
    let person = call.owner("userId")?;
    let id = call.path.get("calendarId");
    let papers = call.office.papers();
    let mut own = papers.calendars.iter().filter(|calendar| calendar.owner == person.email);
    let found = own.find(|c| c.id == id || (id == "primary" && c.primary)).cloned();
    Ok((person, found.ok_or(invalid("The calendar does not exist."))?))
}

fn find(call: &Call<'_>) -> Result<Event, Refusal> {
    let (_, calendar) = calendar(call)?;
    let id = call.path.get("eventId");
    let papers = call.office.papers();
    let found = papers.events.iter().find(|event| event.id == id && event.calendar == calendar.id);
    found.cloned().ok_or(invalid("The event does not exist."))
}

fn attendee(call: &Call<'_>, email: &str, of: &str) -> Value {
    let name = call.desk.person(email).map(|person| person.name_zh);
    json!({
        "id": union_id(email), "displayName": name, "responseStatus": "needsAction", "self": email == of,
        "isOptional": false,
    })
}

fn shown(call: &Call<'_>, event: &Event) -> Value {
    let colleagues: Vec<&String> =
        event.attendees.iter().filter(|email| call.desk.person(email).is_some()).collect();
    json!({
        "id": event.id,
        "summary": event.summary,
        "description": event.description,
        "start": moment(event.start.secs()),
        "end": moment(event.end.secs()),
        "isAllDay": false,
        "attendees": colleagues.into_iter().map(|email| attendee(call, email, &event.owner)).collect::<Vec<_>>(),
        "organizer": {
            "id": union_id(&event.owner), "displayName": call.desk.person(&event.owner).map(|p| p.name_zh),
            "responseStatus": "accepted", "self": true,
        },
        "location": {"displayName": event.location},
        "status": "confirmed",
        "createTime": event.created.rfc3339(),
        "updateTime": event.created.rfc3339(),
    })
}

fn calendars(call: &Call<'_>) -> Answer {
    let person = call.owner("userId")?;
    let papers = call.office.papers();
    let own = papers.calendars.iter().filter(|calendar| calendar.owner == person.email);
    let shown = own.map(|calendar| {
        json!({
            "id": if calendar.primary { "primary" } else { calendar.id.as_str() },
            "summary": calendar.name, "description": "", "timeZone": "UTC", "eTag": "0",
            "type": if calendar.primary { "primary" } else { "shared" }, "privilege": "OWNER",
        })
    });
    ok(json!({"response": {"calendars": shown.collect::<Vec<_>>()}}))
}

/// The window of a list, from a query or a body.
fn window(from: Option<&str>, to: Option<&str>) -> Result<(Option<i64>, Option<i64>), Refusal> {
    let read = |text: Option<&str>| {
        let text = text.filter(|text| !text.is_empty());
        text.map(|text| from_iso(text).ok_or(invalid("A time is not ISO 8601."))).transpose()
    };
    let (from, to) = (read(from)?, read(to)?);
    if let (Some(from), Some(to)) = (from, to)
        && !(0..=LONGEST_WINDOW_S).contains(&(to - from))
    {
        return Err(invalid("The window is at most one year."));
    }
    Ok((from, to))
}

fn events(call: &Call<'_>) -> Answer {
    let (_, calendar) = calendar(call)?;
    let (from, to) = window(call.query.get("timeMin"), call.query.get("timeMax"))?;
    let found: Vec<Event> = {
        let papers = call.office.papers();
        let within = |event: &&Event| {
            event.calendar == calendar.id
                && to.is_none_or(|to| event.start.secs() < to)
                && from.is_none_or(|from| event.end.secs() > from)
        };
        papers.events.iter().filter(within).cloned().collect()
    };
    call.list("events", found.iter().map(|event| shown(call, event)).collect(), 100)
}

fn event(call: &Call<'_>) -> Answer {
    ok(shown(call, &find(call)?))
}

fn attendees(call: &Call<'_>) -> Answer {
    let event = find(call)?;
    let known = event.attendees.iter().filter(|email| call.desk.person(email).is_some());
    call.list("attendees", known.map(|email| attendee(call, email, &event.owner)).collect(), 100)
}

fn text(body: &Value, pointer: &str) -> Option<String> {
    body.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn time(body: &Value, name: &str) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = body.get(name) else { return Ok(None) };
    let text = value.get("dateTime").or_else(|| value.get("date")).and_then(Value::as_str);
    let seconds = text.and_then(from_iso).ok_or(invalid("A time is not ISO 8601."))?;
    Ok(Some(Timestamp::from_secs(seconds)))
}

/// The e-mails of people named by their union ids.
fn named(call: &Call<'_>, body: &Value, member: &str) -> Result<Vec<String>, Refusal> {
    let Some(list) = body.get(member) else { return Ok(Vec::new()) };
    let person =
        |entry: &Value| entry.get("id").and_then(Value::as_str).and_then(|id| employee(call.desk, id));
    let people: Option<Vec<Person>> = list.as_array().and_then(|list| list.iter().map(person).collect());
    Ok(people.ok_or(invalid("An attendee does not exist."))?.into_iter().map(|person| person.email).collect())
}

fn create(call: &Call<'_>) -> Answer {
    let (person, calendar) = calendar(call)?;
    let body = call.body()?;
    let summary = text(&body, "/summary").filter(|summary| !summary.is_empty());
    let start = time(&body, "start")?.ok_or(invalid("Event start time not set."))?;
    let end = time(&body, "end")?.ok_or(invalid("Event end time not set."))?;
    let attendees = named(call, &body, "attendees")?;
    let event = {
        let mut papers = call.office.papers();
        let event = Event {
            id: call.office.id(&mut papers, "event"),
            owner: person.email,
            calendar: calendar.id,
            summary: summary.ok_or(invalid("Event summary cannot be blank"))?,
            description: text(&body, "/description").unwrap_or_default(),
            location: text(&body, "/location/displayName").unwrap_or_default(),
            start,
            end,
            attendees,
            created: call.office.now(),
        };
        papers.events.push(event.clone());
        event
    };
    ok(shown(call, &event))
}

fn change(call: &Call<'_>, edit: impl FnOnce(&mut Event)) -> Result<Event, Refusal> {
    let id = find(call)?.id;
    let mut papers = call.office.papers();
    let event = papers.events.iter_mut().find(|event| event.id == id);
    let event = event.ok_or(invalid("The event does not exist."))?;
    edit(event);
    Ok(event.clone())
}

fn update(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let (start, end) = (time(&body, "start")?, time(&body, "end")?);
    let event = change(call, |event| {
        event.start = start.unwrap_or(event.start);
        event.end = end.unwrap_or(event.end);
        event.summary = text(&body, "/summary").unwrap_or_else(|| event.summary.clone());
        event.description = text(&body, "/description").unwrap_or_else(|| event.description.clone());
    })?;
    ok(shown(call, &event))
}

fn delete(call: &Call<'_>) -> Answer {
    let event = find(call)?;
    call.office.papers().events.retain(|other| other.id != event.id);
    ok(json!({}))
}

fn invite(call: &Call<'_>) -> Answer {
    let invited = named(call, &call.body()?, "attendeesToAdd")?;
    change(call, |event| event.attendees.extend(invited))?;
    ok(json!({}))
}

fn uninvite(call: &Call<'_>) -> Answer {
    let removed = named(call, &call.body()?, "attendeesToRemove")?;
    change(call, |event| event.attendees.retain(|email| !removed.contains(email)))?;
    ok(json!({}))
}

fn respond(call: &Call<'_>) -> Answer {
    find(call)?;
    match call.body()?.get("responseStatus").and_then(Value::as_str) {
        Some("accepted" | "declined" | "tentative" | "needsAction") => ok(json!({})),
        _ => Err(invalid("responseStatus is unknown.")),
    }
}

/// Who is busy when: the people in the body, as the one in the path sees them.
fn schedule(call: &Call<'_>) -> Answer {
    call.owner("userId")?;
    let body = call.body()?;
    let ids = body.get("userIds").and_then(Value::as_array).filter(|ids| (1..=20).contains(&ids.len()));
    let ids = ids.ok_or(invalid("userIds holds 1 to 20 people."))?;
    let bound = |name: &str| body.get(name).and_then(Value::as_str);
    let (Some(from), Some(to)) = window(bound("startTime"), bound("endTime"))? else {
        return Err(invalid("startTime and endTime are needed."));
    };
    let mut information = Vec::new();
    for id in ids.iter().filter_map(Value::as_str) {
        let Some(person) = employee(call.desk, id) else {
            information.push(json!({"userId": id, "error": "no permission", "scheduleItems": []}));
            continue;
        };
        let papers = call.office.papers();
        let busy = papers.events.iter().filter(|e| e.owner == person.email);
        let busy = busy.filter(|e| e.start.secs() < to && e.end.secs() > from);
        let items: Vec<Value> = busy
            .map(|e| json!({"status": "BUSY", "start": moment(e.start.secs()), "end": moment(e.end.secs())}))
            .collect();
        information.push(json!({"userId": id, "scheduleItems": items}));
    }
    ok(json!({"scheduleInformation": information}))
}
