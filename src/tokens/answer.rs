//! Answers of the token endpoint.

use std::time::Duration;

use serde::Serialize;

use crate::kernel::ids::GrantId;
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::model::limit::Limit;

/// A token that leaves, with what RFC 8693 says about it.
#[derive(Debug)]
pub struct TokenAnswer {
    /// The token.
    pub token: IssuedToken,
    /// How it is shown: `Bearer`, or `DPoP`.
    pub token_type: &'static str,
    /// Seconds that it lives.
    pub expires_in: Duration,
    /// What it holds.
    pub scope: ScopeSet,
    /// The grant that it stands on.
    pub grant: GrantId,
    /// The limits in force.
    pub limits: Vec<Limit>,
    /// The decision's event.
    pub event: crate::kernel::ids::EventId,
}

/// Which kind of token leaves.
#[derive(Debug)]
pub enum IssuedToken {
    /// It works at our gateway only.
    Gateway {
        /// The token.
        token: SecretString,
        /// Where it works.
        gateway: String,
    },
    /// The provider's own, narrowed (invariant 2).
    Provider {
        /// The token; shared with the cache that it came from.
        token: std::sync::Arc<SecretString>,
    },
}

/// What a person has to do, and how to ask for the outcome.
#[derive(Debug, Serialize)]
pub struct Interaction {
    /// The kind: `consent`.
    pub interaction: &'static str,
    /// The page.
    pub interaction_uri: String,
    /// The handle to poll with.
    #[serde(skip)]
    pub auth_req_id: Option<SecretString>,
    /// Seconds until the page ends.
    pub expires_in: u64,
    /// Seconds between polls.
    pub interval: u64,
}
