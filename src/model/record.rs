//! What the store asks of a record.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A sealed value within a record, and what it is bound to beside the record's kind and key.
#[derive(Clone, Copy, Debug)]
pub struct SealedField {
    /// Where it stands in the record's JSON.
    pub path: &'static [&'static str],
    /// The field's name in its [`Context`](crate::model::sealed::Context).
    pub field: &'static str,
    /// Where its generation stands; 0 where it has none.
    pub generation: Option<&'static [&'static str]>,
}

/// A record that the store can keep. Its kind and id are part of what its sealed bytes are bound to.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind's name in keys; never changes once released.
    const KIND: &'static str;

    /// The values within it that are sealed by themselves. What is not named here is not sealed anew when keys
    /// are rotated, and keeps the old key term from being retired.
    const SEALED: &'static [SealedField] = &[];

    /// The record's key within its kind.
    fn key(&self) -> String;

    /// Under which `(index, value)` pairs the record can also be found. Values must not hold
    /// secrets: index keys are not sealed. Use ids or digests.
    fn indexes(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Like [`Record::indexes`], for values that at most one record may have. Inserting a second
    /// record with the same value is a conflict.
    fn unique(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}
