//! Valetkey: a self-hosted token vault and OAuth broker for AI agents.
//!
//! A module imports strictly lower ranks only; `tests/architecture.rs` holds that order. "Invariant 7" in a comment
//! is that number of `docs/adr/0004-invariants.md`.
//!
//! | rank | room | what is in it |
//! | --- | --- | --- |
//! | 0 | [`kernel`] | ids, secrets, clock, entropy, scopes, text: vocabulary, no I/O |
//! | 1 | [`config`] | file, then environment: checked settings |
//! | 1 | [`jose`] | signed tokens and keys of others, read strictly |
//! | 1 | [`model`] | records and their state machines, pure |
//! | 2 | [`net`] | the one outbound HTTP client, and the address guard in front of it |
//! | 2 | [`vault`] | the only holder of keys: sealing, digests, gateway tokens, the audit log's signer |
//! | 2 | [`store`] | records, indexes and transactions over a narrow backend: memory, sled, redb |
//! | 2 | [`providers`] | templates: types, load, lint, fill, dialect, routes |
//! | 2 | [`server`] | inbound glue that knows no domain: strict forms, cookies, csrf, headers, errors |
//! | 3 | [`upstream`] | OAuth and OpenID Connect towards providers |
//! | 3 | [`audit`] | the chained, signed, durable log: record, verify, export |
//! | 4 | [`agents`] | the registry of agents, their secrets, and who they prove to be |
//! | 4 | [`audiences`] | the registry of internal back ends, and what employees have switched off |
//! | 4 | [`connections`] | providers, connections and their tokens (the refresh protocol), grants |
//! | 4 | [`custody`] | keys and data: rotation, seals outside, backup, restore, moves between engines |
//! | 5 | [`policy`] | the one decision pipeline, its permits, the kill switch |
//! | 6 | [`interactions`] | consent: open, show, answer, poll |
//! | 7 | [`tokens`] | token exchange, delegation JWTs and their keys, polling, introspection, revocation |
//! | 8 | [`gateway`] | the enforcing reverse proxy |
//! | 8 | [`sandbox`] | the provider sandbox: every vendor's dialect, for demos and tests |
//! | 8 | [`web`] | pages, OAuth endpoints, admin API, texts, assets |
//! | 9 | [`app`] | composition root: serve, jobs, init, demo |
//! | 10 | [`cli`] | one file per subcommand |

pub mod agents;
pub mod app;
pub mod audiences;
pub mod audit;
pub mod cli;
pub mod config;
pub mod connections;
pub mod custody;
pub mod gateway;
pub mod interactions;
pub mod jose;
pub mod kernel;
pub mod model;
pub mod net;
pub mod policy;
pub mod providers;
pub mod sandbox;
pub mod server;
pub mod store;
pub mod tokens;
pub mod upstream;
pub mod vault;
pub mod web;
