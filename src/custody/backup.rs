//! Backups: everything that a deployment needs to go on, but for the root key and the settings.
//!
//! A backup is taken while everything goes on. In this order: the answers that lie in the spool, the store at one
//! version, the spool again, then the audit log, which so tells of everything that the store holds. Records
//! stay as they are sealed, and the keyring as it is wrapped: who takes a backup reads none of it.

mod container;
mod frame;
pub(super) mod restore;
mod write;

pub use container::{Opening, Sealing};
pub use restore::{Restore, Restored, Target};
pub use write::Backup;

use std::path::PathBuf;

use crate::audit::AuditError;
use crate::store::StoreError;
use crate::vault::VaultError;

/// A backup was not taken, or cannot be restored. Where it cannot, nothing is left of the attempt.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keyring.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A file.
    #[error("`{}`: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not an age recipient.
    #[error("`{0}` is no age recipient: it begins with `age1`, see `age-keygen`")]
    Recipient(String),
    /// No identity that opens it.
    #[error("this backup is encrypted to an age recipient: state its key with --identity ({0})")]
    Identity(String),
    /// Sealing or age failed.
    #[error("the backup cannot be sealed: {0}")]
    Sealing(String),
    /// Not one, or damaged.
    #[error("this is no whole backup: {0}; nothing was restored")]
    Damaged(String),
    /// There is something in the place already.
    #[error("`{}` is not empty: records are brought into an empty place only", .0.display())]
    NotEmpty(PathBuf),
    /// A rotation has begun meanwhile: parts of it are sealed under a term that its keyring does not know.
    #[error(
        "keys were rotated while this backup was taken, and its keyring does not open all of it: take it again"
    )]
    Rotated,
    /// Whoever asked has gone.
    #[error("nobody takes the backup any more")]
    Gone,
}
