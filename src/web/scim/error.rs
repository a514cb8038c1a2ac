//! Errors as RFC 7644, section 3.12 writes them.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

use crate::policy::DepartureError;
use crate::server::body::BodyError;
use crate::server::precondition::Stale;
use crate::server::problem::Problem;
use crate::store::StoreError;
use crate::web::scim::MEDIA_TYPE;

/// An error that the directory is told.
#[derive(Debug)]
pub struct ScimError {
    status: StatusCode,
    kind: Option<&'static str>,
    detail: String,
}

impl ScimError {
    fn new(status: StatusCode, kind: Option<&'static str>, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into() }
    }

    /// 400 with one of RFC 7644's error types.
    pub fn bad(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some(kind), detail)
    }

    /// 404.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, None, "there is no such resource")
    }

    /// 405.
    pub fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, None, "this resource takes another method")
    }

    /// 409: somebody else has that name.
    pub fn taken(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, Some("uniqueness"), detail)
    }

    /// 503: not now.
    pub fn unavailable(error: &dyn fmt::Display) -> Self {
        tracing::error!("a request of the directory failed: {error}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, None, "not at the moment: try again")
    }
}

impl fmt::Display for ScimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for ScimError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": self.status.as_u16().to_string(),
            "detail": self.detail,
        });
        if let (Some(kind), Some(body)) = (self.kind, body.as_object_mut()) {
            body.insert("scimType".to_owned(), kind.into());
        }
        let mut answer = HttpResponse::build(self.status);
        if self.status == StatusCode::UNAUTHORIZED {
            answer.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        answer.insert_header((CACHE_CONTROL, "no-store")).content_type(MEDIA_TYPE).body(body.to_string())
    }
}

impl From<Problem> for ScimError {
    fn from(problem: Problem) -> Self {
        Self::new(problem.status_code(), None, problem.to_string())
    }
}

impl From<BodyError> for ScimError {
    fn from(error: BodyError) -> Self {
        let kind = (error.status() == StatusCode::BAD_REQUEST).then_some("invalidSyntax");
        Self::new(error.status(), kind, error.to_string())
    }
}

impl From<StoreError> for ScimError {
    fn from(error: StoreError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<Stale> for ScimError {
    fn from(stale: Stale) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, None, stale.to_string())
    }
}

impl From<DepartureError> for ScimError {
    fn from(error: DepartureError) -> Self {
        match error {
            DepartureError::NotFound => Self::not_found(),
            other => Self::unavailable(&other),
        }
    }
}
