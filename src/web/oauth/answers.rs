//! The one list that turns answers and errors of `tokens` into HTTP.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, PRAGMA};
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::limit::Limit;
use crate::server::oauth_error::OAuthError;
use crate::tokens::{
    AskAnswer, DelegationAnswer, IssuedToken, TYPE_ACCESS, TYPE_GATEWAY, TokenAnswer, TokenError,
};

const EVENT: HeaderName = HeaderName::from_static("x-valetkey-event");
const RETRY: Duration = Duration::from_secs(1);

/// The success answer (RFC 8693, section 2.2.1, with members of our own: `docs/agents.md`). The one place where a
/// token is written out.
#[derive(Serialize, ToSchema)]
pub struct TokenBody<'a> {
    access_token: &'a str,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: u64,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<&'a str>,
    #[schema(required = false)]
    grant_id: &'a str,
    #[schema(required = false, value_type = Vec<Object>)]
    authorization_details: &'a [Limit],
}

pub fn token(answer: TokenAnswer) -> HttpResponse {
    let (token, issued_token_type, gateway) = match &answer.token {
        IssuedToken::Gateway { token, gateway } => (token, TYPE_GATEWAY, Some(gateway.as_str())),
        IssuedToken::Provider { token } => (&**token, TYPE_ACCESS, None),
    };
    let body = TokenBody {
        access_token: token.expose_str(),
        issued_token_type,
        token_type: answer.token_type,
        expires_in: answer.expires_in.as_secs(),
        scope: answer.scope.to_string(),
        gateway,
        grant_id: answer.grant.as_str(),
        authorization_details: &answer.limits,
    };
    // Room for all of it: a token that is moved to a larger buffer leaves a copy behind.
    let mut json = Vec::with_capacity(512 + body.access_token.len() + body.scope.len());
    if serde_json::to_writer(&mut json, &body).is_err() {
        return error(TokenError::unavailable("the answer could not be written", RETRY)).into_response();
    }
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .insert_header((PRAGMA, HeaderValue::from_static("no-cache")))
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json")))
        .insert_header((EVENT, answer.event.as_str()))
        .body(json)
}

/// A delegation JWT: the issued type is that of any access token.
pub fn delegation(answer: DelegationAnswer) -> HttpResponse {
    #[derive(Serialize)]
    struct Body<'a> {
        access_token: &'a str,
        issued_token_type: &'static str,
        token_type: &'static str,
        expires_in: u64,
        scope: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        authorization_details: Vec<serde_json::Value>,
    }
    let body = Body {
        access_token: answer.token.expose_str(),
        issued_token_type: answer.issued_type,
        token_type: answer.token_type,
        expires_in: answer.expires_in,
        scope: answer.scope.to_string(),
        authorization_details: answer.details,
    };
    HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .insert_header(("pragma", "no-cache"))
        .insert_header(("x-valetkey-event", answer.event.as_str()))
        .json(body)
}

/// The answer to a backchannel request (OpenID CIBA, section 7.3). The page is left out when nobody has to
/// be asked.
#[derive(Serialize, ToSchema)]
pub struct AskBody<'a> {
    auth_req_id: &'a str,
    expires_in: u64,
    interval: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    interaction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interaction_uri: Option<&'a str>,
}

/// The handle to poll with, and the page to open.
pub fn asked(answer: AskAnswer) -> HttpResponse {
    let body = AskBody {
        auth_req_id: answer.auth_req_id.expose_str(),
        expires_in: answer.expires_in,
        interval: answer.interval,
        interaction: answer.page.as_ref().map(|(kind, _)| *kind),
        interaction_uri: answer.page.as_ref().map(|(_, uri)| uri.as_str()),
    };
    HttpResponse::Ok()
        .insert_header(("cache-control", "no-store"))
        .insert_header(("pragma", "no-cache"))
        .insert_header(("x-valetkey-event", answer.event.as_str()))
        .json(body)
}

pub fn error(error: TokenError) -> OAuthError {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = OAuthError::new(error.code, error.description).status(status);
    if let Some(wait) = error.retry_after {
        answer = answer.retry_after(wait.as_secs().max(1));
    }
    if let Some(event) = error.event {
        answer = answer.header("x-valetkey-event", event.as_str());
    }
    if let Some(interaction) = error.interaction {
        answer = answer
            .with("interaction", interaction.interaction)
            .with("interaction_uri", interaction.interaction_uri)
            .with("expires_in", interaction.expires_in)
            .with("interval", interaction.interval);
        if let Some(handle) = &interaction.auth_req_id {
            answer = answer.with("auth_req_id", handle.expose_str());
        }
    }
    answer
}
