//! A call as it came, before anything is judged.

use std::net::IpAddr;

use crate::gateway::body::RequestBody;
use crate::net::http::HeaderMap;

/// A call, byte for byte: method, path and query are what the client sent.
pub struct RawCall {
    /// The provider in the path.
    pub provider: String,
    /// The API in the path.
    pub api: String,
    /// Method.
    pub method: String,
    /// The vendor's path, raw, from its first slash on.
    pub path: String,
    /// The query, raw.
    pub query: Option<String>,
    /// Headers that may pass, before the template's list is applied.
    pub headers: HeaderMap,
    /// The body; nothing of it is read before something asks.
    pub body: RequestBody,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Where it came from.
    pub client_address: Option<IpAddr>,
}

/// Why a call cannot even be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// `GET http://…` instead of `GET /…`.
    #[error("the request line names a host: send the path only")]
    AbsoluteForm,
    /// A method that no route has.
    #[error("this method is not supported")]
    Method,
    /// The path is not `/gateway/{provider}/{api}/{path}`.
    #[error("the path is not /gateway/<provider>/<api>/<path of the provider's API>")]
    Shape,
    /// An Authorization header that is not `Bearer <token>` or `DPoP <token>`.
    #[error(
        "send exactly one Authorization header: Bearer, or DPoP where it is bound, and the gateway token"
    )]
    Authorization,
    /// More than one Authorization header, or one with odd bytes: which one counts would be a guess (RFC
    /// 6750, section 3.1, calls it `invalid_request`).
    #[error("the Authorization header comes twice, or is no text: send exactly one")]
    Ambiguous,
    /// A compressed body.
    #[error("the body is compressed: send it without Content-Encoding")]
    Encoding,
    /// The body has to be looked into, and is longer than that is done for.
    #[error("the body of this call is inspected, and it is longer than 10 MiB")]
    TooLarge,
    /// The body is longer than what passes at all.
    #[error("the body is longer than 5 GiB")]
    TooLong,
    /// The client paused for too long within its body.
    #[error("the body arrives too slowly")]
    Late,
    /// The body did not come whole in time.
    #[error("the body did not arrive whole")]
    Body,
}

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Splits `/gateway/{provider}/{api}/{path}`; nothing is decoded.
///
/// # Errors
/// When it has another shape.
pub fn split(path: &str) -> Result<(&str, &str, &str), Unreadable> {
    let rest = path.strip_prefix("/gateway/").ok_or(Unreadable::Shape)?;
    let (provider, rest) = rest.split_once('/').ok_or(Unreadable::Shape)?;
    let slash = rest.find('/').ok_or(Unreadable::Shape)?;
    let (api, vendor_path) = rest.split_at(slash);
    if provider.is_empty() || api.is_empty() {
        Err(Unreadable::Shape)
    } else {
        Ok((provider, api, vendor_path))
    }
}

/// Accepts a method that routes can have.
///
/// # Errors
/// For any other.
pub fn check_method(method: &str) -> Result<(), Unreadable> {
    if METHODS.contains(&method) { Ok(()) } else { Err(Unreadable::Method) }
}
