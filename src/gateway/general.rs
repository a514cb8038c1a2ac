//! Limits that bound every call alike: reading only, and the hours of the day.

use crate::gateway::denial::{Denial, LimitShown};
use crate::kernel::clock::Timestamp;
use crate::kernel::said::Said;
use crate::model::limit::{Bound, Hours, Limit};
use crate::providers::routes::CompiledRoute;

/// Holds a call against a limit of these kinds; the others are not judged here.
///
/// # Errors
/// What the limit allows, and what may be done instead.
pub(super) fn check(limit: &Limit, route: &CompiledRoute, now: Timestamp) -> Result<(), Denial> {
    match &limit.bound {
        // HEAD is judged as the GET that it is (RFC 9110, section 9.3.2): the route's word is the last one.
        Bound::ReadOnly {} if !route.reads => {
            let said = Said::of("only_reading").and(route.pattern.as_str());
            Err(denied(limit, said, "calls that only look".to_owned(), route.pattern.clone()))
        }
        Bound::Hours(hours) if !hours.hold(now) => {
            let again = hours.begin_after(now).map(Timestamp::rfc3339).unwrap_or_default();
            let allowed = shown(hours);
            let said = Said::of("only_hours").and(allowed.as_str()).and(again);
            Err(denied(limit, said, allowed, now.rfc3339()))
        }
        _ => Ok(()),
    }
}

fn denied(limit: &Limit, said: Said, allowed: String, asked: String) -> Denial {
    let shown = LimitShown { kind: limit.kind().as_str().to_owned(), allowed, asked };
    Denial::limit(vec![said], shown).beyond(limit, None)
}

/// Hours in the clock that is meant, and the days of the week.
fn shown(hours: &Hours) -> String {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let offset = hours.utc_offset_min;
    let sign = if offset < 0 { '-' } else { '+' };
    let (hour, minute) = (offset.unsigned_abs() / 60, offset.unsigned_abs() % 60);
    let clock = format!("{} to {} (UTC{sign}{hour:02}:{minute:02})", hours.from, hours.until);
    let named = hours.days.iter().filter_map(|day| DAYS.get(usize::from(*day).checked_sub(1)?));
    let days: Vec<&str> = named.copied().collect();
    if days.is_empty() { clock } else { format!("{clock} on {}", days.join(", ")) }
}
