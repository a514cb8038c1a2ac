//! Values that an admin states about the company: tenant id, corp id, host, issuer.

use url::{Host, Url};

use crate::providers::template::CompanyFormat;

/// No stated value is longer; issuers with a path are the longest.
const MAX_VALUE: usize = 512;

impl CompanyFormat {
    /// All formats by the name that a template writes.
    pub const ALL: [(&'static str, CompanyFormat); 4] =
        [("uuid", Self::Uuid), ("word", Self::Word), ("host", Self::Host), ("issuer", Self::Issuer)];

    /// The value in its canonical form; `None` when it does not fit the format.
    ///
    /// UUIDs and host names become lower case, because claims are compared byte for byte.
    pub fn accept(self, value: &str) -> Option<String> {
        if value.is_empty() || value.len() > MAX_VALUE || !value.is_ascii() {
            return None;
        }
        match self {
            Self::Uuid => is_uuid(value).then(|| value.to_ascii_lowercase()),
            Self::Word => is_word(value).then(|| value.to_owned()),
            Self::Host => is_host(value).then(|| value.to_ascii_lowercase()),
            Self::Issuer => is_issuer(value).then(|| value.to_owned()),
        }
    }

    /// What a value looks like, in words.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Uuid => "a UUID such as 11111111-2222-4333-8444-555555555555",
            Self::Word => "1 to 128 letters, digits, `_` and `-`",
            Self::Host => "a host name with a dot, such as example.com, without scheme, port or path",
            Self::Issuer => {
                "an https URL such as https://id.example.com, optionally with a path, without query"
            }
        }
    }

    /// Some value that fits, to judge texts with before an admin has stated one.
    pub const fn sample(self) -> &'static str {
        match self {
            Self::Uuid => "11111111-2222-4333-8444-555555555555",
            Self::Word => "word",
            Self::Host => "company.example.com",
            Self::Issuer => "https://company.example.com",
        }
    }
}

fn is_uuid(value: &str) -> bool {
    let mut lengths = Vec::with_capacity(5);
    for part in value.split('-') {
        if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return false;
        }
        lengths.push(part.len());
    }
    lengths == [8, 4, 4, 4, 12]
}

fn is_word(value: &str) -> bool {
    value.len() <= 128 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn is_host(value: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let lower = value.to_ascii_lowercase();
    let is_name = value.len() <= 253 && value.contains('.') && value.split('.').all(is_label);
    // What looks like a name may still be a number to an URL parser: `0x7f.1` is 127.0.0.1.
    is_name && !lower.ends_with(".localhost") && matches!(Host::parse(&lower), Ok(Host::Domain(_)))
}

fn is_issuer(value: &str) -> bool {
    let Some(rest) = value.strip_prefix("https://") else { return false };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let segments_are_plain = path.trim_end_matches('/').split('/').all(|segment| {
        !matches!(segment, "." | "..")
            && (path.is_empty()
                || path == "/"
                || !segment.is_empty()
                || path.trim_end_matches('/').is_empty())
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'))
    });
    is_host(host)
        && host == host.to_ascii_lowercase()
        && segments_are_plain
        && !value.ends_with("//")
        && Url::parse(value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_fits_comes_back_in_canonical_form() {
        let tenant = "AAAAAAAA-2222-4333-8444-555555555555";
        assert_eq!(CompanyFormat::Uuid.accept(tenant), Some(tenant.to_ascii_lowercase()));
        assert_eq!(CompanyFormat::Host.accept("Example.Okta.com"), Some("example.okta.com".to_owned()));
        for issuer in ["https://a.example", "https://a.example/", "https://a.example/oauth2/default"] {
            assert_eq!(CompanyFormat::Issuer.accept(issuer), Some(issuer.to_owned()));
        }
    }

    #[test]
    fn values_that_could_point_elsewhere_are_refused() {
        for host in [
            "localhost",
            "a.localhost",
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "a.example:443",
            "a..b",
            "é.example",
            "a.example.",
        ] {
            assert_eq!(CompanyFormat::Host.accept(host), None, "{host}");
        }
        for issuer in [
            "http://a.example",
            "https://a.example?x=1",
            "https://a.example#x",
            "https://u@a.example",
            "https://a.example:8443",
            "https://a.example/../b",
            "https://a.example//b",
            "https://a.example/a//b",
            "https://127.0.0.1",
            "https://{tenant}.example",
        ] {
            assert_eq!(CompanyFormat::Issuer.accept(issuer), None, "{issuer}");
        }
        assert_eq!(CompanyFormat::Word.accept("a/b"), None);
        assert_eq!(CompanyFormat::Uuid.accept("11111111-2222-4333-8444-55555555555g"), None);
    }

    #[test]
    fn every_sample_fits_its_own_format() {
        for (name, format) in CompanyFormat::ALL {
            assert!(format.accept(format.sample()).is_some(), "{name}");
        }
    }
}
