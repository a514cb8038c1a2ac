//! Pages: one context struct each, with a `sample` for looking at it. Handlers fill them, askama
//! templates in `templates/` lay them out. No page holds markup that came from outside.

pub mod admin;
pub mod consent;
pub mod error;
pub mod events;
pub mod grant;
pub mod home;
pub mod limit_fields;
pub mod limits;
pub mod login;
pub mod outcome;
pub mod page;
pub mod picker;
pub mod shown;
pub mod trial;

pub use consent::ScopeRow;
pub use page::{Forms, Notice, Page, Section, SignedIn, Tone};
pub use shown::{Shown, When, letter};
