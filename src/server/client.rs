//! Who calls: address and language.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT_LANGUAGE, HeaderName};
use ipnet::IpNet;

use crate::kernel::text::Lang;
use crate::server::{Inbound, cookies};

/// The base name of the cookie that remembers the language.
pub const LANG_COOKIE: &str = "lang";

/// The caller's address. `X-Forwarded-For` is read from its end, as far as listed proxies wrote it;
/// what stands further left anyone could have written.
pub fn address(request: &HttpRequest, inbound: &Inbound) -> IpAddr {
    let Some(peer) = request.peer_addr() else { return IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let peer = peer.ip().to_canonical();
    let is_proxy = |address: IpAddr| inbound.trusted_proxies.iter().any(|net: &IpNet| net.contains(&address));
    let mut believed = peer;
    let mut hops: Vec<&str> = request
        .headers()
        .get_all(HeaderName::from_static("x-forwarded-for"))
        .flat_map(|header| header.to_str().unwrap_or("?").split(','))
        .collect();
    while is_proxy(believed) {
        let Some(Ok(next)) = hops.pop().map(|hop| hop.trim().parse::<IpAddr>()) else { break };
        believed = next.to_canonical();
    }
    believed
}

/// The language to answer in: the one that was chosen, else what the browser prefers.
pub fn language(request: &HttpRequest, inbound: &Inbound) -> Lang {
    match cookies::read(request, inbound, LANG_COOKIE) {
        Ok(Some("zh")) => Lang::Zh,
        Ok(Some("en")) => Lang::En,
        _ => {
            let header = request.headers().get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
            Lang::negotiate(header.unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn inbound() -> Inbound {
        Inbound {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            ..Inbound::direct("https://v.example/".parse().unwrap())
        }
    }

    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let mut request = TestRequest::default().peer_addr(format!("{peer}:1").parse().unwrap());
        for header in forwarded {
            request = request.append_header(("x-forwarded-for", *header));
        }
        address(&request.to_http_request(), &inbound()).to_string()
    }

    #[test]
    fn forwarded_addresses_are_believed_from_listed_proxies_only() {
        assert_eq!(seen("192.0.2.1", &["1.1.1.1"]), "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.2"]), "1.1.1.1");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "1.1.1.1"]), "1.1.1.1");
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, rubbish"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("[::ffff:10.0.0.1]", &["1.1.1.1"]), "1.1.1.1");
    }

    #[test]
    fn a_chosen_language_goes_before_the_browsers() {
        let request = |cookie: &str| {
            TestRequest::default()
                .insert_header(("accept-language", "zh-CN"))
                .insert_header(("cookie", format!("__Host-lang={cookie}")))
                .to_http_request()
        };
        assert_eq!(language(&request("en"), &inbound()), Lang::En);
        assert_eq!(language(&request("xx"), &inbound()), Lang::Zh);
    }
}
