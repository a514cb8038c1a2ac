//! Inspection of bodies: what is sent has one reading, the one that was judged.
#![no_main]

mod judging;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: (u16, u8, &[u8])| {
    let (choice, only, body) = input;
    let Some(case) = judging::case(choice, |route| {
        let in_body = |place: &String| place.starts_with("body:");
        !route.terms.carries.is_empty()
            || route.terms.names.iter().any(|name| name.id.iter().any(in_body))
            || route.terms.window.is_some()
    }) else {
        return;
    };
    let Some((_, Some(sent))) = judging::sent(&case, only.into(), None, body) else { return };
    let read: Value = serde_json::from_slice(&sent).expect("what is sent is JSON");
    let again = judging::sent(&case, only.into(), None, &sent);
    assert_eq!(again.and_then(|(_, body)| body), Some(sent), "judging again changes nothing");
    if case.route.terms.window.is_none() && !body.is_empty() {
        let given: Value = serde_json::from_slice(body).expect("what was judged is JSON");
        assert_eq!(read, given, "what is sent is what came");
    }
});
