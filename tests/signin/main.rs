//! How agents prove who they are, with real key material: one broker, and for every way a table of proofs that
//! are accepted and of proofs that differ from those in one thing and are not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]

#[allow(dead_code, reason = "shared with another test binary")]
#[path = "../api/app.rs"]
mod app;
#[allow(dead_code, reason = "shared with another test binary")]
#[path = "../api/browser.rs"]
mod browser;
#[allow(dead_code, reason = "shared with another test binary")]
#[path = "../api/published.rs"]
mod publisher;
#[allow(dead_code, reason = "shared with another test binary")]
#[path = "../api/wire.rs"]
mod wire;

mod bends;
mod bound;
mod certificates;
mod draft;
mod mtls;
mod optional_pins;
mod own_keys;
mod platforms;
mod published;
mod registration;
mod replay;
mod secrets;
mod stage;
