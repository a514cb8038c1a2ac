//! What every inbound request passes through: strict reading of forms, cookies, who calls, and the
//! headers and bodies of answers. Knows no domain.

pub mod body;
pub mod client;
pub mod cookies;
pub mod csrf;
pub mod ending;
pub mod headers;
pub mod metrics;
pub mod middleware;
pub mod oauth_error;
pub mod params;
pub mod peer;
pub mod precondition;
pub mod problem;
pub mod trace;

use ipnet::IpNet;
use url::Url;

/// What the rooms above say about this listener. Kept as `web::Data<Inbound>`.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Our own base URL, as browsers see it.
    pub issuer: Url,
    /// Proxies in front of us whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Proxies that forward client certificates.
    pub forwarded_certificates: Option<peer::ForwardedCertificates>,
    /// Whether our own TLS listener asks for client certificates.
    pub asks_for_certificates: bool,
}

impl Inbound {
    /// A listener that is reached directly and knows no client certificates.
    pub fn direct(issuer: Url) -> Self {
        Self {
            issuer,
            trusted_proxies: Vec::new(),
            forwarded_certificates: None,
            asks_for_certificates: false,
        }
    }

    /// Whether agents can show a certificate here.
    pub fn takes_certificates(&self) -> bool {
        self.asks_for_certificates || self.forwarded_certificates.is_some()
    }

    /// Whether browsers reach us over TLS; on a plain loopback listener some cookie flags cannot work.
    pub fn is_https(&self) -> bool {
        self.issuer.scheme() == "https"
    }

    /// Our own origin.
    pub fn origin(&self) -> String {
        self.issuer.origin().ascii_serialization()
    }
}
