//! The outbound client against a server on this machine, reached through a rewritten origin.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;
use valetkey::kernel::secret::SecretBytes;
use valetkey::net::http::{HeaderName, HeaderValue, Method};
use valetkey::net::{Call, CallBody, HttpClient, NetError, NetSettings, SettingsError};

async fn echo(request: HttpRequest, body: Bytes) -> HttpResponse {
    let length = request.headers().get("content-length").map(|v| v.to_str().unwrap().to_owned());
    let chunked = request.headers().contains_key("transfer-encoding");
    HttpResponse::Ok().insert_header(("x-seen", request.uri().to_string())).body(format!(
        "{} {length:?} {chunked} {}",
        request.method(),
        String::from_utf8_lossy(&body)
    ))
}

/// A server, and a client that believes it to be `https://provider.example`.
async fn provider(hits: Arc<AtomicUsize>) -> HttpClient {
    let count = web::Data::from(hits);
    let server = HttpServer::new(move || {
        let big = || async { HttpResponse::Ok().body(vec![b'x'; 5000]) };
        let chunked = || async {
            let chunks = futures_util::stream::iter(
                (0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 100]))),
            );
            HttpResponse::Ok().streaming(chunks)
        };
        let slow = || async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            HttpResponse::Ok().body("late")
        };
        let moved = |count: web::Data<AtomicUsize>| async move {
            count.fetch_add(1, Ordering::SeqCst);
            HttpResponse::TemporaryRedirect().insert_header(("location", "/base/echo")).body("moved")
        };
        App::new()
            .app_data(count.clone())
            .route("/base/echo", web::route().to(echo))
            .route("/base/big", web::get().to(big))
            .route("/base/chunked", web::get().to(chunked))
            .route("/base/slow", web::post().to(slow))
            .route("/base/moved", web::get().to(moved))
    })
    .workers(1)
    .bind(("127.0.0.1", 0))
    .unwrap();
    let address = server.addrs()[0];
    tokio::spawn(server.run());
    client_for(address)
}

fn client_for(address: SocketAddr) -> HttpClient {
    let target = format!("http://localhost:{}/base", address.port());
    let origins = vec![("https://provider.example".to_owned(), target)];
    HttpClient::new(NetSettings { origins, ..NetSettings::default() }).unwrap()
}

fn call(path: &str) -> Call {
    Call::get(Url::parse(&format!("https://provider.example{path}")).unwrap())
}

fn post(path: &str, body: &str) -> Call {
    let secret = SecretBytes::new(body.as_bytes().to_vec());
    let mut call = call(path).body(CallBody::Secret(secret));
    call.method = Method::POST;
    call
}

#[actix_web::test]
async fn a_rewritten_origin_is_dialled_with_the_same_path_and_query() {
    let client = provider(Arc::default()).await;
    let answer = client.fetch(call("/echo?a=%2F&b='")).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-seen"), Some("/base/echo?a=%2F&b=%27"));
    let browser = client.browser_url(&Url::parse("https://provider.example/x?y#z").unwrap());
    assert!(browser.as_str().starts_with("http://localhost:") && browser.as_str().ends_with("/base/x?y#z"));
    let other = Url::parse("https://other.example/x").unwrap();
    assert_eq!(client.browser_url(&other), other);
}

#[actix_web::test]
async fn a_secret_body_is_sent_with_its_length_and_not_chunked() {
    let client = provider(Arc::default()).await;
    let answer = client.fetch(post("/echo", "a=1")).await.unwrap();
    assert_eq!(answer.body.expose().as_slice(), b"POST Some(\"3\") false a=1");
}

/// Answers one request, and says whether the client closes the connection within that time.
async fn closed_after_answer(listener: TcpListener, within: Duration) -> bool {
    let (mut connection, _) = listener.accept().await.unwrap();
    let mut read = [0; 4096];
    assert!(connection.read(&mut read).await.unwrap() > 0);
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    let end = tokio::time::timeout(within, connection.read(&mut read)).await;
    matches!(end, Ok(Ok(0)))
}

#[actix_web::test]
async fn a_call_alone_leaves_no_connection_behind() {
    for alone in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = client_for(listener.local_addr().unwrap());
        let mut call = call("/token");
        call.alone = alone;
        // One that is to be closed may take as long as a busy machine does.
        let within = if alone { Duration::from_secs(10) } else { Duration::from_millis(500) };
        let (closed, answer) = tokio::join!(closed_after_answer(listener, within), client.fetch(call));
        assert_eq!(answer.unwrap().body.expose().as_slice(), b"ok");
        assert_eq!(closed, alone);
    }
}

#[actix_web::test]
async fn redirects_are_not_followed() {
    let hits = Arc::new(AtomicUsize::new(0));
    let client = provider(Arc::clone(&hits)).await;
    let header = HeaderValue::from_static("Bearer canary");
    let answer =
        client.fetch(call("/moved").header(HeaderName::from_static("authorization"), header)).await.unwrap();
    assert_eq!(answer.status, 307);
    assert_eq!(answer.header("location"), Some("/base/echo"));
    assert_eq!(hits.load(Ordering::SeqCst), 1);
}

#[actix_web::test]
async fn answers_are_cut_at_the_size_limit_announced_or_not() {
    let client = provider(Arc::default()).await;
    for path in ["/big", "/chunked"] {
        let mut small = call(path);
        small.max_body = 4999;
        let error = client.fetch(small).await.unwrap_err();
        assert_eq!(error, NetError::TooLarge, "{path}");
        assert!(error.may_have_been_delivered());
    }
    let mut enough = call("/chunked");
    enough.max_body = 10_000;
    assert_eq!(client.fetch(enough).await.unwrap().body.expose().len(), 10_000);
    let mut streamed = call("/chunked");
    streamed.max_body = 4999;
    let chunks: Vec<_> = client.open(streamed).await.unwrap().collect().await;
    assert!(chunks.iter().rev().skip(1).all(Result::is_ok));
    assert_eq!(chunks.last().unwrap().as_ref().unwrap_err(), &NetError::TooLarge);
}

#[actix_web::test]
async fn a_slow_provider_is_given_up_and_counts_as_reached() {
    let client = provider(Arc::default()).await;
    let error = client.fetch(post("/slow", "x").deadline(Duration::from_millis(200))).await.unwrap_err();
    assert_eq!(error, NetError::TooSlow { sent: true });
}

#[actix_web::test]
async fn a_provider_that_is_down_has_seen_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client_for(listener.local_addr().unwrap());
    drop(listener);
    let error = client.fetch(post("/token", "x")).await.unwrap_err();
    assert_eq!(error, NetError::NotSent);
    assert!(!error.may_have_been_delivered());
}

/// Answers the first connection with raw bytes after the request's head has come, then closes it.
async fn raw_provider(answer: &'static [u8]) -> HttpClient {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client_for(listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut seen = [0; 4096];
            let _ = socket.read(&mut seen).await;
            let _ = socket.write_all(answer).await;
        }
    });
    client
}

#[actix_web::test]
async fn an_answer_that_breaks_off_may_have_been_delivered() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"access_",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ] {
        let client = raw_provider(answer).await;
        let error = client.fetch(post("/token", "x")).await.unwrap_err();
        assert_eq!(error, NetError::AnswerLost, "{:?}", String::from_utf8_lossy(answer));
    }
}

#[actix_web::test]
async fn inside_addresses_are_refused_before_anything_is_sent() {
    let client = HttpClient::new(NetSettings::default()).unwrap();
    for url in [
        "https://localhost/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://[::1]/",
        "http://example.com/",
    ] {
        let error = client.fetch(Call::get(Url::parse(url).unwrap())).await.unwrap_err();
        assert!(matches!(error, NetError::Refused { .. }), "{url}: {error}");
    }
}

#[actix_web::test]
async fn through_a_proxy_only_listed_hosts_are_dialled() {
    // A proxy that refuses every CONNECT, and counts them.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hits = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&hits);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let length = socket.read(&mut head).await.unwrap_or(0);
            assert!(head[..length].starts_with(b"CONNECT listed.example:443 "));
            seen.fetch_add(1, Ordering::SeqCst);
            let _ = socket.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let proxy = Some(Url::parse(&format!("http://localhost:{port}")).unwrap());
    let client = HttpClient::new(NetSettings { proxy, ..NetSettings::default() }).unwrap();
    client.allow_hosts(["listed.example".to_owned()]);
    let get = |url: &str| client.fetch(Call::get(Url::parse(url).unwrap()));
    assert!(matches!(get("https://unlisted.example/").await, Err(NetError::Refused { .. })));
    assert!(matches!(get("http://listed.example/").await, Err(NetError::Refused { .. })));
    assert_eq!(hits.load(Ordering::SeqCst), 0);
    assert_eq!(get("https://listed.example/").await.unwrap_err(), NetError::NotSent);
    assert_eq!(hits.load(Ordering::SeqCst), 1);
}

#[test]
fn unusable_settings_are_named() {
    let with_ca = |pem: &[u8]| NetSettings { extra_ca_pem: vec![pem.to_vec()], ..NetSettings::default() };
    assert!(matches!(HttpClient::new(with_ca(b"rubbish")), Err(SettingsError::Certificate(1))));
    let proxy = Some(Url::parse("socks5://localhost:1").unwrap());
    assert!(matches!(
        HttpClient::new(NetSettings { proxy, ..NetSettings::default() }),
        Err(SettingsError::Proxy)
    ));
}

/// A proxy that answers every CONNECT itself, with a certificate for `name` by its own authority.
async fn impostor(name: &str, expired: bool) -> (Url, String) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    valetkey::net::install_crypto();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let certificate = params.signed_by(&key, &authority).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = socket.read(&mut head).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            if let Ok(mut tls) = acceptor.accept(socket).await {
                let _ = tls.read(&mut head).await;
                let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        }
    });
    (Url::parse(&format!("http://127.0.0.1:{port}")).unwrap(), authority.pem())
}

#[actix_web::test]
async fn only_certificates_of_trusted_authorities_for_the_right_host_are_taken() {
    for (name, expired, is_trusted, expected) in [
        ("id.example.com", false, true, Ok(200)),
        ("id.example.com", false, false, Err(NetError::Tls)),
        ("other.example.com", false, true, Err(NetError::Tls)),
        ("id.example.com", true, true, Err(NetError::Tls)),
    ] {
        let (proxy, authority) = impostor(name, expired).await;
        let extra_ca_pem = if is_trusted { vec![authority.into_bytes()] } else { Vec::new() };
        let settings = NetSettings { proxy: Some(proxy), extra_ca_pem, ..NetSettings::default() };
        let client = HttpClient::new(settings).unwrap();
        client.allow_hosts(["id.example.com".to_owned()]);
        let answer = client.fetch(Call::get(Url::parse("https://id.example.com/x").unwrap())).await;
        assert_eq!(answer.map(|answer| answer.status), expected, "{name} {expired} {is_trusted}");
    }
}
