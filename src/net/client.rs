//! The client: settings, what it may dial, and what became of a call.

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::Resolve;
use reqwest::{Certificate, Client, ClientBuilder, Proxy, Response, StatusCode};
use tokio::time::Instant;
use url::Url;

use crate::net::answer::{self, Answer, StreamingAnswer};
use crate::net::call::{self, Call, Departure};
use crate::net::guard::{self, Guard, Lookup, LoopbackOnly, ProxyOnly, RefusedAddress};
use crate::net::origin::Origins;

/// How long a connection may take, TLS included.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// How many idle connections are kept per host. With fewer than there are calls at the same time, calls would
/// wait for handshakes that the pool has just thrown away.
const POOL_SIZE: usize = 256;

/// What the operator says about outbound calls. Ambient `*_PROXY` variables are not read.
#[derive(Clone, Debug, Default)]
pub struct NetSettings {
    /// Origins that are rewritten to a sandbox on this machine.
    pub origins: Vec<(String, String)>,
    /// An outbound proxy; then only hosts that were allowed by name are dialled.
    pub proxy: Option<Url>,
    /// Certificate authorities beside the system's, in PEM.
    pub extra_ca_pem: Vec<Vec<u8>>,
    /// Private networks that may be dialled.
    pub allow_private: Vec<IpNet>,
    /// Whether the name `localhost` may be dialled: by whoever speaks to their own broker, never to a provider.
    pub allow_localhost: bool,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The left side of a rewriting.
    #[error("`{0}` is not an https origin; write it as `https://host`, without a path")]
    NotAnOrigin(String),
    /// The right side of a rewriting.
    #[error(
        "`{0}` is not a plain http URL on this machine; origins can only be rewritten to `http://localhost:…`"
    )]
    NotLoopback(String),
    /// The proxy.
    #[error("the outbound proxy must be an `http://` or `https://` URL with a host")]
    Proxy,
    /// An extra certificate authority.
    #[error("extra certificate authority number {0} is not a PEM certificate")]
    Certificate(usize),
    /// The TLS library refused.
    #[error("the TLS client cannot be set up")]
    Tls,
}

/// A call brought no usable answer. Holds nothing of the call or the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The address guard, or the list of hosts behind a proxy.
    #[error("`{host}` may not be dialled")]
    Refused {
        /// The host.
        host: String,
    },
    /// No connection; the provider has seen nothing.
    #[error("no connection to the provider")]
    NotSent,
    /// The provider's certificate was not accepted, or TLS failed otherwise.
    #[error("no trusted connection to the provider")]
    Tls,
    /// The request left, the answer did not come whole.
    #[error("the provider's answer was lost")]
    AnswerLost,
    /// Time is up.
    #[error("the provider took too long")]
    TooSlow {
        /// Whether the request may have left by then.
        sent: bool,
    },
    /// The answer is longer than allowed.
    #[error("the provider's answer is too long")]
    TooLarge,
}

impl NetError {
    /// Whether the provider may have acted on the request.
    pub fn may_have_been_delivered(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::NotSent | Self::Tls => false,
            Self::AnswerLost | Self::TooLarge => true,
            Self::TooSlow { sent } => *sent,
        }
    }
}

/// The client. Clones share one pool.
#[derive(Clone)]
pub struct HttpClient {
    inner: Arc<Inner>,
}

struct Inner {
    guard: Guard,
    guarded: Connections,
    /// Dials this machine only; used for rewritten origins alone.
    loopback: Connections,
    origins: Origins,
    has_proxy: bool,
    allowed_hosts: RwLock<BTreeSet<String>>,
}

/// Two clients that dial alike.
struct Connections {
    kept: Client,
    /// Keeps none: for [`Call::alone`].
    ended: Client,
}

impl Connections {
    fn build(of: impl Fn(usize) -> Result<Client, SettingsError>) -> Result<Self, SettingsError> {
        Ok(Self { kept: of(POOL_SIZE)?, ended: of(0)? })
    }

    fn of(&self, alone: bool) -> &Client {
        if alone { &self.ended } else { &self.kept }
    }
}

impl HttpClient {
    /// A client with the operator's settings.
    ///
    /// # Errors
    /// When a setting is not what it should be.
    pub fn new(settings: NetSettings) -> Result<Self, SettingsError> {
        Self::with_lookup(settings, guard::system_lookup())
    }

    pub(super) fn with_lookup(mut settings: NetSettings, lookup: Lookup) -> Result<Self, SettingsError> {
        crate::net::install_crypto();
        let origins = Origins::new(std::mem::take(&mut settings.origins))?;
        let mut guard = Guard::new(std::mem::take(&mut settings.allow_private), Arc::clone(&lookup));
        guard.allow_localhost = settings.allow_localhost;
        let guarded = Connections::build(|pool| {
            with_roots(&settings.extra_ca_pem, || guarded_builder(&settings, &guard, &lookup, pool))
        })?;
        let loopback = Connections::build(|pool| {
            let builder = base(pool).tls_certs_only(std::iter::empty()).dns_resolver(Arc::new(LoopbackOnly));
            builder.build().map_err(|_| SettingsError::Tls)
        })?;
        let inner = Inner {
            guard,
            guarded,
            loopback,
            origins,
            has_proxy: settings.proxy.is_some(),
            allowed_hosts: RwLock::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Allows hosts by name. Through a proxy the guard cannot see addresses, so only the hosts of
    /// templates are dialled; without a proxy this changes nothing.
    pub fn allow_hosts<I: IntoIterator<Item = String>>(&self, hosts: I) {
        if !self.inner.has_proxy {
            return;
        }
        let allowed = || self.inner.allowed_hosts.read().unwrap_or_else(PoisonError::into_inner);
        let mut new: Vec<String> = hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        new.retain(|host| !allowed().contains(host));
        if !new.is_empty() {
            self.inner.allowed_hosts.write().unwrap_or_else(PoisonError::into_inner).extend(new);
        }
    }

    /// Whether origins are rewritten to a sandbox.
    pub fn rewrites_origins(&self) -> bool {
        !self.inner.origins.is_empty()
    }

    /// The URL that a browser has to open for a provider's page.
    pub fn browser_url(&self, url: &Url) -> Url {
        self.dial_url(url)
    }

    /// The URL that is dialled for a provider's URL.
    pub fn dial_url(&self, url: &Url) -> Url {
        self.inner.origins.rewrite(url).unwrap_or_else(|| url.clone())
    }

    /// Makes a call and reads the whole answer. Redirects are answers like any other.
    ///
    /// # Errors
    /// When there is no whole answer within the limits.
    pub async fn fetch(&self, call: Call) -> Result<Answer, NetError> {
        let until = Instant::now() + call.deadline;
        let max_body = call.max_body;
        let response = self.send(call, until).await?;
        answer::read_whole(response, max_body, until).await
    }

    /// Makes a call and returns as soon as the answer's head is there.
    ///
    /// # Errors
    /// When there is no answer within the deadline.
    pub async fn open(&self, call: Call) -> Result<StreamingAnswer, NetError> {
        let until = Instant::now() + call.deadline;
        let max_body = call.max_body;
        StreamingAnswer::new(self.send(call, until).await?, max_body)
    }

    async fn send(&self, call: Call, until: Instant) -> Result<Response, NetError> {
        let host = call.url.host_str().unwrap_or_default().to_owned();
        let Some((client, url)) = self.route(&call.url, call.alone) else {
            return Err(NetError::Refused { host });
        };
        let mut headers = call.headers;
        let (body, departure) = call::depart(call.body, &mut headers);
        // Sensitive values are left out of every debug output below this point.
        headers.values_mut().for_each(|value| value.set_sensitive(true));
        let mut request = reqwest::Request::new(call.method, url);
        *request.headers_mut() = headers;
        *request.body_mut() = body;
        let answered = departure.answered(client.execute(request), until, call.deadline).await;
        let response = match answered {
            None => return Err(NetError::TooSlow { sent: departure.may_have_begun() }),
            Some(Err(error)) => return Err(judge(&error, &departure, host)),
            Some(Ok(response)) => response,
        };
        // Nobody asked for another protocol.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(NetError::AnswerLost);
        }
        Ok(response)
    }

    /// Which client may dial this URL, and as what.
    fn route(&self, url: &Url, alone: bool) -> Option<(&Client, Url)> {
        let inner = &*self.inner;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if let Some(rewritten) = inner.origins.rewrite(url) {
            return is_plain.then_some((inner.loopback.of(alone), rewritten));
        }
        let host = url.host_str()?;
        let is_listed = !inner.has_proxy
            || inner.allowed_hosts.read().unwrap_or_else(PoisonError::into_inner).contains(host);
        (is_listed && inner.guard.admits_url(url)).then(|| (inner.guarded.of(alone), url.clone()))
    }
}

fn guarded_builder(
    settings: &NetSettings,
    guard: &Guard,
    lookup: &Lookup,
    pool: usize,
) -> Result<ClientBuilder, SettingsError> {
    let base = base(pool).https_only(true);
    let Some(proxy) = &settings.proxy else { return Ok(base.dns_resolver(Arc::new(guard.clone()))) };
    // With a proxy the connector resolves one name only, the proxy's: it is the operator's choice.
    let host = proxy.host_str().ok_or(SettingsError::Proxy)?.to_owned();
    if !matches!(proxy.scheme(), "http" | "https") {
        return Err(SettingsError::Proxy);
    }
    let resolver: Arc<dyn Resolve> = Arc::new(ProxyOnly { host, lookup: Arc::clone(lookup) });
    let proxy = Proxy::all(proxy.as_str()).map_err(|_| SettingsError::Proxy)?;
    Ok(base.proxy(proxy).dns_resolver(resolver))
}

fn base(pool: usize) -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(concat!("valetkey/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(pool)
}

/// Builds with the system's certificate authorities and the extra ones; with the extra ones alone
/// where the system has none, so that a bare machine can still start.
fn with_roots(
    extra_pem: &[Vec<u8>],
    builder: impl Fn() -> Result<ClientBuilder, SettingsError>,
) -> Result<Client, SettingsError> {
    let mut extra = Vec::new();
    for (at, pem) in extra_pem.iter().enumerate() {
        let found = Certificate::from_pem_bundle(pem).map_err(|_| SettingsError::Certificate(at + 1))?;
        if found.is_empty() {
            return Err(SettingsError::Certificate(at + 1));
        }
        extra.extend(found);
    }
    if let Ok(client) = builder()?.tls_certs_merge(extra.clone()).build() {
        return Ok(client);
    }
    let client = builder()?.tls_certs_only(extra).build().map_err(|_| SettingsError::Tls)?;
    tracing::warn!("this machine has no certificate authorities; only the extra ones are trusted");
    Ok(client)
}

fn judge(error: &reqwest::Error, departure: &Departure, host: String) -> NetError {
    if caused_by::<RefusedAddress>(error) {
        return NetError::Refused { host };
    }
    if error.is_connect() {
        return if caused_by::<rustls::Error>(error) { NetError::Tls } else { NetError::NotSent };
    }
    if departure.may_have_begun() { NetError::AnswerLost } else { NetError::NotSent }
}

/// Whether an error of that type is among the causes; I/O errors hide theirs one level deeper.
fn caused_by<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if cause.is::<E>() || inner.is_some_and(|inner| caused_by::<E>(inner)) {
            return true;
        }
        next = cause.source();
    }
    false
}
