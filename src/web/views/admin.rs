//! The administration's pages.

pub mod agent_edit;
pub mod agents;
pub mod audiences;
pub mod credentials;
pub mod lists;
pub mod overview;
pub mod providers;
pub mod reports;
pub mod stops;
pub mod trust;
