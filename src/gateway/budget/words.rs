//! The words of a budget that has run out.

use std::time::Duration;

use crate::gateway::denial::{Denial, LimitShown};
use crate::kernel::clock::Timestamp;
use crate::kernel::said::Said;
use crate::model::limit::{Bound, Limit, LimitKind, Period};
use crate::model::usage::{Exhausted, Measure};

/// 429 with the time until the next period; 403 where waiting does not help.
pub(super) fn denial(exhausted: Exhausted, now: Timestamp) -> Denial {
    let Exhausted { measure, most, left, asked, renewed_at } = exhausted;
    let Some(measure) = measure else {
        let said = vec![Said::of("once_made")];
        let once = Limit::general(Bound::Once {});
        return Denial::limit(said, shown(LimitKind::Once, "one call", "one more call")).beyond(&once, None);
    };
    let (things_said, period_said) = (Said::of(things(measure)), Said::of(period(measure)));
    let (things, period) = (things_said.english(), period_said.english());
    let allowed = format!("{most} {things} per {period}");
    let budget =
        || Said::of("so_many_per").and(most.to_string()).and(things_said.clone()).and(period_said.clone());
    let answer = |key: &'static str| {
        let said = Said::of(key).and(asked.to_string()).and(things_said.clone());
        if key == "more_than_left" { said.and(left.to_string()).and(budget()) } else { said.and(budget()) }
    };
    if asked > most {
        let said = vec![answer("more_than_all")];
        return Denial::limit(said, shown(measure.kind(), &allowed, &format!("{asked} {things}")));
    }
    let begins = renewed_at.map(Timestamp::rfc3339).unwrap_or_default();
    let said = if left == 0 { Said::of("used_up").and(budget()) } else { answer("more_than_left") };
    let said = vec![said, Said::of("next_begins").and(period_said.clone()).and(begins)];
    let asked = if left == 0 { format!("more {things}") } else { format!("{asked} {things}") };
    Denial {
        status: 429,
        retry_after: Some(renewed_at.map_or(Duration::ZERO, |at| rounded_up(now.until(at)))),
        ..Denial::limit(said, shown(measure.kind(), &allowed, &asked))
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
        Measure::CallsPerMinute | Measure::CallsPerHour | Measure::CallsPerDay => "things_calls",
        Measure::ItemsPerDay => "things_items",
        Measure::BytesPerDay => "things_bytes",
    }
}

const fn period(measure: Measure) -> &'static str {
    match measure.period() {
        Period::Minute => "period_minute",
        Period::Hour => "period_hour",
        Period::Day => "period_day",
    }
}
