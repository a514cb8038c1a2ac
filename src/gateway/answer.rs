//! The answer on its way back, and the event that tells how it ended.

use crate::audit::AuditLog;
use crate::gateway::denial::Denial;
use crate::gateway::stream::ReleasedBody;
use crate::kernel::ids::EventId;
use crate::kernel::said::Said;
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::providers::template::ErrorClass;

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

/// How far a call has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The provider has seen nothing of it.
    Prepared,
    /// It is on its way, and the provider may have acted on it.
    Sent,
    /// The provider has answered.
    Answered,
    /// It has ended.
    Over,
}

/// Writes a call's outcome exactly once, whichever way it ends. An agent that goes away must not make what the
/// provider may have done look as if it had failed.
pub struct OutcomeOnDrop {
    audit: AuditLog,
    event: EventId,
    stage: Stage,
    /// The provider's own, never ours.
    status: Option<u16>,
    bytes: u64,
    reasons: Vec<String>,
    said: Vec<Said>,
    /// Whether the provider has reported an error, be it inside HTTP 200.
    is_error: bool,
    ended: Outcome,
}

impl OutcomeOnDrop {
    pub(super) fn new(audit: AuditLog, event: EventId) -> Self {
        let (status, bytes, reasons, said) = (None, 0, Vec::new(), Vec::new());
        let (stage, ended) = (Stage::Prepared, Outcome::Failed);
        Self { audit, event, stage, status, bytes, reasons, said, is_error: false, ended }
    }

    /// The provider is dialled. Until an answer is there nobody knows what it has done.
    pub(super) fn sending(&mut self) {
        (self.stage, self.ended, self.status, self.is_error) = (Stage::Sent, Outcome::Unknown, None, false);
    }

    /// The provider has seen nothing of it after all.
    pub(super) fn not_delivered(&mut self) {
        (self.stage, self.ended) = (Stage::Prepared, Outcome::Failed);
    }

    /// The provider has answered.
    pub(super) fn answered(&mut self, status: u16, error: Option<ErrorClass>) {
        (self.stage, self.status, self.is_error) = (Stage::Answered, Some(status), error.is_some());
        // Until the body has come to its end it may still break off.
        self.ended = if self.is_error { Outcome::Failed } else { Outcome::Unknown };
    }

    /// Nothing of the provider's answer is released.
    pub(super) fn refused(&mut self, denial: &Denial) {
        self.ended = match self.stage {
            Stage::Prepared => Outcome::Failed,
            Stage::Sent => Outcome::Unknown,
            _ if self.is_error => Outcome::Failed,
            _ if denial.is_lost => Outcome::Unknown,
            _ => Outcome::Withheld,
        };
        self.stage = Stage::Over;
        self.reasons.extend(denial.reasons());
        self.said.extend(denial.told());
    }

    pub(super) fn released(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Whether the whole of a body of that length was released.
    pub(super) fn has_released(&self, length: u64) -> bool {
        self.bytes >= length
    }

    /// The body has come to its end, or broken off.
    pub(super) fn ended(&mut self, outcome: Outcome) {
        if self.stage == Stage::Over {
            return;
        }
        self.stage = Stage::Over;
        self.ended = if self.is_error { Outcome::Failed } else { outcome };
        if self.is_error && self.status.is_some_and(|status| status < 400) {
            self.add_reason("the provider reports an error inside a success");
        }
    }

    pub(super) fn add_reason(&mut self, words: &str) {
        self.reasons.push(words.to_owned());
    }
}

impl Drop for OutcomeOnDrop {
    fn drop(&mut self) {
        match self.stage {
            Stage::Prepared => self.add_reason("the client went away before the call was sent"),
            Stage::Sent => self.add_reason("the client went away before the provider answered"),
            Stage::Answered => self.add_reason("the client went away before the answer's end"),
            Stage::Over => {}
        }
        self.audit.record_soon(EventDraft {
            refers_to: Some(self.event.clone()),
            outcome: Some(self.ended),
            status: self.status,
            bytes: Some(self.bytes),
            reasons: std::mem::take(&mut self.reasons),
            said: std::mem::take(&mut self.said),
            ..EventDraft::new(EventKind::GatewayOutcome, "gateway.answer")
        });
    }
}
