//! The admin REST API. Views are types of their own: no record is serialized as it lies in the store.

mod agents;
mod audiences;
pub mod auth;
mod beside;
mod connections;
mod errors;
mod events;
mod explain;
mod list;
mod openapi;
mod providers;
mod reports;
mod sign_in;
mod stops;
mod transmitters;
mod trust;
mod users;
mod vault;

pub use openapi::document;

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, Resource, Route, web};

use crate::agents::Agents;
use crate::audiences::Audiences;
use crate::audit::AuditLog;
use crate::connections::Connections;
use crate::custody::Custody;
use crate::kernel::clock::Clock;
use crate::kernel::entropy::Entropy;
use crate::kernel::ids::ProviderSlug;
use crate::policy::{Departures, Explain, KillSwitch, Reports};
use crate::providers::load::Templates;
use crate::server::problem::Problem;
use crate::store::Store;
use crate::tokens::SigningKeys;
use crate::vault::Vault;
use crate::web::security_events;

/// The rooms that the API works with.
#[derive(Clone)]
pub struct ApiState {
    /// The store.
    pub store: Store,
    /// The vault.
    pub vault: Arc<Vault>,
    /// Rotation of keys.
    pub custody: Custody,
    /// The log.
    pub audit: AuditLog,
    /// Agents.
    pub agents: Agents,
    /// Internal back ends.
    pub audiences: Audiences,
    /// What signs delegation JWTs.
    pub keys: SigningKeys,
    /// Providers, connections and grants.
    pub connections: Connections,
    /// Templates.
    pub templates: Arc<Templates>,
    /// Explains decisions of the gateway.
    pub explain: Arc<dyn Explain>,
    /// The kill switch.
    pub kill_switch: KillSwitch,
    /// Tries a provider's configuration.
    pub upstream: crate::upstream::Upstream,
    /// Ends what can act as a person.
    pub departures: Departures,
    /// What can still act as a person, and what an agent can still do.
    pub reports: Reports,
    /// The provider that employees sign in with.
    pub sign_in: Option<ProviderSlug>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// The routes of this room, in one table. Every handler begins with `auth::admin` or `auth::auditor`; the
/// document is public, it holds nothing of this deployment.
pub fn routes(config: &mut web::ServiceConfig) {
    let api = web::scope("/api/v1")
        .service(at("/openapi.json", [web::get().to(openapi::serve)]))
        .service(at("/agents", [web::get().to(agents::list), web::post().to(agents::create)]))
        .service(at(
            "/agents/{id}",
            [web::get().to(agents::show), web::put().to(agents::restate), web::patch().to(agents::change)],
        ))
        .service(at("/agents/{id}/hand-over", [web::post().to(agents::hand_over)]))
        .service(at("/agents/{id}/report", [web::get().to(reports::of_agent)]))
        .service(at("/agents/{id}/history", [web::get().to(agents::history)]))
        .service(at("/agents/{id}/suspend", [web::post().to(agents::suspend)]))
        .service(at("/agents/{id}/resume", [web::post().to(agents::resume)]))
        .service(at("/agents/{id}/retire", [web::post().to(agents::retire)]))
        .service(at("/agents/{id}/rotate-secret", [web::post().to(agents::rotate_secret)]))
        .service(at("/agents/{id}/credentials", [web::get().to(sign_in::show)]))
        .service(at("/agents/{id}/sign-in", [web::put().to(sign_in::change)]))
        .service(at("/agents/{id}/secrets/{name}/end", [web::post().to(sign_in::end_secret)]))
        .service(at("/trust-presets", [web::get().to(trust::list_presets)]))
        .service(at("/trust-sources", [web::get().to(trust::list), web::post().to(trust::create)]))
        .service(at("/trust-sources/{id}", [web::get().to(trust::show), web::delete().to(trust::remove)]))
        .service(at("/trust-sources/{id}/enable", [web::post().to(trust::enable)]))
        .service(at("/trust-sources/{id}/disable", [web::post().to(trust::disable)]))
        .service(at("/audiences", [web::get().to(audiences::list), web::post().to(audiences::create)]))
        .service(at("/audiences/{id}", [web::get().to(audiences::show), web::put().to(audiences::change)]))
        .service(at("/audiences/{id}/enable", [web::post().to(audiences::enable)]))
        .service(at("/audiences/{id}/disable", [web::post().to(audiences::disable)]))
        .service(at("/audiences/{id}/rotate-secret", [web::post().to(audiences::rotate_secret)]))
        .service(at("/signing-keys/rotate", [web::post().to(audiences::rotate_keys)]))
        .service(at("/templates", [web::get().to(providers::templates)]))
        .service(at("/providers", [web::get().to(providers::list), web::post().to(providers::create)]))
        .service(at("/providers/{slug}/test", [web::post().to(providers::test)]))
        .service(at("/providers/{slug}/enable", [web::post().to(providers::enable)]))
        .service(at("/providers/{slug}/disable", [web::post().to(providers::disable)]))
        .service(at("/users", [web::get().to(users::list)]))
        .service(at("/users/{id}", [web::get().to(users::show), web::patch().to(users::change)]))
        .service(at("/users/{id}/report", [web::get().to(reports::of_person)]))
        .service(at("/users/{id}/depart", [web::post().to(users::depart)]))
        .service(at("/users/{id}/sign-out", [web::post().to(users::sign_out)]))
        .service(at("/users/{id}/restore", [web::post().to(users::restore)]))
        .service(at(
            "/transmitters",
            [web::get().to(transmitters::list), web::post().to(transmitters::create)],
        ))
        .service(at("/transmitters/{id}", [web::delete().to(transmitters::remove)]))
        .service(at("/connections", [web::get().to(connections::connections)]))
        .service(at("/grants", [web::get().to(connections::grants)]))
        .service(at("/grants/{id}/revoke", [web::post().to(connections::revoke_grant)]))
        .service(at("/grants/{id}/explain", [web::post().to(explain::explain)]))
        .service(at("/interactions", [web::get().to(connections::interactions)]))
        .service(at("/stops", [web::get().to(stops::list), web::post().to(stops::create)]))
        .service(at("/stops/{id}/resume", [web::post().to(stops::resume)]))
        .service(at("/events", [web::get().to(events::list)]))
        .service(at("/keys", [web::get().to(events::keys)]))
        .service(at("/keys/vault", [web::get().to(vault::show)]))
        .service(at("/keys/vault/rotate", [web::post().to(vault::rotate)]))
        .service(at("/keys/vault/backup", [web::post().to(vault::backup)]))
        .service(at("/keys/vault/restored/confirm", [web::post().to(vault::confirm_restored)]))
        .service(at("/keys/vault/restored/mark", [web::post().to(vault::mark_restored)]))
        .default_service(web::to(missing));
    config.service(api);
}

/// Where security events are pushed to. Outside of the admin API: whoever pushes has no token, but signs.
pub fn pushed(config: &mut web::ServiceConfig) {
    let receive = web::post().to(security_events::receive);
    let other = web::to(security_events::other_method);
    config.service(web::resource(security_events::PATH).route(receive).default_service(other));
}

/// One address and what it takes; any other method gets a problem document, as every other error does.
fn at<const N: usize>(path: &str, routes: [Route; N]) -> Resource {
    routes.into_iter().fold(web::resource(path), Resource::route).default_service(web::to(other_method))
}

async fn missing() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found("address"))
}

async fn other_method(request: HttpRequest) -> HttpResponse {
    let detail = "this address takes another method; see /api/v1/openapi.json";
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
    let mut answer = problem.into_response();
    answer.headers_mut().insert(ALLOW, allowed(&request));
    answer
}

/// The methods that an address takes: a 405 says so (RFC 9110, section 15.5.6).
pub fn allowed(request: &HttpRequest) -> HeaderValue {
    let methods = request.match_pattern().and_then(|pattern| openapi::allowed(&pattern));
    let methods = methods.and_then(|methods| HeaderValue::from_str(&methods).ok());
    methods.unwrap_or(HeaderValue::from_static("GET"))
}
