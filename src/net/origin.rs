//! Rewriting of provider origins to a sandbox on this machine.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Position, Url};

use crate::net::client::SettingsError;

/// Which origins are rewritten: `https://login.example.com` → `http://localhost:8090/a/login`.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(Vec<(String, String)>);

impl Origins {
    /// Checks the pairs: an exact https origin on the left, a loopback address on the right. A
    /// rewritten origin gets client secrets and tokens, so it may never lead off this machine.
    pub(super) fn new(pairs: Vec<(String, String)>) -> Result<Self, SettingsError> {
        let checked = pairs.into_iter().map(|(from, to)| {
            let origin = exact_origin(&from).ok_or(SettingsError::NotAnOrigin(from))?;
            let base = loopback_base(&to).ok_or(SettingsError::NotLoopback(to))?;
            Ok((origin, base))
        });
        checked.collect::<Result<Vec<_>, _>>().map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rewritten URL, or `None` when its origin is not rewritten.
    pub(super) fn rewrite(&self, url: &Url) -> Option<Url> {
        if self.0.is_empty() {
            return None;
        }
        let origin = url.origin().ascii_serialization();
        let (_, base) = self.0.iter().find(|(from, _)| *from == origin)?;
        Url::parse(&format!("{base}{}", &url[Position::BeforePath..])).ok()
    }
}

fn exact_origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let is_plain = url.username().is_empty() && url.password().is_none();
    (url.scheme() == "https" && is_bare && is_plain).then(|| url.origin().ascii_serialization())
}

fn loopback_base(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_loopback = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(v4) => v4 == Ipv4Addr::LOCALHOST,
        Host::Ipv6(v6) => v6 == Ipv6Addr::LOCALHOST,
    };
    let is_plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    (url.scheme() == "http" && is_loopback && is_plain).then(|| url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(from: &str, to: &str) -> Result<Origins, SettingsError> {
        Origins::new(vec![(from.to_owned(), to.to_owned())])
    }

    #[test]
    fn only_the_exact_origin_is_rewritten_and_the_rest_of_the_url_stays() {
        let rules = origins("https://login.example.com", "http://localhost:8090/a/login/").unwrap();
        let rewrite = |text: &str| rules.rewrite(&Url::parse(text).unwrap()).map(String::from);
        assert_eq!(
            rewrite("https://login.example.com/x%2Fy?a=1&b='#f").as_deref(),
            Some("http://localhost:8090/a/login/x%2Fy?a=1&b=%27#f")
        );
        assert_eq!(
            rewrite("https://login.example.com:443/").as_deref(),
            Some("http://localhost:8090/a/login/")
        );
        for other in [
            "https://login.example.com:8443/",
            "http://login.example.com/",
            "https://login.example.com.evil.example/",
            "https://evil.example/?https://login.example.com",
            "https://login.example.com./",
        ] {
            assert_eq!(rewrite(other), None, "{other}");
        }
    }

    #[test]
    fn an_origin_can_only_lead_to_this_machine() {
        for to in [
            "http://example.com:80/",
            "http://10.0.0.1/",
            "https://localhost:1/",
            "http://localhost.evil.example/",
            "http://a.localhost:1/",
            "http://user@localhost/",
            "http://localhost/?q",
            "http://127.0.0.2:1/",
            "ftp://localhost/",
            "localhost:1",
        ] {
            assert!(matches!(origins("https://a.example", to), Err(SettingsError::NotLoopback(_))), "{to}");
        }
        for from in
            ["http://a.example", "https://a.example/path", "https://u@a.example", "https://a.example/?q", "a"]
        {
            assert!(
                matches!(origins(from, "http://localhost:1"), Err(SettingsError::NotAnOrigin(_))),
                "{from}"
            );
        }
        assert!(origins("https://a.example/", "http://[::1]:1").is_ok());
    }
}
