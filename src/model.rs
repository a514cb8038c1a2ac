//! The records that the store keeps, and their state machines. Pure: no I/O, no clock.

pub mod agent;
pub mod agreement;
pub mod audience;
pub mod audit_head;
pub mod connection;
pub mod credential;
pub mod event;
pub mod explanation;
pub mod grant;
pub mod group;
pub mod interaction;
pub mod kinds;
pub mod limit;
pub mod provider;
pub mod record;
pub mod restored;
pub mod rotation;
pub mod sealed;
pub mod session;
pub mod signing_key;
pub mod stop;
pub mod token;
pub mod transmitter;
pub mod upgrade;
pub mod usage;
pub mod user;
