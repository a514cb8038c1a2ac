//! `/api/v1/trust-sources`: who may vouch for agents, and `/api/v1/trust-presets`: which platforms are known.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agents::{NewTokenIssuer, NewTrust, Place, Preset, presets};
use crate::kernel::ids::TrustSourceId;
use crate::model::credential::{IssuerKeys, TrustSource, Vouches};
use crate::server::body;
use crate::server::problem::Problem;
use crate::web::api::list::{Page, Paging, Wanted, page};
use crate::web::api::{ApiState, auth, errors};

/// Who may vouch for agents.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrustSourceView {
    id: String,
    name: String,
    enabled: bool,
    /// `{"tokens": {"preset", "issuer", "keys", "audience", "pins"}}` or `{"certificates": {"ca_pem"}}`.
    #[schema(value_type = Object)]
    vouches: Vouches,
    created_at: String,
}

impl TrustSourceView {
    fn of(source: &TrustSource) -> Self {
        Self {
            id: source.id.to_string(),
            name: source.name.clone(),
            enabled: source.enabled,
            vouches: source.vouches.clone(),
            created_at: source.created_at.rfc3339(),
        }
    }
}

/// What is stated of a trust source: `preset` and what belongs to it, or `ca_pem`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateTrustSource {
    name: String,
    /// The platform; see `/api/v1/trust-presets`.
    #[serde(default)]
    preset: Option<String>,
    /// `iss` of its tokens, character by character; may be left out where the platform has one for all.
    #[serde(default)]
    issuer: Option<String>,
    /// `"discovery"` (if left out), `{"jwks_uri": "https://…"}`, or `{"jwks": {…}}` for issuers that cannot be reached.
    #[serde(default)]
    #[schema(value_type = Object)]
    keys: Option<IssuerKeys>,
    /// The one `aud` of its tokens; our own issuer if left out.
    #[serde(default)]
    audience: Option<String>,
    /// Pins that hold for all its tokens.
    #[serde(default)]
    pins: BTreeMap<String, String>,
    /// A private authority's own certificates, PEM.
    #[serde(default)]
    ca_pem: Option<String>,
}

impl StateTrustSource {
    fn new_trust(self) -> Result<(String, NewTrust), Problem> {
        let is_bare =
            self.issuer.is_none() && self.keys.is_none() && self.audience.is_none() && self.pins.is_empty();
        match (self.preset, self.ca_pem) {
            (None, Some(ca_pem)) if is_bare => Ok((self.name, NewTrust::Certificates(ca_pem))),
            (Some(preset), None) => {
                let new = NewTokenIssuer {
                    preset,
                    issuer: self.issuer,
                    keys: self.keys.unwrap_or(IssuerKeys::Discovery),
                    audience: self.audience,
                    pins: self.pins,
                };
                Ok((self.name, NewTrust::Tokens(new)))
            }
            _ => Err(Problem::bad_request(
                "invalid_trust_source",
                "state `preset` and what belongs to it, or `ca_pem` alone",
            )),
        }
    }
}

/// A platform that is known.
#[derive(Debug, Serialize, ToSchema)]
pub struct PresetView {
    name: &'static str,
    title: &'static str,
    /// What its issuers look like: `*` within a name, `**` anything.
    issuers: &'static [String],
    algorithms: &'static [String],
    pins: Vec<PinView>,
    /// At least one of these must be stated with the agent.
    one_of: &'static [String],
    /// Audiences that are refused: other services take them.
    refused_audiences: &'static [String],
}

/// What a registration can hold a token to.
#[derive(Debug, Serialize, ToSchema)]
pub struct PinView {
    name: &'static str,
    /// Where tokens have it (RFC 6901).
    claim: Option<&'static str>,
    required: bool,
    /// `source` or `agent`.
    stated_with: &'static str,
}

impl PresetView {
    fn of(preset: &'static Preset) -> Self {
        let pin = |pin: &'static crate::agents::Pin| PinView {
            name: &pin.name,
            claim: pin.claim.as_deref(),
            required: pin.required,
            stated_with: match pin.on {
                Place::Agent => "agent",
                Place::Source => "source",
            },
        };
        Self {
            name: &preset.name,
            title: &preset.title,
            issuers: &preset.issuers,
            algorithms: &preset.algorithms,
            pins: preset.pin.iter().map(pin).collect(),
            one_of: &preset.one_of,
            refused_audiences: &preset.refuse_audiences,
        }
    }
}

fn id(request: &HttpRequest) -> Result<TrustSourceId, Problem> {
    request.match_info().query("id").parse().map_err(|_| Problem::not_found("trust source"))
}

#[utoipa::path(get, path = "/api/v1/trust-presets",
    responses((status = 200, body = Page<PresetView>)))]
pub async fn list_presets(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let items: Vec<PresetView> = presets().iter().map(PresetView::of).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: None }))
}

#[utoipa::path(get, path = "/api/v1/trust-sources", params(Paging),
    responses((status = 200, body = Page<TrustSourceView>)))]
pub async fn list(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let wanted = Wanted::read(&request)?;
    let sources = page::<TrustSource, _>(&state.store, &wanted, |source| TrustSourceView::of(source)).await?;
    Ok(HttpResponse::Ok().json(sources))
}

#[utoipa::path(post, path = "/api/v1/trust-sources", request_body = StateTrustSource,
    responses((status = 201, body = TrustSourceView)))]
pub async fn create(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let stated: StateTrustSource = body::read_json(&request, payload).await?;
    let (name, new) = stated.new_trust()?;
    let source =
        state.agents.add_trust_source(&name, new, &caller.name).await.map_err(errors::trust_source)?;
    Ok(HttpResponse::Created().json(TrustSourceView::of(&source)))
}

#[utoipa::path(get, path = "/api/v1/trust-sources/{id}", params(("id" = String, Path)),
    responses((status = 200, body = TrustSourceView)))]
pub async fn show(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let source = state.agents.trust_source(&id(&request)?).await.map_err(errors::store)?;
    let source = source.ok_or_else(|| Problem::not_found("trust source"))?;
    Ok(HttpResponse::Ok().json(TrustSourceView::of(&source)))
}

async fn set(request: &HttpRequest, state: &ApiState, enabled: bool) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(request, state).await?;
    let source = state.agents.set_trust_source(&id(request)?, enabled, &caller.name).await;
    Ok(HttpResponse::Ok().json(TrustSourceView::of(&source.map_err(errors::trust_source)?)))
}

#[utoipa::path(post, path = "/api/v1/trust-sources/{id}/enable", params(("id" = String, Path)),
    responses((status = 200, body = TrustSourceView)))]
pub async fn enable(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    set(&request, &state, true).await
}

#[utoipa::path(post, path = "/api/v1/trust-sources/{id}/disable", params(("id" = String, Path)),
    responses((status = 200, body = TrustSourceView)))]
pub async fn disable(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    set(&request, &state, false).await
}

#[utoipa::path(delete, path = "/api/v1/trust-sources/{id}", params(("id" = String, Path)),
    responses((status = 204, description = "Forgotten. Refused while an agent relies on it.")))]
pub async fn remove(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let removed = state.agents.remove_trust_source(&id(&request)?, &caller.name).await;
    removed.map_err(errors::trust_source)?;
    Ok(HttpResponse::NoContent().finish())
}
