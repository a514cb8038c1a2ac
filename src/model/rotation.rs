//! The rotation of keys that is under way, as far as it must outlive the process.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::model::record::Record;

/// A rotation: everything is being sealed under the newest term, so that the older ones can be forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The term that everything is to be sealed under.
    pub to: u32,
    /// When it began.
    pub began_at: Timestamp,
    /// How many records there were then.
    pub records: u64,
    /// How many of them have been looked at in this walk.
    pub walked: u64,
    /// How many values were sealed anew.
    pub resealed: u64,
    /// The store's key of the last record that was looked at; everything up to it is done.
    pub cursor: Option<String>,
    /// When a count first found nothing left under older terms. They are retired a while later, when another
    /// count finds the same: what was sealed just before the new term may be written just after the count.
    pub counted_zero_at: Option<Timestamp>,
    /// What the last count has left, if it was not nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
}

/// What is left under older terms after a walk over everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Values in the store, and records that do not open.
    pub values: u64,
    /// Answers in the spool of the node that has counted.
    pub spooled: u64,
    /// When that was counted.
    pub counted_at: Timestamp,
    /// Seconds until it is counted again.
    pub pause: u64,
}

impl Rotation {
    /// The record's only key.
    pub const KEY: &'static str = "present";
}

impl Record for Rotation {
    const KIND: &'static str = "rotation";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}
