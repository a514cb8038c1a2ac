//! Which URLs a template may name. Judged when a template is read, and again when it is filled;
//! the addresses behind a name are judged at every dial, elsewhere.

use url::{Host, Url};

/// Why a URL is not allowed in a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    /// No URL at all.
    #[error("is not a URL")]
    NotAUrl,
    /// Another scheme than https.
    #[error("does not start with https://")]
    NotHttps,
    /// `user:password@`.
    #[error("holds a user name or password")]
    UserInfo,
    /// Another port than 443.
    #[error("names a port")]
    Port,
    /// An IP address, also one written as a number.
    #[error("names an IP address instead of a host")]
    IpAddress,
    /// `localhost`, or a name without a dot.
    #[error("names a host that only this machine or network knows")]
    LocalName,
    /// A name outside ASCII, or its `xn--` form: it may look like another.
    #[error("has an internationalised host name, which could look like another")]
    Internationalised,
    /// `?…`
    #[error("has a query")]
    Query,
    /// `#…`
    #[error("has a fragment")]
    Fragment,
    /// `.`, `..` or an empty segment.
    #[error("has an empty or dot segment in its path")]
    Segments,
    /// An URL parser would change it, so what is read is not what is called.
    #[error("would be rewritten to `{0}`")]
    NotCanonical(String),
    /// A path where only an origin may stand.
    #[error("has a path, but only the origin belongs here")]
    NotAnOrigin,
}

impl UrlProblem {
    /// What to write instead.
    pub fn instead(&self) -> String {
        match self {
            Self::NotAUrl | Self::NotHttps => "write an absolute URL that starts with https://".to_owned(),
            Self::UserInfo => "leave out everything before `@`".to_owned(),
            Self::Port => "leave out the port; https means 443".to_owned(),
            Self::IpAddress | Self::LocalName => {
                "write the vendor's public host name, such as api.example.com".to_owned()
            }
            Self::Internationalised => "write a plain ASCII host name".to_owned(),
            Self::Query => "leave out the query; fixed parameters belong into `params`".to_owned(),
            Self::Fragment => "leave out the fragment; `authorize.fragment` is the place for one".to_owned(),
            Self::Segments => "write the path as it is called, one `/` between segments".to_owned(),
            Self::NotCanonical(form) => format!("write `{form}`"),
            Self::NotAnOrigin => {
                "write only https://host; routes state the whole path from the first `/`".to_owned()
            }
        }
    }
}

/// Reads the URL of an endpoint.
///
/// # Errors
/// When a template must not name it.
pub fn endpoint(text: &str) -> Result<Url, UrlProblem> {
    if !text.starts_with("https://") {
        return Err(if Url::parse(text).is_ok() { UrlProblem::NotHttps } else { UrlProblem::NotAUrl });
    }
    let authority = text.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
    let authority = authority.unwrap_or_default();
    if authority.contains('@') {
        return Err(UrlProblem::UserInfo);
    }
    if !authority.is_ascii() || authority.to_ascii_lowercase().split('.').any(|l| l.starts_with("xn--")) {
        return Err(UrlProblem::Internationalised);
    }
    // A parser resolves dot segments, so they are looked for in the text.
    if has_bad_segments(text) {
        return Err(UrlProblem::Segments);
    }
    let url = Url::parse(text).map_err(|_| UrlProblem::NotAUrl)?;
    match url.host() {
        Some(Host::Domain(name)) if is_local(name) => return Err(UrlProblem::LocalName),
        Some(Host::Domain(_)) => {}
        Some(_) => return Err(UrlProblem::IpAddress),
        None => return Err(UrlProblem::NotAUrl),
    }
    if url.port().is_some() {
        return Err(UrlProblem::Port);
    }
    if url.query().is_some() {
        return Err(UrlProblem::Query);
    }
    if url.fragment().is_some() {
        return Err(UrlProblem::Fragment);
    }
    let is_same = url.as_str() == text || url.as_str().strip_suffix('/') == Some(text);
    if is_same {
        Ok(url)
    } else {
        Err(UrlProblem::NotCanonical(url.as_str().trim_end_matches('/').to_owned()))
    }
}

/// Reads an origin: scheme and host, nothing behind.
///
/// # Errors
/// When a template must not name it, or something follows the host.
pub fn origin(text: &str) -> Result<Url, UrlProblem> {
    let url = endpoint(text)?;
    if url.path() == "/" && !text.ends_with('/') { Ok(url) } else { Err(UrlProblem::NotAnOrigin) }
}

fn is_local(name: &str) -> bool {
    !name.contains('.') || name.ends_with('.') || name.ends_with(".localhost")
}

fn has_bad_segments(text: &str) -> bool {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').skip(3).collect();
    let last = segments.len().saturating_sub(1);
    segments.iter().enumerate().any(|(at, segment)| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        matches!(plain.as_str(), "." | "..") || (segment.is_empty() && at != last)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_https_urls_pass() {
        for text in [
            "https://login.example.com/oauth2/v2.0/token",
            "https://graph.example.com",
            "https://a-b.example/x/",
        ] {
            assert!(endpoint(text).is_ok(), "{text}");
        }
        assert!(origin("https://graph.example.com").is_ok());
    }

    #[test]
    fn each_way_to_point_elsewhere_is_named() {
        use UrlProblem as P;
        for (text, problem) in [
            ("http://a.example/x", P::NotHttps),
            ("file:///etc/passwd", P::NotHttps),
            ("gopher://a.example", P::NotHttps),
            ("token", P::NotAUrl),
            ("https://u:p@a.example/x", P::UserInfo),
            ("https://a.example:22/x", P::Port),
            ("https://2130706433/x", P::IpAddress),
            ("https://0x7f.1/x", P::IpAddress),
            ("https://[::1]/x", P::IpAddress),
            ("https://10.0.0.1/x", P::IpAddress),
            ("https://localhost/x", P::LocalName),
            ("https://vault.localhost/x", P::LocalName),
            ("https://localhost./x", P::LocalName),
            ("https://metadata/x", P::LocalName),
            ("https://bücher.example/x", P::Internationalised),
            ("https://xn--bcher-kva.example/x", P::Internationalised),
            ("https://a.example/x?y=1", P::Query),
            ("https://a.example/x#y", P::Fragment),
            ("https://a.example/x/../y", P::Segments),
            ("https://a.example/x/%2E%2e/y", P::Segments),
            ("https://a.example//y", P::Segments),
            ("https://A.example/y", P::NotCanonical("https://a.example/y".to_owned())),
            ("https://a.example:443/y", P::NotCanonical("https://a.example/y".to_owned())),
        ] {
            assert_eq!(endpoint(text).err(), Some(problem), "{text}");
        }
        assert_eq!(origin("https://a.example/v1").err(), Some(P::NotAnOrigin));
        assert_eq!(origin("https://a.example/").err(), Some(P::NotAnOrigin));
    }
}
