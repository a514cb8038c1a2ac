//! Bad input gets a clear answer and loses nothing: from agents, from scripts, from browsers, from providers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

#[path = "../setup/agent.rs"]
mod agent;
#[path = "../setup/browser.rs"]
mod browser;

mod api;
mod broker;
mod pages;
mod requests;
mod vendors;
