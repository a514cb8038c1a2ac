//! Denials that teach: a stable code, what is wrong, and what to do instead.

use std::time::Duration;

use serde::Serialize;

use crate::audit::AuditError;
use crate::connections::{ConnectionError, LeaseError};
use crate::gateway::call::Unreadable;
use crate::gateway::path::Ambiguous;
use crate::kernel::ids::{EventId, InteractionId};
use crate::kernel::said::{self, Said};
use crate::model::limit::Limit;
use crate::net::NetError;
use crate::policy::Refusal;
use crate::store::StoreError;
use crate::tokens::VerifyError;
use crate::tokens::dpop::Unproven;

/// The stable codes of gateway denials (`docs/agents.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialCode {
    /// The request could be read in two ways, or not at all.
    InvalidRequest,
    /// The token does not work.
    InvalidToken,
    /// The caller has not shown that they hold the token's key (RFC 9449, section 7.1).
    InvalidDpopProof,
    /// The proof has to be made with a nonce of ours (RFC 9449, section 9).
    UseDpopNonce,
    /// No scope that the token holds opens the call.
    InsufficientScope,
    /// The call reaches beyond what the employee allowed.
    LimitExceeded,
    /// No scope at all opens the call.
    RouteNotAllowed,
    /// A person has to help.
    InteractionRequired,
    /// The provider answered badly or not at all.
    UpstreamError,
    /// We cannot answer at present.
    TemporarilyUnavailable,
}

impl DenialCode {
    /// The code as it is written in the body.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InsufficientScope => "insufficient_scope",
            Self::LimitExceeded => "limit_exceeded",
            Self::RouteNotAllowed => "route_not_allowed",
            Self::InteractionRequired => "interaction_required",
            Self::UpstreamError => "upstream_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// What was allowed, and what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitShown {
    /// The kind of limit.
    pub kind: String,
    /// What it allows.
    pub allowed: String,
    /// What the call asked for.
    pub asked: String,
}

/// Where a call reaches beyond a limit, so that a person can be asked for just that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// The limit in force.
    pub limit: Limit,
    /// The identifier, address or moment that lies outside; none where the call itself does.
    pub asked: Option<String>,
}

/// An interaction in which a person can allow what was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// The interaction.
    pub interaction: InteractionId,
    /// Where the person goes.
    pub uri: String,
    /// With what the agent polls; good for this agent only.
    pub auth_req_id: String,
}

/// A call that is not forwarded, or whose answer is not released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Code.
    pub code: DenialCode,
    /// HTTP status.
    pub status: u16,
    /// Words for the agent.
    pub description: String,
    /// The same, sentence by sentence, for other languages.
    pub said: Vec<Said>,
    /// The limit, where one refused.
    pub limit: Option<Box<LimitShown>>,
    /// Where it reaches beyond that limit, as far as that can be told in one value.
    pub beyond: Option<Box<Beyond>>,
    /// What a person can do about it.
    pub remedy: Option<Box<Remedy>>,
    /// Whether the caller has to show a proof of possession.
    pub wants_proof: bool,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// Whether it stands for an answer of the provider that was lost: what was asked may have been done.
    pub is_lost: bool,
    /// The event that keeps it.
    pub event: Option<Box<EventId>>,
}

impl Denial {
    fn new(code: DenialCode, status: u16, description: impl Into<String>) -> Self {
        let description = description.into();
        let said = vec![Said::plain(description.as_str())];
        Self {
            code,
            status,
            description,
            said,
            limit: None,
            beyond: None,
            remedy: None,
            wants_proof: matches!(code, DenialCode::InvalidDpopProof | DenialCode::UseDpopNonce),
            retry_after: None,
            is_lost: false,
            event: None,
        }
    }

    /// The token is missing or does not work.
    pub fn invalid_token() -> Self {
        let words = "the token is missing, unknown, expired or revoked: obtain one by token exchange";
        Self::new(DenialCode::InvalidToken, 401, words)
    }

    /// The path or query can be read in two ways.
    pub fn ambiguous(error: Ambiguous) -> Self {
        Self::new(DenialCode::InvalidRequest, 400, error.to_string())
    }

    /// The request cannot be read.
    pub fn unreadable(error: Unreadable) -> Self {
        let status = match error {
            Unreadable::Method => 405,
            Unreadable::TooLarge | Unreadable::TooLong => 413,
            Unreadable::Late => 408,
            Unreadable::Encoding => 415,
            Unreadable::Authorization => 401,
            Unreadable::AbsoluteForm | Unreadable::Shape | Unreadable::Body | Unreadable::Ambiguous => 400,
        };
        let code = if status == 401 { DenialCode::InvalidToken } else { DenialCode::InvalidRequest };
        Self::new(code, status, error.to_string())
    }

    /// The request is wrong in some other way.
    pub fn bad_request(status: u16, description: impl Into<String>) -> Self {
        Self::new(DenialCode::InvalidRequest, status, description)
    }

    /// The same in words that can be told in another language.
    pub fn unclear(said: Said) -> Self {
        Self { said: vec![said.clone()], ..Self::bad_request(400, said.english()) }
    }

    /// No scope opens the call.
    pub fn route(said: Said) -> Self {
        Self { said: vec![said.clone()], ..Self::new(DenialCode::RouteNotAllowed, 403, said.english()) }
    }

    /// The call reaches beyond a bound.
    pub fn limit(said: Vec<Said>, limit: LimitShown) -> Self {
        let denial = Self::new(DenialCode::LimitExceeded, 403, said::english(&said));
        Self { limit: Some(Box::new(limit)), said, ..denial }
    }

    /// The same denial, with the limit that would have to be wider, and by what.
    #[must_use]
    pub fn beyond(self, limit: &Limit, asked: Option<&str>) -> Self {
        let beyond = Beyond { limit: limit.clone(), asked: asked.map(str::to_owned) };
        Self { beyond: Some(Box::new(beyond)), ..self }
    }

    /// The same denial, with what a person can do about it.
    #[must_use]
    pub fn with_remedy(self, remedy: Remedy) -> Self {
        let denial = self.adding(Said::of("remedy"));
        Self { remedy: Some(Box::new(remedy)), ..denial }
    }

    /// The same denial with more words.
    #[must_use]
    pub fn adding(mut self, words: Said) -> Self {
        self.said.push(words);
        Self { description: said::english(&self.said), ..self }
    }

    /// Its sentences, for the log.
    pub fn reasons(&self) -> Vec<String> {
        self.said.iter().map(Said::english).collect()
    }

    /// Those of its sentences that can be told in another language.
    pub fn told(&self) -> Vec<Said> {
        self.said.iter().filter(|said| said.has_key()).cloned().collect()
    }

    /// The pipeline refuses.
    pub fn refused(refusal: &Refusal) -> Self {
        let code = DenialCode::from(refusal.code);
        let status = if code == DenialCode::InvalidToken { 401 } else { 403 };
        let said = refusal.reasons.iter().map(|reason| Said::plain(reason.as_str())).collect();
        Self { said, ..Self::new(code, status, refusal.reasons.join("; ")) }
    }

    /// A person has to help.
    pub fn needs_person(reasons: &[String]) -> Self {
        let mut said: Vec<Said> = reasons.iter().map(|reason| Said::plain(reason.as_str())).collect();
        said.push(Said::of("ask_by_exchange"));
        let denial = Self::new(DenialCode::InteractionRequired, 403, said::english(&said));
        Self { said, ..denial }
    }

    /// The provider's answer cannot be passed on.
    pub fn upstream(status: u16, description: impl Into<String>) -> Self {
        Self::new(DenialCode::UpstreamError, status, description)
    }

    /// We cannot answer at present.
    pub fn unavailable(description: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(DenialCode::TemporarilyUnavailable, 503, description)
        }
    }

    /// The same denial with the event that keeps it.
    #[must_use]
    pub fn with_event(self, event: EventId) -> Self {
        Self { event: Some(Box::new(event)), ..self }
    }

    /// The JSON body.
    pub fn body(&self) -> serde_json::Value {
        let mut body = serde_json::json!({
            "error": self.code.as_str(),
            "error_description": self.description,
        });
        if let (Some(limit), Some(members)) = (&self.limit, body.as_object_mut()) {
            members.insert("limit".to_owned(), serde_json::json!(limit));
        }
        if let (Some(remedy), Some(members)) = (&self.remedy, body.as_object_mut()) {
            members.insert("interaction_uri".to_owned(), remedy.uri.as_str().into());
            members.insert("auth_req_id".to_owned(), remedy.auth_req_id.as_str().into());
        }
        body
    }
}

const SHORTLY: Duration = Duration::from_secs(2);

impl From<VerifyError> for Denial {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Invalid => Self::invalid_token(),
            VerifyError::Bound | VerifyError::Loose => {
                Self { wants_proof: true, ..Self::new(DenialCode::InvalidToken, 401, error.to_string()) }
            }
            VerifyError::Unbound | VerifyError::OtherCertificate => {
                Self::new(DenialCode::InvalidToken, 401, error.to_string())
            }
            VerifyError::Unproven(unproven) => match unproven {
                Unproven::Bad(problem) => Self::new(DenialCode::InvalidDpopProof, 401, problem.to_string()),
                Unproven::Nonce => Self::new(DenialCode::UseDpopNonce, 401, unproven.to_string()),
                Unproven::Crowded => Self::unavailable(unproven.to_string(), SHORTLY),
                Unproven::Store(error) => error.into(),
            },
            VerifyError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Denial {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error, "the store failed a gateway call");
        Self::unavailable("the store does not answer: try again shortly", SHORTLY)
    }
}

impl From<AuditError> for Denial {
    fn from(error: AuditError) -> Self {
        tracing::error!(error = %error, "the audit log failed a gateway call");
        Self::unavailable(
            "the audit log cannot be written, so nothing is released: try again shortly",
            SHORTLY,
        )
    }
}

impl From<ConnectionError> for Denial {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::UnknownProvider(_) => Self::route(Said::of("no_such_provider")),
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

impl From<LeaseError> for Denial {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::NeedsReauth(_) | LeaseError::Disconnected => {
                Self::needs_person(&[String::from("the connection has to be repaired by the user")])
            }
            LeaseError::HeldBack => Self::unavailable(
                "the store was restored from a backup; renewals wait for an administrator: try again later",
                Duration::from_secs(300),
            ),
            other => {
                let wait = other.retry_after().unwrap_or(SHORTLY);
                tracing::warn!(error = %other, "no provider token could be obtained");
                Self::unavailable("the provider gives no token at present: try again shortly", wait)
            }
        }
    }
}

impl From<NetError> for Denial {
    fn from(error: NetError) -> Self {
        tracing::warn!(error = %error, "a gateway call failed upstream");
        let denial = match error {
            NetError::TooSlow { sent: false } => Self::upstream(504, "the provider took too long"),
            NetError::TooSlow { sent: true } => Self::upstream(
                504,
                "the provider took too long; whether it acted is not known, so check before trying again",
            ),
            NetError::TooLarge => {
                Self::upstream(502, "the provider's answer is larger than the gateway passes on")
            }
            NetError::Refused { .. } => {
                Self::upstream(502, "the provider's host may not be dialled from here")
            }
            NetError::NotSent | NetError::Tls => Self::upstream(502, "the provider cannot be reached"),
            NetError::AnswerLost => Self::upstream(
                502,
                "the provider's answer was lost; whether it acted is not known, so check before trying again",
            ),
        };
        Self { is_lost: error.may_have_been_delivered(), ..denial }
    }
}
