//! What `scripts/bench` compares with: a handler of the same framework in the same process that answers
//! JSON of the same size and does nothing else, without our middleware.

use std::net::{Ipv4Addr, SocketAddr};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde::Serialize;

/// The providers that are connected before anything is measured: one whose tokens stay at the gateway, and one
/// whose narrowed tokens may leave.
pub const CONNECTED: [&str; 2] = ["entra", "lark"];

/// A listener of its own, so that nothing of the broker is in its way.
pub struct Bare {
    /// Where the handler answers.
    pub url: String,
    handle: ServerHandle,
}

/// As many members as a token answer has, and as many bytes.
#[derive(Serialize)]
struct Body {
    access_token: String,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: u64,
    scope: &'static str,
    gateway: &'static str,
    grant_id: &'static str,
    authorization_details: [u8; 0],
}

impl Bare {
    /// Starts it with one worker.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start() -> std::io::Result<Self> {
        let server = HttpServer::new(|| App::new().route("/bench/bare", web::route().to(answer)))
            .workers(1)
            .disable_signals()
            .bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = server.addrs().first().copied();
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let port = address.map_or(0, |address| address.port());
        Ok(Self { url: format!("http://127.0.0.1:{port}/bench/bare"), handle })
    }

    /// Stops it.
    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}

async fn answer() -> HttpResponse {
    HttpResponse::Ok().json(Body {
        access_token: "0".repeat(512),
        issued_token_type: "urn:valetkey:token-type:gateway",
        token_type: "Bearer",
        expires_in: 300,
        scope: "Calendars.Read Files.Read Mail.Read User.Read",
        gateway: "http://127.0.0.1:10000/gateway/entra",
        grant_id: "gnt_00000000000000000000000000000000",
        authorization_details: [],
    })
}

/// The listeners' threads of this process that run by now, by their numbers: what is started later is
/// not among them.
pub fn listener_threads() -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let is_listener = |path: &std::path::Path| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("actix-server"))
    };
    tasks
        .flatten()
        .filter(|task| is_listener(&task.path()))
        .filter_map(|task| task.file_name().to_str()?.parse().ok())
        .collect()
}
