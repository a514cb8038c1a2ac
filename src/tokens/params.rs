//! Parameters of a request, each at most once: the form parser has refused repetitions.

use std::net::IpAddr;

use crate::model::token::Binding;
use crate::tokens::{TokenError, Vouched};

/// The parameters of a request.
#[derive(Clone, Copy)]
pub struct Params<'a>(pub &'a [(String, String)]);

impl<'a> Params<'a> {
    /// A parameter; sent without a value counts as left out (RFC 6749, section 3.1).
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// `invalid_request`, naming it.
    pub fn require(&self, name: &'static str) -> Result<&'a str, TokenError> {
        self.get(name).ok_or_else(|| TokenError::invalid_request(format!("the parameter {name} is missing")))
    }

    /// Refuses parameters that would be silently ignored although they ask for something else.
    ///
    /// # Errors
    /// `invalid_request`, naming the first.
    pub fn refuse(&self, names: &[&'static str]) -> Result<(), TokenError> {
        match names.iter().find(|name| self.get(name).is_some()) {
            None => Ok(()),
            Some(name) => Err(TokenError::invalid_request(format!("the parameter {name} is not supported"))),
        }
    }
}

/// What is known of a request beside its parameters, for events.
#[derive(Clone, Debug, Default)]
pub struct RequestInfo {
    /// Where it came from.
    pub client_address: Option<IpAddr>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// What the tokens that come of it are bound to.
    pub binding: Option<Binding>,
    /// The user, where an identity provider has vouched for them.
    pub vouched: Option<Vouched>,
    /// Whether no token may leave that cannot be bound.
    pub bound_only: bool,
}
