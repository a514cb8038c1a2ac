//! The sample internal back end. It serves nothing without a delegation token meant for it, and this
//! deployment has registered no audience, so every call is refused: what an internal service should do.

use std::net::SocketAddr;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};

/// A running back end.
pub struct Backend {
    /// Its base URL.
    pub url: String,
    handle: ServerHandle,
}

impl Backend {
    /// Stops it.
    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}

/// Starts it.
pub fn start(listen: SocketAddr) -> std::io::Result<Backend> {
    let server = HttpServer::new(|| {
        App::new()
            .route("/healthz", web::get().to(|| async { HttpResponse::Ok().body("ok\n") }))
            .default_service(web::to(refuse))
    })
    .workers(1)
    .disable_signals()
    .bind(listen)?;
    let address = server.addrs().first().copied().unwrap_or(listen);
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    Ok(Backend { url: format!("http://{address}"), handle })
}

async fn refuse() -> HttpResponse {
    HttpResponse::Unauthorized()
        .insert_header(("www-authenticate", "Bearer realm=\"backend\", error=\"invalid_token\""))
        .json(serde_json::json!({
            "error": "invalid_token",
            "error_description": "this back end accepts delegation tokens of its own audience only",
        }))
}
