//! Which headers pass. Everything else is dropped: credentials, cookies, hop-by-hop fields, forwarding
//! fields, method overrides.

use crate::net::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use crate::providers::template::{Api, SendToken};

/// Request headers that pass to any API. No `accept-encoding`: answers may have to be read.
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
    "content-language",
    "content-disposition",
    "content-range",
    "accept-ranges",
    "etag",
    "last-modified",
    "retry-after",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "x-rate-limit-limit",
    "x-rate-limit-remaining",
    "x-rate-limit-reset",
    "x-ogw-ratelimit-reset",
];

/// The headers of the outbound call, without the token.
pub fn outbound(from: &HeaderMap, api: &Api) -> HeaderMap {
    let mut sent = HeaderMap::new();
    let named = api.request_headers.iter().filter_map(|name| name.parse::<HeaderName>().ok());
    for name in REQUEST.into_iter().chain(named) {
        // A header that comes twice has no single meaning; the first value would be a guess.
        let mut values = from.get_all(&name).iter();
        if let (Some(value), None) = (values.next(), values.next()) {
            sent.insert(name, value.clone());
        }
    }
    sent
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

/// The answer's headers that pass back.
pub fn inbound(from: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    ANSWER
        .iter()
        .filter_map(|name| from.get(*name).map(|value| ((*name).to_owned(), value.as_bytes().to_vec())))
        .collect()
}
