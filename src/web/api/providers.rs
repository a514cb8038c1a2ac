//! `/api/v1/templates` and `/api/v1/providers`.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::connections::NewProvider;
use crate::kernel::ids::ProviderSlug;
use crate::kernel::secret::SecretString;
use crate::model::provider::Provider;
use crate::providers::Templates;
use crate::providers::template::IdentitySource;
use crate::server::Inbound;
use crate::server::body;
use crate::server::problem::Problem;
use crate::web::api::list::{Page, Wanted, page};
use crate::web::api::{ApiState, auth, errors};

/// A template.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplateView {
    name: String,
    title: String,
    docs: String,
    scopes: Vec<String>,
    /// The classes of data that each scope opens; none: `unclassified`, closed to agents restricted to some.
    data_classes: BTreeMap<String, Vec<String>>,
    /// What has to be stated about the company: name and an example.
    company: BTreeMap<String, String>,
}

/// A configured provider, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderView {
    slug: String,
    template: String,
    client_id: String,
    company: BTreeMap<String, String>,
    enabled: bool,
    /// What to register with the app there: the second is for a provider that employees sign in with.
    redirect_uris: Vec<String>,
    created_at: String,
}

impl ProviderView {
    fn of(provider: &Provider, inbound: &Inbound, templates: &Templates) -> Self {
        let base = inbound.issuer.as_str().trim_end_matches('/');
        let mut redirect_uris = vec![format!("{base}/callback/{}", provider.slug)];
        // Nobody can sign in with a provider that issues no ID tokens.
        let loaded = templates.get(&provider.template);
        if loaded.is_some_and(|loaded| loaded.template.identity.source == IdentitySource::IdToken) {
            redirect_uris.push(format!("{base}/login/callback"));
        }
        Self {
            slug: provider.slug.to_string(),
            template: provider.template.clone(),
            client_id: provider.client_id.clone(),
            company: provider.company.clone(),
            enabled: provider.enabled,
            redirect_uris,
            created_at: provider.created_at.rfc3339(),
        }
    }
}

/// What is stated to configure a provider. Stating it again replaces the configuration.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProvider {
    slug: String,
    /// The template; the slug when left out.
    #[serde(default)]
    template: Option<String>,
    client_id: String,
    client_secret: String,
    #[serde(default)]
    company: BTreeMap<String, String>,
}

/// What a test of a provider found.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestView {
    ok: bool,
    checks: Vec<CheckView>,
}

/// One check.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckView {
    name: &'static str,
    ok: bool,
    words: String,
}

fn slug(request: &HttpRequest) -> Result<ProviderSlug, Problem> {
    request.match_info().query("slug").parse().map_err(|_| Problem::not_found("provider"))
}

#[utoipa::path(get, path = "/api/v1/templates", responses((status = 200, body = Page<TemplateView>)))]
pub async fn templates(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let view = |name: &str| {
        let loaded = state.templates.get(name)?;
        let template = &loaded.template;
        Some(TemplateView {
            name: name.to_owned(),
            title: template.name.en.clone(),
            docs: template.docs.clone(),
            scopes: template.grantable().iter().map(ToString::to_string).collect(),
            data_classes: template
                .scope
                .iter()
                .filter(|entry| !entry.bookkeeping)
                .map(|entry| {
                    let classes = entry.data_classes.iter().map(ToString::to_string);
                    (entry.name.to_string(), classes.collect())
                })
                .collect(),
            company: template
                .company
                .iter()
                .map(|(key, field)| (key.clone(), field.example.clone()))
                .collect(),
        })
    };
    let items: Vec<TemplateView> = state.templates.names().filter_map(view).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: None }))
}

#[utoipa::path(get, path = "/api/v1/providers", responses((status = 200, body = Page<ProviderView>)))]
pub async fn list(
    request: HttpRequest,
    state: web::Data<ApiState>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let wanted = Wanted::read(&request)?;
    let view = |provider: &Provider| ProviderView::of(provider, &inbound, &state.templates);
    let found = page::<Provider, _>(&state.store, &wanted, |provider| view(provider)).await?;
    Ok(HttpResponse::Ok().json(found))
}

#[utoipa::path(post, path = "/api/v1/providers", request_body = CreateProvider,
    responses((status = 201, body = ProviderView)))]
pub async fn create(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(&request, &state).await?;
    let wanted: CreateProvider = body::read_json(&request, payload).await?;
    let slug: ProviderSlug =
        wanted.slug.parse().map_err(|error: &str| Problem::bad_request("invalid_provider", error))?;
    let new = NewProvider {
        template: wanted.template.unwrap_or_else(|| slug.to_string()),
        slug,
        client_id: wanted.client_id,
        client_secret: SecretString::new(wanted.client_secret),
        company: wanted.company,
    };
    let provider = state.connections.add_provider(new, &caller.name).await.map_err(errors::connection)?;
    Ok(HttpResponse::Created().json(ProviderView::of(&provider, &inbound, &state.templates)))
}

async fn set_enabled(
    request: &HttpRequest,
    state: &ApiState,
    inbound: &Inbound,
    enabled: bool,
) -> Result<HttpResponse, Problem> {
    let caller = auth::admin(request, state).await?;
    let slug = slug(request)?;
    state.connections.set_enabled(&slug, enabled, &caller.name).await.map_err(errors::connection)?;
    let provider = state.store.get::<Provider>(slug.as_str()).await.map_err(errors::store)?;
    let provider = provider.ok_or_else(|| Problem::not_found("provider"))?;
    Ok(HttpResponse::Ok().json(ProviderView::of(&provider, inbound, &state.templates)))
}

#[utoipa::path(post, path = "/api/v1/providers/{slug}/enable", params(("slug" = String, Path)),
    responses((status = 200, body = ProviderView)))]
pub async fn enable(
    request: HttpRequest,
    state: web::Data<ApiState>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, Problem> {
    set_enabled(&request, &state, &inbound, true).await
}

#[utoipa::path(post, path = "/api/v1/providers/{slug}/disable", params(("slug" = String, Path)),
    responses((status = 200, body = ProviderView)))]
pub async fn disable(
    request: HttpRequest,
    state: web::Data<ApiState>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, Problem> {
    set_enabled(&request, &state, &inbound, false).await
}

/// Asks the provider what it thinks of our registration, as far as that works without a user.
#[utoipa::path(post, path = "/api/v1/providers/{slug}/test", params(("slug" = String, Path)),
    responses((status = 200, body = TestView)))]
pub async fn test(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::admin(&request, &state).await?;
    let configured = state.connections.configured(&slug(&request)?).await.map_err(errors::connection)?;
    let (ok, words) = match state.upstream.probe(&configured).await {
        Ok(()) => (true, "the provider's metadata can be read and our registration is accepted".to_owned()),
        Err(error) => (false, error.to_string()),
    };
    let checks = vec![CheckView { name: "provider", ok, words }];
    Ok(HttpResponse::Ok().json(TestView { ok: checks.iter().all(|check| check.ok), checks }))
}
