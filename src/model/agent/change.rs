//! The history of an agent: who changed what, when.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, EventId};
use crate::model::record::Record;

/// One change of an agent, written together with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastChange {
    /// Which agent.
    pub agent: AgentId,
    /// When.
    pub at: Timestamp,
    /// Who: an admin, or what in Valetkey did it.
    pub by: String,
    /// What was done, such as `agent.suspended`.
    pub action: String,
    /// What is different now, a line each.
    pub changes: Vec<String>,
    /// The entry of the audit log that tells of it.
    pub event: EventId,
}

impl Record for PastChange {
    const KIND: &'static str = "agent_change";

    /// In the order of time within one agent.
    fn key(&self) -> String {
        format!("{}/{:020}/{}", self.agent, self.at.millis(), self.event)
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("agent", self.agent.to_string())]
    }
}
