//! Provider templates: what each identity provider's dialect is, as data.
//!
//! A file in `providers/` (or in an admin's own folder) becomes a [`load::LoadedTemplate`] only when
//! [`check::lint`] has nothing to say about it; [`fill::fill`] puts a company's values in; [`dialect`]
//! writes token calls and reads their answers; [`routes`] says which scope opens which call.

pub mod check;
pub mod company;
pub mod configured;
pub mod coverage;
pub mod dialect;
pub mod fill;
pub mod load;
pub mod lookup;
pub mod pattern;
pub mod placeholder;
pub mod routes;
pub mod template;
pub mod urls;

pub use configured::Configured;
pub use load::{LoadedTemplate, Templates};
pub use routes::{CompiledRoute, RouteMatch, RouteTable};
