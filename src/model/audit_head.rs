//! The newest signed head of each node's audit log, where all nodes can see it.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::model::record::Record;

/// One node's newest head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// The node.
    pub node: String,
    /// How many entries its log had.
    pub size: u64,
    /// The signed head.
    pub note: String,
    /// When it was put here.
    pub at: Timestamp,
}

impl Record for AuditHead {
    const KIND: &'static str = "audit_head";

    fn key(&self) -> String {
        self.node.clone()
    }
}
