//! The OpenAPI document of the admin API.

use actix_web::HttpResponse;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::web::api::{agents, audiences, connections, events, explain, providers, stops, users};

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(title = "Valetkey admin API", description = "Agents, providers, grants, stops and events."),
    paths(
        agents::list,
        agents::create,
        agents::show,
        agents::suspend,
        agents::resume,
        agents::retire,
        agents::rotate_secret,
        audiences::list,
        audiences::create,
        audiences::show,
        audiences::change,
        audiences::enable,
        audiences::disable,
        audiences::rotate_secret,
        audiences::rotate_keys,
        providers::templates,
        providers::list,
        providers::create,
        providers::enable,
        providers::disable,
        providers::test,
        users::list,
        users::change,
        connections::connections,
        connections::grants,
        connections::revoke_grant,
        explain::explain,
        connections::interactions,
        stops::list,
        stops::create,
        stops::resume,
        events::list,
        events::keys,
    ),
    modifiers(&AdminToken),
    security(("admin_token" = []))
)]
struct Document;

struct AdminToken;

impl Modify for AdminToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        openapi.components.get_or_insert_default().add_security_scheme("admin_token", scheme);
    }
}

/// The document as JSON.
pub fn document() -> String {
    Document::openapi().to_pretty_json().unwrap_or_default()
}

pub async fn serve() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document())
}
