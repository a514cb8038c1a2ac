//! Reading request bodies within limits.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use actix_web::web::Payload;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::server::params::{ParamError, Params};

/// The most that a form may hold.
pub const MAX_FORM: usize = 64 * 1024;
/// The most that a JSON body may hold.
pub const MAX_JSON: usize = 256 * 1024;
/// The most that a query may hold.
pub const MAX_QUERY: usize = 16 * 1024;
/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// A body or query cannot be read. The texts hold nothing of what was sent but names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Another content type.
    #[error("the content type must be `{expected}`")]
    ContentType {
        /// What it must be.
        expected: &'static str,
    },
    /// Too long.
    #[error("the request is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within 10 seconds")]
    TooSlow,
    /// The connection broke, or the framing is wrong.
    #[error("the body could not be read")]
    Broken,
    /// The parameters are not well-formed.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// Not the JSON that this call takes.
    #[error("{0}")]
    Json(String),
}

impl BodyError {
    /// The status that fits.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::ContentType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken | Self::Params(_) | Self::Json(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ContentType { .. } => "unsupported_media_type",
            Self::TooLarge { .. } => "request_too_large",
            Self::TooSlow => "request_timeout",
            Self::Broken | Self::Params(_) | Self::Json(_) => "invalid_request",
        }
    }
}

/// Reads a form in which no parameter may be repeated.
///
/// # Errors
/// When the body is not such a form.
pub async fn read_form(request: &HttpRequest, payload: Payload) -> Result<Params, BodyError> {
    read_page_form(request, payload, &[]).await
}

/// Reads a form in which the named parameters may be repeated (checkboxes).
///
/// # Errors
/// When the body is not such a form.
pub async fn read_page_form(
    request: &HttpRequest,
    payload: Payload,
    repeatable: &[&str],
) -> Result<Params, BodyError> {
    expect_type(request, "application/x-www-form-urlencoded")?;
    let body = read_body(request, payload, MAX_FORM).await?;
    Ok(Params::parse(&body, repeatable)?)
}

/// Reads the query, in which no parameter may be repeated.
///
/// # Errors
/// When the query is too long or unclear.
pub fn read_query(request: &HttpRequest) -> Result<Params, BodyError> {
    let query = request.query_string();
    if query.len() > MAX_QUERY {
        return Err(BodyError::TooLarge { limit: MAX_QUERY });
    }
    Ok(Params::parse(query.as_bytes(), &[])?)
}

/// Reads a JSON body.
///
/// # Errors
/// When it is not the JSON that the type describes.
pub async fn read_json<T: DeserializeOwned>(request: &HttpRequest, payload: Payload) -> Result<T, BodyError> {
    expect_type(request, "application/json")?;
    let body = read_body(request, payload, MAX_JSON).await?;
    // The library would take a list for a structure too, member by member; nobody means that.
    if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(BodyError::Json("it is not an object".to_owned()));
    }
    serde_json::from_slice(&body).map_err(|error| BodyError::Json(describe(&error)))
}

/// Reads a body into a buffer that is wiped.
///
/// # Errors
/// When it is longer than `limit`, late, or broken.
pub async fn read_body(
    request: &HttpRequest,
    mut payload: Payload,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, BodyError> {
    let announced = single_header(request, &CONTENT_LENGTH)
        .map_err(|_| BodyError::Broken)?
        .and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(BodyError::TooLarge { limit });
    }
    // Sized once, so that no earlier copy of a secret stays behind.
    let mut body = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(limit)));
    let until = Instant::now() + ARRIVAL;
    while let Some(chunk) = timeout_at(until, payload.next()).await.map_err(|_| BodyError::TooSlow)? {
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        if body.len().saturating_add(chunk.len()) > limit {
            return Err(BodyError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A header came more than once, or is not plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a header is repeated or is not ASCII text")]
pub struct UnclearHeader;

/// A header's text. Two `Authorization` headers, of which one part sees the first and another the
/// last, are an attack, so a repeated header is refused.
///
/// # Errors
/// When the header is repeated or not text.
pub fn single_header<'r>(
    request: &'r HttpRequest,
    name: &HeaderName,
) -> Result<Option<&'r str>, UnclearHeader> {
    let mut values = request.headers().get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(UnclearHeader);
    }
    value.to_str().map(Some).map_err(|_| UnclearHeader)
}

fn expect_type(request: &HttpRequest, expected: &'static str) -> Result<(), BodyError> {
    let wrong = BodyError::ContentType { expected };
    let Ok(Some(text)) = single_header(request, &CONTENT_TYPE) else { return Err(wrong) };
    let mut fields = text.split(';').map(str::trim);
    let is_type = fields.next().is_some_and(|media| media.eq_ignore_ascii_case(expected));
    // Another charset would mean that we read other text than was written.
    let is_utf8 = fields.filter(|field| !field.is_empty()).all(|field| {
        let field = field.to_ascii_lowercase();
        !field.starts_with("charset") || matches!(field.as_str(), "charset=utf-8" | "charset=\"utf-8\"")
    });
    if is_type && is_utf8 { Ok(()) } else { Err(wrong) }
}

/// What is wrong with JSON, without values: a secret sent in the wrong place must not come back.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let names_only = ["unknown field", "missing field", "duplicate field"];
    if error.is_data() && names_only.iter().any(|start| text.starts_with(start)) {
        return crate::kernel::text::clean(&text, 300);
    }
    let what = if error.is_data() { "a member has the wrong type or value" } else { "the body is not JSON" };
    format!("{what}, at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use actix_web::{App, HttpResponse, web};
    use serde::Deserialize;

    use super::*;

    async fn echo(request: HttpRequest, payload: Payload) -> HttpResponse {
        match read_form(&request, payload).await {
            Ok(params) => HttpResponse::Ok().body(params.names().collect::<Vec<_>>().join(",")),
            Err(error) => HttpResponse::build(error.status()).body(error.code()),
        }
    }

    async fn status_of(request: TestRequest) -> u16 {
        let app = actix_web::test::init_service(App::new().route("/", web::post().to(echo))).await;
        actix_web::test::call_service(&app, request.uri("/").to_request()).await.status().as_u16()
    }

    fn form(body: &str) -> TestRequest {
        TestRequest::post()
            .insert_header(("content-type", "application/x-www-form-urlencoded; charset=UTF-8"))
            .set_payload(body.to_owned())
    }

    #[actix_web::test]
    async fn forms_are_read_strictly() {
        assert_eq!(status_of(form("a=1&b=2")).await, 200);
        assert_eq!(status_of(form("a=1&a=2")).await, 400);
        assert_eq!(status_of(form("a=%ff")).await, 400);
        assert_eq!(status_of(form(&format!("a={}", "x".repeat(MAX_FORM)))).await, 413);
        assert_eq!(status_of(TestRequest::post().set_payload("a=1")).await, 415);
        for content_type in
            ["application/json", "text/plain", "application/x-www-form-urlencoded;charset=utf-16"]
        {
            let request =
                TestRequest::post().insert_header(("content-type", content_type)).set_payload("a=1");
            assert_eq!(status_of(request).await, 415, "{content_type}");
        }
    }

    #[actix_web::test]
    async fn a_repeated_header_is_refused() {
        let request = TestRequest::post()
            .append_header(("authorization", "Bearer a"))
            .append_header(("authorization", "Bearer b"))
            .to_http_request();
        assert!(single_header(&request, &HeaderName::from_static("authorization")).is_err());
        assert_eq!(single_header(&request, &CONTENT_TYPE), Ok(None));
    }

    #[test]
    fn json_errors_name_members_but_repeat_no_values() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Shape {
            #[expect(dead_code, reason = "only its absence matters")]
            count: u32,
        }
        let error = |text: &str| describe(&serde_json::from_str::<Shape>(text).unwrap_err());
        assert!(error("{\"extra\": 1}").starts_with("unknown field `extra`"));
        assert!(error("{}").starts_with("missing field `count`"));
        assert!(!error("{\"count\": \"canary\"}").contains("canary"));
        assert!(!error("canary").contains("canary"));
    }
}
