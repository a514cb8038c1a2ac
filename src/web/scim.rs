//! `/scim/v2`: the company's directory creates, changes and removes people (RFC 7643, RFC 7644).
//!
//! A user here is the user that signs in: found by the sign-in provider's subject, which the directory sends
//! as `externalId`. So whoever the directory deactivates is the one whose agents stop.

mod directory;
pub mod document;
mod error;
mod filter;
mod group;
pub mod groups;
mod members;
mod message;
mod patch;
mod person;
pub mod schema;
pub mod users;

use actix_web::http::header::ALLOW;
use actix_web::{HttpRequest, HttpResponse, Resource, ResponseError as _, Route, web};

use crate::web::api;
use crate::web::scim::error::ScimError;

const MEDIA_TYPE: &str = "application/scim+json";

/// The routes of the directory's interface.
pub fn routes(config: &mut web::ServiceConfig) {
    let scim = web::scope("/scim/v2")
        .service(at("/ServiceProviderConfig", [web::get().to(schema::provider)]))
        .service(at("/ResourceTypes", [web::get().to(schema::resource_types)]))
        .service(at("/ResourceTypes/{id}", [web::get().to(schema::resource_type)]))
        .service(at("/Schemas", [web::get().to(schema::schemas)]))
        .service(at("/Schemas/{id}", [web::get().to(schema::schema)]))
        .service(at("/Users", [web::get().to(users::list), web::post().to(users::create)]))
        .service(at(
            "/Users/{id}",
            [
                web::get().to(users::show),
                web::put().to(users::replace),
                web::patch().to(users::patch),
                web::delete().to(users::remove),
            ],
        ))
        .service(at("/Groups", [web::get().to(groups::list), web::post().to(groups::create)]))
        .service(at(
            "/Groups/{id}",
            [
                web::get().to(groups::show),
                web::put().to(groups::replace),
                web::patch().to(groups::patch),
                web::delete().to(groups::remove),
            ],
        ))
        .default_service(web::to(missing));
    config.service(scim);
}

fn at<const N: usize>(path: &str, routes: [Route; N]) -> Resource {
    routes.into_iter().fold(web::resource(path), Resource::route).default_service(web::to(other_method))
}

async fn missing(_request: HttpRequest) -> Result<HttpResponse, ScimError> {
    Err(ScimError::not_found())
}

async fn other_method(request: HttpRequest) -> HttpResponse {
    let mut answer = ScimError::method().error_response();
    answer.headers_mut().insert(ALLOW, api::allowed(&request));
    answer
}
