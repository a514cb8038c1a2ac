//! What comes back from token endpoints and APIs.

use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;
use valetkey::kernel::secret::Secret;
use valetkey::providers::dialect::{TokenFailure, TokenSet, classify, classify_api, parse_token_answer};
use valetkey::providers::template::{ErrorClass, ErrorPlace, Template, TokenEndpoint};

use crate::{VALID, configured};

fn parse_with(text: &str, status: u16, body: &[u8]) -> Result<TokenSet, TokenFailure> {
    let provider = configured(text);
    let template = &provider.loaded.template;
    let endpoint = template.token.as_ref().unwrap();
    parse_token_answer(&endpoint.answer, template, status, &Secret::new(body.to_vec()))
}

/// The valid template with plain OAuth answers.
fn plain() -> String {
    let (head, rest) = VALID.split_once("[token.answer]").unwrap();
    let (_, tail) = rest.split_once("[refresh]").unwrap();
    format!("{head}[token.answer]\ndefault_expires_in = 600\n\n[refresh]{tail}")
        .replace("lifetime_s = 604800\n", "")
}

fn parse(body: &str) -> Result<TokenSet, TokenFailure> {
    parse_with(&plain(), 200, body.as_bytes())
}

#[test]
fn a_plain_answer_is_read() {
    let set = parse(
        r#"{"access_token":"a-\u0031","token_type":"BEARER","expires_in":3600,"refresh_token":"r\/1",
            "refresh_token_expires_in":60,"id_token":"x.y.z","scope":"https://api.example.com/Mail.Read offline_access"}"#,
    )
    .unwrap();
    assert_eq!(set.access_token.expose_str(), "a-1");
    assert_eq!(set.refresh_token.unwrap().expose_str(), "r/1");
    assert_eq!(set.id_token.unwrap().expose_str(), "x.y.z");
    assert_eq!(set.expires_in, Duration::from_secs(3600));
    assert_eq!(set.refresh_expires_in, Some(Duration::from_secs(60)));
    assert_eq!(set.scopes.unwrap().to_string(), "Mail.Read offline_access");
}

#[test]
fn nested_members_success_codes_and_template_defaults_are_followed() {
    let body = br#"{"code":0,"data":{"access_token":"a","refresh_token":"r","scope":"Todo.Read,mail.send","tenant":"t-1"}}"#;
    let set = parse_with(VALID, 200, body).unwrap();
    assert_eq!(set.access_token.expose_str(), "a");
    assert_eq!(set.expires_in, Duration::from_secs(600));
    assert_eq!(set.refresh_expires_in, Some(Duration::from_secs(604_800)));
    assert_eq!(set.scopes.unwrap().to_string(), "Mail.Send Todo.Read");
    assert_eq!(set.extra["data.tenant"], "t-1");
    let body = br#"{"code":"0","data":{"access_token":"a"}}"#;
    assert!(parse_with(VALID, 200, body).is_ok(), "a code in quotes is the same code");
}

#[test]
fn lifetimes_are_tolerated_and_kept_sane() {
    let cases = [
        ("", 600),
        (",\"expires_in\":\"7200\"", 7200),
        (",\"expires_in\":\" 7200 \"", 7200),
        (",\"expires_in\":7200.9", 7200),
        (",\"expires_in\":0", 0),
        (",\"expires_in\":-5", 0),
        (",\"expires_in\":1e18", 86_400),
        (",\"expires_in\":1e400", 86_400),
        (",\"expires_in\":99999999999999999999999", 86_400),
        (",\"expires_in\":\"soon\"", 600),
        (",\"expires_in\":null", 600),
        (",\"expires_in\":{}", 600),
        (",\"expires_in\":true", 600),
    ];
    for (member, seconds) in cases {
        let set = parse(&format!("{{\"access_token\":\"a\"{member}}}")).unwrap();
        assert_eq!(set.expires_in, Duration::from_secs(seconds), "{member}");
    }
}

#[test]
fn an_empty_or_null_refresh_token_is_none() {
    for member in ["", ",\"refresh_token\":\"\"", ",\"refresh_token\":null"] {
        let set = parse(&format!("{{\"access_token\":\"a\"{member}}}")).unwrap();
        assert!(set.refresh_token.is_none(), "{member}");
    }
}

#[test]
fn stated_scopes_are_never_taken_for_unstated_ones() {
    let of = |member: &str| {
        parse(&format!("{{\"access_token\":\"a\"{member}}}")).unwrap().scopes.map(|s| s.to_string())
    };
    assert_eq!(of(""), None);
    assert_eq!(of(",\"scope\":null"), None);
    assert_eq!(of(",\"scope\":\"\""), Some(String::new()));
    assert_eq!(of(",\"scope\":[\"Mail.Read\",\"Other\"]"), Some("Mail.Read Other".to_owned()));
    assert_eq!(of(",\"scope\":[5]"), Some("unrecognised:".to_owned()));
    assert_eq!(of(",\"scope\":5"), Some("unrecognised:".to_owned()));
    assert_eq!(of(",\"scope\":{}"), Some("unrecognised:".to_owned()));
}

#[test]
fn only_bearer_tokens_are_taken() {
    for kind in ["\"bearer\"", "\"Bearer\"", "\"\"", "null"] {
        assert!(parse(&format!("{{\"access_token\":\"a\",\"token_type\":{kind}}}")).is_ok(), "{kind}");
    }
    for kind in ["\"mac\"", "\"DPoP\"", "\"bearer \"", "5", "[\"bearer\"]"] {
        assert!(parse(&format!("{{\"access_token\":\"a\",\"token_type\":{kind}}}")).is_err(), "{kind}");
    }
    let nested = br#"{"code":0,"token_type":"bearer","data":{"access_token":"a","token_type":"mac"}}"#;
    assert!(parse_with(VALID, 200, nested).is_err());
}

#[test]
fn what_cannot_be_read_is_a_failure_that_holds_nothing_of_it() {
    let deep = format!("{{\"access_token\":\"CANARY1\",\"x\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let long = format!("{{\"access_token\":\"{}\"}}", "CANARY1".repeat(3000));
    for body in [
        "",
        "<html>CANARY1</html>",
        "{\"access_token\":\"CANARY1\"",
        "{\"access_token\":\"CANARY1\",\"access_token\":\"CANARY1\"}",
        "{\"access_token\":\"CANARY1\",\"x\":1,\"x\":2}",
        "{\"access_token\":\"CANARY1\"}{}",
        "[\"CANARY1\"]",
        "\"CANARY1\"",
        "null",
        "{\"access_token\":5,\"x\":\"CANARY1\"}",
        "{\"access_token\":{\"CANARY1\":1}}",
        "{\"access_token\":\"CANARY1\",\"refresh_token\":7}",
        "{\"access_token\":\"CANARY1\\r\\nX-Evil: 1\"}",
        "{\"access_token\":\"CANARY1 \"}",
        "{\"access_token\":\"\\ud800CANARY1\"}",
        "{\"access_token\":\"\",\"x\":\"CANARY1\"}",
        "{\"x\":\"CANARY1\"}",
        "{\"error_description\":\"CANARY1\",\"error\":\"CANARY1 in words\"}",
        deep.as_str(),
        long.as_str(),
    ] {
        let failure = parse(body).unwrap_err();
        assert_eq!(failure.class, ErrorClass::Unknown, "{body:.60}");
        assert!(!failure.is_refusal, "a single-use token may be spent: {body:.60}");
        assert!(!format!("{failure:?} {failure}").contains("CANARY"), "{body:.60}");
    }
}

#[test]
fn refusals_are_told_from_trouble() {
    let cases: [(u16, &str, ErrorClass, Option<&str>, bool); 8] = [
        (400, r#"{"error":"invalid_grant"}"#, ErrorClass::Reauth, Some("invalid_grant"), true),
        (400, r#"{"error":"invalid_scope"}"#, ErrorClass::Unknown, Some("invalid_scope"), true),
        (401, "", ErrorClass::Unknown, None, true),
        (400, r#"{"code":20050,"error":"server_error"}"#, ErrorClass::Retry, Some("20050"), false),
        (429, "slow down", ErrorClass::Retry, None, false),
        (502, "<html>bad gateway</html>", ErrorClass::Retry, None, false),
        (302, "", ErrorClass::Unknown, None, false),
        // A success by status, a refusal by its member.
        (200, r#"{"code":10003,"data":{"access_token":"a"}}"#, ErrorClass::Unknown, Some("10003"), true),
    ];
    for (status, body, class, code, is_refusal) in cases {
        let failure = parse_with(VALID, status, body.as_bytes()).unwrap_err();
        assert_eq!(
            (failure.class, failure.code.as_deref(), failure.is_refusal, failure.status),
            (class, code, is_refusal, status),
            "{body}"
        );
    }
}

#[test]
fn api_errors_are_found_by_status_by_member_and_inside_200() {
    let provider = configured(VALID);
    let template = &provider.loaded.template;
    let of = |status, body: &str| classify(template, ErrorPlace::Api, status, body.as_bytes());
    assert_eq!(of(200, r#"{"value":[]}"#), None);
    assert_eq!(of(304, ""), None);
    assert_eq!(of(401, ""), Some(ErrorClass::StaleToken));
    assert_eq!(of(200, r#"{"errcode":42001,"errmsg":"expi"#), Some(ErrorClass::StaleToken), "cut off");
    assert_eq!(of(404, ""), Some(ErrorClass::Unknown));
    assert_eq!(of(429, ""), Some(ErrorClass::Retry));
    assert_eq!(of(503, "<html>"), Some(ErrorClass::Retry));
    let old = |body: &str| classify_api(template, "old", 200, body.as_bytes());
    assert_eq!(old(r#"{"errcode":0,"result":1}"#), None);
    assert_eq!(old(r#"{"errcode":60121}"#), Some(ErrorClass::Unknown));
    assert_eq!(old(r#"{"errcode":"40014"}"#), Some(ErrorClass::StaleToken));
    assert_eq!(old("\u{89}PNG"), None, "a file is no error");
}

/// A template and its endpoint, read once: property tests run many cases.
static FIXTURE: LazyLock<(Template, TokenEndpoint)> = LazyLock::new(|| {
    let provider = configured(VALID);
    let template = provider.loaded.template.clone();
    let endpoint = template.token.clone().unwrap();
    (template, endpoint)
});

fn any_json() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "code",
        "data",
        "access_token",
        "refresh_token",
        "expires_in",
        "scope",
        "token_type",
        "error",
        "x",
    ]);
    let leaf = prop::sample::select(vec![
        "0",
        "\"0\"",
        "null",
        "true",
        "-1",
        "1e999",
        "\"a\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "\"\"",
        "[]",
        "{}",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec((key.clone(), inner.clone()), 0..6).prop_map(|members| {
                let members: Vec<String> = members.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
                format!("{{{}}}", members.join(","))
            }),
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(status in 0u16..700, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let (template, endpoint) = &*FIXTURE;
        let _ = parse_token_answer(&endpoint.answer, template, status, &Secret::new(body.clone()));
        let _ = classify(template, ErrorPlace::Api, status, &body);
    }

    #[test]
    fn no_json_makes_the_reader_panic_and_what_it_accepts_is_whole(body in any_json(), cut in 0usize..300) {
        let (template, endpoint) = &*FIXTURE;
        let bytes = body.as_bytes();
        let _ = classify_api(template, "old", 200, &bytes[..cut.min(bytes.len())]);
        if let Ok(set) = parse_token_answer(&endpoint.answer, template, 200, &Secret::new(bytes.to_vec())) {
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(Some(set.access_token.expose_str()), value["data"]["access_token"].as_str());
            prop_assert!(set.expires_in <= Duration::from_secs(86_400));
        }
    }
}
