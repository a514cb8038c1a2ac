//! Vocabulary that every room shares: identifiers, secrets, time, randomness, scopes, text. No I/O.

pub mod bearer;
pub mod clock;
pub mod data_class;
pub mod encode;
pub mod entropy;
pub mod ids;
pub mod offset;
pub mod said;
pub mod scope;
pub mod secret;
pub mod text;
pub mod throttle;
pub mod trace;
