//! How many calls a provider's host has at once, whose they are, and when it is left alone for a while.
//!
//! No agent may take a provider away from the others: it can have as many calls under way as there are places
//! left. One alone comes to half of them, the next to half of the rest, and so on.
//!
//! A host that does not answer would tie up every agent for half a minute per call. After a few calls in a row
//! that brought no answer it is left alone, and then tried with one call.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::gateway::denial::Denial;
use crate::kernel::clock::Clock;
use crate::kernel::ids::AgentId;

/// How many calls in a row without an answer make a host be left alone.
const FAILURES: u32 = 5;
/// For how long.
const LEFT_ALONE: Duration = Duration::from_secs(10);
/// When to come again while the one call that tries is under way, or when all places are taken.
const SHORTLY: Duration = Duration::from_secs(1);
/// How many calls may be under way to one host, streams included.
const IN_FLIGHT: usize = 1024;
/// Agents are counted apart, so that their calls do not wait for one lock.
const PARTS: usize = 16;

/// What is known of the hosts that calls go to.
pub struct Hosts {
    clock: Arc<dyn Clock>,
    by_name: RwLock<HashMap<String, Arc<Host>>>,
}

#[derive(Default)]
struct Host {
    in_flight: AtomicUsize,
    by_agent: ByAgent,
    /// Calls in a row that brought no answer.
    failures: AtomicU32,
    /// Until when it is left alone, in milliseconds; 0 = it is not.
    closed_until: AtomicI64,
    probing: AtomicBool,
}

/// How many calls each agent has under way; none is left out.
#[derive(Default)]
struct ByAgent {
    hasher: std::hash::RandomState,
    parts: [Mutex<HashMap<AgentId, usize>>; PARTS],
}

impl ByAgent {
    fn part(&self, agent: &AgentId) -> Option<MutexGuard<'_, HashMap<AgentId, usize>>> {
        let at = usize::try_from(self.hasher.hash_one(agent) % PARTS as u64).unwrap_or_default();
        self.parts.get(at).map(|part| part.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a call; how many there were.
    fn begin(&self, agent: &AgentId) -> usize {
        let Some(mut part) = self.part(agent) else { return 0 };
        let count = part.entry(agent.clone()).or_default();
        *count = count.saturating_add(1);
        count.saturating_sub(1)
    }

    fn end(&self, agent: &AgentId) {
        let Some(mut part) = self.part(agent) else { return };
        if let Some(count) = part.get_mut(agent) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                part.remove(agent);
            }
        }
    }
}

impl Hosts {
    /// Nothing is known yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, by_name: RwLock::default() }
    }

    /// A place for one call of an agent, kept until it is dropped.
    ///
    /// # Errors
    /// When the host is left alone, or all places are taken, or as many by this agent as are left.
    pub(super) fn admit(&self, name: &str, agent: &AgentId) -> Result<Pass, Denial> {
        let host = self.host(name);
        let own = host.by_agent.begin(agent);
        let taken = host.in_flight.fetch_add(1, Ordering::SeqCst);
        let mut pass = Pass { host, agent: agent.clone(), clock: Arc::clone(&self.clock), is_probe: false };
        if taken >= IN_FLIGHT {
            return Err(Denial::unavailable("too many calls to this provider are under way", SHORTLY));
        }
        if own >= IN_FLIGHT - taken {
            let words = "too many calls of this agent to this provider are under way: let some of them end";
            return Err(Denial::unavailable(words, SHORTLY));
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
    agent: AgentId,
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
        self.host.by_agent.end(&self.agent);
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

    fn agent(number: u128) -> AgentId {
        format!("agt_{number:032x}").parse().unwrap()
    }

    fn fails(hosts: &Hosts, times: u32) {
        for _ in 0..times {
            hosts.admit("a", &agent(0)).unwrap().failed();
        }
    }

    #[test]
    fn a_host_is_left_alone_after_failures_in_a_row_and_tried_with_one_call() {
        let (clock, hosts) = hosts();
        fails(&hosts, FAILURES - 1);
        hosts.admit("a", &agent(0)).unwrap().answered();
        fails(&hosts, FAILURES - 1);
        assert!(hosts.admit("a", &agent(0)).is_ok(), "not enough in a row");
        fails(&hosts, 1);
        let refused = hosts.admit("a", &agent(0)).err().unwrap();
        assert_eq!((refused.status, refused.retry_after), (503, Some(LEFT_ALONE)));
        assert!(hosts.admit("b", &agent(0)).is_ok(), "another host");

        clock.advance(LEFT_ALONE);
        let mut probe = hosts.admit("a", &agent(0)).unwrap();
        assert_eq!(
            hosts.admit("a", &agent(0)).err().unwrap().retry_after,
            Some(SHORTLY),
            "one call at a time"
        );
        probe.failed();
        assert_eq!(hosts.admit("a", &agent(0)).err().unwrap().retry_after, Some(LEFT_ALONE));

        clock.advance(LEFT_ALONE);
        drop(hosts.admit("a", &agent(0)).unwrap());
        hosts.admit("a", &agent(0)).unwrap().answered();
        let (one, two) = (hosts.admit("a", &agent(0)), hosts.admit("a", &agent(0)));
        assert!(one.is_ok() && two.is_ok(), "it answers again");
    }

    /// As many places as an agent gets.
    fn takes_all(hosts: &Hosts, agent: &AgentId) -> Vec<Pass> {
        std::iter::from_fn(|| hosts.admit("a", agent).ok()).take(IN_FLIGHT + 1).collect()
    }

    #[test]
    fn an_agent_gets_as_many_places_as_it_leaves_to_others() {
        let (_, hosts) = hosts();
        let (one, two) = (agent(1), agent(2));
        let first = takes_all(&hosts, &one);
        assert_eq!(first.len(), IN_FLIGHT / 2);
        let refused = hosts.admit("a", &one).err().unwrap();
        assert_eq!((refused.status, refused.retry_after), (503, Some(SHORTLY)));
        assert!(refused.description.contains("of this agent"), "{}", refused.description);
        assert!(hosts.admit("b", &one).is_ok(), "another host");
        let second = takes_all(&hosts, &two);
        assert_eq!(second.len(), IN_FLIGHT / 4);
        drop(first);
        assert!(hosts.admit("a", &one).is_ok() && hosts.admit("a", &two).is_ok(), "places come back");
        drop(second);
        assert_eq!(takes_all(&hosts, &two).len(), IN_FLIGHT / 2);
        let host = hosts.host("a");
        assert_eq!(host.in_flight.load(Ordering::SeqCst), 0);
        assert!(host.by_agent.parts.iter().all(|part| part.lock().unwrap().is_empty()), "nobody is left");
    }

    #[test]
    fn however_many_take_what_they_can_the_next_gets_a_place() {
        let (_, hosts) = hosts();
        let mut held = Vec::new();
        for number in 0..6 {
            held.extend(takes_all(&hosts, &agent(number)));
        }
        assert!(held.len() < IN_FLIGHT && hosts.admit("a", &agent(100)).is_ok(), "{} are taken", held.len());
        held.extend((0..IN_FLIGHT as u128).filter_map(|number| hosts.admit("a", &agent(1000 + number)).ok()));
        assert_eq!(held.len(), IN_FLIGHT, "with one call each all places are taken");
        assert_eq!(hosts.admit("a", &agent(9999)).err().unwrap().status, 503);
    }
}
