//! The employee's pages.

pub mod callback;
pub mod home;
pub mod interaction;
pub mod manage;
