//! The management API: effective rights are the token's scope and the user's admin role, both.

use serde_json::{Value, json};

use crate::sandbox::desk::Desk;
use crate::sandbox::okta::directory::{self, Groups};
use crate::sandbox::okta::filter;
use crate::sandbox::okta::{ISSUER, api_error};
use crate::sandbox::tokens::Scopes;
use crate::sandbox::wire::{Reply, Request};
use crate::sandbox::world::{Person, from_iso, opaque};

/// The one administrator of the organisation: reads everything, changes groups.
const ADMIN: &str = "alice@example.com";

struct Call<'c> {
    groups: &'c Groups,
    desk: &'c Desk,
    request: &'c Request,
    me: Person,
    scopes: Scopes,
}

/// Answers one data call.
pub(super) fn answer(groups: &Groups, desk: &Desk, request: &Request) -> Reply {
    let facts = request.bearer().and_then(|token| desk.book.access(token).ok());
    let person = facts.as_ref().and_then(|facts| desk.person(facts.email.as_deref()?));
    let (Some(facts), Some(me)) = (facts, person) else {
        return api_error(401, "E0000011", "Invalid token provided").with(
            "www-authenticate",
            "Bearer authorization_uri=\"https://example.okta.com/oauth2/v1/authorize\", error=\"invalid_token\", \
             error_description=\"The access token is invalid or has expired.\"",
        );
    };
    let call = Call { groups, desk, request, me, scopes: facts.scopes };
    let segments = request.segments();
    let parts: Vec<&str> = segments.iter().skip(2).map(String::as_str).collect();
    call.route(&parts).unwrap_or_else(|refusal| refusal)
}

impl Call<'_> {
    fn route(&self, parts: &[&str]) -> Result<Reply, Reply> {
        match parts {
            ["users", ..] => self.users(parts),
            ["groups", ..] => self.groups(parts),
            ["apps", ..] => self.apps(parts),
            ["logs"] if self.request.method == "GET" => {
                self.admin(&["okta.logs.read"])?;
                let entries = since_until(self.request, directory::logs(self.desk));
                Ok(self.page(filter::chosen(self.request, entries)?))
            }
            _ => Err(no_method()),
        }
    }

    fn users(&self, parts: &[&str]) -> Result<Reply, Reply> {
        match (self.request.method.as_str(), parts) {
            ("GET", ["users"]) => {
                self.admin(&["okta.users.read", "okta.users.manage"])?;
                let users = self.desk.world(|world| world.employees().map(directory::user).collect());
                Ok(self.page(filter::chosen(self.request, users)?))
            }
            ("GET", ["users", id]) => {
                let person = self.subject(id, "read")?;
                Ok(Reply::json(200, &directory::user(&person)))
            }
            ("POST", ["users", id]) => self.update(id),
            ("GET", ["users", id, "groups"]) => {
                let person = self.subject(id, "read")?;
                Ok(self.page(self.groups.list(Some(&person)).iter().map(directory::group_json).collect()))
            }
            ("GET", ["users", id, "appLinks"]) => {
                self.subject(id, "read")?;
                let link = |app: Value| {
                    let (id, label) = (text(&app, "/id"), text(&app, "/label"));
                    json!({"id": opaque("okta:link", self.me.id, 20), "label": label, "appInstanceId": id})
                };
                Ok(self.page(directory::apps(self.desk).into_iter().map(link).collect()))
            }
            ("GET", ["users", id, "factors" | "clients" | "grants" | "blocks"]) => {
                let person = self.subject(id, "read")?;
                let id = opaque("okta:factor", person.id, 20);
                Ok(self.page(vec![json!({"id": id, "factorType": "push", "status": "ACTIVE"})]))
            }
            _ => Err(no_method()),
        }
    }

    /// A group, with its numbers when `expand` asks for them.
    fn group(&self, group: &directory::Group) -> Value {
        let mut shown = directory::group_json(group);
        let params = self.request.params();
        if params.get("expand").is_some_and(|e| e.split(',').any(|part| part == "stats"))
            && let Some(members) = shown.as_object_mut()
        {
            let count = directory::members(self.desk, group).len();
            members.insert("_embedded".to_owned(), json!({"stats": {"usersCount": count}}));
        }
        shown
    }

    /// The apps, each with the assignment of the user that `expand=user/{id}` names.
    fn listed_apps(&self) -> Vec<Value> {
        let params = self.request.params();
        let user =
            params.get("expand").and_then(|e| e.strip_prefix("user/")).and_then(|id| self.employee(id));
        let mut apps = directory::apps(self.desk);
        for app in &mut apps {
            if let (Some(user), Some(members)) = (&user, app.as_object_mut()) {
                let embedded =
                    json!({"user": {"id": directory::user_id(user), "profile": {"email": user.email}}});
                members.insert("_embedded".to_owned(), embedded);
            }
        }
        apps
    }

    fn groups(&self, parts: &[&str]) -> Result<Reply, Reply> {
        let method = self.request.method.as_str();
        self.admin(if method == "GET" {
            &["okta.groups.read", "okta.groups.manage"]
        } else {
            &["okta.groups.manage"]
        })?;
        let group = |id: &str| self.groups.find(id).ok_or_else(|| not_found(id, "UserGroup"));
        match (method, parts) {
            ("GET", ["groups"]) => {
                let groups = self.groups.list(None).iter().map(|group| self.group(group)).collect();
                Ok(self.page(filter::chosen(self.request, groups)?))
            }
            ("POST", ["groups"]) => {
                let (name, description) = self.group_profile()?;
                let fresh = self.desk.world(|world| world.next_id());
                let created = self.groups.create(fresh, &name, &description);
                Ok(Reply::json(200, &directory::group_json(&created)))
            }
            ("GET", ["groups", "rules"]) => Ok(self.page(Vec::new())),
            ("GET", ["groups", "rules", id]) => Err(not_found(id, "GroupRule")),
            ("GET", ["groups", id]) => Ok(Reply::json(200, &directory::group_json(&group(id)?))),
            ("PUT", ["groups", id]) => {
                let (name, description) = self.group_profile()?;
                let changed =
                    self.groups.replace(id, &name, &description).ok_or_else(|| not_found(id, "UserGroup"))?;
                Ok(Reply::json(200, &directory::group_json(&changed)))
            }
            ("DELETE", ["groups", id]) if self.groups.delete(id) => Ok(Reply::empty(204)),
            ("DELETE", ["groups", id]) => Err(not_found(id, "UserGroup")),
            ("GET", ["groups", id, "users"]) => Ok(self.page(directory::members(self.desk, &group(id)?))),
            ("GET", ["groups", id, "apps"]) => {
                group(id)?;
                Ok(self.page(directory::apps(self.desk)))
            }
            ("GET", ["groups", id, "owners"]) => {
                group(id)?;
                Ok(self.page(Vec::new()))
            }
            ("PUT" | "DELETE", ["groups", id, "users", user]) => {
                let person = self.employee(user).ok_or_else(|| not_found(user, "User"))?;
                if self.groups.set_member(id, &person.email, method == "PUT") {
                    Ok(Reply::empty(204))
                } else {
                    Err(not_found(id, "UserGroup"))
                }
            }
            _ => Err(no_method()),
        }
    }

    fn apps(&self, parts: &[&str]) -> Result<Reply, Reply> {
        if self.request.method != "GET" {
            return Err(no_method());
        }
        if let ["apps", id, "group-push", "mappings", rest @ ..] = parts {
            self.admin(&["okta.groups.read", "okta.groups.manage"])?;
            self.app(id)?;
            return match rest {
                [] => Ok(self.page(Vec::new())),
                [mapping] => Err(not_found(mapping, "GroupPushMapping")),
                _ => Err(no_method()),
            };
        }
        self.admin(&["okta.apps.read", "okta.apps.manage"])?;
        let assigned = |person: &Person| {
            json!({
                "id": directory::user_id(person),
                "scope": "USER",
                "status": "ACTIVE",
                "credentials": {"userName": person.email},
            })
        };
        match parts {
            ["apps"] => Ok(self.page(filter::chosen(self.request, self.listed_apps())?)),
            ["apps", id, "credentials", "keys" | "secrets"] => {
                let app = self.app(id)?;
                let key = opaque("okta:key", 1, 43);
                Ok(self.page(vec![json!({"id": text(&app, "/id"), "kid": key, "status": "ACTIVE"})]))
            }
            ["apps", id, "tokens"] => {
                self.app(id)?;
                Ok(self.page(vec![json!({"id": opaque("okta:token", 1, 20), "status": "ACTIVE"})]))
            }
            ["apps", id] => Ok(Reply::json(200, &self.app(id)?)),
            ["apps", id, "users"] => {
                self.app(id)?;
                Ok(self.page(self.desk.world(|world| world.employees().map(assigned).collect())))
            }
            ["apps", id, "users", user] => {
                self.app(id)?;
                let person = self.employee(user).ok_or_else(|| not_found(user, "AppUser"))?;
                Ok(Reply::json(200, &assigned(&person)))
            }
            ["apps", id, "groups"] => {
                self.app(id)?;
                Ok(self.page(Vec::new()))
            }
            ["apps", id, "groups", group] => {
                self.app(id)?;
                Err(not_found(group, "ApplicationGroupAssignment"))
            }
            _ => Err(no_method()),
        }
    }

    fn app(&self, id: &str) -> Result<Value, Reply> {
        let found = directory::apps(self.desk).into_iter().find(|app| text(app, "/id") == id);
        found.ok_or_else(|| not_found(id, "AppInstance"))
    }

    /// An employee by id or login.
    fn employee(&self, id: &str) -> Option<Person> {
        let is_meant = |p: &&Person| directory::user_id(p) == id || p.email.eq_ignore_ascii_case(id);
        self.desk.world(|world| world.employees().find(is_meant).cloned())
    }

    fn group_profile(&self) -> Result<(String, String), Reply> {
        let body = self.request.json().unwrap_or_default();
        let name = text(&body, "/profile/name").to_owned();
        if name.is_empty() {
            return Err(api_error(400, "E0000001", "Api validation failed: profile.name"));
        }
        Ok((name, text(&body, "/profile/description").to_owned()))
    }

    /// The user that a path names, when the token and the role reach that far: `.self` scopes and people without
    /// a role reach themselves only.
    fn subject(&self, id: &str, verb: &str) -> Result<Person, Reply> {
        let person = match id {
            "me" => Some(self.me.clone()),
            id => self.employee(id),
        };
        let everyone = self.has(&format!("okta.users.{verb}")) || self.has("okta.users.manage");
        let oneself =
            everyone || self.has(&format!("okta.users.{verb}.self")) || self.has("okta.users.manage.self");
        match person {
            Some(person) if person.id == self.me.id && oneself => Ok(person),
            Some(person) if everyone && verb == "read" && self.me.email == ADMIN => Ok(person),
            None if everyone && self.me.email == ADMIN => Err(not_found(id, "User")),
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
        if scope && self.me.email == ADMIN { Ok(()) } else { Err(self.denied(scope)) }
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

fn since_until(request: &Request, entries: Vec<Value>) -> Vec<Value> {
    let params = request.params();
    let since = params.get("since").and_then(from_iso).unwrap_or(i64::MIN);
    let until = params.get("until").and_then(from_iso).unwrap_or(i64::MAX);
    entries
        .into_iter()
        .filter(|entry| from_iso(text(entry, "/published")).is_some_and(|at| at >= since && at < until))
        .collect()
}

pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn no_method() -> Reply {
    api_error(405, "E0000022", "The endpoint does not support the provided HTTP method")
}

fn not_found(id: &str, kind: &str) -> Reply {
    api_error(404, "E0000007", &format!("Not found: Resource not found: {id} ({kind})"))
}
