//! `/admin/agents/{id}/edit`: what the register holds of an agent, but its owner, its state and how it signs in,
//! which are changed on the agent's page.

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::agents::{AgentError, NewAgent};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::AgentId;
use crate::model::agent::{Agent, AgentKind, AgentState, Circle, Entry};
use crate::store::Stored;
use crate::web::admin::agents::agent_failure;
use crate::web::failure::Failure;
use crate::web::forms::Form;
use crate::web::people;
use crate::web::views::admin::agent_edit::{AgentEditPage, AgentFields};
use crate::web::views::{Section, Shown};
use crate::web::visit::{Visit, answer_with, go};

const FIELDS: [&str; 13] = [
    "version",
    "name",
    "purpose",
    "platform",
    "environment",
    "expires_at",
    "review_at",
    "audiences",
    "labels",
    "data_classes",
    "serves",
    "groups",
    "users",
];

/// `GET /admin/agents/{id}/edit`.
pub async fn form(visit: Visit, id: web::Path<String>) -> Result<HttpResponse, Failure> {
    visit.admin()?;
    let agent = found(&visit, &id).await?;
    show(&visit, StatusCode::OK, &agent, Shows::stored(&agent, None))
}

/// `POST /admin/agents/{id}/edit`.
pub async fn save(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let form = visit.form(payload, "admin.agent.edit", &FIELDS, &[]).await?;
    let agent = found(&visit, &id).await?;
    // The version stays what the form was opened with: what was written meanwhile is still not overwritten.
    let version = form.text("version");
    let refuse = |problem| {
        let shown = Shows { version: version.to_owned(), typed: typed(&form), problem: Some(problem) };
        show(&visit, StatusCode::BAD_REQUEST, &agent, shown)
    };
    let entry = match entry(&visit, &form, &agent).await? {
        Ok(entry) => entry,
        Err(problem) => return refuse(problem),
    };
    let change = |stated: NewAgent| NewAgent {
        name: form.text("name").to_owned(),
        purpose: form.text("purpose").to_owned(),
        subject_audiences: lines(&form, "audiences").map(str::to_owned).collect(),
        entry: merged(entry.clone(), stated.entry),
        ..stated
    };
    match visit.state.agents.restate(&agent.id, &by, Some(version), change).await {
        Ok(_) => Ok(go(&format!("/admin/agents/{}?done=edited", agent.id))),
        // What somebody else has written meanwhile is shown, and not overwritten.
        Err(AgentError::Changed) => {
            let agent = found(&visit, &id).await?;
            let problem = visit.page.t("admin.edited_meanwhile").to_owned();
            show(&visit, StatusCode::CONFLICT, &agent, Shows::stored(&agent, Some(problem)))
        }
        Err(error @ AgentError::Invalid { .. }) => refuse(error.to_string()),
        Err(error) => Err(agent_failure(&error)),
    }
}

/// What was typed, over what the form does not have.
fn merged(typed: Entry, stored: Entry) -> Entry {
    let Entry { platform, environment, labels, data_classes, people, expires_at, review_at, .. } = typed;
    Entry { platform, environment, labels, data_classes, people, expires_at, review_at, ..stored }
}

async fn found(visit: &Visit, id: &str) -> Result<Stored<Agent>, Failure> {
    let id: AgentId = id.parse().map_err(|_| Failure::NotFound)?;
    let agent = visit.state.agents.get(&id).await?.ok_or(Failure::NotFound)?;
    if agent.state == AgentState::Retired { Err(Failure::Conflict) } else { Ok(agent) }
}

/// What the form shows.
struct Shows {
    version: String,
    typed: AgentFields,
    problem: Option<String>,
}

impl Shows {
    fn stored(agent: &Stored<Agent>, problem: Option<String>) -> Self {
        Self { version: agent.version(), typed: AgentFields::of(agent), problem }
    }
}

fn show(
    visit: &Visit,
    status: StatusCode,
    agent: &Agent,
    Shows { version, typed, problem }: Shows,
) -> Result<HttpResponse, Failure> {
    let page = AgentEditPage {
        page: visit.admin_page(Section::Agents),
        problem,
        id: agent.id.to_string(),
        name: Shown::name(&agent.name),
        version,
        serves: agent.kind == AgentKind::Assistant,
        typed,
    };
    answer_with(status, &page)
}

fn typed(form: &Form) -> AgentFields {
    let text = |name: &str| form.text(name).to_owned();
    AgentFields {
        name: text("name"),
        purpose: text("purpose"),
        platform: text("platform"),
        environment: text("environment"),
        expires_at: text("expires_at"),
        review_at: text("review_at"),
        audiences: text("audiences"),
        labels: text("labels"),
        data_classes: text("data_classes"),
        users: text("users"),
        groups: text("groups"),
        some: form.text("serves") == "some",
    }
}

fn lines<'f>(form: &'f Form, name: &str) -> impl Iterator<Item = &'f str> {
    form.text(name).lines().map(str::trim).filter(|line| !line.is_empty())
}

/// What was typed; inside: what cannot be taken.
async fn entry(visit: &Visit, form: &Form, agent: &Agent) -> Result<Result<Entry, String>, Failure> {
    let word = |name: &str| Some(form.text(name).to_owned()).filter(|text| !text.is_empty());
    let words = |name: &str| -> BTreeSet<String> { lines(form, name).map(str::to_owned).collect() };
    let date = |name: &str| match word(name) {
        None => Some(None),
        Some(text) => Timestamp::parse(&text).map(Some),
    };
    let (Some(expires_at), Some(review_at)) = (date("expires_at"), date("review_at")) else {
        return Ok(Err(visit.page.t("admin.date_unclear").to_owned()));
    };
    let people = match form.text("serves") {
        "some" => match circle(visit, form, agent).await? {
            Ok(circle) => Some(circle),
            Err(unknown) => return Ok(Err(visit.page.f1("admin.edit_user_unknown", unknown))),
        },
        "everyone" => None,
        // Only an assistant's form asks.
        "" if agent.kind != AgentKind::Assistant => None,
        _ => return Err(Failure::BadRequest),
    };
    Ok(Ok(Entry {
        platform: word("platform"),
        environment: word("environment"),
        labels: words("labels"),
        data_classes: words("data_classes"),
        people,
        expires_at,
        review_at,
        ..Entry::default()
    }))
}

/// The people named; inside: who is not known. Somebody who was named before and is gone since stays named.
async fn circle(visit: &Visit, form: &Form, agent: &Agent) -> Result<Result<Circle, String>, Failure> {
    let before = agent.entry.people.as_ref().map(|people| &people.users);
    let mut circle =
        Circle { groups: lines(form, "groups").map(str::to_owned).collect(), ..Circle::default() };
    for line in lines(form, "users") {
        let named = before.and_then(|users| users.iter().find(|user| user.as_str() == line)).cloned();
        let user = match named {
            Some(user) => Some(user),
            None => people::user(&visit.state.store, line).await?,
        };
        match user {
            Some(user) => circle.users.insert(user),
            None => return Ok(Err(line.to_owned())),
        };
    }
    Ok(Ok(circle))
}
