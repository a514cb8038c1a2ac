//! Who calls the API, and what they may do.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use crate::kernel::bearer::{self, BearerKind};
use crate::model::user::{AdminToken, Role};
use crate::server::body;
use crate::server::problem::Problem;
use crate::web::api::ApiState;
use crate::web::api::errors;

/// An admin whose token was checked.
#[derive(Debug)]
pub struct Caller {
    /// The token's id, which events name.
    pub name: String,
}

/// A caller who may change things.
pub async fn admin(request: &HttpRequest, state: &ApiState) -> Result<Caller, Problem> {
    let token = token(request, state).await?;
    match token.role {
        Role::Admin => Ok(Caller { name: format!("{} ({})", token.name, token.id) }),
        Role::Auditor => Err(Problem::forbidden("this token may read only: use an admin token")),
        Role::Provisioner => Err(directory_only()),
    }
}

/// The company's directory, which creates, changes and removes people.
pub async fn provisioner(request: &HttpRequest, state: &ApiState) -> Result<Caller, Problem> {
    let token = token(request, state).await?;
    match token.role {
        Role::Provisioner => Ok(Caller { name: format!("{} ({})", token.name, token.id) }),
        Role::Admin | Role::Auditor => {
            Err(Problem::forbidden("this interface takes a token of the role provisioner"))
        }
    }
}

fn directory_only() -> Problem {
    Problem::forbidden("this token works at /scim/v2 only")
}

/// A caller who may read.
pub async fn auditor(request: &HttpRequest, state: &ApiState) -> Result<(), Problem> {
    match token(request, state).await?.role {
        Role::Admin | Role::Auditor => Ok(()),
        Role::Provisioner => Err(directory_only()),
    }
}

async fn token(request: &HttpRequest, state: &ApiState) -> Result<AdminToken, Problem> {
    let header = body::single_header(request, &AUTHORIZATION).map_err(|_| Problem::unauthorized())?;
    let text = header
        .and_then(|header| header.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token)
        .filter(|token| bearer::is_well_formed(BearerKind::AdminToken, token))
        .ok_or_else(Problem::unauthorized)?;
    let digest = state.vault.digest(BearerKind::AdminToken, text);
    let found =
        state.store.find_unique::<AdminToken>("digest", &digest.hex()).await.map_err(errors::store)?;
    let now = state.clock.now();
    found
        .filter(|token| token.digest.matches(&digest) && token.expires_at.is_none_or(|end| now < end))
        .map(|token| token.record().clone())
        .ok_or_else(Problem::unauthorized)
}
