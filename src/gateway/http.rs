//! The gateway's HTTP face.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::http::header::{HeaderMap as SentHeaders, HeaderName as SentName};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt as _;

use crate::agents::ShownCertificate;
use crate::gateway::body::RequestBody;
use crate::gateway::call::{self, RawCall, Unreadable};
use crate::gateway::denial::Denial;
use crate::gateway::{Gateway, answer::GatewayAnswer};
use crate::net::http::{HeaderMap, HeaderName, HeaderValue};
use crate::server::ending::Ending;
use crate::server::{Inbound, body, client, peer, trace};
use crate::tokens::dpop::{self, ShownProof};
use crate::tokens::{Scheme, ShownToken};

/// The header with a proof of possession (RFC 9449, section 4.1).
const DPOP: &str = "dpop";

/// Handles every request below `/gateway/`.
pub async fn handle(
    request: HttpRequest,
    payload: web::Payload,
    gateway: web::Data<Gateway>,
    inbound: web::Data<Inbound>,
) -> HttpResponse {
    let shows_proof = request.headers().contains_key(DPOP);
    let (mut response, wants_proof) = match serve(&request, payload, &gateway, &inbound).await {
        Ok(answer) => (release(answer, &request), false),
        Err(denial) => (refuse(&denial, shows_proof), denial.wants_proof),
    };
    if shows_proof || wants_proof {
        give_nonce(&mut response, &gateway);
    }
    response
}

/// The nonce for the next proof (RFC 9449, section 8.2).
fn give_nonce(response: &mut HttpResponse, gateway: &Gateway) {
    if let Ok(nonce) = gateway.tokens.proofs.nonce().parse() {
        response.headers_mut().insert(SentName::from_static("dpop-nonce"), nonce);
    }
}

/// The token comes before the body: nothing is read, let alone kept in memory, for a caller who shows none
/// that works.
async fn serve(
    request: &HttpRequest,
    payload: web::Payload,
    gateway: &Gateway,
    inbound: &Inbound,
) -> Result<GatewayAnswer, Denial> {
    let head = head(request, inbound);
    let certificate = peer::certificates(request, inbound).and_then(|shown| shown.into_iter().next());
    let thumbprint = certificate.map(|der| ShownCertificate::new(der, Vec::new()).thumbprint().to_owned());
    let verified = match shown(request, thumbprint.as_deref()) {
        Ok(Some(shown)) => gateway.authenticate(&shown).await,
        Ok(None) => Err(Denial::invalid_token()),
        Err(unreadable) => Err(Denial::unreadable(unreadable)),
    };
    let (verified, head) = match (verified, head) {
        (Ok(verified), head) => (verified, head),
        (Err(_), Err(unreadable)) => return Err(Denial::unreadable(unreadable)),
        (Err(denial), Ok(_)) => return Err(denial),
    };
    let read = match head {
        Ok(head) => with_body(request, payload, head),
        Err(unreadable) => Err(unreadable),
    };
    match read {
        Ok(call) => gateway.serve(&Arc::new(verified), call).await,
        Err(unreadable) => {
            let (path, from) = (request.uri().path(), client::address(request, inbound));
            Err(gateway.unreadable(&verified, unreadable, path, from).await)
        }
    }
}

/// A call without its body.
fn head(request: &HttpRequest, inbound: &Inbound) -> Result<RawCall, Unreadable> {
    let uri = request.uri();
    if uri.scheme().is_some() || uri.authority().is_some() {
        return Err(Unreadable::AbsoluteForm);
    }
    call::check_method(request.method().as_str())?;
    let (provider, api, path) = call::split(uri.path())?;
    Ok(RawCall {
        provider: provider.to_owned(),
        api: api.to_owned(),
        method: request.method().as_str().to_owned(),
        path: path.to_owned(),
        query: uri.query().map(str::to_owned),
        headers: headers(request),
        body: RequestBody::default(),
        traceparent: trace::traceparent(request),
        client_address: Some(client::address(request, inbound)),
    })
}

/// The call with its body, of which nothing is read yet: whoever asks for it waits for it.
fn with_body(request: &HttpRequest, payload: web::Payload, head: RawCall) -> Result<RawCall, Unreadable> {
    // A compressed body could not be judged, and `Content-Encoding` does not pass.
    let encodings = request.headers().get_all(CONTENT_ENCODING);
    if encodings.into_iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Unreadable::Encoding);
    }
    let announced = body::single_header(request, &CONTENT_LENGTH).map_err(|_| Unreadable::Body)?;
    let announced =
        announced.map(|length| length.parse::<u64>().map_err(|_| Unreadable::Body)).transpose()?;
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    if !is_chunked && announced.unwrap_or_default() == 0 {
        return Ok(head);
    }
    Ok(RawCall { body: RequestBody::arriving(payload, announced)?, ..head })
}

/// Whether a caller may send a body: the token is checked again with the call.
///
/// # Errors
/// The answer for one who may not.
pub async fn may_send_body(gateway: &Gateway, headers: &SentHeaders) -> Result<(), HttpResponse> {
    let mut values = headers.get_all(AUTHORIZATION);
    let token = match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(text), None) => split(text),
        _ => None,
    };
    let checked = match token {
        Some((_, token)) => gateway.is_worth_reading(token).await,
        None => Err(Denial::invalid_token()),
    };
    checked.map_err(|denial| refuse(&denial, false))
}

/// The token as this call shows it.
fn shown<'r>(
    request: &'r HttpRequest,
    certificate: Option<&'r str>,
) -> Result<Option<ShownToken<'r>>, Unreadable> {
    let header = body::single_header(request, &AUTHORIZATION).map_err(|_| Unreadable::Ambiguous)?;
    let Some(header) = header else { return Ok(None) };
    let (scheme, token) = split(header).ok_or(Unreadable::Authorization)?;
    let (method, path) = (request.method().as_str(), request.uri().path());
    Ok(Some(ShownToken { scheme, token, proof: proof(request), method, path, certificate }))
}

fn proof(request: &HttpRequest) -> ShownProof<'_> {
    match body::single_header(request, &SentName::from_static(DPOP)) {
        Ok(None) => ShownProof::Missing,
        Ok(Some(text)) => ShownProof::One(text),
        Err(_) => ShownProof::Unclear,
    }
}

fn split(authorization: &str) -> Option<(Scheme, &str)> {
    let (scheme, token) = authorization.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Some((Scheme::Bearer, token))
    } else if scheme.eq_ignore_ascii_case(dpop::SCHEME) {
        Some((Scheme::Dpop, token))
    } else {
        None
    }
}

/// actix speaks an older version of the `http` crate's types.
fn headers(request: &HttpRequest) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers() {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_str().as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            headers.append(name, value);
        }
    }
    headers
}

fn release(mut answer: GatewayAnswer, request: &HttpRequest) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponse::build(status);
    let mut length = None;
    for (name, value) in &answer.headers {
        if name == "content-length" {
            length = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
        } else if let (Ok(name), Ok(value)) = (
            actix_web::http::header::HeaderName::from_bytes(name.as_bytes()),
            actix_web::http::header::HeaderValue::from_bytes(value),
        ) {
            response.insert_header((name, value));
        }
    }
    response.insert_header(("x-valetkey-event", answer.event.as_str()));
    response.insert_header(("cache-control", "no-store"));
    // A vendor's HTML must never run as a page of ours.
    response.insert_header(("content-security-policy", "default-src 'none'; sandbox"));
    // A body after these, an empty chunk included, would be read as the next answer (RFC 9112, section 6.3).
    if matches!(answer.status, 204 | 304) {
        answer.body.leave_out();
        return response.body(actix_web::body::None::new());
    }
    if let Some(length) = length {
        answer.body.has_length(length);
    }
    // The call is under way until the last byte has gone, or whoever reads it.
    let under_way = request.app_data::<web::Data<Ending>>().map(|ending| ending.begin());
    let body = answer.body.inspect(move |_| {
        let _ = &under_way;
    });
    match length {
        Some(length) => response.no_chunking(length).streaming(body),
        None => response.streaming(body),
    }
}

/// A denial. Whoever works with proofs is challenged to one (RFC 9449, section 7.1); anonymous callers hear of
/// both ways.
fn refuse(denial: &Denial, shows_proof: bool) -> HttpResponse {
    let status = StatusCode::from_u16(denial.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.insert_header(("x-valetkey-decision", "deny")).insert_header(("cache-control", "no-store"));
    if let Some(event) = &denial.event {
        response.insert_header(("x-valetkey-event", event.as_str()));
    }
    if let Some(wait) = denial.retry_after {
        response.insert_header(("retry-after", wait.as_secs().max(1).to_string()));
    }
    if matches!(denial.status, 401 | 403) {
        let error = denial.code.as_str();
        let wants_proof = shows_proof || denial.wants_proof;
        if !wants_proof {
            let bearer = format!("Bearer realm=\"valetkey\", error=\"{error}\"");
            response.append_header(("www-authenticate", bearer));
        }
        if wants_proof || denial.status == 401 {
            let algs = dpop::algorithms().join(" ");
            let error = if wants_proof { format!("error=\"{error}\", ") } else { String::new() };
            let proof = format!("DPoP realm=\"valetkey\", {error}algs=\"{algs}\"");
            response.append_header(("www-authenticate", proof));
        }
    }
    response.json(denial.body())
}
