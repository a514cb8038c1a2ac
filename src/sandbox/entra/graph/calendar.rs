//! `/me/events`, `/me/calendarView`, `/me/calendar(s)`.

use serde_json::{Value, json};

use crate::sandbox::entra::graph::mail::delta;
use crate::sandbox::entra::graph::odata::{list, option, single};
use crate::sandbox::entra::graph::{Answer, Call, Path, error, not_allowed, not_found, text};
use crate::sandbox::wire::Reply;
use crate::sandbox::world::{Address, Calendar, Event, from_iso, iso, opaque};

const READ: &[&str] = &["Calendars.Read", "Calendars.ReadWrite"];
const READ_BASIC: &[&str] = &["Calendars.ReadBasic", "Calendars.Read", "Calendars.ReadWrite"];
const WRITE: &[&str] = &["Calendars.ReadWrite"];
const WHAT: &str = "users('me')/events";

fn event_id(event: &Event) -> String {
    format!("AAMkEv{}", opaque("entra:event", event.id, 60))
}

fn calendar_id(calendar: &Calendar) -> String {
    format!("AQMkCa{}", opaque("entra:calendar", calendar.id, 44))
}

pub(super) fn route(call: &Call<'_>, path: &Path) -> Answer {
    let own = call.me.calendars.first().map(|calendar| calendar.id);
    match (call.method(), path.low().as_slice()) {
        ("GET", ["calendars"]) => {
            call.need(READ_BASIC)?;
            let calendars = call.me.calendars.iter().map(|c| calendar_json(call, c)).collect();
            list(call, "users('me')/calendars", calendars, 10)
        }
        ("POST", ["calendars"]) => {
            call.need(WRITE)?;
            let body = call.body()?;
            let name = text(&body, "/name").filter(|name| !name.is_empty());
            let name =
                name.ok_or_else(|| error(400, "ErrorInvalidParameter", "The 'name' parameter is required."))?;
            call.change(|person, fresh| {
                let calendar = Calendar { id: fresh, name: name.to_owned() };
                person.calendars.push(calendar.clone());
                Ok(Reply::json(201, &calendar_json(call, &calendar)))
            })
        }
        ("GET", ["calendargroups"]) => {
            call.need(READ_BASIC)?;
            let group = json!({"id": "AQMkGroup1", "name": "My Calendars"});
            list(call, "users('me')/calendarGroups", vec![group], 10)
        }
        ("GET", ["calendargroups", _, "calendars"]) => {
            call.need(READ_BASIC)?;
            let calendars = call.me.calendars.iter().map(|c| calendar_json(call, c)).collect();
            list(call, "users('me')/calendarGroups/calendars", calendars, 10)
        }
        (_, ["calendargroups", _, "calendars", _, ..]) => route(call, &path.below(2)),
        (_, ["calendar", ..]) => in_calendar(call, own, &path.below(1)),
        (_, ["calendars", _, ..]) => {
            let found =
                call.me.calendars.iter().find(|c| calendar_id(c) == path.raw(1)).ok_or_else(not_found)?;
            in_calendar(call, Some(found.id), &path.below(2))
        }
        // Without a calendar in the path it is the person's own one.
        _ => in_calendar(call, own, path),
    }
}

fn in_calendar(call: &Call<'_>, calendar: Option<u64>, path: &Path) -> Answer {
    let events = || call.me.events.iter().filter(|event| Some(event.calendar) == calendar);
    match (call.method(), path.low().as_slice()) {
        ("GET", []) => {
            call.need(READ_BASIC)?;
            let found = call.me.calendars.iter().find(|c| Some(c.id) == calendar).ok_or_else(not_found)?;
            single(call, "users('me')/calendars", calendar_json(call, found))
        }
        ("GET", ["events"]) => {
            call.need(READ_BASIC)?;
            list(call, WHAT, events().map(|event| event_json(call, event)).collect(), 10)
        }
        ("GET", ["calendarview"]) => view(call, calendar),
        ("GET", ["calendarview", "delta" | "delta()"]) => {
            view(call, calendar).map(|page| delta(&page, &call.request.path))
        }
        ("POST", ["events"]) => create(call, calendar),
        ("GET", ["events", "delta" | "delta()"]) => {
            call.need(READ_BASIC)?;
            let all = events().map(|event| event_json(call, event)).collect();
            list(call, WHAT, all, 1000).map(|page| delta(&page, &call.request.path))
        }
        ("POST", ["getschedule"]) => schedule(call),
        (_, ["events", _, ..]) => {
            // An id is good in the whole mailbox, whatever calendar stands before it: for `/me/events` that is
            // documented, for the others it is the worse case.
            let found = call.me.events.iter().find(|event| event_id(event) == path.raw(1));
            on_event(call, found, &path.below(2))
        }
        _ => Err(not_allowed()),
    }
}

fn on_event(call: &Call<'_>, event: Option<&Event>, path: &Path) -> Answer {
    let parts = path.low();
    // Forwarding an invitation is open to `Calendars.Read`, a way out for data that its name does not tell.
    match (call.method(), parts.as_slice()) {
        ("GET", []) => call.need(READ_BASIC)?,
        ("GET", _) | ("POST", ["forward"]) => call.need(READ)?,
        _ => call.need(WRITE)?,
    }
    let event = event.ok_or_else(not_found)?;
    match (call.method(), parts.as_slice()) {
        ("GET", []) => single(call, WHAT, expanded(call, event)),
        ("GET", ["instances" | "attachments"]) => list(call, WHAT, Vec::new(), 10),
        ("PATCH", []) => {
            let body = call.body()?;
            call.change(|person, _| {
                let found = person.events.iter_mut().find(|e| e.id == event.id).ok_or_else(not_found)?;
                if let Some(subject) = text(&body, "/subject") {
                    found.subject = subject.to_owned();
                }
                if let Some(start) = text(&body, "/start/dateTime").and_then(from_iso) {
                    found.start = start;
                }
                if let Some(end) = text(&body, "/end/dateTime").and_then(from_iso) {
                    found.end = end;
                }
                Ok(Reply::json(200, &event_json(call, found)))
            })
        }
        ("DELETE", []) => call.change(|person, _| {
            person.events.retain(|e| e.id != event.id);
            Ok(Reply::empty(204))
        }),
        ("POST", ["accept" | "tentativelyaccept" | "decline"]) => Ok(Reply::empty(202)),
        ("POST", ["forward"]) => forward(call, event),
        ("POST", ["cancel"]) => call.change(|person, _| {
            person.events.retain(|e| e.id != event.id);
            Ok(Reply::empty(202))
        }),
        ("POST", ["attachments"]) => Ok(Reply::json(201, &call.body()?)),
        _ => Err(not_allowed()),
    }
}
/// An event, with the calendar that it is in where `$expand` asks for it.
fn expanded(call: &Call<'_>, event: &Event) -> Value {
    let mut shown = event_json(call, event);
    let is_asked = option(&call.request.params(), "expand")
        .is_some_and(|names| names.to_ascii_lowercase().starts_with("calendar"));
    let calendar = call.me.calendars.iter().find(|calendar| calendar.id == event.calendar);
    if let (true, Some(calendar), Some(members)) = (is_asked, calendar, shown.as_object_mut()) {
        members.insert("calendar".to_owned(), json!({"id": calendar_id(calendar), "name": calendar.name}));
    }
    shown
}

/// The invitation goes to whoever the caller names, with all that stands in it.
fn forward(call: &Call<'_>, event: &Event) -> Answer {
    let body = call.body()?;
    let named = body.get("toRecipients").or_else(|| body.get("ToRecipients")).and_then(Value::as_array);
    let to: Vec<&str> = (named.into_iter().flatten())
        .filter_map(|entry| {
            text(entry, "/emailAddress/address").or_else(|| text(entry, "/EmailAddress/Address"))
        })
        .collect();
    if to.is_empty() {
        return Err(error(400, "ErrorInvalidRecipients", "At least one recipient is not valid."));
    }
    call.change(|person, _| {
        let found = person.events.iter_mut().find(|e| e.id == event.id).ok_or_else(not_found)?;
        let invited = to.iter().map(|to| Address { name: (*to).to_owned(), email: (*to).to_owned() });
        found.attendees.extend(invited);
        Ok(Reply::empty(202))
    })
}

/// Who is free when: one's own events with subject and place, colleagues' without.
fn schedule(call: &Call<'_>) -> Answer {
    call.need(READ)?;
    let body = call.body()?;
    let bound = |name: &str| text(&body, &format!("/{name}/dateTime")).and_then(from_iso);
    let (start, end) = bound("startTime").zip(bound("endTime")).unwrap_or((i64::MIN, i64::MAX));
    let asked = body.get("schedules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut value = Vec::new();
    for id in asked.iter().filter_map(Value::as_str) {
        let mine = id.eq_ignore_ascii_case(&call.me.email);
        let person = if mine { Some(call.me.clone()) } else { call.desk.person(id).filter(|p| p.employee) };
        let busy = person.iter().flat_map(|person| &person.events).filter(|e| e.start < end && e.end > start);
        let items: Vec<Value> = busy
            .map(|event| {
                let shown = event_json(call, event);
                let mut item =
                    json!({"status": "busy", "start": shown.get("start"), "end": shown.get("end")});
                if let (true, Some(members)) = (mine, item.as_object_mut()) {
                    members.insert("subject".to_owned(), json!(event.subject));
                    members.insert("location".to_owned(), json!(event.location));
                }
                item
            })
            .collect();
        value.push(json!({"scheduleId": id, "availabilityView": "", "scheduleItems": items}));
    }
    Ok(Reply::json(200, &json!({"value": value})))
}

fn view(call: &Call<'_>, calendar: Option<u64>) -> Answer {
    call.need(READ_BASIC)?;
    let params = call.request.params();
    let bound = |name: &str| option(&params, name).and_then(from_iso);
    let (Some(start), Some(end)) = (bound("startDateTime"), bound("endDateTime")) else {
        return Err(error(
            400,
            "ErrorInvalidParameter",
            "This request requires a time window specified by the query string parameters StartDateTime and EndDateTime.",
        ));
    };
    let inside =
        call.me.events.iter().filter(|e| Some(e.calendar) == calendar && e.start < end && e.end > start);
    list(call, "users('me')/calendarView", inside.map(|event| event_json(call, event)).collect(), 10)
}

fn create(call: &Call<'_>, calendar: Option<u64>) -> Answer {
    call.need(WRITE)?;
    let body = call.body()?;
    let time = |which: &str| text(&body, which).and_then(from_iso);
    let (Some(start), Some(end), Some(calendar)) = (time("/start/dateTime"), time("/end/dateTime"), calendar)
    else {
        return Err(error(400, "ErrorPropertyValidationFailure", "At least one property failed validation."));
    };
    let attendees = body.get("attendees").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let attendees = attendees
        .iter()
        .filter_map(|entry| {
            let email = text(entry, "/emailAddress/address")?.to_owned();
            Some(Address { name: text(entry, "/emailAddress/name").unwrap_or(&email).to_owned(), email })
        })
        .collect();
    call.change(|person, fresh| {
        let event = Event {
            id: fresh,
            calendar,
            subject: text(&body, "/subject").unwrap_or_default().to_owned(),
            body: text(&body, "/body/content").unwrap_or_default().to_owned(),
            location: text(&body, "/location/displayName").unwrap_or_default().to_owned(),
            start,
            end,
            attendees,
        };
        person.events.push(event.clone());
        person.events.sort_by_key(|e| e.start);
        Ok(Reply::json(201, &event_json(call, &event)))
    })
}

fn calendar_json(call: &Call<'_>, calendar: &Calendar) -> Value {
    let is_own = call.me.calendars.first().is_some_and(|first| first.id == calendar.id);
    json!({
        "id": calendar_id(calendar),
        "name": calendar.name,
        "color": "auto",
        "isDefaultCalendar": is_own,
        "canEdit": true,
        "canShare": true,
        "owner": {"name": call.me.name, "address": call.me.email},
    })
}

/// An event in Graph's shape; without a permission that reads details it has no body.
pub(super) fn event_json(call: &Call<'_>, event: &Event) -> Value {
    let time = |at: i64| json!({"dateTime": iso(at).trim_end_matches('Z').to_owned() + ".0000000", "timeZone": "UTC"});
    let address = |a: &Address| json!({"name": a.name, "address": a.email});
    let mut shown = json!({
        "id": event_id(event),
        "subject": event.subject,
        "isAllDay": false,
        "isCancelled": false,
        "isOrganizer": true,
        "type": "singleInstance",
        "showAs": "busy",
        "start": time(event.start),
        "end": time(event.end),
        "location": {"displayName": event.location},
        "organizer": {"emailAddress": address(&call.me.address())},
        "attendees": event.attendees.iter().map(|a| json!({"type": "required", "emailAddress": address(a)})).collect::<Vec<_>>(),
        "webLink": format!("https://outlook.office365.com/owa/?itemid={}", event_id(event)),
    });
    if call.expands("calendar")
        && let Some(calendar) = call.me.calendars.iter().find(|calendar| calendar.id == event.calendar)
        && let Some(members) = shown.as_object_mut()
    {
        members.insert("calendar".to_owned(), calendar_json(call, calendar));
    }
    if call.need(READ).is_ok()
        && let Some(members) = shown.as_object_mut()
    {
        members.insert("bodyPreview".to_owned(), json!(event.body));
        members.insert("body".to_owned(), json!({"contentType": "text", "content": event.body}));
    }
    shown
}
