//! `ETag` and `If-Match` (RFC 9110, sections 8.8.3 and 13.1.1): a change that was meant for a record as it was read
//! does not overwrite what somebody else has made of it since.

use actix_web::HttpRequest;
use actix_web::http::header::{ETAG, HeaderName, IF_MATCH};

/// The record is not any more what the caller has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was changed since it was read: read it again, and decide anew")]
pub struct Stale;

/// The versions that a change is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfMatch(Option<Vec<String>>);

impl IfMatch {
    /// What the request demands; without the header anything goes.
    pub fn of(request: &HttpRequest) -> Self {
        let lines = request.headers().get_all(&IF_MATCH);
        // What cannot be read names no version that there is.
        let mut tags: Vec<String> = Vec::new();
        let mut is_there = false;
        for line in lines {
            is_there = true;
            tags.extend(line.to_str().unwrap_or_default().split(',').map(|tag| tag.trim().to_owned()));
        }
        Self(is_there.then_some(tags))
    }

    /// No demand.
    pub const fn anything() -> Self {
        Self(None)
    }

    /// The version that was read, where one is demanded: the record must still have it when it is written.
    pub fn holds_to(&self, read: String) -> Option<String> {
        self.0.is_some().then_some(read)
    }

    /// Lets the record's version pass, or does not.
    ///
    /// # Errors
    /// When another version is demanded.
    pub fn check(&self, version: &str) -> Result<(), Stale> {
        // A weak tag counts too: proxies weaken tags where they compress, and ours name records, not bytes.
        let names = |tag: &String| {
            let opaque = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"');
            tag == "*" || opaque.and_then(|tag| tag.strip_suffix('"')) == Some(version)
        };
        match &self.0 {
            Some(tags) if !tags.iter().any(names) => Err(Stale),
            _ => Ok(()),
        }
    }
}

/// The header that tells a record's version.
pub fn etag(version: &str) -> (HeaderName, String) {
    (ETAG, format!("\"{version}\""))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn allows(lines: &[&str], version: &str) -> bool {
        let mut request = TestRequest::get();
        for line in lines {
            request = request.append_header((IF_MATCH, *line));
        }
        IfMatch::of(&request.to_http_request()).check(version).is_ok()
    }

    #[test]
    fn a_change_passes_for_the_version_that_it_names() {
        assert!(allows(&[], "a1"));
        for named in ["\"a1\"", "*", "W/\"a1\"", "\"b2\", \"a1\"", " \"a1\" "] {
            assert!(allows(&[named], "a1"), "{named}");
        }
        assert!(allows(&["\"b2\"", "\"a1\""], "a1"));
        for other in ["\"b2\"", "a1", "\"a1", "a1\"", "", "\"\"", "\"A1\"", "w/\"a1\"", "\"a1 \"", "\"*\""] {
            assert!(!allows(&[other], "a1"), "{other}");
        }
    }
}
