//! The forward proxy: `CONNECT` to a vendor's real host name, TLS with a certificate of the throwaway CA, and the
//! same handlers behind it. Any other host is refused.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::sandbox::host::Floor;

/// How long a client may take to say where it wants to go.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The longest request head of a `CONNECT`.
const LONGEST_HEAD: usize = 8 * 1024;

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The certificate library refused.
    #[error("the throwaway CA could not make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused what the CA made.
    #[error("the throwaway CA's certificate was refused: {0}")]
    Tls(#[from] rustls::Error),
}

/// A certificate authority that lives as long as the sandbox.
pub(super) struct ThrowawayCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
    served: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl ThrowawayCa {
    /// Makes a CA with a fresh key.
    pub(super) fn generate() -> Result<Self, CaError> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = name("Valetkey sandbox throwaway CA");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer, served: Mutex::default() })
    }

    /// The CA's certificate, for clients to trust.
    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn config(&self, host: &str) -> Result<Arc<ServerConfig>, CaError> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = served.get(host) {
            return Ok(Arc::clone(config));
        }
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name = name(host);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone(), self.issuer.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        served.insert(host.to_owned(), Arc::clone(&config));
        Ok(config)
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

/// Serves proxy clients until the task is dropped.
pub(super) async fn serve(
    listener: TcpListener,
    floor: Arc<Floor>,
    ca: Arc<ThrowawayCa>,
    behind: SocketAddr,
) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let (floor, ca) = (Arc::clone(&floor), Arc::clone(&ca));
                tokio::spawn(async move {
                    if let Err(error) = tunnel(client, &floor, &ca, behind).await {
                        tracing::debug!(%error, "sandbox proxy connection ended");
                    }
                });
            }
            // Out of file descriptors, most likely: wait for some to come back.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn tunnel(
    mut client: TcpStream,
    floor: &Floor,
    ca: &ThrowawayCa,
    behind: SocketAddr,
) -> std::io::Result<()> {
    let head =
        tokio::time::timeout(HANDSHAKE, read_head(&mut client)).await.map_err(std::io::Error::other)??;
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method != "CONNECT" {
        return refuse(client, "405 Method Not Allowed", "this proxy only answers CONNECT").await;
    }
    let host = target.strip_suffix(":443").filter(|host| floor.by_host(host).is_some());
    let Some(host) = host.map(str::to_ascii_lowercase) else {
        return refuse(client, "403 Forbidden", "not a host of the provider sandbox").await;
    };
    let config = ca.config(&host).map_err(std::io::Error::other)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    let accepted = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(client)).await;
    let mut tls = accepted.map_err(std::io::Error::other)??;
    let mut server = TcpStream::connect(behind).await?;
    copy_bidirectional(&mut tls, &mut server).await.map(|_| ())
}

async fn read_head(client: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::with_capacity(512);
    // Byte by byte: what follows the empty line belongs to TLS and must stay in the socket.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= LONGEST_HEAD {
            return Err(std::io::Error::other("the request head is too long"));
        }
        head.push(client.read_u8().await?);
    }
    String::from_utf8(head).map_err(std::io::Error::other)
}

async fn refuse(mut client: TcpStream, status: &str, reason: &str) -> std::io::Result<()> {
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{reason}",
        reason.len()
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}
