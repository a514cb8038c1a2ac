//! Which headers pass. Everything else is dropped: credentials, cookies, hop-by-hop fields, forwarding
//! fields, method overrides.

use crate::gateway::denial::Denial;
use crate::gateway::echo;
use crate::kernel::secret::SecretString;
use crate::net::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use crate::providers::template::{Api, SendToken};

/// Request headers that pass to any API.
const REQUEST: [HeaderName; 9] = [
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_TYPE,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
];

/// Answer headers that pass back.
const ANSWER: [&str; 16] = [
    "content-type",
    "content-length",
    "content-encoding",
    "content-language",
    "content-disposition",
    "content-range",
    "accept-ranges",
    "etag",
    "last-modified",
    "retry-after",
    "retry-after-ms",
    "x-ms-retry-after",
    "x-ms-retry-after-ms",
    "x-retry-after",
    "ratelimit",
    "x-ogw-ratelimit-limit",
];

/// Beginnings of answer headers that pass back: vendors tell their rate limits in many spellings.
const ANSWER_BEGINNINGS: [&str; 4] = ["ratelimit-", "x-ratelimit-", "x-rate-limit-", "x-ogw-ratelimit-"];

/// What a redirect to storage is asked with, beside what is always said.
const STORAGE: [HeaderName; 7] = [
    header::ACCEPT,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
];

/// The headers of the outbound call, without the token.
///
/// # Errors
/// When one that passes comes twice: it has no single meaning, and to leave out a condition such as
/// `If-Match` would make another call of it.
pub fn outbound(from: &HeaderMap, api: &Api) -> Result<HeaderMap, Denial> {
    let mut sent = HeaderMap::new();
    // Nobody asked for compression, and what is compressed could not be read (RFC 9110, section 12.5.3).
    sent.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let named = api.request_headers.iter().filter_map(|name| name.parse::<HeaderName>().ok());
    for name in REQUEST.into_iter().chain(named).filter(|name| !is_for_this_hop(from, name)) {
        let mut values = from.get_all(&name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => {
                sent.insert(name, value.clone());
            }
            (Some(_), Some(_)) => {
                return Err(Denial::bad_request(
                    400,
                    format!("the header `{name}` comes twice: send it once"),
                ));
            }
            (None, _) => {}
        }
    }
    Ok(sent)
}

/// Whether `Connection` says that a header ends here (RFC 9110, section 7.6.1).
fn is_for_this_hop(from: &HeaderMap, name: &HeaderName) -> bool {
    let lists = from.get_all(header::CONNECTION).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|named| named.trim().eq_ignore_ascii_case(name.as_str()))
}

/// The header that carries the token, for an API that takes it in one.
pub fn token(send: &SendToken, token: &str) -> Option<(HeaderName, HeaderValue)> {
    let name: HeaderName = send.header.as_deref()?.parse().ok()?;
    let text = zeroize::Zeroizing::new(if name == header::AUTHORIZATION {
        format!("Bearer {token}")
    } else {
        token.to_owned()
    });
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

/// The headers for storage that the provider has redirected to: of the call's own only what picks a part or
/// a form of the answer.
pub fn to_storage(from: &HeaderMap) -> HeaderMap {
    let mut sent = HeaderMap::new();
    sent.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for name in STORAGE {
        if let Some(value) = from.get(&name) {
            sent.insert(name, value.clone());
        }
    }
    sent
}

/// Asks for the whole answer, whatever the agent knows of it or wants of it. Conditions of a change stay: a
/// change without them would be another one.
pub fn ask_for_all(sent: &mut HeaderMap) {
    for name in [header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE] {
        sent.remove(name);
    }
}

/// Asks for JSON, which is what can be looked into; its parameters (`odata.metadata=none`) stay.
pub fn ask_for_json(sent: &mut HeaderMap) {
    let is_json = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
        text.starts_with("application/json") && !text.contains(',')
    };
    if !sent.get(header::ACCEPT).is_some_and(is_json) {
        sent.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    }
}

/// Whether an answer is compressed, though nobody asked for that.
pub fn is_encoded(from: &HeaderMap) -> bool {
    let encodings = from.get_all(header::CONTENT_ENCODING);
    encodings.iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// The answer's headers that pass back; one in which the provider repeats its token does not.
pub fn inbound(from: &HeaderMap, token: &SecretString) -> Vec<(String, Vec<u8>)> {
    let repeats = |value: &HeaderValue| echo::holds(value.as_bytes(), token.expose_str().as_bytes());
    let passes = |name: &str| {
        ANSWER.contains(&name) || ANSWER_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
    };
    (from.keys().filter(|name| passes(name.as_str())))
        .filter_map(|name| Some((name, from.get(name).filter(|value| !repeats(value))?)))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(extra: &str) -> Api {
        let text = format!(
            "base = \"https://api.example.com\"\nrequest_headers = [{extra}]\n[send]\nheader = \"Authorization\""
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn only_listed_headers_leave_and_none_twice() {
        let mut from = HeaderMap::new();
        for (name, value) in [
            ("accept", "a/b"),
            ("prefer", "x"),
            ("if-match", "1"),
            ("connection", "close, If-Match"),
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("x-http-method-override", "DELETE"),
            ("x-forwarded-for", "1.1.1.1"),
            ("accept-encoding", "gzip"),
        ] {
            from.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value));
        }
        let sent = outbound(&from, &api("\"prefer\"")).unwrap();
        let mut names: Vec<&str> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "accept-encoding", "prefer"]);
        assert_eq!(sent.get("accept-encoding").unwrap(), "identity");
        from.append("prefer", HeaderValue::from_static("y"));
        assert!(outbound(&from, &api("\"prefer\"")).is_err());
        assert!(outbound(&from, &api("")).is_ok());
    }

    #[test]
    fn an_answer_header_that_repeats_the_token_is_left_out() {
        let token = SecretString::new("a-token-of-a-provider".to_owned());
        let mut from = HeaderMap::new();
        from.insert("etag", HeaderValue::from_static("\"a-token-of-a-provider\""));
        from.insert("content-type", HeaderValue::from_static("text/plain"));
        from.insert("set-cookie", HeaderValue::from_static("a=b"));
        from.insert("location", HeaderValue::from_static("/x"));
        assert_eq!(inbound(&from, &token), [("content-type".to_owned(), b"text/plain".to_vec())]);
    }
}
