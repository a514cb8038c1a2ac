//! `/scim/v2/Users`.

use std::convert::Infallible;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value};

use crate::kernel::ids::UserId;
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::user::{Lifecycle, User, UserState, email_index, subject_index};
use crate::server::params::Params;
use crate::server::{Inbound, body};
use crate::store::{Committed, Stored, Tx, UpdateError, Updated};
use crate::web::api::ApiState;
use crate::web::api::auth::{self, Caller};
use crate::web::scim::error::ScimError;
use crate::web::scim::filter::Filter;
use crate::web::scim::person::{self, Person};
use crate::web::scim::{MEDIA_TYPE, patch as patches, schema};

/// No page of a list is longer.
pub const MOST: usize = 200;
const PAGE: usize = 200;
const USUAL: usize = 100;

fn base(inbound: &Inbound) -> &str {
    inbound.issuer.as_str().trim_end_matches('/')
}

fn answer(mut answer: actix_web::HttpResponseBuilder, body: &Value) -> HttpResponse {
    answer.insert_header((CACHE_CONTROL, "no-store")).content_type(MEDIA_TYPE).body(body.to_string())
}

/// A user that the directory has not removed.
async fn found(state: &ApiState, request: &HttpRequest) -> Result<Stored<User>, ScimError> {
    let id: UserId = request.match_info().query("id").parse().map_err(|_| ScimError::not_found())?;
    let user = state.store.get::<User>(id.as_str()).await?;
    user.filter(|user| !user.is_removed()).ok_or_else(ScimError::not_found)
}

async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Map<String, Value>, ScimError> {
    let media = body::single_header(request, &CONTENT_TYPE).ok().flatten().unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media != MEDIA_TYPE && media != "application/json" {
        return Err(ScimError::bad("invalidSyntax", "the content type must be application/scim+json"));
    }
    let bytes = body::read_body(request, payload, body::MAX_JSON).await?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(ScimError::bad("invalidSyntax", "the body is not a JSON object")),
    }
}

#[utoipa::path(get, path = "/scim/v2/Users", tag = "scim", params(("filter" = Option<String>, Query, description = "`userName eq`, `externalId eq` or `id eq`."), ("startIndex" = Option<i64>, Query), ("count" = Option<i64>, Query), ("attributes" = Option<String>, Query), ("excludedAttributes" = Option<String>, Query)), responses((status = 200, body = Object, content_type = "application/scim+json"), (status = "4XX", description = "An error as in RFC 7644, section 3.12.", body = Object, content_type = "application/scim+json")))]
/// People, found or page by page.
pub async fn list(
    request: HttpRequest,
    state: web::Data<ApiState>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, ScimError> {
    auth::provisioner(&request, &state).await?;
    let query = body::read_query(&request)?;
    let number = |name: &str, usual: usize| match query.get(name) {
        None => Ok(usual),
        // RFC 7644, section 3.4.2.4: a value below the least is read as the least.
        Some(text) => match text.parse::<i64>() {
            Ok(number) => Ok(usize::try_from(number).unwrap_or(0)),
            Err(_) => Err(ScimError::bad("invalidValue", format!("{name} is a number"))),
        },
    };
    let (start, count) = (number("startIndex", 1)?.max(1), number("count", USUAL)?.min(MOST));
    let users = match query.get("filter") {
        Some(text) => {
            let words = "the filters are userName eq, externalId eq and id eq";
            let filter = Filter::parse(text).ok_or_else(|| ScimError::bad("invalidFilter", words))?;
            matching(&state, &filter).await?
        }
        None => everybody(&state).await?,
    };
    let total = users.len();
    let part = users.iter().skip(start - 1).take(count);
    let shown = part.map(|user| reduced(person::shown(user, base(&inbound)), &query)).collect();
    Ok(answer(HttpResponse::Ok(), &schema::list(shown, total, start)))
}

async fn everybody(state: &ApiState) -> Result<Vec<Stored<User>>, ScimError> {
    let mut all: Vec<Stored<User>> = Vec::new();
    let mut after = None::<String>;
    loop {
        let page = state.store.page::<User>(after.as_deref(), PAGE).await?;
        after = page.last().filter(|_| page.len() == PAGE).map(|last| last.id.to_string());
        all.extend(page.into_iter().filter(|user| !user.is_removed()));
        if after.is_none() {
            return Ok(all);
        }
    }
}

async fn matching(state: &ApiState, filter: &Filter) -> Result<Vec<Stored<User>>, ScimError> {
    let store = &state.store;
    let mut users = match filter {
        Filter::Id(id) => store.get::<User>(id).await?.into_iter().collect(),
        Filter::ExternalId(external) => {
            let mut users = store.find::<User>("external_id", external).await?;
            if let Some(user) = by_subject(state, external).await?
                && user.lifecycle.directory.is_none()
            {
                users.push(user);
            }
            users
        }
        Filter::UserName(name) => by_name(state, name).await?,
    };
    users.retain(|user| !user.is_removed());
    Ok(users)
}

/// Those whom the directory calls so, and those who have only signed in so far and have that e-mail.
async fn by_name(state: &ApiState, name: &str) -> Result<Vec<Stored<User>>, ScimError> {
    let mut users = state.store.find::<User>("user_name", &email_index(name)).await?;
    let mailed = state.store.find::<User>("email", &email_index(name)).await?;
    users.extend(mailed.into_iter().filter(|user| user.lifecycle.directory.is_none()));
    Ok(users)
}

/// The user whom the sign-in provider knows by that subject.
async fn by_subject(state: &ApiState, subject: &str) -> Result<Option<Stored<User>>, ScimError> {
    let index = subject_index(&issuer(state).await?, subject);
    Ok(state.store.find_unique::<User>("subject", &index).await?)
}

async fn issuer(state: &ApiState) -> Result<String, ScimError> {
    let none = || ScimError::unavailable(&"no sign-in provider is configured");
    let sign_in = state.sign_in.as_ref().ok_or_else(none)?;
    let configured = state.connections.configured(sign_in).await;
    let configured = configured.map_err(|error| ScimError::unavailable(&error))?;
    state.upstream.issuer(&configured).await.map_err(|error| ScimError::unavailable(&error))
}

#[utoipa::path(get, path = "/scim/v2/Users/{id}", tag = "scim", params(("id" = String, Path), ("attributes" = Option<String>, Query), ("excludedAttributes" = Option<String>, Query)), responses((status = 200, body = Object, content_type = "application/scim+json"), (status = "4XX", description = "An error as in RFC 7644, section 3.12.", body = Object, content_type = "application/scim+json")))]
/// One person.
pub async fn show(
    request: HttpRequest,
    state: web::Data<ApiState>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, ScimError> {
    auth::provisioner(&request, &state).await?;
    let query = body::read_query(&request)?;
    let user = found(&state, &request).await?;
    Ok(answer(HttpResponse::Ok(), &reduced(person::shown(&user, base(&inbound)), &query)))
}

#[utoipa::path(post, path = "/scim/v2/Users", tag = "scim", request_body(content = Object, content_type = "application/scim+json"), responses((status = 201, body = Object, content_type = "application/scim+json"), (status = "4XX", description = "An error as in RFC 7644, section 3.12.", body = Object, content_type = "application/scim+json")))]
/// Enters a person, or adopts one who has signed in.
pub async fn create(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, ScimError> {
    let caller = auth::provisioner(&request, &state).await?;
    let person = Person::read(&read(&request, payload).await?)?;
    let former = former(&state, &person).await?;
    refuse_taken(&state, &person, former.as_ref()).await?;
    let user = match former {
        Some(user) => store(&state, &user, &person, &caller).await?,
        None => make(&state, &person, &caller).await?,
    };
    let shown = person::shown(&user, base(&inbound));
    let mut created = HttpResponse::Created();
    created.insert_header((LOCATION, format!("{}/scim/v2/Users/{}", base(&inbound), user.id)));
    Ok(answer(created, &shown))
}

/// Whoever is meant and is here already, from a sign-in or from before a removal.
async fn former(state: &ApiState, person: &Person) -> Result<Option<Stored<User>>, ScimError> {
    let is_free = |user: &Stored<User>| user.lifecycle.directory.is_none() || user.is_removed();
    let by_id = match &person.external_id {
        Some(external) => by_subject(state, external).await?,
        None => None,
    };
    if let Some(user) = by_id {
        let taken = || ScimError::taken("somebody with this externalId is here already");
        return if is_free(&user) { Ok(Some(user)) } else { Err(taken()) };
    }
    let mut mailed = by_name(state, &person.user_name).await?;
    mailed.retain(is_free);
    // An e-mail that two have names neither.
    Ok(if mailed.len() == 1 { mailed.pop() } else { None })
}

async fn refuse_taken(
    state: &ApiState,
    person: &Person,
    own: Option<&Stored<User>>,
) -> Result<(), ScimError> {
    let named = state.store.find::<User>("user_name", &email_index(&person.user_name)).await?;
    let is_other = |user: &Stored<User>| own.is_none_or(|own| own.id != user.id);
    if named.iter().any(|user| !user.is_removed() && is_other(user)) {
        return Err(ScimError::taken("somebody else has this userName"));
    }
    Ok(())
}

/// Enters somebody who has never signed in: by the subject that they will sign in with.
async fn make(state: &ApiState, person: &Person, caller: &Caller) -> Result<User, ScimError> {
    let words =
        "externalId is missing: map it to the identifier with which people sign in here (their subject)";
    let subject = person.external_id.clone().ok_or_else(|| ScimError::bad("invalidValue", words))?;
    let now = state.clock.now();
    let blank = User {
        id: UserId::generate(state.entropy.as_ref()),
        issuer: issuer(state).await?,
        subject,
        email: None,
        name: String::new(),
        department: None,
        groups: Vec::new(),
        state: if person.active { UserState::Active } else { UserState::Disabled },
        created_at: now,
        last_sign_in: None,
        lifecycle: Lifecycle::default(),
    };
    let user = person.onto(&blank, now);
    record(state, "user.provisioned", &user.id, caller).await?;
    let mut tx = Tx::new();
    tx.insert(&user);
    match state.store.commit(tx).await? {
        Committed::Done => Ok(user),
        Committed::Conflict => Err(ScimError::taken("somebody with this externalId is here already")),
    }
}

/// Stores what is stated, then lets them in or out.
async fn store(
    state: &ApiState,
    user: &Stored<User>,
    person: &Person,
    caller: &Caller,
) -> Result<User, ScimError> {
    let now = state.clock.now();
    // Out first: whatever else fails, whoever has left is out.
    if !person.active && user.state == UserState::Active {
        state.departures.depart(&user.id, &caller.name).await?;
    }
    if Person::of(user) != *person || user.lifecycle.directory.is_none() || user.is_removed() {
        record(state, "user.changed", &user.id, caller).await?;
        update(state, user, |user| person.onto(user, now)).await?;
    }
    if person.active && user.state == UserState::Disabled {
        state.departures.restore(&user.id, &caller.name).await?;
    }
    let now = state.store.get::<User>(user.id.as_str()).await?;
    now.map(|user| user.record().clone()).ok_or_else(ScimError::not_found)
}

async fn update(
    state: &ApiState,
    user: &Stored<User>,
    change: impl Fn(&User) -> User,
) -> Result<(), ScimError> {
    let updated =
        state.store.update::<User, Infallible>(user.id.as_str(), |user| Ok(Some(change(user)))).await;
    match updated {
        Ok(Updated::Missing) => Err(ScimError::not_found()),
        Ok(Updated::Changed(_) | Updated::Unchanged(_)) => Ok(()),
        Err(UpdateError::Store(error)) => Err(error.into()),
        Err(UpdateError::Refused(never)) => match never {},
    }
}

async fn record(state: &ApiState, action: &str, user: &UserId, caller: &Caller) -> Result<(), ScimError> {
    let event = EventDraft {
        user: Some(user.clone()),
        admin: Some(caller.name.clone()),
        outcome: Some(Outcome::Done),
        ..EventDraft::new(EventKind::Admin, action)
    };
    state.audit.record(event).await.map(|_| ()).map_err(|error| ScimError::unavailable(&error))
}

#[utoipa::path(put, path = "/scim/v2/Users/{id}", tag = "scim", params(("id" = String, Path)), request_body(content = Object, content_type = "application/scim+json"), responses((status = 200, body = Object, content_type = "application/scim+json"), (status = "4XX", description = "An error as in RFC 7644, section 3.12.", body = Object, content_type = "application/scim+json")))]
/// Replaces what is stated of a person.
pub async fn replace(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, ScimError> {
    let caller = auth::provisioner(&request, &state).await?;
    let user = found(&state, &request).await?;
    let person = Person::read(&read(&request, payload).await?)?;
    refuse_taken(&state, &person, Some(&user)).await?;
    let user = store(&state, &user, &person, &caller).await?;
    Ok(answer(HttpResponse::Ok(), &person::shown(&user, base(&inbound))))
}

#[utoipa::path(patch, path = "/scim/v2/Users/{id}", tag = "scim", params(("id" = String, Path)), request_body(content = Object, content_type = "application/scim+json"), responses((status = 200, body = Object, content_type = "application/scim+json"), (status = "4XX", description = "An error as in RFC 7644, section 3.12.", body = Object, content_type = "application/scim+json")))]
/// Changes a person; `active: false` is their departure.
pub async fn patch(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, ScimError> {
    let caller = auth::provisioner(&request, &state).await?;
    let user = found(&state, &request).await?;
    let mut person = Person::of(&user);
    patches::apply(&mut person, &read(&request, payload).await?)?;
    refuse_taken(&state, &person, Some(&user)).await?;
    let user = store(&state, &user, &person, &caller).await?;
    Ok(answer(HttpResponse::Ok(), &person::shown(&user, base(&inbound))))
}

#[utoipa::path(delete, path = "/scim/v2/Users/{id}", tag = "scim", params(("id" = String, Path)), responses((status = 204, description = "The person has left."), (status = "4XX", description = "An error as in RFC 7644, section 3.12.", body = Object, content_type = "application/scim+json")))]
/// The record stays, for the log and so that nobody else gets its identifier; the directory sees it no more.
pub async fn remove(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, ScimError> {
    let caller = auth::provisioner(&request, &state).await?;
    let user = found(&state, &request).await?;
    state.departures.depart(&user.id, &caller.name).await?;
    let now = state.clock.now();
    update(&state, &user, |user| {
        let mut user = Person::of(user).onto(user, now);
        if let Some(entry) = &mut user.lifecycle.directory {
            entry.removed = true;
        }
        user
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// What `attributes` and `excludedAttributes` leave (RFC 7644, section 3.9): whole attributes, never `id`.
fn reduced(mut user: Value, query: &Params) -> Value {
    let names = |name: &str| -> Option<Vec<String>> {
        let text = query.get(name)?;
        Some(text.split(',').map(|name| first_part(name.trim())).collect())
    };
    if let Some(members) = user.as_object_mut() {
        let is_kept = |name: &str| matches!(name, "id" | "schemas");
        if let Some(wanted) = names("attributes") {
            members.retain(|name, _| is_kept(name) || wanted.contains(&name.to_ascii_lowercase()));
        }
        if let Some(unwanted) = names("excludedAttributes") {
            members.retain(|name, _| is_kept(name) || !unwanted.contains(&name.to_ascii_lowercase()));
        }
    }
    user
}

/// `name.givenName` is of `name`; a schema's name has dots and colons of its own.
fn first_part(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let core = format!("{}:", person::CORE.to_ascii_lowercase());
    let enterprise = person::ENTERPRISE.to_ascii_lowercase();
    if name.starts_with(&enterprise) {
        return enterprise;
    }
    let name = name.strip_prefix(&core).unwrap_or(&name);
    name.split('.').next().unwrap_or_default().to_owned()
}
