//! From HTTP to a vendor and back: routing by path or by `Host`, faults, the record of calls.

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BodyStream, BoxBody};
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;

use crate::sandbox::control;
use crate::sandbox::desk::{Desk, Vendor};
use crate::sandbox::faults::{Endpoint, Fault, FaultKind};
use crate::sandbox::wire::{BroaderScope, Reply, Request, Twist};

/// A vendor with its desk.
pub(super) struct Counter {
    pub(super) vendor: Box<dyn Vendor>,
    pub(super) desk: Arc<Desk>,
}

/// All vendors, and what the control endpoints move.
pub(super) struct Floor {
    pub(super) counters: Vec<Counter>,
    pub(super) advance: Arc<dyn Fn(Duration) + Send + Sync>,
    /// The port that the proxy's connections come in by: only vendors' host names answer there, so that a
    /// client of the proxy cannot reach the controls as if it were local.
    pub(super) behind_port: u16,
}

impl Floor {
    /// The vendor of that name.
    pub(super) fn counter(&self, provider: &str) -> Option<&Counter> {
        self.counters.iter().find(|counter| counter.vendor.name() == provider)
    }

    /// The vendor and service that a real host name belongs to.
    pub(super) fn by_host(&self, host: &str) -> Option<(&Counter, &'static str)> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        self.counters.iter().find_map(|counter| {
            let service = counter
                .vendor
                .services()
                .iter()
                .find(|s| s.hosts.iter().any(|h| h.eq_ignore_ascii_case(name)))?;
            Some((counter, service.name))
        })
    }
}

/// The only handler: everything goes through it.
pub(super) async fn handle(http: HttpRequest, body: Bytes, floor: Data<Floor>) -> HttpResponse {
    let host = http.headers().get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let path = http.uri().path();
    let from_proxy = http.app_config().local_addr().port() == floor.behind_port;
    let located = match floor.by_host(host) {
        Some((counter, service)) => Some((counter, service, String::new(), path.to_owned())),
        None if from_proxy => return HttpResponse::MisdirectedRequest().finish(),
        None if path.starts_with("/_sandbox/") => return respond(control::answer(&floor, &http, &body)),
        None => by_path(&floor, path),
    };
    let Some((counter, service, prefix, path)) = located else {
        return respond(control::index(&floor, path));
    };
    let mut request = Request {
        method: http.method().as_str().to_owned(),
        service,
        prefix,
        path,
        query: http.uri().query().unwrap_or_default().to_owned(),
        headers: (http.headers().iter())
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect(),
        body: body.to_vec(),
        twist: Twist::default(),
    };
    let reply = answer(counter, &mut request).await;
    respond(reply)
}

fn by_path<'f>(floor: &'f Floor, path: &str) -> Option<(&'f Counter, &'static str, String, String)> {
    let mut parts = path.trim_start_matches('/').splitn(3, '/');
    let (provider, service) = (parts.next()?, parts.next()?);
    let rest = format!("/{}", parts.next().unwrap_or_default());
    let counter = floor.counter(provider)?;
    let service = counter.vendor.services().iter().find(|s| s.name == service)?.name;
    Some((counter, service, format!("/{provider}/{service}"), rest))
}

async fn answer(counter: &Counter, request: &mut Request) -> Reply {
    let Counter { vendor, desk } = counter;
    let endpoint = vendor.endpoint(request);
    let met = if endpoint == Endpoint::Other { Vec::new() } else { desk.faults.meet(endpoint) };
    if matches!(endpoint, Endpoint::Token | Endpoint::Refresh) {
        desk.count_token_call();
    }
    let find = |kind: FaultKind| met.iter().find(|fault| fault.kind == kind);
    let mut reply = match instead(vendor.as_ref(), request, &find) {
        Some(reply) => reply,
        None => {
            request.twist = twist(&find);
            vendor.answer(desk, request)
        }
    };
    if matches!(endpoint, Endpoint::Api | Endpoint::Userinfo) {
        desk.record_api_call(vendor.as_ref(), request, &reply);
    }
    if let Some(fault) = find(FaultKind::Latency) {
        tokio::time::sleep(Duration::from_millis(fault.number().unwrap_or_default())).await;
    }
    reply.lost = find(FaultKind::DropAfterCommit).is_some();
    reply
}

/// The faults that answer in the vendor's place: nothing is done behind them.
fn instead<'f>(
    vendor: &dyn Vendor,
    request: &Request,
    find: &impl Fn(FaultKind) -> Option<&'f Fault>,
) -> Option<Reply> {
    if let Some(fault) = find(FaultKind::RateLimit) {
        return Some(vendor.throttled(request, fault.number().unwrap_or(1)));
    }
    if let Some(fault) = find(FaultKind::Status) {
        let status = fault.number().and_then(|n| u16::try_from(n).ok()).unwrap_or(500);
        return Some(vendor.failing(request, status));
    }
    if find(FaultKind::Html).is_some() {
        return Some(Reply::bytes(
            200,
            "text/html; charset=utf-8",
            "<!doctype html><html><body><h1>Service temporarily unavailable</h1></body></html>",
        ));
    }
    find(FaultKind::Garbage)
        .map(|_| Reply::bytes(200, "application/json", "\u{0}\u{1}{\"access_token\": \"tru"))
}

fn twist<'f>(find: &impl Fn(FaultKind) -> Option<&'f Fault>) -> Twist {
    Twist {
        expires_in: find(FaultKind::ExpiresIn).and_then(Fault::number),
        broader_scope: find(FaultKind::BroaderScope).map(|fault| match fault.value.as_str() {
            Some(scopes) => BroaderScope::These(scopes.to_owned()),
            None => BroaderScope::AllGranted,
        }),
    }
}

fn respond(reply: Reply) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut builder = HttpResponse::build(status);
    if reply.lost {
        // A body that fails before its first byte makes the server close the connection without having
        // written even the status line.
        let failing = stream::once(async { Err::<Bytes, _>(std::io::Error::other("answer dropped")) });
        return builder.force_close().body(BoxBody::new(BodyStream::new(failing)));
    }
    for (name, value) in &reply.headers {
        builder.append_header((name.as_str(), value.as_str()));
    }
    builder.body(reply.body)
}
