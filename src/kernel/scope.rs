//! OAuth scopes (RFC 6749, section 3.3).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One scope token. Case-sensitive, compared byte for byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Scope(String);

impl Scope {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A scope that stands for a text that is none, so that it is not lost: no template names it.
    pub fn unrecognised(text: &str) -> Self {
        let readable: String = text.chars().filter(char::is_ascii_alphanumeric).take(200).collect();
        Self(format!("unrecognised:{readable}"))
    }
}

/// A text is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is 1 to 256 printable ASCII characters without space, quote or backslash")]
pub struct InvalidScope;

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Scope {
    type Error = InvalidScope;

    fn try_from(text: String) -> Result<Self, InvalidScope> {
        let is_token = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if !text.is_empty() && text.len() <= 256 && text.bytes().all(is_token) {
            Ok(Self(text))
        } else {
            Err(InvalidScope)
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of scopes; written in sorted order, separated by spaces. Copies share the scopes: one decision hands a
/// grant's on several times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeSet(Arc<BTreeSet<Scope>>);

/// The empty set, where a reference to one is needed.
pub static NO_SCOPES: LazyLock<ScopeSet> = LazyLock::new(|| ScopeSet(Arc::default()));

impl Default for ScopeSet {
    fn default() -> Self {
        NO_SCOPES.clone()
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeSet::deserialize(deserializer).map(|scopes| Self(Arc::new(scopes)))
    }
}

impl ScopeSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a space-separated list. Empty text is the empty set.
    ///
    /// # Errors
    /// When a part is not a scope.
    pub fn parse(text: &str) -> Result<Self, InvalidScope> {
        text.split(' ').filter(|part| !part.is_empty()).map(str::parse).collect()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many scopes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it holds that scope.
    pub fn contains(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// Adds one scope.
    pub fn insert(&mut self, scope: Scope) {
        Arc::make_mut(&mut self.0).insert(scope);
    }

    /// Whether every scope in here is also in `other`.
    pub fn is_subset(&self, other: &ScopeSet) -> bool {
        self.0.is_subset(&other.0)
    }

    /// What both hold.
    #[must_use]
    pub fn intersection(&self, other: &ScopeSet) -> ScopeSet {
        if self.is_subset(other) { self.clone() } else { self.0.intersection(&other.0).cloned().collect() }
    }

    /// What is here and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &ScopeSet) -> ScopeSet {
        self.0.difference(&other.0).cloned().collect()
    }

    /// What either holds.
    #[must_use]
    pub fn union(&self, other: &ScopeSet) -> ScopeSet {
        self.0.union(&other.0).cloned().collect()
    }

    /// The scopes in sorted order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut scopes = scopes.into_iter().peekable();
        if scopes.peek().is_none() { Self::default() } else { Self(Arc::new(scopes.collect())) }
    }
}

impl IntoIterator for ScopeSet {
    type Item = Scope;
    type IntoIter = std::collections::btree_set::IntoIter<Scope>;

    fn into_iter(self) -> Self::IntoIter {
        Arc::unwrap_or_clone(self.0).into_iter()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&scope.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_in_any_order_and_written_sorted() {
        let set = ScopeSet::parse("b  a c").unwrap_or_default();
        assert_eq!(set.to_string(), "a b c");
    }

    #[test]
    fn quotes_control_characters_and_non_ascii_are_no_scopes() {
        for text in ["a\"b", "a\\b", "a\tb", "é", "\u{0}"] {
            assert_eq!(ScopeSet::parse(text), Err(InvalidScope), "{text:?}");
        }
    }
}
