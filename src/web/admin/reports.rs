//! `/admin/agents/{id}` and `/admin/users/{id}`: what can still be done, and the person's departure.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::agents::{AgentError, Owners};
use crate::kernel::ids::{AgentId, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::agent::{Agent, Entry};
use crate::model::audience::People;
use crate::model::user::UserState;
use crate::policy::{GrantLine, LeftLine, ReachLine};
use crate::web::admin::agents::agent_failure;
use crate::web::admin::{credentials, notice};
use crate::web::failure::Failure;
use crate::web::lookup::Lookup;
use crate::web::people;
use crate::web::texts::{self, text};
use crate::web::views::admin::agents::AgentRow;
use crate::web::views::admin::reports::{AgentPage, ChangeRow, GrantRow, LeftRow, ReachRow, UserPage};
use crate::web::views::limits::sentences;
use crate::web::views::{Page, Section, Shown, Tone};
use crate::web::visit::{Visit, answer, answer_with, go};

/// `GET /admin/agents/{id}`.
pub async fn agent(visit: Visit, id: web::Path<String>) -> Result<HttpResponse, Failure> {
    visit.auditor()?;
    let id: AgentId = id.parse().map_err(|_| Failure::NotFound)?;
    agent_page(&visit, &id, StatusCode::OK, None).await
}

/// `POST /admin/agents/{id}/hand-over`.
pub async fn hand_over(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let form = visit.form(payload, "admin.agent", &["owner"], &[]).await?;
    let id: AgentId = id.parse().map_err(|_| Failure::NotFound)?;
    let Some(owner) = people::owner(&visit.state.store, form.text("owner")).await? else {
        let problem = visit.page.t("admin.owner_unknown").to_owned();
        return agent_page(&visit, &id, StatusCode::BAD_REQUEST, Some(problem)).await;
    };
    match visit.state.agents.hand_over(&id, &owner, &by).await {
        Ok(_) => Ok(go(&format!("/admin/agents/{id}?done=handed_over"))),
        Err(error @ (AgentError::Invalid { .. } | AgentError::UnknownOwner(_))) => {
            agent_page(&visit, &id, StatusCode::BAD_REQUEST, Some(error.to_string())).await
        }
        Err(error) => Err(agent_failure(&error)),
    }
}

/// The page of an agent; `problem`: what was wrong with a form on it.
///
/// # Errors
/// When there is no such agent, or the store cannot be read.
pub(super) async fn agent_page(
    visit: &Visit,
    id: &AgentId,
    status: StatusCode,
    problem: Option<String>,
) -> Result<HttpResponse, Failure> {
    let page = visit.admin_page(Section::Agents);
    let report = visit.state.reports.of_agent(id).await?.ok_or(Failure::NotFound)?;
    let flags = visit.state.agents.flags(&report.agent, &mut Owners::default()).await?;
    let mut lookup = Lookup::new(&visit.state, &page);
    let owner = lookup.owner(&report.agent.owner).await?;
    let mut grants = Vec::new();
    for line in &report.grants {
        let other = lookup.user_label(&line.grant.user).await?;
        grants.push(grant_row(&page, &mut lookup, line, other).await?);
    }
    let mut left = Vec::new();
    for line in &report.left {
        let other = match &line.user {
            Some(user) => lookup.user_label(user).await?,
            None => Shown::name(page.t("admin.itself")),
        };
        left.push(left_row(&page, line, other));
    }
    let history = visit.state.agents.history(id).await?;
    let history = history
        .into_iter()
        .map(|change| ChangeRow {
            words: texts::find(page.lang, &format!("event.{}", change.action))
                .map_or(change.action, str::to_owned),
            by: Shown::name(&change.by),
            at: page.when(change.at),
            changes: change.changes.iter().map(|one| Shown::sentence(one)).collect(),
        })
        .collect();
    answer_with(
        status,
        &AgentPage {
            notice: notice(visit),
            problem,
            facts: facts(&page, &report.agent),
            agent: AgentRow::new(page.lang, &report.agent, owner, &flags),
            refused: report.refused.as_deref().map(|words| refusal(&page, words)),
            credentials: credentials::of(visit, &page, &report.agent).await?,
            grants,
            reach: report.reach.iter().map(|line| reach_row(line, &for_whom(&page, line))).collect(),
            left,
            history,
            page,
        },
    )
}

fn for_whom(page: &Page, line: &ReachLine) -> String {
    match &line.people {
        Some(People::Groups(groups)) => groups.join(", "),
        Some(People::Users(users)) => page.f1("admin.so_many_people", users.len()),
        Some(People::Itself) => page.t("admin.itself").to_owned(),
        Some(People::Everyone) | None => page.t("admin.everyone").to_owned(),
    }
}

/// What the register holds of an agent, where it holds anything.
fn facts(page: &Page, agent: &Agent) -> Vec<(&'static str, Shown)> {
    let Entry { platform, environment, labels, data_classes, people, expires_at, review_at, .. } =
        &agent.entry;
    let list =
        |items: &std::collections::BTreeSet<String>| items.iter().cloned().collect::<Vec<_>>().join(", ");
    let people = people.as_ref().map(|people| {
        let named = (!people.users.is_empty()).then(|| page.f1("admin.so_many_people", people.users.len()));
        people.groups.iter().cloned().chain(named).collect::<Vec<_>>().join(", ")
    });
    let facts = [
        ("admin.platform", platform.clone()),
        ("admin.environment", environment.clone()),
        ("admin.labels", Some(list(labels)).filter(|text| !text.is_empty())),
        ("admin.data_classes", Some(list(data_classes)).filter(|text| !text.is_empty())),
        ("admin.serves", people),
        ("admin.expires_at", expires_at.map(|at| at.rfc3339())),
        ("admin.review_at", review_at.map(|at| at.rfc3339())),
    ];
    let shown =
        facts.into_iter().filter_map(|(key, value)| Some((text(page.lang, key), Shown::name(&value?))));
    bounds(page, agent).into_iter().chain(shown).collect()
}

/// What it cannot reach beyond, whatever anybody grants it.
fn bounds(page: &Page, agent: &Agent) -> Vec<(&'static str, Shown)> {
    let Entry { audiences, limits, .. } = &agent.entry;
    let row = |key, words: String| (text(page.lang, key), Shown::whole(&words));
    let at = |key, at: &str, scopes: &ScopeSet| row(key, format!("{at}: {scopes}"));
    let ceiling = agent.ceiling.iter().map(|(slug, scopes)| at("admin.ceiling", slug.as_str(), scopes));
    let defaults =
        agent.default_scopes.iter().map(|(slug, scopes)| at("admin.default_scopes", slug.as_str(), scopes));
    let mut bounds: Vec<_> = ceiling.chain(defaults).collect();
    if let Some(audiences) = audiences {
        if audiences.is_empty() {
            bounds.push(row("admin.audience_ceiling", page.t("admin.audience_ceiling_none").to_owned()));
        }
        let each = audiences.iter().map(|(named, scopes)| at("admin.audience_ceiling", named, scopes));
        bounds.extend(each);
    }
    for (slug, limits) in limits {
        let said = sentences(page.lang, page.utc_offset, limits);
        bounds.extend(said.into_iter().map(|one| row("admin.agent_limits", format!("{slug}: {one}"))));
    }
    bounds
}

async fn grant_row(
    page: &Page,
    lookup: &mut Lookup<'_>,
    line: &GrantLine,
    other: Shown,
) -> Result<GrantRow, Failure> {
    Ok(GrantRow {
        id: line.grant.id.to_string(),
        other,
        provider: lookup.provider(&line.grant.provider).await?,
        scopes: line.grant.scopes.to_string(),
        ends: page.when(line.grant.expires_at),
        holds: line.holds,
        refused: line.refused.as_deref().map(|words| refusal(page, words)),
        tokens: line
            .tokens
            .iter()
            .map(|token| (token.scopes.to_string(), page.when(token.expires_at)))
            .collect(),
    })
}

fn refusal(page: &Page, words: &str) -> Shown {
    Shown::sentence(&texts::reason(page.lang, words))
}

fn reach_row(line: &ReachLine, other: &str) -> ReachRow {
    ReachRow {
        identifier: Shown::name(&line.identifier),
        other: Shown::name(other),
        scopes: line.scopes.to_string(),
        life_s: line.token_life_s,
    }
}

fn left_row(page: &Page, line: &LeftLine, other: Shown) -> LeftRow {
    LeftRow { identifier: Shown::name(&line.identifier), other, ends: page.when(line.end_by) }
}

/// `GET /admin/users/{id}`.
pub async fn user(visit: Visit, id: web::Path<String>) -> Result<HttpResponse, Failure> {
    visit.auditor()?;
    let id: UserId = id.parse().map_err(|_| Failure::NotFound)?;
    let page = visit.admin_page(Section::Users);
    let report = visit.state.reports.of_person(&id).await?.ok_or(Failure::NotFound)?;
    let mut lookup = Lookup::new(&visit.state, &page);
    let (mut grants, mut accounts) = (Vec::new(), Vec::new());
    for line in &report.grants {
        grants.push(grant_row(&page, &mut lookup, line, Shown::name(&line.agent)).await?);
    }
    for connection in &report.connections {
        let provider = lookup.provider(&connection.provider).await?;
        accounts.push((Shown::name(&connection.account.label), provider));
    }
    let user = &report.user;
    let (state, tone) = match user.state {
        UserState::Active => ("state.active", Tone::Good),
        UserState::Disabled => ("state.disabled", Tone::Bad),
    };
    let facts = [
        ("admin.department", user.department.clone()),
        ("admin.groups", Some(user.groups.join(", ")).filter(|text| !text.is_empty())),
        ("admin.directory_name", user.lifecycle.directory.as_ref().map(|entry| entry.user_name.clone())),
        ("admin.sessions", Some(report.sessions.to_string())),
        ("admin.questions", Some(report.questions.to_string())),
    ];
    let facts =
        facts.into_iter().filter_map(|(key, value)| Some((text(page.lang, key), Shown::name(&value?))));
    answer(&UserPage {
        notice: notice(&visit),
        id: user.id.to_string(),
        name: Shown::name(&user.name),
        email: Shown::name(user.email.as_deref().unwrap_or(page.t("admin.no_email"))),
        state: text(page.lang, state),
        tone,
        is_active: user.state == UserState::Active,
        facts: facts.collect(),
        grants,
        accounts,
        reach: report.reach.iter().map(|line| reach_row(line, &line.agent_name)).collect(),
        left: report.left.iter().map(|line| left_row(&page, line, Shown::name(&line.agent_name))).collect(),
        agents: report.agents.iter().map(|agent| (agent.id.to_string(), Shown::name(&agent.name))).collect(),
        page,
    })
}

/// `POST /admin/users/{id}/{depart,sign-out,restore}`.
pub async fn change_user(
    visit: Visit,
    path: web::Path<(String, String)>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    visit.form(payload, "admin.user", &[], &[]).await?;
    let (id, change) = path.into_inner();
    let id: UserId = id.parse().map_err(|_| Failure::NotFound)?;
    let departures = &visit.state.departures;
    let (done, changed) = match change.as_str() {
        "depart" => ("departed", departures.depart(&id, &by).await.map(|_| ())),
        "sign-out" => ("signed_out_all", departures.sign_out(&id, &by).await.map(|_| ())),
        "restore" => ("restored", departures.restore(&id, &by).await.map(|_| ())),
        _ => return Err(Failure::NotFound),
    };
    changed.map_err(|error| match error {
        crate::policy::DepartureError::NotFound => Failure::NotFound,
        other => Failure::unavailable(&other),
    })?;
    Ok(go(&format!("/admin/users/{id}?done={done}")))
}
