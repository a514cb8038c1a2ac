//! Calendars, their events, and who is busy when.

use serde_json::{Value, json};

use crate::kernel::clock::Timestamp;
use crate::sandbox::office::{Calendar, Event};
use crate::sandbox::world::{from_iso, iso};

use super::api::{Answer, Call, Refusal, Route, ok, route};
use super::open_id;

const READ: &[&str] = &["calendar:calendar:read"];
const EVENTS: &[&str] = &["calendar:calendar.event:read"];
const CREATE: &[&str] = &["calendar:calendar.event:create"];
const UPDATE: &[&str] = &["calendar:calendar.event:update"];
const FREE_BUSY: &[&str] = &["calendar:calendar.free_busy:read"];

pub(super) const ROUTES: &[Route] = &[
    route("GET /calendar/v4/calendars", READ, calendars),
    route("POST /calendar/v4/calendars/primary", READ, primary),
    route("POST /calendar/v4/calendars/primarys", READ, primaries),
    route("POST /calendar/v4/calendars/search", READ, search_calendars),
    route("POST /calendar/v4/calendars/mget", READ, several),
    route("GET /calendar/v4/calendars/{calendar_id}", READ, calendar),
    route("GET /calendar/v4/calendars/{calendar_id}/events", EVENTS, events),
    route("GET /calendar/v4/calendars/{calendar_id}/events/instance_view", EVENTS, instance_view),
    route("POST /calendar/v4/calendars/{calendar_id}/events/search", EVENTS, search),
    route("GET /calendar/v4/calendars/{calendar_id}/events/{event_id}", EVENTS, event),
    route("GET /calendar/v4/calendars/{calendar_id}/events/{event_id}/instances", EVENTS, instances),
    route("GET /calendar/v4/calendars/{calendar_id}/events/{event_id}/attendees", EVENTS, attendees),
    route("POST /calendar/v4/calendars/{calendar_id}/events", CREATE, create),
    route("PATCH /calendar/v4/calendars/{calendar_id}/events/{event_id}", UPDATE, update),
    route("POST /calendar/v4/calendars/{calendar_id}/events/{event_id}/attendees", UPDATE, invite),
    route(
        "POST /calendar/v4/calendars/{calendar_id}/events/{event_id}/attendees/batch_delete",
        UPDATE,
        uninvite,
    ),
    route(
        "DELETE /calendar/v4/calendars/{calendar_id}/events/{event_id}",
        &["calendar:calendar.event:delete"],
        delete,
    ),
    route(
        "POST /calendar/v4/calendars/{calendar_id}/events/{event_id}/reply",
        &["calendar:calendar.event:reply"],
        reply,
    ),
    route("POST /calendar/v4/calendars/{calendar_id}/events/subscription", EVENTS, subscribe),
    route("POST /calendar/v4/calendars/subscription", READ, subscribe_all),
    route("POST /calendar/v4/freebusy/list", FREE_BUSY, free_busy),
    route("POST /calendar/v4/freebusy/batch", FREE_BUSY, free_busy_of_several),
];

/// The longest window of `instance_view`.
const LONGEST_VIEW_S: i64 = 40 * 86_400;

fn invalid() -> Refusal {
    Refusal::new(400, 190_002, "invalid parameters in request")
}

/// A calendar of the user's own; `primary` is the first one.
fn own_calendar(call: &Call<'_>) -> Result<Calendar, Refusal> {
    let id = call.path.get("calendar_id");
    let papers = call.office.papers();
    let mut own = papers.calendars.iter().filter(|calendar| calendar.owner == call.me());
    if let Some(found) = own.find(|c| c.id == id || (id == "primary" && c.primary)) {
        return Ok(found.clone());
    }
    if papers.calendars.iter().any(|calendar| calendar.id == id) {
        Err(Refusal::new(403, 191_002, "no calendar access_role"))
    } else {
        Err(Refusal::new(404, 191_000, "calendar not found"))
    }
}

fn own_event(call: &Call<'_>) -> Result<Event, Refusal> {
    let calendar = own_calendar(call)?;
    let id = call.path.get("event_id");
    let papers = call.office.papers();
    let found = papers.events.iter().find(|event| event.id == id && event.calendar == calendar.id).cloned();
    found.ok_or_else(|| Refusal::new(404, 193_000, "event not found"))
}

fn events_in(call: &Call<'_>, calendar: &Calendar) -> Vec<Event> {
    call.office.papers().events.iter().filter(|event| event.calendar == calendar.id).cloned().collect()
}

fn shown_calendar(calendar: &Calendar) -> Value {
    json!({
        "calendar_id": calendar.id, "summary": calendar.name, "description": "", "permissions": "private",
        "color": -1, "type": if calendar.primary { "primary" } else { "shared" },
        "is_deleted": false, "is_third_party": false, "role": "owner",
    })
}

fn time(at: Timestamp) -> Value {
    json!({"timestamp": at.secs().to_string(), "timezone": "Asia/Shanghai"})
}

fn shown(call: &Call<'_>, event: &Event) -> Value {
    json!({
        "event_id": event.id,
        "organizer_calendar_id": event.calendar,
        "summary": event.summary,
        "description": event.description,
        "start_time": time(event.start),
        "end_time": time(event.end),
        "visibility": "default",
        "attendee_ability": "can_see_others",
        "free_busy_status": "busy",
        "location": {"name": event.location},
        "color": -1,
        "recurrence": "",
        "status": "confirmed",
        "is_exception": false,
        "create_time": event.created.secs().to_string(),
        "event_organizer": {
            "user_id": open_id(&event.owner),
            "display_name": call.employee(&event.owner).map(|person| person.name_zh),
        },
    })
}

fn calendars(call: &Call<'_>) -> Answer {
    let own =
        call.office.papers().calendars.iter().filter(|c| c.owner == call.me()).map(shown_calendar).collect();
    call.list("calendar_list", own, 500, 1000)
}

fn primary(call: &Call<'_>) -> Answer {
    let papers = call.office.papers();
    let own = papers.calendars.iter().filter(|c| c.owner == call.me() && c.primary);
    let shown = own.map(|c| json!({"calendar": shown_calendar(c), "user_id": open_id(call.me())}));
    ok(json!({"calendars": shown.collect::<Vec<_>>()}))
}

/// Colleagues' own calendars, by name only: what stands in them stays theirs.
fn primaries(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let ids = body.get("user_ids").and_then(Value::as_array).filter(|ids| (1..=10).contains(&ids.len()));
    let ids = ids.ok_or_else(invalid)?;
    let mut calendars = Vec::new();
    for id in ids.iter().filter_map(Value::as_str) {
        let Some(person) = call.employee(id) else { continue };
        let papers = call.office.papers();
        let own = papers.calendars.iter().filter(|c| c.owner == person.email && c.primary);
        calendars.extend(own.map(|calendar| {
            let mut shown = shown_calendar(calendar);
            if let (true, Some(members)) = (person.email != call.me(), shown.as_object_mut()) {
                members.insert("role".to_owned(), json!("free_busy_reader"));
            }
            json!({"calendar": shown, "user_id": id})
        }));
    }
    ok(json!({"calendars": calendars}))
}

fn several(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let ids = body.get("calendar_ids").and_then(Value::as_array).ok_or_else(invalid)?;
    let papers = call.office.papers();
    let own = papers.calendars.iter().filter(|c| c.owner == call.me() && ids.contains(&json!(c.id)));
    ok(json!({"calendars": own.map(shown_calendar).collect::<Vec<_>>()}))
}

fn search_calendars(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let wanted = body.get("query").and_then(Value::as_str).ok_or_else(invalid)?.to_lowercase();
    let papers = call.office.papers();
    let own = papers.calendars.iter().filter(|c| c.owner == call.me());
    let own = own.filter(|c| c.name.to_lowercase().contains(&wanted));
    ok(json!({"items": own.map(shown_calendar).collect::<Vec<_>>(), "page_token": ""}))
}

fn calendar(call: &Call<'_>) -> Answer {
    ok(shown_calendar(&own_calendar(call)?))
}

/// A moment in the query, in seconds.
fn moment(call: &Call<'_>, name: &str) -> Result<Option<i64>, Refusal> {
    call.query.filled(name).map(|text| text.parse().map_err(|_| invalid())).transpose()
}

fn events(call: &Call<'_>) -> Answer {
    let calendar = own_calendar(call)?;
    let (start, end) = (moment(call, "start_time")?, moment(call, "end_time")?);
    let anchor = moment(call, "anchor_time")?;
    let paged = call.query.filled("page_token").is_some() || call.query.filled("sync_token").is_some();
    if (start.is_some() || end.is_some()) && (paged || anchor.is_some()) {
        return Err(Refusal::new(400, 190_009, "sync token cannot be used with other request restrictions"));
    }
    let mut found = events_in(call, &calendar);
    found.retain(|event| {
        end.is_none_or(|end| event.start.secs() < end)
            && start.or(anchor).is_none_or(|start| event.end.secs() > start)
    });
    call.list("items", found.iter().map(|event| shown(call, event)).collect(), 500, 1000)
}

fn instance_view(call: &Call<'_>) -> Answer {
    let calendar = own_calendar(call)?;
    let window = moment(call, "start_time")?.zip(moment(call, "end_time")?);
    let window = window.filter(|(start, end)| start < end && end - start < LONGEST_VIEW_S);
    let (start, end) = window.ok_or_else(invalid)?;
    let mut found = events_in(call, &calendar);
    found.retain(|event| event.start.secs() < end && event.end.secs() > start);
    ok(json!({"items": found.iter().map(|event| shown(call, event)).collect::<Vec<_>>()}))
}

fn search(call: &Call<'_>) -> Answer {
    let calendar = own_calendar(call)?;
    let body = call.body()?;
    let wanted = body.get("query").and_then(Value::as_str).ok_or_else(invalid)?.to_lowercase();
    let bound = |name: &str| {
        let time = body.pointer(&format!("/filter/{name}/timestamp")).and_then(Value::as_str);
        time.and_then(|text| text.parse::<i64>().ok())
    };
    let (start, end) = (bound("start_time"), bound("end_time"));
    let mut found = events_in(call, &calendar);
    found.retain(|event| {
        event.summary.to_lowercase().contains(&wanted)
            && end.is_none_or(|end| event.start.secs() < end)
            && start.is_none_or(|start| event.end.secs() > start)
    });
    ok(json!({"items": found.iter().map(|event| shown(call, event)).collect::<Vec<_>>(), "page_token": ""}))
}

fn event(call: &Call<'_>) -> Answer {
    ok(json!({"event": shown(call, &own_event(call)?)}))
}

fn instances(call: &Call<'_>) -> Answer {
    let event = own_event(call)?;
    call.list("items", vec![shown(call, &event)], 50, 500)
}

fn attendees(call: &Call<'_>) -> Answer {
    let event = own_event(call)?;
    let items = event.attendees.iter().map(|email| attendee(call, email)).collect();
    call.list("items", items, 50, 100)
}

fn attendee(call: &Call<'_>, email: &str) -> Value {
    match call.employee(email) {
        Some(person) => json!({
            "type": "user", "attendee_id": format!("user_{}", open_id(email)), "rsvp_status": "needs_action",
            "is_optional": false, "user_id": open_id(email), "display_name": person.name_zh,
        }),
        None => json!({
            "type": "third_party", "attendee_id": format!("third_party_{email}"),
            "rsvp_status": "needs_action", "is_optional": false, "third_party_email": email,
        }),
    }
}

fn read_time(body: &Value, name: &str) -> Result<Option<Timestamp>, Refusal> {
    let Some(time) = body.get(name) else { return Ok(None) };
    let text = time.get("timestamp").and_then(Value::as_str).ok_or_else(invalid)?;
    text.parse().map(|secs| Some(Timestamp::from_secs(secs))).map_err(|_| invalid())
}

fn text(body: &Value, pointer: &str) -> Option<String> {
    body.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn create(call: &Call<'_>) -> Answer {
    let calendar = own_calendar(call)?;
    let body = call.body()?;
    let start = read_time(&body, "start_time")?.ok_or_else(invalid)?;
    let end = read_time(&body, "end_time")?.ok_or_else(invalid)?;
    if end < start {
        return Err(invalid());
    }
    let event = {
        let mut papers = call.office.papers();
        let event = Event {
            id: call.office.id(&mut papers, "event"),
            owner: call.me().to_owned(),
            calendar: calendar.id,
            summary: text(&body, "/summary").unwrap_or_default(),
            description: text(&body, "/description").unwrap_or_default(),
            location: text(&body, "/location/name").unwrap_or_default(),
            start,
            end,
            attendees: Vec::new(),
            created: call.office.now(),
        };
        papers.events.push(event.clone());
        event
    };
    ok(json!({"event": shown(call, &event)}))
}

/// Changes an event of the user's own.
fn change(call: &Call<'_>, edit: impl FnOnce(&mut Event)) -> Result<Event, Refusal> {
    let id = own_event(call)?.id;
    let mut papers = call.office.papers();
    let event = papers.events.iter_mut().find(|event| event.id == id);
    let event = event.ok_or_else(|| Refusal::new(404, 193_000, "event not found"))?;
    edit(event);
    Ok(event.clone())
}

fn update(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let (start, end) = (read_time(&body, "start_time")?, read_time(&body, "end_time")?);
    let event = change(call, |event| {
        event.start = start.unwrap_or(event.start);
        event.end = end.unwrap_or(event.end);
        event.summary = text(&body, "/summary").unwrap_or_else(|| event.summary.clone());
        event.description = text(&body, "/description").unwrap_or_else(|| event.description.clone());
        event.location = text(&body, "/location/name").unwrap_or_else(|| event.location.clone());
    })?;
    ok(json!({"event": shown(call, &event)}))
}

fn invite(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let invited = body.get("attendees").and_then(Value::as_array).filter(|list| !list.is_empty());
    let mut emails = Vec::new();
    for attendee in invited.ok_or_else(invalid)? {
        let person = attendee.get("user_id").and_then(Value::as_str).and_then(|id| call.employee(id));
        let email = person.map(|person| person.email).or_else(|| text(attendee, "/third_party_email"));
        emails.push(email.ok_or_else(invalid)?);
    }
    change(call, |event| event.attendees.extend(emails.iter().cloned()))?;
    ok(json!({"attendees": emails.iter().map(|email| attendee(call, email)).collect::<Vec<_>>()}))
}

fn uninvite(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let ids = body.get("attendee_ids").and_then(Value::as_array).filter(|ids| !ids.is_empty());
    let ids = ids.ok_or_else(invalid)?;
    let named = |email: &String| {
        ids.iter()
            .filter_map(Value::as_str)
            .any(|id| id == format!("user_{}", open_id(email)) || id == format!("third_party_{email}"))
    };
    change(call, |event| event.attendees.retain(|email| !named(email)))?;
    ok(json!({}))
}

fn delete(call: &Call<'_>) -> Answer {
    let event = own_event(call)?;
    call.office.papers().events.retain(|other| other.id != event.id);
    ok(json!({}))
}

fn reply(call: &Call<'_>) -> Answer {
    own_event(call)?;
    let body = call.body()?;
    let status = body.get("rsvp_status").and_then(Value::as_str);
    if matches!(status, Some("accept" | "decline" | "tentative")) { ok(json!({})) } else { Err(invalid()) }
}

/// Changes of a calendar are pushed from now on: reading events opens this.
fn subscribe(call: &Call<'_>) -> Answer {
    own_calendar(call)?;
    ok(json!({}))
}

fn subscribe_all(_call: &Call<'_>) -> Answer {
    ok(json!({}))
}

fn window(body: &Value) -> Result<(i64, i64), Refusal> {
    let bound = |name: &str| body.get(name).and_then(Value::as_str).and_then(from_iso);
    bound("time_min").zip(bound("time_max")).filter(|(min, max)| min < max).ok_or_else(invalid)
}

fn busy(call: &Call<'_>, id: &str, (min, max): (i64, i64)) -> Result<Vec<Value>, Refusal> {
    let person = call.employee(id).ok_or_else(invalid)?;
    let papers = call.office.papers();
    let taken = papers
        .events
        .iter()
        .filter(|e| e.owner == person.email && e.start.secs() < max && e.end.secs() > min);
    let shown = taken.map(|e| json!({"start_time": iso(e.start.secs()), "end_time": iso(e.end.secs())}));
    Ok(shown.collect())
}

fn free_busy(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let id = body.get("user_id").and_then(Value::as_str).ok_or_else(invalid)?;
    ok(json!({"freebusy_list": busy(call, id, window(&body)?)?}))
}

fn free_busy_of_several(call: &Call<'_>) -> Answer {
    let body = call.body()?;
    let ids = body.get("user_ids").and_then(Value::as_array).ok_or_else(invalid)?;
    let mut lists = Vec::new();
    for id in ids.iter().filter_map(Value::as_str) {
        lists.push(json!({"user_id": id, "freebusy_items": busy(call, id, window(&body)?)?}));
    }
    ok(json!({"freebusy_lists": lists}))
}
