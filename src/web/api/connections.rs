//! `/api/v1/connections`, `/grants` and `/interactions`.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::connections::LiveToken;
use crate::model::connection::Connection;
use crate::model::grant::Grant;
use crate::model::interaction::Interaction;
use crate::model::limit::Limit;
use crate::server::problem::Problem;
use crate::web::api::list::{Page, Paging, Wanted, page};
use crate::web::api::{ApiState, auth, errors};

/// A connection, without its tokens.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionView {
    id: String,
    user: String,
    provider: String,
    account: String,
    scopes: String,
    #[schema(value_type = Object)]
    state: serde_json::Value,
    is_default: bool,
    created_at: String,
    refreshed_at: String,
    /// Counts the token sets that were stored.
    generation: u64,
    failures: u32,
}

impl ConnectionView {
    /// A connection as it is shown.
    pub fn of(connection: &Connection) -> Self {
        Self {
            id: connection.id.to_string(),
            user: connection.user.to_string(),
            provider: connection.provider.to_string(),
            account: connection.account.label.clone(),
            scopes: connection.scopes.to_string(),
            state: serde_json::json!(connection.state),
            is_default: connection.is_default,
            created_at: connection.created_at.rfc3339(),
            refreshed_at: connection.refreshed_at.rfc3339(),
            generation: connection.generation,
            failures: connection.backoff.failures,
        }
    }
}

/// A grant.
#[derive(Debug, Serialize, ToSchema)]
pub struct GrantView {
    id: String,
    user: String,
    agent: String,
    connection: String,
    provider: String,
    scopes: String,
    expires_at: String,
    /// The scopes that end before the grant does, and when.
    scope_ends: BTreeMap<String, String>,
    /// What it is bound to beyond scopes, as RFC 9396 details.
    #[schema(value_type = Vec<Object>)]
    limits: Vec<Limit>,
    reason: Option<String>,
    task: Option<String>,
    #[schema(value_type = Object)]
    state: serde_json::Value,
    created_at: String,
}

impl GrantView {
    fn of(grant: &Grant) -> Self {
        Self {
            id: grant.id.to_string(),
            user: grant.user.to_string(),
            agent: grant.agent.to_string(),
            connection: grant.connection.to_string(),
            provider: grant.provider.to_string(),
            scopes: grant.scopes.to_string(),
            expires_at: grant.expires_at.rfc3339(),
            scope_ends: grant.ends.iter().map(|(scope, end)| (scope.to_string(), end.rfc3339())).collect(),
            limits: grant.limits.clone(),
            reason: grant.reason.clone(),
            task: grant.task.clone(),
            state: serde_json::json!(grant.state),
            created_at: grant.created_at.rfc3339(),
        }
    }
}

/// A revoked grant, and the provider tokens under it that only their end can stop.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevokedView {
    grant: GrantView,
    still_alive: Vec<LiveTokenView>,
}

/// A provider token that was handed out and could not be revoked.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveTokenView {
    scopes: String,
    expires_at: String,
}

impl LiveTokenView {
    /// A token as it is shown.
    pub fn of(token: &LiveToken) -> Self {
        Self { scopes: token.scopes.to_string(), expires_at: token.expires_at.rfc3339() }
    }
}

/// An interaction.
#[derive(Debug, Serialize, ToSchema)]
pub struct InteractionView {
    id: String,
    agent: String,
    user: String,
    provider: String,
    scopes: String,
    binding_message: Option<String>,
    task: Option<String>,
    /// `pending`, `at_provider`, `choosing`, `granted` or `refused`.
    state: String,
    created_at: String,
    expires_at: String,
}

impl InteractionView {
    fn of(interaction: &Interaction) -> Self {
        use crate::model::interaction::InteractionState::{AtProvider, Choosing, Granted, Pending, Refused};
        let state = match &interaction.state {
            Pending => "pending",
            AtProvider { .. } => "at_provider",
            Choosing { .. } => "choosing",
            Granted { .. } => "granted",
            Refused { .. } => "refused",
        };
        Self {
            id: interaction.id.to_string(),
            agent: interaction.question.agent.to_string(),
            user: interaction.question.user.to_string(),
            provider: interaction.question.provider.to_string(),
            scopes: interaction.question.scopes.to_string(),
            binding_message: interaction.binding_message.clone(),
            task: interaction.task.clone(),
            state: state.to_owned(),
            created_at: interaction.created_at.rfc3339(),
            expires_at: interaction.expires_at.rfc3339(),
        }
    }
}

#[utoipa::path(get, path = "/api/v1/connections", params(Paging), responses((status = 200, body = Page<ConnectionView>)))]
pub async fn connections(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let wanted = Wanted::read(&request)?;
    let found = page::<Connection, _>(&state.store, &wanted, |record| ConnectionView::of(record)).await?;
    Ok(HttpResponse::Ok().json(found))
}

#[utoipa::path(get, path = "/api/v1/grants", params(Paging), responses((status = 200, body = Page<GrantView>)))]
pub async fn grants(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let wanted = Wanted::read(&request)?;
    let found = page::<Grant, _>(&state.store, &wanted, |record| GrantView::of(record)).await?;
    Ok(HttpResponse::Ok().json(found))
}

#[utoipa::path(post, path = "/api/v1/grants/{id}/revoke", params(("id" = String, Path)),
    responses((status = 200, body = RevokedView)))]
pub async fn revoke_grant(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    let by = auth::admin(&request, &state).await?;
    let id = request.match_info().query("id").parse().map_err(|_| Problem::not_found("grant"))?;
    let revoked = state.connections.revoke_as_admin(&id, &by.name).await.map_err(errors::grant)?;
    Ok(HttpResponse::Ok().json(RevokedView {
        grant: GrantView::of(&revoked.grant),
        still_alive: revoked.still_alive.iter().map(LiveTokenView::of).collect(),
    }))
}

#[utoipa::path(get, path = "/api/v1/interactions", params(Paging), responses((status = 200, body = Page<InteractionView>)))]
pub async fn interactions(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let wanted = Wanted::read(&request)?;
    let found = page::<Interaction, _>(&state.store, &wanted, |record| InteractionView::of(record)).await?;
    Ok(HttpResponse::Ok().json(found))
}
