//! The administration: the same services as the REST API, for people.

mod agent_edit;
mod agents;
mod audiences;
mod credentials;
mod lists;
mod overview;
mod providers;
mod reports;
mod sign_in;
mod stops;
mod tokens;
mod trust;

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
        .service(page(
            "/admin/agents/{id}/edit",
            [web::get().to(agent_edit::form), web::post().to(agent_edit::save)],
        ))
        .service(page("/admin/agents/{id}/hand-over", [web::post().to(reports::hand_over)]))
        .service(page("/admin/agents/{id}/end-secret", [web::post().to(sign_in::end_secret)]))
        .service(page("/admin/agents/{id}/binding", [web::post().to(sign_in::binding)]))
        .service(page("/admin/agents/{id}/sign-in/{change}", [web::post().to(sign_in::change)]))
        .service(page("/admin/agents/{id}/{change}", [web::post().to(agents::change)]))
        .service(page("/admin/providers", [web::get().to(providers::list)]))
        .service(page(
            "/admin/providers/new/{template}",
            [web::get().to(providers::form), web::post().to(providers::create)],
        ))
        .service(page("/admin/providers/{slug}/{change}", [web::post().to(providers::change)]))
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
        .service(page("/admin/trust", [web::get().to(trust::list)]))
        .service(page("/admin/trust/platform", [web::post().to(trust::add_platform)]))
        .service(page("/admin/trust/authority", [web::post().to(trust::add_authority)]))
        .service(page("/admin/trust/sources/{id}/{change}", [web::post().to(trust::change_source)]))
        .service(page("/admin/trust/transmitter", [web::post().to(trust::add_transmitter)]))
        .service(page("/admin/trust/transmitters/{id}/remove", [web::post().to(trust::remove_transmitter)]))
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
        "provider_enabled" => "admin.switched_on",
        "provider_disabled" => "admin.provider_disabled",
        "stopped" => "admin.stop_done",
        "lifted" => "admin.stop_lifted",
        "token_revoked" => "admin.token_revoked",
        "edited" => "admin.edited",
        "handed_over" => "admin.handed_over",
        "departed" => "admin.departed",
        "signed_out_all" => "admin.signed_out_all",
        "restored" => "admin.restored",
        "audience_enabled" => "admin.switched_on",
        "audience_disabled" => "admin.back_end_disabled",
        "sign_in_changed" => "admin.sign_in_changed",
        "secret_ended" => "admin.secret_ended",
        "binding_on" => "admin.binding_is_on",
        "binding_off" => "admin.binding_is_off",
        "trust_added" => "admin.trust_added",
        "trust_enabled" => "admin.switched_on",
        "trust_disabled" => "admin.trust_disabled",
        "trust_removed" => "admin.removed",
        "transmitter_added" => "admin.transmitter_added",
        "transmitter_removed" => "admin.removed",
        _ => return None,
    };
    Some(Notice { tone: Tone::Good, words: visit.page.t(key).to_owned() })
}
