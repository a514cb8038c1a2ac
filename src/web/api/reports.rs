//! `/api/v1/users/{id}/report` and `/api/v1/agents/{id}/report`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::audience::People;
use crate::model::limit::Limit;
use crate::policy::{GrantLine, LeftLine, ReachLine};
use crate::server::problem::Problem;
use crate::web::api::connections::{ConnectionView, LiveTokenView};
use crate::web::api::{ApiState, auth, errors};

/// A grant that holds, or one that has left a token which still works.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportedGrant {
    grant: String,
    user: String,
    agent: String,
    agent_name: String,
    provider: String,
    scopes: String,
    #[schema(value_type = Vec<Object>)]
    limits: Vec<Limit>,
    expires_at: String,
    /// Whether it holds.
    holds: bool,
    /// Why it is of no use at present, although it holds.
    refused: Option<String>,
    /// Provider tokens that have left: only their end, or the provider, can stop them.
    provider_tokens: Vec<LiveTokenView>,
}

impl ReportedGrant {
    fn of(line: &GrantLine) -> Self {
        let grant = &line.grant;
        Self {
            grant: grant.id.to_string(),
            user: grant.user.to_string(),
            agent: grant.agent.to_string(),
            agent_name: line.agent.clone(),
            provider: grant.provider.to_string(),
            scopes: grant.scopes.to_string(),
            limits: grant.limits.clone(),
            expires_at: grant.expires_at.rfc3339(),
            holds: line.holds,
            refused: line.refused.clone(),
            provider_tokens: line.tokens.iter().map(LiveTokenView::of).collect(),
        }
    }
}

/// An internal back end that an agent reaches.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportedAudience {
    audience: String,
    identifier: String,
    agent: String,
    agent_name: String,
    scopes: String,
    /// For whom: in an agent's report.
    #[serde(rename = "for")]
    #[schema(value_type = Option<Object>)]
    people: Option<People>,
    /// A token that has left ends after so many seconds at the latest, whatever is changed here.
    tokens_end_within_s: u64,
}

impl ReportedAudience {
    fn of(line: &ReachLine) -> Self {
        Self {
            audience: line.audience.to_string(),
            identifier: line.identifier.clone(),
            agent: line.agent.to_string(),
            agent_name: line.agent_name.clone(),
            scopes: line.scopes.to_string(),
            people: line.people.clone(),
            tokens_end_within_s: line.token_life_s,
        }
    }
}

/// Delegation JWTs that have left. A back end that checks them by keys alone takes them until they end, whatever
/// is closed here by now; introspection refuses them at once.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportedDelegation {
    audience: String,
    identifier: String,
    agent: String,
    agent_name: String,
    /// For whom; `null`: the agent itself.
    user: Option<String>,
    /// None of them lives longer.
    end_by: String,
}

impl ReportedDelegation {
    pub(super) fn of(line: &LeftLine) -> Self {
        Self {
            audience: line.audience.to_string(),
            identifier: line.identifier.clone(),
            agent: line.agent.to_string(),
            agent_name: line.agent_name.clone(),
            user: line.user.as_ref().map(ToString::to_string),
            end_by: line.end_by.rfc3339(),
        }
    }
}

/// What can still act as a person.
#[derive(Debug, Serialize, ToSchema)]
pub struct PersonReportView {
    user: String,
    /// `active` or `disabled`.
    state: serde_json::Value,
    grants: Vec<ReportedGrant>,
    connections: Vec<ConnectionView>,
    audiences: Vec<ReportedAudience>,
    delegation_tokens: Vec<ReportedDelegation>,
    /// Agents that the person answers for.
    owned_agents: Vec<String>,
    /// Browsers that are signed in.
    sessions: usize,
    /// Questions that the person could still answer.
    open_interactions: usize,
}

/// What an agent can still do.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentReportView {
    agent: String,
    /// `active`, `suspended` or `retired`.
    state: serde_json::Value,
    /// Why everything is refused at present.
    refused: Option<String>,
    grants: Vec<ReportedGrant>,
    audiences: Vec<ReportedAudience>,
    delegation_tokens: Vec<ReportedDelegation>,
}

#[utoipa::path(get, path = "/api/v1/users/{id}/report", params(("id" = String, Path)),
    description = "What can still act as this person.", responses((status = 200, body = PersonReportView)))]
pub async fn of_person(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let missing = || Problem::not_found("user");
    let id = request.match_info().query("id").parse().map_err(|_| missing())?;
    let report = state.reports.of_person(&id).await.map_err(errors::store)?.ok_or_else(missing)?;
    Ok(HttpResponse::Ok().json(PersonReportView {
        user: report.user.id.to_string(),
        state: serde_json::json!(report.user.state),
        grants: report.grants.iter().map(ReportedGrant::of).collect(),
        connections: report.connections.iter().map(|connection| ConnectionView::of(connection)).collect(),
        audiences: report.reach.iter().map(ReportedAudience::of).collect(),
        delegation_tokens: report.left.iter().map(ReportedDelegation::of).collect(),
        owned_agents: report.agents.iter().map(|agent| agent.id.to_string()).collect(),
        sessions: report.sessions,
        open_interactions: report.questions,
    }))
}

#[utoipa::path(get, path = "/api/v1/agents/{id}/report", params(("id" = String, Path)),
    description = "What this agent can still do.", responses((status = 200, body = AgentReportView)))]
pub async fn of_agent(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let missing = || Problem::not_found("agent");
    let id = request.match_info().query("id").parse().map_err(|_| missing())?;
    let report = state.reports.of_agent(&id).await.map_err(errors::store)?.ok_or_else(missing)?;
    Ok(HttpResponse::Ok().json(AgentReportView {
        agent: report.agent.id.to_string(),
        state: serde_json::json!(report.agent.state),
        refused: report.refused,
        grants: report.grants.iter().map(ReportedGrant::of).collect(),
        audiences: report.reach.iter().map(ReportedAudience::of).collect(),
        delegation_tokens: report.left.iter().map(ReportedDelegation::of).collect(),
    }))
}
