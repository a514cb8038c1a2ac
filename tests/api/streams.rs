//! HTTP as a proxy passes it: bodies in both directions, methods without bodies, parts, redirects, and what
//! happens when one side goes away.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::TestApp;
use crate::vendor::{Then, Vendor};
use crate::wire::{self, refused};

/// A call whose answer nothing looks into: a list of mail is read whole, for its links to further pages.
pub const MAIL: &str = "entra/graph/v1.0/me/messages/AAMk1/attachments";
pub const FILE: &str = "entra/graph/v1.0/me/drive/items/1/content";
pub const SEND: &str = "entra/graph/v1.0/me/sendMail";
pub const CLOSE: &str = "Connection: close\r\n";

pub fn head(app: &TestApp, token: &str, request_line: &str, more: &str) -> String {
    let host = app.demo.issuer.authority().to_owned();
    format!("{request_line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
}

/// Reads until the text has come or the connection ends.
pub async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while !String::from_utf8_lossy(&all).contains(wanted) {
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut buffer)).await;
        match read.expect("nothing came") {
            Ok(0) | Err(_) => break,
            Ok(read) => all.extend_from_slice(&buffer[..read]),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[actix_web::test]
async fn a_head_keeps_its_length_and_parts_keep_their_headers() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Read").await.token();
    vendor.answers(&format!("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: \"a\"\r\n{CLOSE}\r\n"));
    let answer = app.calls(&token, "HEAD", MAIL).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("12345")));
    assert_eq!((answer.header("etag"), answer.body.len()), (Some("\"a\""), 0));
    assert!(answer.header("x-valetkey-event").is_some());
    for (asked, status, passed, body) in [
        ("Range: bytes=0-3", "206 Partial Content", "Content-Range: bytes 0-3/10", "abcd"),
        ("If-None-Match: \"a\"", "304 Not Modified", "ETag: \"a\"", ""),
        ("If-Modified-Since: Sat, 01 Nov 2026 00:00:00 GMT", "304 Not Modified", "Last-Modified: x", ""),
        ("If-Match: \"b\"", "412 Precondition Failed", "ETag: \"a\"", "{}"),
        ("Range: bytes=50-", "416 Range Not Satisfiable", "Content-Range: bytes */10", "{}"),
    ] {
        let length = if status.starts_with("304") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        vendor.answers(&format!(
            "HTTP/1.1 {status}\r\n{length}Accept-Ranges: bytes\r\n{passed}\r\n{CLOSE}\r\n{body}"
        ));
        let (name, value) = asked.split_once(": ").unwrap();
        let answer = app.calls_with(&token, "GET", MAIL, &[(name, value)], b"").await;
        assert_eq!(answer.status, status[..3].parse::<u16>().unwrap(), "{asked}");
        let (name, value) = passed.split_once(": ").unwrap();
        assert_eq!(answer.header(name), Some(value), "{asked}: {}", answer.head);
        assert_eq!((answer.header("accept-ranges"), answer.body_text().as_str()), (Some("bytes"), body));
        assert!(vendor.seen().last().unwrap().head().contains(&asked.to_ascii_lowercase()), "{asked}");
    }
    app.stops().await;
}

#[actix_web::test]
async fn rate_limits_pass_and_trailers_early_hints_and_cookies_do_not() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Read").await.token();
    let limits = [
        ("retry-after", "3"),
        ("retry-after-ms", "2500"),
        ("x-ms-retry-after-ms", "2500"),
        ("x-ratelimit-remaining", "0"),
        ("x-rate-limit-reset", "1"),
        ("ratelimit-policy", "10;w=1"),
    ];
    let lines: String = limits.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    vendor.answers(&format!(
        "HTTP/1.1 103 Early Hints\r\nLink: <https://hint.example>\r\n\r\n\
         HTTP/1.1 429 Too Many Requests\r\n{lines}Set-Cookie: a=b\r\nX-Internal: canary\r\nTrailer: X-After\r\n\
         Transfer-Encoding: chunked\r\n{CLOSE}\r\n2\r\n{{}}\r\n0\r\nX-After: canary\r\n\r\n"
    ));
    let request = head(&app, &token, &format!("GET /gateway/{MAIL}"), CLOSE);
    let mut stream = wire::connect(&app.demo.issuer).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let whole = read_until(&mut stream, "\0").await.to_ascii_lowercase();
    assert!(whole.starts_with("http/1.1 429"), "{whole}");
    for (name, value) in limits {
        assert!(whole.contains(&format!("\r\n{name}: {value}\r\n")), "{name} in {whole}");
    }
    for hidden in ["hint.example", "set-cookie", "canary", "trailer:"] {
        assert!(!whole.contains(hidden), "{hidden} in {whole}");
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_redirect_to_storage_is_fetched_without_the_token_and_its_address_stays_here() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Files.Read Mail.Read").await.token();
    let to = |location: &str| {
        format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n{CLOSE}\r\n")
    };
    vendor.answers(&to("https://files.sharepoint.com/a?tempauth=canary"));
    vendor.answers(&to("/b?tempauth=canary"));
    vendor.answers(&format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/9\r\nContent-Length: 4\r\n{CLOSE}\r\nfile"
    ));
    let headers = [("Range", "bytes=0-3"), ("Prefer", "x"), ("Accept-Language", "zh")];
    let answer = app.calls_with(&token, "GET", FILE, &headers, b"").await;
    assert_eq!((answer.status, answer.body_text().as_str()), (206, "file"), "{}", answer.head);
    assert!(!answer.head.contains("canary") && answer.header("location").is_none(), "{}", answer.head);
    let seen = vendor.seen();
    assert!(seen[0].head().contains("\nauthorization: bearer "), "the API gets the token");
    assert!(seen[0].head().starts_with("get /graph/v1.0/me/drive/items/1/content "), "{}", seen[0].head());
    for (request, path) in
        seen[1..].iter().zip(["get /storage/a?tempauth=canary ", "get /storage/b?tempauth=canary "])
    {
        let sent = request.head();
        assert!(sent.starts_with(path), "{sent}");
        assert!(sent.contains("\nrange: bytes=0-3"), "{sent}");
        for hidden in ["authorization", "bearer", "prefer", "accept-language", "cookie", "referer"] {
            assert!(!sent.contains(hidden), "{hidden} went to the storage: {sent}");
        }
    }
    for location in [
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://localhost/",
        "https://2130706433/",
        "http://files.sharepoint.com/",
        "https://files.sharepoint.com:444/",
        "https://user@files.sharepoint.com/",
        "https://sharepoint.com/",
        "https://files.sharepoint.com.evil.example/",
        "https://other.example/",
        "//other.example/",
        "ftp://files.sharepoint.com/",
        "",
    ] {
        let before = vendor.seen().len();
        vendor.answers(&to(location));
        let answer = app.calls(&token, "GET", FILE).await;
        assert_eq!(answer.refusal(), refused(502, "upstream_error"), "{location}: {}", answer.body_text());
        assert!(
            answer.header("location").is_none() && answer.header("x-valetkey-event").is_some(),
            "{location}"
        );
        assert_eq!(vendor.seen().len(), before + 1, "{location} was dialled");
    }
    let before = vendor.seen().len();
    vendor.answers(&to("https://files.sharepoint.com/a"));
    assert_eq!(app.calls(&token, "GET", MAIL).await.status, 502, "this route says nothing of storage");
    assert_eq!(vendor.seen().len(), before + 1);
    for _ in 0..4 {
        vendor.answers(&to("https://files.sharepoint.com/again"));
    }
    assert_eq!(app.calls(&token, "GET", FILE).await.status, 502, "round and round");
    assert_eq!(vendor.seen().len(), before + 5, "three redirects are followed, no more");
    app.stops().await;
}

#[actix_web::test]
async fn a_storage_that_refuses_does_not_show_its_page() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Files.Read").await.token();
    vendor.answers(&format!("HTTP/1.1 302 Found\r\nLocation: https://files.sharepoint.com/a?sig=canary\r\nContent-Length: 0\r\n{CLOSE}\r\n"));
    vendor.answers(&format!("HTTP/1.1 403 Forbidden\r\nContent-Length: 14\r\n{CLOSE}\r\n/a?sig=canary!"));
    let answer = app.calls(&token, "GET", FILE).await;
    assert_eq!(answer.refusal(), refused(502, "upstream_error"));
    assert!(!answer.body_text().contains("canary"), "{}", answer.body_text());
    app.stops().await;
}

#[actix_web::test]
async fn a_demand_for_a_fresh_sign_in_is_told_once_and_not_asked_again() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Read").await.token();
    app.pass(60);
    vendor.answers(&format!(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"\", error=\"insufficient_claims\", \
         claims=\"eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7fX19\"\r\nContent-Length: 2\r\n{CLOSE}\r\n{{}}"
    ));
    let refreshes = app.refreshes_at("entra").await;
    let answer = app.calls(&token, "GET", MAIL).await;
    assert_eq!(answer.refusal(), refused(403, "interaction_required"), "{}", answer.body_text());
    assert!(answer.text("error_description").contains("sign in again"), "{}", answer.body_text());
    assert!(answer.header("x-valetkey-event").is_some());
    assert_eq!(app.calls(&token, "GET", MAIL).await.refusal(), refused(403, "interaction_required"));
    assert_eq!(vendor.seen().len(), 1, "the provider was asked again");
    assert_eq!(app.refreshes_at("entra").await, refreshes, "no refresh helps");
    app.stops().await;
}

#[actix_web::test]
async fn a_short_body_is_sent_again_with_a_fresh_token_and_a_long_one_is_not() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Send").await.token();
    let stale = format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n{CLOSE}\r\n{{}}");
    let sent = format!("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n{CLOSE}\r\n");
    let plain = [("Content-Type", "text/plain")];
    app.pass(60);
    vendor.answers(&stale);
    vendor.answers(&sent);
    assert_eq!(app.calls_with(&token, "POST", SEND, &plain, b"short").await.status, 202);
    let bearer = |at: usize| {
        let head = vendor.seen()[at].head();
        head.lines().find(|line| line.starts_with("authorization:")).unwrap().to_owned()
    };
    assert!(vendor.seen().iter().all(|seen| seen.text().ends_with("\r\n\r\nshort")), "the same body twice");
    assert_ne!(bearer(0), bearer(1));

    app.pass(60);
    vendor.answers(&stale);
    let answer = app.calls_with(&token, "POST", SEND, &plain, &vec![b'x'; 300_000]).await;
    assert_eq!(answer.refusal(), refused(503, "temporarily_unavailable"), "{}", answer.body_text());
    assert!(answer.header("retry-after").is_some() && answer.header("x-valetkey-event").is_some());
    assert_eq!(vendor.seen().len(), 3, "it was sent again");
    vendor.answers(&sent);
    assert_eq!(app.calls_with(&token, "POST", SEND, &plain, b"next").await.status, 202);
    assert_ne!(bearer(2), bearer(3), "the token was renewed all the same");
    app.stops().await;
}

#[actix_web::test]
async fn a_long_body_arrives_whole_with_its_length_or_in_chunks() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "Mail.Send").await.token();
    const LONG: usize = 24 * 1024 * 1024;
    app.provider_will("entra", json!({"endpoint": "api", "kind": "swallow", "count": 2})).await;
    let plain = [("Content-Type", "text/plain")];
    let answer = app.calls_with(&token, "POST", SEND, &plain, &vec![b'x'; LONG]).await;
    assert_eq!(
        (answer.status, answer.json()["received"].as_u64()),
        (200, Some(LONG as u64)),
        "{}",
        answer.body_text()
    );
    let more = format!("Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n{CLOSE}");
    let mut request = head(&app, &token, &format!("POST /gateway/{SEND}"), &more).into_bytes();
    for _ in 0..LONG / 65_536 {
        request.extend_from_slice(b"10000\r\n");
        request.extend_from_slice(&vec![b'y'; 65_536]);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\nX-Trailer: canary\r\n\r\n");
    let answer = wire::exchange(&app.demo.issuer, &request).await;
    assert_eq!(
        (answer.status, answer.json()["received"].as_u64()),
        (200, Some(LONG as u64)),
        "{}",
        answer.body_text()
    );
    app.stops().await;
}

#[actix_web::test]
async fn nobody_is_asked_for_a_body_before_the_token_works() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "Mail.Send").await.token();
    app.provider_will("entra", json!({"endpoint": "api", "kind": "swallow"})).await;
    let more = format!("Content-Type: text/plain\r\nContent-Length: 5\r\nExpect: 100-continue\r\n{CLOSE}");
    for wrong in ["", "vkg_nonsense", app.personal.secret.as_str()] {
        let request = head(&app, wrong, &format!("POST /gateway/{SEND}"), &more);
        let mut client = wire::connect(&app.demo.issuer).await;
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut client, "\0").await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(answer.contains("invalid_token") && !answer.contains("100 Continue"), "{answer}");
    }
    let request = head(&app, &token, &format!("POST /gateway/{SEND}"), &more);
    let mut client = wire::connect(&app.demo.issuer).await;
    client.write_all(request.as_bytes()).await.unwrap();
    let asked = read_until(&mut client, "\r\n\r\n").await;
    assert_eq!(asked, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").await.unwrap();
    let answer = read_until(&mut client, "received").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    app.stops().await;
}

#[actix_web::test]
async fn an_early_refusal_stops_the_upload() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Send").await.token();
    let provider = vendor.stays();
    let more = format!("Content-Type: text/plain\r\nContent-Length: 4000000000\r\n{CLOSE}");
    let request = head(&app, &token, &format!("POST /gateway/{SEND}"), &more);
    let mut client = wire::connect(&app.demo.issuer).await;
    client.write_all(request.as_bytes()).await.unwrap();
    client.write_all(&vec![b'x'; 256 * 1024]).await.unwrap();
    let seen = vendor.request(0).await;
    provider.send("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 4\r\n\r\nbig!".to_owned()).unwrap();
    let answer = read_until(&mut client, "big!").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    seen.closed().await;
    assert!(seen.text().len() < 4_000_000, "the upload went on");
    app.stops().await;
}

#[actix_web::test]
async fn a_client_that_goes_away_frees_the_provider() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Read Mail.Send").await.token();
    let get = head(&app, &token, &format!("GET /gateway/{MAIL}"), CLOSE);

    let _provider = vendor.stays();
    let mut client = wire::connect(&app.demo.issuer).await;
    client.write_all(get.as_bytes()).await.unwrap();
    let waiting = vendor.request(0).await;
    drop(client);
    waiting.closed().await;

    let provider = vendor.stays();
    let mut client = wire::connect(&app.demo.issuer).await;
    client.write_all(get.as_bytes()).await.unwrap();
    let answering = vendor.request(1).await;
    provider.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun".to_owned()).unwrap();
    read_until(&mut client, "begun").await;
    drop(client);
    answering.closed().await;

    // What broke off must not look as if it had ended.
    for framing in ["Content-Length: 500000", "Transfer-Encoding: chunked"] {
        let _provider = vendor.stays();
        let more = format!("Content-Type: text/plain\r\n{framing}\r\n");
        let post = head(&app, &token, &format!("POST /gateway/{SEND}"), &more);
        let mut client = wire::connect(&app.demo.issuer).await;
        client.write_all(post.as_bytes()).await.unwrap();
        client.write_all(b"1adb0\r\n").await.unwrap();
        client.write_all(&vec![b'x'; 0x1adb0]).await.unwrap();
        let reading = vendor.request(vendor.seen().len().max(2)).await;
        drop(client);
        reading.closed().await;
        let sent = reading.text();
        assert!(!sent.ends_with("0\r\n\r\n") && sent.len() < 500_000, "{framing}: {}", sent.len());
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_long_answer_is_cut_when_its_permission_ends() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Read").await.token();
    let agent = app.personal.id.clone();
    for (number, ends) in [None, Some(format!("/agents/{agent}/suspend"))].into_iter().enumerate() {
        let provider = vendor.stays();
        let request = head(&app, &token, &format!("GET /gateway/{MAIL}"), CLOSE);
        let mut client = wire::connect(&app.demo.issuer).await;
        client.write_all(request.as_bytes()).await.unwrap();
        vendor.request(number).await;
        provider
            .send(format!("HTTP/1.1 200 OK\r\nContent-Length: 20014\r\n\r\n{}first", "x".repeat(20_000)))
            .unwrap();
        read_until(&mut client, "first").await;
        if let Some(path) = &ends {
            app.admin_does(path, &json!({"reason": "test"})).await;
        }
        app.pass(31);
        provider.send("after that".to_owned()).unwrap();
        let rest = read_until(&mut client, "after tha").await;
        assert_eq!(rest.contains("after"), ends.is_none(), "{ends:?}: {rest}");
    }
    app.stops().await;
}

#[actix_web::test]
async fn a_provider_that_does_not_answer_is_left_alone_for_a_while() {
    let (vendor, mut app) = Vendor::on_a_new_app().await;
    let token = app.alice_has_granted("entra", "Mail.Read").await.token();
    let fine =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n{CLOSE}\r\n{{}}");
    for _ in 0..5 {
        vendor.then(Then::Closes);
        let answer = app.calls(&token, "GET", MAIL).await;
        assert_eq!(answer.refusal(), refused(502, "upstream_error"), "{}", answer.body_text());
        assert!(answer.header("x-valetkey-event").is_some());
    }
    let answer = app.calls(&token, "GET", MAIL).await;
    assert_eq!(answer.refusal(), refused(503, "temporarily_unavailable"), "{}", answer.body_text());
    assert!(answer.header("retry-after").is_some() && answer.header("x-valetkey-event").is_some());
    assert_eq!(vendor.seen().len(), 5, "it was dialled");
    app.pass(10);
    vendor.answers(&fine);
    assert_eq!(app.calls(&token, "GET", MAIL).await.status, 200);
    // Its own errors are answers.
    for _ in 0..7 {
        vendor.answers(&format!("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n{CLOSE}\r\n{{}}"));
        let answer = app.calls(&token, "GET", MAIL).await;
        assert_eq!((answer.status, answer.header("x-valetkey-decision")), (503, None));
    }
    app.stops().await;
}
