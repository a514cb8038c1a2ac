//! One piece of work at a time per connection, shared by all who wait for it, on a task of its own.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::connections::{Connections, Inner, LeaseError, ProviderAccess, ReleasableToken};

/// What a flight brings back.
#[derive(Clone, Debug)]
pub(super) enum Landed {
    /// A usable access token.
    Access(ProviderAccess),
    /// A token that may leave, or that there can be none.
    Minted(Option<ReleasableToken>),
    /// Nothing but an end.
    Settled,
}

pub(super) type Landing = Result<Landed, LeaseError>;

/// The flights in the air, and whose turn it is on each connection.
pub(super) struct Flights {
    /// Where work goes on that a worker of the listener began: a worker and all its tasks end when its last caller has
    /// been answered or has gone.
    runtime: Option<Handle>,
    in_air: Mutex<HashMap<String, watch::Receiver<Option<Landing>>>>,
    /// How much else is under way that an orderly end waits for.
    at_work: AtomicUsize,
    turns: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    closing: AtomicBool,
}

impl Default for Flights {
    /// On the runtime that this is made on, which must live until all have landed.
    fn default() -> Self {
        Self {
            runtime: Handle::try_current().ok(),
            in_air: Mutex::default(),
            at_work: AtomicUsize::default(),
            turns: Mutex::default(),
            closing: AtomicBool::default(),
        }
    }
}

impl Flights {
    /// Whether this process is about to end: what has not been dialled yet is left alone.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    fn are_down(&self) -> bool {
        self.at_work.load(Ordering::SeqCst) == 0
            && self.in_air.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Work that spends the same single-use token takes turns.
    pub(super) fn turn(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(key.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

/// Takes a flight off the list however it ends, also by a panic.
struct InAir {
    inner: Arc<Inner>,
    key: String,
}

impl Drop for InAir {
    fn drop(&mut self) {
        self.inner.flights.in_air.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// One piece of other work, until it has ended, also by a panic.
struct AtWork(Arc<Inner>);

impl AtWork {
    fn begun(inner: &Arc<Inner>) -> Self {
        inner.flights.at_work.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(inner))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.flights.at_work.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Connections {
    /// Starts nothing new, and waits for what is being dialled, and for work that outlasts its callers: a process that
    /// ends in an orderly way loses no token. `false` when something was still under way at the end of that time.
    pub async fn drain(&self, within: Duration) -> bool {
        self.inner.flights.closing.store(true, Ordering::SeqCst);
        self.landed(within).await
    }

    /// Waits for a moment in which nothing of that is under way. `false` when there was none in that time.
    pub async fn landed(&self, within: Duration) -> bool {
        let flights = &self.inner.flights;
        let landed = async {
            while !flights.are_down() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(within, landed).await.is_ok()
    }
}

impl Inner {
    /// Boards the flight of that name, or starts it.
    pub(super) fn board<F>(
        self: &Arc<Self>,
        key: String,
        work: impl FnOnce(Arc<Inner>) -> F,
    ) -> watch::Receiver<Option<Landing>>
    where
        F: Future<Output = Landing> + Send + 'static,
    {
        let mut in_air = self.flights.in_air.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = in_air.get(&key) {
            return flight.clone();
        }
        if self.flights.is_closing() {
            return watch::channel(Some(Err(LeaseError::StillRefreshing))).1;
        }
        let (landing, flight) = watch::channel(None);
        in_air.insert(key.clone(), flight.clone());
        let listed = InAir { inner: Arc::clone(self), key };
        let work = work(Arc::clone(self));
        // A task of its own: a caller that goes away cannot strand a refresh whose token is spent.
        let flown = async move {
            let landed = work.await;
            // Off the list first: whoever comes now reads what this flight has stored.
            drop(listed);
            landing.send_replace(Some(landed));
        };
        self.spawn(flown);
        flight
    }

    /// A task that goes on when the worker of the listener that began it has ended.
    pub(super) fn spawn<T>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T>
    where
        T: Send + 'static,
    {
        // The log tells which request it began with.
        let work = work.in_current_span();
        match &self.flights.runtime {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        }
    }

    /// The same, and an orderly end waits for it.
    pub(super) fn spawn_awaited<T>(
        self: &Arc<Self>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T>
    where
        T: Send + 'static,
    {
        let at_work = AtWork::begun(self);
        self.spawn(async move {
            let _at_work = at_work;
            work.await
        })
    }

    /// Boards a flight and waits for it, but no longer than a caller should: for the provider, or for our
    /// own disk.
    pub(super) async fn fly<F>(self: &Arc<Self>, key: String, work: impl FnOnce(Arc<Inner>) -> F) -> Landing
    where
        F: Future<Output = Landing> + Send + 'static,
    {
        let mut flight = self.board(key, work);
        let landed = tokio::time::timeout(self.waits.caller, flight.wait_for(Option::is_some));
        match self.unless_stalled(landed).await? {
            Ok(Ok(landing)) => landing.clone().unwrap_or(Err(LeaseError::StillRefreshing)),
            Ok(Err(_)) | Err(_) => Err(LeaseError::StillRefreshing),
        }
    }
}
