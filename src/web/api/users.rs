//! `/api/v1/users`.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::user::User;
use crate::server::problem::Problem;
use crate::web::api::list::{Page, Wanted, page};
use crate::web::api::{ApiState, auth};

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserView {
    id: String,
    issuer: String,
    subject: String,
    email: Option<String>,
    name: String,
    state: serde_json::Value,
    created_at: String,
    last_sign_in: Option<String>,
}

impl UserView {
    fn of(user: &User) -> Self {
        Self {
            id: user.id.to_string(),
            issuer: user.issuer.clone(),
            subject: user.subject.clone(),
            email: user.email.clone(),
            name: user.name.clone(),
            state: serde_json::json!(user.state),
            created_at: user.created_at.rfc3339(),
            last_sign_in: user.last_sign_in.map(|at| at.rfc3339()),
        }
    }
}

#[utoipa::path(get, path = "/api/v1/users", responses((status = 200, body = Page<UserView>)))]
pub async fn list(request: HttpRequest, state: web::Data<ApiState>) -> Result<HttpResponse, Problem> {
    auth::auditor(&request, &state).await?;
    let wanted = Wanted::read(&request)?;
    let users = page::<User, _>(&state.store, &wanted, |user| UserView::of(user)).await?;
    Ok(HttpResponse::Ok().json(users))
}
