//! Error bodies of OAuth endpoints (RFC 6749, section 5.2).

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::kernel::text;
use crate::server::body::BodyError;

/// An OAuth error. The description is turned into ASCII, as the RFC demands.
#[derive(Clone, Debug)]
pub struct OAuthError {
    error: &'static str,
    description: String,
    status: StatusCode,
    retry_after: Option<u64>,
    members: Box<Map<String, Value>>,
    headers: Vec<(&'static str, String)>,
}

impl OAuthError {
    /// An error with the status that its code has: 401 for `invalid_client`, 503 for
    /// `temporarily_unavailable`, 400 otherwise.
    pub fn new(error: &'static str, description: impl Into<String>) -> Self {
        let status = match error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "temporarily_unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let retry_after = (error == "temporarily_unavailable").then_some(2);
        Self {
            error,
            description: description.into(),
            status,
            retry_after,
            members: Box::default(),
            headers: Vec::new(),
        }
    }

    /// `invalid_request`.
    pub fn invalid_request(description: impl Into<String>) -> Self {
        Self::new("invalid_request", description)
    }

    /// `invalid_client`; with a challenge, as every 401 has one (RFC 9110, section 15.5.2).
    pub fn invalid_client() -> Self {
        Self::new(
            "invalid_client",
            "client authentication failed: the agent is unknown or its proof is not accepted",
        )
    }

    /// `temporarily_unavailable`: nothing was released, and trying again is safe.
    pub fn unavailable() -> Self {
        Self::new("temporarily_unavailable", "the service cannot answer safely at the moment; try again")
    }

    /// Throttled: 429 with `Retry-After`.
    pub fn throttled(seconds: u64) -> Self {
        let mut error = Self::new("slow_down", "too many attempts; wait before trying again");
        error.status = StatusCode::TOO_MANY_REQUESTS;
        error.retry_after(seconds)
    }

    /// Sets `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Sets another status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a member, such as `interaction_uri`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a header of ours.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The error code.
    pub const fn code(&self) -> &'static str {
        self.error
    }

    /// The answer.
    pub fn into_response(self) -> HttpResponse {
        self.error_response()
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error, self.description)
    }
}

impl ResponseError for OAuthError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut body = (*self.members).clone();
        body.insert("error".to_owned(), json!(self.error));
        body.insert("error_description".to_owned(), json!(text::ascii(&self.description)));
        let mut response = HttpResponse::build(self.status);
        response.content_type("application/json");
        response.insert_header((CACHE_CONTROL, "no-store")).insert_header((PRAGMA, "no-cache"));
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        for (name, value) in &self.headers {
            response.insert_header((*name, value.as_str()));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Basic realm=\"valetkey\", charset=\"UTF-8\""));
        }
        response.body(Value::Object(body).to_string())
    }
}

impl From<BodyError> for OAuthError {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge { .. } | BodyError::TooSlow => error.status(),
            // RFC 6749 knows no other status for a request that cannot be read.
            _ => StatusCode::BAD_REQUEST,
        };
        Self::invalid_request(error.to_string()).status(status)
    }
}

/// A successful answer of an OAuth endpoint: JSON that nobody may keep (RFC 6749, section 5.1).
pub fn oauth_json<T: Serialize>(value: &T) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((PRAGMA, "no-cache"))
        .json(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn descriptions_are_ascii_and_nothing_is_cached() {
        let error = OAuthError::invalid_request("`钥匙` is \"bad\"").with("interval", 5);
        let response = error.into_response();
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers().get("cache-control").unwrap(), "no-store");
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error_description"], "`??` is ?bad?");
        assert_eq!(body["interval"], 5);
    }

    #[test]
    fn each_code_has_its_status() {
        assert_eq!(OAuthError::invalid_client().into_response().status(), 401);
        assert!(OAuthError::invalid_client().into_response().headers().contains_key("www-authenticate"));
        assert!(!OAuthError::unavailable().into_response().headers().contains_key("www-authenticate"));
        assert_eq!(OAuthError::unavailable().into_response().status(), 503);
        let throttled = OAuthError::throttled(7).into_response();
        assert_eq!(throttled.status(), 429);
        assert_eq!(throttled.headers().get("retry-after").unwrap(), "7");
    }
}
