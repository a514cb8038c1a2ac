//! Valetkey: a self-hosted token vault and OAuth broker for AI agents.
//!
//! A module imports strictly lower ranks only; `tests/architecture.rs` holds that order.
//!
//! | rank | room | what is in it |
//! | --- | --- | --- |
//! | 0 | [`kernel`] | ids, secrets, clock, entropy, scopes, text: vocabulary, no I/O |
//! | 1 | [`model`] | records and their state machines, pure |
//! | 2 | [`providers`] | templates: types, load, lint, fill, dialect, routes |

pub mod kernel;
pub mod model;
pub mod providers;
