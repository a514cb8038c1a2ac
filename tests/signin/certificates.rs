//! Certificates of agents, a broker behind TLS of its own, and one behind a proxy that forwards certificates.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use base64::Engine as _;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use valetkey::agents::ShownCertificate;
use valetkey::app::serve::{self, Listening};
use valetkey::app::tls;
use valetkey::server::peer::ForwardedCertificates;

use crate::app::TestApp;
use crate::browser::encoded;
use crate::wire::{Answer, parse};

/// A certificate with its key, and what lies between it and its authority.
pub struct Held {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Arc<KeyPair>,
}

pub type Authority = CertifiedIssuer<'static, KeyPair>;

pub fn authority(name: &str) -> Authority {
    CertifiedIssuer::self_signed(of_authority(name), KeyPair::generate().unwrap()).unwrap()
}

pub fn of_authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

pub fn of_agent() -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, "mail");
    let name = |text: &str| Ia5String::try_from(text).unwrap();
    params.subject_alt_names = vec![
        SanType::DnsName(name("mail.agents.example.com")),
        SanType::URI(name("spiffe://example.org/agents/mail")),
        SanType::Rfc822Name(name("mail@example.com")),
        SanType::IpAddress("192.0.2.7".parse().unwrap()),
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

pub fn issued(by: &Authority, params: &CertificateParams) -> Held {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, by).unwrap();
    Held { chain: vec![certificate.der().clone()], key: Arc::new(key) }
}

pub fn self_signed(params: &CertificateParams) -> Held {
    let key = KeyPair::generate().unwrap();
    Held { chain: vec![params.self_signed(&key).unwrap().der().clone()], key: Arc::new(key) }
}

pub fn thumbprint(held: &Held) -> String {
    ShownCertificate::new(held.chain[0].clone(), Vec::new()).thumbprint().to_owned()
}

fn key_of(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

/// The same broker behind TLS of its own.
pub struct Secured {
    port: u16,
    roots: RootCertStore,
}

impl Secured {
    pub async fn start(app: &TestApp) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (chain_file, key_file) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        std::fs::write(&chain_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        let config = tls::tls(&chain_file, &key_file, true).unwrap();
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let listening = Listening { socket, workers: 1, tls: Some(config) };
        serve::start(app.demo.services.clone(), listening).await.unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        Self { port, roots }
    }

    /// A request over a connection with that certificate; `None` when there is no connection.
    pub async fn send(
        &self,
        held: Option<&Held>,
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        let builder = ClientConfig::builder().with_root_certificates(self.roots.clone());
        let config = match held {
            None => builder.with_no_client_auth(),
            Some(held) => builder.with_client_cert_resolver(Arc::new(Shows::new(held))),
        };
        let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        // A server that does not say goodbye has answered all the same.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = parse(&answer);
        (answer.status != 0).then_some(answer)
    }

    /// A form over a connection with that certificate.
    pub async fn form(&self, held: Option<&Held>, path: &str, fields: &[(&str, &str)]) -> Option<Answer> {
        let fields: Vec<(String, String)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        self.send(held, ("POST", path), &headers, &encoded(&fields)).await
    }

    /// The status of an introspection by an agent that has nothing but its certificate; `None` when there is
    /// no connection.
    pub async fn status(&self, agent: &str, held: Option<&Held>) -> Option<u16> {
        let answer = self.form(held, "/oauth2/introspect", &[("client_id", agent), ("token", "x")]).await?;
        Some(answer.status)
    }
}

/// Shows a certificate whether or not the key is its own.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl Shows {
    fn new(held: &Held) -> Self {
        let key = aws_lc_rs::sign::any_supported_type(&key_of(&held.key)).unwrap();
        Self(Arc::new(CertifiedKey::new(held.chain.clone(), key)))
    }
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

pub fn by_thumbprint(thumbprint: &str) -> Value {
    json!({"certificates": {"self_signed": {"thumbprints": [thumbprint]}}})
}

pub fn pem(held: &Held) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(&held.chain[0]);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// The same broker behind a proxy that forwards certificates; `from` says which proxies are listed.
pub async fn behind_a_proxy(app: &TestApp, from: Option<&str>) -> String {
    let mut services = app.demo.services.clone();
    services.inbound.forwarded_certificates = from.map(|net| ForwardedCertificates {
        header: "client-cert".parse().unwrap(),
        from: vec![net.parse().unwrap()],
    });
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    serve::start(services, Listening { socket, workers: 1, tls: None }).await.unwrap();
    url
}

/// A certificate as proxies write it (RFC 9440).
pub fn forwarded(held: &Held) -> String {
    format!(":{}:", base64::engine::general_purpose::STANDARD.encode(&held.chain[0]))
}
