//! Faults that a test or an admin injects into one vendor.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;

use crate::kernel::clock::Timestamp;

/// What a request is to the vendor; faults and counters go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// A token call that is not a renewal: a code's redemption or an app's own token.
    Token,
    /// A renewal with a refresh token.
    Refresh,
    /// A revocation.
    Revoke,
    /// Who the token's user is.
    Userinfo,
    /// A data call.
    Api,
    /// Pages, discovery, keys: no fault applies.
    #[serde(skip)]
    Other,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The answer takes `value` milliseconds longer; the work is done at once.
    Latency,
    /// The vendor answers with this HTTP status and does nothing.
    Status,
    /// The work is done and the connection closed without an answer.
    DropAfterCommit,
    /// A middlebox answers 200 with bytes that are no JSON; nothing is done.
    Garbage,
    /// A middlebox answers 200 with a page; nothing is done.
    Html,
    /// The answer carries more scopes than asked: `value`, or all that were ever granted.
    BroaderScope,
    /// The vendor throttles, with `value` seconds to wait.
    RateLimit,
    /// The vendor takes `value` requests in each second, and throttles the others until the next one.
    Pace,
    /// The answer's tokens live `value` seconds.
    ExpiresIn,
    /// A good answer's body is replaced by `value.bytes` bytes, made while they are sent in pieces of
    /// `value.piece`, each `value.pause_ms` after the one before; or by `value` bytes at once.
    Long,
    /// The request's body is counted, not kept, and the answer tells how long it was.
    Swallow,
}

/// The longest piece of a made body.
pub const LONGEST_PIECE: usize = 64 * 1024;

/// A body that is made while it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Long {
    /// How many bytes in all.
    pub bytes: u64,
    /// How many at a time.
    pub piece: usize,
    /// How long to wait before each piece but the first.
    pub pause_ms: u64,
}

/// One injected fault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Where.
    pub endpoint: Endpoint,
    /// What.
    pub kind: FaultKind,
    /// How much, by kind.
    #[serde(default)]
    pub value: Value,
    /// How many requests it meets.
    #[serde(default = "once")]
    pub count: u64,
}

const fn once() -> u64 {
    1
}

impl Fault {
    /// The value as a number.
    pub fn number(&self) -> Option<u64> {
        self.value.as_u64().or_else(|| self.value.as_str()?.parse().ok())
    }

    /// The body that a `long` fault asks for.
    pub fn long(&self) -> Option<Long> {
        let member = |name: &str| self.value.get(name).and_then(Value::as_u64);
        let bytes = self.number().or_else(|| member("bytes"))?;
        let piece = usize::try_from(member("piece").unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        Some(Long { bytes, piece: piece.clamp(1, LONGEST_PIECE), pause_ms: member("pause_ms").unwrap_or(0) })
    }

    /// Why it cannot be injected, if it cannot.
    pub fn objection(&self) -> Option<&'static str> {
        let number = self.number();
        match self.kind {
            FaultKind::Status if !number.is_some_and(|n| (200..=599).contains(&n)) => {
                Some("`value` is an HTTP status from 200 to 599")
            }
            FaultKind::Latency if number.is_none_or(|n| n > 600_000) => {
                Some("`value` is milliseconds, at most 600000")
            }
            FaultKind::RateLimit | FaultKind::ExpiresIn if number.is_none() => Some("`value` is seconds"),
            FaultKind::Pace if number.is_none_or(|n| n == 0) => Some("`value` is requests in a second"),
            FaultKind::BroaderScope if !(self.value.is_null() || self.value.is_string()) => {
                Some("`value` is a space-separated list of scopes, or left out")
            }
            FaultKind::Long if self.long().is_none() => {
                Some("`value` is a number of bytes, or {bytes, piece, pause_ms}")
            }
            _ if self.count == 0 => Some("`count` is at least 1"),
            _ => None,
        }
    }
}

/// The faults waiting at one vendor, met in the order in which they were injected.
#[derive(Debug, Default)]
pub struct Faults {
    waiting: Mutex<VecDeque<Fault>>,
    taken: Mutex<Taken>,
}

/// How many requests a pace has let through in the present second.
#[derive(Debug, Default)]
struct Taken {
    second: i64,
    requests: u64,
}

impl Faults {
    /// Adds one.
    pub fn inject(&self, fault: Fault) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(fault);
    }

    /// Removes all.
    pub fn reset(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether the next request of that kind meets that fault.
    pub fn waits(&self, endpoint: Endpoint, kind: FaultKind) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().any(|fault| fault.endpoint == endpoint && fault.kind == kind)
    }

    /// The faults that this request meets: at most one of each kind.
    pub fn meet(&self, endpoint: Endpoint, now: Timestamp) -> Vec<Fault> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut met: Vec<Fault> = Vec::new();
        for fault in waiting.iter_mut() {
            if fault.endpoint == endpoint && met.iter().all(|m| m.kind != fault.kind) {
                if fault.kind == FaultKind::Pace && self.lets_through(fault, now) {
                    continue;
                }
                fault.count -= 1;
                met.push(fault.clone());
            }
        }
        waiting.retain(|fault| fault.count > 0);
        met
    }

    fn lets_through(&self, pace: &Fault, now: Timestamp) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.millis().div_euclid(1000);
        if taken.second != second {
            *taken = Taken { second, requests: 0 };
        }
        taken.requests += 1;
        taken.requests <= pace.number().unwrap_or(u64::MAX)
    }
}
