//! OTLP's JSON form of spans: `ExportTraceServiceRequest` of opentelemetry-proto 1.x, with ids in hexadecimal digits and
//! 64-bit numbers as texts.

use serde_json::{Value as Json, json};

use crate::app::traces::layer::{Ended, Value};
use crate::kernel::encode;
use crate::kernel::trace;

const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const ERROR: u8 = 2;

/// One request to a collector.
pub(super) fn encode(spans: &[Ended]) -> Vec<u8> {
    let service = [("service.name", "valetkey"), ("service.version", env!("CARGO_PKG_VERSION"))];
    let service: Vec<Json> =
        service.map(|(name, text)| attribute(name, &Value::Text(text.to_owned()))).into();
    let spans: Vec<Json> = spans.iter().map(span).collect();
    let request = json!({"resourceSpans": [{
        "resource": {"attributes": service},
        "scopeSpans": [{"scope": {"name": "valetkey"}, "spans": spans}],
    }]});
    request.to_string().into_bytes()
}

fn span(span: &Ended) -> Json {
    let kind = match span.name {
        trace::REQUEST => SERVER,
        trace::PROVIDER => CLIENT,
        _ => INTERNAL,
    };
    let attributes: Vec<Json> = span.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let has_failed = span
        .attributes
        .iter()
        .any(|(name, value)| *name == "http.response.status_code" && matches!(value, Value::Number(500..)));
    json!({
        "traceId": encode::hex(&span.trace),
        "spanId": encode::hex(&span.id),
        "parentSpanId": span.parent.map(|parent| encode::hex(&parent)).unwrap_or_default(),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": span.began.as_nanos().to_string(),
        "endTimeUnixNano": (span.began + span.took).as_nanos().to_string(),
        "attributes": attributes,
        "status": if has_failed { json!({"code": ERROR}) } else { json!({}) },
    })
}

fn attribute(name: &str, value: &Value) -> Json {
    match value {
        Value::Text(text) => json!({"key": name, "value": {"stringValue": text}}),
        Value::Number(number) => json!({"key": name, "value": {"intValue": number.to_string()}}),
    }
}
