//! What the OpenAPI document says of what is served beside the rooms of the web: health, figures, the gateway.
#![expect(dead_code, reason = "their handlers belong to higher rooms; these describe them")]

/// The process runs.
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()),
    responses((status = 200, body = String, content_type = "text/plain")))]
fn healthz() {}

/// It serves: the store answers, nothing has failed, and nobody has told it to end.
#[utoipa::path(get, path = "/readyz", tag = "operation", security(()),
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = 503, body = String, content_type = "text/plain", description = "Not ready: why.")))]
fn readyz() {}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operation", security(()),
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
fn metrics() {}

/// A call to a provider's API: `path` is the vendor's own, with slashes. Method, query, body and answer pass through.
#[utoipa::path(method(get, post, put, patch, delete), path = "/gateway/{provider}/{api}/{path}", tag = "gateway",
    security(("gateway_token" = [])),
    params(("provider" = String, Path), ("api" = String, Path), ("path" = String, Path),
        ("DPoP" = Option<String>, Header, description = "A proof of possession, where the token is bound to a key: the scheme is `DPoP` then."),
        ("traceparent" = Option<String>, Header, description = "W3C trace context; kept in the events.")),
    responses((status = "2XX", description = "The vendor's answer, with `X-Valetkey-Event`. Refusals of our own carry `X-Valetkey-Decision: deny`.")))]
fn gateway() {}
