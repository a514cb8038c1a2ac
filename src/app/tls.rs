//! TLS by ourselves: our certificate, and the client's where it has one.

use std::path::Path;
use std::sync::Arc;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;

use crate::app::serve::ServeError;
use crate::server::peer::PeerCertificates;

/// Reads a certificate chain and key. `asks`: whether clients are asked for a certificate; they need not
/// have one.
///
/// # Errors
/// When a file is not what it should be.
pub fn tls(certificate: &Path, key: &Path, asks: bool) -> Result<ServerConfig, ServeError> {
    let wrong = |path: &Path, error: String| ServeError::Tls(format!("`{}`: {error}", path.display()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(certificate, error.to_string()))?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let builder = ServerConfig::builder();
    let builder = if asks {
        builder.with_client_cert_verifier(Arc::new(Possession(aws_lc_rs::default_provider())))
    } else {
        builder.with_no_client_auth()
    };
    let mut config =
        builder.with_single_cert(chain, key_der).map_err(|error| wrong(certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Keeps a connection's client certificates where requests find them.
pub(super) fn note_certificates(stream: &TlsStream<TcpStream>, kept: &mut Extensions) {
    let (_, session) = stream.get_ref();
    if let Some(shown) = session.peer_certificates() {
        kept.insert(PeerCertificates(shown.iter().map(|der| der.clone().into_owned()).collect()));
    }
}

/// Takes any certificate whose key the client holds. Whose it is, and by what authority, is a matter of the
/// agent's registration and is judged there: authorities differ from agent to agent, and certificates that
/// are known by their thumbprint have none. A certificate alone opens nothing.
#[derive(Debug)]
struct Possession(CryptoProvider);

impl ClientCertVerifier for Possession {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
