//! What wraps every request: an id, a log span, and the security headers.

use std::sync::Arc;
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, web};
use tracing::{Instrument, Span};

use crate::kernel::entropy::{self, Entropy};
use crate::kernel::{self, encode};
use crate::server::ending::Ending;
use crate::server::metrics::Metrics;
use crate::server::{Inbound, headers, trace};

/// What these lines are filtered by: `log = "info,valetkey::answered=warn"` leaves them out.
const ANSWERED: &str = "valetkey::answered";
/// The entry of the audit log that tells what was decided.
const EVENT: HeaderName = HeaderName::from_static("x-valetkey-event");

/// Names one request in the log and in the answer's `X-Request-Id`. Always ours: a caller's own id
/// could be made to look like another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of a request that came through [`wrap`].
    pub fn of(request: &HttpRequest) -> Option<RequestId> {
        request.extensions().get::<RequestId>().cloned()
    }
}

/// Requests below this prefix are one route, whatever follows. Register it as app data: to look for the pattern
/// of such a path costs a regular expression.
#[derive(Clone, Copy, Debug)]
pub struct OpenPrefix {
    /// With its last slash.
    pub prefix: &'static str,
    /// What the route is called in the log and in the metrics.
    pub pattern: &'static str,
}

/// The middleware; use as `App::wrap(from_fn(server::middleware::wrap))`, with `web::Data<Inbound>` and
/// `web::Data<dyn Entropy>` registered. The span has the route's pattern, never the path or the query:
/// codes, states and some providers' tokens travel in those.
///
/// # Errors
/// What the handler fails with.
pub async fn wrap<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let id = RequestId(new_id(&request));
    request.extensions_mut().insert(id.clone());
    let is_https = request.app_data::<web::Data<Inbound>>().is_some_and(|inbound| inbound.is_https());
    let route = route(&request);
    let metrics = request.app_data::<web::Data<Metrics>>().cloned();
    let ending = request.app_data::<web::Data<Ending>>().cloned();
    let _under_way = ending.as_ref().map(|ending| ending.begin());
    let method = request.method().clone();
    let caller = trace::traceparent(request.request());
    let span = tracing::info_span!(
        kernel::trace::REQUEST,
        id = id.as_str(),
        method = %method,
        route,
        event = tracing::field::Empty,
        traceparent = caller.as_deref(),
        status = tracing::field::Empty
    );
    let begun = Instant::now();
    let mut response = next.call(request).instrument(span.clone()).await?;
    if ending.as_ref().is_some_and(|ending| ending.is_announced()) {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    headers::fill(response.headers_mut(), is_https);
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    if let Some(metrics) = metrics {
        let status = response.status().as_u16();
        metrics.answered(&route, method.as_str(), status, begun.elapsed().as_secs_f64());
    }
    tell(&span, response.status(), response.headers().get(&EVENT), begun);
    Ok(response)
}

/// One line for every answer. What was decided is told at the usual level, with the entry of the audit log that
/// says so; pages, health checks and the like are not.
fn tell(span: &Span, status: StatusCode, event: Option<&HeaderValue>, begun: Instant) {
    let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let status = status.as_u16();
    match event.and_then(|event| event.to_str().ok()) {
        Some(event) => {
            span.record("event", event);
            span.in_scope(|| tracing::info!(target: ANSWERED, status, took_ms = took, "answered"));
        }
        None => span.in_scope(|| tracing::debug!(target: ANSWERED, status, took_ms = took, "answered")),
    }
    // After the line, which says so itself.
    if tracing::span_enabled!(target: kernel::trace::TARGET, tracing::Level::TRACE) {
        span.record(kernel::trace::STATUS, status);
    }
}

fn route(request: &ServiceRequest) -> String {
    match request.app_data::<OpenPrefix>() {
        Some(open) if request.path().starts_with(open.prefix) => open.pattern.to_owned(),
        _ => request.match_pattern().unwrap_or_else(|| "unmatched".to_owned()),
    }
}

fn new_id(request: &ServiceRequest) -> String {
    match request.app_data::<web::Data<dyn Entropy>>() {
        Some(entropy) => {
            let entropy: Arc<dyn Entropy> = Arc::clone(&**entropy);
            encode::hex(&entropy::identifier::<8>(&*entropy))
        }
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, HttpResponse};

    use super::*;
    use crate::kernel::entropy::SeededEntropy;

    #[actix_web::test]
    async fn every_answer_has_an_id_and_the_security_headers_also_when_nothing_matches() {
        let inbound = Inbound::direct("https://v.example/".parse().unwrap());
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
        let metrics = web::Data::new(Metrics::new());
        let app = init_service(
            App::new()
                .app_data(metrics.clone())
                .app_data(web::Data::new(inbound))
                .app_data(web::Data::from(entropy))
                .app_data(OpenPrefix { prefix: "/open/", pattern: "/open/{tail}" })
                .service(web::scope("/open").default_service(web::to(|| async { "x" })))
                .route(
                    "/page",
                    web::get().to(|| async { HttpResponse::Ok().content_type("text/html").body("x") }),
                )
                .wrap(from_fn(wrap)),
        )
        .await;
        let page = call_service(&app, TestRequest::get().uri("/page?code=canary").to_request()).await;
        assert!(page.headers().contains_key("content-security-policy"));
        let missing = call_service(&app, TestRequest::get().uri("/nowhere").to_request()).await;
        assert_eq!(missing.status(), 404);
        assert_eq!(missing.headers().get("x-content-type-options").unwrap(), "nosniff");
        assert_eq!(missing.headers().get("x-request-id").unwrap().len(), 16);
        let counted = metrics.text();
        assert!(counted.contains("route=\"/page\",method=\"GET\",status=\"200\"} 1"), "{counted}");
        assert!(counted.contains("route=\"unmatched\",method=\"GET\",status=\"404\"} 1"), "{counted}");
        let open = call_service(&app, TestRequest::get().uri("/open/x?code=canary").to_request()).await;
        assert_eq!(open.status(), 200);
        let counted = metrics.text();
        assert!(counted.contains("route=\"/open/{tail}\",method=\"GET\",status=\"200\"} 1"), "{counted}");
        assert_ne!(page.headers().get("x-request-id"), missing.headers().get("x-request-id"));
    }
}
