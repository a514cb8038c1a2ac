//! The client towards providers, against made-up providers that say what each test wants.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod answers;
mod authorize;
mod callback;
mod dialects;
mod discovery;
mod id_tokens;
mod shipped;
mod world;
