//! The kill switch.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, ProviderSlug, StopId, UserId};
use crate::model::record::Record;

/// What a stop refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "target", content = "id")]
pub enum StopTarget {
    /// One agent.
    Agent(AgentId),
    /// One provider.
    Provider(ProviderSlug),
    /// Everything done for one user.
    User(UserId),
    /// Everything.
    All,
}

/// A stop in force: what it refuses is refused until it is resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Identifier, with which it is resumed.
    pub id: StopId,
    /// What is refused.
    pub target: StopTarget,
    /// Why, in the admin's words.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// All stops in force, as one record: every decision reads them, so it must take one look-up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stops {
    /// The stops in force.
    pub active: Vec<Stop>,
}

impl Stops {
    /// The record's only key.
    pub const KEY: &'static str = "active";

    /// The first stop that refuses an action of that agent for that user at that provider.
    pub fn refusing(
        &self,
        agent: &AgentId,
        user: Option<&UserId>,
        provider: Option<&ProviderSlug>,
    ) -> Option<&Stop> {
        self.active.iter().find(|stop| match &stop.target {
            StopTarget::All => true,
            StopTarget::Agent(stopped) => stopped == agent,
            StopTarget::User(stopped) => Some(stopped) == user,
            StopTarget::Provider(stopped) => Some(stopped) == provider,
        })
    }
}

impl Record for Stops {
    const KIND: &'static str = "stops";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}
