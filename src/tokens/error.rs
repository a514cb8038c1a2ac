//! What can go wrong at the OAuth endpoints: stable codes, words that say what to do, nothing secret.

use std::time::Duration;

use crate::agents::AuthError;
use crate::audiences::AudienceAuthError;
use crate::audit::AuditError;
use crate::connections::{ConnectionError, LeaseError};
use crate::interactions::{OpenError, PollError};
use crate::kernel::ids::EventId;
use crate::policy::{Refusal, RefusalCode};
use crate::store::StoreError;
use crate::tokens::answer::Interaction;
use crate::tokens::keys::KeyError;

/// An error answer (RFC 6749, section 5.2, and its extensions).
#[derive(Debug)]
pub struct TokenError {
    /// The stable code.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub description: String,
    /// HTTP status.
    pub status: u16,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// What a person has to do.
    pub interaction: Option<Box<Interaction>>,
    /// The event that keeps the decision.
    pub event: Option<Box<EventId>>,
}

impl TokenError {
    /// An error with status 400.
    pub fn new(code: &'static str, description: impl Into<String>) -> Self {
        let description = description.into();
        Self { code, description, status: 400, retry_after: None, interaction: None, event: None }
    }

    /// `invalid_request`.
    pub fn invalid_request(description: impl Into<String>) -> Self {
        Self::new("invalid_request", description)
    }

    /// `invalid_client`: the same for an unknown agent and for every proof that is not accepted.
    pub fn invalid_client() -> Self {
        Self {
            status: 401,
            ..Self::new("invalid_client", "the agent is unknown or its proof is not accepted")
        }
    }

    /// `temporarily_unavailable`.
    pub fn unavailable(description: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            status: 503,
            retry_after: Some(retry_after),
            ..Self::new("temporarily_unavailable", description)
        }
    }

    /// `interaction_required`, with what a person has to do.
    pub fn interaction_required(description: impl Into<String>, interaction: Interaction) -> Self {
        Self { interaction: Some(Box::new(interaction)), ..Self::new("interaction_required", description) }
    }

    /// The same error with the event that keeps the decision.
    #[must_use]
    pub fn with_event(self, event: EventId) -> Self {
        Self { event: Some(Box::new(event)), ..self }
    }

    /// The answer for a refusal of the pipeline.
    pub fn refused(refusal: &Refusal) -> Self {
        let words = refusal.reasons.join("; ");
        match refusal.code {
            RefusalCode::AgentNotActive => Self::new("unauthorized_client", words),
            RefusalCode::Stopped => Self::new("access_denied", words),
            RefusalCode::UserNotAllowed => Self::new("access_denied", words),
            RefusalCode::InvalidScope | RefusalCode::InsufficientScope => Self::new("invalid_scope", words),
            RefusalCode::InvalidTarget => Self::new("invalid_target", words),
            RefusalCode::GrantEnded | RefusalCode::ConnectionNotUsable => Self::new("invalid_grant", words),
        }
    }
}

const SHORTLY: Duration = Duration::from_secs(2);
/// When it is worth asking again whether a person has answered another question.
const PEOPLE_ANSWER_IN: Duration = Duration::from_secs(60);

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error, "the store failed a token request");
        Self::unavailable("the store does not answer: try again shortly", SHORTLY)
    }
}

impl From<AuditError> for TokenError {
    fn from(error: AuditError) -> Self {
        tracing::error!(error = %error, "the audit log failed a token request");
        Self::unavailable(
            "the audit log cannot be written, so nothing is released: try again shortly",
            SHORTLY,
        )
    }
}

impl From<AuthError> for TokenError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unknown => Self::invalid_client(),
            AuthError::NotActive(_) => Self::new(
                "unauthorized_client",
                "the agent is suspended or retired: ask its owner or an administrator",
            ),
            AuthError::Throttled(wait) => Self {
                status: 429,
                retry_after: Some(Duration::from_secs(wait)),
                ..Self::new("slow_down", "too many failed attempts to authenticate: wait, then try again")
            },
            AuthError::Store(error) => error.into(),
        }
    }
}

impl From<AudienceAuthError> for TokenError {
    fn from(error: AudienceAuthError) -> Self {
        match error {
            AudienceAuthError::Unknown => Self::invalid_client(),
            AudienceAuthError::Throttled(wait) => AuthError::Throttled(wait).into(),
            AudienceAuthError::Store(error) => error.into(),
        }
    }
}

impl From<KeyError> for TokenError {
    fn from(error: KeyError) -> Self {
        tracing::error!(error = %error, "no delegation token could be signed");
        Self::unavailable("the token cannot be signed at present: try again shortly", SHORTLY)
    }
}

impl From<OpenError> for TokenError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Refused => {
                Self::new("access_denied", "the user has refused this within the last 24 hours")
            }
            // A throttle, and no answer of the person: nobody has refused anything.
            OpenError::TooMany => Self {
                status: 429,
                retry_after: Some(PEOPLE_ANSWER_IN),
                ..Self::new(
                    "slow_down",
                    "five different questions to this user are open: wait until one is answered or has ended",
                )
            },
            OpenError::Audit(error) => error.into(),
            OpenError::Store(error) => error.into(),
        }
    }
}

impl From<PollError> for TokenError {
    fn from(error: PollError) -> Self {
        match error {
            PollError::InvalidGrant => Self::new(
                "invalid_grant",
                "this auth_req_id is unknown, was used already, or is another agent's",
            ),
            PollError::Store(error) => error.into(),
        }
    }
}

impl From<ConnectionError> for TokenError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::UnknownProvider(_) => {
                Self::new("invalid_target", "there is no such provider here")
            }
            ConnectionError::Disabled(_) => {
                Self::unavailable("an administrator has switched this provider off", Duration::from_secs(60))
            }
            ConnectionError::Store(error) => error.into(),
            other => {
                tracing::error!(error = %other, "a provider cannot be used");
                Self::unavailable("this provider cannot be used at present", Duration::from_secs(30))
            }
        }
    }
}

impl From<LeaseError> for TokenError {
    fn from(error: LeaseError) -> Self {
        let wait = error.retry_after().unwrap_or(SHORTLY);
        tracing::warn!(error = %error, "no provider token could be obtained");
        Self::unavailable("the provider gives no token at present: try again shortly", wait)
    }
}
