//! What is fetched from providers and kept: metadata and keys.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::kernel::clock::Timestamp;
use crate::upstream::failure::UpstreamError;

/// How long something is used without looking again.
const FRESH: Duration = Duration::from_secs(3600);
/// How long something is used while looking again fails.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How often something may be fetched because of what a token says.
const RENEWAL: Duration = Duration::from_secs(60);
/// How long a failed fetch is not tried again.
const PAUSE: Duration = Duration::from_secs(5);
/// The most that is kept: there are as many as providers, trust sources, and agents that publish their keys.
const MAX_ENTRIES: usize = 2048;

/// Values by the URL that they come from. One fetch at a time for each.
pub(super) struct FetchCache<T> {
    entries: RwLock<HashMap<String, Entry<T>>>,
    gates: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Gate>>>>,
}

struct Entry<T> {
    value: Arc<T>,
    at: Timestamp,
}

#[derive(Default)]
struct Gate {
    failed: Option<(Timestamp, UpstreamError)>,
    renewed_at: Option<Timestamp>,
}

impl<T> Default for FetchCache<T> {
    fn default() -> Self {
        Self { entries: RwLock::default(), gates: Mutex::default() }
    }
}

impl<T> FetchCache<T> {
    /// What is there, however old.
    pub(super) fn peek(&self, key: &str) -> Option<Arc<T>> {
        self.entry(key).map(|(value, _)| value)
    }

    /// The value, fetched when there is none or it is old. When fetching fails the old one stays in use
    /// for a day: a provider that is down for an hour must not lock everyone out.
    pub(super) async fn get<F, Fut>(
        &self,
        key: &str,
        now: Timestamp,
        fetch: F,
    ) -> Result<Arc<T>, UpstreamError>
    where
        F: FnOnce(Option<Arc<T>>) -> Fut,
        Fut: Future<Output = Result<T, UpstreamError>>,
    {
        if let Some(value) = self.fresh(key, now) {
            return Ok(value);
        }
        let gate = self.gate(key);
        let mut gate = gate.lock().await;
        if let Some(value) = self.fresh(key, now) {
            return Ok(value);
        }
        let old = self.entry(key).filter(|(_, at)| now.since(*at) < KEPT).map(|(value, _)| value);
        let failed = match &gate.failed {
            Some((at, error)) if now.since(*at) < PAUSE => error.clone(),
            _ => match fetch(old.clone()).await {
                Ok(value) => {
                    gate.failed = None;
                    return Ok(self.keep(key, value, now));
                }
                Err(error) => {
                    gate.failed = Some((now, error.clone()));
                    error
                }
            },
        };
        old.ok_or(failed)
    }

    /// A newer value than the one that was `seen` and did not serve; fetched at most once a minute, since
    /// anyone can send a token that names an unknown key.
    pub(super) async fn renew<F, Fut>(
        &self,
        key: &str,
        seen: &Arc<T>,
        now: Timestamp,
        fetch: F,
    ) -> Option<Arc<T>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, UpstreamError>>,
    {
        let gate = self.gate(key);
        let mut gate = gate.lock().await;
        if let Some(value) = self.peek(key).filter(|value| !Arc::ptr_eq(value, seen)) {
            return Some(value);
        }
        if gate.renewed_at.is_some_and(|at| now.since(at) < RENEWAL) {
            return None;
        }
        gate.renewed_at = Some(now);
        let value = fetch().await.ok()?;
        Some(self.keep(key, value, now))
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
    use super::*;
    use crate::upstream::failure::Cause;

    const START: Timestamp = Timestamp::from_secs(1_000_000);

    async fn get(cache: &FetchCache<u32>, after_s: u64, result: Option<u32>) -> Option<u32> {
        let fetched = result.ok_or(UpstreamError::unsent(Cause::Metadata, "down"));
        let now = START.plus(Duration::from_secs(after_s));
        cache.get("k", now, |_| async { fetched }).await.ok().map(|value| *value)
    }

    async fn renew(cache: &FetchCache<u32>, after_s: u64, result: Option<u32>) -> Option<u32> {
        let seen = cache.peek("k").unwrap();
        let fetched = result.ok_or(UpstreamError::unsent(Cause::Metadata, "down"));
        let now = START.plus(Duration::from_secs(after_s));
        cache.renew("k", &seen, now, || async { fetched }).await.map(|value| *value)
    }

    #[tokio::test]
    async fn old_values_serve_for_a_day_while_the_provider_is_down() {
        let cache = FetchCache::default();
        assert_eq!(get(&cache, 0, None).await, None);
        assert_eq!(get(&cache, 3, Some(1)).await, None, "no second try within five seconds");
        assert_eq!(get(&cache, 6, Some(1)).await, Some(1));
        assert_eq!(get(&cache, 60, Some(2)).await, Some(1), "still fresh");
        assert_eq!(get(&cache, 5000, None).await, Some(1), "old, but the provider is down");
        assert_eq!(get(&cache, 5006, Some(3)).await, Some(3));
        assert_eq!(get(&cache, 5006 + 24 * 3600, None).await, None);
    }

    #[tokio::test]
    async fn unknown_keys_cause_one_fetch_a_minute() {
        let cache = FetchCache::default();
        get(&cache, 0, Some(1)).await;
        assert_eq!(renew(&cache, 1, Some(2)).await, Some(2));
        assert_eq!(renew(&cache, 30, Some(3)).await, None);
        assert_eq!(renew(&cache, 62, None).await, None, "a failed fetch leaves the old value");
        assert_eq!(cache.peek("k").as_deref(), Some(&2));
        assert_eq!(renew(&cache, 123, Some(4)).await, Some(4));
    }
}
