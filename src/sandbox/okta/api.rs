//! The management API: effective rights are the token's scope and the user's admin role, both.

use serde_json::Value;

use crate::sandbox::desk::Desk;
use crate::sandbox::okta::{ISSUER, api_error, directory};
use crate::sandbox::tokens::Scopes;
use crate::sandbox::wire::{Reply, Request};
use crate::sandbox::world::{Person, from_iso};

/// The one read-only administrator of the organisation.
const READ_ONLY_ADMIN: &str = "alice@example.com";

struct Call<'c> {
    desk: &'c Desk,
    request: &'c Request,
    me: Person,
    scopes: Scopes,
}

/// Answers one data call.
pub(super) fn answer(desk: &Desk, request: &Request) -> Reply {
    let facts = request.bearer().and_then(|token| desk.book.access(token).ok());
    let person = facts.as_ref().and_then(|facts| desk.person(facts.email.as_deref()?));
    let (Some(facts), Some(me)) = (facts, person) else {
        return api_error(401, "E0000011", "Invalid token provided").with(
            "www-authenticate",
            "Bearer authorization_uri=\"https://example.okta.com/oauth2/v1/authorize\", error=\"invalid_token\", \
             error_description=\"The access token is invalid or has expired.\"",
        );
    };
    let call = Call { desk, request, me, scopes: facts.scopes };
    let segments = request.segments();
    let parts: Vec<&str> = segments.iter().skip(2).map(String::as_str).collect();
    call.route(&parts).unwrap_or_else(|refusal| refusal)
}

impl Call<'_> {
    fn route(&self, parts: &[&str]) -> Result<Reply, Reply> {
        match (self.request.method.as_str(), parts) {
            ("GET", ["users", id]) => {
                let person = self.subject(id, "read")?;
                Ok(Reply::json(200, &directory::user(&person)))
            }
            ("POST", ["users", id]) => self.update(id),
            ("GET", ["users", id, "groups"]) => {
                let person = self.subject(id, "read")?;
                Ok(Reply::json(200, &Value::Array(directory::groups(Some(&person)))))
            }
            ("GET", ["users"]) => {
                self.admin(&["okta.users.read", "okta.users.manage"])?;
                let users = self.desk.world(|world| world.employees().map(directory::user).collect());
                Ok(self.page(search(self.request, users)))
            }
            ("GET", ["groups"]) => {
                self.admin(&["okta.groups.read", "okta.groups.manage"])?;
                Ok(self.page(directory::groups(None)))
            }
            ("GET", ["groups", id]) => {
                self.admin(&["okta.groups.read", "okta.groups.manage"])?;
                let group = directory::groups(None).into_iter().find(|group| text(group, "/id") == *id);
                group.map(|group| Reply::json(200, &group)).ok_or_else(|| not_found(id, "UserGroup"))
            }
            ("GET", ["groups", id, "users"]) => {
                self.admin(&["okta.groups.read", "okta.groups.manage"])?;
                directory::members(self.desk, id)
                    .map(|m| self.page(m))
                    .ok_or_else(|| not_found(id, "UserGroup"))
            }
            ("GET", ["apps"]) => {
                self.admin(&["okta.apps.read", "okta.apps.manage"])?;
                Ok(self.page(directory::apps(self.desk)))
            }
            ("GET", ["apps", id]) => {
                self.admin(&["okta.apps.read", "okta.apps.manage"])?;
                let app = directory::apps(self.desk).into_iter().find(|app| text(app, "/id") == *id);
                app.map(|app| Reply::json(200, &app)).ok_or_else(|| not_found(id, "AppInstance"))
            }
            ("GET", ["logs"]) => {
                self.admin(&["okta.logs.read"])?;
                Ok(self.page(since_until(self.request, directory::logs(self.desk))))
            }
            _ => Err(api_error(404, "E0000022", "The endpoint does not support the provided HTTP method")),
        }
    }

    /// The user that a path names, when the token and the role reach that far: `.self` scopes and people without
    /// a role reach themselves only.
    fn subject(&self, id: &str, verb: &str) -> Result<Person, Reply> {
        let person = match id {
            "me" => Some(self.me.clone()),
            id => self.desk.world(|world| {
                world
                    .employees()
                    .find(|p| directory::user_id(p) == id || p.email.eq_ignore_ascii_case(id))
                    .cloned()
            }),
        };
        let everyone = self.has(&format!("okta.users.{verb}")) || self.has("okta.users.manage");
        let oneself =
            everyone || self.has(&format!("okta.users.{verb}.self")) || self.has("okta.users.manage.self");
        match person {
            Some(person) if person.id == self.me.id && oneself => Ok(person),
            Some(person) if everyone && verb == "read" && self.me.email == READ_ONLY_ADMIN => Ok(person),
            None if everyone && self.me.email == READ_ONLY_ADMIN => Err(not_found(id, "User")),
            _ => Err(self.denied(everyone || oneself)),
        }
    }

    fn update(&self, id: &str) -> Result<Reply, Reply> {
        let person = self.subject(id, "manage")?;
        let body = self
            .request
            .json()
            .map_err(|_| api_error(400, "E0000003", "The request body was not well-formed."))?;
        let changed = self.desk.world(|world| {
            let person = world.person_mut(&person.email)?;
            let field = |name: &str| body.pointer(&format!("/profile/{name}")).and_then(Value::as_str);
            if let Some(title) = field("title") {
                person.title = title.to_owned();
            }
            if let Some(phone) = field("mobilePhone") {
                person.mobile = phone.to_owned();
            }
            Some(directory::user(person))
        });
        changed.map(|user| Reply::json(200, &user)).ok_or_else(|| not_found(id, "User"))
    }

    fn has(&self, scope: &str) -> bool {
        self.scopes.contains(scope)
    }

    fn admin(&self, any_of: &[&str]) -> Result<(), Reply> {
        let scope = any_of.iter().any(|scope| self.has(scope));
        if scope && self.me.email == READ_ONLY_ADMIN { Ok(()) } else { Err(self.denied(scope)) }
    }

    /// Scope first, role second, as the API tells them apart.
    fn denied(&self, has_scope: bool) -> Reply {
        let reply = api_error(403, "E0000006", "You do not have permission to perform the requested action");
        if has_scope {
            return reply;
        }
        reply.with(
            "www-authenticate",
            "Bearer authorization_uri=\"https://example.okta.com/oauth2/v1/authorize\", \
             error=\"insufficient_scope\", error_description=\"The access token provided does not contain the \
             required scopes.\"",
        )
    }

    /// `limit` and `after`, with the next page in a `Link` header.
    fn page(&self, items: Vec<Value>) -> Reply {
        let params = self.request.params();
        let limit = params.get("limit").and_then(|n| n.parse().ok()).unwrap_or(200_usize).clamp(1, 200);
        let after = params.get("after").and_then(|n| n.parse().ok()).unwrap_or(0_usize);
        let total = items.len();
        let shown: Vec<Value> = items.into_iter().skip(after).take(limit).collect();
        let here = format!("{ISSUER}{}", self.request.path);
        let reply = Reply::json(200, &Value::Array(shown))
            .with("link", &format!("<{here}?limit={limit}>; rel=\"self\""));
        if after.saturating_add(limit) < total {
            let next = format!("<{here}?after={}&limit={limit}>; rel=\"next\"", after.saturating_add(limit));
            return reply.with("link", &next);
        }
        reply
    }
}

/// `q` matches the beginning of first name, last name or e-mail.
fn search(request: &Request, users: Vec<Value>) -> Vec<Value> {
    let params = request.params();
    let Some(q) = params.filled("q").map(str::to_lowercase) else { return users };
    let fields = ["/profile/firstName", "/profile/lastName", "/profile/email"];
    users
        .into_iter()
        .filter(|user| fields.iter().any(|field| text(user, field).to_lowercase().starts_with(&q)))
        .collect()
}

fn since_until(request: &Request, entries: Vec<Value>) -> Vec<Value> {
    let params = request.params();
    let since = params.get("since").and_then(from_iso).unwrap_or(i64::MIN);
    let until = params.get("until").and_then(from_iso).unwrap_or(i64::MAX);
    entries
        .into_iter()
        .filter(|entry| from_iso(text(entry, "/published")).is_some_and(|at| at >= since && at < until))
        .collect()
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn not_found(id: &str, kind: &str) -> Reply {
    api_error(404, "E0000007", &format!("Not found: Resource not found: {id} ({kind})"))
}
