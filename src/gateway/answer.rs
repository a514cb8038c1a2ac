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

/// Writes a call's outcome exactly once, whichever way it ends.
pub struct OutcomeOnDrop {
    audit: AuditLog,
    event: EventId,
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
        Self { audit, event, status, bytes, reasons, said, is_error: false, ended: Outcome::Failed }
    }

    /// The provider has answered.
    pub(super) fn answered(&mut self, status: u16, error: Option<ErrorClass>) {
        self.status = Some(status);
        self.is_error = error.is_some();
        if self.is_error && status < 400 {
            self.add_reason("the provider reports an error inside a success");
        }
        // Until the body has come to its end it may still break off.
        self.ended = Outcome::Unknown;
    }

    /// Nothing of the provider's answer is released.
    pub(super) fn refused(&mut self, denial: &Denial) {
        self.status = Some(denial.status);
        self.ended = if denial.limit.is_some() { Outcome::Withheld } else { Outcome::Failed };
        self.reasons.extend(denial.reasons());
        self.said.extend(denial.told());
    }

    pub(super) fn released(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// The body has come to its end, or broken off.
    pub(super) fn ended(&mut self, outcome: Outcome) {
        self.ended = if self.is_error { Outcome::Failed } else { outcome };
    }

    pub(super) fn add_reason(&mut self, words: &str) {
        self.reasons.push(words.to_owned());
    }
}

impl Drop for OutcomeOnDrop {
    fn drop(&mut self) {
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
