//! Counters for Prometheus. Labels come from closed sets: route patterns, methods, status classes.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What a request is counted under.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    route: String,
    method: String,
    status: u16,
}

/// How long answers of providers, which are there already, wait until the log is durable.
#[derive(Clone, Debug)]
pub struct SyncWaits(Histogram);

impl Default for SyncWaits {
    fn default() -> Self {
        // Fine enough to read a median from: each bound is a fifth above the one before, from 10 µs to 3 s.
        Self(Histogram::new(exponential_buckets(10e-6, 1.2, 70)))
    }
}

impl SyncWaits {
    /// An answer waited that many seconds; none where the log was quicker.
    pub fn waited(&self, seconds: f64) {
        self.0.observe(seconds);
    }
}

/// The metrics of one listener.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    answered: Family<Answered, Counter>,
    seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Fresh counters.
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// Fresh counters, beside those that other rooms have named.
    pub fn with(others: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix("valetkey");
        let answered = Family::default();
        registry.register(
            "requests",
            "Requests answered, by route pattern, method and status",
            answered.clone(),
        );
        let buckets = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
        let seconds = Histogram::new(buckets);
        registry.register("request_seconds", "Time until the answer's head", seconds.clone());
        others(&mut registry);
        Self { registry, answered, seconds }
    }

    /// Counts one answer. `route` must be a pattern, never a path.
    pub fn answered(&self, route: &str, method: &str, status: u16, seconds: f64) {
        let method = if matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE") {
            method
        } else {
            "other"
        };
        let labels = Answered { route: route.to_owned(), method: method.to_owned(), status };
        self.answered.get_or_create(&labels).inc();
        self.seconds.observe(seconds);
    }

    /// The same, with how long gateway calls wait for the log.
    #[must_use]
    pub fn with_sync_waits(mut self, waits: &SyncWaits) -> Self {
        let help = "Time that a gateway call's answer waits for the log, beyond the provider's own";
        self.registry.register("gateway_sync_wait_seconds", help, waits.0.clone());
        self
    }

    /// The OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_counted_under_its_pattern() {
        let metrics = Metrics::new();
        metrics.answered("/i/{interaction}", "GET", 200, 0.002);
        metrics.answered("/i/{interaction}", "BREW", 405, 0.002);
        let text = metrics.text();
        assert!(
            text.contains(
                "valetkey_requests_total{route=\"/i/{interaction}\",method=\"GET\",status=\"200\"} 1"
            )
        );
        assert!(text.contains("method=\"other\""));
    }
}
