//! `/api/v1/grants/{id}/explain`: how a call would be decided.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::kernel::ids::GrantId;
use crate::model::explanation::Probe;
use crate::model::limit::{Limit, MOST_LIMITS};
use crate::server::body;
use crate::server::problem::Problem;
use crate::web::api::{ApiState, auth, errors};

/// A call that nobody makes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainCall {
    /// The method.
    method: String,
    /// The provider's own path and query, or ours from `/gateway/` on.
    path: String,
    /// The JSON body.
    #[serde(default)]
    data: Option<String>,
    /// Limits that a token would have beside the grant's, as in a token request.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    authorization_details: Vec<Limit>,
}

/// How a gateway call under a grant would be decided now, step by step. Nothing is dialled or counted.
#[utoipa::path(post, path = "/api/v1/grants/{id}/explain", params(("id" = String, Path)),
    request_body = ExplainCall, responses((status = 200, body = Object)))]
pub async fn explain(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let id: GrantId = request.match_info().query("id").parse().map_err(|_| Problem::not_found("grant"))?;
    let ExplainCall { method, path, data, authorization_details: limits } =
        body::read_json(&request, payload).await?;
    if limits.len() > MOST_LIMITS || limits.iter().any(|limit| limit.check().is_err()) {
        return Err(Problem::bad_request(
            "invalid_request",
            "authorization_details holds a limit that is none, or too many",
        ));
    }
    let probe = Probe { method, path, data, limits };
    let explained = state.explain.explain(&id, &probe).await.map_err(errors::store)?;
    Ok(HttpResponse::Ok().json(explained.ok_or_else(|| Problem::not_found("grant"))?))
}
