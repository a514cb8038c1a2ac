//! The new API's routes: which of the two kinds of token each one takes, and the vendor's way to refuse.

use serde_json::{Value, json};

use crate::sandbox::desk::Desk;
use crate::sandbox::office::{Node, Office, Place};
use crate::sandbox::paging::Page;
use crate::sandbox::pattern::{self, Captures};
use crate::sandbox::tokens::AccessRefusal;
use crate::sandbox::wire::{Params, Reply, Request};
use crate::sandbox::world::Person;

use super::{calendar, employee, knowledge, people, sharing, storage, tables, todo};

/// The header that carries a token.
pub(super) const TOKEN_HEADER: &str = "x-acs-dingtalk-access-token";

/// Which token a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// A user's token.
    User,
    /// The app's own token: the call itself says for whom.
    App,
}

/// One route.
pub(super) struct Route {
    call: &'static str,
    takes: Takes,
    run: fn(&Call<'_>) -> Answer,
}

/// A route for a user's token.
pub(super) const fn user(call: &'static str, run: fn(&Call<'_>) -> Answer) -> Route {
    Route { call, takes: Takes::User, run }
}

/// A route for the app's own token.
pub(super) const fn app(call: &'static str, run: fn(&Call<'_>) -> Answer) -> Route {
    Route { call, takes: Takes::App, run }
}

const TABLES: [&[Route]; 7] = [
    people::ROUTES,
    calendar::ROUTES,
    sharing::ROUTES,
    storage::ROUTES,
    knowledge::ROUTES,
    tables::ROUTES,
    todo::ROUTES,
];

/// A refusal in the vendor's form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: &'static str,
}

impl Refusal {
    /// A refusal with this status and code.
    pub(super) const fn new(status: u16, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message }
    }

    /// A parameter is missing or wrong.
    pub(super) const fn parameter(message: &'static str) -> Self {
        Self::new(400, "paramError", message)
    }

    /// The person that the call names may not do this.
    pub(super) const fn denied() -> Self {
        Self::new(403, "permissionDenied", "The operator has no permission.")
    }
}

/// What a route answers.
pub(super) type Answer = Result<Reply, Refusal>;

/// A good answer.
#[expect(clippy::unnecessary_wraps, reason = "the last expression of every route")]
pub(super) fn ok(document: Value) -> Answer {
    Ok(Reply::json(200, &document))
}

/// An error answer.
pub(super) fn error(status: u16, code: &str, message: &str) -> Reply {
    let id = "5C6A9E2B-0000-7000-8000-000000000000";
    Reply::json(status, &json!({"code": code, "message": message, "requestid": id}))
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
    /// Whose token it is; nobody's for the app's own.
    user: Option<Person>,
}

impl Call<'_> {
    /// The token's user.
    pub(super) fn user(&self) -> Result<&Person, Refusal> {
        self.user.as_ref().ok_or(Refusal::denied())
    }

    /// The employee whose union id stands in the query: whoever the app names.
    pub(super) fn operator(&self, parameter: &str) -> Result<Person, Refusal> {
        let union = self.query.filled(parameter).ok_or(Refusal::parameter("the operator is needed"))?;
        employee(self.desk, union).ok_or(Refusal::denied())
    }

    /// The employee whose union id stands in the path.
    pub(super) fn owner(&self, parameter: &str) -> Result<Person, Refusal> {
        let missing = Refusal::new(400, "invalidParameter", "The user does not exist in this organization.");
        employee(self.desk, self.path.get(parameter)).ok_or(missing)
    }

    /// The JSON body; an empty one is an empty object.
    pub(super) fn body(&self) -> Result<Value, Refusal> {
        if self.request.body.is_empty() {
            return Ok(json!({}));
        }
        let malformed = Refusal::new(400, "invalidParameter", "The body must be a JSON object.");
        self.request.json().ok().filter(Value::is_object).ok_or(malformed)
    }

    /// A page as this vendor cuts it: `nextToken` is absent on the last one.
    pub(super) fn paged(
        &self,
        name: &str,
        items: Vec<Value>,
        most: usize,
        size: Option<&str>,
        token: Option<&str>,
    ) -> Answer {
        let size = match size.filter(|text| !text.is_empty()).map(str::parse::<usize>) {
            None => most,
            Some(Ok(size)) if (1..=most).contains(&size) => size,
            Some(_) => return Err(Refusal::parameter("maxResults is out of range")),
        };
        let token = token.filter(|token| *token != "0");
        let page = Page::cut(items, size, token).ok_or(Refusal::parameter("nextToken is invalid"))?;
        let mut document = json!({ name: page.items });
        if let (Some(next), Some(members)) = (page.next, document.as_object_mut()) {
            members.insert("nextToken".to_owned(), json!(next));
        }
        ok(document)
    }

    /// A page by the query's `maxResults` and `nextToken`.
    pub(super) fn list(&self, name: &str, items: Vec<Value>, most: usize) -> Answer {
        self.paged(name, items, most, self.query.get("maxResults"), self.query.get("nextToken"))
    }

    /// A node by its UUID that somebody may read.
    pub(super) fn node_by_uuid(&self, uuid: &str, reader: &Person) -> Result<Node, Refusal> {
        let papers = self.office.papers();
        let node = papers.nodes.iter().find(|node| super::uuid(&node.id) == uuid);
        let node = node.ok_or(Refusal::new(
            404,
            "invalidRequest.resource.notFound",
            "The resource does not exist.",
        ))?;
        if node.readable_by(&reader.email) {
            Ok(node.clone())
        } else {
            Err(Refusal::new(403, "forbidden.accessDenied", "The operator has no permission."))
        }
    }

    /// Changes a node that belongs to somebody; wiki pages are everybody's to change.
    pub(super) fn change(
        &self,
        id: &str,
        by: &Person,
        edit: impl FnOnce(&mut Node),
    ) -> Result<Node, Refusal> {
        let now = self.office.now();
        let mut papers = self.office.papers();
        let node = papers.node_mut(id).filter(|node| node.place == Place::Wiki || node.owner == by.email);
        let node =
            node.ok_or(Refusal::new(403, "forbidden.accessDenied", "The operator has no permission."))?;
        edit(node);
        node.touch(now);
        Ok(node.clone())
    }
}

/// Answers whatever the new API is asked.
pub(super) fn answer(desk: &Desk, office: &Office, request: &Request) -> Reply {
    dispatch(desk, office, request)
        .unwrap_or_else(|refusal| error(refusal.status, refusal.code, refusal.message))
}

fn dispatch(desk: &Desk, office: &Office, request: &Request) -> Answer {
    let segments = request.segments();
    let found = TABLES.iter().find_map(|table| pattern::find(table, |r| r.call, &request.method, &segments));
    let (route, path) = found.ok_or(Refusal::new(
        404,
        "InvalidAction.NotFound",
        "Specified api is not found, please check it.",
    ))?;
    let user = authorized(desk, request, route.takes)?;
    (route.run)(&Call { desk, office, request, path, query: request.params(), user })
}

/// Checks the token; answers its user, if it has one.
fn authorized(desk: &Desk, request: &Request, takes: Takes) -> Result<Option<Person>, Refusal> {
    let unknown = match takes {
        Takes::User => Refusal::new(400, "invalidAccessToken", "The access token is invalid."),
        Takes::App => {
            Refusal::new(400, "InvalidAuthentication", "The access token is invalid or has expired.")
        }
    };
    let facts = match desk.book.access(request.header(TOKEN_HEADER).unwrap_or_default()) {
        Ok(facts) => facts,
        Err(AccessRefusal::Expired) if takes == Takes::User => {
            return Err(Refusal::new(400, "accesstoken.expired", "The user's access token has expired."));
        }
        Err(_) => return Err(unknown),
    };
    match (takes, &facts.email) {
        (Takes::User, Some(email)) => desk.person(email).map(Some).ok_or(unknown),
        (Takes::App, None) => Ok(None),
        _ => Err(Refusal::new(
            403,
            "Forbidden.AccessDenied.AccessTokenPermissionDenied",
            "The access token is not of the kind that this API takes.",
        )),
    }
}
