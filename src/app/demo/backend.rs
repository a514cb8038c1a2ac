//! The sample internal back end: a personnel service that trusts delegation JWTs. It filters rows by the
//! user in the token: an employee's agent sees that employee's own leave and salary, nobody else's.

mod holder;
mod token;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use url::Url;

use crate::app::demo::backend::holder::Holders;
use crate::app::demo::backend::token::{Caller, Checker};
use crate::app::demo::people::{ALICE, BOB};
use crate::kernel::clock::{Clock, Timestamp};

/// The identifier of its audience.
pub const AUDIENCE: &str = "https://people.example.com";
/// The scopes that it checks.
pub const SCOPES: &str = "leave.read salary.read headcount.read";

const REMEMBERED: usize = 50;

/// A running back end.
pub struct Backend {
    /// Its base URL.
    pub url: String,
    handle: ServerHandle,
}

/// One row of the service's table.
struct Row {
    email: &'static str,
    days_of_leave: u32,
    salary: u32,
}

const ROWS: [Row; 2] = [
    Row { email: ALICE, days_of_leave: 12, salary: 62_000 },
    Row { email: BOB, days_of_leave: 7, salary: 58_000 },
];

/// What the service keeps.
struct Service {
    checker: Checker,
    holders: Holders,
    clock: Arc<dyn Clock>,
    seen: Mutex<VecDeque<Seen>>,
}

/// One call, for the page.
struct Seen {
    at: Timestamp,
    path: String,
    who: String,
    answer: String,
}

impl Backend {
    /// Stops it.
    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}

/// Starts it.
///
/// # Errors
/// When the address is taken.
pub fn start(listen: SocketAddr, issuer: &Url, clock: Arc<dyn Clock>) -> anyhow::Result<Backend> {
    let checker = Checker::new(issuer, AUDIENCE, Arc::clone(&clock))?;
    let socket = std::net::TcpListener::bind(listen)?;
    let url = format!("http://{}", socket.local_addr()?);
    let holders = Holders::new(Url::parse(&url)?, Arc::clone(&clock));
    let service = web::Data::new(Service { checker, holders, clock, seen: Mutex::default() });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(service.clone())
            .route("/healthz", web::get().to(|| async { HttpResponse::Ok().body("ok\n") }))
            .route("/", web::get().to(page))
            .route("/leave", web::get().to(leave))
            .route("/salary", web::get().to(salary))
            .route("/headcount", web::get().to(headcount))
            .default_service(web::to(refuse_all))
    })
    .workers(1)
    .disable_signals()
    .listen(socket)?
    .run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    Ok(Backend { url, handle })
}

async fn leave(request: HttpRequest, service: web::Data<Service>) -> HttpResponse {
    own_rows(&request, &service, "leave.read", |row| json!({ "user": row.email, "days": row.days_of_leave }))
        .await
}

async fn salary(request: HttpRequest, service: web::Data<Service>) -> HttpResponse {
    own_rows(&request, &service, "salary.read", |row| json!({ "user": row.email, "salary": row.salary }))
        .await
}

/// What an agent that acts as itself may know: a number, no names.
async fn headcount(request: HttpRequest, service: web::Data<Service>) -> HttpResponse {
    match service.admit(&request, "headcount.read").await {
        Ok(caller) => {
            service.remember(&request, Some(&caller), "1 number");
            HttpResponse::Ok().json(json!({ "headcount": ROWS.len() }))
        }
        Err(refused) => refused,
    }
}

async fn own_rows(
    request: &HttpRequest,
    service: &Service,
    scope: &str,
    view: impl Fn(&Row) -> Value,
) -> HttpResponse {
    match service.admit(request, scope).await {
        Ok(caller) => {
            let theirs = |row: &&Row| caller.email.as_deref() == Some(row.email);
            let rows: Vec<Value> = ROWS.iter().filter(theirs).map(view).collect();
            service.remember(request, Some(&caller), &format!("{} of {} rows", rows.len(), ROWS.len()));
            HttpResponse::Ok().json(json!({ "rows": rows }))
        }
        Err(refused) => refused,
    }
}

async fn refuse_all(request: HttpRequest, service: web::Data<Service>) -> HttpResponse {
    match service.admit(&request, "").await {
        Ok(_) => HttpResponse::NotFound().json(json!({ "error": "not_found" })),
        Err(refused) => refused,
    }
}

impl Service {
    /// The caller, if the token is good and holds the scope; no scope is needed for "".
    async fn admit(&self, request: &HttpRequest, scope: &str) -> Result<Caller, HttpResponse> {
        let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let Some((scheme, token)) = header.and_then(|header| header.split_once(' ')) else {
            return Err(self.refuse(
                request,
                None,
                401,
                "invalid_token",
                "send a delegation token of this audience",
            ));
        };
        let caller = match self.checker.check(token).await {
            Ok(caller) => caller,
            Err(why) => return Err(self.refuse(request, None, 401, "invalid_token", why)),
        };
        if let Err((error, why)) = self.holders.check(request, scheme, token, caller.key.as_deref()) {
            return Err(self.refuse(request, Some(&caller), 401, error, &why));
        }
        if scope.is_empty() || caller.scopes.iter().any(|held| held == scope) {
            Ok(caller)
        } else {
            let words = format!("this call needs the scope {scope}");
            Err(self.refuse(request, Some(&caller), 403, "insufficient_scope", &words))
        }
    }

    fn refuse(
        &self,
        request: &HttpRequest,
        caller: Option<&Caller>,
        status: u16,
        error: &str,
        words: &str,
    ) -> HttpResponse {
        self.remember(request, caller, &format!("refused: {words}"));
        let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
        let is_bound = error == holder::BAD_PROOF || caller.is_some_and(|caller| caller.key.is_some());
        let scheme = if is_bound { "DPoP" } else { "Bearer" };
        HttpResponse::build(status)
            .insert_header(("www-authenticate", format!("{scheme} realm=\"people\", error=\"{error}\"")))
            .json(json!({ "error": error, "error_description": words }))
    }

    fn remember(&self, request: &HttpRequest, caller: Option<&Caller>, answer: &str) {
        let who = match caller {
            None => "nobody".to_owned(),
            Some(Caller { agent, email: None, .. }) => format!("{agent} as itself"),
            Some(Caller { agent, email: Some(email), groups, .. }) => {
                format!("{agent} for {email} ({})", groups.join(", "))
            }
        };
        let path = crate::kernel::text::clean(request.path(), 200);
        let seen = Seen { at: self.clock.now(), path, who, answer: answer.to_owned() };
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_front(seen);
        all.truncate(REMEMBERED);
    }
}

/// What the service has seen, for whoever watches the demo.
async fn page(service: web::Data<Service>) -> HttpResponse {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let all = service.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let rows: String = all
        .iter()
        .map(|seen| {
            format!(
                "<tr><td>{}</td><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                seen.at.rfc3339(),
                escape(&seen.path),
                escape(&seen.who),
                escape(&seen.answer)
            )
        })
        .collect();
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"3\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>People service</title>\
         <style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui;max-width:70rem;margin:2rem auto;\
         padding:0 1rem}}td,th{{text-align:left;padding:.3rem .8rem;border-bottom:1px solid #8884}}</style>\
         <h1>People service</h1><p>A sample internal back end. It answers delegation tokens for \
         <code>{AUDIENCE}</code> and shows each agent the rows of its user only.</p>\
         <table><tr><th>When</th><th>Call</th><th>Who</th><th>Answer</th></tr>{rows}</table>"
    );
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header(("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'"))
        .body(body)
}
