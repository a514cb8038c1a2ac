//! The app's routes, and the vendor's way to answer.

use serde_json::{Value, json};

use crate::sandbox::desk::Desk;
use crate::sandbox::office::Office;
use crate::sandbox::pattern;
use crate::sandbox::tokens::AccessRefusal;
use crate::sandbox::wire::{Params, Reply, Request};
use crate::sandbox::world::Person;

use super::{directory, documents, drive, mail, messages, schedule};

/// One route.
pub(super) struct Route {
    call: &'static str,
    run: fn(&Call<'_>) -> Answer,
}

/// A route.
pub(super) const fn route(call: &'static str, run: fn(&Call<'_>) -> Answer) -> Route {
    Route { call, run }
}

const TABLES: [&[Route]; 6] =
    [directory::ROUTES, messages::ROUTES, schedule::ROUTES, drive::ROUTES, documents::ROUTES, mail::ROUTES];

/// A refusal: a number and a text that nobody should match on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal(i64, &'static str);

impl Refusal {
    /// A refusal with this number.
    pub(super) const fn new(code: i64, message: &'static str) -> Self {
        Self(code, message)
    }

    /// A parameter is missing or names nothing of this app.
    pub(super) const fn parameter() -> Self {
        Self(40058, "invalid parameter")
    }

    /// The answer.
    pub(super) fn reply(self) -> Reply {
        error(self.0, self.1)
    }
}

/// What a route answers.
pub(super) type Answer = Result<Reply, Refusal>;

/// An error answer.
pub(super) fn error(code: i64, message: &str) -> Reply {
    Reply::json(200, &json!({"errcode": code, "errmsg": message}))
}

/// A good answer: the document with `errcode` 0.
#[expect(clippy::needless_pass_by_value, reason = "routes build the document in place")]
#[expect(clippy::unnecessary_wraps, reason = "the last expression of every route")]
pub(super) fn ok(document: Value) -> Answer {
    let mut whole = json!({"errcode": 0, "errmsg": "ok"});
    if let (Some(members), Some(more)) = (whole.as_object_mut(), document.as_object()) {
        members.extend(more.clone());
    }
    Ok(Reply::json(200, &whole))
}

/// One authorised call.
pub(super) struct Call<'a> {
    /// The vendor's desk.
    pub(super) desk: &'a Desk,
    /// What the app made.
    pub(super) office: &'a Office,
    /// What stands in the query.
    pub(super) query: Params,
    /// The JSON body; empty for `GET`.
    pub(super) body: Value,
}

impl Call<'_> {
    /// A text in the body that is not empty.
    pub(super) fn text(&self, pointer: &str) -> Result<&str, Refusal> {
        let text = self.body.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.ok_or(Refusal::parameter())
    }

    /// A text in the body, or nothing.
    pub(super) fn text_or_empty(&self, pointer: &str) -> String {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// A list of texts in the body that is not empty.
    pub(super) fn texts(&self, pointer: &str) -> Result<Vec<&str>, Refusal> {
        let list = self.body.pointer(pointer).and_then(Value::as_array).filter(|list| !list.is_empty());
        list.and_then(|list| list.iter().map(Value::as_str).collect()).ok_or(Refusal::parameter())
    }

    /// A number in the body.
    pub(super) fn number(&self, pointer: &str) -> Option<i64> {
        self.body.pointer(pointer).and_then(Value::as_i64)
    }

    /// The member of that user id.
    pub(super) fn member(&self, id: &str) -> Option<Person> {
        self.desk.world(|world| world.employees().find(|person| person.key == id).cloned())
    }
}

/// Answers the app's routes.
pub(super) fn answer(desk: &Desk, office: &Office, request: &Request) -> Reply {
    dispatch(desk, office, request).unwrap_or_else(Refusal::reply)
}

fn dispatch(desk: &Desk, office: &Office, request: &Request) -> Answer {
    let segments: Vec<String> = request.segments();
    let rest = match segments.split_first() {
        Some((first, rest)) if first == "cgi-bin" => rest,
        _ => return Ok(Reply::bytes(404, "text/html", "<html><body>404 Not Found</body></html>")),
    };
    let found = TABLES.iter().find_map(|table| pattern::find(table, |r| r.call, &request.method, rest));
    let (route, _) = found.ok_or(Refusal::new(48002, "api forbidden"))?;
    app_token(desk, request)?;
    let body = if request.method == "GET" {
        json!({})
    } else {
        // The type of the body is not looked at, only whether it is JSON.
        let parsed: Option<Value> = serde_json::from_slice(&request.body).ok();
        parsed.filter(Value::is_object).ok_or(Refusal::new(47001, "data format error"))?
    };
    (route.run)(&Call { desk, office, query: request.params(), body })
}

/// Checks the app's token in the query.
pub(super) fn app_token(desk: &Desk, request: &Request) -> Result<(), Refusal> {
    let query = request.params();
    let token = query.filled("access_token").ok_or(Refusal::new(41001, "access_token missing"))?;
    match desk.book.access(token) {
        Ok(_) => Ok(()),
        Err(AccessRefusal::Expired) => Err(Refusal::new(42001, "access_token expired")),
        Err(_) => Err(Refusal::new(40014, "invalid access_token")),
    }
}
