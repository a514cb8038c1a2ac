//! The listener: all routes in one table, TLS, graceful stop, and leaving when storage has failed.

use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_http::HttpService;
use actix_server::{Server, ServerHandle};
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::body::BoxBody;
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, web};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::app::claim::Claim;
use crate::app::jobs;
use crate::app::services::Services;
use crate::app::tls;
use crate::app::witness::Witness;
use crate::gateway;
use crate::kernel::entropy::Entropy;
use crate::model::event::{EventDraft, EventKind};
use crate::server::ending::Ending;
use crate::server::metrics::Metrics;
use crate::server::middleware::{self, OpenPrefix};
use crate::web as pages;

/// How long an idle connection is kept: longer than load balancers keep theirs (60 s is usual), so that it is they who
/// close it, and no request is on its way at that moment.
const IDLE: Duration = Duration::from_secs(75);
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long a connection that was accepted may take to reach its worker.
const LAST_ARRIVALS: Duration = Duration::from_millis(50);
/// How long the accepting thread takes to hear of a pause.
const HEARD_OF: Duration = Duration::from_millis(5);
/// How long a stop waits for what is under way before it ends the workers.
const LANDING: Duration = Duration::from_secs(10);
/// How often a stop looks for a moment in which nobody waits to be accepted.
const LOOKS: usize = 200;

/// How to listen.
pub struct Listening {
    /// A bound socket, which may listen already.
    pub socket: TcpListener,
    /// Worker threads.
    pub workers: usize,
    /// TLS by ourselves.
    pub tls: Option<rustls::ServerConfig>,
}

/// A service that answers.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its rooms.
    pub services: Services,
    ending: web::Data<Ending>,
    /// A second handle to the socket.
    entrance: TcpListener,
    handle: ServerHandle,
    jobs: jobs::Jobs,
    /// On this node's name, where several share the store.
    claim: Option<Claim>,
}

/// Why a service did not start or stop well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket.
    #[error("cannot listen: {0}")]
    Listen(#[from] std::io::Error),
    /// The certificate or key.
    #[error("TLS: {0}")]
    Tls(String),
    /// Another process has this node's name.
    #[error(
        "another broker runs under this node's name, `{node}`{holder}: the data folder was copied. Start this one with an \
         empty data folder; a further node needs the settings and the root key only"
    )]
    Claimed {
        /// The name.
        node: String,
        /// Who has it, as far as it says so.
        holder: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// Whether the shared store is as it was left.
    #[error(transparent)]
    Custody(#[from] crate::custody::CustodyError),
    /// What a former process left open.
    #[error(transparent)]
    Recovery(#[from] crate::connections::LeaseError),
    /// The log.
    #[error(transparent)]
    Audit(#[from] crate::audit::AuditError),
}

/// Recovers what a former process left open, then begins to answer: a socket that does not listen yet refuses whoever
/// comes meanwhile, so that load balancers go elsewhere.
///
/// # Errors
/// When the socket or the log cannot be used.
pub async fn start(services: Services, listening: Listening) -> Result<Running, ServeError> {
    let address = listening.socket.local_addr()?;
    let entrance = listening.socket.try_clone()?;
    let claim = match (&services.node, &services.shared_keys) {
        // First of all: what it has left open is settled by whoever has the name.
        (Some(node), Some(keys)) => Some(
            Claim::take(Arc::clone(keys), Arc::clone(&services.entropy), node, &services.data_dir).await?,
        ),
        _ => None,
    };
    services.audit.record(EventDraft::new(EventKind::Service, "service.started")).await?;
    let mut witness = Witness::default();
    if let Some(node) = &services.node {
        // Before any refresh token is spent: the database may be older than it was.
        witness.look(&services, node).await?;
    }
    services.store.index_members().await?;
    let recovered = services.connections.recover_at_start().await?;
    if recovered.open + recovered.from_spool > 0 {
        tracing::warn!(
            from_spool = recovered.from_spool,
            open = recovered.open,
            resolved = recovered.resolved,
            needs_reauth = recovered.needs_reauth,
            in_doubt = recovered.in_doubt,
            "refreshes that a former process left open"
        );
    }
    let jobs = jobs::start(&services, witness);
    let ending = web::Data::new(Ending::default());
    SockRef::from(&entrance).listen(BACKLOG)?;
    let server = listen(services.clone(), listening, ending.clone())?;
    let handle = server.handle();
    actix_web::rt::spawn(server);
    Ok(Running { address, services, ending, entrance, handle, jobs, claim })
}

/// Takes an address without listening on it: that begins with [`start`].
///
/// # Errors
/// When it is taken.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// One connection's service. The framework's own server has no place for a hook before `100 Continue`, and
/// the type of what it is made of depends on the transport.
macro_rules! service {
    ($app:ident, $gateway:ident, $stopping:ident, $address:ident, $connected:expr) => {{
        let (gateway, stopping) = ($gateway.clone(), $stopping.clone());
        let made = $app().into_factory().map_err(|error: actix_web::Error| error.error_response());
        HttpService::build()
            .graceful_shutdown_signal(move || {
                let signal = stopping.clone();
                async move { signal.notified().await }
            })
            .client_request_timeout(Duration::from_secs(5))
            .keep_alive(IDLE)
            // How long a client that is still sending may take to read an early answer.
            .client_disconnect_timeout(Duration::from_secs(2))
            // A client that closes its side has gone: what is done for it, upstream too, ends at once.
            .h1_allow_half_closed(false)
            .local_addr($address)
            .on_connect_ext($connected)
            .expect(fn_service(move |request| may_send_body(gateway.clone(), request)))
            .finish(map_config(made, |()| AppConfig::default()))
    }};
}

fn listen(services: Services, listening: Listening, ending: web::Data<Ending>) -> Result<Server, ServeError> {
    let metrics = Metrics::with(|registry| services.register_figures(registry));
    let metrics = web::Data::new(metrics.with_sync_waits(&services.gateway.sync_waits));
    let entropy: web::Data<dyn Entropy> = web::Data::from(Arc::clone(&services.entropy));
    let inbound = web::Data::new(services.inbound.clone());
    let tokens = web::Data::new(services.tokens.clone());
    let gateway_state = web::Data::new(services.gateway.clone());
    let api = web::Data::new(services.api.clone());
    let page_state = web::Data::new(services.pages.clone());
    let asked_first = gateway_state.clone();
    let all = web::Data::new(services);
    let app = move || {
        App::new()
            .app_data(ending.clone())
            .app_data(metrics.clone())
            .app_data(entropy.clone())
            .app_data(inbound.clone())
            .app_data(tokens.clone())
            .app_data(gateway_state.clone())
            .app_data(api.clone())
            .app_data(page_state.clone())
            .app_data(all.clone())
            .app_data(OpenPrefix { prefix: "/gateway/", pattern: "/gateway/{tail}" })
            .wrap(from_fn(middleware::wrap))
            // Routes are tried in this order, and the ones without parameters cost next to nothing.
            .configure(pages::oauth::routes)
            .route("/healthz", web::get().to(healthz))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(metrics_text))
            .service(web::scope("/gateway").default_service(web::to(gateway::handle)))
            .configure(pages::api::pushed)
            .configure(pages::scim::routes)
            .configure(pages::api::routes)
            .configure(pages::routes)
    };
    let builder = Server::build().workers(listening.workers).shutdown_timeout(25).disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let address = listening.socket.local_addr()?;
    let builder = match listening.tls {
        None => builder.listen("http", listening.socket, move || {
            service!(app, asked_first, stopping, address, |_, _| {}).tcp()
        })?,
        Some(config) => builder.listen("https", listening.socket, move || {
            service!(app, asked_first, stopping, address, tls::note_certificates).rustls_0_23(config.clone())
        })?,
    };
    Ok(builder.run())
}

/// Whoever sends `Expect: 100-continue` waits for a word before a body: at the gateway it is given to those
/// only whose token works.
async fn may_send_body(
    gateway: web::Data<gateway::Gateway>,
    request: actix_http::Request,
) -> Result<actix_http::Request, actix_http::Response<BoxBody>> {
    if request.path().starts_with("/gateway/") {
        gateway::may_send_body(&gateway, &request.head().headers).await?;
    }
    Ok(request)
}

/// Whether a connection waits to be accepted.
fn somebody_waits(entrance: &TcpListener) -> bool {
    let mut looked_at = [PollFd::new(entrance, PollFlags::IN)];
    poll(&mut looked_at, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// Ready means: nobody has told it to end, the store answers and takes what this node seals, and neither the store nor
/// the log has failed. What a former process left open is settled before anybody is answered. The seal is asked at the start only: nothing that is
/// served needs it.
async fn readyz(services: web::Data<Services>, ending: web::Data<Ending>) -> HttpResponse {
    let not_ready = |why| HttpResponse::ServiceUnavailable().content_type("text/plain").body(why);
    if ending.is_announced() {
        return not_ready("not ready: stopping\n");
    }
    let broken = services.store.failed() || services.audit.failed();
    let answers =
        services.store.get::<crate::model::stop::Stops>(crate::model::stop::Stops::KEY).await.is_ok();
    if !answers || broken {
        return not_ready("not ready: storage\n");
    }
    match services.custody.can_write().await {
        Ok(true) => HttpResponse::Ok().content_type("text/plain").body("ready\n"),
        Ok(false) => not_ready("not ready: keyring\n"),
        Err(_) => not_ready("not ready: storage\n"),
    }
}

async fn metrics_text(metrics: web::Data<Metrics>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(metrics.text())
}

impl Running {
    /// Waits until the process must leave within a second, and says why: because what the disk holds can no longer be
    /// trusted to match what was promised, or because another process has this node's name. That can be waited for while
    /// [`Running::stop`] goes on.
    pub fn failed(&self) -> impl Future<Output = &'static str> + use<> {
        let storage = "storage has failed; leaving, so that the next start reads what the disk really holds";
        let (store, audit) = (self.services.store.clone(), self.services.audit.clone());
        let lost = self.claim.as_ref().map(Claim::lost);
        async move {
            let lost = async {
                match lost {
                    Some(lost) => lost.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = store.failed_signal() => storage,
                () = audit.failed_signal() => storage,
                () = lost => "another process has this node's name; leaving",
            }
        }
    }

    /// Says that it is about to end: `/readyz` is not ready any more, and each connection is closed after its answer. Load
    /// balancers that are given a few seconds then send nothing that could be lost.
    pub fn announce_end(&self) {
        self.ending.announce();
    }

    /// Stops taking requests, finishes those in flight, the refreshes under way and other work that outlasts its callers,
    /// writes the last signed head.
    pub async fn stop(self) {
        self.ending.announce();
        self.refuse_newcomers().await;
        // Each worker ends when it has nobody left to answer, and with it the connections to providers that it opened, though
        // another's call may be on one: so they end when no call is under way.
        let _ = tokio::time::timeout(LANDING, self.is_at_rest()).await;
        self.handle.stop(true).await;
        self.jobs.stop();
        if let Err(error) = self.services.agents.write_uses().await {
            tracing::debug!(error = %error, "the use of some credentials was not written down");
        }
        if !self.services.connections.drain(Duration::from_secs(25)).await {
            tracing::error!(
                "work was still under way after 25 s: the next start settles what refreshes left open"
            );
        }
        self.services.audit.record_soon(EventDraft::new(EventKind::Service, "service.stopped"));
        self.services.audit.close().await;
        if let Some(claim) = self.claim {
            claim.release().await;
        }
    }

    async fn is_at_rest(&self) {
        while self.ending.is_at_work() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.services.connections.landed(LANDING).await;
    }

    /// From here on new connections are refused, which whoever comes can tell from an answer that was lost. When a listener
    /// ends, the kernel resets whoever still waits to be accepted and may have sent a request: so it ends when nobody does.
    async fn refuse_newcomers(&self) {
        // From here on no more than one waits: who else comes is not heard, calls again after a second, and is refused then.
        if let Err(error) = SockRef::from(&self.entrance).listen(0) {
            tracing::debug!(%error, "the queue of the listener keeps its length");
        }
        for _ in 0..LOOKS {
            self.handle.pause().await;
            // That answers before the accepting thread has heard of it, which would take the end of its socket for an error.
            tokio::time::sleep(HEARD_OF).await;
            if !somebody_waits(&self.entrance) {
                break;
            }
            // Accepts them all, before it hears of the next pause.
            self.handle.resume().await;
        }
        if SockRef::from(&self.entrance).shutdown(Shutdown::Read).is_ok() {
            tokio::time::sleep(LAST_ARRIVALS).await;
        }
    }
}
