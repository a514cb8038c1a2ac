//! How much a provider may be dialled: a circuit breaker, and a bound on refreshes in flight.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::connections::judge::Failure;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::ProviderSlug;

/// What a hard kill can cost at a provider whose refresh tokens work once: no more connections than are
/// being refreshed at that moment.
const IN_FLIGHT: usize = 8;
/// Failures in a row, over all accounts, that open the circuit.
const TRIP: u32 = 5;
/// How long it stays open at first, and at most.
const OPEN: Duration = Duration::from_secs(15);
const OPEN_MAX: Duration = Duration::from_secs(300);

/// One gate per provider.
#[derive(Default)]
pub(super) struct Gates(Mutex<HashMap<ProviderSlug, Arc<Gate>>>);

impl Gates {
    pub(super) fn of(&self, provider: &ProviderSlug) -> Arc<Gate> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gates.entry(provider.clone()).or_default())
    }
}

/// What this process knows of one provider's health.
pub(super) struct Gate {
    /// Taken for the time of a refresh.
    pub permits: Semaphore,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    failures: u32,
    open_until: Option<Timestamp>,
    /// Until when the provider has asked to be left alone.
    paused_until: Option<Timestamp>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { permits: Semaphore::new(IN_FLIGHT), health: Mutex::default() }
    }
}

impl Gate {
    /// Whether the provider may be dialled now; else how long to wait. When the time is over one caller
    /// tries, and the others wait for what it learns.
    pub(super) fn admit(&self, now: Timestamp) -> Result<(), Duration> {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        still_paused(&health, now)?;
        match health.open_until {
            None => Ok(()),
            // A circuit that seems to stay open for longer was opened while our clock was wrong.
            Some(until) if now < until && now.until(until) <= OPEN_MAX => Err(now.until(until)),
            Some(_) => {
                health.open_until = Some(now.plus(OPEN));
                Ok(())
            }
        }
    }

    /// Whether the provider has asked for a pause since [`Gate::admit`].
    pub(super) fn still_admits(&self, now: Timestamp) -> Result<(), Duration> {
        still_paused(&self.health.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    pub(super) fn worked(&self) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        // A pause holds for its time: answers to what was sent before it prove nothing.
        *health = Health { paused_until: health.paused_until, ..Health::default() };
    }

    /// What a failed dial says about the provider as a whole. Being asked for a pause is no trouble: it ends
    /// by itself, and whoever comes then is served.
    pub(super) fn heard(&self, failure: Failure, now: Timestamp) {
        if let Some(pause) = failure.pause() {
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            let until = now.plus(pause);
            health.paused_until = Some(health.paused_until.map_or(until, |former| former.max(until)));
        } else if failure.is_trouble() {
            self.failed(now);
        } else {
            self.worked();
        }
    }

    pub(super) fn failed(&self, now: Timestamp) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.failures = health.failures.saturating_add(1);
        if let Some(beyond) = health.failures.checked_sub(TRIP) {
            let open = OPEN.saturating_mul(1 << beyond.min(8)).min(OPEN_MAX);
            health.open_until = Some(now.plus(open));
        }
    }
}

fn still_paused(health: &Health, now: Timestamp) -> Result<(), Duration> {
    health.paused_until.filter(|until| now < *until).map_or(Ok(()), |until| Err(now.until(until)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_circuit_opens_after_failures_in_a_row_and_one_caller_tries_when_it_is_over() {
        let gate = Gate::default();
        let start = Timestamp::from_secs(0);
        for _ in 1..TRIP {
            gate.failed(start);
            assert!(gate.admit(start).is_ok());
        }
        gate.failed(start);
        assert_eq!(gate.admit(start), Err(OPEN));
        let later = start.plus(OPEN);
        assert!(gate.admit(later).is_ok());
        assert!(gate.admit(later).is_err(), "the others wait for the one that tries");
        gate.worked();
        assert!(gate.admit(later).is_ok());
    }
}
