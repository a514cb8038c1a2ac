//! How many calls a provider's host has at once, and when it is left alone for a while.
//!
//! A host that does not answer would tie up every agent for half a minute per call. After a few calls in a row
//! that brought no answer it is left alone, and then tried with one call.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::gateway::denial::Denial;
use crate::kernel::clock::Clock;

/// How many calls in a row without an answer make a host be left alone.
const FAILURES: u32 = 5;
/// For how long.
const LEFT_ALONE: Duration = Duration::from_secs(10);
/// When to come again while the one call that tries is under way, or when all places are taken.
const SHORTLY: Duration = Duration::from_secs(1);
/// How many calls may be under way to one host, streams included.
const IN_FLIGHT: usize = 1024;

/// What is known of the hosts that calls go to.
pub struct Hosts {
    clock: Arc<dyn Clock>,
    by_name: RwLock<HashMap<String, Arc<Host>>>,
}

#[derive(Default)]
struct Host {
    in_flight: AtomicUsize,
    /// Calls in a row that brought no answer.
    failures: AtomicU32,
    /// Until when it is left alone, in milliseconds; 0 = it is not.
    closed_until: AtomicI64,
    probing: AtomicBool,
}

impl Hosts {
    /// Nothing is known yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, by_name: RwLock::default() }
    }

    /// A place for one call, kept until it is dropped.
    ///
    /// # Errors
    /// When the host is left alone, or all places are taken.
    pub(super) fn admit(&self, name: &str) -> Result<Pass, Denial> {
        let host = self.host(name);
        let mut pass = Pass { host, clock: Arc::clone(&self.clock), is_probe: false };
        if pass.host.in_flight.fetch_add(1, Ordering::SeqCst) >= IN_FLIGHT {
            return Err(Denial::unavailable("too many calls to this provider are under way", SHORTLY));
        }
        let closed_until = pass.host.closed_until.load(Ordering::SeqCst);
        if closed_until == 0 {
            return Ok(pass);
        }
        let left = closed_until.saturating_sub(self.clock.now().millis());
        if left <= 0 && !pass.host.probing.swap(true, Ordering::SeqCst) {
            pass.is_probe = true;
            return Ok(pass);
        }
        let wait = Duration::from_millis(u64::try_from(left).unwrap_or_default()).max(SHORTLY);
        Err(Denial::unavailable("the provider did not answer several calls in a row: try again later", wait))
    }

    fn host(&self, name: &str) -> Arc<Host> {
        if let Some(host) = self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(host);
        }
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(by_name.entry(name.to_owned()).or_default())
    }
}

/// A place for one call to a host.
pub(super) struct Pass {
    host: Arc<Host>,
    clock: Arc<dyn Clock>,
    /// Whether this is the one call that tries a host again.
    is_probe: bool,
}

impl Pass {
    /// The host has answered, whatever it said.
    pub(super) fn answered(&mut self) {
        // Read first: the usual case must not make all cores write to the same place.
        if self.host.failures.load(Ordering::SeqCst) != 0 {
            self.host.failures.store(0, Ordering::SeqCst);
        }
        if self.is_probe {
            self.host.closed_until.store(0, Ordering::SeqCst);
            self.probe_is_over();
        }
    }

    /// The host could not be reached, or did not answer.
    pub(super) fn failed(&mut self) {
        let failures = self.host.failures.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        if self.is_probe || failures >= FAILURES {
            let until = self.clock.now().plus(LEFT_ALONE).millis();
            self.host.closed_until.store(until, Ordering::SeqCst);
        }
        self.probe_is_over();
    }

    fn probe_is_over(&mut self) {
        if std::mem::take(&mut self.is_probe) {
            self.host.probing.store(false, Ordering::SeqCst);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // A call that was given up tells nothing; the next one tries again.
        self.probe_is_over();
        self.host.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::clock::{ManualClock, Timestamp};

    fn hosts() -> (Arc<ManualClock>, Hosts) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
        (Arc::clone(&clock), Hosts::new(clock))
    }

    fn fails(hosts: &Hosts, times: u32) {
        for _ in 0..times {
            hosts.admit("a").unwrap().failed();
        }
    }

    #[test]
    fn a_host_is_left_alone_after_failures_in_a_row_and_tried_with_one_call() {
        let (clock, hosts) = hosts();
        fails(&hosts, FAILURES - 1);
        hosts.admit("a").unwrap().answered();
        fails(&hosts, FAILURES - 1);
        assert!(hosts.admit("a").is_ok(), "not enough in a row");
        fails(&hosts, 1);
        let refused = hosts.admit("a").err().unwrap();
        assert_eq!((refused.status, refused.retry_after), (503, Some(LEFT_ALONE)));
        assert!(hosts.admit("b").is_ok(), "another host");

        clock.advance(LEFT_ALONE);
        let mut probe = hosts.admit("a").unwrap();
        assert_eq!(hosts.admit("a").err().unwrap().retry_after, Some(SHORTLY), "one call at a time");
        probe.failed();
        assert_eq!(hosts.admit("a").err().unwrap().retry_after, Some(LEFT_ALONE));

        clock.advance(LEFT_ALONE);
        drop(hosts.admit("a").unwrap());
        hosts.admit("a").unwrap().answered();
        let (one, two) = (hosts.admit("a"), hosts.admit("a"));
        assert!(one.is_ok() && two.is_ok(), "it answers again");
    }

    #[test]
    fn places_are_limited_and_come_back() {
        let (_, hosts) = hosts();
        let all: Vec<Pass> = (0..IN_FLIGHT).map(|_| hosts.admit("a").unwrap()).collect();
        assert_eq!(hosts.admit("a").err().unwrap().status, 503);
        drop(all);
        assert!(hosts.admit("a").is_ok());
    }
}
