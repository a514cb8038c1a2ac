//! `/api/v1/agents`.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agents::{AgentChange, NewAgent};
use crate::kernel::ids::{AgentId, ProviderSlug, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::agent::{Agent, AgentKind, AgentState};
use crate::model::stop::StopTarget;
use crate::model::user::{User, email_index};
use crate::server::body;
use crate::server::problem::Problem;
use crate::web::api::list::{Page, Paging, Wanted, page};
use crate::web::api::{ApiState, auth, errors};

/// An agent, without anything secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentView {
    id: String,
    kind: serde_json::Value,
    name: String,
    purpose: String,
    owner: String,
    state: serde_json::Value,
    /// Scopes per provider that it can be granted at most, space-separated.
    ceiling: BTreeMap<String, String>,
    /// Scopes per provider that it asks for when it names none, space-separated.
    default_scopes: BTreeMap<String, String>,
    subject_audiences: Vec<String>,
    created_at: String,
}

impl AgentView {
    fn of(agent: &Agent) -> Self {
        Self {
            id: agent.id.to_string(),
            kind: serde_json::json!(agent.kind),
            name: agent.name.clone(),
            purpose: agent.purpose.clone(),
            owner: agent.owner.to_string(),
            state: serde_json::json!(agent.state),
            ceiling: scopes_as_text(&agent.ceiling),
            default_scopes: scopes_as_text(&agent.default_scopes),
            subject_audiences: agent.subject_audiences.clone(),
            created_at: agent.created_at.rfc3339(),
        }
    }
}

/// What is stated to register an agent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAgent {
    /// `personal`, `assistant` or `autonomous`.
    #[schema(value_type = String)]
    kind: AgentKind,
    name: String,
    purpose: String,
    /// The owner's id, or an e-mail that one user only has.
    owner: String,
    /// Scopes per provider, space-separated.
    #[serde(default)]
    ceiling: BTreeMap<String, String>,
    /// Scopes per provider, space-separated.
    #[serde(default)]
    default_scopes: BTreeMap<String, String>,
    /// The `aud` values of ID tokens that it may show.
    #[serde(default)]
    subject_audiences: Vec<String>,
}

/// A new secret, shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentWithSecret<'a> {
    #[serde(flatten)]
    agent: AgentView,
    /// The client secret. It cannot be shown again.
    client_secret: &'a str,
}

fn scopes_as_text(scopes: &BTreeMap<ProviderSlug, ScopeSet>) -> BTreeMap<String, String> {
    scopes.iter().map(|(slug, scopes)| (slug.to_string(), scopes.to_string())).collect()
}

fn scopes_from_text(
    member: &str,
    scopes: &BTreeMap<String, String>,
) -> Result<BTreeMap<ProviderSlug, ScopeSet>, Problem> {
    let wrong = |words: String| Problem::bad_request("invalid_agent", format!("{member}: {words}"));
    scopes
        .iter()
        .map(|(slug, scopes)| {
            let slug = slug.parse::<ProviderSlug>().map_err(|error| wrong(error.to_owned()))?;
            let scopes = ScopeSet::parse(scopes).map_err(|error| wrong(error.to_string()))?;
            Ok((slug, scopes))
        })
        .collect()
}

async fn owner(state: &ApiState, text: &str) -> Result<UserId, Problem> {
    let unknown = || {
        let words =
            "owner names no user, or an e-mail that several have; users appear with their first sign-in";
        Problem::bad_request("invalid_agent", words)
    };
    if let Ok(id) = text.parse::<UserId>() {
        let user = state.store.get::<User>(id.as_str()).await.map_err(errors::store)?;
        return user.map(|user| user.id.clone()).ok_or_else(unknown);
    }
    let found = state.store.find::<User>("email", &email_index(text)).await.map_err(errors::store)?;
    match found.as_slice() {
        [only] => Ok(only.id.clone()),
        _ => Err(unknown()),
    }
}

fn id(request: &HttpRequest) -> Result<AgentId, Problem> {
    request.match_info().query("id").parse().map_err(|_| Problem::not_found("agent"))
}

#[utoipa::path(get, path = "/api/v1/agents", params(Paging), responses((status = 200, body = Page<AgentView>)))]
pub async fn list(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let wanted = Wanted::read(&request)?;
    let agents = page::<Agent, _>(&state.store, &wanted, |agent| AgentView::of(agent)).await?;
    Ok(HttpResponse::Ok().json(agents))
}

#[utoipa::path(post, path = "/api/v1/agents", request_body = CreateAgent,
    responses((status = 201, body = AgentWithSecret<'static>)))]
pub async fn create(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let wanted: CreateAgent = body::read_json(&request, payload).await?;
    let new = NewAgent {
        kind: wanted.kind,
        owner: owner(&state, &wanted.owner).await?,
        ceiling: scopes_from_text("ceiling", &wanted.ceiling)?,
        default_scopes: scopes_from_text("default_scopes", &wanted.default_scopes)?,
        name: wanted.name,
        purpose: wanted.purpose,
        subject_audiences: wanted.subject_audiences,
    };
    let (agent, secret) = state.agents.register(new, &caller.name).await.map_err(errors::agent)?;
    Ok(HttpResponse::Created()
        .insert_header(("cache-control", "no-store"))
        .json(AgentWithSecret { agent: AgentView::of(&agent), client_secret: secret.expose_str() }))
}

#[utoipa::path(get, path = "/api/v1/agents/{id}", params(("id" = String, Path)),
    responses((status = 200, body = AgentView)))]
pub async fn show(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let agent = state.agents.get(&id(&request)?).await.map_err(errors::store)?;
    let agent = agent.ok_or_else(|| Problem::not_found("agent"))?;
    Ok(HttpResponse::Ok().json(AgentView::of(&agent)))
}

async fn change(
    request: &HttpRequest,
    state: &ApiState,
    change: AgentChange,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(request, state).await?;
    let agent = state.agents.set_state(&id(request)?, change, &caller.name).await.map_err(errors::agent)?;
    if agent.state != AgentState::Active {
        state.kill_switch.revoke_tokens_under(StopTarget::Agent(agent.id.clone()));
    }
    Ok(HttpResponse::Ok().json(AgentView::of(&agent)))
}

#[utoipa::path(post, path = "/api/v1/agents/{id}/suspend", params(("id" = String, Path)),
    responses((status = 200, body = AgentView)))]
pub async fn suspend(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    change(&request, &state, AgentChange::Suspend).await
}

#[utoipa::path(post, path = "/api/v1/agents/{id}/resume", params(("id" = String, Path)),
    responses((status = 200, body = AgentView)))]
pub async fn resume(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    change(&request, &state, AgentChange::Resume).await
}

#[utoipa::path(post, path = "/api/v1/agents/{id}/retire", params(("id" = String, Path)),
    responses((status = 200, body = AgentView)))]
pub async fn retire(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    change(&request, &state, AgentChange::Retire).await
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
    let agent = state.agents.get(&id).await.map_err(errors::store)?;
    let agent = agent.ok_or_else(|| Problem::not_found("agent"))?;
    Ok(HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .json(AgentWithSecret { agent: AgentView::of(&agent), client_secret: secret.expose_str() }))
}
