//! `/admin/stops`: the kill switch.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::kernel::ids::StopId;
use crate::model::stop::{Stop, StopTarget};
use crate::model::user::User;
use crate::policy::StopError;
use crate::web::admin::notice;
use crate::web::failure::Failure;
use crate::web::lookup::Lookup;
use crate::web::texts::text;
use crate::web::views::admin::stops::{StopChoice, StopGroup, StopRow, StopsPage};
use crate::web::views::{Page, Section, Shown};
use crate::web::visit::{Visit, answer_with, go};

/// How many of each kind can be picked from; others are for the API and the command line.
const MOST: usize = 200;

/// `GET /admin/stops`.
pub async fn list(visit: Visit) -> Result<HttpResponse, Failure> {
    visit.auditor()?;
    show(&visit, StatusCode::OK, None).await
}

/// `POST /admin/stops`.
pub async fn set(visit: Visit, payload: web::Payload) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let form = visit.form(payload, "admin.stop", &["target", "reason"], &[]).await?;
    let target = target(form.text("target")).ok_or(Failure::BadRequest)?;
    match visit.state.kill_switch.stop(target, form.text("reason"), &by).await {
        Ok(_) => Ok(go("/admin/stops?done=stopped")),
        Err(StopError::NoReason) => {
            let problem = visit.page.t("admin.reason_missing").to_owned();
            show(&visit, StatusCode::BAD_REQUEST, Some(problem)).await
        }
        Err(error) => Err(stop_failure(&error)),
    }
}

/// `POST /admin/stops/{id}/resume`.
pub async fn resume(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    visit.form(payload, "admin.stop", &[], &[]).await?;
    let id: StopId = id.parse().map_err(|_| Failure::NotFound)?;
    match visit.state.kill_switch.resume(&id, &by).await {
        Ok(_) => Ok(go("/admin/stops?done=lifted")),
        Err(error) => Err(stop_failure(&error)),
    }
}

fn stop_failure(error: &StopError) -> Failure {
    match error {
        StopError::NoReason => Failure::BadRequest,
        StopError::NotFound | StopError::NoTarget(_) => Failure::NotFound,
        StopError::Audit(_) | StopError::Store(_) => Failure::unavailable(error),
    }
}

fn target(text: &str) -> Option<StopTarget> {
    match text.split_once(':') {
        None if text == "all" => Some(StopTarget::All),
        Some(("agent", id)) => id.parse().ok().map(StopTarget::Agent),
        Some(("provider", slug)) => slug.parse().ok().map(StopTarget::Provider),
        Some(("user", id)) => id.parse().ok().map(StopTarget::User),
        _ => None,
    }
}

async fn show(visit: &Visit, status: StatusCode, problem: Option<String>) -> Result<HttpResponse, Failure> {
    let page = visit.admin_page(Section::Stops);
    let mut lookup = Lookup::new(&visit.state, &page);
    let mut stops = Vec::new();
    for stop in visit.state.kill_switch.active().await? {
        stops.push(row(&page, &mut lookup, &stop).await?);
    }
    let targets = targets(visit, &page, &mut lookup).await?;
    answer_with(status, &StopsPage { notice: notice(visit), problem, stops, targets, page })
}

async fn row(page: &Page, lookup: &mut Lookup<'_>, stop: &Stop) -> Result<StopRow, Failure> {
    let (kind, target) = match &stop.target {
        StopTarget::All => ("admin.stop_all", Shown::default()),
        StopTarget::Agent(id) => ("admin.stop_agent", lookup.agent_name(id).await?),
        StopTarget::Provider(slug) => ("admin.stop_provider", lookup.provider(slug).await?),
        StopTarget::User(id) => ("admin.stop_user", lookup.user_label(id).await?),
    };
    Ok(StopRow {
        id: stop.id.to_string(),
        kind: text(page.lang, kind),
        target,
        reason: Shown::sentence(&stop.reason),
        at: page.when(stop.at),
    })
}

async fn targets(visit: &Visit, page: &Page, lookup: &mut Lookup<'_>) -> Result<Vec<StopGroup>, Failure> {
    let state = &visit.state;
    let choice = |kind: &str, id: &str, title| StopChoice { value: format!("{kind}:{id}"), title };
    let agents = state.agents.list(None, MOST).await?;
    let agents =
        agents.iter().map(|agent| choice("agent", agent.id.as_str(), Shown::name(&agent.name))).collect();
    let mut providers = Vec::new();
    for provider in state.connections.providers().await? {
        let slug = &provider.slug;
        providers.push(choice("provider", slug.as_str(), lookup.provider(slug).await?));
    }
    let users = state.store.page::<User>(None, MOST).await?;
    let label = |user: &User| Shown::name(user.email.as_deref().unwrap_or(&user.name));
    let users = users.iter().map(|user| choice("user", user.id.as_str(), label(user))).collect();
    let group = |key, targets| StopGroup { title: text(page.lang, key), targets };
    Ok(vec![group("admin.agents", agents), group("admin.providers", providers), group("admin.users", users)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listed_targets_are_understood() {
        assert_eq!(target("all"), Some(StopTarget::All));
        assert!(matches!(target("provider:okta-2"), Some(StopTarget::Provider(_))));
        for text in ["", "agent:", "agent:usr_1", "user:alice", "everything", "all:all", "provider:../x"] {
            assert_eq!(target(text), None, "{text}");
        }
    }
}
