//! `/api/v1/transmitters`: who may push security events.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::kernel::ids::TransmitterId;
use crate::model::transmitter::{Transmitter, TransmitterKeys};
use crate::server::problem::Problem;
use crate::server::{Inbound, body};
use crate::web::api::list::{Page, Paging, Wanted, page};
use crate::web::api::{ApiState, auth, errors};
use crate::web::transmitters::{Stated, TransmitterError, Transmitters};

/// Somebody who may push security events to `/security-events`.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransmitterView {
    id: String,
    name: String,
    issuer: String,
    audience: String,
    jwks_uri: Option<String>,
    /// The issuer of the people whom it may speak of.
    subject_issuer: String,
    created_at: String,
}

impl TransmitterView {
    fn of(transmitter: &Transmitter) -> Self {
        Self {
            id: transmitter.id.to_string(),
            name: transmitter.name.clone(),
            issuer: transmitter.issuer.clone(),
            audience: transmitter.audience.clone(),
            jwks_uri: match &transmitter.keys {
                TransmitterKeys::Url(url) => Some(url.clone()),
                TransmitterKeys::Set(_) => None,
            },
            subject_issuer: transmitter.subject_issuer.clone(),
            created_at: transmitter.created_at.rfc3339(),
        }
    }
}

/// What is stated of a transmitter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateTransmitter {
    name: String,
    /// The `iss` of its tokens.
    issuer: String,
    /// The `aud` of its tokens; the address of `/security-events` here when left out.
    #[serde(default)]
    audience: Option<String>,
    /// Where its public keys are; or state `jwks`.
    #[serde(default)]
    jwks_uri: Option<String>,
    /// Its public keys as a JWK Set; or state `jwks_uri`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    jwks: Option<Value>,
    /// The issuer of the people whom it may speak of, as their sign-in states it; its own when left out.
    #[serde(default)]
    subject_issuer: Option<String>,
}

fn register(state: &ApiState) -> Transmitters<'_> {
    Transmitters {
        store: &state.store,
        audit: &state.audit,
        clock: state.clock.as_ref(),
        entropy: state.entropy.as_ref(),
    }
}

fn problem(error: TransmitterError) -> Problem {
    match error {
        TransmitterError::Invalid(words) => Problem::bad_request("invalid_transmitter", words),
        TransmitterError::Taken | TransmitterError::Contended => Problem::conflict(error.to_string()),
        TransmitterError::NotFound => Problem::not_found("transmitter"),
        TransmitterError::Store(error) => errors::store(error),
        TransmitterError::Audit(error) => errors::audit(error),
    }
}

#[utoipa::path(get, path = "/api/v1/transmitters", params(Paging),
    responses((status = 200, body = Page<TransmitterView>)))]
pub async fn list(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let wanted = Wanted::read(&request)?;
    let found = page::<Transmitter, _>(&state.store, &wanted, |record| TransmitterView::of(record)).await?;
    Ok(HttpResponse::Ok().json(found))
}

#[utoipa::path(post, path = "/api/v1/transmitters", request_body = StateTransmitter,
    responses((status = 201, body = TransmitterView), (status = 409, description = "The issuer is registered.")))]
pub async fn create(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let stated: StateTransmitter = body::read_json(&request, payload).await?;
    let stated = Stated {
        name: stated.name,
        issuer: stated.issuer,
        audience: stated.audience,
        jwks_uri: stated.jwks_uri,
        jwks: stated.jwks,
        subject_issuer: stated.subject_issuer,
    };
    let made = register(&state).add(stated, &inbound.issuer, &caller.name).await.map_err(problem)?;
    Ok(HttpResponse::Created().json(TransmitterView::of(&made)))
}

#[utoipa::path(delete, path = "/api/v1/transmitters/{id}", params(("id" = String, Path)),
    responses((status = 204, description = "Its events are refused from now on.")))]
pub async fn remove(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let id: TransmitterId =
        request.match_info().query("id").parse().map_err(|_| Problem::not_found("transmitter"))?;
    register(&state).remove(&id, &caller.name).await.map_err(problem)?;
    Ok(HttpResponse::NoContent().finish())
}
