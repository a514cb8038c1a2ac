use super::*;

fn limit(text: &str) -> Result<Limit, LimitProblem> {
    Limit::parse_all(&format!("[{text}]")).map(|mut limits| limits.remove(0))
}

fn moment(text: &str) -> Timestamp {
    text.parse::<Moment>().unwrap().0
}

#[test]
fn limits_read_back_as_they_were_written() {
    for text in [
        r#"{"type":"valetkey_limit","api":"graph","kind":"folders","items":[{"id":"01AB","name":"Projects"}]}"#,
        r#"{"type":"valetkey_limit","api":"graph","kind":"mail_dates","from":"2026-10-01T00:00:00.000Z"}"#,
        r#"{"type":"valetkey_limit","api":"graph","kind":"senders","allow":["a@example.com","@example.org"]}"#,
        r#"{"type":"valetkey_limit","kind":"calls","most":5,"per":"minute"}"#,
        r#"{"type":"valetkey_limit","kind":"hours","from":"22:00","until":"06:00","utc_offset_min":480,"days":[1,5]}"#,
        r#"{"type":"valetkey_limit","kind":"read_only"}"#,
    ] {
        let read = limit(text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
    let short = limit(r#"{"type":"valetkey_limit","api":"graph","kind":"chats","items":["19:x"]}"#).unwrap();
    assert!(short.bound.names("19:x") && !short.bound.names("19:X"));
}

#[test]
fn what_is_no_limit_is_refused_whole() {
    for text in [
        r#"{"api":"graph","kind":"read_only"}"#,
        r#"{"type":"other","kind":"read_only"}"#,
        r#"{"type":"valetkey_limit","kind":"read_only","most":3}"#,
        r#"{"type":"valetkey_limit","kind":"once","api":"graph"}"#,
        r#"{"type":"valetkey_limit","kind":"everything"}"#,
        r#"{"type":"valetkey_limit","kind":"folders","items":["x"]}"#,
        r#"{"type":"valetkey_limit","api":"graph","kind":"folders","items":[]}"#,
        r#"{"type":"valetkey_limit","api":"graph","kind":"folders","items":[""]}"#,
        r#"{"type":"valetkey_limit","api":"graph","kind":"folders","items":[{"id":"x","all":true}]}"#,
        r#"{"type":"valetkey_limit","api":"graph","kind":"mail_dates"}"#,
        r#"{"type":"valetkey_limit","api":"graph","kind":"mail_dates","from":"yesterday"}"#,
        r#"{"type":"valetkey_limit","api":"graph","kind":"mail_dates","from":"2026-10-02","until":"2026-10-01"}"#,
        r#"{"type":"valetkey_limit","api":"graph","kind":"senders","allow":["example.com"]}"#,
        r#"{"type":"valetkey_limit","api":"graph","kind":"recipients","domains":["*"]}"#,
        r#"{"type":"valetkey_limit","kind":"calls","most":0,"per":"day"}"#,
        r#"{"type":"valetkey_limit","kind":"hours","from":"9:00","until":"18:00"}"#,
        r#"{"type":"valetkey_limit","kind":"hours","from":"09:00","until":"18:00","days":[8]}"#,
    ] {
        assert!(limit(text).is_err(), "{text}");
    }
    assert!(Limit::parse_all("{}").is_err());
    assert!(Limit::parse_all("[]").unwrap().is_empty());
}

#[test]
fn addresses_are_compared_whole() {
    let to = Bound::Recipients { domains: vec!["example.com".to_owned()] };
    assert!(to.allows_address("Alice@Example.com"));
    for outside in [
        "alice@sub.example.com",
        "alice@example.com.evil.org",
        "alice@evilexample.com",
        "alice@evil.org, bob@example.com",
        "<x@evil.org>alice@example.com",
        "alice@example.com\u{0}",
        "@example.com",
        "example.com",
        "alice@例子.com",
    ] {
        assert!(!to.allows_address(outside), "{outside}");
    }
    let from = Bound::Senders { allow: vec!["@example.org".to_owned(), "bob@example.com".to_owned()] };
    assert!(from.allows_address("any@example.org") && from.allows_address("bob@example.com"));
    assert!(!from.allows_address("alice@example.com"));
}

#[test]
fn spans_hold_their_beginning_and_not_their_end() {
    let span = Span { from: Some(Moment(moment("2026-10-01"))), until: Some(Moment(moment("2026-11-01"))) };
    assert!(span.holds(moment("2026-10-01")) && span.holds(moment("2026-10-31T23:59:59.999Z")));
    assert!(!span.holds(moment("2026-09-30T23:59:59.999Z")) && !span.holds(moment("2026-11-01")));
    assert!(span.touches(moment("2026-09-30"), moment("2026-10-02")));
    assert!(!span.touches(moment("2026-09-30"), moment("2026-10-01")));
    assert!(!span.touches(moment("2026-11-01"), moment("2026-11-02")));
    assert!(span.touches(moment("2026-10-01"), moment("2026-10-01")));
}

#[test]
fn hours_know_midnight_the_week_and_the_clock_that_is_meant() {
    let hours = |text: &str| match limit(text).unwrap().bound {
        Bound::Hours(hours) => hours,
        other => panic!("{other:?}"),
    };
    let office = hours(
        r#"{"type":"valetkey_limit","kind":"hours","from":"09:00","until":"18:00","utc_offset_min":480,"days":[1,2,3,4,5]}"#,
    );
    // 2026-11-23 is a Monday.
    assert!(office.hold(moment("2026-11-23T01:00:00Z")) && office.hold(moment("2026-11-23T09:59:59Z")));
    assert!(!office.hold(moment("2026-11-23T00:59:59Z")) && !office.hold(moment("2026-11-23T10:00:00Z")));
    assert!(!office.hold(moment("2026-11-22T02:00:00Z")));
    let night =
        hours(r#"{"type":"valetkey_limit","kind":"hours","from":"22:00","until":"06:00","days":[1]}"#);
    assert!(night.hold(moment("2026-11-23T22:00:00Z")) && night.hold(moment("2026-11-24T05:59:00Z")));
    assert!(!night.hold(moment("2026-11-23T05:00:00Z")) && !night.hold(moment("2026-11-24T22:00:00Z")));
}

#[test]
fn hours_tell_when_they_begin_again() {
    let at = |text: &str| text.parse::<Moment>().unwrap().0;
    let hours = |days: &[u8]| Hours {
        from: "09:00".parse().unwrap(),
        until: "17:00".parse().unwrap(),
        utc_offset_min: 480,
        days: days.to_vec(),
    };
    // 22 November 2026 is a Sunday; 09:00 at +08:00 is 01:00 UTC.
    for (days, now, begin) in [
        (&[][..], "2026-11-22T00:30:00Z", "2026-11-22T01:00:00Z"),
        (&[], "2026-11-22T10:00:00Z", "2026-11-23T01:00:00Z"),
        (&[1, 2, 3, 4, 5], "2026-11-20T10:00:00Z", "2026-11-23T01:00:00Z"),
        (&[7], "2026-11-22T10:00:00Z", "2026-11-29T01:00:00Z"),
    ] {
        assert_eq!(hours(days).begin_after(at(now)), Some(at(begin)), "{days:?} {now}");
    }
}
