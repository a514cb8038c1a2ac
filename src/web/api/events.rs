//! `/api/v1/events` and `/api/v1/keys`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::audit::EventFilter;
use crate::kernel::encode;
use crate::server::body;
use crate::server::problem::Problem;
use crate::web::api::list::{Page, Paging, Wanted};
use crate::web::api::{ApiState, auth};

/// A public key of this deployment.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyView {
    /// What it checks: `audit`.
    r#use: &'static str,
    id: String,
    algorithm: &'static str,
    /// Hexadecimal.
    public_key: String,
}

fn filter(request: &HttpRequest, cursor: Option<&str>) -> Result<EventFilter, Problem> {
    let query = body::read_query(request).map_err(Problem::from)?;
    let wrong = |name: &str| Problem::bad_request("invalid_request", format!("{name} is not an identifier"));
    let mut filter = EventFilter::default();
    if let Some(text) = query.get("agent") {
        filter.agent = Some(text.parse().map_err(|_| wrong("agent"))?);
    }
    if let Some(text) = query.get("user") {
        filter.user = Some(text.parse().map_err(|_| wrong("user"))?);
    }
    if let Some(text) = query.get("grant") {
        filter.grant = Some(text.parse().map_err(|_| wrong("grant"))?);
    }
    if let Some(text) = query.get("provider") {
        filter.provider = Some(text.parse().map_err(|_| wrong("provider"))?);
    }
    if let Some(text) = cursor {
        filter.before_seq = Some(text.parse().map_err(|_| wrong("cursor"))?);
    }
    Ok(filter)
}

#[utoipa::path(get, path = "/api/v1/events",
    params(Paging, ("agent" = Option<String>, Query), ("user" = Option<String>, Query),
        ("grant" = Option<String>, Query), ("provider" = Option<String>, Query)),
    responses((status = 200, body = Page<Object>)))]
pub async fn list(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let wanted = Wanted::read(&request)?;
    let filter = filter(&request, wanted.cursor.as_deref())?;
    let items = state.audit.recent(&filter, wanted.limit);
    let next_cursor =
        (items.len() == wanted.limit).then(|| items.last().map(|event| event.seq.to_string())).flatten();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor }))
}

#[utoipa::path(get, path = "/api/v1/keys", responses((status = 200, body = Page<KeyView>)))]
pub async fn keys(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let signer = state.vault.audit_signer();
    let audit = KeyView {
        r#use: "audit",
        id: signer.key_id(),
        algorithm: "Ed25519",
        public_key: encode::hex(&signer.public_key()),
    };
    Ok(HttpResponse::Ok().json(Page { items: vec![audit], next_cursor: None }))
}
