//! Client certificates: of our own TLS connections, and those that a listed proxy forwards.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::kernel::encode;
use crate::server::{Inbound, body};

/// A forwarded certificate is not longer than this.
const MAX_HEADER: usize = 24 * 1024;

/// The certificates that the other end of a TLS connection has shown, its own first; put there when the
/// connection is made. It has proven to hold the first one's key.
#[derive(Clone, Debug)]
pub struct PeerCertificates(pub Vec<CertificateDer<'static>>);

/// Proxies that end TLS before us and forward client certificates.
#[derive(Clone, Debug)]
pub struct ForwardedCertificates {
    /// The header's name, in lower case.
    pub header: HeaderName,
    /// The proxies that write it. From anybody else it is not read.
    pub from: Vec<IpNet>,
}

/// The client certificate of a request, and what came with it. Where a header is read, only listed proxies
/// can send it. A proxy's own certificate, if it shows one, is not its client's.
pub fn certificates(request: &HttpRequest, inbound: &Inbound) -> Option<Vec<CertificateDer<'static>>> {
    let peer = request.peer_addr().map(|address| address.ip().to_canonical());
    if let (Some(forwarded), Some(peer)) = (&inbound.forwarded_certificates, peer)
        && forwarded.from.iter().any(|net| net.contains(&peer))
    {
        // Two of them, one of which the client may have written, are none.
        let header = body::single_header(request, &forwarded.header).ok()??;
        return read(header).map(|certificate| vec![certificate]);
    }
    if peer.is_some_and(|peer| inbound.trusted_proxies.iter().any(|net| net.contains(&peer))) {
        return None;
    }
    request.conn_data::<PeerCertificates>().map(|shown| shown.0.clone()).filter(|shown| !shown.is_empty())
}

/// Reads a forwarded certificate: `:base64:` (RFC 9440), or PEM with its white space percent-encoded, as nginx
/// and AWS write it.
fn read(header: &str) -> Option<CertificateDer<'static>> {
    let text = header.trim();
    if text.len() > MAX_HEADER {
        return None;
    }
    if let Some(inner) = text.strip_prefix(':').and_then(|text| text.strip_suffix(':')) {
        return encode::from_base64(inner).filter(|der| !der.is_empty()).map(CertificateDer::from);
    }
    let pem = percent_decoded(text)?;
    let mut found = CertificateDer::pem_slice_iter(&pem);
    match (found.next(), found.next()) {
        (Some(Ok(certificate)), None) => Some(certificate),
        _ => None,
    }
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn certificates_are_believed_from_listed_proxies_only() {
        let made =
            CertificateParams::new(Vec::new()).unwrap().self_signed(&KeyPair::generate().unwrap()).unwrap();
        let inbound = Inbound {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            forwarded_certificates: Some(ForwardedCertificates {
                header: HeaderName::from_static("client-cert"),
                from: vec!["10.0.0.1/32".parse().unwrap()],
            }),
            ..Inbound::direct("https://v.example/".parse().unwrap())
        };
        let seen = |peer: &str, headers: &[&str]| {
            let mut request = TestRequest::default().peer_addr(format!("{peer}:1").parse().unwrap());
            for header in headers {
                request = request.append_header(("client-cert", *header));
            }
            certificates(&request.to_http_request(), &inbound).map(|shown| shown[0].to_vec())
        };
        let structured = format!(":{}:", encode::base64(made.der()));
        let escaped = made.pem().replace('\n', "%0A").replace(' ', "%20").replace('+', "%2B");
        let der = Some(made.der().to_vec());
        assert_eq!(seen("10.0.0.1", &[&structured]), der);
        assert_eq!(seen("10.0.0.1", &[&escaped]), der);
        assert_eq!(seen("10.0.0.2", &[&structured]), None, "a proxy that is listed for addresses alone");
        assert_eq!(seen("192.0.2.1", &[&structured]), None);
        assert_eq!(seen("10.0.0.1", &[&structured, &structured]), None);
        assert_eq!(seen("10.0.0.1", &[]), None);
        let twice = format!("{escaped}{escaped}");
        for odd in ["", "::", ":AAA", "%", "%zz", "-----BEGIN%20CERTIFICATE-----", &twice] {
            assert_eq!(seen("10.0.0.1", &[odd]), None, "{odd}");
        }
    }
}
