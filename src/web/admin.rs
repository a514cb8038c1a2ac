//! The administration: the same services as the REST API, for people.

mod agents;
mod audiences;
mod lists;
mod overview;
mod providers;
mod reports;
mod stops;
mod tokens;

use actix_web::web;

use crate::web::page;
use crate::web::portal::{grant, trial};
use crate::web::views::{Notice, Tone};
use crate::web::visit::Visit;

/// The routes of the administration. Every handler begins with [`Visit::auditor`] or [`Visit::admin`].
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(page("/admin", [web::get().to(overview::show)]))
        .service(page("/admin/agents", [web::get().to(agents::list), web::post().to(agents::create)]))
        .service(page("/admin/agents/new", [web::get().to(agents::form)]))
        .service(page("/admin/agents/{id}", [web::get().to(reports::agent)]))
        .service(page("/admin/agents/{id}/hand-over", [web::post().to(reports::hand_over)]))
        .service(page("/admin/agents/{id}/{change}", [web::post().to(agents::change)]))
        .service(page("/admin/providers", [web::get().to(providers::list)]))
        .service(page(
            "/admin/providers/new/{template}",
            [web::get().to(providers::form), web::post().to(providers::create)],
        ))
        .service(page("/admin/interactions", [web::get().to(lists::interactions)]))
        .service(page("/admin/grants/{id}", [web::get().to(grant::show_to_admin)]))
        .service(page(
            "/admin/grants/{id}/try",
            [web::get().to(trial::show_to_admin), web::post().to(trial::answer_to_admin)],
        ))
        .service(page("/admin/stops", [web::get().to(stops::list), web::post().to(stops::set)]))
        .service(page("/admin/stops/{id}/resume", [web::post().to(stops::resume)]))
        .service(page("/admin/events", [web::get().to(lists::events)]))
        .service(page("/admin/users", [web::get().to(lists::users)]))
        .service(page("/admin/users/{id}", [web::get().to(reports::user)]))
        .service(page("/admin/users/{id}/{change}", [web::post().to(reports::change_user)]))
        .service(page(
            "/admin/audiences",
            [web::get().to(audiences::list), web::post().to(audiences::create)],
        ))
        .service(page("/admin/audiences/{id}/{change}", [web::post().to(audiences::change)]))
        .service(page("/admin/tokens", [web::get().to(tokens::list), web::post().to(tokens::create)]))
        .service(page("/admin/tokens/{id}/revoke", [web::post().to(tokens::revoke)]));
}

/// The words for what was just done.
fn notice(visit: &Visit) -> Option<Notice> {
    let key = match visit.query("done")?.as_str() {
        "suspended" => "admin.suspended",
        "resumed" => "admin.resumed",
        "retired" => "admin.retired",
        "provider" => "admin.provider_saved",
        "stopped" => "admin.stop_done",
        "lifted" => "admin.stop_lifted",
        "token_revoked" => "admin.token_revoked",
        "handed_over" => "admin.handed_over",
        "departed" => "admin.departed",
        "signed_out_all" => "admin.signed_out_all",
        "restored" => "admin.restored",
        "audience_enabled" => "admin.back_end_enabled",
        "audience_disabled" => "admin.back_end_disabled",
        _ => return None,
    };
    Some(Notice { tone: Tone::Good, words: visit.page.t(key).to_owned() })
}
