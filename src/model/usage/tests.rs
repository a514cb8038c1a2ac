//! The arithmetic of budgets.

use super::*;
use crate::kernel::entropy::SeededEntropy;

const HOUR: Duration = Duration::from_secs(3600);

fn usage() -> Usage {
    Usage::new(GrantId::generate(&SeededEntropy::new(1)), None, Timestamp::from_secs(i64::MAX / 2000))
}

fn calls(most: u64, per: Period) -> Limit {
    Limit::general(Bound::Calls { most, per })
}

fn noon() -> Timestamp {
    "2026-11-22T12:00:00Z".parse::<crate::model::limit::Moment>().unwrap().0
}

fn after_calls(mut usage: Usage, limits: &[Limit], n: usize) -> Usage {
    for _ in 0..n {
        usage = usage.after_call(limits, noon()).unwrap();
    }
    usage
}

#[test]
fn as_many_calls_pass_as_the_period_allows() {
    let limits = [calls(3, Period::Hour), calls(10, Period::Day)];
    let used = after_calls(usage(), &limits, 3);
    let refused = used.after_call(&limits, noon()).unwrap_err();
    assert_eq!((refused.measure, refused.most, refused.left), (Some(Measure::CallsPerHour), 3, 0));
    assert_eq!(refused.renewed_at, Some(noon().plus(HOUR)));
}

#[test]
fn a_period_of_the_clock_starts_at_nothing_and_the_longer_one_goes_on() {
    let limits = [calls(3, Period::Hour), calls(4, Period::Day)];
    let used = after_calls(usage(), &limits, 3);
    let later = used.after_call(&limits, noon().plus(HOUR)).unwrap();
    assert_eq!(later.used(Measure::CallsPerHour, noon().plus(HOUR)), 1);
    let refused = later.after_call(&limits, noon().plus(HOUR)).unwrap_err();
    assert_eq!(refused.renewed_at, Some(noon().plus(12 * HOUR)), "midnight in UTC");
}

#[test]
fn a_clock_that_goes_back_gives_nothing_back() {
    let limits = [calls(1, Period::Hour)];
    let used = after_calls(usage(), &limits, 1);
    let refused = used.after_call(&limits, noon().minus(HOUR)).unwrap_err();
    assert_eq!(refused.renewed_at, Some(noon().plus(HOUR)));
}

#[test]
fn one_call_is_one_call_for_ever() {
    let limits = [Limit::general(Bound::Once {})];
    let used = after_calls(usage(), &limits, 1);
    let refused = used.after_call(&limits, noon().plus(1000 * HOUR)).unwrap_err();
    assert_eq!((refused.measure, refused.renewed_at), (None, None));
    assert!(used.without_call(&limits, noon()).after_call(&limits, noon()).is_ok());
}

#[test]
fn what_is_taken_never_exceeds_what_is_left_and_the_rest_comes_back() {
    let limits = [Limit::general(Bound::Bytes { most: 100 })];
    let (first, taken) = usage().after_taking(Measure::BytesPerDay, 10, 80, &limits, noon()).unwrap();
    assert_eq!(taken.used, 80);
    let (second, rest) = first.after_taking(Measure::BytesPerDay, 10, 80, &limits, noon()).unwrap();
    assert_eq!(rest.used, 20);
    let refused = second.after_taking(Measure::BytesPerDay, 1, 80, &limits, noon()).unwrap_err();
    assert_eq!((refused.left, refused.asked), (0, 1));
    assert!(second.after_call(&limits, noon()).is_err(), "a call that can get nothing is not made");

    let unused = Count { used: 70, ..taken };
    let returned = second.after_return(Measure::BytesPerDay, unused).unwrap();
    assert_eq!(returned.used(Measure::BytesPerDay, noon()), 30);
    let tomorrow = noon().plus(24 * HOUR);
    let (next, _) = second.after_taking(Measure::BytesPerDay, 5, 5, &limits, tomorrow).unwrap();
    assert_eq!(next.after_return(Measure::BytesPerDay, unused), None, "that day is over");
}

#[test]
fn a_call_that_was_not_made_is_not_counted() {
    let limits = [calls(3, Period::Day)];
    let used = after_calls(usage(), &limits, 2).without_call(&limits, noon());
    assert_eq!(used.used(Measure::CallsPerDay, noon()), 1);
    let elsewhere = used.without_call(&limits, noon().plus(24 * HOUR));
    assert_eq!(elsewhere.used(Measure::CallsPerDay, noon()), 1, "another day's count stays");
}
