//! What is fetched from providers and kept: metadata and keys.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::timeout;

use crate::kernel::clock::{Clock, Timestamp};
use crate::upstream::dial::DEADLINE;
use crate::upstream::failure::UpstreamError;

/// How long something is used without looking again.
const FRESH: Duration = Duration::from_secs(3600);
/// How long something is used while looking again fails.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How often something may be fetched because of what a token says.
const RENEWAL: Duration = Duration::from_secs(60);
/// How long a failed fetch is not tried again.
const PAUSE: Duration = Duration::from_secs(5);
/// How long whoever has something that can be used waits for something newer.
const HURRY: Duration = Duration::from_secs(2);
/// The most that is kept: there are as many as providers, trust sources, and agents that publish their keys.
const MAX_ENTRIES: usize = 2048;

/// Values by the URL that they come from. One fetch at a time for each, on a task of its own: whoever has begun
/// it may go away, and nobody waits for more than one.
pub(super) struct FetchCache<T>(Arc<Shared<T>>);

struct Shared<T> {
    clock: Arc<dyn Clock>,
    /// How long anybody waits, and a fetch takes, at most.
    patience: Duration,
    entries: RwLock<HashMap<String, Entry<T>>>,
    gates: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Gate>>>>,
}

struct Entry<T> {
    value: Arc<T>,
    at: Timestamp,
}

/// Whoever holds it fetches.
#[derive(Default)]
struct Gate {
    failed: Option<(Timestamp, UpstreamError)>,
    renewed_at: Option<Timestamp>,
}

impl<T: Send + Sync + 'static> FetchCache<T> {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self::patient_for(DEADLINE, clock)
    }

    fn patient_for(patience: Duration, clock: Arc<dyn Clock>) -> Self {
        let (entries, gates) = (RwLock::default(), Mutex::default());
        Self(Arc::new(Shared { clock, patience, entries, gates }))
    }

    /// The value, fetched when there is none or it is old. When fetching fails the old one stays in use
    /// for a day: a provider that is down for an hour must not lock everyone out. While somebody fetches,
    /// everybody else who has an old one goes on with it.
    pub(super) async fn get<F, Fut>(&self, key: &str, fetch: F) -> Result<Arc<T>, UpstreamError>
    where
        F: FnOnce(Option<Arc<T>>) -> Fut,
        Fut: Future<Output = Result<T, UpstreamError>> + Send + 'static,
    {
        let now = self.0.clock.now();
        if let Some(value) = self.0.fresh(key, now) {
            return Ok(value);
        }
        let old = self.0.entry(key).filter(|(_, at)| now.since(*at) < KEPT).map(|(value, _)| value);
        let patience = if old.is_some() { self.0.patience.min(HURRY) } else { self.0.patience };
        let newer = timeout(patience, self.newer(key, old.clone(), fetch)).await;
        newer.unwrap_or_else(|_| Err(UpstreamError::too_slow())).or_else(|error| old.ok_or(error))
    }

    async fn newer<F, Fut>(&self, key: &str, old: Option<Arc<T>>, fetch: F) -> Result<Arc<T>, UpstreamError>
    where
        F: FnOnce(Option<Arc<T>>) -> Fut,
        Fut: Future<Output = Result<T, UpstreamError>> + Send + 'static,
    {
        let gate = self.0.gate(key);
        let mut gate = match (Arc::clone(&gate).try_lock_owned(), &old) {
            (Ok(gate), _) => gate,
            (Err(_), Some(old)) => return Ok(Arc::clone(old)),
            (Err(_), None) => gate.lock_owned().await,
        };
        // Time has passed: whoever was waited for has brought something, or has failed just now.
        let now = self.0.clock.now();
        if let Some(value) = self.0.fresh(key, now) {
            return Ok(value);
        }
        if let Some((at, error)) = &gate.failed
            && now.since(*at) < PAUSE
        {
            return Err(error.clone());
        }
        let (shared, key, fetching) = (Arc::clone(&self.0), key.to_owned(), fetch(old));
        let fetched = tokio::spawn(async move {
            match shared.in_time(fetching).await {
                Ok(value) => {
                    gate.failed = None;
                    Ok(shared.keep(&key, value, now))
                }
                // The pause begins here: a fetch that hangs takes longer than that itself.
                Err(error) => {
                    gate.failed = Some((shared.clock.now(), error.clone()));
                    Err(error)
                }
            }
        });
        fetched.await.unwrap_or_else(|_| Err(UpstreamError::too_slow()))
    }

    /// A newer value than the one that was `seen` and did not serve; fetched at most once a minute, since
    /// anyone can send a token that names an unknown key.
    pub(super) async fn renew<F, Fut>(&self, key: &str, seen: &Arc<T>, fetch: F) -> Option<Arc<T>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, UpstreamError>> + Send + 'static,
    {
        timeout(self.0.patience, self.renewed(key, seen, fetch)).await.ok().flatten()
    }

    async fn renewed<F, Fut>(&self, key: &str, seen: &Arc<T>, fetch: F) -> Option<Arc<T>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, UpstreamError>> + Send + 'static,
    {
        let mut gate = self.0.gate(key).lock_owned().await;
        if let Some((value, _)) = self.0.entry(key).filter(|(value, _)| !Arc::ptr_eq(value, seen)) {
            return Some(value);
        }
        let now = self.0.clock.now();
        if gate.renewed_at.is_some_and(|at| now.since(at) < RENEWAL) {
            return None;
        }
        gate.renewed_at = Some(now);
        let (shared, key, fetching) = (Arc::clone(&self.0), key.to_owned(), fetch());
        let fetched = tokio::spawn(async move {
            // Held until there is something to be seen by whoever comes next.
            let _gate = gate;
            shared.in_time(fetching).await.ok().map(|value| shared.keep(&key, value, now))
        });
        fetched.await.ok().flatten()
    }
}

impl<T> Shared<T> {
    async fn in_time(
        &self,
        fetching: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        timeout(self.patience, fetching).await.unwrap_or_else(|_| Err(UpstreamError::too_slow()))
    }

    fn entry(&self, key: &str) -> Option<(Arc<T>, Timestamp)> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).map(|entry| (Arc::clone(&entry.value), entry.at))
    }

    fn fresh(&self, key: &str, now: Timestamp) -> Option<Arc<T>> {
        self.entry(key).filter(|(_, at)| now.since(*at) < FRESH).map(|(value, _)| value)
    }

    fn keep(&self, key: &str, value: T, at: Timestamp) -> Arc<T> {
        let value = Arc::new(value);
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(key) {
            entries.clear();
        }
        entries.insert(key.to_owned(), Entry { value: Arc::clone(&value), at });
        value
    }

    fn gate(&self, key: &str) -> Arc<tokio::sync::Mutex<Gate>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if gates.len() >= MAX_ENTRIES && !gates.contains_key(key) {
            gates.clear();
        }
        Arc::clone(gates.entry(key.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::FutureExt as _;
    use tokio::sync::Notify;

    use super::*;
    use crate::kernel::clock::ManualClock;
    use crate::upstream::failure::Cause;

    const LONG: Duration = Duration::from_secs(3600);
    /// Whoever waits this long waits for ever.
    const FAILED: Duration = Duration::from_secs(20);

    struct Stage {
        clock: Arc<ManualClock>,
        cache: Arc<FetchCache<u32>>,
        fetched: Arc<AtomicU32>,
        answers: Arc<Notify>,
    }

    impl Stage {
        fn with_patience(patience: Duration) -> Self {
            let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000_000)));
            let cache = Arc::new(FetchCache::patient_for(patience, clock.clone()));
            Self { clock, cache, fetched: Arc::default(), answers: Arc::default() }
        }

        fn pass(&self, secs: u64) {
            self.clock.advance(Duration::from_secs(secs));
        }

        async fn get(&self, result: Option<u32>) -> Option<u32> {
            let fetched = result.ok_or(UpstreamError::unsent(Cause::Metadata, "down"));
            self.cache.get("k", |_| async { fetched }).await.ok().map(|value| *value)
        }

        async fn renew(&self, result: Option<u32>) -> Option<u32> {
            let (seen, _) = self.cache.0.entry("k").unwrap();
            let fetched = result.ok_or(UpstreamError::unsent(Cause::Metadata, "down"));
            self.cache.renew("k", &seen, || async { fetched }).await.map(|value| *value)
        }

        /// Asks an endpoint that keeps everybody waiting until it is told to answer.
        fn get_slowly(&self, result: Option<u32>) -> impl Future<Output = Option<u32>> + Send + 'static {
            let (cache, fetched, answers) =
                (Arc::clone(&self.cache), Arc::clone(&self.fetched), Arc::clone(&self.answers));
            let fetch = move |_| async move {
                fetched.fetch_add(1, Ordering::SeqCst);
                answers.notified().await;
                result.ok_or(UpstreamError::unsent(Cause::Metadata, "down"))
            };
            async move { cache.get("k", fetch).await.ok().map(|value| *value) }
        }

        /// Lets everybody who can go on do so.
        async fn settles(&self) {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }

        async fn nobody_fetches(&self) {
            let gate = self.cache.0.gate("k");
            drop(timeout(FAILED, gate.lock()).await.expect("a fetch has no end"));
        }

        fn fetches(&self) -> u32 {
            self.fetched.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn old_values_serve_for_a_day_while_the_provider_is_down() {
        let stage = Stage::with_patience(LONG);
        assert_eq!(stage.get(None).await, None);
        stage.pass(3);
        assert_eq!(stage.get(Some(1)).await, None, "no second try within five seconds");
        stage.pass(3);
        assert_eq!(stage.get(Some(1)).await, Some(1));
        stage.pass(54);
        assert_eq!(stage.get(Some(2)).await, Some(1), "still fresh");
        stage.pass(4940);
        assert_eq!(stage.get(None).await, Some(1), "old, but the provider is down");
        stage.pass(6);
        assert_eq!(stage.get(Some(3)).await, Some(3));
        stage.pass(24 * 3600);
        assert_eq!(stage.get(None).await, None);
    }

    #[tokio::test]
    async fn unknown_keys_cause_one_fetch_a_minute() {
        let stage = Stage::with_patience(LONG);
        stage.get(Some(1)).await;
        stage.pass(1);
        assert_eq!(stage.renew(Some(2)).await, Some(2));
        stage.pass(29);
        assert_eq!(stage.renew(Some(3)).await, None);
        stage.pass(32);
        assert_eq!(stage.renew(None).await, None, "a failed fetch leaves the old value");
        assert_eq!(stage.get(None).await, Some(2));
        stage.pass(61);
        assert_eq!(stage.renew(Some(4)).await, Some(4));
    }

    #[tokio::test]
    async fn whoever_waited_for_a_fetch_that_failed_does_not_dial_again() {
        let stage = Stage::with_patience(LONG);
        let first = tokio::spawn(stage.get_slowly(None));
        stage.settles().await;
        stage.pass(4);
        let second = tokio::spawn(stage.get_slowly(None));
        stage.settles().await;
        stage.pass(6);
        stage.answers.notify_one();
        assert_eq!(first.await.unwrap(), None);
        // Should there be another fetch, it is counted, and the test ends.
        stage.answers.notify_one();
        assert_eq!(second.await.unwrap(), None);
        assert_eq!(stage.get_slowly(None).await, None, "nor does whoever comes at this moment");
        assert_eq!(stage.fetches(), 1);
    }

    #[tokio::test]
    async fn what_is_known_is_given_at_once_while_somebody_fetches() {
        let stage = Stage::with_patience(LONG);
        stage.get(Some(1)).await;
        stage.pass(2 * 3600);
        let first = tokio::spawn(stage.get_slowly(Some(2)));
        stage.settles().await;
        assert_eq!(stage.get_slowly(Some(3)).now_or_never(), Some(Some(1)));
        stage.answers.notify_one();
        assert_eq!(first.await.unwrap(), Some(2), "whoever fetches gets the newer one");
        assert_eq!(stage.get_slowly(Some(3)).now_or_never(), Some(Some(2)));
        assert_eq!(stage.fetches(), 1);
    }

    #[tokio::test]
    async fn an_endpoint_that_never_answers_keeps_nobody() {
        let stage = Stage::with_patience(Duration::from_millis(20));
        let never = timeout(FAILED, stage.get_slowly(None)).await;
        assert_eq!(never, Ok(None), "there is an end to waiting");
        stage.nobody_fetches().await;
        stage.pass(6);
        assert_eq!(stage.get(Some(1)).await, Some(1), "and to the fetch");
        let (seen, _) = stage.cache.0.entry("k").unwrap();
        let renewed = stage.cache.renew("k", &seen, std::future::pending);
        assert_eq!(timeout(FAILED, renewed).await, Ok(None));
        stage.nobody_fetches().await;
        stage.pass(2 * 3600);
        let never = timeout(FAILED, stage.get_slowly(None)).await;
        assert_eq!(never, Ok(Some(1)), "the old one serves");
    }

    #[tokio::test]
    async fn a_fetch_goes_on_when_whoever_began_it_goes_away() {
        let stage = Stage::with_patience(LONG);
        let first = tokio::spawn(stage.get_slowly(Some(1)));
        stage.settles().await;
        let second = tokio::spawn(stage.get_slowly(Some(2)));
        stage.settles().await;
        first.abort();
        stage.answers.notify_one();
        assert_eq!(second.await.unwrap(), Some(1));
        assert_eq!(stage.fetches(), 1);
    }
}
