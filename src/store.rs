//! The store: records, their indexes, and transactions, over a narrow backend.
//!
//! Codecs, indexes and sealing are written once, here; a backend knows keys and bytes. Every value is
//! sealed whole and bound to its kind and key. See `docs/adr/0002-key-layout.md`.

pub mod backend;
pub mod disk;
pub mod embedded;
pub mod folder;
pub mod latch;
pub mod measured;
pub mod memory;
pub mod postgres;
pub mod redb;
pub mod sled;

mod cache;
mod copy;
mod key;
mod repository;
mod reseal;
mod tx;
mod upgrades;

use std::path::PathBuf;

use crate::model::sealed::SealError;

pub use crate::store::backend::{Backend, Batch, Committed, Expect, number};
pub use crate::store::copy::{Content, Importer, TakeEntries, clear, compare, content, copy};
pub use crate::store::folder::FolderLock;
pub use crate::store::key::is_record;
pub use crate::store::memory::MemoryBackend;
pub use crate::store::postgres::PostgresBackend;
pub use crate::store::redb::RedbBackend;
pub use crate::store::repository::{Store, Stored, UpdateError, Updated};
pub use crate::store::reseal::{Census, Step, sealed_anew};
pub use crate::store::sled::SledBackend;
pub use crate::store::tx::Tx;

/// The longest value that a backend takes: above it sled would use files that it never syncs.
pub const MAX_VALUE: usize = 64 * 1024;
/// The longest key.
pub const MAX_KEY: usize = 4 * 1024;

/// What went wrong in the store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be used as it is: the process cannot start.
    #[error("{problem}")]
    Database {
        /// Why, and what to do.
        problem: String,
    },
    /// The database does not answer: nothing was written. Answer 503 and stay up.
    #[error("the database cannot be used now, nothing was written: {problem}")]
    Unreachable {
        /// In the driver's or the database's words.
        problem: String,
    },
    /// The disk is full: nothing was written. Answer 503 and stay up.
    #[error("the store's disk is full, nothing was written: free some space on the disk of the data folder")]
    Full,
    /// Too many writes are waiting: nothing was written. Answer 503 and stay up.
    #[error("the store is busy, nothing was written: try again")]
    Busy,
    /// A write or a sync failed. What the disk holds is not known any more: the process must end, and
    /// start again from what is durable.
    #[error("the store has failed and takes no more writes: the process must be restarted")]
    Failed,
    /// Another process has the folder.
    #[error("the data folder `{}` is in use by another process{}", .dir.display(), with_pid(.pid.as_ref()))]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// The other process, as far as it has said so.
        pid: Option<u32>,
    },
    /// The folder was set up before, and what it held is gone.
    #[error(
        "`{}` says that this data folder was set up, but its store is missing or empty: \
         bring the folder back, or restore a backup with `valetkey vault restore`", .marker.display()
    )]
    Missing {
        /// The file that says so.
        marker: PathBuf,
    },
    /// The folder was set up with another engine.
    #[error(
        "the data folder `{}` was set up with the engine `{found}`, not with `{asked}`: \
         write `engine = \"{found}\"` below `[storage]`, or move its records with `valetkey vault migrate`",
        .dir.display()
    )]
    OtherEngine {
        /// The folder.
        dir: PathBuf,
        /// What it was set up with.
        found: String,
        /// What was asked for.
        asked: &'static str,
    },
    /// The folder's records were moved elsewhere, and may have changed there since.
    #[error(
        "the records of this data folder were moved to {to}, and two brokers with the same refresh tokens would end each \
         other's: have the settings point there, or, if that copy will never be started, remove `{}`", .mark.display()
    )]
    Moved {
        /// The file that says so.
        mark: PathBuf,
        /// Where to.
        to: String,
    },
    /// The folder cannot be used.
    #[error("the data folder `{}` cannot be used: {problem}", .dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// Why.
        problem: String,
    },
    /// Files are damaged.
    #[error(
        "`{}` is damaged: {problem}; keep the folder as it is, and restore a backup with `valetkey vault restore`",
        .path.display()
    )]
    Corrupt {
        /// The file or folder.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// A sealed record does not open where it stands.
    #[error("the record `{key}` cannot be opened: {source}")]
    Sealed {
        /// The record.
        key: String,
        /// Why.
        source: SealError,
    },
    /// A record cannot be written as, or read from, bytes.
    #[error("the record `{key}` cannot be stored: {problem}")]
    Codec {
        /// The record.
        key: String,
        /// Why.
        problem: String,
    },
    /// A record is too big.
    #[error("the record `{key}` has {bytes} bytes sealed, the store takes {MAX_VALUE} at most")]
    TooLarge {
        /// The record.
        key: String,
        /// Its size.
        bytes: usize,
    },
    /// It should be empty, and is not.
    #[error("the store to write into is not empty")]
    NotEmpty,
    /// A copy is not what was copied.
    #[error(
        "the copy differs from what was copied, first at `{key}`: do not use it; does something still write the \
         records that were copied?"
    )]
    Differs {
        /// The first entry that differs.
        key: String,
    },
    /// A write was not durable in time. It may still be.
    #[error("the store is too slow: try again")]
    TooSlow,
    /// An update lost against others too often.
    #[error("the record `{key}` is being changed too often: try again")]
    Contended {
        /// The record.
        key: String,
    },
}

fn with_pid(pid: Option<&u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}
