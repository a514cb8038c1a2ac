//! A strict reader of JSON that keeps what nobody changes as it was written.
//!
//! What limits judge must be what the other side reads. So there is one reading of a document only: no
//! member twice at any depth, nothing behind its end, bounded depth and size. Numbers and texts stay
//! literals: `1.10` does not become `1.1`, and no identifier is rounded.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::kernel::said::Said;

/// No document that vendors send or take is nested more deeply.
const MAX_DEPTH: usize = 64;
/// The most values of one document: what bounds the memory that reading takes.
const MAX_VALUES: usize = 400_000;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json<'a> {
    /// Members in their order; no name is there twice.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
    /// Items.
    List(Vec<Json<'a>>),
    /// A text: its literal, quotes included.
    Text(Cow<'a, str>),
    /// A number, `true`, `false` or `null`: as it was written.
    Plain(Cow<'a, str>),
}

/// Why a text is no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOne {
    /// Not JSON (RFC 8259).
    #[error("is not JSON")]
    Json,
    /// A member comes twice: two readers may pick different ones.
    #[error("repeats a member")]
    Repeated,
    /// Nested too deeply, or too many values.
    #[error("is nested too deeply or holds too many values")]
    Excess,
}

impl NotOne {
    /// The same as a part of a sentence about the text.
    pub const fn said(self) -> Said {
        Said::of(match self {
            Self::Json => "not_json",
            Self::Repeated => "not_repeated",
            Self::Excess => "not_excess",
        })
    }
}

impl<'a> Json<'a> {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is none, or could be read in two ways.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NotOne> {
        let text = std::str::from_utf8(bytes).map_err(|_| NotOne::Json)?;
        let mut reader = Reader { text, at: 0, values: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at == text.len() { Ok(value) } else { Err(NotOne::Json) }
    }

    /// A text, written as JSON writes it.
    pub fn text(text: &str) -> Self {
        Self::Text(Cow::Owned(serde_json::Value::from(text).to_string()))
    }

    /// The members of an object.
    pub fn members_mut(&mut self) -> Option<&mut Vec<(Cow<'a, str>, Self)>> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }

    /// Whether it says that there is nothing.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Plain(literal) if literal == "null")
    }

    /// A text as what it stands for, a number as it is written. Anything else is no scalar, and neither is
    /// a text with half a surrogate pair, which no two readers decode alike.
    pub fn scalar(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(literal) => decode(literal),
            Self::Plain(literal) if !matches!(literal.as_ref(), "null" | "true" | "false") => {
                Some(Cow::Borrowed(literal))
            }
            _ => None,
        }
    }

    /// Writes every text in the one plain way, so that the other side has no escapes to read differently.
    ///
    /// # Errors
    /// When a text holds half a surrogate pair.
    pub fn plain(&mut self) -> Result<(), NotOne> {
        match self {
            Self::Object(members) => members.iter_mut().try_for_each(|(_, value)| value.plain()),
            Self::List(items) => items.iter_mut().try_for_each(Self::plain),
            Self::Text(literal) if literal.contains('\\') => {
                let Self::Text(plain) = Self::text(&decode(literal).ok_or(NotOne::Json)?) else {
                    return Err(NotOne::Json);
                };
                *literal = plain;
                Ok(())
            }
            Self::Text(_) | Self::Plain(_) => Ok(()),
        }
    }

    /// The document.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(literal) | Self::Plain(literal) => out.extend_from_slice(literal.as_bytes()),
            Self::List(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(serde_json::Value::from(name.as_ref()).to_string().as_bytes());
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

fn decode(literal: &str) -> Option<Cow<'_, str>> {
    if literal.contains('\\') {
        serde_json::from_str(literal).ok().map(Cow::Owned)
    } else {
        literal.strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, wanted: u8) -> bool {
        let is_there = self.peek() == Some(wanted);
        self.at += usize::from(is_there);
        is_there
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, NotOne> {
        self.values += 1;
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            return Err(NotOne::Excess);
        }
        self.space();
        match self.peek().ok_or(NotOne::Json)? {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => self.literal().map(|text| Json::Text(Cow::Borrowed(text))),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, NotOne> {
        self.at += 1;
        let mut members = Vec::new();
        let mut names = HashSet::new();
        self.space();
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            let name = decode(self.literal()?).ok_or(NotOne::Json)?;
            self.space();
            if !self.take(b':') {
                return Err(NotOne::Json);
            }
            if !names.insert(name.clone()) {
                return Err(NotOne::Repeated);
            }
            members.push((name, self.value(depth + 1)?));
            self.space();
            if self.take(b'}') {
                return Ok(Json::Object(members));
            }
            if !self.take(b',') {
                return Err(NotOne::Json);
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json<'a>, NotOne> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            if self.take(b']') {
                return Ok(Json::List(items));
            }
            if !self.take(b',') {
                return Err(NotOne::Json);
            }
        }
    }

    fn word(&mut self, word: &'static str) -> Result<Json<'a>, NotOne> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(NotOne::Json);
        }
        self.at += word.len();
        Ok(Json::Plain(Cow::Borrowed(word)))
    }

    /// A text's literal, with its escapes checked but not decoded.
    fn literal(&mut self) -> Result<&'a str, NotOne> {
        let start = self.at;
        if !self.take(b'"') {
            return Err(NotOne::Json);
        }
        loop {
            let byte = self.peek().ok_or(NotOne::Json)?;
            self.at += 1;
            match byte {
                b'"' => return self.text.get(start..self.at).ok_or(NotOne::Json),
                b'\\' => self.escape()?,
                0..0x20 => return Err(NotOne::Json),
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Result<(), NotOne> {
        let byte = self.peek().ok_or(NotOne::Json)?;
        self.at += 1;
        match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                for _ in 0..4 {
                    if !self.peek().is_some_and(|digit| digit.is_ascii_hexdigit()) {
                        return Err(NotOne::Json);
                    }
                    self.at += 1;
                }
                Ok(())
            }
            _ => Err(NotOne::Json),
        }
    }

    fn digits(&mut self) -> Result<(), NotOne> {
        let start = self.at;
        while self.peek().is_some_and(|digit| digit.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(NotOne::Json) }
    }

    fn number(&mut self) -> Result<Json<'a>, NotOne> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        self.text.get(start..self.at).map(|text| Json::Plain(Cow::Borrowed(text))).ok_or(NotOne::Json)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_nobody_changes_stays_as_it_was_written() {
        let text = r#"{"a":1.10,"b":[12345678901234567890123,-0e+5,"\u0041\/"],"\u0063":null,"d":{}}"#;
        let read = Json::parse(text.as_bytes()).unwrap();
        let written = String::from_utf8(read.to_bytes()).unwrap();
        assert_eq!(written, text.replace(r#""\u0063""#, r#""c""#));
        assert_eq!(Json::parse(br#""\u0041\/""#).unwrap().scalar().as_deref(), Some("A/"));
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        for (text, problem) in [
            (r#"{"a":1,"a":2}"#, NotOne::Repeated),
            (r#"{"a":1,"\u0061":2}"#, NotOne::Repeated),
            (r#"{"x":[{"y":{"a":1,"b":0,"a":2}}]}"#, NotOne::Repeated),
            ("", NotOne::Json),
            ("{} {}", NotOne::Json),
            ("{}x", NotOne::Json),
            ("{\"a\":1,}", NotOne::Json),
            ("[1,]", NotOne::Json),
            ("{'a':1}", NotOne::Json),
            ("[01]", NotOne::Json),
            ("[.5]", NotOne::Json),
            ("[1.]", NotOne::Json),
            ("[+1]", NotOne::Json),
            ("[NaN]", NotOne::Json),
            ("[truer]", NotOne::Json),
            ("\u{feff}{}", NotOne::Json),
            ("// c\n{}", NotOne::Json),
            ("\"\t\"", NotOne::Json),
            (r#""\x41""#, NotOne::Json),
            (r#"{"\ud800":1}"#, NotOne::Json),
        ] {
            assert_eq!(Json::parse(text.as_bytes()), Err(problem), "{text}");
        }
        assert_eq!(Json::parse(b"\"\xc0\xaf\""), Err(NotOne::Json));
        assert_eq!(Json::parse("[".repeat(100).as_bytes()), Err(NotOne::Excess));
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert_eq!(Json::parse(many.as_bytes()), Err(NotOne::Excess));
        assert!(Json::parse(br#""\ud800""#).unwrap().plain().is_err());
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..8)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_plain_form_means_the_same(value in any_json(), pretty in any::<bool>()) {
            let text =
                if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let mut read = Json::parse(text.as_bytes()).unwrap();
            read.plain().unwrap();
            let again: serde_json::Value = serde_json::from_slice(&read.to_bytes()).unwrap();
            prop_assert_eq!(again, serde_json::from_str::<serde_json::Value>(&text).unwrap());
            let bytes = read.to_bytes();
            prop_assert_eq!(Json::parse(&bytes).unwrap().to_bytes(), bytes.clone());
        }

        #[test]
        fn nothing_is_read_that_another_reader_refuses(text in r#"[\[\]{}:,"\\0-9a-fA-Fu.eE+ \-ntr]{0,24}"#) {
            if Json::parse(text.as_bytes()).is_ok() {
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
            } else if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                // Only what is ambiguous is refused beyond that.
                prop_assert_ne!(value.to_string(), text);
            }
        }
    }
}
