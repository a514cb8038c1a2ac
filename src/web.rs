//! What people and admins see and call: pages, and the endpoints behind them.

pub mod assets;
pub mod texts;
pub mod views;
