//! The demo's people and their passwords, random per run.

use serde_json::json;

use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};
use crate::kernel::secret::SecretString;

/// The first employee; owns the personal agent.
pub const ALICE: &str = "alice@example.com";
/// The second employee.
pub const BOB: &str = "bob@example.com";
/// Someone with accounts at another company.
pub const MALLORY: &str = "mallory@elsewhere.example";
/// The admin.
pub const ADMIN: &str = "admin@example.com";

/// Everyone's passwords.
pub struct Passwords {
    /// The admin's.
    pub admin: SecretString,
    sandbox: Vec<(String, SecretString)>,
}

/// A random password that can be typed.
pub fn password(entropy: &dyn Entropy) -> SecretString {
    SecretString::new(encode::base62(&entropy::bytes::<12>(entropy)))
}

impl Passwords {
    /// Fresh ones.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let sandbox = [ALICE, BOB, MALLORY].map(|email| (email.to_owned(), password(entropy)));
        Self { admin: password(entropy), sandbox: sandbox.into() }
    }

    /// Further employees, by number.
    #[must_use]
    pub fn with_crowd(mut self, count: u16, entropy: &dyn Entropy) -> Self {
        let numbered = (1..=count).map(|number| (format!("clerk{number}@example.com"), password(entropy)));
        self.sandbox.extend(numbered);
        self
    }

    /// For the sandbox's sign-in.
    pub fn accounts(&self) -> Vec<(String, SecretString)> {
        self.sandbox
            .iter()
            .map(|(email, password)| (email.clone(), SecretString::new(password.expose().clone())))
            .collect()
    }

    /// The employees with their passwords, to be shown.
    pub fn employees(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sandbox
            .iter()
            .filter(|(email, _)| email != MALLORY)
            .map(|(email, password)| (email.as_str(), password.expose_str()))
    }

    /// One person's password.
    pub fn of(&self, email: &str) -> Option<&str> {
        self.sandbox.iter().find(|(who, _)| who == email).map(|(_, password)| password.expose_str())
    }

    /// Everyone who can sign in at the sandbox, to be shown.
    pub fn shown(&self) -> serde_json::Value {
        self.sandbox
            .iter()
            .map(|(email, password)| json!({ "email": email, "password": password.expose() }))
            .collect()
    }
}
