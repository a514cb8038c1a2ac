//! Provider templates through the front door: lint, load, fill, dialect and routes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

#[path = "providers/added.rs"]
mod added;
#[path = "providers/answers.rs"]
mod answers;
#[path = "providers/bends.rs"]
mod bends;
#[path = "providers/calls.rs"]
mod calls;
#[path = "providers/coverage.rs"]
mod coverage;
#[path = "providers/matching.rs"]
mod matching;
#[path = "providers/shipped.rs"]
mod shipped;

use std::collections::BTreeMap;

use valetkey::kernel::secret::{Secret, SecretString};
use valetkey::providers::{Configured, LoadedTemplate};

/// A template that holds a bit of everything and has no error.
pub const VALID: &str = include_str!("providers/valid.toml");

/// The values that [`VALID`] asks for.
pub fn company() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("tenant".to_owned(), "11111111-2222-4333-8444-555555555555".to_owned()),
        ("host".to_owned(), "Login.Example.com".to_owned()),
    ])
}

pub fn secret(text: &str) -> SecretString {
    Secret::new(text.to_owned())
}

/// A configured provider from a template's text.
pub fn configured(text: &str) -> Configured {
    let loaded = LoadedTemplate::parse("sample", "sample.toml", text)
        .unwrap_or_else(|findings| panic!("{}", bends::shown(&findings)));
    let slug = "sample".parse().unwrap();
    let asked = loaded.template.company.keys();
    let company = company().into_iter().filter(|(name, _)| asked.clone().any(|key| key == name)).collect();
    Configured::new(slug, &loaded, "app-1".to_owned(), secret("s&cret:ü"), &company).unwrap()
}
