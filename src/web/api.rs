//! The admin REST API. Views are types of their own: no record is serialized as it lies in the store.

mod agents;
mod auth;
mod connections;
mod errors;
mod events;
mod list;
mod openapi;
mod providers;
mod stops;
mod users;

pub use openapi::document;

use std::sync::Arc;

use actix_web::web;

use crate::agents::Agents;
use crate::audit::AuditLog;
use crate::connections::Connections;
use crate::kernel::clock::Clock;
use crate::policy::KillSwitch;
use crate::providers::load::Templates;
use crate::server::problem::Problem;
use crate::store::Store;
use crate::vault::Vault;

/// The rooms that the API works with.
#[derive(Clone)]
pub struct ApiState {
    /// The store.
    pub store: Store,
    /// The vault.
    pub vault: Arc<Vault>,
    /// The log.
    pub audit: AuditLog,
    /// Agents.
    pub agents: Agents,
    /// Providers, connections and grants.
    pub connections: Connections,
    /// Templates.
    pub templates: Arc<Templates>,
    /// The kill switch.
    pub kill_switch: KillSwitch,
    /// Tries a provider's configuration.
    pub upstream: crate::upstream::Upstream,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

async fn nothing_here() -> Result<actix_web::HttpResponse, Problem> {
    Err(Problem::not_found("call"))
}

/// The routes of this room. Every handler begins with `auth::admin` or `auth::auditor`; the document is
/// public, it holds nothing of this deployment.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/api/v1")
            .route("/openapi.json", web::get().to(openapi::serve))
            .route("/agents", web::get().to(agents::list))
            .route("/agents", web::post().to(agents::create))
            .route("/agents/{id}", web::get().to(agents::show))
            .route("/agents/{id}/suspend", web::post().to(agents::suspend))
            .route("/agents/{id}/resume", web::post().to(agents::resume))
            .route("/agents/{id}/retire", web::post().to(agents::retire))
            .route("/agents/{id}/rotate-secret", web::post().to(agents::rotate_secret))
            .route("/templates", web::get().to(providers::templates))
            .route("/providers", web::get().to(providers::list))
            .route("/providers", web::post().to(providers::create))
            .route("/providers/{slug}/test", web::post().to(providers::test))
            .route("/providers/{slug}/enable", web::post().to(providers::enable))
            .route("/providers/{slug}/disable", web::post().to(providers::disable))
            .route("/users", web::get().to(users::list))
            .route("/connections", web::get().to(connections::connections))
            .route("/grants", web::get().to(connections::grants))
            .route("/grants/{id}/revoke", web::post().to(connections::revoke_grant))
            .route("/interactions", web::get().to(connections::interactions))
            .route("/stops", web::get().to(stops::list))
            .route("/stops", web::post().to(stops::create))
            .route("/stops/{id}/resume", web::post().to(stops::resume))
            .route("/events", web::get().to(events::list))
            .route("/keys", web::get().to(events::keys))
            .default_service(web::to(nothing_here)),
    );
}
