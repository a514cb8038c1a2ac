//! Internal back ends on the employee's page: which agents reach which for them, and the switch.

use actix_web::{HttpResponse, web};

use crate::audiences::AudienceError;
use crate::kernel::ids::{AgentId, AudienceId};
use crate::model::agent::AgentKind;
use crate::model::audience::{Audience, AudienceState};
use crate::model::user::User;
use crate::web::failure::Failure;
use crate::web::lookup::Lookup;
use crate::web::views::Shown;
use crate::web::views::home::ServiceCard;
use crate::web::visit::{Visit, go};

/// The back ends that some agent can reach for this person, those that are switched off included.
pub async fn cards(visit: &Visit, lookup: &mut Lookup<'_>, user: &User) -> Result<Vec<ServiceCard>, Failure> {
    let mut cards = Vec::new();
    for audience in visit.state.audiences.all().await? {
        if audience.state != AudienceState::Active {
            continue;
        }
        let agents = reaching(lookup, &audience, user).await?;
        if agents.is_empty() {
            continue;
        }
        let is_off = visit.state.audiences.is_off_for(&user.id, &audience.id).await?;
        cards.push(ServiceCard {
            id: audience.id.to_string(),
            name: Shown::name(&audience.name),
            purpose: Shown::sentence(&audience.purpose),
            agents,
            is_on: !is_off,
        });
    }
    Ok(cards)
}

/// The agents that may act there for this person, each with its scopes.
async fn reaching(
    lookup: &mut Lookup<'_>,
    audience: &Audience,
    user: &User,
) -> Result<Vec<(Shown, String)>, Failure> {
    let mut ids: Vec<&AgentId> = audience.admissions.iter().flat_map(|admission| &admission.agents).collect();
    ids.sort();
    ids.dedup();
    let mut agents = Vec::new();
    for id in ids {
        let admitted = audience.admits(id, Some(user));
        let Some(agent) = lookup.agent(id).await? else { continue };
        let scopes = agent.reach_at(audience, &admitted);
        if scopes.is_empty() {
            continue;
        }
        let acts_for_them = match agent.kind {
            AgentKind::Personal => agent.owner.is(&user.id),
            AgentKind::Assistant => agent.entry.admits(user),
            AgentKind::Autonomous => false,
        };
        if acts_for_them {
            agents.push((Shown::name(&agent.name), scopes.to_string()));
        }
    }
    Ok(agents)
}

/// `POST /services/{id}/off` and `/on`.
pub async fn switch(
    visit: Visit,
    path: web::Path<(String, String)>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let user = visit.employee_id()?;
    visit.form(payload, "service.switch", &[], &[]).await?;
    let (id, wanted) = path.into_inner();
    let id: AudienceId = id.parse().map_err(|_| Failure::NotFound)?;
    let on = match wanted.as_str() {
        "on" => true,
        "off" => false,
        _ => return Err(Failure::NotFound),
    };
    match visit.state.audiences.switch(&user, &id, on).await {
        Ok(()) => Ok(go(if on { "/?done=service_on" } else { "/?done=service_off" })),
        Err(AudienceError::NotFound(_)) => Err(Failure::NotFound),
        Err(error) => Err(Failure::unavailable(&error)),
    }
}
