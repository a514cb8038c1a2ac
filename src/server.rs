//! What every inbound request passes through: strict reading of forms, cookies, who calls, and the
//! headers and bodies of answers. Knows no domain.

pub mod body;
pub mod client;
pub mod cookies;
pub mod csrf;
pub mod headers;
pub mod metrics;
pub mod middleware;
pub mod oauth_error;
pub mod params;
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
}

impl Inbound {
    /// Whether browsers reach us over TLS; on a plain loopback listener some cookie flags cannot work.
    pub fn is_https(&self) -> bool {
        self.issuer.scheme() == "https"
    }

    /// Our own origin.
    pub fn origin(&self) -> String {
        self.issuer.origin().ascii_serialization()
    }
}
