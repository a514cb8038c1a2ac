//! The provider sandbox: every vendor's own wire dialect, with made-up people and data.
//!
//! It is a second, independent reading of each dialect, so it imports neither templates nor the OAuth client.
//! Two ways in: `http://localhost:…/{provider}/{service}/…`, and the real host names through a forward proxy that
//! answers `CONNECT` with certificates of its own throwaway CA. Both reach the same handlers.

mod control;
mod crowd;
pub mod desk;
pub mod dingtalk;
pub mod entra;
pub mod faults;
mod host;
pub mod lark;
mod office;
pub mod okta;
mod paging;
mod pattern;
mod proxy;
pub mod record;
pub mod sign_in;
pub mod signer;
pub mod tokens;
pub mod wecom;
pub mod wire;
pub mod world;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use actix_web::{App, HttpServer, web};
use tokio::task::JoinHandle;

use crate::kernel::clock::{Clock, OffsetClock};
use crate::kernel::entropy::Entropy;
use crate::kernel::secret::SecretString;
use crate::sandbox::desk::{Client, Desk, Vendor};
use crate::sandbox::host::{Counter, Floor};
use crate::sandbox::proxy::ThrowawayCa;
use crate::sandbox::signer::Signer;

/// The client id of the app whose ID tokens assistants may present.
pub const ASSISTANT_CLIENT: &str = "valetkey-assistant";

/// How a sandbox is set up.
pub struct SandboxSettings {
    /// Where to listen for plain HTTP; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the forward proxy listens; port 0 takes a free one.
    pub proxy_listen: SocketAddr,
    /// The vendors' clock.
    pub clock: Arc<dyn Clock>,
    /// Moves that clock, and whatever else has to move with it.
    pub advance: Arc<dyn Fn(Duration) + Send + Sync>,
    /// The vendors' randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The client id that is registered at every vendor.
    pub client_id: String,
    /// Its secret, which is also that of [`ASSISTANT_CLIENT`].
    pub client_secret: SecretString,
    /// E-mail and password of everyone who can sign in; whoever is not in [`world::World`]
    /// yet is an employee with nothing of their own.
    pub accounts: Vec<(String, SecretString)>,
    /// Registered redirect URIs start with one of these; without any, https and loopback addresses are fine.
    pub redirect_prefixes: Vec<String>,
}

impl SandboxSettings {
    /// A sandbox on free loopback ports, with a clock that moves by the control endpoint.
    pub fn local(
        clock: Arc<OffsetClock>,
        entropy: Arc<dyn Entropy>,
        client_secret: SecretString,
        accounts: Vec<(String, SecretString)>,
    ) -> Self {
        let moved = Arc::clone(&clock);
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            proxy_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            clock,
            advance: Arc::new(move |by| moved.advance(by)),
            entropy,
            client_id: "valetkey-sandbox".to_owned(),
            client_secret,
            accounts,
            redirect_prefixes: Vec::new(),
        }
    }
}

/// The sandbox could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A key or certificate could not be made.
    #[error(transparent)]
    Ca(#[from] proxy::CaError),
    /// The ID token key could not be made.
    #[error(transparent)]
    Signer(#[from] signer::SignerError),
}

/// Namespace for starting.
pub struct Sandbox;

/// A sandbox that answers. It stops when [`Running::stop`] is called or the process ends.
pub struct Running {
    /// `http://localhost:PORT`.
    pub url: String,
    /// `http://127.0.0.1:PORT` of the forward proxy.
    pub proxy_url: String,
    /// The throwaway CA's certificate.
    pub ca_pem: String,
    floor: Arc<Floor>,
    server: ServerHandle,
    proxy: JoinHandle<()>,
}

impl Sandbox {
    /// Starts all vendors. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be listened on, or a key cannot be made.
    pub async fn start(settings: SandboxSettings) -> Result<Running, SandboxError> {
        let entrance = listen(settings.listen)?;
        let address = local(&entrance, settings.listen)?;
        // Connections from the proxy come in by a door of their own: behind it only vendors' host names answer.
        let behind_listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let behind = local(&behind_listener, settings.listen)?;
        let proxy_listener = listen(settings.proxy_listen)?;
        let proxy_address = local(&proxy_listener, settings.proxy_listen)?;
        let proxy_listener = to_tokio(proxy_listener, proxy_address)?;
        let floor = Arc::new(floor(settings, behind.port())?);
        let data = Data::from(Arc::clone(&floor));
        let failed = |source| SandboxError::Listen { address, source };
        let mut server =
            HttpServer::new(move || App::new().app_data(data.clone()).default_service(web::to(host::handle)))
                .workers(1)
                // A client that has gone is seen at once, as vendors' servers see it.
                .h1_allow_half_closed(false)
                // On a machine that is busy with a load test a request may be long in coming.
                .client_request_timeout(Duration::ZERO)
                // As vendors' servers do: longer than clients keep idle connections, so that none is closed while a
                // request is on its way.
                .keep_alive(Duration::from_secs(75))
                .disable_signals()
                .shutdown_timeout(1)
                .listen(entrance)
                .and_then(|server| server.listen(behind_listener))
                .map_err(failed)?;
        // Browsers may try `localhost` on IPv6 first; without IPv6 they fall back by themselves.
        if address.ip() == Ipv4Addr::LOCALHOST
            && let Ok(also) = TcpListener::bind((Ipv6Addr::LOCALHOST, address.port()))
        {
            server = server.listen(also).map_err(failed)?;
        }
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        let ca = Arc::new(ThrowawayCa::generate()?);
        let ca_pem = ca.pem();
        let proxy = tokio::spawn(proxy::serve(proxy_listener, Arc::clone(&floor), ca, behind));
        let host = if address.ip().is_loopback() { "localhost".to_owned() } else { address.ip().to_string() };
        Ok(Running {
            url: format!("http://{host}:{}", address.port()),
            proxy_url: format!("http://{proxy_address}"),
            ca_pem,
            floor,
            server: handle,
            proxy,
        })
    }
}

impl Running {
    /// The desk of one vendor, for what has no wire form.
    pub fn desk(&self, provider: &str) -> Option<Arc<Desk>> {
        self.floor.counter(provider).map(|counter| Arc::clone(&counter.desk))
    }

    /// A fresh ID token of the organisation's sign-in provider for one of its employees.
    pub fn id_token(&self, email: &str, audience: &str) -> Option<String> {
        let desk = self.desk("okta")?;
        let person = desk.person(email).filter(|person| person.employee)?;
        Some(okta::id_token(&desk, &person, audience))
    }

    /// A JWT of the sign-in vendor with any header and claims: its administrators choose what it vouches for.
    pub fn vouches(&self, header: &serde_json::Value, claims: &serde_json::Value) -> Option<String> {
        Some(self.desk("okta")?.signer.signed(header, claims))
    }

    /// An access token of a person at one vendor, as its token endpoint would issue it to that client: for
    /// whoever compares what a token alone opens with what a proxy lets through.
    pub fn access_token(&self, provider: &str, email: &str, client_id: &str, scopes: &str) -> Option<String> {
        let desk = self.desk(provider)?;
        desk.person(email)?;
        let facts = tokens::Facts {
            email: Some(email.to_owned()),
            client_id: client_id.to_owned(),
            scopes: scopes.split(' ').map(str::to_owned).collect(),
            auth_time: desk.now(),
            nonce: None,
            family: desk.book.new_family(),
        };
        Some(desk.book.issue_access(facts, std::time::Duration::from_secs(3600), ""))
    }

    /// Real origins and where they are rewritten to, for the setting `origins`.
    pub fn origins(&self) -> Vec<(String, String)> {
        let mut origins = Vec::new();
        for counter in &self.floor.counters {
            for service in counter.vendor.services() {
                let to = format!("{}/{}/{}", self.url, counter.vendor.name(), service.name);
                origins.extend(service.hosts.iter().map(|host| (format!("https://{host}"), to.clone())));
            }
        }
        origins
    }

    /// Stops listening and ends the connections.
    pub async fn stop(self) {
        self.proxy.abort();
        self.server.stop(false).await;
    }
}

/// Every vendor that the sandbox speaks.
fn vendors() -> Vec<Box<dyn Vendor>> {
    vec![
        Box::new(entra::Entra),
        Box::new(okta::Okta::default()),
        Box::new(lark::Lark::default()),
        Box::new(dingtalk::DingTalk::default()),
        Box::new(wecom::WeCom::default()),
    ]
}

fn floor(settings: SandboxSettings, behind_port: u16) -> Result<Floor, SandboxError> {
    let signer = Arc::new(Signer::generate(settings.entropy.as_ref())?);
    let assistant_secret = SecretString::new(settings.client_secret.expose().clone());
    let client = |id: &str, name: &str, secret| Client {
        id: id.to_owned(),
        secret,
        name: name.to_owned(),
        redirect_prefixes: settings.redirect_prefixes.clone(),
    };
    let clients = Arc::new(vec![
        client(&settings.client_id, "Valetkey", settings.client_secret),
        client(ASSISTANT_CLIENT, "Assistant", assistant_secret),
    ]);
    let accounts = Arc::new(settings.accounts);
    let counters = vendors()
        .into_iter()
        .map(|vendor| {
            let desk = Arc::new(Desk::new(
                vendor.name(),
                Arc::clone(&settings.clock),
                Arc::clone(&settings.entropy),
                Arc::clone(&signer),
                Arc::clone(&clients),
                Arc::clone(&accounts),
            ));
            Counter { vendor, desk }
        })
        .collect();
    Ok(Floor { counters, advance: settings.advance, behind_port, open_streams: AtomicU64::new(0) })
}

fn listen(address: SocketAddr) -> Result<TcpListener, SandboxError> {
    TcpListener::bind(address).map_err(|source| SandboxError::Listen { address, source })
}

fn local(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, SandboxError> {
    listener.local_addr().map_err(|source| SandboxError::Listen { address, source })
}

fn to_tokio(listener: TcpListener, address: SocketAddr) -> Result<tokio::net::TcpListener, SandboxError> {
    let failed = |source| SandboxError::Listen { address, source };
    listener.set_nonblocking(true).map_err(failed)?;
    tokio::net::TcpListener::from_std(listener).map_err(failed)
}
