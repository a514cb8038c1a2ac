//! `/api/v1/stops`: the kill switch.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::stop::{Stop, StopTarget};
use crate::server::body;
use crate::server::problem::Problem;
use crate::web::api::list::Page;
use crate::web::api::{ApiState, auth, errors};
use crate::web::people;

/// A stop in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct StopView {
    id: String,
    /// `agent`, `provider`, `user` or `all`.
    target: &'static str,
    target_id: Option<String>,
    reason: String,
    at: String,
}

impl StopView {
    fn of(stop: &Stop) -> Self {
        let (target, target_id) = match &stop.target {
            StopTarget::Agent(id) => ("agent", Some(id.to_string())),
            StopTarget::Provider(slug) => ("provider", Some(slug.to_string())),
            StopTarget::User(id) => ("user", Some(id.to_string())),
            StopTarget::All => ("all", None),
        };
        Self {
            id: stop.id.to_string(),
            target,
            target_id,
            reason: stop.reason.clone(),
            at: stop.at.rfc3339(),
        }
    }
}

/// What to stop, and why. Exactly one of the targets.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateStop {
    /// An agent's id.
    #[serde(default)]
    agent: Option<String>,
    /// A provider's name.
    #[serde(default)]
    provider: Option<String>,
    /// A user's id, or an e-mail that one user only has.
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    all: bool,
    reason: String,
}

impl CreateStop {
    async fn target(&self, state: &ApiState) -> Result<StopTarget, Problem> {
        let wrong = |words: String| Problem::bad_request("invalid_stop", words);
        match (&self.agent, &self.provider, &self.user, self.all) {
            (Some(id), None, None, false) => {
                id.parse().map(StopTarget::Agent).map_err(|error| wrong(format!("agent: {error}")))
            }
            (None, Some(slug), None, false) => {
                slug.parse().map(StopTarget::Provider).map_err(|error| wrong(format!("provider: {error}")))
            }
            (None, None, Some(text), false) if text.contains('@') => {
                let user = people::user(&state.store, text).await.map_err(errors::store)?;
                let missing = "there is no user with that e-mail, or more than one: state the user's id";
                user.map(StopTarget::User)
                    .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "not_found", missing))
            }
            (None, None, Some(id), false) => {
                id.parse().map(StopTarget::User).map_err(|error| wrong(format!("user: {error}")))
            }
            (None, None, None, true) => Ok(StopTarget::All),
            _ => Err(wrong("state exactly one of agent, provider, user, or all: true".to_owned())),
        }
    }
}

#[utoipa::path(get, path = "/api/v1/stops", responses((status = 200, body = Page<StopView>)))]
pub async fn list(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let active = state.kill_switch.active().await.map_err(errors::store)?;
    Ok(HttpResponse::Ok().json(Page { items: active.iter().map(StopView::of).collect(), next_cursor: None }))
}

/// A target that is stopped already stays so: the answer is the stop in force.
#[utoipa::path(post, path = "/api/v1/stops", request_body = CreateStop,
    responses((status = 201, body = StopView), (status = 200, description = "It was in force.", body = StopView),
        (status = 404, description = "There is no such agent, provider or user.")))]
pub async fn create(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let wanted: CreateStop = body::read_json(&request, payload).await?;
    let target = wanted.target(&state).await?;
    let stopped = state.kill_switch.stop(target, &wanted.reason, &caller.name).await.map_err(errors::stop)?;
    let status = if stopped.was_in_force { StatusCode::OK } else { StatusCode::CREATED };
    Ok(HttpResponse::build(status).json(StopView::of(&stopped.stop)))
}

#[utoipa::path(post, path = "/api/v1/stops/{id}/resume", params(("id" = String, Path)),
    responses((status = 200, body = StopView)))]
pub async fn resume(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let id = request.match_info().query("id").parse().map_err(|_| Problem::not_found("stop"))?;
    let stop = state.kill_switch.resume(&id, &caller.name).await.map_err(errors::stop)?;
    Ok(HttpResponse::Ok().json(StopView::of(&stop)))
}
