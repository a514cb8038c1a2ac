//! A fixed distance from UTC, in which people read days and hours.

use std::fmt;
use std::str::FromStr;

use crate::kernel::clock::Timestamp;

/// Minutes by which a company's clock is ahead of UTC. Written `+08:00`, or `Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UtcOffset(i16);

/// A day of the calendar, without a place.
pub type Day = jiff::civil::Date;

/// No clock on Earth is further from UTC.
const FARTHEST: i16 = 18 * 60;

impl UtcOffset {
    /// An offset in minutes; `None` where no clock is that far from UTC.
    pub fn from_minutes(minutes: i16) -> Option<Self> {
        (minutes.unsigned_abs() <= FARTHEST.unsigned_abs()).then_some(Self(minutes))
    }

    /// Minutes ahead of UTC.
    pub const fn minutes(self) -> i16 {
        self.0
    }

    /// The first moment of a day.
    pub fn start_of(self, day: Day) -> Timestamp {
        let midnight = day.to_datetime(jiff::civil::Time::midnight());
        let in_utc = jiff::tz::TimeZone::UTC.to_timestamp(midnight);
        let millis = in_utc.map_or(0, |moment| moment.as_millisecond());
        Timestamp::from_millis(millis.saturating_sub(i64::from(self.0) * 60_000))
    }

    /// The day that a moment falls on, and the minute of that day.
    pub fn read(self, at: Timestamp) -> (Day, u16) {
        let here = at.millis().saturating_add(i64::from(self.0) * 60_000);
        let moment = jiff::Timestamp::from_millisecond(here).unwrap_or_default();
        let read = moment.to_zoned(jiff::tz::TimeZone::UTC).datetime();
        let minute = i64::from(read.hour()) * 60 + i64::from(read.minute());
        (read.date(), u16::try_from(minute).unwrap_or_default())
    }
}

impl FromStr for UtcOffset {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "write an offset from UTC, such as +08:00";
        if text == "Z" {
            return Ok(Self(0));
        }
        let (sign, rest) = match text.split_at_checked(1) {
            Some(("+", rest)) => (1, rest),
            Some(("-", rest)) => (-1, rest),
            _ => return Err(WRONG),
        };
        let (hours, minutes) = rest.split_once(':').ok_or(WRONG)?;
        let number = |digits: &str, most: i16| {
            let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse::<i16>().ok().filter(|number| plain && *number <= most).ok_or(WRONG)
        };
        Self::from_minutes(sign * (number(hours, 18)? * 60 + number(minutes, 59)?)).ok_or(WRONG)
    }
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("UTC");
        }
        let sign = if self.0 < 0 { '-' } else { '+' };
        let (hours, minutes) = (self.0.unsigned_abs() / 60, self.0.unsigned_abs() % 60);
        write!(f, "UTC{sign}{hours:02}:{minutes:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_where_the_company_is() {
        let shanghai: UtcOffset = "+08:00".parse().unwrap();
        let day: Day = "2026-10-01".parse().unwrap();
        assert_eq!(shanghai.start_of(day).rfc3339(), "2026-09-30T16:00:00.000Z");
        assert_eq!(shanghai.read(shanghai.start_of(day)), (day, 0));
        assert_eq!(UtcOffset::default().start_of(day).rfc3339(), "2026-10-01T00:00:00.000Z");
        assert_eq!(shanghai.to_string(), "UTC+08:00");
        assert_eq!("-03:30".parse::<UtcOffset>().unwrap().minutes(), -210);
        for wrong in ["", "8", "+8", "+08", "08:00", "+19:00", "+08:60", "+0x:00", "UTC"] {
            assert!(wrong.parse::<UtcOffset>().is_err(), "{wrong}");
        }
    }
}
