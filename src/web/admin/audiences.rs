//! `/admin/audiences`: internal services that accept delegation JWTs.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::audiences::{AudienceError, AudienceTerms, USUAL_TOKEN_S};
use crate::kernel::ids::{AgentId, AudienceId};
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::model::audience::{Admission, Algorithm, Audience, AudienceState, People, UserClaim};
use crate::web::admin::notice;
use crate::web::failure::Failure;
use crate::web::forms::Form;
use crate::web::lookup::Lookup;
use crate::web::texts::text;
use crate::web::views::admin::agents::SecretPage;
use crate::web::views::admin::audiences::{AudienceForm, AudienceRow, AudiencesPage};
use crate::web::views::{Page, Section, Shown, Tone};
use crate::web::visit::{Visit, answer, answer_with, go};

const FIELDS: [&str; 7] = ["identifier", "name", "purpose", "scopes", "agents", "groups", "data_classes"];

/// `GET /admin/audiences`.
pub async fn list(visit: Visit) -> Result<HttpResponse, Failure> {
    visit.auditor()?;
    show(&visit, StatusCode::OK, None, None).await
}

async fn show(
    visit: &Visit,
    status: StatusCode,
    problem: Option<String>,
    form: Option<&Form>,
) -> Result<HttpResponse, Failure> {
    let page = visit.admin_page(Section::Audiences);
    let mut lookup = Lookup::new(&visit.state, &page);
    let mut audiences = Vec::new();
    for audience in visit.state.audiences.all().await? {
        audiences.push(row(&page, &mut lookup, &audience).await?);
    }
    let typed = |name: &str| Shown::name(form.map(|form| form.text(name)).unwrap_or_default());
    let typed = AudienceForm {
        identifier: typed("identifier"),
        name: typed("name"),
        purpose: typed("purpose"),
        scopes: typed("scopes"),
        agents: typed("agents"),
        groups: typed("groups"),
        data_classes: typed("data_classes"),
    };
    answer_with(status, &AudiencesPage { notice: notice(visit), problem, audiences, typed, page })
}

async fn row(page: &Page, lookup: &mut Lookup<'_>, audience: &Audience) -> Result<AudienceRow, Failure> {
    let is_active = audience.state == AudienceState::Active;
    let (state, tone) = if is_active { ("state.active", Tone::Good) } else { ("state.disabled", Tone::Bad) };
    let mut admissions = Vec::new();
    for admission in &audience.admissions {
        let mut names = Vec::new();
        for agent in &admission.agents {
            names.push(lookup.agent(agent).await?.map_or_else(|| agent.to_string(), |agent| agent.name));
        }
        let people = match &admission.people {
            People::Everyone => page.t("admin.everyone").to_owned(),
            People::Itself => page.t("admin.itself").to_owned(),
            People::Users(users) => page.f1("admin.so_many_people", users.len()),
            People::Groups(groups) => groups.join(", "),
        };
        admissions.push((Shown::name(&names.join(", ")), Shown::name(&people), admission.scopes.to_string()));
    }
    Ok(AudienceRow {
        id: audience.id.to_string(),
        name: Shown::name(&audience.name),
        purpose: Shown::sentence(&audience.purpose),
        identifier: Shown::name(&audience.identifier),
        scopes: audience.scopes.to_string(),
        classes: audience.data_classes.iter().map(|class| Shown::name(class)).collect(),
        state: text(page.lang, state),
        tone,
        is_active,
        admissions,
    })
}

/// `POST /admin/audiences`.
pub async fn create(visit: Visit, payload: web::Payload) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let form = visit.form(payload, "admin.audience.new", &FIELDS, &["claim"]).await?;
    let made = match terms(&form)? {
        Ok(terms) => visit.state.audiences.register(terms, &by).await,
        Err(problem) => return show(&visit, StatusCode::BAD_REQUEST, Some(problem), Some(&form)).await,
    };
    match made {
        Ok((audience, secret)) => secret_page(&visit, &audience, secret, "admin.back_end_made"),
        Err(error @ (AudienceError::Invalid { .. } | AudienceError::Taken(_))) => {
            show(&visit, StatusCode::BAD_REQUEST, Some(error.to_string()), Some(&form)).await
        }
        Err(error) => Err(failure(&error)),
    }
}

/// What was typed; inside: what cannot be read.
fn terms(form: &Form) -> Result<Result<AudienceTerms, String>, Failure> {
    let scopes = match ScopeSet::parse(form.text("scopes")) {
        Ok(scopes) => scopes,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut claims = Vec::new();
    for claim in form.all("claim") {
        claims.push(match claim {
            "email" => UserClaim::Email,
            "name" => UserClaim::Name,
            "department" => UserClaim::Department,
            "groups" => UserClaim::Groups,
            _ => return Err(Failure::BadRequest),
        });
    }
    let agents: Result<Vec<AgentId>, _> = form.text("agents").split_whitespace().map(str::parse).collect();
    let agents = match agents {
        Ok(agents) => agents,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let groups = form.text("groups").split(',').map(str::trim).filter(|group| !group.is_empty());
    let groups: Vec<String> = groups.map(str::to_owned).collect();
    let people = if groups.is_empty() { People::Everyone } else { People::Groups(groups) };
    let classes = form.text("data_classes").split(',').map(str::trim).filter(|class| !class.is_empty());
    let classes = classes.map(str::to_owned).collect();
    let admission = Admission { agents, people, scopes: scopes.clone() };
    Ok(Ok(AudienceTerms {
        identifier: form.text("identifier").to_owned(),
        name: form.text("name").to_owned(),
        purpose: form.text("purpose").to_owned(),
        scopes,
        claims,
        algorithm: Algorithm::default(),
        token_life_s: USUAL_TOKEN_S,
        detail_types: Vec::new(),
        data_classes: classes,
        id_jag: None,
        admissions: if admission.agents.is_empty() { Vec::new() } else { vec![admission] },
    }))
}

/// `POST /admin/audiences/{id}/{enable,disable,rotate}`.
pub async fn change(
    visit: Visit,
    path: web::Path<(String, String)>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    visit.form(payload, "admin.audience", &[], &[]).await?;
    let (id, change) = path.into_inner();
    let id: AudienceId = id.parse().map_err(|_| Failure::NotFound)?;
    let audiences = &visit.state.audiences;
    let (state, done) = match change.as_str() {
        "enable" => (AudienceState::Active, "audience_enabled"),
        "disable" => (AudienceState::Disabled, "audience_disabled"),
        "rotate" => {
            let secret = audiences.rotate_secret(&id, &by).await.map_err(|error| failure(&error))?;
            let audience = audiences.get(&id).await?.ok_or(Failure::NotFound)?;
            return secret_page(&visit, &audience, secret, "admin.secret_rotated");
        }
        _ => return Err(Failure::NotFound),
    };
    audiences.set_state(&id, state, &by).await.map_err(|error| failure(&error))?;
    Ok(go(&format!("/admin/audiences?done={done}")))
}

fn failure(error: &AudienceError) -> Failure {
    match error {
        AudienceError::NotFound(_) => Failure::NotFound,
        AudienceError::Taken(_) | AudienceError::Changed => Failure::Conflict,
        AudienceError::Invalid { .. } => Failure::BadRequest,
        AudienceError::Store(_) | AudienceError::Audit(_) => Failure::unavailable(error),
    }
}

fn secret_page(
    visit: &Visit,
    audience: &Audience,
    secret: SecretString,
    title: &str,
) -> Result<HttpResponse, Failure> {
    let page = visit.admin_page(Section::Audiences);
    let client = (audience.name.as_str(), audience.id.as_str());
    answer(&SecretPage::of_client(page, title, client, secret, "/admin/audiences"))
}
