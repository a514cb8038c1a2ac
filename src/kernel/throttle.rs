//! Slows guessing down: only failures are charged, per claimed name and over all.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::kernel::bearer::TokenDigest;

const PER_NAME_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);
const OVERALL_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(199);
const TOLD_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
const TOLD_AT_ONCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(511);

/// Counts failures. Whoever shows the right secret is never held up, so nobody can lock anybody out by
/// guessing in their name.
pub struct Throttle {
    per_name: DefaultKeyedRateLimiter<u16>,
    overall: DefaultDirectRateLimiter,
    told: DefaultDirectRateLimiter,
    clock: DefaultClock,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            per_name: RateLimiter::keyed(Quota::per_minute(PER_NAME_MINUTE)),
            overall: RateLimiter::direct(Quota::per_second(OVERALL_SECOND)),
            told: RateLimiter::direct(Quota::per_second(TOLD_SECOND).allow_burst(TOLD_AT_ONCE)),
            clock: DefaultClock::default(),
        }
    }
}

impl Throttle {
    /// Whether a failure may be written to the log: a few hundred at once, two a second for long.
    pub fn may_tell(&self) -> bool {
        self.told.check().is_ok()
    }

    /// Charges a failure in that name: nothing while there is patience left, else how many seconds to wait.
    /// The name is a keyed digest.
    pub fn charge(&self, name: &TokenDigest) -> Option<u64> {
        // 65,536 buckets of a keyed hash: memory stays bounded whatever names are tried, and nobody can
        // choose a name that shares a bucket with another one's.
        let bucket = name.hex().get(..4).and_then(|hex| u16::from_str_radix(hex, 16).ok()).unwrap_or(0);
        let now = self.clock.now();
        let refused = [
            self.per_name.check_key(&bucket).err().map(|until| until.wait_time_from(now)),
            self.overall.check().err().map(|until| until.wait_time_from(now)),
        ];
        let wait = refused.into_iter().flatten().max()?;
        Some(wait.max(Duration::from_secs(1)).as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_one_name_are_slowed_down_and_in_another_are_not() {
        let throttle = Throttle::default();
        let name = |first: u8| TokenDigest::from_bytes([first; 32]);
        let refused = (0..30).filter(|_| throttle.charge(&name(1)).is_some_and(|wait| wait >= 1)).count();
        assert_eq!(refused, 10);
        assert_eq!(throttle.charge(&name(2)), None);
    }
}
