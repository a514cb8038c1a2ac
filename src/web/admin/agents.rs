//! `/admin/agents`.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use url::form_urlencoded;

use crate::agents::{AgentChange, AgentError, Flagged, NewAgent, Search};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, ProviderSlug};
use crate::kernel::scope::{Scope, ScopeSet};
use crate::kernel::secret::SecretString;
use crate::model::agent::{Agent, AgentKind, AgentState, Circle, Entry};
use crate::model::stop::StopTarget;
use crate::providers::template::Access;
use crate::web::admin::notice;
use crate::web::failure::Failure;
use crate::web::forms::Form;
use crate::web::lookup::Lookup;
use crate::web::people;
use crate::web::views::admin::agents::{
    AgentNewPage, AgentRow, AgentsPage, CeilingChoices, FURTHER, SearchForm, SecretPage, choices, kinds,
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
    let after = visit.query("after").and_then(|after| after.parse::<AgentId>().ok());
    let typed = |name: &str| visit.query(name).filter(|text| !text.is_empty() && text.len() <= 200);
    let (q, kind, state, label) = (typed("q"), typed("kind"), typed("state"), typed("label"));
    let (answers, data_class) = (typed("owner"), typed("data_class"));
    let owner = match &answers {
        Some(text) => people::owner(&visit.state.store, text).await?,
        None => None,
    };
    // Whoever is not known answers for none: not for all.
    let is_nobody = answers.is_some() && owner.is_none();
    let flagged = typed("flagged").and_then(|text| Flagged::parse(&text));
    // A word that is none of the vocabulary's is not looked for: only a script can have sent it.
    let search = Search {
        text: q.clone(),
        kind: kind.as_deref().and_then(|kind| serde_json::from_value(kind.into()).ok()),
        state: state.as_deref().and_then(|state| serde_json::from_value(state.into()).ok()),
        label: label.clone(),
        owner,
        data_class: data_class.clone(),
        flagged,
    };
    let (mut found, next) = if is_nobody {
        (Vec::new(), None)
    } else {
        visit.state.agents.search(&search, after.as_ref(), PART).await?
    };
    found.sort_by_key(|one| std::cmp::Reverse(one.agent.created_at));
    let mut agents = Vec::new();
    for one in &found {
        let owner = lookup.owner(&one.agent.owner).await?;
        agents.push(AgentRow::new(page.lang, &one.agent, owner, &one.flags));
    }
    let chosen = [
        ("q", &q),
        ("kind", &kind),
        ("state", &state),
        ("label", &label),
        ("owner", &answers),
        ("data_class", &data_class),
    ];
    let mut address = form_urlencoded::Serializer::new(String::new());
    for (name, value) in chosen {
        if let Some(value) = value {
            address.append_pair(name, value);
        }
    }
    if flagged.is_some() {
        address.append_pair("flagged", "true");
    }
    let next = next.map(|id| format!("/admin/agents?{}", address.append_pair("after", id.as_str()).finish()));
    let search = SearchForm {
        kinds: choices(page.lang, "kind", &["personal", "assistant", "autonomous"], kind.as_deref()),
        states: choices(page.lang, "state", &["active", "suspended", "retired"], state.as_deref()),
        q: Shown::name(q.as_deref().unwrap_or_default()),
        label: Shown::name(label.as_deref().unwrap_or_default()),
        owner: Shown::name(answers.as_deref().unwrap_or_default()),
        data_class: Shown::name(data_class.as_deref().unwrap_or_default()),
        flagged: flagged.is_some(),
        is_used: flagged.is_some() || chosen.iter().any(|(_, value)| value.is_some()),
    };
    answer(&AgentsPage { notice: notice(&visit), agents, search, next, page })
}

/// `GET /admin/agents/new`.
pub async fn form(visit: Visit) -> Result<HttpResponse, Failure> {
    visit.admin()?;
    new_page(&visit, StatusCode::OK, None, None).await
}

/// `POST /admin/agents`.
pub async fn create(visit: Visit, payload: web::Payload) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let fields = [
        "name",
        "purpose",
        "kind",
        "owner",
        "audiences",
        "platform",
        "environment",
        "labels",
        "data_classes",
        "groups",
        "expires_at",
        "review_at",
        "sender_constrained",
    ];
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
    let Some(entry) = entry(&form) else {
        let problem = visit.page.t("admin.date_unclear").to_owned();
        return new_page(&visit, StatusCode::BAD_REQUEST, Some(problem), Some(&form)).await;
    };
    let new = NewAgent {
        kind,
        name: form.text("name").to_owned(),
        purpose: form.text("purpose").to_owned(),
        owner,
        default_scopes: only_looking(&visit, &ceiling).await?,
        ceiling,
        subject_audiences: form.text("audiences").split_whitespace().map(str::to_owned).collect(),
        sign_in: None,
        entry,
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

pub(super) fn agent_failure(error: &AgentError) -> Failure {
    match error {
        AgentError::NotFound(_) | AgentError::NoTrustSource(_) => Failure::NotFound,
        AgentError::Retired(_) | AgentError::Changed => Failure::Conflict,
        AgentError::UnknownOwner(_) | AgentError::Invalid { .. } => Failure::BadRequest,
        AgentError::Store(_) | AgentError::Audit(_) => Failure::unavailable(error),
    }
}

/// What else was typed; nothing when a date cannot be read.
fn entry(form: &Form) -> Option<Entry> {
    let word = |name: &str| Some(form.text(name).to_owned()).filter(|text| !text.is_empty());
    let words = |name: &str| -> BTreeSet<String> {
        let words = form.text(name).split(',').map(str::trim);
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let date = |name: &str| match word(name) {
        None => Some(None),
        Some(text) => Timestamp::parse(&text).map(Some),
    };
    let groups = words("groups");
    Some(Entry {
        platform: word("platform"),
        environment: word("environment"),
        labels: words("labels"),
        data_classes: words("data_classes"),
        people: (!groups.is_empty()).then(|| Circle { groups, ..Circle::default() }),
        expires_at: date("expires_at")?,
        review_at: date("review_at")?,
        sender_constrained: form.text("sender_constrained") == "yes",
        ..Entry::default()
    })
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
        more: FURTHER.map(|(name, _, _)| (name, typed(name))).into(),
        bound: form.is_some_and(|form| form.text("sender_constrained") == "yes"),
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
    let client = (agent.name.as_str(), agent.id.as_str());
    answer(&SecretPage::of_client(page, title, client, secret, "/admin/agents"))
}
