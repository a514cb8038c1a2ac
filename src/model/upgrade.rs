//! What was done once to the records that earlier versions had written.

use serde::{Deserialize, Serialize};

use crate::model::record::Record;

/// Says that records are as this version writes them. A store without it may hold some from before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Upgrades {
    /// Every connection that a start has to finish is in the index of those.
    pub unsettled_indexed: bool,
    /// Every user is in the index of the members of each of their groups.
    pub members_indexed: bool,
}

impl Upgrades {
    /// The record's only key.
    pub const KEY: &'static str = "store";
}

impl Record for Upgrades {
    const KIND: &'static str = "upgrades";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}
