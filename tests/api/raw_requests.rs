//! Requests that two readers would understand differently, byte by byte over a raw socket.

use crate::app::TestApp;
use crate::wire;

#[actix_web::test]
async fn ambiguous_requests_are_refused_and_the_provider_sees_none() {
    let mut app = TestApp::start().await;
    let token = app.alice_has_granted("entra", "User.Read Mail.Read").await.token();
    let host = app.demo.issuer.authority().to_owned();
    let base = format!("Host: {host}\r\nConnection: close\r\n");
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let good = format!("GET /gateway/entra/graph/v1.0/me/messages HTTP/1.1\r\n{base}{bearer}\r\n");
    assert_eq!(
        wire::exchange(&app.demo.issuer, good.as_bytes()).await.status,
        200,
        "the request that is bent"
    );
    let before = app.data_calls_at("entra").await.len();

    for path in [
        "v1.0/me%2fmessages",
        "v1.0/me%2Fmessages",
        "v1.0%2f..%2fbeta/me/messages",
        "v1.0/me/../me/messages",
        "v1.0/./me/messages",
        "v1.0/me/messages/..",
        "v1.0/me/messages/.",
        "v1.0/me/%2e%2e/me/messages",
        "v1.0/me/%2E%2e/me/messages",
        "v1.0/me/.%2e/me/messages",
        "v1.0/me/%252e%252e/me/messages",
        "v1.0/me%252fmessages",
        "v1.0/me%5cmessages",
        "v1.0\\me\\messages",
        "v1.0/me/..\\messages",
        "v1.0/me/messages;jsessionid=1",
        "v1.0/me;x=y/messages",
        "v1.0/me/..;/messages",
        "v1.0/me/messages%3bx",
        "v1.0//me/messages",
        "v1.0/me/messages/",
        "v1.0/me/messages//",
        "v1.0/me/messages%00",
        "v1.0/me/messages%0d%0aX-Evil:1",
        "v1.0/me/messages%09",
        "v1.0/me/messages%3f$expand=x",
        "v1.0/me/messages%23",
        "v1.0/%6de/messages",
        "v1.0/me/message%73",
        "v1.0/me/messages%",
        "v1.0/me/messages%2",
        "v1.0/me/messages%zz",
        "v1.0/me/%c0%af/messages",
        "v1.0/me/%c0%ae%c0%ae/messages",
        "v1.0/me/%ff/messages",
        "v1.0/me/messages?a=%00",
        "v1.0/me/messages?a=%0a",
        "v1.0/me/messages?a=%zz",
        "v1.0/me/messages?a=\\",
        "v1.0/me/messages\u{1}",
        "v1.0/me/mess\tages",
        "v1.0/me/mess\u{e9}ages",
    ] {
        let request = format!("GET /gateway/entra/graph/{path} HTTP/1.1\r\n{base}{bearer}\r\n");
        let answer = wire::exchange(&app.demo.issuer, request.as_bytes()).await;
        assert_eq!(answer.status, 400, "{path:?}: {}", answer.body_text());
    }
    for path in [
        "/gateway/entra",
        "/gateway/",
        "/gateway/entra/graph",
        "/gateway//graph/v1.0/me",
        "//gateway/entra/graph/v1.0/me",
        "/gateway/../gateway/entra/graph/v1.0/me",
        "/./gateway/entra/graph/v1.0/me",
        "/gateway%2fentra/graph/v1.0/me",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\n{base}{bearer}\r\n");
        let status = wire::exchange(&app.demo.issuer, request.as_bytes()).await.status;
        assert!(matches!(status, 400 | 403 | 404), "{path}: {status}");
    }

    assert_eq!(app.data_calls_at("entra").await.len(), before, "the provider has seen one of them");

    // A fragment is cut off before anything reads the request line, so what is judged and sent has none.
    let request =
        format!("GET /gateway/entra/graph/v1.0/me/messages#/../../beta HTTP/1.1\r\n{base}{bearer}\r\n");
    let answer = wire::exchange(&app.demo.issuer, request.as_bytes()).await;
    if answer.status != 400 {
        assert_eq!(app.data_calls_at("entra").await[before]["path"], "/v1.0/me/messages");
    }
    let before = app.data_calls_at("entra").await.len();

    let target = "/gateway/entra/graph/v1.0/me/messages";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (request, why) in [
        (format!("GET http://evil.example{target} HTTP/1.1\r\n{base}{bearer}\r\n"), "absolute form"),
        (
            format!("GET https://graph.microsoft.com/v1.0/me HTTP/1.1\r\n{base}{bearer}\r\n"),
            "absolute form to the provider",
        ),
        (format!("GET http://{host}{target} HTTP/1.1\r\n{base}{bearer}\r\n"), "absolute form to ourselves"),
        (format!("CONNECT graph.microsoft.com:443 HTTP/1.1\r\n{base}{bearer}\r\n"), "CONNECT"),
        (format!("TRACE {target} HTTP/1.1\r\n{base}{bearer}\r\n"), "TRACE"),
        (format!("OPTIONS {target} HTTP/1.1\r\n{base}{bearer}\r\n"), "OPTIONS"),
        (format!("PROPFIND {target} HTTP/1.1\r\n{base}{bearer}\r\n"), "an unknown method"),
        (format!("get {target} HTTP/1.1\r\n{base}{bearer}\r\n"), "a method in lower case"),
        (format!("GET {target} HTTP/1.1\r\n{base}{bearer}{bearer}\r\n"), "two Authorization headers"),
        (
            format!("GET {target} HTTP/1.1\r\n{base}{bearer}Authorization: Bearer x\r\n\r\n"),
            "two different ones",
        ),
        (
            format!("POST {target} HTTP/1.1\r\n{base}{bearer}Content-Length: 4\r\n{chunked}\r\n0\r\n\r\n"),
            "length and chunks",
        ),
        (format!("POST {target} HTTP/1.1\r\n{base}{bearer}{chunked}{chunked}\r\n0\r\n\r\n"), "chunks twice"),
        (
            format!(
                "POST {target} HTTP/1.1\r\n{base}{bearer}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"
            ),
            "an odd encoding",
        ),
        (
            format!("POST {target} HTTP/1.1\r\n{base}{bearer}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
            "an unknown encoding",
        ),
        (
            format!("POST {target} HTTP/1.1\r\n{base}{bearer}Content-Length: +4\r\n\r\nabcd"),
            "a signed length",
        ),
        (
            format!(
                "POST {target} HTTP/1.1\r\n{base}{bearer}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd"
            ),
            "two lengths",
        ),
        (
            format!("POST {target} HTTP/1.1\r\n{base}{bearer}Content-Length: 4, 4\r\n\r\nabcd"),
            "a list of lengths",
        ),
        (
            format!("GET {target} HTTP/1.1\r\n{base}Authorization : Bearer {token}\r\n\r\n"),
            "a space before the colon",
        ),
        (format!("GET {target} HTTP/1.1\r\n{base}{bearer} folded\r\n\r\n"), "a folded header"),
        (
            format!("GET {target} HTTP/1.1\r\n{base}Authorization: Bearer {token}\r\nX: a\rb\r\n\r\n"),
            "a bare CR",
        ),
        (
            format!("GET {target} HTTP/1.1\r\n{base}Authorization: Bearer {token}\u{0}\r\n\r\n"),
            "NUL in a header",
        ),
        (format!("GET {target} HTTP/1.1\r\n{base}Authorization: {token}\r\n\r\n"), "no scheme"),
    ] {
        let answer = wire::exchange(&app.demo.issuer, request.as_bytes()).await;
        let status = answer.status;
        // Outside of `/gateway/` there is nothing to be reached.
        let outside = matches!(why, "CONNECT" | "absolute form to the provider") && status == 404;
        let fine = matches!(status, 400 | 405) || outside || (status == 401 && why == "no scheme");
        assert!(fine, "{why}: {status} {}", answer.body_text());
    }
    assert_eq!(app.data_calls_at("entra").await.len(), before, "the provider has seen one of them");
    app.stops().await;
}
