//! Reading members out of a JSON answer without ever holding the whole of it as values.
//!
//! Values are kept as slices of the answer's own buffer, which its owner wipes. A string is decoded once,
//! into a buffer that is large enough from the start and is wiped as well: serde_json's own decoding
//! would leave copies of escaped strings in scratch memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::kernel::secret::{Secret, SecretString};
use crate::providers::template::OkMember;

const MAX_MEMBERS: usize = 4096;
const MAX_DEPTH: usize = 64;

/// A body that is not what was expected: no JSON object, nested too deeply, a member given twice, or
/// a value of the wrong type. Says no more, because the body may hold secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not a readable JSON object")]
pub struct Unreadable;

/// The members of a JSON object.
pub struct Members<'a> {
    entries: BTreeMap<Cow<'a, str>, &'a RawValue>,
}

impl<'a> Members<'a> {
    /// Reads a whole object.
    ///
    /// # Errors
    /// When the body is anything else.
    pub fn parse(body: &'a [u8]) -> Result<Self, Unreadable> {
        if is_too_deep(body) {
            return Err(Unreadable);
        }
        let mut entries = BTreeMap::new();
        let mut reader = serde_json::Deserializer::from_slice(body);
        reader.deserialize_map(Collect { entries: &mut entries }).map_err(|_| Unreadable)?;
        reader.end().map_err(|_| Unreadable)?;
        Ok(Self { entries })
    }

    /// Reads as many members as are whole, from a body that may be cut off. What is no object has none.
    pub fn parse_prefix(body: &'a [u8]) -> Self {
        let mut entries = BTreeMap::new();
        if !is_too_deep(body) {
            let mut reader = serde_json::Deserializer::from_slice(body);
            // An error ends the reading; what came before it counts.
            let _ = reader.deserialize_map(Collect { entries: &mut entries });
        }
        Self { entries }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A member as JSON text; dots go into objects, numbers into lists: `data.codes.0`.
    ///
    /// # Errors
    /// When something on the way is not readable.
    pub fn raw(&self, path: &str) -> Result<Option<&'a str>, Unreadable> {
        let mut parts = path.split('.');
        let first = parts.next().unwrap_or_default();
        let Some(mut value) = self.entries.get(first).copied() else { return Ok(None) };
        for part in parts {
            let text = value.get();
            let next = match (text.as_bytes().first(), part.parse::<usize>()) {
                (Some(b'{'), _) => Members::parse(text.as_bytes())?.entries.get(part).copied(),
                (Some(b'['), Ok(index)) => item(text, index)?,
                _ => None,
            };
            let Some(next) = next else { return Ok(None) };
            value = next;
        }
        Ok(Some(value.get()))
    }

    /// A member as text, for codes and identifiers: strings as they are, numbers and booleans as written.
    /// Absent, null, lists and objects are `None`.
    pub fn text(&self, path: &str) -> Option<String> {
        let raw = self.raw(path).ok().flatten()?;
        match raw.as_bytes().first()? {
            b'"' => unescape(raw).map(|text| text.expose_str().to_owned()),
            b'{' | b'[' | b'n' => None,
            _ => Some(raw.to_owned()),
        }
    }

    /// A member as a secret. Absent, null and the empty string are `None`.
    ///
    /// # Errors
    /// When it is anything but a string.
    pub fn secret(&self, path: &str) -> Result<Option<SecretString>, Unreadable> {
        let Some(raw) = self.raw(path)? else { return Ok(None) };
        if raw == "null" {
            return Ok(None);
        }
        let text = unescape(raw).ok_or(Unreadable)?;
        Ok(Some(text).filter(|text| !text.expose_str().is_empty()))
    }

    /// Whether a member says success.
    pub fn is_ok(&self, rule: &OkMember) -> bool {
        match self.raw(&rule.member) {
            Ok(None) => rule.absent_is_ok,
            Ok(Some(_)) => self.text(&rule.member).is_some_and(|text| text == rule.equals),
            Err(Unreadable) => false,
        }
    }

    /// The texts of a list of strings.
    pub(super) fn list(raw: &str) -> Result<Vec<SecretString>, Unreadable> {
        let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| Unreadable)?;
        if items.len() > MAX_MEMBERS {
            return Err(Unreadable);
        }
        items.iter().map(|item| unescape(item.get()).ok_or(Unreadable)).collect()
    }
}

fn item(list: &str, index: usize) -> Result<Option<&RawValue>, Unreadable> {
    serde_json::Deserializer::from_str(list).deserialize_seq(Item { index }).map_err(|_| Unreadable)
}

/// Looks for nesting before anything recurses or is walked twice.
fn is_too_deep(body: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Decodes a JSON string, quotes included, straight into a secret.
pub(super) fn unescape(raw: &str) -> Option<SecretString> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    // An escape is never shorter than what it stands for, so this buffer never moves.
    let mut text = Secret::new(String::with_capacity(inner.len()));
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let decoded = if c == '\\' { escape(&mut chars)? } else { c };
        text.expose_mut().push(decoded);
    }
    Some(text)
}

fn escape(chars: &mut std::str::Chars<'_>) -> Option<char> {
    Some(match chars.next()? {
        c @ ('"' | '\\' | '/') => c,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            let first = unit(chars)?;
            if !(0xd800..0xdc00).contains(&first) {
                return char::from_u32(first);
            }
            if (chars.next()?, chars.next()?) != ('\\', 'u') {
                return None;
            }
            let second = unit(chars)?;
            if !(0xdc00..0xe000).contains(&second) {
                return None;
            }
            char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))?
        }
        _ => return None,
    })
}

fn unit(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    let mut value = 0;
    for _ in 0..4 {
        value = value * 16 + chars.next()?.to_digit(16)?;
    }
    Some(value)
}

struct Collect<'m, 'a> {
    entries: &'m mut BTreeMap<Cow<'a, str>, &'a RawValue>,
}

impl<'a> Visitor<'a> for Collect<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            let value: &'a RawValue = map.next_value()?;
            if self.entries.len() >= MAX_MEMBERS {
                return Err(A::Error::custom("too many members"));
            }
            match self.entries.entry(key) {
                Entry::Vacant(free) => free.insert(value),
                Entry::Occupied(_) => return Err(A::Error::custom("a member is given twice")),
            };
        }
        Ok(())
    }
}

struct Key;

impl<'a> DeserializeSeed<'a> for Key {
    type Value = Cow<'a, str>;

    fn deserialize<D: serde::Deserializer<'a>>(self, reader: D) -> Result<Cow<'a, str>, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Key {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

struct Item {
    index: usize,
}

impl<'a> Visitor<'a> for Item {
    type Value = Option<&'a RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        for _ in 0..self.index {
            if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = list.next_element::<&'a RawValue>()?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_path() {
        let body = br#"{"a":{"b":[{"c":"x"},7]},"t\u0061g":"A\u00e9\ud83d\ude00\/","n":null,"big":1e3}"#;
        let members = Members::parse(body).unwrap();
        assert_eq!(members.text("a.b.0.c"), Some("x".to_owned()));
        assert_eq!(members.text("a.b.1"), Some("7".to_owned()));
        assert_eq!(members.text("a.b.2"), None);
        assert_eq!(members.text("a.x"), None);
        assert_eq!(members.text("tag"), Some("Aé😀/".to_owned()));
        assert_eq!(members.text("n"), None);
        assert_eq!(members.text("big"), Some("1e3".to_owned()));
    }

    #[test]
    fn what_is_not_one_plain_object_is_unreadable() {
        let deep = format!("{}1{}", "{\"a\":".repeat(80), "}".repeat(80));
        for body in [
            "",
            "<html>",
            "[]",
            "\"x\"",
            "{\"a\":1",
            "{\"a\":1}x",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,\"\\u0061\":2}",
            &deep,
        ] {
            assert!(Members::parse(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Members::parse(b"{\"a\":\"\xff\"}").is_err());
        let nested = Members::parse(br#"{"a":{"b":1,"b":2}}"#).unwrap();
        assert_eq!(nested.raw("a.b"), Err(Unreadable));
    }

    #[test]
    fn a_prefix_gives_the_members_that_are_whole() {
        let members = Members::parse_prefix(br#"{"errcode":42001,"errmsg":"access tok"#);
        assert_eq!(members.text("errcode"), Some("42001".to_owned()));
        assert_eq!(members.text("errmsg"), None);
        assert_eq!(Members::parse_prefix(b"<html>").text("errcode"), None);
    }

    #[test]
    fn a_string_with_half_a_surrogate_is_no_secret() {
        let members = Members::parse(br#"{"t":"\ud800","e":"","n":null,"i":5}"#).unwrap();
        assert!(members.secret("t").is_err());
        assert!(members.secret("i").is_err());
        assert!(members.secret("e").unwrap().is_none());
        assert!(members.secret("n").unwrap().is_none());
    }
}
