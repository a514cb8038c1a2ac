//! Transmitters of security events: who may tell us that somebody has left or was signed out.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::TransmitterId;
use crate::model::record::Record;

/// Somebody who may push security events (RFC 8935).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transmitter {
    /// Identifier.
    pub id: TransmitterId,
    /// Name to show.
    pub name: String,
    /// Its `iss`.
    pub issuer: String,
    /// The `aud` that its tokens must have.
    pub audience: String,
    /// Where its public keys are.
    pub keys: TransmitterKeys,
    /// The issuer of the people whom it may speak of: the `iss` of its subjects, and of our users.
    pub subject_issuer: String,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// Where public keys are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransmitterKeys {
    /// At a URL, fetched.
    Url(String),
    /// Uploaded: a JWK Set as JSON.
    Set(String),
}

impl Record for Transmitter {
    const KIND: &'static str = "transmitter";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("issuer", self.issuer.clone())]
    }
}

/// A security event that was acted on, so that nobody can play it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentEvent {
    /// Digest of issuer and `jti`, in hexadecimal.
    pub digest: String,
    /// Until when it is kept: after that its `iat` is too old in any case.
    pub until: Timestamp,
}

impl Record for SpentEvent {
    const KIND: &'static str = "spent_event";

    fn key(&self) -> String {
        self.digest.clone()
    }
}
