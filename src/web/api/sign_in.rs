//! `/api/v1/agents/{id}/credentials`: how an agent signs in.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::agents::{WAYS, secret_name};
use crate::kernel::ids::AgentId;
use crate::model::agent::Agent;
use crate::model::credential::SignIn;
use crate::server::body;
use crate::server::problem::Problem;
use crate::web::api::{ApiState, auth, errors};

/// A client secret, without the secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecretView {
    /// Its short name: with it, it is ended.
    name: String,
    created_at: String,
    /// When it stops working; absent for the newest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// To the hour; absent when it was never used.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
}

/// When a way without a secret was last used.
#[derive(Debug, Serialize, ToSchema)]
pub struct WayUse {
    /// `private_key_jwt`, `workload` or `certificate`.
    way: &'static str,
    /// To the hour.
    last_used_at: String,
}

/// How an agent may sign in.
#[derive(Debug, Serialize, ToSchema)]
pub struct CredentialsView {
    /// Its client secrets: two while one replaces the other.
    secrets: Vec<SecretView>,
    /// Keys, workloads and certificates.
    #[schema(value_type = Object)]
    sign_in: SignIn,
    /// Which of these were used.
    last_used: Vec<WayUse>,
}

async fn view(state: &ApiState, agent: &Agent) -> Result<CredentialsView, Problem> {
    let mut secrets = Vec::new();
    for secret in &agent.secrets {
        let name = secret_name(secret);
        let used = state.agents.last_used(&agent.id, &name).await.map_err(errors::store)?;
        secrets.push(SecretView {
            name,
            created_at: secret.created_at.rfc3339(),
            expires_at: secret.expires_at.map(|at| at.rfc3339()),
            last_used_at: used.map(|at| at.rfc3339()),
        });
    }
    let mut last_used = Vec::new();
    for way in WAYS {
        if let Some(at) = state.agents.last_used(&agent.id, way).await.map_err(errors::store)? {
            last_used.push(WayUse { way, last_used_at: at.rfc3339() });
        }
    }
    Ok(CredentialsView { secrets, sign_in: agent.sign_in.clone(), last_used })
}

fn id(request: &HttpRequest) -> Result<AgentId, Problem> {
    request.match_info().query("id").parse().map_err(|_| Problem::not_found("agent"))
}

#[utoipa::path(get, path = "/api/v1/agents/{id}/credentials", params(("id" = String, Path)),
    responses((status = 200, body = CredentialsView)))]
pub async fn show(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let agent = state.agents.get(&id(&request)?).await.map_err(errors::store)?;
    let agent = agent.ok_or_else(|| Problem::not_found("agent"))?;
    Ok(HttpResponse::Ok().json(view(&state, &agent).await?))
}

/// Replaces keys, workloads and certificates together; secrets stay as they are.
#[utoipa::path(put, path = "/api/v1/agents/{id}/sign-in", params(("id" = String, Path)),
    request_body(content = Object, description = "`{\"keys\": {\"jwks\": {…}} | {\"jwks_uri\": \"https://…\"}, \
    \"workloads\": [{\"trust_source\": \"tru_…\", \"pins\": {…}}], \"certificates\": {\"self_signed\": \
    {\"thumbprints\": […]}} | {\"issued\": {\"authority\": \"tru_…\", \"name\": {\"san_uri\": \"…\"}}}}`; what is \
    left out is removed"),
    responses((status = 200, body = CredentialsView)))]
pub async fn change(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let ways: SignIn = body::read_json(&request, payload).await?;
    let agent = state.agents.set_sign_in(&id(&request)?, ways, &caller.name).await.map_err(errors::agent)?;
    Ok(HttpResponse::Ok().json(view(&state, &agent).await?))
}

#[utoipa::path(post, path = "/api/v1/agents/{id}/secrets/{name}/end",
    params(("id" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = CredentialsView)))]
pub async fn end_secret(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let name = request.match_info().query("name").to_owned();
    let agent = state.agents.end_secret(&id(&request)?, &name, &caller.name).await.map_err(errors::agent)?;
    Ok(HttpResponse::Ok().json(view(&state, &agent).await?))
}
