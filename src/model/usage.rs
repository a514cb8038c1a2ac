//! What has been used of the budgets of a grant or a token.
//!
//! Periods are those of the clock in UTC. A count belongs to the period that it was taken in; a later
//! period starts at nothing. A clock that goes back does not bring an earlier period back.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::GrantId;
use crate::model::limit::{Bound, Limit, LimitKind, Period};
use crate::model::record::Record;

/// The counters of one grant, or of one token that has limits of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The grant.
    pub grant: GrantId,
    /// The token's name, for the counters of a token.
    pub token: Option<String>,
    /// When the grant or token ends by itself.
    pub ends_at: Timestamp,
    /// Whether its one call was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spent: bool,
    /// Counts by what is counted.
    #[serde(default)]
    pub counts: BTreeMap<Measure, Count>,
}

/// What is counted, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Calls in a minute.
    CallsPerMinute,
    /// Calls in an hour.
    CallsPerHour,
    /// Calls in a day.
    CallsPerDay,
    /// Items in a day.
    ItemsPerDay,
    /// Bytes of answers in a day.
    BytesPerDay,
}

/// A count, and the period that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// When the period began.
    pub since: Timestamp,
    /// How much was used in it.
    pub used: u64,
}

/// A budget that has run out, or does not have what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the budget is used up")]
pub struct Exhausted {
    /// What is counted; a single call, ever, is not.
    pub measure: Option<Measure>,
    /// What it allows.
    pub most: u64,
    /// What is left of it.
    pub left: u64,
    /// What was asked for.
    pub asked: u64,
    /// When the next period begins; never, for a single call.
    pub renewed_at: Option<Timestamp>,
}

impl Period {
    /// How long it is.
    pub const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 24 * 3600,
        })
    }

    /// The beginning of the one that holds a moment.
    pub fn start(self, at: Timestamp) -> Timestamp {
        let length = i64::try_from(self.length().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(at.millis().div_euclid(length).saturating_mul(length))
    }
}

impl Measure {
    /// The period that it is counted in.
    pub const fn period(self) -> Period {
        match self {
            Self::CallsPerMinute => Period::Minute,
            Self::CallsPerHour => Period::Hour,
            Self::CallsPerDay | Self::ItemsPerDay | Self::BytesPerDay => Period::Day,
        }
    }

    /// The kind of limit that it is counted for.
    pub const fn kind(self) -> LimitKind {
        match self {
            Self::CallsPerMinute | Self::CallsPerHour | Self::CallsPerDay => LimitKind::Calls,
            Self::ItemsPerDay => LimitKind::Items,
            Self::BytesPerDay => LimitKind::Bytes,
        }
    }
}

impl Bound {
    /// What is counted for it, and how much of that it allows in each period.
    pub const fn budget(&self) -> Option<(Measure, u64)> {
        match self {
            Self::Calls { most, per: Period::Minute } => Some((Measure::CallsPerMinute, *most)),
            Self::Calls { most, per: Period::Hour } => Some((Measure::CallsPerHour, *most)),
            Self::Calls { most, per: Period::Day } => Some((Measure::CallsPerDay, *most)),
            Self::Items { most } => Some((Measure::ItemsPerDay, *most)),
            Self::Bytes { most } => Some((Measure::BytesPerDay, *most)),
            _ => None,
        }
    }

    /// Whether a call under it is counted.
    pub const fn is_counted(&self) -> bool {
        matches!(self, Self::Once {}) || self.budget().is_some()
    }
}

impl Usage {
    /// Nothing used yet.
    pub const fn new(grant: GrantId, token: Option<String>, ends_at: Timestamp) -> Self {
        Self { grant, token, ends_at, spent: false, counts: BTreeMap::new() }
    }

    /// The key of a grant's counters, or of those of one token.
    pub fn key_of(grant: &GrantId, token: Option<&str>) -> String {
        token.map_or_else(|| grant.to_string(), |token| format!("{grant}/{token}"))
    }

    /// How much was used in the period that holds a moment.
    pub fn used(&self, measure: Measure, now: Timestamp) -> u64 {
        self.counts.get(&measure).map_or(0, |count| count.at(measure, now).used)
    }

    /// The same after one more call under these limits. Items and bytes are taken when they are known; a
    /// call that could not be given a single one is not worth making.
    ///
    /// # Errors
    /// The first budget that has run out.
    pub fn after_call(&self, limits: &[Limit], now: Timestamp) -> Result<Self, Exhausted> {
        let mut after = self.kept(now);
        for limit in limits {
            match (&limit.bound, limit.bound.budget()) {
                (Bound::Once {}, _) if self.spent => {
                    return Err(Exhausted { measure: None, most: 1, left: 0, asked: 1, renewed_at: None });
                }
                (Bound::Once {}, _) => after.spent = true,
                (_, Some((measure, most))) => {
                    self.check(measure, most, 1, now)?;
                    if measure.kind() == LimitKind::Calls {
                        after.set(measure, self.used(measure, now).saturating_add(1), now);
                    }
                }
                _ => {}
            }
        }
        Ok(after)
    }

    /// The same after taking up to `wanted`, but at least `needed`, under these limits; and how much that
    /// is, with the period that it was taken from.
    ///
    /// # Errors
    /// When less than what is needed is left.
    pub fn after_taking(
        &self,
        measure: Measure,
        needed: u64,
        wanted: u64,
        limits: &[Limit],
        now: Timestamp,
    ) -> Result<(Self, Count), Exhausted> {
        let used = self.used(measure, now);
        let mut granted = wanted.max(needed);
        for (_, most) in limits.iter().filter_map(|limit| limit.bound.budget()).filter(|(m, _)| *m == measure)
        {
            self.check(measure, most, needed, now)?;
            granted = granted.min(most.saturating_sub(used));
        }
        let mut after = self.kept(now);
        after.set(measure, used.saturating_add(granted), now);
        let since = after.counts.get(&measure).map_or(now, |count| count.since);
        Ok((after, Count { since, used: granted }))
    }

    /// The same after giving back what was taken in a period and not used. `None` when that period is over:
    /// then there is nothing to give back.
    pub fn after_return(&self, measure: Measure, unused: Count) -> Option<Self> {
        let mut after = self.clone();
        let count = after.counts.get_mut(&measure).filter(|count| count.since == unused.since)?;
        count.used = count.used.saturating_sub(unused.used);
        Some(after)
    }

    /// The same after a call that was counted here but not made.
    pub fn without_call(&self, limits: &[Limit], counted_at: Timestamp) -> Self {
        let mut after = self.clone();
        for limit in limits {
            if matches!(limit.bound, Bound::Once {}) {
                after.spent = false;
            }
            if let Some((measure, _)) = limit.bound.budget().filter(|(m, _)| m.kind() == LimitKind::Calls)
                && let Some(count) = after.counts.get_mut(&measure)
                && count.since == measure.period().start(counted_at)
            {
                count.used = count.used.saturating_sub(1);
            }
        }
        after
    }

    fn check(&self, measure: Measure, most: u64, asked: u64, now: Timestamp) -> Result<(), Exhausted> {
        let left = most.saturating_sub(self.used(measure, now));
        if asked <= left {
            return Ok(());
        }
        let since = self.counts.get(&measure).map_or(now, |count| count.at(measure, now).since);
        let renewed_at = Some(measure.period().start(since).plus(measure.period().length()));
        Err(Exhausted { measure: Some(measure), most, left, asked, renewed_at })
    }

    /// Without the counts of periods that are over.
    fn kept(&self, now: Timestamp) -> Self {
        let mut kept = self.clone();
        kept.counts.retain(|measure, count| count.at(*measure, now) == *count);
        kept
    }

    fn set(&mut self, measure: Measure, used: u64, now: Timestamp) {
        let since = self.counts.get(&measure).map_or(measure.period().start(now), |count| count.since);
        self.counts.insert(measure, Count { since, used });
    }
}

impl Count {
    /// The count of the period that holds a moment: this one, or nothing of a later one.
    fn at(self, measure: Measure, now: Timestamp) -> Self {
        let since = measure.period().start(now);
        if since > self.since { Self { since, used: 0 } } else { self }
    }
}

impl Record for Usage {
    const KIND: &'static str = "usage";

    fn key(&self) -> String {
        Self::key_of(&self.grant, self.token.as_deref())
    }
}
