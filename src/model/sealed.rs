//! Sealed values, and what each is bound to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::kernel::encode;
use crate::kernel::secret::SecretBytes;

/// Bytes that only the vault can make and open.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Wraps what the vault has sealed, or what was read back from the store.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The sealed bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl From<Sealed> for String {
    fn from(sealed: Sealed) -> String {
        encode::base64url(&sealed.0)
    }
}

impl TryFrom<String> for Sealed {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        encode::from_base64url(&text).map(Self).ok_or("a sealed value is base64url")
    }
}

/// What a sealed value is bound to, beside the deployment and the key term: opened under any other
/// context it fails (invariant 6).
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The kind of record.
    pub kind: &'a str,
    /// The record's key within its kind.
    pub id: &'a str,
    /// The field.
    pub field: &'a str,
    /// The generation of the value; 0 where a field has none.
    pub generation: u64,
}

/// A sealed value did not open. Says nothing about which part did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Wrong key, wrong context, or changed bytes.
    #[error("a sealed value does not open in this place: it was changed, moved, or sealed under another key")]
    DoesNotOpen,
    /// A format or key term that this version does not know.
    #[error("a sealed value has a format or a key term that this installation does not hold")]
    UnknownFormat,
}

/// Seals and opens. The vault is the only implementation; the store knows it by this trait.
pub trait Sealer: Send + Sync + 'static {
    /// Seals a value for one place.
    fn seal(&self, context: Context<'_>, plain: &[u8]) -> Sealed;

    /// Opens a value in the place that it was sealed for.
    ///
    /// # Errors
    /// When it does not belong there.
    fn open(&self, context: Context<'_>, sealed: &Sealed) -> Result<SecretBytes, SealError>;

    /// The key term that seals new values.
    fn active_term(&self) -> u32;

    /// Whether values may be about that were sealed under other terms than the active one.
    fn has_other_terms(&self) -> bool {
        false
    }

    /// The key term that these bytes were sealed under, if they were sealed here: a text that only looks like
    /// a sealed value is none.
    fn term_of(&self, sealed: &[u8]) -> Option<u32>;
}
