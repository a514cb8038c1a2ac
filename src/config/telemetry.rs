//! Where traces go.

use url::Url;

use crate::config::raw::RawTelemetry;
use crate::config::settings::{ConfigError, invalid};

/// A collector of OpenTelemetry.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetrySetting {
    /// Its address; without a path, `/v1/traces` is meant.
    pub otlp_endpoint: Url,
    /// The part of traces that is sent, from 0 to 1.
    pub sample: f64,
}

const ENDPOINT: &str = "telemetry.otlp_endpoint";
const SAMPLE: &str = "telemetry.sample";

pub(super) fn checked(raw: &RawTelemetry) -> Result<Option<TelemetrySetting>, ConfigError> {
    let sample = raw.sample.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&sample) {
        return Err(invalid(SAMPLE, "write a number from 0 to 1"));
    }
    let Some(text) = &raw.otlp_endpoint else {
        return match raw.sample {
            None => Ok(None),
            Some(_) => Err(ConfigError::Missing { key: ENDPOINT, advice: "name the collector" }),
        };
    };
    let url = Url::parse(text).map_err(|error| invalid(ENDPOINT, error.to_string()))?;
    let is_here = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    let is_plain = url.query().is_none() && url.username().is_empty() && url.password().is_none();
    match url.scheme() {
        _ if !is_plain => Err(invalid(ENDPOINT, "write an address without user and query")),
        "https" => Ok(Some(TelemetrySetting { otlp_endpoint: url, sample })),
        "http" if is_here => Ok(Some(TelemetrySetting { otlp_endpoint: url, sample })),
        _ => Err(invalid(
            ENDPOINT,
            "must be https, except on loopback: a collector beside the broker passes spans on",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(endpoint: &str, sample: Option<f64>) -> Result<Option<TelemetrySetting>, ConfigError> {
        let otlp_endpoint = (!endpoint.is_empty()).then(|| endpoint.to_owned());
        checked(&RawTelemetry { otlp_endpoint, sample })
    }

    #[test]
    fn a_collector_is_reached_over_tls_or_on_this_machine() {
        assert_eq!(of("", None).unwrap(), None);
        for fine in ["https://otel.example.com", "http://127.0.0.1:4318", "http://localhost:4318/v1/traces"] {
            assert_eq!(of(fine, None).unwrap().unwrap().sample, 1.0, "{fine}");
        }
        for (endpoint, sample, key) in [
            ("http://otel.example.com:4318", None, ENDPOINT),
            ("grpc://127.0.0.1:4317", None, ENDPOINT),
            ("https://user:secret@otel.example.com", None, ENDPOINT),
            ("otel", None, ENDPOINT),
            ("https://otel.example.com", Some(1.5), SAMPLE),
            ("", Some(0.5), ENDPOINT),
        ] {
            let error = of(endpoint, sample).unwrap_err().to_string();
            assert!(error.contains(key) && !error.contains("secret"), "{endpoint}: {error}");
        }
    }
}
