//! The employee's pages.

pub mod callback;
pub mod grant;
pub mod home;
pub mod interaction;
pub mod limits;
pub mod manage;
pub mod pick;
pub mod picker;
pub mod services;
pub mod trial;
