//! The pages, through their front door.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod consent;
mod doors;
mod editing;
mod home;
mod limits;
mod registering;
mod signing_in;
mod world;
