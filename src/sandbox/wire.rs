//! Requests and replies as a vendor's handlers see them: plain values, no framework types.

use serde_json::Value;

use crate::kernel::encode;
use crate::sandbox::faults::Long;

/// Name-value pairs of a query or a form, in the order they came.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads `application/x-www-form-urlencoded` text.
    pub fn parse(text: &str) -> Self {
        Self(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The first value of that name when it is not empty.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// A name that occurs more than once (RFC 6749, section 3.2 forbids it).
    pub fn repeated(&self) -> Option<&str> {
        let mut seen = std::collections::BTreeSet::new();
        self.0.iter().find(|(name, _)| !seen.insert(name)).map(|(name, _)| name.as_str())
    }

    /// All pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }
}

/// What injected faults ask the vendor to change in an otherwise good answer.
#[derive(Clone, Debug, Default)]
pub struct Twist {
    /// Answer with this lifetime, and make the token live that long.
    pub expires_in: Option<u64>,
    /// Answer with more scopes than asked: these, or all that the person ever granted.
    pub broader_scope: Option<BroaderScope>,
}

/// Which scopes a `broader_scope` fault adds.
#[derive(Clone, Debug)]
pub enum BroaderScope {
    /// Everything that the person granted to the client.
    AllGranted,
    /// These, space-separated.
    These(String),
}

/// The body is not of the type that the endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not of the content type that this endpoint takes")]
pub struct WrongBody;

/// One request to a vendor, the same whether it came to a rewritten origin or through the proxy.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, in upper case.
    pub method: String,
    /// Which of the vendor's services was called, such as `graph`.
    pub service: &'static str,
    /// What stands before the vendor's path in the address bar: `/entra/login`, or nothing through the proxy.
    pub prefix: String,
    /// The vendor's own path as it was sent, still percent-encoded.
    pub path: String,
    /// The query as it was sent, without the question mark.
    pub query: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// Changes that injected faults ask for.
    pub twist: Twist,
}

impl Request {
    /// The path's segments, decoded once.
    pub fn segments(&self) -> Vec<String> {
        self.path.trim_start_matches('/').split('/').map(decode).collect()
    }

    /// The query's parameters.
    pub fn params(&self) -> Params {
        Params::parse(&self.query)
    }

    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The media type of the body, without parameters, in lower case.
    pub fn content_type(&self) -> String {
        let value = self.header("content-type").unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The body as a form.
    ///
    /// # Errors
    /// When its content type is another.
    pub fn form(&self) -> Result<Params, WrongBody> {
        if self.content_type() != "application/x-www-form-urlencoded" {
            return Err(WrongBody);
        }
        Ok(Params::parse(std::str::from_utf8(&self.body).map_err(|_| WrongBody)?))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When its content type is another, or it does not parse.
    pub fn json(&self) -> Result<Value, WrongBody> {
        if self.content_type() != "application/json" {
            return Err(WrongBody);
        }
        serde_json::from_slice(&self.body).map_err(|_| WrongBody)
    }

    /// The token of `Authorization: Bearer`.
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// User name and password of `Authorization: Basic`, form-decoded (RFC 6749, section 2.3.1).
    pub fn basic(&self) -> Option<(String, String)> {
        let (scheme, value) = self.header("authorization")?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = String::from_utf8(encode::from_base64(value.trim())?).ok()?;
        let (user, password) = pair.split_once(':')?;
        Some((decode(&user.replace('+', " ")), decode(&password.replace('+', " "))))
    }

    /// A cookie's value.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let header = self.header("cookie")?;
        header
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v)
    }

    /// This request's own address on the same host, for a form's `action`.
    pub fn here(&self) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("{}{}{mark}{}", self.prefix, self.path, self.query)
    }
}

/// Decodes percent-encoding once; what is not UTF-8 afterwards is kept as it was.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = (*byte == b'%').then(|| text.get(at + 1..at + 3).and_then(encode::from_hex)).flatten();
        match escaped.as_deref() {
            Some([one]) => {
                decoded.push(*one);
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

/// One answer of a vendor.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The connection is closed instead: the work was done, the answer is lost.
    pub lost: bool,
    /// A body that is made while it is sent, in place of the other.
    pub long: Option<Long>,
}

impl Reply {
    /// No body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), lost: false, long: None }
    }

    /// Bytes of a media type.
    pub fn bytes(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::empty(status) }.with("content-type", content_type)
    }

    /// A JSON document.
    pub fn json(status: u16, document: &Value) -> Self {
        Self::bytes(status, "application/json; charset=utf-8", document.to_string())
    }

    /// A page.
    pub fn html(status: u16, page: impl Into<Vec<u8>>) -> Self {
        Self::bytes(status, "text/html; charset=utf-8", page)
            .with(
                "content-security-policy",
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            )
            .with("cache-control", "no-store")
            .with("referrer-policy", "no-referrer")
    }

    /// Sends the browser elsewhere.
    pub fn redirect(location: &str) -> Self {
        Self::empty(302).with("location", location).with("cache-control", "no-store")
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a `Set-Cookie` header, if there is one to set.
    #[must_use]
    pub fn with_cookie(self, cookie: Option<&str>) -> Self {
        match cookie {
            Some(cookie) => self.with("set-cookie", cookie),
            None => self,
        }
    }
}

/// Adds parameters to the query of a redirect URI, which may already have one.
pub fn with_query(uri: &str, params: &[(&str, &str)]) -> String {
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in params {
        pairs.append_pair(name, value);
    }
    let (before, fragment) = uri.split_once('#').map_or((uri, ""), |(b, f)| (b, f));
    let mark = if before.contains('?') { '&' } else { '?' };
    let hash = if fragment.is_empty() { "" } else { "#" };
    format!("{before}{mark}{}{hash}{fragment}", pairs.finish())
}

/// Text made safe inside HTML, also inside quoted attributes.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
