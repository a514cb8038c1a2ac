//! HTTP/1.1 by hand: what is sent is exactly what a test writes, nothing is repaired on the way, and
//! every answer is remembered.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

/// One answer, with the whole of what came over the wire.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// What was asked and answered.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub url: Url,
    pub answer: Answer,
}

/// Everything that the broker and the sandbox have said to anybody.
#[derive(Clone, Default)]
pub struct Traffic(Arc<Mutex<Vec<Exchange>>>);

impl Traffic {
    pub fn all(&self) -> Vec<Exchange> {
        self.0.lock().unwrap().clone()
    }

    pub async fn send(&self, method: &str, url: &Url, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let mut bytes = format!("{request}\r\n").into_bytes();
        bytes.extend_from_slice(body);
        let answer = exchange(url, &bytes).await;
        self.0.lock().unwrap().push(Exchange { url: url.clone(), answer: answer.clone() });
        answer
    }
}

/// Sends bytes as they are and reads until the other side closes or says nothing for a while.
pub async fn exchange(to: &Url, bytes: &[u8]) -> Answer {
    let mut stream = connect(to).await;
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match tokio::time::timeout(Duration::from_secs(30), stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) | Err(_) => break,
            Ok(Ok(read)) => answer.extend_from_slice(&buffer[..read]),
        }
        if is_whole(&answer) {
            break;
        }
    }
    parse(&answer)
}

pub async fn connect(to: &Url) -> TcpStream {
    let port = to.port_or_known_default().unwrap();
    TcpStream::connect(("127.0.0.1", port)).await.expect("nobody listens")
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&bytes[..at], &bytes[at + 4..]))
}

fn header_in<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (other, value) = line.split_once(':')?;
        other.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some((head, body)) = split(bytes) else { return false };
    let head = String::from_utf8_lossy(head);
    if header_in(&head, "transfer-encoding").is_some() {
        return body.ends_with(b"0\r\n\r\n");
    }
    header_in(&head, "content-length").is_some_and(|length| body.len() >= length.parse::<usize>().unwrap())
}

/// An answer as it came over the wire.
pub fn parse(bytes: &[u8]) -> Answer {
    let Some((head, body)) = split(bytes) else {
        return Answer { status: 0, head: String::new(), body: bytes.to_vec() };
    };
    let head = String::from_utf8_lossy(head).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let chunked = header_in(&head, "transfer-encoding").is_some();
    let body = if chunked { joined_chunks(body) } else { body.to_vec() };
    Answer { status, head, body }
}

fn joined_chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut joined = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap_or(0);
        if size == 0 || rest.len() < end + 2 + size {
            break;
        }
        joined.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[(end + 4 + size).min(rest.len())..];
    }
    joined
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        header_in(&self.head, name)
    }

    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.head.lines().skip(1).filter_map(move |line| {
            let (other, value) = line.split_once(':')?;
            other.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }

    pub fn error(&self) -> String {
        self.text("error")
    }

    /// Status and error code in one, for comparisons that fail legibly.
    pub fn refusal(&self) -> (u16, String) {
        (self.status, self.error())
    }

    pub fn token(&self) -> String {
        let token = self.text("access_token");
        assert!(!token.is_empty(), "no token came: {} {}", self.status, self.body_text());
        token
    }

    pub fn scope(&self) -> Vec<String> {
        let mut scopes: Vec<String> = self.text("scope").split_whitespace().map(str::to_owned).collect();
        scopes.sort();
        scopes
    }
}

pub fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
