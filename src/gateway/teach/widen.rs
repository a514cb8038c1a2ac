//! A limit widened by what was asked, and by nothing else.

use std::time::Duration;

use crate::kernel::clock::Timestamp;
use crate::model::limit::{Bound, ClockTime, Hours, Limit, MOST_VALUES, Moment, Named, Span};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The limit under which the call would have been allowed: `Some(None)` where only lifting it helps.
pub(super) fn widened(limit: &Limit, asked: Option<&str>, now: Timestamp) -> Option<Option<Limit>> {
    let bound = match (&limit.bound, asked) {
        (Bound::ReadOnly {}, _) => return Some(None),
        // One more call is another grant with the same words.
        (Bound::Once {}, _) => Bound::Once {},
        (Bound::Hours(hours), _) => Bound::Hours(including(hours, now)?),
        (Bound::MailDates(span), Some(asked)) => Bound::MailDates(reaching(*span, moment(asked)?)),
        (Bound::Events(span), Some(asked)) => Bound::Events(reaching(*span, moment(asked)?)),
        (Bound::Senders { allow }, Some(address)) => {
            Bound::Senders { allow: with(allow, address.to_ascii_lowercase())? }
        }
        (Bound::Recipients { domains }, Some(address)) => {
            let (_, domain) = address.rsplit_once('@')?;
            Bound::Recipients { domains: with(domains, domain.to_ascii_lowercase())? }
        }
        (bound, Some(id)) => {
            let mut items = bound.items()?.to_vec();
            if items.len() >= MOST_VALUES || bound.names(id) {
                return None;
            }
            items.push(Named { id: id.to_owned(), name: None });
            Bound::naming(limit.kind(), items)?
        }
        _ => return None,
    };
    let widened = Limit { api: limit.api.clone(), bound };
    widened.check().is_ok().then_some(Some(widened))
}

/// A moment in RFC 3339, a date, or seconds or milliseconds since the epoch.
fn moment(text: &str) -> Option<Timestamp> {
    /// As seconds this lies beyond the year 3000; as milliseconds, in 1971.
    const MILLIS_FROM: i64 = 40_000_000_000;
    match text.parse::<i64>() {
        Ok(number) if number >= MILLIS_FROM => Some(Timestamp::from_millis(number)),
        Ok(number) => Some(Timestamp::from_secs(number)),
        Err(_) => {
            let local = || format!("{text}Z").parse::<Moment>();
            text.parse::<Moment>().or_else(|_| local()).ok().map(|moment| moment.0)
        }
    }
}

fn with(values: &[String], new: String) -> Option<Vec<String>> {
    let is_new = values.len() < MOST_VALUES && !values.contains(&new);
    is_new.then(|| values.iter().cloned().chain([new]).collect())
}

/// The span, moved to take in the whole day (UTC) of a moment.
fn reaching(span: Span, at: Timestamp) -> Span {
    let midnight = Timestamp::from_secs(at.secs().div_euclid(24 * 3600) * 24 * 3600);
    Span {
        from: span.from.map(|from| from.min(Moment(midnight))),
        until: span.until.map(|until| until.max(Moment(midnight.plus(DAY)))),
    }
}

/// The hours, moved at one end to take in the hour of a moment, and its day of the week.
fn including(hours: &Hours, now: Timestamp) -> Option<Hours> {
    const MINUTES: i64 = 24 * 60;
    let minute = now.secs().div_euclid(60) + i64::from(hours.utc_offset_min);
    let hour = minute.rem_euclid(MINUTES) / 60;
    let clock = |hour: i64| format!("{:02}:00", hour.rem_euclid(24)).parse::<ClockTime>().ok();
    let day = u8::try_from((minute.div_euclid(MINUTES) + 3).rem_euclid(7) + 1).ok()?;
    let mut days = hours.days.clone();
    if !days.is_empty() && !days.contains(&day) {
        days.push(day);
        days.sort_unstable();
    }
    let earlier = Hours { from: clock(hour)?, days: days.clone(), ..hours.clone() };
    let later = Hours { until: clock(hour + 1)?, days: days.clone(), ..hours.clone() };
    let same = Hours { days, ..hours.clone() };
    let length = |hours: &Hours| {
        (i64::from(hours.until.minutes()) - i64::from(hours.from.minutes())).rem_euclid(MINUTES)
    };
    let candidates = [same, earlier, later].into_iter().filter(|new| length(new) > 0 && new.hold(now));
    candidates.min_by_key(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> Limit {
        Limit::parse_all(&format!(r#"[{{"type":"valetkey_limit",{text}}}]"#)).unwrap().remove(0)
    }

    fn at(text: &str) -> Timestamp {
        text.parse::<Moment>().unwrap().0
    }

    #[test]
    fn a_limit_grows_by_what_was_asked_and_by_nothing_else() {
        let now = at("2026-11-22T18:30:00Z");
        for (before, asked, after) in [
            (
                r#""api":"main","kind":"mail_folders","items":["a"]"#,
                Some("b"),
                r#""api":"main","kind":"mail_folders","items":["a","b"]"#,
            ),
            (
                r#""api":"main","kind":"recipients","domains":["example.com"]"#,
                Some("Bob@Elsewhere.example"),
                r#""api":"main","kind":"recipients","domains":["example.com","elsewhere.example"]"#,
            ),
            (
                r#""api":"main","kind":"senders","allow":["@example.com"]"#,
                Some("bob@elsewhere.example"),
                r#""api":"main","kind":"senders","allow":["@example.com","bob@elsewhere.example"]"#,
            ),
            (
                r#""api":"main","kind":"mail_dates","from":"2026-10-01""#,
                Some("2026-09-12T09:00:00Z"),
                r#""api":"main","kind":"mail_dates","from":"2026-09-12""#,
            ),
            (
                r#""api":"main","kind":"events","from":"2026-10-01","until":"2026-11-01""#,
                Some("1793696400000"),
                r#""api":"main","kind":"events","from":"2026-10-01","until":"2026-11-04""#,
            ),
            (
                r#""kind":"hours","from":"09:00","until":"17:00","days":[1,2]"#,
                None,
                r#""kind":"hours","from":"09:00","until":"19:00","days":[1,2,7]"#,
            ),
            (r#""kind":"once""#, None, r#""kind":"once""#),
        ] {
            assert_eq!(widened(&limit(before), asked, now), Some(Some(limit(after))), "{before}");
        }
        assert_eq!(widened(&limit(r#""kind":"read_only""#), None, now), Some(None));
        let same = limit(r#""api":"main","kind":"chats","items":["a"]"#);
        assert_eq!(widened(&same, Some("a"), now), None, "it was not that");
    }
}
