//! Traces for a collector of OpenTelemetry, where the settings name one: OTLP as JSON over HTTP.
//!
//! Spans go out, and nothing else: no log lines. What a span may say is a closed list (`layer`), and none of it is
//! secret. Providers learn nothing of a trace. No request waits for any of this: what the queue does not hold, or the
//! collector does not take, is dropped and counted.
//!
//! The format is written here instead of taken from OpenTelemetry's libraries: they would add half a minute of CPU to
//! each build, for one kind of message.

mod layer;
mod otlp;

use std::hash::RandomState;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use crate::app::traces::layer::{Ended, Spans};
use crate::config::TelemetrySetting;
use crate::kernel::entropy::SystemEntropy;
use crate::net::http::{HeaderName, HeaderValue, Method};
use crate::net::{Call, CallBody, HttpClient, NetSettings};

const QUEUE: usize = 4096;
const BATCH: usize = 512;
/// A batch that is not full goes out after this long.
const EVERY: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(5);
/// What an orderly end waits for the last spans.
const FAREWELL: Duration = Duration::from_secs(3);
const PATH: &str = "v1/traces";

/// What became of spans. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    sent: Counter,
    dropped: Counter,
}

impl Figures {
    /// Names what is counted.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("trace_spans_sent", "Spans that the collector has taken", self.sent.clone());
        let help = "Spans that the queue had no room for, or that the collector has not taken";
        registry.register("trace_spans_dropped", help, self.dropped.clone());
    }
}

/// What sends spans, on a thread of its own.
pub struct Traces {
    figures: Figures,
    end: oneshot::Sender<()>,
    ended: std_mpsc::Receiver<()>,
}

impl Traces {
    /// Begins to send, and gives what notes spans. `extra_ca_pem` are authorities beside the system's.
    ///
    /// # Errors
    /// When the collector's address cannot be used.
    pub fn start<S>(
        setting: &TelemetrySetting,
        extra_ca_pem: Vec<Vec<u8>>,
    ) -> anyhow::Result<(Self, impl Layer<S> + use<S>)>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    {
        let (figures, (to, queue)) = (Figures::default(), mpsc::channel(QUEUE));
        let collector = Collector::open(&setting.otlp_endpoint, extra_ca_pem)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ((end, told), (tell, ended)) = (oneshot::channel(), std_mpsc::channel());
        let sending = Sending { collector, queue, figures: figures.clone() };
        std::thread::Builder::new().name("traces".to_owned()).spawn(move || {
            runtime.block_on(sending.until(told));
            // Whoever waits has not, or has gone.
            let _ = tell.send(());
        })?;
        let spans = Spans {
            to,
            dropped: figures.dropped.clone(),
            sample: setting.sample,
            draw: RandomState::new(),
            entropy: SystemEntropy::default(),
        };
        Ok((Self { figures, end, ended }, spans.with_filter(filter_fn(layer::is_noted))))
    }

    /// What became of spans so far.
    pub fn figures(&self) -> Figures {
        self.figures.clone()
    }

    /// Sends what is left, for a few seconds at most.
    pub fn stop(self) {
        let _ = self.end.send(());
        let _ = self.ended.recv_timeout(FAREWELL);
    }
}

struct Sending {
    collector: Collector,
    queue: mpsc::Receiver<Ended>,
    figures: Figures,
}

impl Sending {
    async fn until(mut self, mut told: oneshot::Receiver<()>) {
        let mut is_ending = false;
        while !is_ending {
            let mut batch = Vec::with_capacity(BATCH);
            let deadline = Instant::now() + EVERY;
            while batch.len() < BATCH && !is_ending {
                tokio::select! {
                    biased;
                    taken = self.queue.recv_many(&mut batch, BATCH) => is_ending = taken == 0,
                    () = tokio::time::sleep_until(deadline) => break,
                    _ = &mut told => is_ending = true,
                }
            }
            self.send(batch).await;
        }
        let mut rest = Vec::new();
        while self.queue.try_recv().is_ok_and(|span| {
            rest.push(span);
            true
        }) {}
        self.send(rest).await;
    }

    async fn send(&self, batch: Vec<Ended>) {
        if batch.is_empty() {
            return;
        }
        let spans = batch.len() as u64;
        match self.collector.take(otlp::encode(&batch)).await {
            Ok(()) => {
                self.figures.sent.inc_by(spans);
            }
            Err(problem) => {
                self.figures.dropped.inc_by(spans);
                tracing::debug!(problem, spans, "the collector of traces has not taken spans");
            }
        }
    }
}

/// Our own client. The operator names the collector, like the database: private addresses are fine, plain HTTP only
/// on this machine.
struct Collector {
    client: HttpClient,
    url: Url,
}

impl Collector {
    fn open(address: &Url, extra_ca_pem: Vec<Vec<u8>>) -> anyhow::Result<Self> {
        let mut settings = NetSettings {
            allow_private: vec!["0.0.0.0/0".parse()?, "::/0".parse()?],
            extra_ca_pem,
            ..NetSettings::default()
        };
        let mut url = address.clone();
        if url.scheme() == "http" {
            let mut stand_in = Url::parse("https://collector.invalid")?;
            let from = stand_in.origin().ascii_serialization();
            settings.origins.push((from, url.origin().ascii_serialization()));
            stand_in.set_path(url.path());
            url = stand_in;
        }
        if url.path() == "/" {
            url.set_path(PATH);
        }
        let client = HttpClient::new(settings).context("`telemetry.otlp_endpoint`")?;
        Ok(Self { client, url })
    }

    async fn take(&self, body: Vec<u8>) -> Result<(), String> {
        let mut call = Call::new(Method::POST, self.url.clone())
            .header(HeaderName::from_static("content-type"), HeaderValue::from_static("application/json"))
            .body(CallBody::Bytes(Bytes::from(body)));
        call.deadline = DEADLINE;
        let answer = self.client.fetch(call).await.map_err(|error| error.to_string())?;
        if (200..300).contains(&answer.status) {
            Ok(())
        } else {
            Err(format!("it has answered {}", answer.status))
        }
    }
}
