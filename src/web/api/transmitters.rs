//! `/api/v1/transmitters`: who may push security events.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;

use crate::kernel::ids::TransmitterId;
use crate::kernel::text::clean;
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::transmitter::{Transmitter, TransmitterKeys};
use crate::server::problem::Problem;
use crate::server::{Inbound, body};
use crate::store::{Committed, Tx};
use crate::web::api::list::{Page, Paging, Wanted, page};
use crate::web::api::{ApiState, auth, errors};
use crate::web::security_events;

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

fn invalid(words: &str) -> Problem {
    Problem::bad_request("invalid_transmitter", words)
}

impl StateTransmitter {
    fn keys(&self) -> Result<TransmitterKeys, Problem> {
        match (&self.jwks_uri, &self.jwks) {
            (Some(text), None) => {
                let url = Url::parse(text).ok().filter(|url| url.scheme() == "https");
                url.map(|_| TransmitterKeys::Url(text.clone()))
                    .ok_or_else(|| invalid("jwks_uri: write an https address"))
            }
            (None, Some(set)) => {
                let keys = set.get("keys").and_then(Value::as_array).filter(|keys| !keys.is_empty());
                let is_public = |key: &Value| key.get("d").is_none() && key.get("k").is_none();
                if keys.is_none_or(|keys| !keys.iter().all(is_public)) {
                    return Err(invalid("jwks: a set of public keys, {\"keys\": [..]}"));
                }
                Ok(TransmitterKeys::Set(set.to_string()))
            }
            _ => Err(invalid("state exactly one of jwks_uri and jwks")),
        }
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
    let keys = stated.keys()?;
    let is_text =
        |text: &str| !text.trim().is_empty() && text.len() <= 512 && !text.contains(char::is_control);
    let own = format!("{}{}", inbound.issuer.as_str().trim_end_matches('/'), security_events::PATH);
    let audience = stated.audience.unwrap_or(own);
    let subject_issuer = stated.subject_issuer.unwrap_or_else(|| stated.issuer.clone());
    if ![&stated.name, &stated.issuer, &audience, &subject_issuer].into_iter().all(|text| is_text(text)) {
        return Err(invalid("name, issuer, audience and subject_issuer are 1 to 512 characters"));
    }
    let transmitter = Transmitter {
        id: TransmitterId::generate(state.entropy.as_ref()),
        name: clean(stated.name.trim(), 100),
        issuer: stated.issuer,
        audience,
        keys,
        subject_issuer,
        created_at: state.clock.now(),
    };
    record(&state, "transmitter.registered", &transmitter, &caller.name).await?;
    let mut tx = Tx::new();
    tx.insert(&transmitter);
    match state.store.commit(tx).await.map_err(errors::store)? {
        Committed::Done => Ok(HttpResponse::Created().json(TransmitterView::of(&transmitter))),
        Committed::Conflict => Err(Problem::conflict("this issuer is registered already")),
    }
}

#[utoipa::path(delete, path = "/api/v1/transmitters/{id}", params(("id" = String, Path)),
    responses((status = 204, description = "Its events are refused from now on.")))]
pub async fn remove(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let missing = || Problem::not_found("transmitter");
    let id: TransmitterId = request.match_info().query("id").parse().map_err(|_| missing())?;
    let found = state.store.get::<Transmitter>(id.as_str()).await.map_err(errors::store)?;
    let found = found.ok_or_else(missing)?;
    record(&state, "transmitter.removed", &found, &caller.name).await?;
    let mut tx = Tx::new();
    tx.delete(&found);
    match state.store.commit(tx).await.map_err(errors::store)? {
        Committed::Done => Ok(HttpResponse::NoContent().finish()),
        Committed::Conflict => Err(Problem::conflict("somebody else changes it at this moment")),
    }
}

async fn record(state: &ApiState, action: &str, about: &Transmitter, by: &str) -> Result<(), Problem> {
    let event = EventDraft {
        admin: Some(by.to_owned()),
        reasons: vec![format!("transmitter {}", about.id)],
        outcome: Some(Outcome::Done),
        ..EventDraft::new(EventKind::Admin, action)
    };
    state.audit.record(event).await.map(|_| ()).map_err(errors::audit)
}
