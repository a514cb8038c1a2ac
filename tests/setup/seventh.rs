//! A seventh provider: one file in a folder that the settings name, and nothing else. The vendor is played
//! by a small server here, which can also answer badly.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::json;
use url::{Url, form_urlencoded};

use crate::agent::Agent;
use crate::browser::{Browser, Page};
use crate::deployment::{Deployment, Sandbox};
use crate::journey::{ALICE, first_admin, sign_in};

const TEMPLATE: &str = include_str!("gitlab.toml");
const HOST: &str = "https://gitlab.example.com";
const SECRET: &str = "gitlab-secret";

/// What the vendor will answer at its token endpoint instead of a token: content type and body.
type Script = Arc<Mutex<VecDeque<(&'static str, &'static str)>>>;

struct Vendor {
    origin: String,
    script: Script,
    redeemed: Arc<Mutex<Vec<String>>>,
}

impl Vendor {
    /// A server on a thread of its own, so that it answers while a test waits for a command.
    fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", socket.local_addr().unwrap());
        let (script, redeemed) = (Script::default(), Arc::new(Mutex::new(Vec::new())));
        let data = (web::Data::new(Arc::clone(&script)), web::Data::new(Arc::clone(&redeemed)));
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                HttpServer::new(move || {
                    App::new()
                        .app_data(data.0.clone())
                        .app_data(data.1.clone())
                        .route("/oauth/authorize", web::get().to(authorize))
                        .route("/oauth/token", web::post().to(token))
                        .route("/api/v4/user", web::get().to(user))
                        .route("/api/v4/projects", web::get().to(projects))
                })
                .workers(1)
                .disable_signals()
                .listen(socket)
                .unwrap()
                .run()
                .await
                .unwrap();
            });
        });
        Self { origin, script, redeemed }
    }

    fn answers_next(&self, content_type: &'static str, body: &'static str) {
        self.script.lock().unwrap().push_back((content_type, body));
    }
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}

fn find<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

/// The person has agreed long ago, so the browser comes straight back.
async fn authorize(request: HttpRequest) -> HttpResponse {
    let query = pairs(request.query_string().as_bytes());
    assert_eq!(find(&query, "code_challenge_method"), Some("S256"));
    assert!(find(&query, "scope").unwrap().split(' ').any(|scope| scope == "read_user"));
    let mut back = Url::parse(find(&query, "redirect_uri").unwrap()).unwrap();
    back.query_pairs_mut().append_pair("code", "code-1").append_pair("state", find(&query, "state").unwrap());
    HttpResponse::Found().insert_header(("location", back.as_str())).finish()
}

async fn token(
    request: HttpRequest,
    body: web::Bytes,
    script: web::Data<Script>,
    redeemed: web::Data<Arc<Mutex<Vec<String>>>>,
) -> HttpResponse {
    let form = pairs(&body);
    let basic = request.headers().contains_key("authorization");
    assert!(basic || find(&form, "client_secret") == Some(SECRET), "the client shows its secret");
    redeemed.lock().unwrap().push(find(&form, "grant_type").unwrap().to_owned());
    if let Some((content_type, body)) = script.lock().unwrap().pop_front() {
        return HttpResponse::Ok().content_type(content_type).body(body);
    }
    // No `expires_in`: older servers leave it out.
    HttpResponse::Ok().json(json!({
        "access_token": "gitlab-access", "token_type": "Bearer", "refresh_token": "gitlab-refresh",
        "scope": "read_user read_api",
    }))
}

fn is_signed_in(request: &HttpRequest) -> bool {
    request.headers().get("authorization").is_some_and(|value| value == "Bearer gitlab-access")
}

async fn user(request: HttpRequest) -> HttpResponse {
    assert!(is_signed_in(&request));
    HttpResponse::Ok().json(json!({ "id": 42, "username": "alice", "email": ALICE }))
}

async fn projects(request: HttpRequest) -> HttpResponse {
    if !is_signed_in(&request) {
        return HttpResponse::Unauthorized().finish();
    }
    HttpResponse::Ok().json(json!([{ "id": 7, "name": "keys" }]))
}

fn deployment(sandbox: &Sandbox, vendor: &Vendor) -> Deployment {
    let deployment = Deployment::init();
    deployment.write("templates/gitlab.toml", TEMPLATE);
    let okta = format!("{}/okta/org", sandbox.text("sandbox"));
    deployment.edit(|text| {
        let text = text.replace("# provider = \"my-sign-in\"", "provider = \"okta\"");
        let text = text.replacen("[root_key]", "allow_sandbox = true\n[root_key]", 1);
        format!(
            "{text}\n[templates]\nfolder = \"templates\"\n[outbound.origins]\n\
             \"https://example.okta.com\" = \"{okta}\"\n\"{HOST}\" = \"{}\"\n",
            vendor.origin
        )
    });
    deployment
}

fn configure(deployment: &Deployment, sandbox: &Sandbox) {
    for (provider, id, secret, issuer) in [
        ("okta", sandbox.text("client_id"), sandbox.text("client_secret"), "issuer=https://example.okta.com"),
        ("gitlab", "gitlab-app", SECRET, "issuer=https://gitlab.example.com"),
    ] {
        let file = deployment.write("secret", secret);
        let args = ["provider", "add", provider, "--client-id", id, "--client-secret-file", &file];
        deployment.admin(&[&args[..], &["--company", issuer]].concat()).ok();
    }
}

/// Opens the question and agrees; the page at which that ends.
async fn agree(browser: &mut Browser, uri: &str) -> Page {
    let page = browser.open(uri).await;
    let form = page.form_with("decision").unwrap_or_else(|| panic!("no question: {}", page.title()));
    assert!(page.html.contains("GitLab") && page.html.contains("Read projects"));
    let ticked: Vec<&str> =
        form.boxes.iter().filter(|(.., ticked)| *ticked).map(|(_, value, _)| value.as_str()).collect();
    assert_eq!(ticked, ["read_api"], "what writes starts unticked");
    browser.submit(&page, &form, &[("decision", "agree"), ("scope", "read_api")]).await
}

#[tokio::test]
async fn a_file_alone_adds_a_provider_up_to_calls_through_the_gateway() {
    let (sandbox, vendor) = (Sandbox::start(), Vendor::start());
    let mut deployment = deployment(&sandbox, &vendor);
    deployment.serve();
    first_admin(&mut deployment).await;
    configure(&deployment, &sandbox);
    let mut browser = Browser::new();
    let home = sign_in(&deployment, &mut browser, &sandbox).await;
    assert!(home.text().to_lowercase().contains("sandbox"), "a banner says that origins are rewritten");

    let mut args = vec!["agent", "create", "--kind", "personal", "--name", "Helper", "--purpose", "Helps."];
    args.extend(["--owner", ALICE, "--ceiling", "gitlab=read_api api"]);
    args.extend(["--default-scopes", "gitlab=read_api api", "--json"]);
    let made = deployment.admin(&args).json();
    let (id, secret) = (made["id"].as_str().unwrap(), made["client_secret"].as_str().unwrap());
    let agent = Agent::new(&deployment.issuer, id, secret);

    let asked = agent.exchange(ALICE, "gitlab").await;
    assert_eq!(asked.error().1, "interaction_required", "{}", asked.body);
    let uri = asked.text("interaction_uri");
    for (content_type, body) in [
        ("text/html", "<!doctype html><h1>Back soon</h1>"),
        ("application/json", "{\"access_token\": \"gitlab-acc"),
        ("application/json", "{\"access_token\": 42, \"token_type\": \"Bearer\"}"),
        ("application/json", "{\"access_token\": \"gitlab-access\", \"token_type\": \"mac\"}"),
        ("application/json", "[]"),
        ("application/json", ""),
    ] {
        vendor.answers_next(content_type, body);
        let page = agree(&mut browser, &uri).await;
        assert_eq!(page.status, 502, "{body}: {}", page.title());
        let words = page.text();
        for inside in ["gitlab-acc", "code-1", SECRET, "serde", "src/", "panick"] {
            assert!(!words.contains(inside), "{body}: the page says `{inside}`");
        }
        assert_eq!(agent.poll(&asked.text("auth_req_id")).await.error().0, 400, "nothing was granted");
    }
    let page = agree(&mut browser, &uri).await;
    assert_eq!((page.status, page.url.path().starts_with("/i/int_")), (200, true), "{}", page.title());
    assert_eq!(vendor.redeemed.lock().unwrap().len(), 7, "each code was redeemed once");

    // The file says nothing of classes of data: an agent that is restricted to some gets none of it.
    let mut restricted = args.clone();
    restricted.extend(["--data-class", "files"]);
    let made = deployment.admin(&restricted).json();
    let (id, secret) = (made["id"].as_str().unwrap(), made["client_secret"].as_str().unwrap());
    let restricted = Agent::new(&deployment.issuer, id, secret).exchange(ALICE, "gitlab").await;
    assert_eq!(restricted.error(), (400, "invalid_scope".to_owned()), "{}", restricted.body);

    let got = agent.exchange(ALICE, "gitlab").await;
    assert_eq!((got.status, got.text("scope").as_str()), (200, "read_api"), "{}", got.body);
    let token = got.text("access_token");
    let call = agent.call(&token, "gitlab", ("GET", "rest/api/v4/projects?per_page=1")).await;
    assert_eq!((call.status, call.json()[0]["name"].as_str()), (200, Some("keys")), "{}", call.body);
    let write = agent.call(&token, "gitlab", ("POST", "rest/api/v4/projects/7/issues")).await;
    assert_eq!(write.error(), (403, "insufficient_scope".to_owned()));
    let nowhere = agent.call(&token, "gitlab", ("GET", "rest/api/v4/version")).await;
    assert_eq!(nowhere.error(), (403, "route_not_allowed".to_owned()));
    assert_eq!(deployment.terminate(), Some(0));
}
