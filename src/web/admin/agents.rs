//! `/admin/agents`.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::agents::{AgentChange, AgentError, NewAgent};
use crate::kernel::ids::{AgentId, ProviderSlug};
use crate::kernel::scope::{Scope, ScopeSet};
use crate::kernel::secret::SecretString;
use crate::model::agent::{Agent, AgentKind, AgentState, Entry};
use crate::model::stop::StopTarget;
use crate::providers::template::Access;
use crate::web::admin::notice;
use crate::web::failure::Failure;
use crate::web::forms::Form;
use crate::web::lookup::Lookup;
use crate::web::people;
use crate::web::texts::text;
use crate::web::views::admin::agents::{
    AgentNewPage, AgentRow, AgentsPage, CeilingChoices, SecretPage, kinds,
};
use crate::web::views::consent::ScopeRow;
use crate::web::views::{Section, Shown};
use crate::web::visit::{Visit, answer, answer_with, go};

/// How many are on one page.
const PART: usize = 50;

/// `GET /admin/agents`.
pub async fn list(visit: Visit) -> Result<HttpResponse, Failure> {
    visit.auditor()?;
    let page = visit.admin_page(Section::Agents);
    let mut lookup = Lookup::new(&visit.state, &page);
    let mut agents = Vec::new();
    let after = visit.query("after").and_then(|after| after.parse::<AgentId>().ok());
    let mut all = visit.state.agents.list(after.as_ref(), PART).await?;
    let last = all.last().filter(|_| all.len() == PART);
    let next = last.map(|agent| format!("/admin/agents?after={}", agent.id));
    all.sort_by_key(|one| std::cmp::Reverse(one.created_at));
    for agent in &all {
        agents.push(AgentRow::new(page.lang, agent, lookup.owner(&agent.owner).await?));
    }
    answer(&AgentsPage { notice: notice(&visit), agents, next, page })
}

/// `GET /admin/agents/new`.
pub async fn form(visit: Visit) -> Result<HttpResponse, Failure> {
    visit.admin()?;
    new_page(&visit, StatusCode::OK, None, None).await
}

/// `POST /admin/agents`.
pub async fn create(visit: Visit, payload: web::Payload) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let fields = ["name", "purpose", "kind", "owner", "audiences"];
    let form = visit.form(payload, "admin.agent.new", &fields, &["ceiling"]).await?;
    let Some(owner) = people::owner(&visit.state.store, form.text("owner")).await? else {
        let problem = visit.page.t("admin.owner_unknown").to_owned();
        return new_page(&visit, StatusCode::BAD_REQUEST, Some(problem), Some(&form)).await;
    };
    let kind = match form.get("kind") {
        Some("personal") => AgentKind::Personal,
        Some("assistant") => AgentKind::Assistant,
        Some("autonomous") => AgentKind::Autonomous,
        _ => return Err(Failure::BadRequest),
    };
    let ceiling = ceiling(&form)?;
    let new = NewAgent {
        kind,
        name: form.text("name").to_owned(),
        purpose: form.text("purpose").to_owned(),
        owner,
        default_scopes: only_looking(&visit, &ceiling).await?,
        ceiling,
        subject_audiences: form.text("audiences").split_whitespace().map(str::to_owned).collect(),
        entry: Entry::default(),
    };
    match visit.state.agents.register(new, &by).await {
        Ok((agent, secret)) => secret_page(&visit, &agent, secret, "admin.secret_title"),
        Err(error @ (AgentError::Invalid { .. } | AgentError::UnknownOwner(_))) => {
            let problem = Some(error.to_string());
            new_page(&visit, StatusCode::BAD_REQUEST, problem, Some(&form)).await
        }
        Err(error) => Err(agent_failure(&error)),
    }
}

/// `POST /admin/agents/{id}/{suspend,resume,retire,rotate}`.
pub async fn change(
    visit: Visit,
    path: web::Path<(String, String)>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let (id, change) = path.into_inner();
    visit.form(payload, "admin.agent", &[], &[]).await?;
    let id: AgentId = id.parse().map_err(|_| Failure::NotFound)?;
    let agents = &visit.state.agents;
    let (change, done) = match change.as_str() {
        "suspend" => (AgentChange::Suspend, "suspended"),
        "resume" => (AgentChange::Resume, "resumed"),
        "retire" => (AgentChange::Retire, "retired"),
        "rotate" => {
            let agent = agents.get(&id).await?.ok_or(Failure::NotFound)?;
            let secret = agents.rotate_secret(&id, &by).await.map_err(|error| agent_failure(&error))?;
            return secret_page(&visit, &agent, secret, "admin.secret_rotated");
        }
        _ => return Err(Failure::NotFound),
    };
    let agent = agents.set_state(&id, change, &by).await.map_err(|error| agent_failure(&error))?;
    if agent.state != AgentState::Active {
        visit.state.kill_switch.revoke_tokens_under(StopTarget::Agent(agent.id));
    }
    Ok(go(&format!("/admin/agents?done={done}")))
}

fn agent_failure(error: &AgentError) -> Failure {
    match error {
        AgentError::NotFound(_) | AgentError::NoTrustSource(_) => Failure::NotFound,
        AgentError::Retired(_) => Failure::Conflict,
        AgentError::UnknownOwner(_) | AgentError::Invalid { .. } => Failure::BadRequest,
        AgentError::Store(_) | AgentError::Audit(_) => Failure::unavailable(error),
    }
}

fn ceiling(form: &Form) -> Result<BTreeMap<ProviderSlug, ScopeSet>, Failure> {
    let mut ceiling: BTreeMap<ProviderSlug, ScopeSet> = BTreeMap::new();
    for value in form.all("ceiling") {
        let (provider, scope) = value.split_once(' ').ok_or(Failure::BadRequest)?;
        let provider: ProviderSlug = provider.parse().map_err(|_| Failure::BadRequest)?;
        let scope: Scope = scope.parse().map_err(|_| Failure::BadRequest)?;
        ceiling.entry(provider).or_default().insert(scope);
    }
    Ok(ceiling)
}

/// What an agent asks for when it names no scope: of its ceiling, what only looks.
async fn only_looking(
    visit: &Visit,
    ceiling: &BTreeMap<ProviderSlug, ScopeSet>,
) -> Result<BTreeMap<ProviderSlug, ScopeSet>, Failure> {
    let mut lookup = Lookup::new(&visit.state, &visit.page);
    let mut defaults = BTreeMap::new();
    for (provider, scopes) in ceiling {
        let Some(loaded) = lookup.template(provider).await? else { continue };
        let looks = |scope: &&Scope| {
            loaded.template.scope_entry(scope).is_some_and(|entry| entry.access == Access::Read)
        };
        let looking: ScopeSet = scopes.iter().filter(looks).cloned().collect();
        if !looking.is_empty() {
            defaults.insert(provider.clone(), looking);
        }
    }
    Ok(defaults)
}

async fn new_page(
    visit: &Visit,
    status: StatusCode,
    problem: Option<String>,
    form: Option<&Form>,
) -> Result<HttpResponse, Failure> {
    let page = visit.admin_page(Section::Agents);
    let typed = |name: &str| Shown::name(form.map(|form| form.text(name)).unwrap_or_default());
    let mut lookup = Lookup::new(&visit.state, &page);
    let mut providers = Vec::new();
    for provider in visit.state.connections.providers().await? {
        let Some(loaded) = lookup.template(&provider.slug).await? else { continue };
        let row = |entry| {
            let mut row = ScopeRow::new(page.lang, entry);
            let value = format!("{} {}", provider.slug, row.name);
            row.ticked = form.is_some_and(|form| form.all("ceiling").any(|ticked| ticked == value));
            row
        };
        let entries = loaded.template.scope.iter().filter(|entry| !entry.bookkeeping);
        providers.push(CeilingChoices {
            slug: provider.slug.to_string(),
            name: Shown::name(loaded.template.name.get(page.lang)),
            scopes: entries.map(row).collect(),
        });
    }
    let kind = form.and_then(|form| form.get("kind")).unwrap_or("personal");
    let new = AgentNewPage {
        problem,
        name: typed("name"),
        purpose: typed("purpose"),
        owner: typed("owner"),
        audiences: typed("audiences"),
        kinds: kinds(page.lang, kind),
        providers,
        page,
    };
    answer_with(status, &new)
}

fn secret_page(
    visit: &Visit,
    agent: &Agent,
    secret: SecretString,
    title: &str,
) -> Result<HttpResponse, Failure> {
    let page = visit.admin_page(Section::Agents);
    answer(&SecretPage {
        title: page.t(title).to_owned(),
        facts: vec![
            (text(page.lang, "admin.name"), Shown::name(&agent.name)),
            (text(page.lang, "admin.client_id"), Shown::name(agent.id.as_str())),
        ],
        label: text(page.lang, "admin.secret_label"),
        secret,
        back: "/admin/agents",
        page,
    })
}
