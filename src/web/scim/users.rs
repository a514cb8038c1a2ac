//! `/scim/v2/Users`.

use std::convert::Infallible;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use serde_json::Value;

use crate::kernel::ids::UserId;
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::user::{Lifecycle, User, UserState, email_index, subject_index};
use crate::server::precondition::IfMatch;
use crate::store::{Committed, StoreError, Stored, Tx, UpdateError};
use crate::web::api::ApiState;
use crate::web::scim::directory::Directory;
use crate::web::scim::document::{ScimList, ScimPatch, ScimUser, ScimUserShown};
use crate::web::scim::error::ScimError;
use crate::web::scim::filter::{self, Term};
use crate::web::scim::members::Names;
use crate::web::scim::message::{Chosen, Part, answer, list as listed};
use crate::web::scim::patch as patches;
use crate::web::scim::person::{self, CORE, Person};

const PAGE: usize = 200;
/// How often a change that met another one is tried again.
const TRIES: usize = 8;

/// What a person is looked for by.
enum Wanted {
    /// Our identifier.
    Id(String),
    /// The directory's user name; case does not matter.
    UserName(String),
    /// The directory's own identifier.
    ExternalId(String),
}

impl Wanted {
    /// Reads a filter; `None` for anything that is not offered.
    fn of(filter: &str) -> Option<Self> {
        let [term] = <[Term; 1]>::try_from(filter::terms(filter, CORE)?).ok()?;
        match term.attribute.as_str() {
            "id" => Some(Self::Id(term.value)),
            "username" => Some(Self::UserName(term.value)),
            "externalid" => Some(Self::ExternalId(term.value)),
            _ => None,
        }
    }
}

async fn view(asked: &Directory, user: &Stored<User>) -> Result<Value, ScimError> {
    let groups = Names::default().of(&asked.state().store, user).await?;
    Ok(person::shown(user, groups, asked.base()))
}

/// A user that the directory has not removed.
async fn found(asked: &Directory) -> Result<Stored<User>, ScimError> {
    let id: UserId = asked.id().parse().map_err(|_| ScimError::not_found())?;
    let user = asked.state().store.get::<User>(id.as_str()).await?;
    user.filter(|user| !user.is_removed()).ok_or_else(ScimError::not_found)
}

#[utoipa::path(get, path = "/scim/v2/Users", tag = "scim", params(("filter" = Option<String>, Query, description = "`userName eq`, `externalId eq` or `id eq`."), ("startIndex" = Option<i64>, Query), ("count" = Option<i64>, Query), ("attributes" = Option<String>, Query), ("excludedAttributes" = Option<String>, Query)), responses((status = 200, body = ScimList<ScimUserShown>, content_type = "application/scim+json")))]
/// People, found or page by page.
pub async fn list(asked: Directory) -> Result<HttpResponse, ScimError> {
    let query = asked.query()?;
    let (part, chosen) = (Part::of(&query)?, Chosen::of(&query));
    let users = match query.get("filter") {
        Some(text) => {
            let words = "the filters are userName eq, externalId eq and id eq";
            let wanted = Wanted::of(text).ok_or_else(|| ScimError::bad("invalidFilter", words))?;
            matching(asked.state(), &wanted).await?
        }
        None => everybody(asked.state()).await?,
    };
    let (mut names, mut resources) = (Names::default(), Vec::new());
    for user in part.cut(&users) {
        let groups = names.of(&asked.state().store, user).await?;
        resources.push(chosen.reduced(person::shown(user, groups, asked.base())));
    }
    Ok(answer(HttpResponse::Ok(), &listed(resources, users.len(), part.start)))
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

async fn matching(state: &ApiState, wanted: &Wanted) -> Result<Vec<Stored<User>>, ScimError> {
    let store = &state.store;
    let mut users = match wanted {
        Wanted::Id(id) => store.get::<User>(id).await?.into_iter().collect(),
        Wanted::ExternalId(external) => {
            let mut users = store.find::<User>("external_id", external).await?;
            if let Some(user) = by_subject(state, external).await?
                && user.lifecycle.directory.is_none()
            {
                users.push(user);
            }
            users
        }
        Wanted::UserName(name) => by_name(state, name).await?,
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

#[utoipa::path(get, path = "/scim/v2/Users/{id}", tag = "scim", params(("id" = String, Path), ("attributes" = Option<String>, Query), ("excludedAttributes" = Option<String>, Query)), responses((status = 200, body = ScimUserShown, content_type = "application/scim+json")))]
/// One person.
pub async fn show(asked: Directory) -> Result<HttpResponse, ScimError> {
    let chosen = Chosen::of(&asked.query()?);
    let user = found(&asked).await?;
    Ok(answer(HttpResponse::Ok(), &chosen.reduced(view(&asked, &user).await?)))
}

#[utoipa::path(post, path = "/scim/v2/Users", tag = "scim", request_body(content = ScimUser, content_type = "application/scim+json"), responses((status = 201, body = ScimUserShown, content_type = "application/scim+json")))]
/// Enters a person, or adopts one who has signed in.
pub async fn create(asked: Directory, payload: web::Payload) -> Result<HttpResponse, ScimError> {
    let person = Person::read(&asked.body(payload).await?, true)?;
    let former = former(asked.state(), &person).await?;
    refuse_taken(asked.state(), &person, former.as_ref()).await?;
    let user = match former {
        Some(user) => restate(&asked, user, &IfMatch::anything(), |_| Ok(person.clone())).await?,
        None => make(&asked, &person).await?,
    };
    let shown = view(&asked, &user).await?;
    let mut created = HttpResponse::Created();
    created.insert_header((LOCATION, format!("{}/scim/v2/Users/{}", asked.base(), user.id)));
    Ok(answer(created, &shown))
}

/// Whoever is meant and is here already, from a sign-in or from before a removal. An `externalId` decides alone:
/// a name is given to somebody else when its holder has left, who must not come back as that person.
async fn former(state: &ApiState, person: &Person) -> Result<Option<Stored<User>>, ScimError> {
    let mut named = by_name(state, &person.user_name).await?;
    named.retain(|user| user.lifecycle.directory.is_none());
    let Some(external) = &person.external_id else {
        // An e-mail that two have names neither.
        return Ok(if named.len() == 1 { named.pop() } else { None });
    };
    if let Some(user) = by_subject(state, external).await? {
        let taken = || ScimError::taken("somebody with this externalId is here already");
        let is_free = user.lifecycle.directory.is_none() || user.is_removed();
        return if is_free { Ok(Some(user)) } else { Err(taken()) };
    }
    // Two records of one person would be worse: the one that is deactivated is not the one that acts.
    if named.iter().any(|user| user.state == UserState::Active) {
        let words = "somebody signs in here with this address under another identifier: map externalId to the subject";
        return Err(ScimError::taken(words));
    }
    Ok(None)
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
async fn make(asked: &Directory, person: &Person) -> Result<Stored<User>, ScimError> {
    let state = asked.state();
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
    record(asked, "user.provisioned", &user.id).await?;
    let mut tx = Tx::new();
    tx.insert(&user);
    match state.store.commit(tx).await? {
        Committed::Done => again(state, &user.id).await,
        Committed::Conflict => Err(ScimError::taken("somebody with this externalId is here already")),
    }
}

/// The user as they are now.
async fn again(state: &ApiState, id: &UserId) -> Result<Stored<User>, ScimError> {
    state.store.get::<User>(id.as_str()).await?.ok_or_else(ScimError::not_found)
}

/// Lets them out, stores what is stated, lets them in. What somebody else changes at this moment is not
/// overwritten: `stated` is asked anew about the user as they are then.
async fn restate(
    asked: &Directory,
    mut user: Stored<User>,
    condition: &IfMatch,
    stated: impl Fn(&User) -> Result<Person, ScimError>,
) -> Result<Stored<User>, ScimError> {
    let state = asked.state();
    // What cannot be taken at all is refused as that, whatever `If-Match` says.
    let person = stated(&user)?;
    condition.check(&user.version())?;
    // Out first: whatever else fails or is refused, whoever has left is out.
    let is_leaving = !person.active && user.state == UserState::Active;
    let is_renamed = person.user_name != Person::of(&user).user_name;
    if is_leaving {
        state.departures.depart(&user.id, asked.name()).await?;
        user = again(state, &user.id).await?;
    }
    // Whoever stays out under the name that they have already takes it from nobody.
    if person.active || is_renamed {
        refuse_taken(state, &person, Some(&user)).await?;
    }
    for _ in 0..TRIES {
        let person = stated(&user)?;
        let is_new = Person::of(&user) != person || user.lifecycle.directory.is_none() || user.is_removed();
        if is_new {
            record(asked, "user.changed", &user.id).await?;
            let after = person.onto(&user, state.clock.now());
            let Some(changed) = state.store.replace(&user, after).await? else {
                user = again(state, &user.id).await?;
                // A departure has changed the record by itself; what it was asked for with holds.
                if !is_leaving {
                    condition.check(&user.version())?;
                }
                continue;
            };
            user = changed;
        }
        if person.active && user.state == UserState::Disabled {
            state.departures.restore(&user.id, asked.name()).await?;
            user = again(state, &user.id).await?;
        }
        return Ok(user);
    }
    Err(StoreError::Contended { key: "user".to_owned() }.into())
}

async fn record(asked: &Directory, action: &str, user: &UserId) -> Result<(), ScimError> {
    let event = EventDraft {
        user: Some(user.clone()),
        admin: Some(asked.name().to_owned()),
        outcome: Some(Outcome::Done),
        ..EventDraft::new(EventKind::Admin, action)
    };
    asked.state().audit.record(event).await.map(|_| ()).map_err(|error| ScimError::unavailable(&error))
}

#[utoipa::path(put, path = "/scim/v2/Users/{id}", tag = "scim", params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` that it must still have; otherwise 412.")), request_body(content = ScimUser, content_type = "application/scim+json"), responses((status = 200, body = ScimUserShown, content_type = "application/scim+json")))]
/// Replaces what is stated of a person.
pub async fn replace(asked: Directory, payload: web::Payload) -> Result<HttpResponse, ScimError> {
    found(&asked).await?;
    let body = asked.body(payload).await?;
    // What it leaves out of `active` it does not say: it brings nobody back who has left.
    let whole = |user: &User| Person::read(&body, user.state == UserState::Active);
    let user = found(&asked).await?;
    let user = restate(&asked, user, &asked.condition(), whole).await?;
    Ok(answer(HttpResponse::Ok(), &view(&asked, &user).await?))
}

#[utoipa::path(patch, path = "/scim/v2/Users/{id}", tag = "scim", params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` that it must still have; otherwise 412.")), request_body(content = ScimPatch, content_type = "application/scim+json"), responses((status = 200, body = ScimUserShown, content_type = "application/scim+json")))]
/// Changes a person; `active: false` is their departure.
pub async fn patch(asked: Directory, payload: web::Payload) -> Result<HttpResponse, ScimError> {
    found(&asked).await?;
    let message = asked.body(payload).await?;
    let patched = |user: &User| {
        let mut person = Person::of(user);
        patches::apply(&mut person, &message).map(|()| person)
    };
    let user = found(&asked).await?;
    let user = restate(&asked, user, &asked.condition(), patched).await?;
    Ok(answer(HttpResponse::Ok(), &view(&asked, &user).await?))
}

#[utoipa::path(delete, path = "/scim/v2/Users/{id}", tag = "scim", params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` that it must still have; otherwise 412.")), responses((status = 204, description = "The person has left.")))]
/// The record stays, for the log and so that nobody else gets its identifier; the directory sees it no more.
pub async fn remove(asked: Directory) -> Result<HttpResponse, ScimError> {
    let user = found(&asked).await?;
    asked.condition().check(&user.version())?;
    let state = asked.state();
    state.departures.depart(&user.id, asked.name()).await?;
    let now = state.clock.now();
    let removed = state.store.update::<User, Infallible>(user.id.as_str(), |user| {
        let mut user = Person::of(user).onto(user, now);
        // Whoever comes back is in no group until the directory says so again.
        user.groups.clear();
        if let Some(entry) = &mut user.lifecycle.directory {
            entry.removed = true;
        }
        Ok(Some(user))
    });
    match removed.await {
        Ok(_) => Ok(HttpResponse::NoContent().finish()),
        Err(UpdateError::Store(error)) => Err(error.into()),
        Err(UpdateError::Refused(never)) => match never {},
    }
}
