//! The composition root: the only place where the real clock, randomness, disk and network are named.

mod claim;
pub mod demo;
pub mod doctor;
pub mod init;
pub mod jobs;
mod keys;
mod moving;
mod open;
pub mod serve;
pub mod services;
mod shared;
pub mod tls;
pub mod traces;
mod witness;

pub use keys::rekey;
pub use moving::{Filling, records};
pub use open::{OpenError, embedded, open, open_with, root_key, secret};
pub use shared::Rewrapped;

/// Runs one future on the runtime that the listener needs, and returns what it returns.
pub fn block_on<F: Future>(future: F) -> F::Output {
    actix_web::rt::System::new().block_on(future)
}
