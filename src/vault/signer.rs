//! The key that signs the audit log's heads.

use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use crate::kernel::encode;
use crate::kernel::ids::DeploymentId;

/// Signs heads with Ed25519. The public key may be given to anyone; the private one never leaves.
#[derive(Clone)]
pub struct AuditSigner {
    pair: Arc<Ed25519KeyPair>,
    name: String,
}

impl AuditSigner {
    pub(super) fn new(deployment: &DeploymentId, seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        Some(Self { pair: Arc::new(pair), name: format!("valetkey/audit/{deployment}") })
    }

    /// The same key for one node of several: its name tells the nodes' logs apart.
    #[must_use]
    pub fn of_node(self, node: &str) -> Self {
        Self { name: format!("{}/{node}", self.name), ..self }
    }

    /// The key's name, which is also the origin of the heads that it signs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The signature of some bytes.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        let mut out = [0; 64];
        for (to, from) in out.iter_mut().zip(self.pair.sign(bytes).as_ref()) {
            *to = *from;
        }
        out
    }

    /// The public key.
    pub fn public_key(&self) -> [u8; 32] {
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(self.pair.public_key().as_ref()) {
            *to = *from;
        }
        out
    }

    /// Eight hexadecimal digits that tell keys apart, as C2SP's signed notes make them:
    /// SHA-256 of name, line end, algorithm 1, public key.
    pub fn key_id(&self) -> String {
        encode::hex(&key_hash(&self.name, &self.public_key()))
    }
}

/// The four bytes that stand before a signature in a signed note.
pub fn key_hash(name: &str, public_key: &[u8; 32]) -> [u8; 4] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(name.as_bytes());
    context.update(b"\n\x01");
    context.update(public_key);
    let mut out = [0; 4];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    out
}

impl std::fmt::Debug for AuditSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuditSigner({})", self.key_id())
    }
}
