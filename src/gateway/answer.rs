//! The answer on its way back, and the event that tells how it ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;

use crate::audit::AuditLog;
use crate::kernel::ids::EventId;
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::net::NetError;

/// A released answer.
pub struct GatewayAnswer {
    /// The vendor's status.
    pub status: u16,
    /// The headers that pass.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: ReleasedBody,
    /// The decision's event.
    pub event: EventId,
}

/// A body that counts what is released and writes the outcome when it ends, breaks or is dropped.
pub struct ReleasedBody {
    chunks: BoxStream<'static, Result<Bytes, NetError>>,
    outcome: OutcomeOnDrop,
}

impl ReleasedBody {
    pub(super) fn new(chunks: BoxStream<'static, Result<Bytes, NetError>>, outcome: OutcomeOnDrop) -> Self {
        Self { chunks, outcome }
    }
}

impl Stream for ReleasedBody {
    type Item = Result<Bytes, NetError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.chunks.as_mut().poll_next(cx);
        match &next {
            Poll::Ready(Some(Ok(chunk))) => self.outcome.bytes += chunk.len() as u64,
            Poll::Ready(Some(Err(_))) => self.outcome.ended = Outcome::Failed,
            Poll::Ready(None) => self.outcome.ended = Outcome::Done,
            Poll::Pending => {}
        }
        next
    }
}

/// Writes a call's outcome exactly once, whichever way it ends.
pub struct OutcomeOnDrop {
    audit: AuditLog,
    event: EventId,
    status: Option<u16>,
    bytes: u64,
    ended: Outcome,
}

impl OutcomeOnDrop {
    pub(super) fn new(audit: AuditLog, event: EventId) -> Self {
        Self { audit, event, status: None, bytes: 0, ended: Outcome::Failed }
    }

    pub(super) fn answered(&mut self, status: u16) {
        self.status = Some(status);
        // Until the body has come to its end it may still break off.
        self.ended = Outcome::Unknown;
    }
}

impl Drop for OutcomeOnDrop {
    fn drop(&mut self) {
        self.audit.record_soon(EventDraft {
            refers_to: Some(self.event.clone()),
            outcome: Some(self.ended),
            status: self.status,
            bytes: Some(self.bytes),
            ..EventDraft::new(EventKind::GatewayOutcome, "gateway.answer")
        });
    }
}
