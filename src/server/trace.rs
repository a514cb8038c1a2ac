//! W3C trace context: kept in events, and taken as the parent of our own spans, so that an agent's task can be followed
//! through. It goes no further: providers learn nothing of it.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;

use crate::server::body::single_header;

/// The request's `traceparent`, if it is a valid one of version 00.
pub fn traceparent(request: &HttpRequest) -> Option<String> {
    let text = single_header(request, &HeaderName::from_static("traceparent")).ok()??;
    is_traceparent(text).then(|| text.to_owned())
}

/// Whether a text is `00-<32 hex>-<16 hex>-<2 hex>` in lower case, with neither id zero.
pub fn is_traceparent(text: &str) -> bool {
    let mut parts = text.split('-');
    let is_hex = |part: Option<&str>, length: usize| {
        part.is_some_and(|part| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    };
    let is_id = |part: Option<&str>, length: usize| {
        is_hex(part, length) && part.is_some_and(|part| part.bytes().any(|b| b != b'0'))
    };
    parts.next() == Some("00")
        && is_id(parts.next(), 32)
        && is_id(parts.next(), 16)
        && is_hex(parts.next(), 2)
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_contexts_are_kept() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for text in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert!(!is_traceparent(text), "{text}");
        }
    }
}
