//! What people and admins see and call: pages, and the endpoints behind them.

pub mod admin;
pub mod api;
pub mod assets;
pub mod employee;
pub mod failure;
pub mod forms;
pub mod local_login;
pub mod login;
pub mod lookup;
pub mod oauth;
pub mod password;
pub mod people;
pub mod portal;
pub mod scim;
pub mod security_events;
pub mod session;
pub mod setup;
pub mod state;
pub mod texts;
pub mod transmitters;
pub mod views;
pub mod visit;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, Resource, Route, web};

use crate::web::failure::Failure;

/// Every page, in one table. Registered last: what nothing else answers gets the page that says so.
pub fn routes(config: &mut web::ServiceConfig) {
    let pages = web::scope("")
        .wrap(from_fn(failure::dress))
        .service(page("/assets/{name}", [web::get().to(asset)]))
        .service(page("/login", [web::get().to(login::show), web::post().to(login::begin)]))
        .service(page("/login/local", [web::post().to(login::local)]))
        .service(page("/login/callback", [web::get().to(login::callback)]))
        .service(page("/logout", [web::post().to(login::out)]))
        .service(page("/setup", [web::get().to(setup::show), web::post().to(setup::create)]))
        .service(page("/", [web::get().to(portal::home::show)]))
        .service(page("/grants/{id}", [web::get().to(portal::grant::show)]))
        .service(page("/grants/{id}/tighten", [web::post().to(portal::grant::tighten)]))
        .service(page(
            "/grants/{id}/pick/{api}/{kind}",
            [web::get().to(portal::pick::show), web::post().to(portal::pick::answer)],
        ))
        .service(page(
            "/grants/{id}/try",
            [web::get().to(portal::trial::show), web::post().to(portal::trial::answer)],
        ))
        .service(page("/grants/{id}/revoke", [web::post().to(portal::manage::revoke)]))
        .service(page("/services/{id}/{wanted}", [web::post().to(portal::services::switch)]))
        .service(page("/connections/{id}/disconnect", [web::post().to(portal::manage::disconnect)]))
        .service(page("/connections/{id}/default", [web::post().to(portal::manage::make_default)]))
        .service(page("/connections/{id}/reconnect", [web::post().to(portal::manage::reconnect)]))
        .service(page(
            "/i/{id}",
            [web::get().to(portal::interaction::show), web::post().to(portal::interaction::answer)],
        ))
        .service(page("/callback/{provider}", [web::get().to(portal::callback::show)]))
        .configure(admin::routes)
        .default_service(web::to(missing));
    config.service(pages);
}

/// One address and what it takes; any other kind of request gets the page that says so.
fn page<const N: usize>(path: &str, routes: [Route; N]) -> Resource {
    routes.into_iter().fold(web::resource(path), Resource::route).default_service(web::to(other_method))
}

/// Takes the visit, so that the page knows who is signed in.
async fn missing(_visit: visit::Visit) -> Result<HttpResponse, Failure> {
    Err(Failure::NotFound)
}

async fn other_method(_visit: visit::Visit) -> Result<HttpResponse, Failure> {
    Err(Failure::Method)
}

/// `GET /assets/{name}`. The address changes with the content, so browsers may keep it.
async fn asset(name: web::Path<String>) -> Result<HttpResponse, Failure> {
    let (media_type, bytes) = assets::find(&name).ok_or(Failure::NotFound)?;
    Ok(HttpResponse::Ok()
        .content_type(media_type)
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(bytes.into_owned()))
}
