//! The composition root: the only place where the real clock, randomness, disk and network are named.

pub mod demo;
pub mod headless;
pub mod init;
mod jobs;
mod open;
pub mod serve;
pub mod services;

pub use open::{OpenError, open, sandbox_origins};
