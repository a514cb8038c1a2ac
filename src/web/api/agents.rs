//! `/api/v1/agents`.

mod stated;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::agents::{AgentChange, AgentError, Flagged, Owners, Search};
use crate::kernel::ids::AgentId;
use crate::model::agent::{Agent, AgentState, PastChange};
use crate::model::stop::StopTarget;
use crate::server::body::{self, BodyError};
use crate::server::precondition::{IfMatch, etag};
use crate::server::problem::Problem;
use crate::store::{StoreError, Stored};
use crate::web::api::agents::stated::{AgentView, StateAgent};
use crate::web::api::list::{Page, Paging, Wanted};
use crate::web::api::{ApiState, auth, errors};
use crate::web::people;

/// How often a change that met another one is tried again.
const TRIES: usize = 8;

/// A new secret, shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentWithSecret<'a> {
    #[serde(flatten)]
    agent: AgentView,
    /// The client secret. It cannot be shown again.
    client_secret: &'a str,
}

/// Whoever answers for an agent from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandOver {
    /// A user's id, an e-mail that one user only has, or `team:` and the name of a group.
    owner: String,
}

/// One change of an agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeView {
    at: String,
    by: String,
    /// Such as `agent.suspended`.
    action: String,
    /// What is different since, a line each.
    changes: Vec<String>,
    /// The entry of the audit log.
    event: String,
}

impl ChangeView {
    fn of(change: PastChange) -> Self {
        Self {
            at: change.at.rfc3339(),
            by: change.by,
            action: change.action,
            changes: change.changes,
            event: change.event.to_string(),
        }
    }
}

fn id(request: &HttpRequest) -> Result<AgentId, Problem> {
    request.match_info().query("id").parse().map_err(|_| Problem::not_found("agent"))
}

/// The agent as it is now, with its version.
async fn shown(state: &ApiState, id: &AgentId) -> Result<HttpResponse, Problem> {
    let agent = found(state, id).await?;
    Ok(HttpResponse::Ok().insert_header(etag(&agent.version())).json(view(state, &agent).await?))
}

async fn view(state: &ApiState, agent: &Agent) -> Result<AgentView, Problem> {
    let flags = state.agents.flags(agent, &mut Owners::default()).await.map_err(errors::store)?;
    Ok(AgentView::of(agent, flags))
}

/// A word of a closed vocabulary; an empty one, as a form sends it, is none.
fn word<T: DeserializeOwned>(text: Option<&str>, words: &str) -> Result<Option<T>, Problem> {
    let text = text.filter(|text| !text.is_empty());
    let read = text.map(|text| serde_json::from_value(text.into()));
    read.transpose().map_err(|_| Problem::bad_request("invalid_request", words))
}

async fn search(request: &HttpRequest, state: &ApiState) -> Result<Search, Problem> {
    let query = body::read_query(request).map_err(Problem::from)?;
    let wrong = |words: &str| Problem::bad_request("invalid_request", words);
    let kind = word(query.get("kind"), "kind is personal, assistant or autonomous")?;
    let wanted_state = word(query.get("state"), "state is active, suspended or retired")?;
    let owner = match query.get("owner") {
        None => None,
        Some(text) => {
            let owner = people::owner(&state.store, text).await.map_err(errors::store)?;
            Some(owner.ok_or_else(|| wrong("owner names no user"))?)
        }
    };
    let flagged = match query.get("flagged") {
        None | Some("") => None,
        Some(text) => Some(
            Flagged::parse(text)
                .ok_or_else(|| wrong("flagged is true, no_active_owner, expired or review_due"))?,
        ),
    };
    Ok(Search {
        text: query.get("q").map(str::to_owned),
        kind,
        state: wanted_state,
        owner,
        label: query.get("label").map(str::to_owned),
        data_class: query.get("data_class").map(str::to_owned),
        flagged,
    })
}

#[utoipa::path(get, path = "/api/v1/agents",
    params(Paging,
        ("q" = Option<String>, Query, description = "Part of the name, purpose or id."),
        ("kind" = Option<String>, Query, description = "`personal`, `assistant` or `autonomous`."),
        ("state" = Option<String>, Query, description = "`active`, `suspended` or `retired`."),
        ("owner" = Option<String>, Query, description = "A user's id or e-mail, or `team:` and a group."),
        ("label" = Option<String>, Query, description = "A label, platform or environment."),
        ("data_class" = Option<String>, Query),
        ("flagged" = Option<String>, Query,
            description = "`true`, `no_active_owner`, `expired` or `review_due`.")),
    responses((status = 200, body = Page<AgentView>)))]
pub async fn list(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let wanted = Wanted::read(&request)?;
    let search = search(&request, &state).await?;
    // A cursor that is no id stands behind every id or before: the list says nothing wrong either way.
    let after = wanted.cursor.as_deref().and_then(|cursor| cursor.parse::<AgentId>().ok());
    let found = state.agents.search(&search, after.as_ref(), wanted.limit).await;
    let (found, next) = found.map_err(errors::store)?;
    Ok(HttpResponse::Ok().json(Page {
        items: found.into_iter().map(|one| AgentView::of(&one.agent, one.flags)).collect(),
        next_cursor: next.map(|id| id.to_string()),
    }))
}

#[utoipa::path(post, path = "/api/v1/agents", request_body = StateAgent,
    params(("dry_run" = Option<bool>, Query, description = "Check it only.")),
    responses((status = 200, body = StateAgent, description = "What would be registered, with `dry_run`."),
        (status = 201, body = AgentWithSecret<'static>)))]
pub async fn create(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let stated: StateAgent = body::read_json(&request, payload).await?;
    let new = stated.terms(&state).await?;
    if is_rehearsal(&request)? {
        let agent = state.agents.rehearse_new(new).await.map_err(errors::agent)?;
        return Ok(HttpResponse::Ok().json(StateAgent::of(&agent)));
    }
    let (agent, secret) = state.agents.register(new, &caller.name).await.map_err(errors::agent)?;
    Ok(HttpResponse::Created()
        .insert_header(("cache-control", "no-store"))
        .json(AgentWithSecret { agent: view(&state, &agent).await?, client_secret: secret.expose_str() }))
}

#[utoipa::path(get, path = "/api/v1/agents/{id}", params(("id" = String, Path)),
    responses((status = 200, body = AgentView, headers(("ETag" = String, description = "Its version, for `If-Match`.")))))]
pub async fn show(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    shown(&state, &id(&request)?).await
}

/// Whether only the answer is wanted, and nothing is to be changed.
fn is_rehearsal(request: &HttpRequest) -> Result<bool, Problem> {
    let query = body::read_query(request).map_err(Problem::from)?;
    Ok(query.flag("dry_run").map_err(BodyError::from)?)
}

async fn found(state: &ApiState, id: &AgentId) -> Result<Stored<Agent>, Problem> {
    let agent = state.agents.get(id).await.map_err(errors::store)?;
    agent.ok_or_else(|| Problem::not_found("agent"))
}

#[utoipa::path(put, path = "/api/v1/agents/{id}",
    params(("id" = String, Path), ("dry_run" = Option<bool>, Query, description = "Check it only."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that it must still have; otherwise 412.")),
    request_body = StateAgent, responses((status = 200, body = AgentView, headers(("ETag" = String, description = "Its version, for `If-Match`.")))))]
pub async fn restate(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let stated: StateAgent = body::read_json(&request, payload).await?;
    let id = id(&request)?;
    let condition = IfMatch::of(&request);
    let version = found(&state, &id).await?.version();
    condition.check(&version)?;
    let terms = stated.terms(&state).await?;
    if is_rehearsal(&request)? {
        let agent = state.agents.rehearse(&id, |_| terms.clone()).await.map_err(errors::agent)?;
        return Ok(HttpResponse::Ok().json(view(&state, &agent).await?));
    }
    let as_read = condition.holds_to(version);
    let done = state.agents.restate(&id, &caller.name, as_read.as_deref(), |_| terms.clone()).await;
    done.map_err(errors::agent)?;
    shown(&state, &id).await
}

#[utoipa::path(patch, path = "/api/v1/agents/{id}", params(("id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that it must still have; otherwise 412.")),
    request_body(content = Object, description = "Members of an agent to replace; `null` removes one (RFC 7396)."),
    responses((status = 200, body = AgentView, headers(("ETag" = String, description = "Its version, for `If-Match`.")))))]
pub async fn change(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let patch: Map<String, Value> = body::read_json(&request, payload).await?;
    let (id, condition) = (id(&request)?, IfMatch::of(&request));
    for _ in 0..TRIES {
        let agent = found(&state, &id).await?;
        condition.check(&agent.version())?;
        let terms = StateAgent::of(&agent).merged(patch.clone())?.terms(&state).await?;
        // What somebody else has changed since is read anew, not overwritten.
        let as_read = agent.version();
        match state.agents.restate(&id, &caller.name, Some(&as_read), |_| terms.clone()).await {
            Err(AgentError::Changed) => {}
            done => {
                done.map_err(errors::agent)?;
                return shown(&state, &id).await;
            }
        }
    }
    Err(errors::store(StoreError::Contended { key: id.to_string() }))
}

#[utoipa::path(post, path = "/api/v1/agents/{id}/hand-over", params(("id" = String, Path)),
    request_body = HandOver, responses((status = 200, body = AgentView)))]
pub async fn hand_over(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let wanted: HandOver = body::read_json(&request, payload).await?;
    let owner = people::owner(&state.store, &wanted.owner).await.map_err(errors::store)?;
    let owner = owner.ok_or_else(|| Problem::bad_request("invalid_agent", "owner names no user"))?;
    let agent = state.agents.hand_over(&id(&request)?, &owner, &caller.name).await.map_err(errors::agent)?;
    shown(&state, &agent.id).await
}

#[utoipa::path(get, path = "/api/v1/agents/{id}/history", params(("id" = String, Path)),
    responses((status = 200, body = Page<ChangeView>)))]
pub async fn history(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let id = id(&request)?;
    found(&state, &id).await?;
    let changes = state.agents.history(&id).await.map_err(errors::store)?;
    let items: Vec<ChangeView> = changes.into_iter().map(ChangeView::of).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: None }))
}

async fn set_state(
    request: &HttpRequest,
    state: &ApiState,
    change: AgentChange,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(request, state).await?;
    let agent = state.agents.set_state(&id(request)?, change, &caller.name).await.map_err(errors::agent)?;
    if agent.state != AgentState::Active {
        state.kill_switch.revoke_tokens_under(StopTarget::Agent(agent.id.clone()));
    }
    shown(state, &agent.id).await
}

#[utoipa::path(post, path = "/api/v1/agents/{id}/suspend", params(("id" = String, Path)),
    responses((status = 200, body = AgentView)))]
pub async fn suspend(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    set_state(&request, &state, AgentChange::Suspend).await
}

#[utoipa::path(post, path = "/api/v1/agents/{id}/resume", params(("id" = String, Path)),
    responses((status = 200, body = AgentView)))]
pub async fn resume(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    set_state(&request, &state, AgentChange::Resume).await
}

#[utoipa::path(post, path = "/api/v1/agents/{id}/retire", params(("id" = String, Path)),
    responses((status = 200, body = AgentView)))]
pub async fn retire(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    set_state(&request, &state, AgentChange::Retire).await
}

#[utoipa::path(post, path = "/api/v1/agents/{id}/rotate-secret", params(("id" = String, Path)),
    responses((status = 200, body = AgentWithSecret<'static>)))]
pub async fn rotate_secret(
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let id = id(&request)?;
    let secret = state.agents.rotate_secret(&id, &caller.name).await.map_err(errors::agent)?;
    let agent = found(&state, &id).await?;
    Ok(HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .json(AgentWithSecret { agent: view(&state, &agent).await?, client_secret: secret.expose_str() }))
}
