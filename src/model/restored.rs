//! That this store came out of a backup.

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::model::record::Record;

/// Written by `valetkey vault restore`, removed when an admin says that the deployment from which the backup
/// was taken runs no more. Until then its refresh tokens may have been spent since: a provider that takes each
/// of them once, or that ends a whole family when one comes back, must not be shown them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// When the backup was taken.
    pub taken_at: Timestamp,
    /// When it was restored.
    pub restored_at: Timestamp,
}

impl Restored {
    /// The record's only key.
    pub const KEY: &'static str = "store";
}

impl Record for Restored {
    const KIND: &'static str = "restored";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}
