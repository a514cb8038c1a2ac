//! The broker's own address, and that nothing secret travels to it in the clear.

use std::net::SocketAddr;

use ipnet::IpNet;
use url::Url;

use crate::config::settings::{ConfigError, invalid};

const IN_THE_CLEAR: &str = "must be https, except on loopback: tokens travel over it";

/// The broker's own base URL.
///
/// # Errors
/// When it is none, or cannot be kept to: agents compare it character by character, and send secrets to it.
pub fn issuer(text: &str) -> Result<Url, ConfigError> {
    let url = Url::parse(text).map_err(|error| invalid("issuer", error.to_string()))?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err(invalid(
            "issuer",
            "write an origin without a path, such as https://valetkey.example.com",
        ));
    }
    let is_loopback = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback => Ok(url),
        _ => Err(invalid("issuer", IN_THE_CLEAR)),
    }
}

/// Plain HTTP only on loopback; elsewhere TLS by ourselves, or by a proxy that is named.
pub(super) fn check_transport(
    issuer: &Url,
    listen: SocketAddr,
    has_tls: bool,
    trusted_proxies: &[IpNet],
) -> Result<(), ConfigError> {
    if issuer.scheme() == "http" {
        let is_loopback = listen.ip().is_loopback();
        return if is_loopback { Ok(()) } else { Err(invalid("issuer", IN_THE_CLEAR)) };
    }
    if has_tls {
        return Ok(());
    }
    if trusted_proxies.is_empty() {
        return Err(ConfigError::Missing {
            key: "tls",
            advice: "state a certificate and key, or list the TLS proxy in front in `trusted_proxies`",
        });
    }
    Ok(())
}
