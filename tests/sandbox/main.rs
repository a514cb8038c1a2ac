//! The provider sandbox: each vendor as it speaks, the two doors, the controls.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod dingtalk;
mod doors;
mod entra;
mod lark;
mod okta;
mod routes;
mod stage;
mod wecom;
