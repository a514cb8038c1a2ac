//! Keys that are fetched: from an agent's own URL, and from where an issuer's metadata say.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use valetkey::app::demo::Ground;

use crate::app::TestApp;
use crate::draft::{Draft, Signer, fresh};
use crate::own_keys::claims;

/// A small web server whose documents a test changes.
struct Published {
    documents: Arc<Mutex<Vec<(String, String)>>>,
    fetched: Arc<AtomicUsize>,
    url: String,
}

impl Published {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let documents: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let fetched = Arc::new(AtomicUsize::new(0));
        let (served, counted) = (documents.clone(), fetched.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap_or(0);
                let line = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                counted.fetch_add(1, Ordering::SeqCst);
                let found =
                    served.lock().unwrap().iter().find(|(at, _)| *at == path).map(|(_, body)| body.clone());
                let (status, body) = found.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        Self { documents, fetched, url }
    }

    fn publishes(&self, path: &str, document: &Value) {
        let mut documents = self.documents.lock().unwrap();
        documents.retain(|(at, _)| at != path);
        documents.push((path.to_owned(), document.to_string()));
    }

    fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }
}

async fn app_that_reads(published: &Published, origin: &str) -> TestApp {
    let origins = vec![(origin.to_owned(), published.url.clone())];
    TestApp::start_on(Ground { origins, ..Ground::default() }).await
}

fn set(signers: &[&Signer]) -> Value {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()})
}

#[actix_web::test]
async fn keys_at_a_url_are_kept_and_fetched_anew_for_a_key_that_is_not_known() {
    let published = Published::start();
    let app = app_that_reads(&published, "https://agents.example.com").await;
    let (first, second) = (Signer::new("ES256", "k1"), Signer::new("ES256", "k2"));
    published.publishes("/jwks.json", &set(&[&first]));
    let agent = app.agent_with(&json!({"keys": {"jwks_uri": "https://agents.example.com/jwks.json"}})).await;
    let shows =
        async |signer: &Signer| app.is_let_in(&Draft::new(signer, claims(&app, &agent), &agent)).await;
    assert!(shows(&first).await);
    assert!(shows(&first).await);
    assert_eq!(published.fetched(), 1, "kept");
    assert!(!shows(&second).await, "not published yet");
    assert_eq!(published.fetched(), 2, "looked for");
    for _ in 0..5 {
        assert!(!shows(&second).await);
    }
    assert_eq!(published.fetched(), 2, "not again within a minute, whoever asks");
    published.publishes("/jwks.json", &set(&[&first, &second]));
    app.pass(61);
    assert!(shows(&second).await, "rotated without telling us");
    assert_eq!(published.fetched(), 3);
    // A key that is withdrawn ends within the hour.
    published.publishes("/jwks.json", &set(&[&second]));
    app.pass(3601);
    assert!(!shows(&first).await);
    assert!(shows(&second).await);
    // While nothing can be fetched, what is known serves on.
    published.documents.lock().unwrap().clear();
    app.pass(3601);
    assert!(shows(&second).await);
    app.stops().await;
}

#[actix_web::test]
async fn an_issuers_metadata_say_where_its_keys_are_and_speak_for_nobody_else() {
    let published = Published::start();
    let issuer = "https://cluster.example.com";
    let app = app_that_reads(&published, issuer).await;
    let signer = Signer::new("RS256", "k1");
    let source = json!({"name": "cluster", "preset": "kubernetes", "issuer": issuer, "audience": "https://valetkey.example.com"});
    let source = app.trusts(&source).await;
    let pins = json!({"namespace": "agents", "service_account": "mail"});
    let agent = app.agent_with(&json!({"workloads": [{"trust_source": source, "pins": pins}]})).await;
    let shows = async || {
        let now = app.now();
        let claims = json!({"iss": issuer, "aud": ["https://valetkey.example.com"], "iat": now, "exp": now + 600, "jti": fresh(),
            "sub": "system:serviceaccount:agents:mail",
            "kubernetes.io": {"namespace": "agents", "serviceaccount": {"name": "mail"}}});
        app.is_let_in(&Draft::new(&signer, claims, &agent)).await
    };
    assert!(!shows().await, "no metadata");
    assert!(app.last_reason(&agent).await.contains("cannot be fetched"));
    published.publishes("/keys", &set(&[&signer]));
    let metadata = "/.well-known/openid-configuration";
    for (what, document) in [
        (
            "another issuer",
            json!({"issuer": "https://mallory.elsewhere.example", "jwks_uri": format!("{issuer}/keys")}),
        ),
        ("keys over plain http", json!({"issuer": issuer, "jwks_uri": "http://cluster.example.com/keys"})),
        ("keys on this machine", json!({"issuer": issuer, "jwks_uri": "https://127.0.0.1/keys"})),
        ("no keys", json!({"issuer": issuer})),
    ] {
        published.publishes(metadata, &document);
        app.pass(6);
        assert!(!shows().await, "{what}");
    }
    published.publishes(
        metadata,
        &json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys"), "authorization_endpoint": "urn:x"}),
    );
    app.pass(6);
    assert!(shows().await);
    app.stops().await;
}
