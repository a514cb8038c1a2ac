//! The OAuth endpoints for agents: they read requests, call `tokens`, and write answers.

pub(super) mod answers;
pub(super) mod metadata;
mod possession;
pub(super) mod schema;

use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, Resource, Route, web};

use crate::agents::{Authenticated, ShownCertificate};
use crate::kernel::ids::AudienceId;
use crate::kernel::secret::SecretString;
use crate::model::agent::Agent;
use crate::server::oauth_error::{OAuthError, oauth_json};
use crate::server::{Inbound, body, client, peer, trace};
use crate::tokens::{
    ClientAuthentication, ClientProof, GRANT_CIBA, GRANT_CLIENT, GRANT_EXCHANGE, GRANT_JWT_BEARER,
    Introspector, Params, RequestInfo, TokenError, Tokens, VouchedRequest,
};

/// The routes of this room.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(endpoint("/oauth2/token", web::post().to(token)))
        .service(endpoint("/oauth2/bc-authorize", web::post().to(ask)))
        .service(endpoint("/oauth2/introspect", web::post().to(introspect)))
        .service(endpoint("/oauth2/revoke", web::post().to(revoke)))
        .service(document("/.well-known/jwks.json", web::get().to(jwks)))
        .service(document("/.well-known/oauth-authorization-server", web::get().to(metadata::metadata)));
}

/// One endpoint; any other kind of request is told which one it takes.
fn endpoint(path: &str, post: Route) -> Resource {
    web::resource(path).route(post).default_service(web::to(not_post))
}

async fn not_post() -> Result<HttpResponse, OAuthError> {
    let error = OAuthError::invalid_request("this endpoint takes POST with a form body");
    Err(error.status(StatusCode::METHOD_NOT_ALLOWED).header("allow", "POST"))
}

/// One public document.
fn document(path: &str, get: Route) -> Resource {
    web::resource(path).route(get).default_service(web::to(not_get))
}

async fn not_get() -> Result<HttpResponse, OAuthError> {
    let error = OAuthError::invalid_request("this is a document: it takes GET");
    Err(error.status(StatusCode::METHOD_NOT_ALLOWED).header("allow", "GET"))
}

/// A request of an authenticated agent.
struct AgentRequest {
    agent: Authenticated<Agent>,
    pairs: Vec<(String, String)>,
    info: RequestInfo,
}

impl AgentRequest {
    fn params(&self) -> Params<'_> {
        Params(&self.pairs)
    }
}

impl Drop for AgentRequest {
    fn drop(&mut self) {
        wipe(&mut self.pairs);
    }
}

/// Forms hold agent secrets and users' tokens.
fn wipe(pairs: &mut [(String, String)]) {
    for (_, value) in pairs {
        zeroize::Zeroize::zeroize(value);
    }
}

/// A form, with what its sender says about who they are.
struct Form {
    pairs: Vec<(String, String)>,
    client: Result<ClientAuthentication, TokenError>,
}

async fn form(request: &HttpRequest, payload: web::Payload) -> Result<Form, OAuthError> {
    if !request.query_string().is_empty() {
        return Err(OAuthError::invalid_request("send parameters in the body, not in the query"));
    }
    let pairs = body::read_form(request, payload).await?.into_pairs();
    let authorization = body::single_header(request, &AUTHORIZATION)
        .map_err(|_| OAuthError::invalid_request("send one Authorization header"))?;
    let client = ClientAuthentication::read(authorization, Params(&pairs));
    Ok(Form { pairs, client })
}

async fn read(
    request: &HttpRequest,
    payload: web::Payload,
    tokens: &Tokens,
    inbound: &Inbound,
) -> Result<AgentRequest, OAuthError> {
    let form = form(request, payload).await?;
    authenticated(request, form, tokens, inbound).await
}

/// The client certificate of the connection, as far as it is known.
fn certificate(request: &HttpRequest, inbound: &Inbound) -> Option<ShownCertificate> {
    let mut shown = peer::certificates(request, inbound)?.into_iter();
    Some(ShownCertificate::new(shown.next()?, shown.collect()))
}

async fn authenticated(
    request: &HttpRequest,
    form: Form,
    tokens: &Tokens,
    inbound: &Inbound,
) -> Result<AgentRequest, OAuthError> {
    let Form { mut pairs, client } = form;
    let authenticated = match client {
        Ok(shown) => {
            let certificate = certificate(request, inbound);
            let attempt = shown.attempt(certificate.as_ref(), Some(client::address(request, inbound)));
            tokens.agents.sign_in(&attempt).await.map_err(TokenError::from)
        }
        Err(error) => Err(error),
    };
    match authenticated {
        Ok(agent) => {
            let info = RequestInfo {
                client_address: Some(client::address(request, inbound)),
                traceparent: trace::traceparent(request),
                ..RequestInfo::default()
            };
            Ok(AgentRequest { agent, pairs, info })
        }
        Err(error) => {
            wipe(&mut pairs);
            Err(match error.code {
                "invalid_client" => OAuthError::invalid_client(),
                _ => answers::error(error),
            })
        }
    }
}

#[utoipa::path(post, path = "/oauth2/token", tag = "oauth",
    params(("DPoP" = Option<String>, Header, description = "A proof of possession (RFC 9449): the token is bound to its key.")),
    request_body(content = schema::TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = answers::TokenBody)))]
/// Token exchange, an identity assertion as a grant, client credentials, and polling.
pub(super) async fn token(
    request: HttpRequest,
    payload: web::Payload,
    tokens: web::Data<Tokens>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, OAuthError> {
    let mut asked = read(&request, payload, &tokens, &inbound).await?;
    let proof = possession::shown(&request);
    let answer =
        match tokens.bind(&asked.agent, proof, "/oauth2/token", std::mem::take(&mut asked.info)).await {
            Ok(info) => issue(&asked, &info, &tokens).await,
            Err(error) => Err(error),
        };
    possession::with_nonce(proof, &tokens.proofs, answer)
}

async fn issue(
    asked: &AgentRequest,
    info: &RequestInfo,
    tokens: &Tokens,
) -> Result<HttpResponse, TokenError> {
    let Some(request) = tokens.vouched(&asked.agent, asked.params(), info).await? else {
        return answered(asked, asked.params(), info, tokens).await;
    };
    let VouchedRequest { user, mut pairs } = request;
    let info = RequestInfo { vouched: Some(user), ..info.clone() };
    let answer = answered(asked, Params(&pairs), &info, tokens).await;
    wipe(&mut pairs);
    answer
}

async fn answered(
    asked: &AgentRequest,
    params: Params<'_>,
    info: &RequestInfo,
    tokens: &Tokens,
) -> Result<HttpResponse, TokenError> {
    let answer = match params.require("grant_type")? {
        GRANT_EXCHANGE | GRANT_JWT_BEARER if names_back_end(params) => {
            tokens.refuse_bare_provider(params).await?;
            return tokens.exchange_delegation(&asked.agent, params, info).await.map(answers::delegation);
        }
        GRANT_CLIENT => {
            tokens.refuse_bare_provider(params).await?;
            return tokens.client_credentials(&asked.agent, params, info).await.map(answers::delegation);
        }
        GRANT_EXCHANGE | GRANT_JWT_BEARER => tokens.exchange(&asked.agent, params, info).await,
        GRANT_CIBA => tokens.poll(&asked.agent, params, info).await,
        _ => Err(TokenError::new(
            "unsupported_grant_type",
            "this grant_type is not supported; see the metadata",
        )),
    };
    answer.map(answers::token)
}

#[utoipa::path(post, path = "/oauth2/bc-authorize", tag = "oauth",
    request_body(content = schema::AskForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = answers::AskBody)))]
/// Asks before needing; the token is collected at the token endpoint.
pub(super) async fn ask(
    request: HttpRequest,
    payload: web::Payload,
    tokens: web::Data<Tokens>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, OAuthError> {
    let asked = read(&request, payload, &tokens, &inbound).await?;
    let answer = tokens.ask(&asked.agent, asked.params(), &asked.info).await;
    answer.map(answers::asked).map_err(answers::error)
}

#[utoipa::path(post, path = "/oauth2/introspect", tag = "oauth",
    request_body(content = schema::TokenOnlyForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, body = schema::IntrospectionBody)))]
/// Whether a token works now, and what it holds (RFC 7662).
pub(super) async fn introspect(
    request: HttpRequest,
    payload: web::Payload,
    tokens: web::Data<Tokens>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, OAuthError> {
    let mut form = form(&request, payload).await?;
    if let Some((id, secret)) = back_end(&form) {
        let proven = tokens.audiences.authenticate(&id, secret.expose()).await;
        let answer = match proven {
            Err(error) => Err(answers::error(TokenError::from(error))),
            Ok(audience) => {
                let caller = Introspector::Audience(&audience);
                let answer = tokens.introspect_delegation(&caller, Params(&form.pairs)).await;
                answer.map(|answer| oauth_json(&answer)).map_err(answers::error)
            }
        };
        wipe(&mut form.pairs);
        return answer;
    }
    let asked = authenticated(&request, form, &tokens, &inbound).await?;
    // A delegation JWT is the only token of ours that has dots.
    if asked.params().get("token").is_some_and(|token| token.contains('.')) {
        let caller = Introspector::Agent(&asked.agent);
        let answer = tokens.introspect_delegation(&caller, asked.params()).await.map_err(answers::error)?;
        return Ok(oauth_json(&answer));
    }
    let answer = tokens.introspect(&asked.agent, asked.params()).await.map_err(answers::error)?;
    Ok(oauth_json(&answer))
}

/// The credentials of a back end, which has a secret and nothing else.
fn back_end(form: &Form) -> Option<(AudienceId, &SecretString)> {
    let client = form.client.as_ref().ok()?;
    let ClientProof::Secret(secret) = &client.proof else { return None };
    Some((client.client_id.as_deref()?.parse().ok()?, secret))
}

#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "oauth", security(()),
    responses((status = 200, body = Object)))]
/// The public keys of delegation JWTs (RFC 7517). Caches may keep them for less time than a new key is
/// published before it signs.
pub(super) async fn jwks(tokens: web::Data<Tokens>) -> Result<HttpResponse, OAuthError> {
    let keys = tokens.keys.jwks().await.map_err(|error| answers::error(error.into()))?;
    Ok(HttpResponse::Ok().insert_header(("cache-control", "public, max-age=600")).json(keys))
}

fn names_back_end(params: Params<'_>) -> bool {
    params.get("audience").is_some_and(|audience| !audience.starts_with("provider:"))
}

#[utoipa::path(post, path = "/oauth2/revoke", tag = "oauth",
    request_body(content = schema::TokenOnlyForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "It does not work, whether it did before or not.")))]
/// Ends a token of the agent's own (RFC 7009).
pub(super) async fn revoke(
    request: HttpRequest,
    payload: web::Payload,
    tokens: web::Data<Tokens>,
    inbound: web::Data<Inbound>,
) -> Result<HttpResponse, OAuthError> {
    let asked = read(&request, payload, &tokens, &inbound).await?;
    tokens.revoke(&asked.agent, asked.params()).await.map_err(answers::error)?;
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).finish())
}
