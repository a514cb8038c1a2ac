//! Moments as vendors write them, and windows of time that a limit clamps.

use std::time::Duration;

use crate::kernel::clock::Timestamp;
use crate::model::limit::{Moment, Span};
use crate::providers::template::TimeForm;

/// How far clocks on Earth are apart from UTC at most, rounded up.
const FURTHEST_OFFSET: Duration = Duration::from_secs(14 * 3600);

/// A moment, and whether it says which clock it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The moment, in UTC where no offset is stated.
    pub at: Timestamp,
    /// Whether an offset is stated.
    pub is_local: bool,
}

/// Reads a moment.
pub fn read(text: &str, form: TimeForm) -> Option<Read> {
    let is_date = text.len() == 10 && text.as_bytes().get(4) == Some(&b'-');
    match form {
        // Vendors with numbers write a date where an event lasts the whole day.
        TimeForm::UnixS | TimeForm::UnixMs if !is_date => {
            let is_number = (1..=17).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            let value: i64 = text.parse().ok().filter(|_| is_number)?;
            let at = if form == TimeForm::UnixS {
                Timestamp::from_secs(value)
            } else {
                Timestamp::from_millis(value)
            };
            Some(Read { at, is_local: false })
        }
        _ => {
            let is_plain = |b: u8| b.is_ascii_digit() || b"-+:.TZtz".contains(&b);
            if !text.bytes().all(is_plain) {
                return None;
            }
            if let Ok(Moment(at)) = text.parse() {
                return Some(Read { at, is_local: is_date });
            }
            let Moment(at) = format!("{text}Z").parse().ok()?;
            Some(Read { at, is_local: true })
        }
    }
}

/// Writes a moment.
pub fn write(at: Timestamp, form: TimeForm) -> String {
    match form {
        TimeForm::UnixS => at.secs().to_string(),
        TimeForm::UnixMs => at.millis().to_string(),
        TimeForm::Rfc3339 => at.rfc3339().replace(".000Z", "Z"),
    }
}

/// Whether something touches a span wherever the clock stands that it is told by.
pub fn touches(span: Span, start: Read, end: Read) -> bool {
    let shifts = |read: Read| {
        if read.is_local {
            vec![read.at.minus(FURTHEST_OFFSET), read.at.plus(FURTHEST_OFFSET)]
        } else {
            vec![read.at]
        }
    };
    let (starts, ends) = (shifts(start), shifts(end));
    let count = starts.len().max(ends.len());
    let pick = |from: &[Timestamp], at: usize| from.get(at).or(from.first()).copied();
    (0..count)
        .all(|at| pick(&starts, at).zip(pick(&ends, at)).is_some_and(|(start, end)| span.touches(start, end)))
}

/// A window within a span: what of it lies inside. `None` = nothing.
pub fn clamp(span: Span, from: Option<Timestamp>, until: Option<Timestamp>) -> Option<Span> {
    let (lower, upper) = (span.from.map(|m| m.0), span.until.map(|m| m.0));
    let from = from.into_iter().chain(lower).max();
    let until = until.into_iter().chain(upper).min();
    let is_empty = from.zip(until).is_some_and(|(from, until)| from >= until);
    (!is_empty).then_some(Span { from: from.map(Moment), until: until.map(Moment) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse::<Moment>().unwrap().0
    }

    #[test]
    fn the_vendors_forms_are_read() {
        let noon = at("2026-11-18T12:00:00Z");
        for (text, form, is_local) in [
            ("2026-11-18T12:00:00Z", TimeForm::Rfc3339, false),
            ("2026-11-18T20:00:00+08:00", TimeForm::Rfc3339, false),
            ("2026-11-18T12:00:00.0000000", TimeForm::Rfc3339, true),
            ("1795003200", TimeForm::UnixS, false),
            ("1795003200000", TimeForm::UnixMs, false),
        ] {
            assert_eq!(read(text, form), Some(Read { at: noon, is_local }), "{text}");
            assert_eq!(read(&write(noon, form), form), Some(Read { at: noon, is_local: false }));
        }
        assert_eq!(read("2026-11-18", TimeForm::UnixS).map(|r| r.at), Some(at("2026-11-18")));
        for text in ["", "now", "2026-11-18T12:00:00+08:00[Asia/Shanghai]", "2026-11-18 12:00:00", "-1"] {
            assert_eq!(read(text, TimeForm::Rfc3339), None, "{text}");
        }
        for text in ["", "1e9", "-5", "1795003200.5", "0x1", "99999999999999999999"] {
            assert_eq!(read(text, TimeForm::UnixS), None, "{text}");
        }
    }

    #[test]
    fn a_time_without_its_clock_lies_inside_wherever_that_clock_stands() {
        let span = Span { from: Some(Moment(at("2026-10-01"))), until: Some(Moment(at("2026-11-01"))) };
        let local = |text: &str| read(text, TimeForm::Rfc3339).unwrap();
        assert!(touches(span, local("2026-10-02T00:00:00"), local("2026-10-02T01:00:00")));
        assert!(!touches(span, local("2026-10-01T00:00:00"), local("2026-10-01T01:00:00")));
        assert!(touches(span, local("2026-10-01T00:00:00Z"), local("2026-10-01T01:00:00Z")));
        assert!(!touches(span, local("2026-10-31T20:00:00"), local("2026-10-31T21:00:00")));
    }

    proptest! {
        #[test]
        fn a_clamped_window_never_reaches_out(a in 0_i64..100, b in 0_i64..100, from in proptest::option::of(0_i64..100), until in proptest::option::of(0_i64..100)) {
            let moment = |value: i64| Timestamp::from_millis(value);
            let span = Span { from: Some(Moment(moment(a))), until: Some(Moment(moment(b))) };
            let clamped = clamp(span, from.map(moment), until.map(moment));
            for point in 0..100 {
                let asked = from.is_none_or(|f| point >= f) && until.is_none_or(|u| point < u);
                let inside = clamped.is_some_and(|span| span.holds(moment(point)));
                prop_assert_eq!(inside, asked && span.holds(moment(point)));
            }
        }
    }
}
