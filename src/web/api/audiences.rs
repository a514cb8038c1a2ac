//! `/api/v1/audiences`: internal back ends, and `/api/v1/signing-keys`.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audiences::{AudienceTerms, USUAL_TOKEN_S};
use crate::kernel::ids::AudienceId;
use crate::kernel::scope::ScopeSet;
use crate::model::audience::{Admission, Algorithm, Audience, AudienceState, IdJagTerms, UserClaim};
use crate::server::body;
use crate::server::precondition::{IfMatch, etag};
use crate::server::problem::Problem;
use crate::store::Stored;
use crate::web::api::list::{Page, Wanted, page};
use crate::web::api::{ApiState, auth, errors};

/// An internal back end, without anything secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct AudienceView {
    /// Its id, and its OAuth client id for introspection.
    id: String,
    /// What agents write as `audience`.
    identifier: String,
    name: String,
    purpose: String,
    /// Space-separated.
    scopes: String,
    /// `email`, `name`, `department`, `groups`.
    #[schema(value_type = Vec<String>)]
    claims: Vec<UserClaim>,
    /// `EdDSA` or `ES256`.
    #[schema(value_type = String)]
    algorithm: Algorithm,
    token_life_s: u64,
    #[schema(value_type = Vec<Object>)]
    admissions: Vec<Admission>,
    /// The types of `authorization_details` that its tokens may carry.
    authorization_details_types: Vec<String>,
    /// The classes of data that it holds.
    data_classes: BTreeSet<String>,
    /// Present where its authorization server takes identity assertions (ID-JAG): agents' client ids there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    id_jag: Option<IdJagTerms>,
    #[schema(value_type = String)]
    state: AudienceState,
    created_at: String,
}

impl AudienceView {
    fn of(audience: &Audience) -> Self {
        Self {
            id: audience.id.to_string(),
            identifier: audience.identifier.clone(),
            name: audience.name.clone(),
            purpose: audience.purpose.clone(),
            scopes: audience.scopes.to_string(),
            claims: audience.claims.clone(),
            algorithm: audience.algorithm,
            token_life_s: audience.token_life_s,
            admissions: audience.admissions.clone(),
            authorization_details_types: audience.detail_types.clone(),
            data_classes: audience.data_classes.clone(),
            id_jag: audience.id_jag.clone(),
            state: audience.state,
            created_at: audience.created_at.rfc3339(),
        }
    }
}

/// What is stated of a back end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateAudience {
    /// What agents write as `audience`: an absolute URI. It cannot be changed later.
    identifier: String,
    name: String,
    /// What it holds, in words that employees read.
    purpose: String,
    /// Space-separated.
    scopes: String,
    /// What it learns of the user: `email`, `name`, `department`, `groups`.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    claims: Vec<UserClaim>,
    /// `EdDSA` or `ES256`.
    #[serde(default)]
    #[schema(value_type = String)]
    algorithm: Algorithm,
    /// 10 to 3600; 300 if left out.
    #[serde(default)]
    token_life_s: Option<u64>,
    /// Who may reach it: `{"agents": ["agt_…"], "for": "everyone" | "itself" | {"users": [..]} | {"groups": [..]},
    /// "scopes": [..]}`.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    admissions: Vec<Admission>,
    /// The types of `authorization_details` (RFC 9396) that it narrows by itself; others are refused.
    #[serde(default)]
    authorization_details_types: Vec<String>,
    /// The classes of data that it holds, as templates name them or in your own words. An agent that is
    /// restricted to some classes reaches it only with all of these in its list, and never where this is empty.
    #[serde(default)]
    data_classes: BTreeSet<String>,
    /// For an audience that is another authorization server's issuer and takes identity assertions (ID-JAG):
    /// `{"client_ids": {"agt_…": "client id there"}}`; an agent that is not listed has its own id.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    id_jag: Option<IdJagTerms>,
}

/// A new secret, shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct AudienceWithSecret<'a> {
    #[serde(flatten)]
    audience: AudienceView,
    /// The client secret, for introspection. It cannot be shown again.
    client_secret: &'a str,
}

impl StateAudience {
    fn terms(self) -> Result<AudienceTerms, Problem> {
        let scopes = ScopeSet::parse(&self.scopes)
            .map_err(|error| Problem::bad_request("invalid_audience", format!("scopes: {error}")))?;
        Ok(AudienceTerms {
            identifier: self.identifier,
            name: self.name,
            purpose: self.purpose,
            scopes,
            claims: self.claims,
            algorithm: self.algorithm,
            token_life_s: self.token_life_s.unwrap_or(USUAL_TOKEN_S),
            admissions: self.admissions,
            detail_types: self.authorization_details_types,
            data_classes: self.data_classes,
            id_jag: self.id_jag,
        })
    }
}

fn id(request: &HttpRequest) -> Result<AudienceId, Problem> {
    request.match_info().query("id").parse().map_err(|_| Problem::not_found("audience"))
}

#[utoipa::path(get, path = "/api/v1/audiences", responses((status = 200, body = Page<AudienceView>)))]
pub async fn list(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let wanted = Wanted::read(&request)?;
    let audiences = page::<Audience, _>(&state.store, &wanted, |audience| AudienceView::of(audience)).await?;
    Ok(HttpResponse::Ok().json(audiences))
}

#[utoipa::path(post, path = "/api/v1/audiences", request_body = StateAudience,
    responses((status = 201, body = AudienceWithSecret<'static>)))]
pub async fn create(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let stated: StateAudience = body::read_json(&request, payload).await?;
    let (audience, secret) =
        state.audiences.register(stated.terms()?, &caller.name).await.map_err(errors::audience)?;
    Ok(HttpResponse::Created().insert_header(("cache-control", "no-store")).json(AudienceWithSecret {
        audience: AudienceView::of(&audience),
        client_secret: secret.expose_str(),
    }))
}

#[utoipa::path(get, path = "/api/v1/audiences/{id}", params(("id" = String, Path)),
    responses((status = 200, body = AudienceView, headers(("ETag" = String, description = "Its version, for `If-Match`.")))))]
pub async fn show(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    shown(&state, &id(&request)?).await
}

async fn found(state: &ApiState, id: &AudienceId) -> Result<Stored<Audience>, Problem> {
    let audience = state.audiences.get(id).await.map_err(errors::store)?;
    audience.ok_or_else(|| Problem::not_found("audience"))
}

/// The back end as it is now, with its version.
async fn shown(state: &ApiState, id: &AudienceId) -> Result<HttpResponse, Problem> {
    let audience = found(state, id).await?;
    Ok(HttpResponse::Ok().insert_header(etag(&audience.version())).json(AudienceView::of(&audience)))
}

#[utoipa::path(put, path = "/api/v1/audiences/{id}", params(("id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that it must still have; otherwise 412.")),
    request_body = StateAudience, responses((status = 200, body = AudienceView, headers(("ETag" = String, description = "Its version, for `If-Match`.")))))]
pub async fn change(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let id = id(&request)?;
    let stated: StateAudience = body::read_json(&request, payload).await?;
    let condition = IfMatch::of(&request);
    let version = found(&state, &id).await?.version();
    condition.check(&version)?;
    let as_read = condition.holds_to(version);
    let done = state.audiences.change(&id, stated.terms()?, &caller.name, as_read.as_deref()).await;
    done.map_err(errors::audience)?;
    shown(&state, &id).await
}

async fn set_state(
    request: &HttpRequest,
    state: &ApiState,
    wanted: AudienceState,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(request, state).await?;
    let audience =
        state.audiences.set_state(&id(request)?, wanted, &caller.name).await.map_err(errors::audience)?;
    shown(state, &audience.id).await
}

#[utoipa::path(post, path = "/api/v1/audiences/{id}/enable", params(("id" = String, Path)),
    responses((status = 200, body = AudienceView)))]
pub async fn enable(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    set_state(&request, &state, AudienceState::Active).await
}

#[utoipa::path(post, path = "/api/v1/audiences/{id}/disable", params(("id" = String, Path)),
    responses((status = 200, body = AudienceView)))]
pub async fn disable(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    set_state(&request, &state, AudienceState::Disabled).await
}

#[utoipa::path(post, path = "/api/v1/audiences/{id}/rotate-secret", params(("id" = String, Path)),
    responses((status = 200, body = AudienceWithSecret<'static>)))]
pub async fn rotate_secret(
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let id = id(&request)?;
    let secret = state.audiences.rotate_secret(&id, &caller.name).await.map_err(errors::audience)?;
    let audience = found(&state, &id).await?;
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(AudienceWithSecret {
        audience: AudienceView::of(&audience),
        client_secret: secret.expose_str(),
    }))
}

/// Which keys to replace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKeys {
    /// `EdDSA` or `ES256`.
    #[schema(value_type = String)]
    algorithm: Algorithm,
}

#[utoipa::path(post, path = "/api/v1/signing-keys/rotate", request_body = RotateKeys,
    responses((status = 200, description = "The published keys; the new one signs an hour from now.")))]
pub async fn rotate_keys(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let wanted: RotateKeys = body::read_json(&request, payload).await?;
    let mut event =
        crate::model::event::EventDraft::new(crate::model::event::EventKind::Admin, "keys.rotated");
    event.admin = Some(caller.name.clone());
    event.reasons = vec![format!("keys of {}", wanted.algorithm.as_str())];
    state.audit.record(event).await.map_err(errors::audit)?;
    state.keys.rotate(wanted.algorithm).await.map_err(errors::key)?;
    Ok(HttpResponse::Ok().json(state.keys.jwks().await.map_err(errors::store)?))
}
