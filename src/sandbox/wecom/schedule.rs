//! Calendars that the app made, and what stands in them.

use serde_json::{Value, json};

use crate::kernel::clock::Timestamp;
use crate::sandbox::office::{Calendar, Event, Office};
use crate::sandbox::world::content::{BEYOND_CALENDAR, BEYOND_WINDOW};
use crate::sandbox::world::in_2026;

use super::api::{Answer, Call, Refusal, Route, ok, route};
use super::mint;

pub(super) const ROUTES: &[Route] = &[
    route("POST /oa/calendar/add", add_calendar),
    route("POST /oa/calendar/get", calendars),
    route("POST /oa/calendar/update", update_calendar),
    route("POST /oa/calendar/del", delete_calendar),
    route("POST /oa/schedule/add", add),
    route("POST /oa/schedule/get", several),
    route("POST /oa/schedule/get_by_calendar", by_calendar),
    route("POST /oa/schedule/update", update),
    route("POST /oa/schedule/del", delete),
];

/// The calendars that the app made before, with entries.
pub(super) fn seed(office: &Office) {
    let (calendar, board) = (mint("calendar", "team"), mint("calendar", "board"));
    let mut papers = office.papers();
    let entries = [
        ("Team meeting", 11, 24, &calendar, ""),
        ("Release", 12, 2, &calendar, BEYOND_WINDOW),
        ("Board meeting", 11, 25, &board, BEYOND_CALENDAR),
    ];
    for (summary, month, day, calendar, beyond) in entries {
        let start = Timestamp::from_secs(in_2026(month, day, 9, 0));
        papers.events.push(Event {
            id: mint("event", summary),
            owner: String::new(),
            calendar: calendar.clone(),
            summary: summary.to_owned(),
            description: beyond.to_owned(),
            location: "Room 1".to_owned(),
            start,
            end: start.plus(std::time::Duration::from_secs(3600)),
            attendees: vec!["alice".to_owned(), "bob".to_owned()],
            created: Timestamp::from_secs(in_2026(11, 1, 9, 0)),
        });
    }
    for (id, name) in [(calendar, "Team"), (board, "Board")] {
        papers.calendars.push(Calendar { id, owner: String::new(), name: name.to_owned(), primary: false });
    }
}

fn shown_calendar(calendar: &Calendar) -> Value {
    json!({
        "cal_id": calendar.id, "summary": calendar.name, "description": "", "color": "#0000FF", "readonly": 1,
        "shares": [],
    })
}

fn shown(event: &Event) -> Value {
    let attendees: Vec<Value> =
        event.attendees.iter().map(|id| json!({"userid": id, "response_status": 1})).collect();
    json!({
        "schedule_id": event.id, "cal_id": event.calendar, "summary": event.summary,
        "description": event.description, "location": event.location, "start_time": event.start.secs(),
        "end_time": event.end.secs(), "attendees": attendees, "status": 0,
    })
}

fn known_calendar(call: &Call<'_>, id: &str) -> Result<(), Refusal> {
    let known = call.office.papers().calendars.iter().any(|calendar| calendar.id == id);
    if known { Ok(()) } else { Err(Refusal::parameter()) }
}

fn add_calendar(call: &Call<'_>) -> Answer {
    let name = call.text("/calendar/summary")?.to_owned();
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, "calendar");
    papers.calendars.push(Calendar { id: id.clone(), owner: String::new(), name, primary: false });
    ok(json!({"cal_id": id}))
}

fn calendars(call: &Call<'_>) -> Answer {
    let ids = call.texts("/cal_id_list")?;
    let papers = call.office.papers();
    let found = papers.calendars.iter().filter(|calendar| ids.contains(&calendar.id.as_str()));
    ok(json!({"calendar_list": found.map(shown_calendar).collect::<Vec<_>>()}))
}

fn update_calendar(call: &Call<'_>) -> Answer {
    let (id, name) = (call.text("/calendar/cal_id")?, call.text("/calendar/summary")?);
    let mut papers = call.office.papers();
    let calendar =
        papers.calendars.iter_mut().find(|calendar| calendar.id == id).ok_or(Refusal::parameter())?;
    name.clone_into(&mut calendar.name);
    ok(json!({}))
}

fn delete_calendar(call: &Call<'_>) -> Answer {
    let id = call.text("/cal_id")?;
    known_calendar(call, id)?;
    let mut papers = call.office.papers();
    papers.calendars.retain(|calendar| calendar.id != id);
    papers.events.retain(|event| event.calendar != id);
    ok(json!({}))
}

fn time(call: &Call<'_>, name: &str) -> Option<Timestamp> {
    call.number(&format!("/schedule/{name}")).map(Timestamp::from_secs)
}

/// The members that a request invites.
fn invited(call: &Call<'_>) -> Result<Vec<String>, Refusal> {
    let Some(list) = call.body.pointer("/schedule/attendees") else { return Ok(Vec::new()) };
    let member =
        |entry: &Value| call.member(entry.get("userid")?.as_str()?).map(|person| person.key.to_owned());
    let members: Option<Vec<String>> = list.as_array().and_then(|list| list.iter().map(member).collect());
    members.ok_or(Refusal::new(60111, "userid not found"))
}

fn add(call: &Call<'_>) -> Answer {
    let calendar = call.text("/schedule/cal_id")?.to_owned();
    known_calendar(call, &calendar)?;
    let window = time(call, "start_time").zip(time(call, "end_time")).filter(|(start, end)| start <= end);
    let (start, end) = window.ok_or(Refusal::parameter())?;
    let attendees = invited(call)?;
    let mut papers = call.office.papers();
    let id = call.office.id(&mut papers, "event");
    papers.events.push(Event {
        id: id.clone(),
        owner: String::new(),
        calendar,
        summary: call.text_or_empty("/schedule/summary"),
        description: call.text_or_empty("/schedule/description"),
        location: call.text_or_empty("/schedule/location"),
        start,
        end,
        attendees,
        created: call.office.now(),
    });
    ok(json!({"schedule_id": id}))
}

fn several(call: &Call<'_>) -> Answer {
    let ids = call.texts("/schedule_id_list")?;
    let papers = call.office.papers();
    let found = papers.events.iter().filter(|event| ids.contains(&event.id.as_str()));
    ok(json!({"schedule_list": found.map(shown).collect::<Vec<_>>()}))
}

fn by_calendar(call: &Call<'_>) -> Answer {
    let id = call.text("/cal_id")?;
    known_calendar(call, id)?;
    let number = |name: &str, usual: usize| match call.number(name) {
        Some(number) => usize::try_from(number).map_err(|_| Refusal::parameter()),
        None => Ok(usual),
    };
    let (offset, limit) = (number("/offset", 0)?, number("/limit", 500)?);
    let papers = call.office.papers();
    let found = papers.events.iter().filter(|event| event.calendar == id).skip(offset).take(limit.min(1000));
    ok(json!({"schedule_list": found.map(shown).collect::<Vec<_>>()}))
}

fn update(call: &Call<'_>) -> Answer {
    let id = call.text("/schedule/schedule_id")?;
    let attendees = invited(call)?;
    let text = |name: &str| call.text(&format!("/schedule/{name}")).ok().map(str::to_owned);
    let mut papers = call.office.papers();
    let event = papers.events.iter_mut().find(|event| event.id == id).ok_or(Refusal::parameter())?;
    event.start = time(call, "start_time").unwrap_or(event.start);
    event.end = time(call, "end_time").unwrap_or(event.end);
    event.summary = text("summary").unwrap_or_else(|| event.summary.clone());
    event.description = text("description").unwrap_or_else(|| event.description.clone());
    event.location = text("location").unwrap_or_else(|| event.location.clone());
    if !attendees.is_empty() {
        event.attendees = attendees;
    }
    ok(json!({}))
}

fn delete(call: &Call<'_>) -> Answer {
    let id = call.text("/schedule_id")?;
    let mut papers = call.office.papers();
    let before = papers.events.len();
    papers.events.retain(|event| event.id != id);
    if papers.events.len() < before { ok(json!({})) } else { Err(Refusal::parameter()) }
}
