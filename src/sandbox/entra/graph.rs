//! Microsoft Graph: who calls, which permissions the token holds, and which part answers.

mod calendar;
mod chats;
pub(super) mod drive;
mod filter;
mod mail;
mod odata;
mod people;
mod search;
mod sites;
mod subscriptions;

use serde_json::{Value, json};

use crate::sandbox::desk::Desk;
use crate::sandbox::entra::{GRAPH, object_id};
use crate::sandbox::tokens::{AccessRefusal, Scopes};
use crate::sandbox::wire::{Reply, Request};
use crate::sandbox::world::{Person, guid};

/// A part's answer; the error is an answer as well, one that ends the work early.
type Answer = Result<Reply, Reply>;

/// One authenticated call.
struct Call<'c> {
    desk: &'c Desk,
    request: &'c Request,
    /// The person that the token stands for.
    me: Person,
    scopes: Scopes,
}

/// A path below the version: the structure in lower case (Graph compares it so), and the segments as sent, for ids.
struct Path {
    low: Vec<String>,
    raw: Vec<String>,
}

impl Path {
    /// Splits the key form `mailFolders('Inbox')` into two segments.
    fn read(segments: &[String]) -> Self {
        let mut raw = Vec::new();
        for segment in segments {
            let key = segment.split_once("('").and_then(|(name, key)| Some((name, key.strip_suffix("')")?)));
            match key {
                Some((name, key)) => raw.extend([name.to_owned(), key.replace("''", "'")]),
                None => raw.push(segment.clone()),
            }
        }
        Self { low: raw.iter().map(|segment| segment.to_ascii_lowercase()).collect(), raw }
    }

    fn low(&self) -> Vec<&str> {
        self.low.iter().map(String::as_str).collect()
    }

    /// The segment at that place as it was sent.
    fn raw(&self, at: usize) -> &str {
        self.raw.get(at).map(String::as_str).unwrap_or_default()
    }

    /// The path without its first segments.
    fn below(&self, depth: usize) -> Path {
        let from = |segments: &[String]| segments.get(depth..).unwrap_or_default().to_vec();
        Self { low: from(&self.low), raw: from(&self.raw) }
    }
}

/// Answers one data call. A method in `X-HTTP-Method-Override` counts: Graph does not document that, and the worse
/// case is the one to try.
pub(super) fn answer(desk: &Desk, request: &Request) -> Reply {
    let overridden = request.header("x-http-method-override").or_else(|| request.header("x-http-method"));
    match overridden.filter(|_| request.method == "POST") {
        Some(method) => {
            let mut bent = request.clone();
            bent.method = method.to_ascii_uppercase();
            authenticated(desk, &bent)
        }
        None => authenticated(desk, request),
    }
}

fn authenticated(desk: &Desk, request: &Request) -> Reply {
    let call = match authenticate(desk, request) {
        Ok(call) => call,
        Err(refusal) => return refusal,
    };
    let path = Path::read(&request.segments());
    let answer = match path.low().first() {
        Some(&"oidc") => people::userinfo(&call),
        Some(&"v1.0" | &"beta") => call.route(&path.below(1)),
        _ => Err(error(400, "BadRequest", "Invalid version.")),
    };
    answer.unwrap_or_else(|refusal| refusal)
}

fn authenticate<'c>(desk: &'c Desk, request: &'c Request) -> Result<Call<'c>, Reply> {
    let refused = |message: &str| {
        error(401, "InvalidAuthenticationToken", message).with(
            "www-authenticate",
            "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", \
             client_id=\"00000003-0000-0000-c000-000000000000\"",
        )
    };
    let token = request.bearer().ok_or_else(|| refused("Access token is empty."))?;
    let facts = desk.book.access(token).map_err(|refusal| match refusal {
        AccessRefusal::Expired => refused("Lifetime validation failed, the token is expired."),
        AccessRefusal::Unknown | AccessRefusal::Revoked => {
            refused("Access token validation failure. Invalid audience.")
        }
    })?;
    let me = facts.email.as_deref().and_then(|email| desk.person(email));
    let me = me.ok_or_else(|| refused("Access token validation failure."))?;
    Ok(Call { desk, request, me, scopes: facts.scopes })
}

impl Call<'_> {
    fn route(&self, path: &Path) -> Answer {
        match path.low().as_slice() {
            ["me", ..] => self.mine(&path.below(1)),
            ["users", _, ..] => self.of_user(path),
            ["users"] => people::users(self),
            ["chats", ..] => chats::route(self, path),
            ["drives", _, ..] => drive::by_id(self, path),
            ["shares", _, ..] => drive::shared(self, path),
            ["sites", ..] => sites::route(self, path),
            ["teams", ..] => sites::teams(self),
            ["$batch"] => search::batch(self),
            ["search", "query"] => search::query(self),
            ["copilot", "retrieval" | "search"] => search::copilot(self),
            ["subscriptions", ..] => subscriptions::route(self, path),
            _ => Err(not_a_segment(path.raw(0))),
        }
    }

    fn mine(&self, path: &Path) -> Answer {
        match path.low().first().copied() {
            Some("messages" | "mailfolders" | "sendmail") => mail::route(self, path),
            Some("drive") => drive::mine(self, &path.below(1)),
            Some("drives") => drive::drives(self, false),
            Some("calendar" | "calendars" | "calendarview" | "calendargroups" | "events") => {
                calendar::route(self, path)
            }
            Some("chats") => chats::route(self, path),
            _ => people::route(self, path),
        }
    }

    /// `/users/{id}` with one's own id or user principal name is another spelling of `/me`.
    fn of_user(&self, path: &Path) -> Answer {
        let id = path.raw(1);
        let is_me = |person: &Person| object_id(person) == id || person.email.eq_ignore_ascii_case(id);
        if is_me(&self.me) {
            return self.mine(&path.below(2));
        }
        if path.low.len() > 2 {
            return Err(access_denied());
        }
        self.need(&["User.ReadBasic.All"])?;
        let found = self.desk.world(|world| world.employees().find(|p| is_me(p)).cloned());
        let missing = || error(404, "Request_ResourceNotFound", &format!("Resource '{id}' does not exist."));
        found.map(|person| Reply::json(200, &people::profile(&person))).ok_or_else(missing)
    }

    /// Lets the call pass when the token holds one of the permissions.
    fn need(&self, any_of: &[&str]) -> Result<(), Reply> {
        if any_of.iter().any(|scope| self.scopes.contains(*scope)) { Ok(()) } else { Err(access_denied()) }
    }

    fn body(&self) -> Result<Value, Reply> {
        self.request.json().map_err(|_| {
            error(400, "BadRequest", "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
        })
    }

    /// Whether `$expand` names that relation.
    fn expands(&self, relation: &str) -> bool {
        let params = self.request.params();
        let expand = odata::option(&params, "expand").unwrap_or_default().to_ascii_lowercase();
        expand.split(',').any(|part| part.split('(').next().unwrap_or_default().trim() == relation)
    }

    fn method(&self) -> &str {
        &self.request.method
    }

    /// Changes the caller's own part of the world.
    fn change<T>(&self, work: impl FnOnce(&mut Person, u64) -> Result<T, Reply>) -> Result<T, Reply> {
        self.desk.world(|world| {
            let fresh = world.next_id();
            match world.person_mut(&self.me.email) {
                Some(person) => work(person, fresh),
                None => Err(access_denied()),
            }
        })
    }
}

/// Graph's error document.
fn error(status: u16, code: &str, message: &str) -> Reply {
    let request = guid("graph:request", 1);
    let inner = json!({"request-id": request, "client-request-id": request});
    Reply::json(status, &json!({"error": {"code": code, "message": message, "innerError": inner}}))
}

fn access_denied() -> Reply {
    error(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
}

fn not_found() -> Reply {
    error(404, "ErrorItemNotFound", "The specified object was not found in the store.")
}

fn not_a_segment(segment: &str) -> Reply {
    error(400, "BadRequest", &format!("Resource not found for the segment '{segment}'."))
}

fn not_allowed() -> Reply {
    error(405, "UnknownError", "The method is not allowed on this resource.")
}

/// `@odata.context` of an answer.
fn context(what: &str) -> String {
    format!("{GRAPH}/v1.0/$metadata#{what}")
}

/// Looks a value up in a body, as text.
fn text<'v>(body: &'v Value, pointer: &str) -> Option<&'v str> {
    body.pointer(pointer).and_then(Value::as_str)
}
