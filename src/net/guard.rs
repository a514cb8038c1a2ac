//! The address guard: which addresses may be dialled, decided on every dial.
//!
//! A name is judged by what it resolves to at the moment of dialling, and exactly those addresses are
//! dialled, so a second look-up cannot answer differently (DNS rebinding).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Whether an address is on the public Internet. What is not known to be public is not.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// The special-purpose registry of IANA: first octets and prefix length.
const SPECIAL_V4: [([u8; 4], u32); 15] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = u32::from(address);
    SPECIAL_V4.iter().all(|(network, length)| {
        let mask = u32::MAX << (32 - length);
        bits & mask != u32::from_be_bytes(*network) & mask
    })
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [first, second, ..] = segments;
    // Only 2000::/3 is handed out. That leaves out loopback, mapped and compatible IPv4, NAT64
    // (64:ff9b::), unique local, link-local and multicast addresses.
    let is_global_unicast = first & 0xe000 == 0x2000;
    // Ranges inside it that wrap an IPv4 address or lead nowhere: 2001::/23 (Teredo and others),
    // documentation, 6to4, and 3fff::/20.
    let is_special = match first {
        0x2001 => second < 0x0200 || second == 0x0db8,
        0x2002 => true,
        0x3fff => second < 0x1000,
        _ => false,
    };
    is_global_unicast && !is_special
}

/// Looks names up; replaced in tests.
pub(super) type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The system's resolver.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// The guard refused an address.
#[derive(Debug, thiserror::Error)]
#[error("the host does not resolve to a public address")]
pub(super) struct RefusedAddress;

/// Judges hosts before dialling and addresses while dialling.
#[derive(Clone)]
pub(super) struct Guard {
    allow_private: Arc<Vec<IpNet>>,
    /// Whether `localhost` may be dialled.
    pub(super) allow_localhost: bool,
    lookup: Lookup,
}

impl Guard {
    pub(super) fn new(allow_private: Vec<IpNet>, lookup: Lookup) -> Self {
        Self { allow_private: Arc::new(allow_private), allow_localhost: false, lookup }
    }

    fn admits(&self, address: IpAddr) -> bool {
        // ::ffff:10.0.0.1 must not slip past a rule that is written for 10.0.0.1, or be let in by
        // accident: networks are compared with the address as it is dialled.
        is_public(address) || self.allow_private.iter().any(|net| net.contains(&address))
    }

    /// Judges a URL before anything is dialled. The connector resolves names through the guard but
    /// dials literal addresses directly, so those are judged here. (`2130706433` and `0x7f.1` are
    /// literal addresses too: the URL parser has already written them out.)
    pub(super) fn admits_url(&self, url: &Url) -> bool {
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let host = match url.host() {
            Some(Host::Domain("localhost")) => self.allow_localhost,
            Some(Host::Domain(name)) => is_dialable_name(name),
            Some(Host::Ipv4(v4)) => self.admits_literal(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => self.admits_literal(IpAddr::V6(v6)),
            None => false,
        };
        url.scheme() == "https" && plain && host
    }

    /// No provider is addressed by number; only networks that the operator has listed are.
    fn admits_literal(&self, address: IpAddr) -> bool {
        self.allow_private.iter().any(|net| net.contains(&address))
    }
}

/// A trailing dot would make one host two, and `localhost` may never be looked up (RFC 6761).
fn is_dialable_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !name.is_empty() && !name.ends_with('.') && name != "localhost" && !name.ends_with(".localhost")
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found = (guard.lookup)(name).await?;
            let admitted: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| guard.admits(*address))
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if admitted.is_empty() {
                return Err(RefusedAddress.into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// Resolves the outbound proxy, which the operator chose and which is usually inside, and no other.
pub(super) struct ProxyOnly {
    pub(super) host: String,
    pub(super) lookup: Lookup,
}

impl Resolve for ProxyOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let is_proxy = name.as_str().eq_ignore_ascii_case(&self.host);
        let found = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            if !is_proxy {
                return Err(RefusedAddress.into());
            }
            let found = found.await?;
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// Resolves `localhost`, without asking anyone, and nothing else: for rewritten origins.
pub(super) struct LoopbackOnly;

impl Resolve for LoopbackOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let is_loopback = name.as_str().eq_ignore_ascii_case("localhost");
        Box::pin(async move {
            if !is_loopback {
                return Err(RefusedAddress.into());
            }
            let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            Ok(Box::new(both.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_special_address_is_refused_and_public_ones_are_not() {
        let refused = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ];
        for text in refused {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "128.0.0.1",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.17.255.255",
            "223.255.255.255",
            "2606:4700::1",
            "2001:4860:4860::8888",
            "2a00:1450::1",
            "3ffe::1",
        ];
        for text in public {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    fn guard(allow: &[&str]) -> Guard {
        Guard::new(allow.iter().map(|net| net.parse().unwrap()).collect(), system_lookup())
    }

    #[test]
    fn literal_numeric_and_local_hosts_are_refused_before_dialling() {
        let refused = [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://169.254.169.254/latest",
            "https://8.8.8.8/",
            "https://localhost/",
            "https://LOCALHOST/",
            "https://localhost./",
            "https://a.localhost/",
            "https://example.com./",
            "http://example.com/",
            "ftp://example.com/",
            "https://user@example.com/",
            "https://user:pw@example.com/",
            "https://example.com/#x",
            "data:text/plain,x",
            "https://１２７.0.0.1/",
        ];
        for text in refused {
            assert!(!guard(&[]).admits_url(&Url::parse(text).unwrap()), "{text}");
        }
        assert!(guard(&[]).admits_url(&Url::parse("https://example.com:8443/a?b").unwrap()));
        let own_broker = Guard { allow_localhost: true, ..guard(&[]) };
        assert!(own_broker.admits_url(&Url::parse("https://localhost:8443/").unwrap()));
        assert!(!own_broker.admits_url(&Url::parse("https://a.localhost/").unwrap()));
        assert!(guard(&["10.0.0.0/8"]).admits_url(&Url::parse("https://10.1.2.3/").unwrap()));
        assert!(!guard(&["10.0.0.0/8"]).admits_url(&Url::parse("https://[::ffff:10.1.2.3]/").unwrap()));
    }

    async fn resolve(guard: &Guard, name: &str) -> Option<Vec<IpAddr>> {
        let found = guard.resolve(name.parse().unwrap()).await.ok()?;
        Some(found.map(|address| address.ip()).collect())
    }

    fn answering(answers: Vec<Vec<&'static str>>) -> Lookup {
        let at = AtomicUsize::new(0);
        Arc::new(move |_| {
            let answer = &answers[at.fetch_add(1, Ordering::SeqCst)];
            let found = answer.iter().map(|text| text.parse().unwrap()).collect();
            Box::pin(async move { Ok(found) })
        })
    }

    #[tokio::test]
    async fn a_name_that_turns_to_an_inside_address_is_refused_on_that_dial() {
        let rebinding = Guard::new(Vec::new(), answering(vec![vec!["1.1.1.1"], vec!["127.0.0.1"]]));
        assert!(resolve(&rebinding, "rebind.example").await.is_some());
        assert!(resolve(&rebinding, "rebind.example").await.is_none());
    }

    #[tokio::test]
    async fn of_mixed_answers_only_the_public_addresses_are_dialled() {
        let mixed = Guard::new(Vec::new(), answering(vec![vec!["10.0.0.1", "1.1.1.1", "::1"]]));
        assert_eq!(resolve(&mixed, "mixed.example").await.unwrap(), ["1.1.1.1".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn listed_private_networks_may_be_dialled() {
        let inside = Guard::new(vec!["10.0.0.0/8".parse().unwrap()], answering(vec![vec!["10.0.0.1"]]));
        assert!(resolve(&inside, "idp.corp.example").await.is_some());
    }

    #[tokio::test]
    async fn the_special_resolvers_resolve_one_name_each() {
        assert!(LoopbackOnly.resolve("localhost".parse().unwrap()).await.is_ok());
        assert!(LoopbackOnly.resolve("example.com".parse().unwrap()).await.is_err());
        let lookup = answering(vec![vec!["10.0.0.1"], vec!["10.0.0.1"]]);
        let proxy = ProxyOnly { host: "proxy.corp".to_owned(), lookup };
        assert!(proxy.resolve("proxy.corp".parse().unwrap()).await.is_ok());
        assert!(proxy.resolve("example.com".parse().unwrap()).await.is_err());
    }
}
