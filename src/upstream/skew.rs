//! Providers' clocks: every answer of theirs tells the time, and tokens are judged by ours.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::kernel::clock::Timestamp;

/// Beyond what a slow answer and a header in whole seconds explain.
const NOTICEABLE: Duration = Duration::from_secs(30);
/// How often it is said.
const EVERY: Duration = Duration::from_secs(3600);

/// Says when a provider's clock and ours differ.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When it was last said, in milliseconds.
    said: AtomicI64,
}

impl Watch {
    /// An answer was made at that time, and has just arrived. Says so, and returns it, if that cannot be.
    pub(super) fn saw(&self, host: &str, theirs: Timestamp, now: Timestamp) -> bool {
        let (behind, ahead) = (theirs.since(now), now.since(theirs));
        let said = Timestamp::from_millis(self.said.load(Ordering::Relaxed));
        if behind.max(ahead) < NOTICEABLE || now.since(said) < EVERY {
            return false;
        }
        self.said.store(now.millis(), Ordering::Relaxed);
        let (by, word) = if behind > ahead { (behind, "behind") } else { (ahead, "ahead of") };
        tracing::warn!(
            host,
            "this machine's clock is {} s {word} that of a provider: tokens are judged by it; set the one that is wrong",
            by.as_secs()
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told_once_an_hour_and_a_slow_answer_never() {
        let at = |secs: i64| Timestamp::from_secs(1_700_000_000 + secs);
        let watch = Watch::default();
        assert!(!watch.saw("a.example", at(-20), at(0)), "a slow answer");
        assert!(watch.saw("a.example", at(-40), at(0)));
        assert!(!watch.saw("a.example", at(-40), at(3599)));
        assert!(watch.saw("a.example", at(3640), at(3600)), "behind counts as well as ahead");
    }
}
