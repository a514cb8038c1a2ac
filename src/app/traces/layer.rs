//! Notes spans as they begin and end.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::kernel::clock::{Clock as _, SystemClock};
use crate::kernel::entropy::{self, SystemEntropy};
use crate::kernel::trace;

/// All that a span may say. Each comes from a closed set, or was made by us; nothing else leaves, whatever fields
/// a span has for the log.
const ATTRIBUTES: [(&str, &str); 8] = [
    ("id", "valetkey.request.id"),
    ("event", "valetkey.event.id"),
    ("method", "http.request.method"),
    ("route", "http.route"),
    (trace::STATUS, "http.response.status_code"),
    ("host", "server.address"),
    ("provider", "valetkey.provider"),
    ("outcome", "valetkey.outcome"),
];

/// What an attribute says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) trace: [u8; 16],
    pub(super) id: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) name: &'static str,
    /// Since 1970.
    pub(super) began: Duration,
    pub(super) took: Duration,
    pub(super) attributes: Vec<(&'static str, Value)>,
}

/// A span of a trace that is sent, before it ends.
struct Open {
    span: Ended,
    since: Instant,
    /// When the answer was ready; what goes on in the background has spans of its own.
    answered: Option<Instant>,
}

/// Where a span of a trace stands, sent or not.
#[derive(Clone, Copy)]
struct Place {
    trace: [u8; 16],
    id: [u8; 8],
    is_sent: bool,
}

/// Which spans are noted: each request, and what was marked as a part of one.
pub(super) fn is_noted(metadata: &Metadata<'_>) -> bool {
    let is_ours = metadata.target().starts_with("valetkey::server");
    metadata.is_span() && (metadata.target() == trace::TARGET || is_ours && metadata.name() == trace::REQUEST)
}

pub(super) struct Spans {
    pub(super) to: mpsc::Sender<Ended>,
    pub(super) dropped: Counter,
    pub(super) sample: f64,
    /// A random key of this process.
    pub(super) draw: RandomState,
    pub(super) entropy: SystemEntropy,
}

impl Spans {
    /// By the trace's id, so that of one trace this process sends all or nothing (another draws by a key of its own), and
    /// under a key that no caller knows: who chooses the id does not choose whether it is sent.
    fn is_sent(&self, trace: [u8; 16]) -> bool {
        let [.., a, b, c, d] = self.draw.hash_one(trace).to_be_bytes();
        f64::from(u32::from_be_bytes([a, b, c, d])) < self.sample * (f64::from(u32::MAX) + 1.0)
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut said = Said::default();
        attributes.record(&mut said);
        let above = span.parent().and_then(|parent| parent.extensions().get::<Place>().copied());
        let own: [u8; 8] = entropy::bytes(&self.entropy);
        let (trace, parent, is_sent) = match (above, said.caller) {
            (Some(above), _) => (above.trace, Some(above.id), above.is_sent),
            (None, Some((trace, caller))) => (trace, Some(caller), self.is_sent(trace)),
            (None, None) => {
                let trace = entropy::bytes(&self.entropy);
                (trace, None, self.is_sent(trace))
            }
        };
        let mut extensions = span.extensions_mut();
        extensions.insert(Place { trace, id: own, is_sent });
        if is_sent {
            let began = Duration::from_millis(u64::try_from(SystemClock.now().millis()).unwrap_or_default());
            let name = attributes.metadata().name();
            let (took, attributes) = (Duration::ZERO, said.attributes);
            let span = Ended { trace, id: own, parent, name, began, took, attributes };
            extensions.insert(Open { span, since: Instant::now(), answered: None });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let Some(open) = extensions.get_mut::<Open>() else { return };
        let mut said = Said::default();
        values.record(&mut said);
        if said.is_answered {
            open.answered = Some(Instant::now());
        }
        open.span.attributes.extend(said.attributes);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Open { mut span, since, answered }) = span.extensions_mut().remove::<Open>() else { return };
        span.took = answered.unwrap_or_else(Instant::now).saturating_duration_since(since);
        if self.to.try_send(span).is_err() {
            self.dropped.inc();
        }
    }
}

/// What a span says when it begins, or later.
#[derive(Default)]
struct Said {
    attributes: Vec<(&'static str, Value)>,
    caller: Option<([u8; 16], [u8; 8])>,
    is_answered: bool,
}

impl Said {
    fn add(&mut self, field: &Field, value: impl FnOnce() -> Value) {
        let Some(&(_, name)) = ATTRIBUTES.iter().find(|(of, _)| *of == field.name()) else { return };
        self.is_answered |= field.name() == trace::STATUS;
        self.attributes.push((name, value()));
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, text: &str) {
        if field.name() == trace::CALLER {
            self.caller = trace::parts(text);
            return;
        }
        self.add(field, || Value::Text(text.to_owned()));
    }

    fn record_u64(&mut self, field: &Field, number: u64) {
        self.add(field, || Value::Number(i64::try_from(number).unwrap_or(i64::MAX)));
    }

    fn record_i64(&mut self, field: &Field, number: i64) {
        self.add(field, || Value::Number(number));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, || Value::Text(format!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(sample: f64) -> Spans {
        let (to, _) = mpsc::channel(1);
        let (dropped, entropy) = (Counter::default(), SystemEntropy::default());
        Spans { to, dropped, sample, draw: RandomState::new(), entropy }
    }

    #[test]
    fn a_caller_does_not_choose_whether_its_trace_is_sent_and_each_trace_is_sent_or_not_as_a_whole() {
        let (one, other) = (spans(0.5), spans(0.5));
        let ids: Vec<[u8; 16]> = (0..1000u128).map(|n| (n << 64).to_be_bytes()).collect();
        for spans in [&one, &other] {
            let sent = ids.iter().filter(|id| spans.is_sent(**id)).count();
            assert!((400..600).contains(&sent), "{sent} of 1000 whose last bytes are zero");
            assert!(ids.iter().all(|id| spans.is_sent(*id) == spans.is_sent(*id)));
        }
        assert!(
            ids.iter().any(|id| one.is_sent(*id) != other.is_sent(*id)),
            "each process has a key of its own"
        );
        assert!(ids.iter().all(|id| spans(1.0).is_sent(*id) && !spans(0.0).is_sent(*id)));
    }
}
