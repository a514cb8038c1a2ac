//! Rewriting of queries: filters, members and windows. What is sent is plain, stays what it is when it is
//! judged again, and holds the limit's own condition.
#![no_main]

mod judging;

use libfuzzer_sys::fuzz_target;
use url::form_urlencoded;
use valetkey::gateway::check_query;

fuzz_target!(|input: (u16, u8, &str)| {
    let (choice, only, query) = input;
    if check_query(query).is_err() {
        return;
    }
    let Some(case) = judging::case(choice, |route| {
        route.terms.window.is_some() || !route.terms.filter.is_empty() || !route.terms.gives.is_empty()
    }) else {
        return;
    };
    let Some((sent, _)) = judging::sent(&case, only.into(), Some(query), b"") else { return };
    let text = sent.clone().unwrap_or_default();
    assert!(check_query(&text).is_ok(), "{text}");
    let again = judging::sent(&case, only.into(), Some(&text), b"");
    assert_eq!(again.map(|(query, _)| query.unwrap_or_default()), Some(text.clone()), "{query}");
    let limit = &case.limits[usize::from(only) % case.limits.len()];
    for filter in case.route.terms.filter.iter().filter(|filter| filter.kind == limit.kind()) {
        let values: Vec<String> = form_urlencoded::parse(text.as_bytes())
            .filter(|(name, _)| name.eq_ignore_ascii_case(&filter.query))
            .map(|(_, value)| value.into_owned())
            .collect();
        // Any spelling that a server could take for one that a filter cannot stand beside.
        let core = |name: &str| name.split('[').next().unwrap().trim_start_matches('$').to_ascii_lowercase();
        let has_other = form_urlencoded::parse(text.as_bytes())
            .any(|(name, _)| filter.unless.iter().any(|other| core(&name) == core(other)));
        if !has_other {
            assert_eq!(values.len(), 1, "{text}");
            assert!(values[0].contains("2026-10-01T00:00:00"), "{text}");
        }
    }
});
