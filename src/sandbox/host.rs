//! From HTTP to a vendor and back: routing by path or by `Host`, faults, the record of calls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

use actix_web::body::{BodyStream, BoxBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{DATE, HeaderValue, HttpDate, TryIntoHeaderValue as _};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt, stream};

use crate::sandbox::control;
use crate::sandbox::desk::{Desk, Vendor};
use crate::sandbox::faults::{Endpoint, Fault, FaultKind, LONGEST_PIECE, Long};
use crate::sandbox::wire::{BroaderScope, Reply, Request, Twist};

/// The largest request body that is kept.
const LARGEST_BODY: usize = 16 * 1024 * 1024;

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
    /// How many long answers and request bodies are under way.
    pub(super) open_streams: AtomicU64,
}

impl Floor {
    /// The vendor of that name.
    pub(super) fn counter(&self, provider: &str) -> Option<&Counter> {
        self.counters.iter().find(|counter| counter.vendor.name() == provider)
    }

    /// What the vendors' clock says, as a header.
    fn date(&self) -> Option<HeaderValue> {
        let now = self.counters.first()?.desk.now().millis();
        let since = Duration::from_millis(u64::try_from(now).ok()?);
        HttpDate::from(UNIX_EPOCH + since).try_into_value().ok()
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

/// The only handler: everything goes through it, and is dated by the vendors' clock.
pub(super) async fn handle(http: HttpRequest, body: Payload, floor: Data<Floor>) -> HttpResponse {
    let mut answer = handled(http, body, &floor).await;
    if let Some(date) = floor.date() {
        answer.headers_mut().insert(DATE, date);
    }
    answer
}

async fn handled(http: HttpRequest, body: Payload, floor: &Data<Floor>) -> HttpResponse {
    let host = http.headers().get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let path = http.uri().path();
    let from_proxy = http.app_config().local_addr().port() == floor.behind_port;
    let located = match floor.by_host(host) {
        Some((counter, service)) => Some((counter, service, String::new(), path.to_owned())),
        None if from_proxy => return HttpResponse::MisdirectedRequest().finish(),
        None if path.starts_with("/_sandbox/") => {
            let Some(body) = whole(body).await else { return HttpResponse::PayloadTooLarge().finish() };
            return respond(control::answer(floor, &http, &body), floor);
        }
        None => by_path(floor, path),
    };
    let Some((counter, service, prefix, path)) = located else {
        return respond(control::index(floor, path), floor);
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
        body: Vec::new(),
        twist: Twist::default(),
    };
    // What a data call is does not depend on its body.
    let is_api = counter.vendor.endpoint(&request) == Endpoint::Api;
    let swallowed = if is_api && counter.desk.faults.waits(Endpoint::Api, FaultKind::Swallow) {
        let _open = OpenStream::new(floor);
        match length_of(body).await {
            Some(length) => Some(length),
            None => return HttpResponse::BadRequest().finish(),
        }
    } else {
        let Some(body) = whole(body).await else { return HttpResponse::PayloadTooLarge().finish() };
        request.body = body.to_vec();
        None
    };
    let mut reply = answer(counter, &mut request).await;
    // The token is judged as always; what a body would have done that was not kept, nobody can say.
    if let Some(length) = swallowed.filter(|_| !matches!(reply.status, 401 | 403)) {
        reply = Reply::json(200, &serde_json::json!({"received": length}));
    }
    respond(reply, floor)
}

async fn whole(body: Payload) -> Option<Bytes> {
    body.to_bytes_limited(LARGEST_BODY).await.ok()?.ok()
}

async fn length_of(mut body: Payload) -> Option<u64> {
    let mut length = 0_u64;
    while let Some(chunk) = body.next().await {
        length = length.saturating_add(chunk.ok()?.len() as u64);
    }
    Some(length)
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
    let met = if endpoint == Endpoint::Other { Vec::new() } else { desk.faults.meet(endpoint, desk.now()) };
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
    reply.long = find(FaultKind::Long).filter(|_| reply.status == 200).and_then(Fault::long);
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
    if find(FaultKind::Pace).is_some() {
        return Some(vendor.throttled(request, 1));
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

fn respond(reply: Reply, floor: &Data<Floor>) -> HttpResponse {
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
    match reply.long {
        None => builder.body(reply.body),
        Some(long) => {
            builder.content_type("application/octet-stream");
            builder.no_chunking(long.bytes).streaming(made(long, OpenStream::new(floor)))
        }
    }
}

/// One long answer, or one long request body, that is under way.
struct OpenStream(Data<Floor>);

impl OpenStream {
    fn new(floor: &Data<Floor>) -> Self {
        floor.open_streams.fetch_add(1, Ordering::SeqCst);
        Self(floor.clone())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open_streams.fetch_sub(1, Ordering::SeqCst);
    }
}

/// After how many bytes the pattern begins again.
const ROUND: usize = 251;
/// What made bodies are cut from; one for all of them.
static PATTERN: LazyLock<Bytes> =
    LazyLock::new(|| (0..=250).cycle().take(LONGEST_PIECE + ROUND).collect::<Vec<u8>>().into());

/// Makes a body while it is sent. Its bytes count up by their place, so that a hole would be seen.
fn made(long: Long, open: OpenStream) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    stream::unfold((0_u64, open), move |(sent, open)| async move {
        let left = long.bytes.saturating_sub(sent);
        if left == 0 {
            return None;
        }
        if long.pause_ms > 0 && sent > 0 {
            tokio::time::sleep(Duration::from_millis(long.pause_ms)).await;
        }
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(long.piece);
        let from = usize::try_from(sent % ROUND as u64).unwrap_or_default();
        let piece = PATTERN.slice(from..from + size);
        Some((Ok(piece), (sent + size as u64, open)))
    })
}
