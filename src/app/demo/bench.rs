//! What `scripts/bench` compares with: handlers of the same framework in the same process that answer JSON of
//! the same size and do nothing else, without our middleware. One takes a `GET`, the other reads the form of a
//! token exchange.

use std::net::{Ipv4Addr, SocketAddr};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize};

/// The providers that are connected before anything is measured: one whose tokens stay at the gateway, and one
/// whose narrowed tokens may leave.
pub const CONNECTED: [&str; 2] = ["entra", "lark"];

/// The provider whose API a plain reverse proxy stands in front of, beside the gateway.
pub const MEASURED: &str = "entra";

/// A listener of its own, so that nothing of the broker is in its way.
pub struct Bare {
    /// Where the handler answers.
    pub url: String,
    /// Where the one that reads a form answers.
    pub form_url: String,
    handle: ServerHandle,
}

/// What a token exchange of a personal agent holds.
#[derive(Deserialize)]
struct Form {
    grant_type: String,
    subject_token: String,
    subject_token_type: String,
    audience: String,
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
        let app = || {
            App::new()
                .route("/bench/bare", web::route().to(answer))
                .route("/bench/form", web::post().to(answer_form))
        };
        let server = HttpServer::new(app)
            .workers(1)
            .disable_signals()
            .bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = server.addrs().first().copied();
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let port = address.map_or(0, |address| address.port());
        let at = |name: &str| format!("http://127.0.0.1:{port}/bench/{name}");
        Ok(Self { url: at("bare"), form_url: at("form"), handle })
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

async fn answer_form(form: web::Form<Form>) -> HttpResponse {
    let Form { grant_type, subject_token, subject_token_type, audience } = form.into_inner();
    if [grant_type, subject_token, subject_token_type, audience].iter().any(String::is_empty) {
        return HttpResponse::BadRequest().finish();
    }
    answer().await
}

/// The listeners' threads of this process that run by now, by their numbers: what is started later is
/// not among them.
pub fn listener_threads() -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let is_listener = |path: &std::path::Path| {
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        // The one that accepts, and the ones that answer.
        name.starts_with("actix-server") || name.starts_with("actix-rt")
    };
    tasks
        .flatten()
        .filter(|task| is_listener(&task.path()))
        .filter_map(|task| task.file_name().to_str()?.parse().ok())
        .collect()
}
