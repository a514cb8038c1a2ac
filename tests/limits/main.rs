//! Limits at the gateway: for each provider a table of calls inside and outside of what was granted. Every refused
//! call is a real attempt: the provider token that Valetkey uses would get what lies outside, and each row shows
//! that as well. The sandbox's own record then proves that nothing outside was fetched, or not released.
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
#[path = "../api/wire.rs"]
mod wire;

mod dingtalk;
mod entra;
mod lark;
mod okta;
mod row;
mod side_by_side;
mod stage;
mod try_row;
mod wecom;
