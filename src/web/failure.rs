//! What can go wrong on a page, and the one list that turns it into an answer.

use std::fmt;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, SET_COOKIE};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use askama::Template;

use crate::audit::AuditError;
use crate::kernel::ids::InteractionId;
use crate::server::body::BodyError;
use crate::server::middleware::RequestId;
use crate::server::{Inbound, client, cookies};
use crate::store::StoreError;
use crate::web::state::WebState;
use crate::web::views::Page;
use crate::web::views::error::ErrorPage;
use crate::web::visit;

/// What went wrong, as far as the reader needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A form or link that cannot be understood.
    BadRequest,
    /// Nobody is signed in; where to go on after signing in.
    SignIn(Option<InteractionId>),
    /// Signed in, but not allowed.
    Forbidden,
    /// A form of another browser, another site, or another day.
    FormExpired,
    /// No such page or thing.
    NotFound,
    /// Another kind of request is expected there.
    Method,
    /// Changed meanwhile.
    Conflict,
    /// Tried too often; seconds to wait.
    TooMany(u64),
    /// Longer than any form.
    TooLarge,
    /// One of our own parts.
    Unavailable,
    /// The provider did not answer as it should.
    Provider,
    /// The provider does not accept us.
    ProviderConfig,
    /// An answer of a provider that is not this browser's.
    Callback,
    /// Another upstream account than the one meant.
    OtherAccount,
    /// An upstream account that is connected already, with more than was agreed to now.
    AccountConnected,
    /// An upstream account of another company.
    OtherCompany,
    /// The user is switched off.
    AccountDisabled,
    /// Anything else. What happened is in the log.
    Internal,
}

impl Failure {
    /// The stable code, which also names the texts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::SignIn(_) => "sign_in",
            Self::Forbidden => "forbidden",
            Self::FormExpired => "form_expired",
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::Conflict => "conflict",
            Self::TooMany(_) => "too_many",
            Self::TooLarge => "too_large",
            Self::Unavailable => "unavailable",
            Self::Provider => "provider",
            Self::ProviderConfig => "provider_config",
            Self::Callback => "callback",
            Self::OtherAccount => "other_account",
            Self::AccountConnected => "account_connected",
            Self::OtherCompany => "other_company",
            Self::AccountDisabled => "account_disabled",
            Self::Internal => "internal",
        }
    }

    /// Writes down what the reader is not told, and says that we cannot help now.
    pub fn unavailable(error: &dyn fmt::Display) -> Self {
        tracing::error!(%error, "a page could not be made");
        Self::Unavailable
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { .. } => Self::TooLarge,
            _ => Self::BadRequest,
        }
    }
}

impl From<askama::Error> for Failure {
    fn from(error: askama::Error) -> Self {
        tracing::error!(%error, "a page could not be rendered");
        Self::Internal
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::BadRequest | Self::Callback | Self::OtherAccount | Self::OtherCompany => {
                StatusCode::BAD_REQUEST
            }
            Self::SignIn(_) => StatusCode::SEE_OTHER,
            Self::Forbidden | Self::FormExpired | Self::AccountDisabled => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict | Self::AccountConnected => StatusCode::CONFLICT,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Provider | Self::ProviderConfig => StatusCode::BAD_GATEWAY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The bare answer; [`dress`] makes a page of it.
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::SignIn(None) => response.insert_header((LOCATION, "/login")),
            Self::SignIn(Some(then)) => response.insert_header((LOCATION, format!("/login?then={then}"))),
            Self::TooMany(seconds) => response.insert_header((RETRY_AFTER, *seconds)),
            Self::Unavailable => response.insert_header((RETRY_AFTER, 2)),
            _ => &mut response,
        };
        response.finish()
    }
}

/// The middleware around all pages: failures become pages in the reader's language, and a language
/// that was switched to is remembered.
///
/// # Errors
/// Never by itself.
pub async fn dress(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let wanted = (request.method() == Method::GET).then(|| visit::wanted_lang(request.request())).flatten();
    let mut response = next.call(request).await?.map_into_boxed_body();
    let failure = response.response().error().and_then(|error| error.as_error::<Failure>()).cloned();
    if let Some(failure) = failure.filter(|failure| !matches!(failure, Failure::SignIn(_))) {
        let page = failure_page(response.request(), &failure);
        response = response.map_body(|_, _| BoxBody::new(page));
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, html);
    }
    let inbound = response.request().app_data::<web::Data<Inbound>>().cloned();
    if let (Some(lang), Some(inbound)) = (wanted, inbound) {
        let cookie = cookies::set(&inbound, client::LANG_COOKIE, visit::lang_code(lang), Some(YEAR));
        if let Ok(value) = HeaderValue::from_str(&cookie.to_string()) {
            response.headers_mut().append(SET_COOKIE, value);
        }
    }
    Ok(response)
}

const YEAR: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);

fn failure_page(request: &HttpRequest, failure: &Failure) -> String {
    let known = request.extensions().get::<Page>().cloned();
    let page = known.or_else(|| {
        let state = request.app_data::<web::Data<WebState>>()?;
        let inbound = request.app_data::<web::Data<Inbound>>()?;
        Some(visit::bare_page(request, state, inbound))
    });
    let id = RequestId::of(request).map(|id| id.as_str().to_owned()).unwrap_or_default();
    page.map(|page| ErrorPage::new(page, failure.code(), &id))
        .and_then(|page| page.render().ok())
        .unwrap_or_else(|| failure.code().to_owned())
}
