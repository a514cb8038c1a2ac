//! What people and admins see and call: pages, and the endpoints behind them.

pub mod api;
pub mod assets;
pub mod oauth;
pub mod texts;
pub mod views;
