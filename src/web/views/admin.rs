//! The administration's pages.

pub mod agents;
pub mod lists;
pub mod overview;
pub mod providers;
pub mod stops;
