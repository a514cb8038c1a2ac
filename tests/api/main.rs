//! Tries to break every invariant of the product through its real sockets: one broker, the provider
//! sandbox, agents that ask and people that answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]

mod accounts;
mod app;
mod asking;
mod authentication;
mod back_ends;
mod browser;
mod budgets;
mod canary;
mod capture;
mod consent;
mod counted;
mod crowded;
mod data_classes;
mod delegation;
mod departure;
mod directory;
mod disk_full;
mod explaining;
mod forged;
mod gateway;
mod groups;
mod id_jag;
mod kill;
mod limits;
mod lookups;
mod made_up;
mod outcomes;
mod overtaken;
mod picking;
mod polling;
mod possession;
mod provider_pages;
mod provider_token;
mod published;
mod raw_requests;
mod readiness;
mod redeeming;
mod refresh;
mod refresh_family;
mod registry;
mod reports;
mod scopes;
mod security_events;
mod shapes;
mod smuggled;
mod stale_pages;
mod streams;
mod sub_agents;
mod subject;
mod teaching;
mod upstream_faults;
mod vendor;
mod versions;
mod wire;
