//! This machine's clock beside others'.

use std::time::Duration;

use url::Url;

use crate::app::doctor::Finding;
use crate::app::open;
use crate::config::Settings;
use crate::kernel::clock::{Clock as _, SystemClock, Timestamp};
use crate::net::Call;

/// Above it tokens end noticeably early or late.
const DOUBTFUL: Duration = Duration::from_secs(5);
/// Above it fresh tokens of others are refused, and ended ones of ours taken; nodes mistake each other's leases.
const UNSAFE: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(4);

/// How far this machine's clock is from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skew {
    Behind(Duration),
    Ahead(Duration),
}

pub(super) fn between(theirs: Timestamp, ours: Timestamp) -> Skew {
    if theirs > ours { Skew::Behind(theirs.since(ours)) } else { Skew::Ahead(ours.since(theirs)) }
}

/// What a difference means. A second is what HTTP's clock may be off by itself.
pub(super) fn judge(whose: &str, skew: Skew) -> Finding {
    let (by, word) = match skew {
        Skew::Behind(by) => (by, "behind"),
        Skew::Ahead(by) => (by, "ahead of"),
    };
    if by < DOUBTFUL {
        return Finding::good("clock_skew", format!("in step with {whose}"));
    }
    let found = format!("this machine's clock is {} s {word} that of {whose}", by.as_secs());
    let remedy = "set the clock that is wrong (timedatectl set-ntp true): tokens and leases are judged by it";
    if by < UNSAFE {
        Finding::doubtful("clock_skew", found, remedy)
    } else {
        Finding::harmful("clock_skew", found, remedy)
    }
}

/// Asks an address for the time, by the header that every answer over HTTP has (RFC 9110, section 6.6.1).
pub(super) async fn ask(settings: &Settings, address: &Url) -> Result<Skew, String> {
    let client = open::outbound(settings).map_err(|error| error.to_string())?;
    let mut call = Call::get(address.clone());
    call.deadline = PATIENCE;
    let answer = client.fetch(call).await.map_err(|error| error.to_string())?;
    let theirs = answer.date().ok_or("its answer has no `Date`")?;
    Ok(between(theirs, SystemClock.now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::Level;

    #[test]
    fn a_clock_that_is_off_is_named_with_the_direction_and_by_how_much() {
        let at = |secs: i64| Timestamp::from_secs(1_700_000_000 + secs);
        let table = [
            (0, Level::Good, "in step"),
            (4, Level::Good, "in step"),
            (-4, Level::Good, "in step"),
            (6, Level::Doubtful, "6 s behind"),
            (-59, Level::Doubtful, "59 s ahead of"),
            (60, Level::Unsafe, "60 s behind"),
            (-3600, Level::Unsafe, "3600 s ahead of"),
        ];
        for (theirs, level, words) in table {
            let finding = judge("the database", between(at(theirs), at(0)));
            assert_eq!(finding.level, level, "{theirs}: {finding:?}");
            assert!(finding.found.contains(words), "{theirs}: {finding:?}");
        }
    }
}
