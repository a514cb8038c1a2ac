//! The one outbound HTTP client, and the address guard in front of it.
//!
//! Everything that Valetkey dials is named by a template, or by a discovery document that a template
//! names. The guard holds all the same: a template that is wrong, a host name that suddenly resolves
//! to an inside address, or a redirect must not turn the broker into a way into the company's network.

mod answer;
mod call;
mod client;
mod guard;
mod origin;
mod patience;

pub use answer::{Answer, StreamingAnswer};
pub use call::{Call, CallBody, DEFAULT_DEADLINE, DEFAULT_MAX_BODY, secret_header};
pub use client::{HttpClient, NetError, NetSettings, SettingsError};
pub use guard::is_public;
pub use patience::{TooLong, in_time};

/// The HTTP vocabulary of calls and answers.
pub mod http {
    pub use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
    pub use reqwest::{Method, StatusCode};
}

/// Names the cryptography that TLS uses in this process. Harmless when called again; without it the
/// first TLS configuration would panic.
pub fn install_crypto() {
    // An error only says that a provider was installed before; there is one kind in this build.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
