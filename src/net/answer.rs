//! What comes back, within limits of size and time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{self, BoxStream};
use reqwest::Response;
use reqwest::header::HeaderMap;
use tokio::time::Instant;
use zeroize::{Zeroize, Zeroizing};

use crate::kernel::clock::Timestamp;
use crate::kernel::secret::SecretBytes;
use crate::net::client::NetError;
use crate::net::patience;

/// How long a streamed body may pause.
const IDLE: Duration = Duration::from_secs(30);
/// The first size of a buffer whose final size is not announced.
const FIRST_BUFFER: usize = 16 * 1024;

/// A whole answer. The body is wiped when dropped: it may hold tokens.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: SecretBytes,
}

impl Answer {
    /// When it was made, by the server's own clock (RFC 9110, section 6.6.1).
    pub fn date(&self) -> Option<Timestamp> {
        let text = self.headers.get(reqwest::header::DATE)?.to_str().ok()?;
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(Timestamp::from_millis(date.as_millisecond()))
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header's text, if it is plain ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An answer whose body is still on its way, for as long as it makes headway. Dropping it closes the
/// connection.
pub struct StreamingAnswer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    chunks: BoxStream<'static, Result<Bytes, NetError>>,
}

impl Stream for StreamingAnswer {
    type Item = Result<Bytes, NetError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.as_mut().poll_next(cx)
    }
}

impl StreamingAnswer {
    pub(super) fn new(mut response: Response, max_body: usize) -> Result<Self, NetError> {
        refuse_announced_excess(&response, max_body)?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let chunks = stream::try_unfold((response, max_body), move |(mut response, room)| async move {
            let until = Instant::now() + IDLE;
            let Some(chunk) = next_chunk(&mut response, until).await? else { return Ok(None) };
            let room = room.checked_sub(chunk.len()).ok_or(NetError::TooLarge)?;
            Ok(Some((chunk, (response, room))))
        });
        Ok(Self { status, headers, chunks: Box::pin(chunks) })
    }
}

/// Reads the whole body into a buffer that leaves no copies behind when it grows.
pub(super) async fn read_whole(
    mut response: Response,
    max_body: usize,
    until: Instant,
) -> Result<Answer, NetError> {
    let announced = refuse_announced_excess(&response, max_body)?;
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    let mut body = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(FIRST_BUFFER.min(max_body))));
    while let Some(chunk) = next_chunk(&mut response, until).await? {
        let needed = body.len().saturating_add(chunk.len());
        if needed > max_body {
            return Err(NetError::TooLarge);
        }
        if needed > body.capacity() {
            // Growing in place would free the old block with the token still in it.
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.saturating_mul(2).min(max_body)));
            larger.extend_from_slice(&body);
            body = larger;
        }
        body.extend_from_slice(&chunk);
        if let Ok(mut unshared) = chunk.try_into_mut() {
            unshared.as_mut().zeroize();
        }
    }
    Ok(Answer { status, headers, body: SecretBytes::new(std::mem::take(&mut *body)) })
}

fn refuse_announced_excess(response: &Response, max_body: usize) -> Result<Option<usize>, NetError> {
    let Some(announced) = response.content_length() else { return Ok(None) };
    match usize::try_from(announced) {
        Ok(announced) if announced <= max_body => Ok(Some(announced)),
        _ => Err(NetError::TooLarge),
    }
}

async fn next_chunk(response: &mut Response, until: Instant) -> Result<Option<Bytes>, NetError> {
    match patience::until(until, std::pin::pin!(response.chunk())).await {
        None => Err(NetError::TooSlow { sent: true }),
        Some(Err(_)) => Err(NetError::AnswerLost),
        Some(Ok(chunk)) => Ok(chunk),
    }
}
