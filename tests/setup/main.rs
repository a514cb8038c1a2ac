//! The real program, from an empty folder on: set-up, the whole main job through the sandbox's proxy with
//! the shipped templates as they are, the command line, ends and new starts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod agent;
mod browser;
#[path = "../store/cluster.rs"]
#[allow(dead_code, reason = "the tests of the store use all of it")]
mod cluster;
mod commands;
mod demo;
mod deployment;
mod doctor;
#[path = "../signin/draft.rs"]
#[allow(dead_code, reason = "the tests of signing in use all of it")]
mod draft;
mod first_start;
mod health;
mod journey;
mod keyrings;
mod moving;
mod nodes;
mod observed;
mod register;
mod releases;
mod replay;
mod seventh;
mod token;
mod vault;
