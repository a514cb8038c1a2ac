//! Key layout: `r/<kind>/<key>` records, `x/…` indexes, `u/…` unique values.
//!
//! Index values come from outside (subjects, e-mails) and may hold any byte, so they are
//! length-prefixed: no value can reach into another's range.

use bytes::Bytes;

/// `r/<kind>/`
pub(super) fn record_prefix(kind: &str) -> Vec<u8> {
    format!("r/{kind}/").into_bytes()
}

/// `r/<kind>/<key>`
pub(super) fn record(kind: &str, key: &str) -> Bytes {
    Bytes::from(["r/", kind, "/", key].concat())
}

/// `x/<kind>/<index>/<length>:<value>/`
pub(super) fn index_prefix(kind: &str, index: &str, value: &str) -> Vec<u8> {
    ["x/", kind, "/", index, "/", &value.len().to_string(), ":", value, "/"].concat().into_bytes()
}

/// The prefix of an index value, then the record's key.
pub(super) fn index(kind: &str, index: &str, value: &str, key: &str) -> Bytes {
    Bytes::from(format!("x/{kind}/{index}/{}:{value}/{key}", value.len()))
}

/// `u/<kind>/<index>/<length>:<value>`; the value there is the record's key.
pub(super) fn unique(kind: &str, index: &str, value: &str) -> Bytes {
    Bytes::from(format!("u/{kind}/{index}/{}:{value}", value.len()))
}

/// All records.
pub(super) const RECORDS: &[u8] = b"r/";

/// Whether a record lies under this key, and not an entry of an index.
pub fn is_record(key: &[u8]) -> bool {
    key.starts_with(RECORDS)
}

/// The kind and the key of a record, from `r/<kind>/<key>`.
pub(super) fn parse_record(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key).ok()?.strip_prefix("r/")?.split_once('/')
}
