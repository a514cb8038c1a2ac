//! What is asked of the client.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use tokio::time::Instant;

use crate::kernel::secret::{SecretBytes, SecretString};
use crate::net::patience;

/// How long a call may take when nothing else is said.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
/// How long an answer may be when nothing else is said.
pub const DEFAULT_MAX_BODY: usize = 1024 * 1024;

/// One call. The URL is sent exactly as it serialises.
pub struct Call {
    /// Method.
    pub method: Method,
    /// Where to; https, unless its origin is rewritten to the sandbox on this machine.
    pub url: Url,
    /// Headers; all values are treated as sensitive.
    pub headers: HeaderMap,
    /// Body.
    pub body: CallBody,
    /// With `fetch`, the time for everything; with `open`, the time until the answer's head, counted anew
    /// whenever the provider takes a chunk of a streamed body.
    pub deadline: Duration,
    /// The most that the answer's body may hold.
    pub max_body: usize,
    /// Over a connection of its own, which ends with the answer: a kept connection's buffers hold what they
    /// last read until they read again, and only what is freed is wiped. For answers with refresh tokens.
    pub alone: bool,
}

/// The body of a call.
pub enum CallBody {
    /// None.
    Empty,
    /// Wiped when it has been sent.
    Secret(SecretBytes),
    /// Plain bytes.
    Bytes(Bytes),
    /// Chunks. State `content-length` in the headers, or it is sent chunked.
    Stream(BoxStream<'static, io::Result<Bytes>>),
}

impl Call {
    /// A call without headers or body, within the default limits.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: CallBody::Empty,
            deadline: DEFAULT_DEADLINE,
            max_body: DEFAULT_MAX_BODY,
            alone: false,
        }
    }

    /// A GET within the default limits.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: CallBody) -> Self {
        self.body = body;
        self
    }

    /// Sets the deadline.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// Whether a request's body has begun to leave. A connection is there by then, so a body that was
/// never asked for proves that the provider has seen nothing.
#[derive(Clone)]
pub(super) struct Departure {
    begun: Arc<AtomicBool>,
    /// Nothing can be learnt from a request without a body.
    has_body: bool,
    /// When the last chunk of a streamed body was asked for.
    taken: Option<Arc<Mutex<Instant>>>,
}

impl Departure {
    pub(super) fn may_have_begun(&self) -> bool {
        !self.has_body || self.begun.load(Ordering::SeqCst)
    }

    /// Waits for an answer until then, and longer for as long as a streamed body makes headway.
    pub(super) async fn answered<F: Future>(
        &self,
        answer: F,
        mut until: Instant,
        pause: Duration,
    ) -> Option<F::Output> {
        let mut answer = std::pin::pin!(answer);
        loop {
            if let Some(answer) = patience::until(until, answer.as_mut()).await {
                return Some(answer);
            }
            let taken = self.taken.as_ref()?;
            let later = *taken.lock().unwrap_or_else(PoisonError::into_inner) + pause;
            if later <= until {
                return None;
            }
            until = later;
        }
    }
}

/// Bytes that wipe themselves when the last reader lets go.
struct Wiped(SecretBytes);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

/// A header that holds a secret after a prefix such as `Bearer `; wiped when the call is over. `None` when
/// the secret has characters that no header may have.
pub fn secret_header(prefix: &str, secret: &SecretString) -> Option<HeaderValue> {
    let mut text = Vec::with_capacity(prefix.len() + secret.expose_str().len());
    text.extend_from_slice(prefix.as_bytes());
    text.extend_from_slice(secret.expose_str().as_bytes());
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(Wiped(SecretBytes::new(text)))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Turns a body into what the library sends, and watches it leave.
pub(super) fn depart(body: CallBody, headers: &mut HeaderMap) -> (Option<reqwest::Body>, Departure) {
    let begun = Arc::new(AtomicBool::new(false));
    let chunk = match body {
        CallBody::Empty => return (None, Departure { begun, has_body: false, taken: None }),
        CallBody::Stream(chunks) => {
            let flag = Arc::clone(&begun);
            let taken = Arc::new(Mutex::new(Instant::now()));
            let departure = Departure { begun, has_body: true, taken: Some(Arc::clone(&taken)) };
            let watched = stream::StreamExt::inspect(chunks, move |_| {
                flag.store(true, Ordering::SeqCst);
                *taken.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            });
            return (Some(reqwest::Body::wrap_stream(watched)), departure);
        }
        CallBody::Secret(secret) => Bytes::from_owner(Wiped(secret)),
        CallBody::Bytes(bytes) => bytes,
    };
    // A stream has no known length, and some token endpoints refuse chunked requests.
    headers.insert(CONTENT_LENGTH, HeaderValue::from(chunk.len()));
    let flag = Arc::clone(&begun);
    let once = stream::once(async move {
        flag.store(true, Ordering::SeqCst);
        Ok::<_, io::Error>(chunk)
    });
    (Some(reqwest::Body::wrap_stream(once)), Departure { begun, has_body: true, taken: None })
}
