//! Client certificates (RFC 8705): of a private authority with one exact name, or by thumbprint.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::agents::Agents;
use crate::agents::authenticate::Refused;
use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::model::agent::Agent;
use crate::model::credential::{CertificateName, Certificates, Vouches};

/// Larger than any certificate that is in use.
const MAX_DER: usize = 16 * 1024;
/// More certificates than a private authority has.
const MAX_AUTHORITIES: usize = 20;

/// A certificate whose key the caller has proven to hold: in our own TLS handshake, or in that of a proxy
/// that the operator has listed.
#[derive(Clone, Debug)]
pub struct ShownCertificate {
    der: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    thumbprint: String,
}

impl ShownCertificate {
    /// A certificate, and the ones between it and its authority.
    pub fn new(der: CertificateDer<'static>, chain: Vec<CertificateDer<'static>>) -> Self {
        let thumbprint = encode::base64url(digest::digest(&digest::SHA256, &der).as_ref());
        Self { der, chain, thumbprint }
    }

    /// SHA-256 of its DER form in base64url: what `x5t#S256` holds (RFC 8705, section 3.1).
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }
}

impl Agents {
    /// Whether a certificate is the agent's.
    pub(super) async fn check_certificate(
        &self,
        agent: &Agent,
        shown: &ShownCertificate,
    ) -> Result<(), Refused> {
        let registered = agent.sign_in.certificates.as_ref();
        let registered = registered.ok_or(Refused::because("the agent has no registered certificates"))?;
        let parsed = parse(&shown.der).ok_or(Refused::because("the certificate cannot be read"))?;
        let now = self.clock.now();
        if !is_valid_at(&parsed, now) {
            return Err(Refused::because("the certificate has expired, or is not valid yet"));
        }
        match registered {
            Certificates::SelfSigned { thumbprints } => {
                // Public values: nothing is learnt from how long comparing takes.
                if thumbprints.iter().any(|known| known == shown.thumbprint()) {
                    return Ok(());
                }
                Err(Refused::because("the certificate's thumbprint is not registered"))
            }
            Certificates::Issued { authority, name } => {
                let source = self.trust_source(authority).await?;
                let Some(source) = source.filter(|source| source.enabled) else {
                    return Err(Refused::because("the certificate's trust source is gone or disabled"));
                };
                let Vouches::Certificates { ca_pem } = &source.vouches else {
                    return Err(Refused::because("the trust source holds no authority"));
                };
                let authorities =
                    authorities(ca_pem).map_err(|_| Refused::because("the authority cannot be read"))?;
                if !is_issued_by(shown, &authorities, now) {
                    return Err(Refused::because("the certificate is not one of the registered authority"));
                }
                if has_name(&parsed, name) {
                    return Ok(());
                }
                Err(Refused::because("the certificate has another name than the registered one"))
            }
        }
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    if der.len() > MAX_DER {
        return None;
    }
    let (rest, parsed) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(parsed)
}

fn is_valid_at(certificate: &X509Certificate<'_>, now: Timestamp) -> bool {
    let validity = certificate.validity();
    (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now.secs())
}

/// The authority's certificates.
///
/// # Errors
/// In words, when it is no PEM text of certificates of authorities.
pub(super) fn authorities(pem: &str) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    const WRONG: &str = "paste the authority's own certificates in PEM, and no private key";
    if pem.contains("PRIVATE KEY") || pem.len() > MAX_AUTHORITIES * MAX_DER {
        return Err(WRONG);
    }
    let all: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|_| WRONG)?;
    let is_authority = |der: &CertificateDer<'_>| {
        let is_ca = parse(der).is_some_and(|parsed| parsed.is_ca());
        is_ca && anchor_from_trusted_cert(der).is_ok()
    };
    if all.is_empty() || all.len() > MAX_AUTHORITIES {
        return Err(WRONG);
    }
    if all.iter().all(is_authority) {
        Ok(all)
    } else {
        Err("one of the certificates is not an authority's: it lacks `CA:TRUE` in its basic constraints")
    }
}

/// Whose certificates of authorities these are: their subjects, as RFC 4514 writes them.
pub fn authority_names(pem: &str) -> Vec<String> {
    let all = authorities(pem).unwrap_or_default();
    let named = all.iter().filter_map(|der| distinguished_name(parse(der)?.subject()));
    named.collect()
}

fn is_issued_by(shown: &ShownCertificate, authorities: &[CertificateDer<'static>], now: Timestamp) -> bool {
    let anchors: Vec<_> = authorities.iter().filter_map(|der| anchor_from_trusted_cert(der).ok()).collect();
    let Ok(end) = EndEntityCert::try_from(&shown.der) else { return false };
    let seconds = u64::try_from(now.secs()).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    end.verify_for_usage(algorithms.all, &anchors, &shown.chain, at, KeyUsage::client_auth(), None, None)
        .is_ok()
}

/// Whether a certificate can be recognised by that name.
///
/// # Errors
/// In words, when it cannot.
pub(super) fn check_name(name: &CertificateName) -> Result<(), &'static str> {
    let is_exact =
        |text: &str| (1..=1024).contains(&text.len()) && !text.contains(|c: char| c == '*' || c.is_control());
    match name {
        CertificateName::SubjectDn(text) if is_exact(text) && text.contains('=') => Ok(()),
        CertificateName::SubjectDn(_) => {
            Err("write the whole subject, as `openssl x509 -noout -subject -nameopt RFC2253` prints it")
        }
        CertificateName::SanIp(_) => Ok(()),
        CertificateName::SanDns(text) | CertificateName::SanUri(text) | CertificateName::SanEmail(text) => {
            if is_exact(text) {
                Ok(())
            } else {
                Err("write one exact name, without wildcards")
            }
        }
    }
}

fn has_name(certificate: &X509Certificate<'_>, wanted: &CertificateName) -> bool {
    if let CertificateName::SubjectDn(wanted) = wanted {
        return distinguished_name(certificate.subject()).is_some_and(|name| name == without_spaces(wanted));
    }
    // The extension may come once only; the parser says so.
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|name| match (name, wanted) {
        (GeneralName::DNSName(name), CertificateName::SanDns(wanted)) => name.eq_ignore_ascii_case(wanted),
        (GeneralName::URI(name), CertificateName::SanUri(wanted)) => *name == wanted.as_str(),
        (GeneralName::RFC822Name(name), CertificateName::SanEmail(wanted)) => *name == wanted.as_str(),
        (GeneralName::IPAddress(octets), CertificateName::SanIp(wanted)) => match wanted {
            IpAddr::V4(v4) => *octets == v4.octets().as_slice(),
            IpAddr::V6(v6) => *octets == v6.octets().as_slice(),
        },
        _ => false,
    })
}

/// The subject as RFC 4514 writes it: last part first, without spaces between parts.
fn distinguished_name(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for rdn in name.iter_rdn() {
        let mut attributes = Vec::new();
        for attribute in rdn.iter() {
            let oid = attribute.attr_type();
            let kind = oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned);
            attributes.push(format!("{kind}={}", escaped(attribute.as_str().ok()?)));
        }
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    (!parts.is_empty()).then(|| parts.join(","))
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, c) in value.char_indices() {
        let is_edge = (at == 0 && matches!(c, ' ' | '#')) || (at + 1 == value.len() && c == ' ');
        if is_edge || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Without the space that tools put behind the comma between two parts.
fn without_spaces(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let (mut is_escaped, mut after_comma) = (false, false);
    for c in name.trim().chars() {
        if after_comma && c == ' ' {
            continue;
        }
        after_comma = c == ',' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    #[test]
    fn subjects_are_written_as_the_standard_has_it() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
        params.distinguished_name.push(DnType::CommonName, "Mail helper");
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let parsed = parse(certificate.der()).unwrap();
        let name = distinguished_name(parsed.subject()).unwrap();
        assert_eq!(name, r"CN=Mail helper,O=Example\, Inc.,C=DE");
        let named = |text: &str| has_name(&parsed, &CertificateName::SubjectDn(text.to_owned()));
        assert!(named(r"CN=Mail helper, O=Example\, Inc., C=DE"));
        assert!(!named("CN=Mail helper"));
        assert!(!named(r"CN=Mail helper,O=Example,C=DE"));
        assert!(authorities(&certificate.pem()).is_err(), "it is no authority");
    }
}
