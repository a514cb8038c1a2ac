//! A released body on its way to the agent: short ones directly, long ones under supervision.
//!
//! A long stream outlives the decision that opened it, so the decision is made again while it lasts. And a
//! client that stops reading must not hold the provider's connection for ever; since a stream that nobody
//! polls cannot end itself, a task of its own reads from the provider and hands over chunk by chunk.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Sleep, interval, sleep, timeout};

use crate::gateway::answer::OutcomeOnDrop;
use crate::gateway::standing::{RECHECK, Standing};
use crate::model::event::Outcome;
use crate::net::NetError;

/// A body in pieces.
pub(super) type Chunks = BoxStream<'static, Result<Bytes, NetError>>;

/// How long a client may leave what it was sent unread.
const STALLED: Duration = Duration::from_secs(60);
/// What is released directly: less than the server's write buffer, so that a client cannot hold it up.
const DIRECT: usize = 16 * 1024;

/// Why a stream ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenOff {
    /// The provider's side.
    #[error("the provider's answer broke off")]
    Provider,
    /// A budget of bytes ran out in its midst.
    #[error("the answer was cut: it is longer than a budget of bytes, or the gateway, lets through")]
    TooLong,
    /// The grant was revoked, the agent suspended, or a stop set.
    #[error("the permission for this call has ended")]
    Withdrawn,
    /// The client did not read.
    #[error("the client did not read on")]
    Stalled,
}

impl BrokenOff {
    /// What becomes of the call: the provider has carried it out as far as its status says.
    const fn outcome(self) -> Outcome {
        match self {
            Self::Provider | Self::Stalled => Outcome::Unknown,
            Self::TooLong | Self::Withdrawn => Outcome::Withheld,
        }
    }
}

impl From<NetError> for BrokenOff {
    fn from(error: NetError) -> Self {
        if error == NetError::TooLarge { Self::TooLong } else { Self::Provider }
    }
}

/// A body that counts what is released and writes the outcome when it ends, breaks or is dropped.
pub struct ReleasedBody {
    flow: Flow,
    /// How long it is, where that is known.
    length: Option<u64>,
    outcome: OutcomeOnDrop,
}

enum Flow {
    Direct(Box<Direct>),
    Handed(mpsc::Receiver<Part>),
    Over,
}

struct Direct {
    chunks: Chunks,
    standing: Standing,
    released: usize,
    patience: Option<Pin<Box<Sleep>>>,
}

enum Part {
    Chunk(Bytes),
    End,
    Broken(BrokenOff),
}

impl ReleasedBody {
    pub(super) fn new(chunks: Chunks, standing: Standing, outcome: OutcomeOnDrop) -> Self {
        let direct = Direct { chunks, standing, released: 0, patience: None };
        Self { flow: Flow::Direct(Box::new(direct)), length: None, outcome }
    }

    /// The body has that length: with its last byte it has come to its end, whether or not anybody asks for more.
    pub(super) fn has_length(&mut self, length: u64) {
        self.length = Some(length);
        self.note_end();
    }

    fn note_end(&mut self) {
        if self.length.is_some_and(|length| self.outcome.has_released(length)) {
            self.outcome.ended(Outcome::Done);
        }
    }

    /// There is no body to release, and that is as it should be.
    pub(super) fn leave_out(&mut self) {
        self.flow = Flow::Over;
        self.outcome.ended(Outcome::Done);
    }

    fn next_part(&mut self, cx: &mut Context<'_>) -> Poll<Part> {
        loop {
            match &mut self.flow {
                Flow::Over => return Poll::Ready(Part::End),
                Flow::Handed(parts) => {
                    // A task that is gone without a last word has broken off.
                    return parts.poll_recv(cx).map(|part| part.unwrap_or(Part::Broken(BrokenOff::Provider)));
                }
                Flow::Direct(direct) => match direct.poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(part)) => return Poll::Ready(part),
                    Poll::Ready(None) => {}
                },
            }
            if let Flow::Direct(direct) = std::mem::replace(&mut self.flow, Flow::Over) {
                let (parts, handed) = mpsc::channel(1);
                actix_web::rt::spawn(supervise(direct.chunks, direct.standing, parts));
                self.flow = Flow::Handed(handed);
            }
        }
    }
}

impl Direct {
    /// The next part, or `None` when the stream has become a long one.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Part>> {
        match self.chunks.as_mut().poll_next(cx) {
            Poll::Ready(None) => Poll::Ready(Some(Part::End)),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Part::Broken(error.into()))),
            Poll::Ready(Some(Ok(chunk))) => {
                self.released = self.released.saturating_add(chunk.len());
                if self.released <= DIRECT && !self.standing.is_due() {
                    return Poll::Ready(Some(Part::Chunk(chunk)));
                }
                let rest = std::mem::replace(&mut self.chunks, stream::empty().boxed());
                self.chunks = stream::iter([Ok(chunk)]).chain(rest).boxed();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(RECHECK)));
                patience.as_mut().poll(cx).map(|()| None)
            }
        }
    }
}

impl Stream for ReleasedBody {
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let part = std::task::ready!(self.next_part(cx));
        Poll::Ready(match part {
            Part::Chunk(chunk) => {
                self.outcome.released(chunk.len());
                self.note_end();
                Some(Ok(chunk))
            }
            Part::End => {
                self.flow = Flow::Over;
                self.outcome.ended(Outcome::Done);
                None
            }
            Part::Broken(why) => {
                self.flow = Flow::Over;
                self.outcome.add_reason(&why.to_string());
                self.outcome.ended(why.outcome());
                Some(Err(why))
            }
        })
    }
}

/// Reads from the provider and hands over, until the body ends, the client goes or stops reading, or the
/// permission ends. Returning closes the provider's connection.
async fn supervise(mut chunks: Chunks, mut standing: Standing, parts: mpsc::Sender<Part>) {
    let mut tick = interval(RECHECK);
    tick.reset();
    loop {
        let mut part = tokio::select! {
            biased;
            () = parts.closed() => return,
            chunk = chunks.next() => match chunk {
                Some(Ok(chunk)) => Some(Part::Chunk(chunk)),
                Some(Err(error)) => Some(Part::Broken(error.into())),
                None => Some(Part::End),
            },
            _ = tick.tick() => None,
        };
        if (part.is_none() || standing.is_due()) && standing.check().await.is_err() {
            part = Some(Part::Broken(BrokenOff::Withdrawn));
        }
        let Some(part) = part else { continue };
        let is_last = !matches!(part, Part::Chunk(_));
        match timeout(STALLED, parts.send(part)).await {
            Ok(Ok(())) if !is_last => {}
            Ok(_) => return,
            Err(_) => {
                drop(chunks);
                // Waits for whoever reads on at last; the provider does not.
                let _ = parts.send(Part::Broken(BrokenOff::Stalled)).await;
                return;
            }
        }
    }
}
