//! How long the store takes, and how often it seals: around any engine and sealer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tracing::Instrument as _;

use crate::kernel::secret::SecretBytes;
use crate::kernel::trace;
use crate::model::sealed::{Context, SealError, Sealed, Sealer};
use crate::store::StoreError;
use crate::store::backend::{Backend, Batch, Committed, Frozen, Page};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

/// What is measured. Clones share it.
#[derive(Clone, Debug)]
pub struct Measured {
    seconds: Family<Operation, Histogram>,
    sealed: Family<Operation, Counter>,
    refused: Family<Operation, Counter>,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            seconds: Family::new_with_constructor(|| {
                Histogram::new([0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0])
            }),
            sealed: Family::default(),
            refused: Family::default(),
        }
    }
}

impl Measured {
    /// Names what is measured.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("store_seconds", "Time until the engine has answered", self.seconds.clone());
        registry.register("store_errors", "What the engine has refused or failed", self.refused.clone());
        registry.register("seal_operations", "Records sealed and opened", self.sealed.clone());
    }

    /// An engine whose answers are timed.
    pub fn engine(&self, inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        Arc::new(Timed { inner, of: self.clone() })
    }

    /// A sealer whose work is counted.
    pub fn sealer(&self, inner: Arc<dyn Sealer>) -> Arc<dyn Sealer> {
        let count = |operation| self.sealed.get_or_create(&Operation { operation }).clone();
        Arc::new(Counted { inner, sealed: count("seal"), opened: count("open"), refused: count("refused") })
    }

    fn timed<'a, T: 'a>(
        &'a self,
        operation: &'static str,
        work: BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async move {
            let begun = Instant::now();
            let done = work.await;
            let labels = Operation { operation };
            self.seconds.get_or_create(&labels).observe(begun.elapsed().as_secs_f64());
            if done.is_err() {
                self.refused.get_or_create(&labels).inc();
            }
            done
        })
    }
}

struct Timed {
    inner: Arc<dyn Backend>,
    of: Measured,
}

impl Backend for Timed {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        self.of.timed("get", self.inner.get(key))
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        self.of.timed("scan", self.inner.scan(prefix, after, limit))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let span = tracing::trace_span!(target: trace::TARGET, "commit");
        Box::pin(self.of.timed("commit", self.inner.commit(batch)).instrument(span))
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.of.timed("sync", self.inner.sync())
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn version(&self) -> Option<u64> {
        self.inner.version()
    }

    fn frozen(&self) -> BoxFuture<'_, Result<Option<Box<dyn Frozen>>, StoreError>> {
        self.inner.frozen()
    }

    fn failed(&self) -> bool {
        self.inner.failed()
    }

    fn failed_signal(&self) -> BoxFuture<'_, ()> {
        self.inner.failed_signal()
    }
}

struct Counted {
    inner: Arc<dyn Sealer>,
    sealed: Counter,
    opened: Counter,
    refused: Counter,
}

impl Sealer for Counted {
    fn seal(&self, context: Context<'_>, plain: &[u8]) -> Sealed {
        self.sealed.inc();
        self.inner.seal(context, plain)
    }

    fn open(&self, context: Context<'_>, sealed: &Sealed) -> Result<SecretBytes, SealError> {
        let opened = self.inner.open(context, sealed);
        if opened.is_ok() {
            self.opened.inc()
        } else {
            self.refused.inc()
        };
        opened
    }

    fn active_term(&self) -> u32 {
        self.inner.active_term()
    }

    fn has_other_terms(&self) -> bool {
        self.inner.has_other_terms()
    }

    fn term_of(&self, sealed: &[u8]) -> Option<u32> {
        self.inner.term_of(sealed)
    }
}
