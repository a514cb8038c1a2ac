//! Provider templates: what each identity provider's dialect is, as data.

pub mod template;
