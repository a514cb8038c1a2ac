//! Proofs of possession (RFC 9449): whoever shows a token shows as well that they hold the key it is bound to.

mod proof;
mod spent;

pub use proof::{LONGEST, Problem, Proof, Target};
pub use spent::{Held, Proofs, Spending, Unproven};

use crate::jose::Algorithm;

/// How a key is bound to what it was shown for: the scheme of a token, and its `token_type`.
pub const SCHEME: &str = "DPoP";

/// The algorithms that a proof may be signed with, for metadata and challenges.
pub fn algorithms() -> Vec<&'static str> {
    Algorithm::ALL.into_iter().map(Algorithm::as_str).collect()
}

/// The proof beside a request, before anything is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShownProof<'a> {
    /// None was sent.
    #[default]
    Missing,
    /// One.
    One(&'a str),
    /// Several, or one that is no text: which one counts would be a guess (RFC 9449, section 4.3, point 1).
    Unclear,
}

impl<'a> ShownProof<'a> {
    /// The proof's text.
    ///
    /// # Errors
    /// When there is not exactly one.
    pub fn text(self) -> Result<&'a str, Problem> {
        match self {
            Self::One(text) => Ok(text),
            Self::Missing => Err(Problem::Missing),
            Self::Unclear => Err(Problem::NotOne),
        }
    }
}
