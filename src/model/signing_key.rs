//! Keys that sign delegation JWTs. Only the public part is ever shown.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::model::audience::Algorithm;
use crate::model::record::{Record, SealedField};
use crate::model::sealed::{Context, Sealed};

/// A signing key.
#[derive(Clone, Serialize, Deserialize)]
pub struct SigningKey {
    /// Its `kid`.
    pub id: String,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// The private key in PKCS#8.
    pub private: Sealed,
    /// The public key as a JWK.
    pub public: serde_json::Value,
    /// When it was made and first published.
    pub created_at: Timestamp,
    /// From when it signs: later than it is published, so that caches of the key set know it by then.
    pub signs_from: Timestamp,
    /// When its successor began to sign; it stays published until its last token has ended.
    pub replaced_at: Option<Timestamp>,
}

impl SigningKey {
    /// What its private part is bound to.
    pub const fn context(id: &str) -> Context<'_> {
        Context { kind: Self::KIND, id, field: "private", generation: 0 }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}, {})", self.id, self.algorithm.as_str())
    }
}

impl Record for SigningKey {
    const KIND: &'static str = "signing_key";
    const SEALED: &'static [SealedField] =
        &[SealedField { path: &["private"], field: "private", generation: None }];

    fn key(&self) -> String {
        self.id.clone()
    }
}
