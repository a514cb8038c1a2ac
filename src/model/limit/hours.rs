//! When hours hold.

use crate::kernel::clock::Timestamp;
use crate::model::limit::Hours;

const DAY: i64 = 24 * 60;

impl Hours {
    /// Whether a moment lies in them.
    pub fn hold(&self, at: Timestamp) -> bool {
        let minute = self.minute(at);
        let of_day = minute.rem_euclid(DAY);
        let (from, until) = (i64::from(self.from.0), i64::from(self.until.0));
        let past_midnight = from > until;
        let inside =
            if past_midnight { of_day >= from || of_day < until } else { (from..until).contains(&of_day) };
        // What lies past midnight belongs to the day before.
        let begun = if past_midnight && of_day < until { minute - DAY } else { minute };
        // 1 January 1970 was a Thursday.
        let day = (begun.div_euclid(DAY) + 3).rem_euclid(7) + 1;
        inside && (self.days.is_empty() || self.days.iter().any(|allowed| i64::from(*allowed) == day))
    }

    /// When they begin the next time after a moment.
    pub fn begin_after(&self, at: Timestamp) -> Option<Timestamp> {
        let minute = self.minute(at);
        let midnight = minute.div_euclid(DAY) * DAY;
        let beginnings = (0..=7).map(|day| midnight + day * DAY + i64::from(self.from.0));
        let as_moment = |minute: i64| Timestamp::from_secs((minute - i64::from(self.utc_offset_min)) * 60);
        beginnings.filter(|begin| *begin > minute).map(as_moment).find(|begin| self.hold(*begin))
    }

    /// Minutes since the epoch on the clock that is meant.
    fn minute(&self, at: Timestamp) -> i64 {
        at.secs().div_euclid(60) + i64::from(self.utc_offset_min)
    }
}
