//! Trying a call out under a grant: the decision, step by step; nothing is called.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::kernel::ids::GrantId;
use crate::model::explanation::Probe;
use crate::model::grant::Grant;
use crate::web::failure::Failure;
use crate::web::forms::Form;
use crate::web::lookup::Lookup;
use crate::web::portal::grant::own;
use crate::web::views::Section;
use crate::web::views::trial::{Trial, TrialPage, methods};
use crate::web::visit::{Visit, answer_with};

/// The fields of the form.
const FIELDS: [&str; 3] = ["method", "path", "data"];

/// `GET /grants/{id}/try`.
pub async fn show(visit: Visit, id: web::Path<String>) -> Result<HttpResponse, Failure> {
    let user = visit.employee_id()?;
    let grant = own(&visit, &user, &id).await?;
    page(&visit, &grant, None).await
}

/// `POST /grants/{id}/try`: changes nothing, but what was entered does not belong into an address.
pub async fn answer(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let user = visit.employee_id()?;
    let found = own(&visit, &user, &id).await;
    let form = visit.form(payload, "grant.try", &FIELDS, &[]).await?;
    page(&visit, &found?, Some(&form)).await
}

/// `GET /admin/grants/{id}/try`: the same for admins and auditors.
pub async fn show_to_admin(visit: Visit, id: web::Path<String>) -> Result<HttpResponse, Failure> {
    let (visit, grant) = for_admin(visit, &id).await?;
    page(&visit, &grant, None).await
}

/// `POST /admin/grants/{id}/try`.
pub async fn answer_to_admin(
    visit: Visit,
    id: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    visit.auditor()?;
    let form = visit.form(payload, "grant.try", &FIELDS, &[]).await?;
    let (visit, grant) = for_admin(visit, &id).await?;
    page(&visit, &grant, Some(&form)).await
}

async fn for_admin(visit: Visit, id: &str) -> Result<(Visit, Grant), Failure> {
    visit.auditor()?;
    let id: GrantId = id.parse().map_err(|_| Failure::NotFound)?;
    let grant = visit.state.connections.grant(&id).await?.ok_or(Failure::NotFound)?;
    let grant = grant.record().clone();
    Ok((Visit { page: visit.admin_page(Section::Interactions), ..visit }, grant))
}

async fn page(visit: &Visit, grant: &Grant, form: Option<&Form>) -> Result<HttpResponse, Failure> {
    let page = &visit.page;
    let text = |name: &str| form.map(|form| form.text(name)).unwrap_or_default();
    let (method, path, data) = (text("method"), text("path"), text("data"));
    let is_lacking = form.is_some() && path.is_empty();
    let mut trial = None;
    if form.is_some() && !is_lacking {
        let probe = Probe {
            method: method.to_owned(),
            path: path.to_owned(),
            data: (!data.is_empty()).then(|| data.to_owned()),
            limits: Vec::new(),
        };
        let explained = visit.state.explain.explain(&grant.id, &probe).await?;
        trial = Some(Trial::new(page.lang, &explained.ok_or(Failure::NotFound)?));
    }
    let mut lookup = Lookup::new(&visit.state, page);
    let template = lookup.template(&grant.provider).await?;
    let scopes = grant.scopes_at(page.now);
    let mut entries = template.iter().flat_map(|loaded| &loaded.template.scope);
    let granted = entries.find(|entry| scopes.contains(&entry.name) && !entry.routes.is_empty());
    let example = granted.and_then(|entry| entry.routes.first()).map(|route| route.call.as_str());
    let example = example.and_then(|call| call.split_once(' ')).map(|(_, path)| path.to_owned());
    let status = if is_lacking { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let admin = if page.is_admin() { "/admin" } else { "" };
    let trial_page = TrialPage {
        grant: format!("{admin}/grants/{}", grant.id),
        agent: lookup.agent_name(&grant.agent).await?,
        provider: lookup.provider(&grant.provider).await?,
        methods: methods(if method.is_empty() { "GET" } else { method }),
        path: path.to_owned(),
        data: data.to_owned(),
        example: example.unwrap_or_else(|| "/".to_owned()),
        problem: is_lacking.then(|| page.t("trial.no_path").to_owned()),
        trial,
        page: page.clone(),
    };
    answer_with(status, &trial_page)
}
