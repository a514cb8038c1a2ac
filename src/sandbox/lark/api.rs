//! The open platform's routes: which token and scopes each one takes, and the vendor's way to refuse.

use serde_json::{Value, json};

use crate::sandbox::desk::Desk;
use crate::sandbox::office::Office;
use crate::sandbox::paging::Page;
use crate::sandbox::pattern::{self, Captures};
use crate::sandbox::tokens::{AccessRefusal, Facts, Scopes};
use crate::sandbox::wire::{Params, Reply, Request};
use crate::sandbox::world::Person;

use super::{calendar, contact, docs, drive, im, mail, sheets, uploads, wiki};

/// One route that takes a user's token.
pub(super) struct Route {
    /// `METHOD /path/{name}`, after `/open-apis`.
    pub(super) call: &'static str,
    /// Any one of these scopes opens it.
    pub(super) scopes: &'static [&'static str],
    /// Any one of these is needed as well, when there are some.
    pub(super) also: &'static [&'static str],
    /// Answers.
    pub(super) run: fn(&Call<'_>) -> Answer,
}

/// A route without a second condition.
pub(super) const fn route(
    call: &'static str,
    scopes: &'static [&'static str],
    run: fn(&Call<'_>) -> Answer,
) -> Route {
    Route { call, scopes, also: &[], run }
}

const TABLES: [&[Route]; 9] = [
    docs::ROUTES,
    drive::ROUTES,
    uploads::ROUTES,
    sheets::ROUTES,
    wiki::ROUTES,
    calendar::ROUTES,
    im::ROUTES,
    mail::ROUTES,
    contact::ROUTES,
];

/// Scopes that open fields, not routes.
const FIELD_SCOPES: &[&str] = &[
    "auth:user.id:read",
    "contact:user.base:readonly",
    "contact:user.department:readonly",
    "contact:user.email:readonly",
    "contact:user.employee:readonly",
    "contact:user.employee_id:readonly",
    "contact:user.phone:readonly",
    "mail:user_mailbox.message.address:read",
    "mail:user_mailbox.message.body:read",
    "mail:user_mailbox.message.subject:read",
];

/// Whether a scope is enabled for the app.
pub(super) fn knows_scope(scope: &str) -> bool {
    FIELD_SCOPES.contains(&scope)
        || TABLES
            .iter()
            .flat_map(|table| table.iter())
            .any(|r| r.scopes.contains(&scope) || r.also.contains(&scope))
}

/// What the consent page says of a scope.
pub(super) fn title(scope: &str) -> &'static str {
    match scope.split([':', '.']).next().unwrap_or_default() {
        "offline_access" => "Stay connected while you are away",
        "docx" | "docs" => "Documents",
        "drive" | "space" => "Files and folders",
        "wiki" => "Wiki",
        "bitable" => "Bases",
        "calendar" => "Calendars",
        "im" => "Chats and messages",
        "mail" => "Mail",
        "contact" | "auth" => "Contacts",
        "search" => "Search",
        _ => "Other data",
    }
}

/// A refusal in the vendor's form.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: u16,
    code: i64,
    msg: String,
    violations: Vec<&'static str>,
}

impl Refusal {
    /// A refusal with this status and code.
    pub(super) fn new(status: u16, code: i64, msg: &str) -> Self {
        Self { status, code, msg: msg.to_owned(), violations: Vec::new() }
    }

    /// The answer.
    pub(super) fn reply(&self) -> Reply {
        let mut error = json!({"log_id": "20260101000000000000000000000000"});
        if let (false, Some(members)) = (self.violations.is_empty(), error.as_object_mut()) {
            let violations: Vec<Value> = (self.violations.iter())
                .map(|scope| json!({"subject": scope, "type": "action_privilege_required"}))
                .collect();
            members.insert("permission_violations".to_owned(), Value::Array(violations));
        }
        Reply::json(self.status, &json!({"code": self.code, "msg": self.msg, "error": error}))
    }
}

/// What a route answers.
pub(super) type Answer = Result<Reply, Refusal>;

/// `{code: 0, msg, data}`.
#[expect(clippy::unnecessary_wraps, reason = "the last expression of every route")]
pub(super) fn ok(data: Value) -> Answer {
    Ok(Reply::json(200, &json!({"code": 0, "msg": "success", "data": data})))
}

/// One authorised call.
pub(super) struct Call<'a> {
    /// The vendor's desk.
    pub(super) desk: &'a Desk,
    /// Its files.
    pub(super) office: &'a Office,
    /// The request.
    pub(super) request: &'a Request,
    /// What stands in the path.
    pub(super) path: Captures<'a>,
    /// What stands in the query.
    pub(super) query: Params,
    /// Whose token it is.
    pub(super) person: Person,
    /// What that token opens.
    pub(super) scopes: Scopes,
}

impl Call<'_> {
    /// The user's e-mail.
    pub(super) fn me(&self) -> &str {
        &self.person.email
    }

    /// The JSON body; an empty one is an empty object.
    pub(super) fn body(&self) -> Result<Value, Refusal> {
        if self.request.body.is_empty() {
            return Ok(json!({}));
        }
        let malformed = || Refusal::new(400, 9499, "Bad Request: the body is not a JSON object");
        self.request.json().ok().filter(Value::is_object).ok_or_else(malformed)
    }

    /// A page by `page_size` and `page_token`, with the members that every list has.
    pub(super) fn page(&self, items: Vec<Value>, usual: usize, most: usize) -> Result<Page, Refusal> {
        let size = match self.query.filled("page_size").map(str::parse::<usize>) {
            None => usual,
            Some(Ok(size)) if (1..=most).contains(&size) => size,
            Some(_) => return Err(Refusal::new(400, 99_992_402, "field validation failed: page_size")),
        };
        Page::cut(items, size, self.query.get("page_token"))
            .ok_or_else(|| Refusal::new(400, 99_992_402, "field validation failed: page_token"))
    }

    /// A page as `data`, its items under `name`.
    pub(super) fn list(&self, name: &str, items: Vec<Value>, usual: usize, most: usize) -> Answer {
        let page = self.page(items, usual, most)?;
        let mut data = json!({"has_more": page.next.is_some(), "page_token": page.next.unwrap_or_default()});
        if let Some(members) = data.as_object_mut() {
            members.insert(name.to_owned(), Value::Array(page.items));
        }
        ok(data)
    }

    /// The employee of that `open_id`, `union_id`, `user_id` or e-mail.
    pub(super) fn employee(&self, id: &str) -> Option<Person> {
        self.desk.world(|world| {
            let is = |p: &&Person| {
                [
                    super::open_id(&p.email),
                    super::union_id(&p.email),
                    super::user_id(&p.email),
                    p.email.clone(),
                ]
                .iter()
                .any(|known| known == id)
            };
            world.employees().find(is).cloned()
        })
    }
}

/// Answers whatever lies under `/open-apis`.
pub(super) fn answer(desk: &Desk, office: &Office, request: &Request) -> Reply {
    dispatch(desk, office, request).unwrap_or_else(|refusal| refusal.reply())
}

fn dispatch(desk: &Desk, office: &Office, request: &Request) -> Answer {
    let segments: Vec<String> = request.segments().into_iter().skip(1).collect();
    let found = TABLES.iter().find_map(|table| pattern::find(table, |r| r.call, &request.method, &segments));
    let Some((route, path)) = found else {
        return Ok(Reply::bytes(404, "text/plain", "404 page not found"));
    };
    let facts = user_token(desk, request)?;
    for wanted in [route.scopes, route.also] {
        if !wanted.is_empty() && !wanted.iter().any(|scope| facts.scopes.contains(*scope)) {
            return Err(not_granted(wanted));
        }
    }
    let person = facts.email.as_deref().and_then(|email| desk.person(email));
    let person =
        person.ok_or_else(|| Refusal::new(400, 99_991_668, "Invalid access token for authorization."))?;
    (route.run)(&Call { desk, office, request, path, query: request.params(), person, scopes: facts.scopes })
}

fn not_granted(scopes: &[&'static str]) -> Refusal {
    let msg = format!(
        "Unauthorized. You do not have permission to perform the requested operation on the resource. Please \
         request user re-authorization and try again. required one of these privileges: [{}]",
        scopes.join(", ")
    );
    Refusal { status: 400, code: 99_991_679, msg, violations: scopes.to_vec() }
}

/// The user's token of a call.
pub(super) fn user_token(desk: &Desk, request: &Request) -> Result<Facts, Refusal> {
    let refusal = |code, msg| Err(Refusal::new(400, code, msg));
    let Some(token) = request.bearer().filter(|token| !token.is_empty()) else {
        return refusal(99_991_661, "Missing access token for authorization.");
    };
    if !["u-", "t-", "a-", "eyJ"].iter().any(|prefix| token.starts_with(prefix)) {
        return refusal(99_991_671, "Invalid token: must start with t-/u-");
    }
    match desk.book.access(token) {
        Ok(facts) if facts.email.is_some() => Ok(facts),
        // None of the routes listed here is open to the app itself.
        Ok(_) if token.starts_with("a-") => refusal(99_991_664, "invalid app token"),
        Ok(_) => refusal(99_991_663, "Invalid access token for authorization."),
        Err(_) if token.starts_with("t-") => refusal(99_991_663, "Invalid access token for authorization."),
        Err(AccessRefusal::Expired) => refusal(99_991_677, "token expire"),
        Err(_) => refusal(99_991_668, "Invalid access token for authorization."),
    }
}
