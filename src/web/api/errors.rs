//! The one list that turns errors of the rooms below into problem documents.

use actix_web::http::StatusCode;

use crate::agents::AgentError;
use crate::audiences::AudienceError;
use crate::connections::{ConnectionError, GrantError};
use crate::custody::CustodyError;
use crate::custody::backup::BackupError;
use crate::policy::{DepartureError, StopError};
use crate::server::precondition::Stale;
use crate::server::problem::Problem;
use crate::store::StoreError;
use crate::tokens::KeyError;

pub fn store(error: StoreError) -> Problem {
    tracing::error!(error = %error, "the store failed an admin request");
    Problem::unavailable()
}

pub fn audit(error: crate::audit::AuditError) -> Problem {
    tracing::error!(error = %error, "the audit log failed an admin request");
    Problem::unavailable()
}

pub fn agent(error: AgentError) -> Problem {
    match error {
        AgentError::NotFound(_) => Problem::not_found("agent"),
        AgentError::NoTrustSource(_) => Problem::not_found("trust source"),
        AgentError::Retired(error) => Problem::conflict(error.to_string()),
        AgentError::Changed => Stale.into(),
        AgentError::Store(error) => store(error),
        AgentError::Audit(error) => audit(error),
        other => Problem::bad_request("invalid_agent", other.to_string()),
    }
}

pub fn trust_source(error: AgentError) -> Problem {
    match error {
        error @ (AgentError::Invalid { .. } | AgentError::UnknownOwner(_)) => {
            Problem::bad_request("invalid_trust_source", error.to_string())
        }
        other => agent(other),
    }
}

pub fn audience(error: AudienceError) -> Problem {
    match error {
        AudienceError::NotFound(_) => Problem::not_found("audience"),
        AudienceError::Taken(_) => Problem::conflict(error.to_string()),
        AudienceError::Changed => Stale.into(),
        AudienceError::Store(error) => store(error),
        AudienceError::Audit(error) => audit(error),
        other => Problem::bad_request("invalid_audience", other.to_string()),
    }
}

pub fn custody(error: CustodyError) -> Problem {
    match error {
        CustodyError::UnderWay
        | CustodyError::OtherRootKey
        | CustodyError::GoneBack { .. }
        | CustodyError::NotRestored => Problem::conflict(error.to_string()),
        CustodyError::Store(error) => store(error),
        CustodyError::Audit(error) => audit(error),
        error @ (CustodyError::Vault(_) | CustodyError::Published { .. }) => {
            tracing::error!(error = %error, "keys or data failed an admin request");
            Problem::unavailable()
        }
    }
}

pub fn backup(error: BackupError) -> Problem {
    match error {
        BackupError::Recipient(_) => Problem::bad_request("invalid_recipient", error.to_string()),
        BackupError::Store(error) => store(error),
        BackupError::Audit(error) => audit(error),
        other => {
            tracing::error!(error = %other, "a backup could not be begun");
            Problem::unavailable()
        }
    }
}

pub fn key(error: KeyError) -> Problem {
    tracing::error!(error = %error, "a signing key failed an admin request");
    Problem::unavailable()
}

pub fn connection(error: ConnectionError) -> Problem {
    match error {
        ConnectionError::UnknownProvider(_) => Problem::not_found("provider"),
        ConnectionError::Store(error) => store(error),
        ConnectionError::Audit(error) => audit(error),
        other => Problem::bad_request("invalid_provider", other.to_string()),
    }
}

pub fn grant(error: GrantError) -> Problem {
    match error {
        GrantError::NotFound => Problem::not_found("grant"),
        GrantError::Store(error) => store(error),
        GrantError::Audit(error) => audit(error),
        other => Problem::bad_request("invalid_grant", other.to_string()),
    }
}

pub fn departure(error: DepartureError) -> Problem {
    match error {
        DepartureError::NotFound => Problem::not_found("user"),
        DepartureError::Store(error) => store(error),
        DepartureError::Audit(error) => audit(error),
        other => {
            tracing::error!(error = %other, "a departure failed");
            Problem::unavailable()
        }
    }
}

pub fn stop(error: StopError) -> Problem {
    match error {
        StopError::NoReason => Problem::bad_request("invalid_stop", error.to_string()),
        StopError::NoTarget(_) => Problem::new(StatusCode::NOT_FOUND, "not_found", error.to_string()),
        StopError::NotFound => Problem::not_found("stop"),
        StopError::Store(error) => store(error),
        StopError::Audit(error) => audit(error),
    }
}
