//! What became of refreshes, counted. Labels come from closed sets: configured providers and our own words.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::kernel::ids::ProviderSlug;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// New tokens are stored.
    Renewed,
    /// A narrowed token was obtained for a grant.
    Narrowed,
    /// Nothing was spent, and nothing gained.
    Failed,
    /// The provider's answer was lost: whether the token was spent is not known.
    InDoubt,
    /// The provider refuses the token: its user has to consent again.
    Refused,
    /// The next token was lost on its way: its user has to consent again.
    Lost,
}

impl Ended {
    const fn word(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::Narrowed => "narrowed",
            Self::Failed => "failed",
            Self::InDoubt => "in_doubt",
            Self::Refused => "refused",
            Self::Lost => "lost",
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    provider: String,
    outcome: &'static str,
}

/// The figures of one process.
#[derive(Debug)]
pub(super) struct Figures {
    refreshes: Family<Labels, Counter>,
    pub conflicts: Counter,
    pub from_spool: Counter,
    pub unspooled: Counter,
    pub strays: Counter,
    window: Histogram,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            refreshes: Family::default(),
            conflicts: Counter::default(),
            from_spool: Counter::default(),
            unspooled: Counter::default(),
            strays: Counter::default(),
            window: Histogram::new([0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]),
        }
    }
}

impl Figures {
    pub(super) fn ended(&self, provider: &ProviderSlug, how: Ended) {
        self.refreshes.get_or_create(&Labels { provider: provider.to_string(), outcome: how.word() }).inc();
    }

    pub(super) fn durable_after(&self, dialled: Duration) {
        self.window.observe(dialled.as_secs_f64());
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("refreshes", "Attempts to renew, by provider and outcome", self.refreshes.clone());
        registry.register(
            "refresh_window_seconds",
            "From a refresh leaving until its answer was durable: the longest that a kill could cost it",
            self.window.clone(),
        );
        registry.register(
            "lease_conflicts",
            "Refreshes that another one was ahead of",
            self.conflicts.clone(),
        );
        registry.register(
            "spool_recovered",
            "Answers stored that were received before a crash or a full disk",
            self.from_spool.clone(),
        );
        registry.register("spool_failures", "Answers that could not be spooled", self.unspooled.clone());
        registry.register(
            "stray_tokens",
            "Token sets kept aside because another came first",
            self.strays.clone(),
        );
    }
}
