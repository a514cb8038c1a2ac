//! `/admin/providers`.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::connections::{ConnectionError, NewProvider};
use crate::kernel::ids::ProviderSlug;
use crate::model::provider::Provider;
use crate::providers::LoadedTemplate;
use crate::web::admin::notice;
use crate::web::failure::Failure;
use crate::web::forms::Form;
use crate::web::texts;
use crate::web::views::admin::providers::{
    CompanyInput, ProviderNewPage, ProviderRow, ProvidersPage, TemplateRow,
};
use crate::web::views::{Notice, Page, Section, Shown, Tone, letter};
use crate::web::visit::{Visit, answer, answer_with, go};

/// What the fields of a company are called in the form.
const COMPANY: &str = "company.";

/// `GET /admin/providers`.
pub async fn list(visit: Visit) -> Result<HttpResponse, Failure> {
    visit.auditor()?;
    list_page(&visit, notice(&visit)).await
}

async fn list_page(visit: &Visit, notice: Option<Notice>) -> Result<HttpResponse, Failure> {
    let page = visit.admin_page(Section::Providers);
    let providers = visit.state.connections.providers().await?;
    let templates = visit.state.templates.iter();
    answer(&ProvidersPage {
        notice,
        providers: providers.iter().map(|provider| row(visit, &page, provider)).collect(),
        templates: templates.map(|one| TemplateRow::new(page.lang, &one.name, &one.template)).collect(),
        page,
    })
}

/// `POST /admin/providers/{slug}/{test,enable,disable}`.
pub async fn change(
    visit: Visit,
    path: web::Path<(String, String)>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    visit.form(payload, "admin.provider", &[], &[]).await?;
    let (slug, change) = path.into_inner();
    let slug: ProviderSlug = slug.parse().map_err(|_| Failure::NotFound)?;
    let (enabled, done) = match change.as_str() {
        "enable" => (true, "provider_enabled"),
        "disable" => (false, "provider_disabled"),
        "test" => return test(&visit, &slug).await,
        _ => return Err(Failure::NotFound),
    };
    visit.state.connections.set_enabled(&slug, enabled, &by).await.map_err(|error| failure(&error))?;
    Ok(go(&format!("/admin/providers?done={done}")))
}

/// Asks the provider what it thinks of our registration, as far as that works without a user.
async fn test(visit: &Visit, slug: &ProviderSlug) -> Result<HttpResponse, Failure> {
    let configured = visit.state.connections.configured(slug).await.map_err(|error| failure(&error))?;
    let page = &visit.page;
    let name = Shown::name(configured.loaded.template.name.get(page.lang));
    let found = match visit.state.upstream.probe(&configured).await {
        Ok(()) => Notice { tone: Tone::Good, words: page.f1("admin.test_passed", name) },
        Err(error) => {
            let said = texts::rendered(page.lang, "probe", error.words);
            let words = said.unwrap_or_else(|| error.words.to_owned());
            let code = error.code.map(|code| format!(" ({code})")).unwrap_or_default();
            Notice { tone: Tone::Bad, words: page.f2("admin.test_failed", name, format!("{words}{code}")) }
        }
    };
    list_page(visit, Some(found)).await
}

fn failure(error: &ConnectionError) -> Failure {
    match error {
        ConnectionError::UnknownProvider(_) => Failure::NotFound,
        ConnectionError::Disabled(_) => Failure::Conflict,
        ConnectionError::Store(_) | ConnectionError::Audit(_) => Failure::unavailable(error),
        _ => Failure::ProviderConfig,
    }
}

fn row(visit: &Visit, page: &Page, provider: &Provider) -> ProviderRow {
    let loaded = visit.state.templates.get(&provider.template);
    let template = loaded.as_ref().map(|loaded| &loaded.template);
    let name = template.map_or(provider.template.as_str(), |template| template.name.get(page.lang));
    let (state, tone) =
        if provider.enabled { ("state.enabled", Tone::Good) } else { ("state.disabled", Tone::Bad) };
    let title = |key: &str| {
        let field = template.and_then(|template| template.company.get(key));
        Shown::name(field.map_or(key, |field| field.title.get(page.lang)))
    };
    ProviderRow {
        slug: provider.slug.to_string(),
        name: Shown::name(name),
        letter: letter(name),
        scopes: template.map_or(0, |template| template.grantable().len()),
        signs_in: visit.state.sign_in.as_ref() == Some(&provider.slug),
        is_enabled: provider.enabled,
        state: texts::text(page.lang, state),
        tone,
        client_id: Shown::name(&provider.client_id),
        callback: callback(visit, provider.slug.as_str()),
        company: provider.company.iter().map(|(key, value)| (title(key), Shown::sentence(value))).collect(),
    }
}

fn callback(visit: &Visit, slug: &str) -> String {
    format!("{}/callback/{slug}", visit.inbound.issuer.as_str().trim_end_matches('/'))
}

/// `GET /admin/providers/new/{template}`.
pub async fn form(visit: Visit, template: web::Path<String>) -> Result<HttpResponse, Failure> {
    visit.admin()?;
    let loaded = visit.state.templates.get(&template).ok_or(Failure::NotFound)?;
    new_page(&visit, StatusCode::OK, &loaded, Vec::new(), None)
}

/// `POST /admin/providers/new/{template}`.
pub async fn create(
    visit: Visit,
    template: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let by = visit.admin()?.to_owned();
    let loaded = visit.state.templates.get(&template).ok_or(Failure::NotFound)?;
    let names: Vec<String> = loaded.template.company.keys().map(|key| format!("{COMPANY}{key}")).collect();
    let mut fields = vec!["slug", "client_id", "client_secret"];
    fields.extend(names.iter().map(String::as_str));
    let form = visit.form(payload, "admin.provider.new", &fields, &[]).await?;
    let refuse = |problems| new_page(&visit, StatusCode::BAD_REQUEST, &loaded, problems, Some(&form));
    let Ok(slug) = form.text("slug").parse::<ProviderSlug>() else {
        return refuse(vec![visit.page.t("admin.slug_hint").to_owned()]);
    };
    if visit.state.connections.providers().await?.iter().any(|known| known.slug == slug) {
        return refuse(vec![visit.page.t("admin.slug_taken").to_owned()]);
    }
    let stated = |key: &String| {
        let value = form.text(&format!("{COMPANY}{key}")).to_owned();
        (!value.is_empty()).then(|| (key.clone(), value))
    };
    let company: BTreeMap<String, String> = loaded.template.company.keys().filter_map(stated).collect();
    let new = NewProvider {
        slug,
        template: loaded.name.clone(),
        client_id: form.text("client_id").to_owned(),
        client_secret: form.secret("client_secret"),
        company,
    };
    match visit.state.connections.add_provider(new, &by).await {
        Ok(_) => Ok(go("/admin/providers?done=provider")),
        Err(ConnectionError::Company { problems, .. }) => refuse(problems),
        Err(error @ (ConnectionError::Store(_) | ConnectionError::Audit(_))) => {
            Err(Failure::unavailable(&error))
        }
        Err(error) => refuse(vec![error.to_string()]),
    }
}

fn new_page(
    visit: &Visit,
    status: StatusCode,
    loaded: &LoadedTemplate,
    problems: Vec<String>,
    form: Option<&Form>,
) -> Result<HttpResponse, Failure> {
    let page = visit.admin_page(Section::Providers);
    let typed = |name: &str| form.map(|form| Shown::name(form.text(name))).unwrap_or_default();
    let template = &loaded.template;
    let field = |(key, field): (&String, &crate::providers::template::CompanyField)| CompanyInput {
        key: key.clone(),
        title: Shown::name(field.title.get(page.lang)),
        example: Shown::name(&field.example),
        required: field.default.is_none(),
        value: match form {
            Some(form) => Shown::name(form.text(&format!("{COMPANY}{key}"))),
            None => field.default.as_deref().map(Shown::name).unwrap_or_default(),
        },
    };
    let fields = template.company.iter().map(field).collect();
    let slug = form.map_or_else(|| Shown::name(&loaded.name), |form| Shown::name(form.text("slug")));
    let new = ProviderNewPage {
        problems: problems.iter().map(|problem| Shown::sentence(problem).to_string()).collect(),
        template: loaded.name.clone(),
        name: Shown::name(template.name.get(page.lang)),
        docs: template.docs.clone(),
        callback: callback(visit, slug.as_str()),
        slug,
        client_id: typed("client_id"),
        fields,
        page,
    };
    answer_with(status, &new)
}
