//! Signed JSON of others (RFC 7515, 7517, 7519), read strictly (RFC 8725): public keys only, the algorithm is
//! the key's own, no member twice, nothing that the token brings along is believed.

mod json;
mod jwk;
mod jws;

pub use json::{Unreadable, strict};
pub use jwk::{Algorithm, Key, KeyProblem, KeySet, MAX_KEYS, thumbprint};
pub use jws::{Claims, Header, Problem, Token};
