//! Groups as the company's directory keeps them.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::GroupId;
use crate::model::record::Record;
use crate::model::user::email_index;

/// The longest name of a group.
pub const GROUP_NAME_MAX: usize = 254;

/// A group of the company's directory. Who is in it stands in the users' records, by its name: what decides
/// about a person reads that person's record only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Identifier.
    pub id: GroupId,
    /// Its name, unique here: agents and back ends name groups by it.
    pub display_name: String,
    /// The name that its members have from before, while they are being given the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_name: Option<String>,
    /// The directory's identifier for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// When it was entered.
    pub created_at: Timestamp,
    /// When the directory last changed it or its members.
    pub changed_at: Timestamp,
}

impl Record for Group {
    const KIND: &'static str = "group";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn unique(&self) -> Vec<(&'static str, String)> {
        // A name is free again once nobody has it from here.
        let names = std::iter::once(&self.display_name).chain(&self.former_name);
        names.map(|name| ("name", group_index(name))).collect()
    }
}

/// The index value for a group's name; names that differ in case only are too alike to be two groups.
pub fn group_index(name: &str) -> String {
    email_index(name)
}
