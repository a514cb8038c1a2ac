//! `/scim/v2/Groups`.
//!
//! Agents and back ends admit groups by name; from here on the directory says who is in which.

use std::collections::BTreeSet;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use serde_json::Value;

use crate::kernel::ids::{GroupId, UserId};
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::group::{Group, group_index};
use crate::model::user::User;
use crate::server::precondition::etag;
use crate::store::{Committed, StoreError, Stored, Tx};
use crate::web::api::ApiState;
use crate::web::scim::directory::Directory;
use crate::web::scim::document::{ScimGroup, ScimGroupShown, ScimList, ScimPatch};
use crate::web::scim::error::ScimError;
use crate::web::scim::filter;
use crate::web::scim::group::{GROUP, Stated, shown};
use crate::web::scim::members;
use crate::web::scim::message::{Chosen, Part, answer, list as listed};

const PAGE: usize = 200;
/// How often a change that met another one is tried again.
const TRIES: usize = 8;
/// How many users an event names.
const NAMED: usize = 20;

#[utoipa::path(get, path = "/scim/v2/Groups", tag = "scim", params(("filter" = Option<String>, Query, description = "`displayName eq`, `externalId eq`, `id eq` or `members eq`, joined by `and`."), ("startIndex" = Option<i64>, Query), ("count" = Option<i64>, Query), ("attributes" = Option<String>, Query), ("excludedAttributes" = Option<String>, Query)), responses((status = 200, body = ScimList<ScimGroupShown>, content_type = "application/scim+json")))]
/// Groups, found or page by page.
pub async fn list(asked: Directory) -> Result<HttpResponse, ScimError> {
    let query = asked.query()?;
    let (part, chosen) = (Part::of(&query)?, Chosen::of(&query));
    let groups = match query.get("filter") {
        Some(text) => matching(asked.state(), text).await?,
        None => all(asked.state()).await?,
    };
    let mut resources = Vec::new();
    for group in part.cut(&groups) {
        resources.push(view(&asked, group, &chosen).await?);
    }
    Ok(answer(HttpResponse::Ok(), &listed(resources, groups.len(), part.start)))
}

async fn view(asked: &Directory, group: &Stored<Group>, chosen: &Chosen) -> Result<Value, StoreError> {
    let members = match chosen.has("members") {
        true => Some(members::of(&asked.state().store, &group.display_name).await?),
        false => None,
    };
    Ok(chosen.reduced(shown(group, members.as_deref(), asked.base())))
}

async fn all(state: &ApiState) -> Result<Vec<Stored<Group>>, StoreError> {
    let mut all: Vec<Stored<Group>> = Vec::new();
    loop {
        let after = all.last().map(|last| last.id.to_string());
        let page = state.store.page::<Group>(after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

async fn matching(state: &ApiState, text: &str) -> Result<Vec<Stored<Group>>, ScimError> {
    let words = "the filters are displayName eq, externalId eq, id eq and members eq, joined by and";
    let offered = ["id", "displayname", "externalid", "members", "members.value"];
    let terms = filter::terms(text, GROUP);
    let terms = terms.filter(|terms| terms.iter().all(|term| offered.contains(&term.attribute.as_str())));
    let terms = terms.ok_or_else(|| ScimError::bad("invalidFilter", words))?;
    let named = terms.iter().find(|term| term.attribute == "displayname");
    let mut groups = match named {
        Some(term) => by_name(state, &term.value).await?.into_iter().collect(),
        None => all(state).await?,
    };
    for term in &terms {
        let value = term.value.as_str();
        match term.attribute.as_str() {
            "id" => groups.retain(|group| group.id.as_str() == value),
            "displayname" => groups.retain(|group| group_index(&group.display_name) == group_index(value)),
            "externalid" => groups.retain(|group| group.external_id.as_deref() == Some(value)),
            _ => {
                let user = state.store.get::<User>(value).await?.filter(|user| !user.is_removed());
                let is_in = |name: &String| user.as_ref().is_some_and(|user| user.groups.contains(name));
                groups.retain(|group| is_in(&group.display_name));
            }
        }
    }
    Ok(groups)
}

async fn by_name(state: &ApiState, name: &str) -> Result<Option<Stored<Group>>, StoreError> {
    state.store.find_unique::<Group>("name", &group_index(name)).await
}

async fn found(asked: &Directory) -> Result<Stored<Group>, ScimError> {
    let id: GroupId = asked.id().parse().map_err(|_| ScimError::not_found())?;
    asked.state().store.get::<Group>(id.as_str()).await?.ok_or_else(ScimError::not_found)
}

#[utoipa::path(get, path = "/scim/v2/Groups/{id}", tag = "scim", params(("id" = String, Path), ("attributes" = Option<String>, Query), ("excludedAttributes" = Option<String>, Query)), responses((status = 200, body = ScimGroupShown, content_type = "application/scim+json")))]
/// One group.
pub async fn show(asked: Directory) -> Result<HttpResponse, ScimError> {
    let chosen = Chosen::of(&asked.query()?);
    let group = found(&asked).await?;
    Ok(answer(HttpResponse::Ok(), &view(&asked, &group, &chosen).await?))
}

#[utoipa::path(post, path = "/scim/v2/Groups", tag = "scim", request_body(content = ScimGroup, content_type = "application/scim+json"), responses((status = 201, body = ScimGroupShown, content_type = "application/scim+json")))]
/// Enters a group; from now on the directory says who is in it.
pub async fn create(asked: Directory, payload: web::Payload) -> Result<HttpResponse, ScimError> {
    let stated = Stated::read(&asked.body(payload).await?)?;
    let (state, name) = (asked.state(), stated.display_name.clone().unwrap_or_default());
    members::check(&state.store, &stated.members).await?;
    refuse_taken(state, &name, None).await?;
    let now = state.clock.now();
    let group = Group {
        id: GroupId::generate(state.entropy.as_ref()),
        display_name: name,
        former_name: None,
        external_id: stated.external_id.clone().flatten(),
        created_at: now,
        changed_at: now,
    };
    record(&asked, "group.provisioned", &group, &stated).await?;
    // An admin may have given the name by hand: that counts no more.
    members::leave_but(&state.store, &group.display_name, &stated.members.add).await?;
    let mut tx = Tx::new();
    tx.insert(&group);
    if state.store.commit(tx).await? == Committed::Conflict {
        return Err(taken());
    }
    members::change(&state.store, &group.display_name, &stated.members).await?;
    let group = state.store.get::<Group>(group.id.as_str()).await?.ok_or_else(ScimError::not_found)?;
    let mut created = HttpResponse::Created();
    created.insert_header((LOCATION, format!("{}/scim/v2/Groups/{}", asked.base(), group.id)));
    Ok(answer(created, &view(&asked, &group, &Chosen::default()).await?))
}

fn taken() -> ScimError {
    ScimError::taken("another group has this displayName")
}

async fn refuse_taken(state: &ApiState, name: &str, own: Option<&GroupId>) -> Result<(), ScimError> {
    match by_name(state, name).await? {
        Some(other) if Some(&other.id) != own => Err(taken()),
        _ => Ok(()),
    }
}

async fn record(asked: &Directory, action: &str, group: &Group, stated: &Stated) -> Result<(), ScimError> {
    let mut event = EventDraft {
        admin: Some(asked.name().to_owned()),
        outcome: Some(Outcome::Done),
        ..EventDraft::new(EventKind::Admin, action)
    };
    let named = |users: &BTreeSet<UserId>| {
        let named: Vec<&str> = users.iter().take(NAMED).map(UserId::as_str).collect();
        let more = users.len().saturating_sub(NAMED);
        if more == 0 { named.join(", ") } else { format!("{} and {more} more", named.join(", ")) }
    };
    event.reasons.push(format!("group `{}` ({})", group.display_name, group.id));
    let renamed = stated.display_name.as_ref().filter(|name| **name != group.display_name);
    event.reasons.extend(renamed.map(|name| format!("named `{name}` now")));
    for (words, users) in [("in", &stated.members.add), ("out", &stated.members.remove)] {
        if !users.is_empty() {
            event.reasons.push(format!("{words}: {}", named(users)));
        }
    }
    if stated.members.only {
        event.reasons.push("nobody else is in it".to_owned());
    }
    asked.state().audit.record(event).await.map(|_| ()).map_err(|error| ScimError::unavailable(&error))
}

/// Changes a group as it was read; what somebody else changes at this moment is not overwritten.
async fn restate(
    asked: &Directory,
    stated: impl Fn(&GroupId) -> Result<Stated, ScimError>,
) -> Result<Stored<Group>, ScimError> {
    let (state, condition) = (asked.state(), asked.condition());
    for _ in 0..TRIES {
        let group = found(asked).await?;
        // What cannot be taken at all is refused as that, whatever `If-Match` says.
        let stated = stated(&group.id)?;
        condition.check(&group.version())?;
        let group = settled(state, group).await?;
        members::check(&state.store, &stated.members).await?;
        let name = stated.display_name.as_ref().unwrap_or(&group.display_name);
        refuse_taken(state, name, Some(&group.id)).await?;
        let former_name = (*name != group.display_name).then(|| group.display_name.clone());
        if former_name.is_some() {
            members::leave_but(&state.store, name, &BTreeSet::new()).await?;
        }
        let after = Group {
            display_name: name.clone(),
            former_name,
            external_id: stated.external_id.clone().unwrap_or_else(|| group.external_id.clone()),
            changed_at: state.clock.now(),
            ..group.record().clone()
        };
        record(asked, "group.changed", &group, &stated).await?;
        let Some(group) = state.store.replace(&group, after).await? else { continue };
        let group = settled(state, group).await?;
        members::change(&state.store, &group.display_name, &stated.members).await?;
        return still_there(state, group).await;
    }
    Err(StoreError::Contended { key: "group".to_owned() }.into())
}

/// Finishes a change of name: the members still have the former one.
async fn settled(state: &ApiState, group: Stored<Group>) -> Result<Stored<Group>, ScimError> {
    let Some(former) = &group.former_name else { return Ok(group) };
    members::rename(&state.store, former, &group.display_name).await?;
    let after = Group { former_name: None, ..group.record().clone() };
    match state.store.replace(&group, after).await? {
        Some(group) => Ok(group),
        // Somebody else has finished it.
        None => state.store.get::<Group>(group.id.as_str()).await?.ok_or_else(ScimError::not_found),
    }
}

/// Nobody keeps the name of a group that was removed while they were put into it.
async fn still_there(state: &ApiState, group: Stored<Group>) -> Result<Stored<Group>, ScimError> {
    if state.store.get::<Group>(group.id.as_str()).await?.is_some() {
        return Ok(group);
    }
    members::leave_but(&state.store, &group.display_name, &BTreeSet::new()).await?;
    Err(ScimError::not_found())
}

#[utoipa::path(put, path = "/scim/v2/Groups/{id}", tag = "scim", params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` that it must still have; otherwise 412.")), request_body(content = ScimGroup, content_type = "application/scim+json"), responses((status = 200, body = ScimGroupShown, content_type = "application/scim+json")))]
/// Replaces what is stated of a group, its members too.
pub async fn replace(asked: Directory, payload: web::Payload) -> Result<HttpResponse, ScimError> {
    found(&asked).await?;
    let stated = Stated::read(&asked.body(payload).await?)?;
    let group = restate(&asked, |_| Ok(stated.clone())).await?;
    Ok(answer(HttpResponse::Ok(), &view(&asked, &group, &Chosen::default()).await?))
}

#[utoipa::path(patch, path = "/scim/v2/Groups/{id}", tag = "scim", params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` that it must still have; otherwise 412."), ("attributes" = Option<String>, Query, description = "Asks for the group in the answer.")), request_body(content = ScimPatch, content_type = "application/scim+json"), responses((status = 204, description = "Changed."), (status = 200, description = "Changed; with `attributes`.", body = ScimGroupShown, content_type = "application/scim+json")))]
/// Changes a group: its name, and who is in it.
pub async fn patch(asked: Directory, payload: web::Payload) -> Result<HttpResponse, ScimError> {
    found(&asked).await?;
    let query = asked.query()?;
    let message = asked.body(payload).await?;
    let group = restate(&asked, |id| Stated::patch(&message, id)).await?;
    // RFC 7644, section 3.5.2: a group may be long, and is sent back only to who asks for it.
    if query.get("attributes").is_none() {
        return Ok(HttpResponse::NoContent().insert_header(etag(&group.version())).finish());
    }
    Ok(answer(HttpResponse::Ok(), &view(&asked, &group, &Chosen::of(&query)).await?))
}

#[utoipa::path(delete, path = "/scim/v2/Groups/{id}", tag = "scim", params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` that it must still have; otherwise 412.")), responses((status = 204, description = "Nobody is in it any more.")))]
/// Removes a group: nobody is in it any more.
pub async fn remove(asked: Directory) -> Result<HttpResponse, ScimError> {
    let (state, condition) = (asked.state(), asked.condition());
    for _ in 0..TRIES {
        let group = found(&asked).await?;
        condition.check(&group.version())?;
        let group = settled(state, group).await?;
        record(&asked, "group.removed", &group, &Stated::default()).await?;
        members::leave_but(&state.store, &group.display_name, &BTreeSet::new()).await?;
        let mut tx = Tx::new();
        tx.delete(&group);
        if state.store.commit(tx).await? == Committed::Done {
            return Ok(HttpResponse::NoContent().finish());
        }
    }
    Err(StoreError::Contended { key: "group".to_owned() }.into())
}
