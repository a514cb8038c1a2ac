//! The words of a budget that has run out.

use std::time::Duration;

use crate::gateway::denial::{Denial, LimitShown};
use crate::kernel::clock::Timestamp;
use crate::model::limit::{Bound, Limit, LimitKind, Period};
use crate::model::usage::{Exhausted, Measure};

/// 429 with the time until the next period; 403 where waiting does not help.
pub(super) fn denial(exhausted: Exhausted, now: Timestamp) -> Denial {
    let Exhausted { measure, most, left, asked, renewed_at } = exhausted;
    let Some(measure) = measure else {
        let words = "this was granted for a single call, which was made";
        let once = Limit::general(Bound::Once {});
        return Denial::limit(words, shown(LimitKind::Once, "one call", "one more call")).beyond(&once, None);
    };
    let (things, period) = (things(measure), period(measure));
    let allowed = format!("{most} {things} per {period}");
    if asked > most {
        let words = format!(
            "the answer has {asked} {things}, and {allowed} are allowed at all: ask for less at a time"
        );
        return Denial::limit(words, shown(measure.kind(), &allowed, &format!("{asked} {things}")));
    }
    let begins = renewed_at.map(Timestamp::rfc3339).unwrap_or_default();
    let words = if left == 0 {
        format!("the budget of {allowed} is used up: the next {period} begins at {begins}")
    } else {
        format!(
            "the answer has {asked} {things}, and {left} of the budget of {allowed} are left: ask for less at a \
             time, or wait for the next {period}, which begins at {begins}"
        )
    };
    let asked = if left == 0 { format!("more {things}") } else { format!("{asked} {things}") };
    Denial {
        status: 429,
        retry_after: Some(renewed_at.map_or(Duration::ZERO, |at| rounded_up(now.until(at)))),
        ..Denial::limit(words, shown(measure.kind(), &allowed, &asked))
    }
}

fn shown(kind: LimitKind, allowed: &str, asked: &str) -> LimitShown {
    LimitShown { kind: kind.as_str().to_owned(), allowed: allowed.to_owned(), asked: asked.to_owned() }
}

/// To whole seconds: whoever comes back then must not be told to wait once more.
fn rounded_up(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

const fn things(measure: Measure) -> &'static str {
    match measure {
        Measure::CallsPerMinute | Measure::CallsPerHour | Measure::CallsPerDay => "calls",
        Measure::ItemsPerDay => "items",
        Measure::BytesPerDay => "bytes",
    }
}

const fn period(measure: Measure) -> &'static str {
    match measure.period() {
        Period::Minute => "minute",
        Period::Hour => "hour",
        Period::Day => "day",
    }
}
