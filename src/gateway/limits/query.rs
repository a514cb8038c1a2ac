//! The parameters of a query, read in one way and sent in that way.

use crate::kernel::said::Said;

/// A query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    name: String,
    /// `name=value` as it is sent.
    text: String,
}

/// Why a parameter cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// It comes twice.
    #[error("comes twice: send it once")]
    Repeated,
    /// Another spelling of it comes, which some servers would take for it.
    #[error("comes in another spelling: write it exactly so")]
    Lookalike,
    /// Its value is no UTF-8.
    #[error("is not percent-encoded UTF-8")]
    Undecodable,
}

impl Unclear {
    /// The same as a part of a sentence about the parameter.
    pub const fn said(self) -> Said {
        Said::of(match self {
            Self::Repeated => "unclear_repeated",
            Self::Lookalike => "unclear_lookalike",
            Self::Undecodable => "unclear_undecodable",
        })
    }
}

impl Query {
    /// Splits a raw query.
    ///
    /// # Errors
    /// When a name cannot be decoded.
    pub fn parse(raw: Option<&str>) -> Result<Self, Unclear> {
        let parts = raw.unwrap_or_default().split('&').filter(|part| !part.is_empty());
        let parts = parts.map(|text| {
            let name = text.split_once('=').map_or(text, |(name, _)| name);
            Ok(Part { name: decode(name).ok_or(Unclear::Undecodable)?, text: text.to_owned() })
        });
        Ok(Self { parts: parts.collect::<Result<_, _>>()? })
    }

    /// A parameter's decoded value. From then on it is sent in its plain encoding: `+` and `%20` are no
    /// longer two spellings that two servers may read differently.
    ///
    /// # Errors
    /// When it has no single meaning.
    pub fn judged(&mut self, name: &str) -> Result<Option<String>, Unclear> {
        if self.parts.iter().any(|part| part.name != name && resembles(&part.name, name)) {
            return Err(Unclear::Lookalike);
        }
        let mut found = self.parts.iter_mut().filter(|part| part.name == name);
        let Some(part) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(Unclear::Repeated);
        }
        let raw = part.text.split_once('=').map_or("", |(_, value)| value);
        let value = decode(raw).ok_or(Unclear::Undecodable)?;
        part.text = pair(name, &value);
        Ok(Some(value))
    }

    /// Whether a parameter is there in any spelling.
    pub fn has(&self, name: &str) -> bool {
        self.parts.iter().any(|part| resembles(&part.name, name))
    }

    /// Sets a parameter; it stays where it was.
    pub fn set(&mut self, name: &str, value: &str) {
        let text = pair(name, value);
        match self.parts.iter_mut().find(|part| part.name == name) {
            Some(part) => part.text = text,
            None => self.parts.push(Part { name: name.to_owned(), text }),
        }
    }

    /// The query as it is sent.
    pub fn render(&self) -> Option<String> {
        let texts: Vec<&str> = self.parts.iter().map(|part| part.text.as_str()).collect();
        (!texts.is_empty()).then(|| texts.join("&"))
    }
}

/// Whether some server reads one name as the other: without regard to case, without a dollar sign, or up to
/// a bracket.
fn resembles(name: &str, other: &str) -> bool {
    fn core(name: &str) -> &str {
        name.split('[').next().unwrap_or_default().trim_start_matches('$')
    }
    core(name).eq_ignore_ascii_case(core(other))
}

fn pair(name: &str, value: &str) -> String {
    format!("{}={}", encode(name), encode(value))
}

/// Percent-encodes all but what is plain in a query everywhere.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~$:,/@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Decodes once; `+` is a space, as forms write it.
fn decode(raw: &str) -> Option<String> {
    percent_decode(&raw.replace('+', " "))
}

/// Decodes percent-encoding once. `None` = not every `%` encodes a byte, or the bytes are no UTF-8.
pub fn percent_decode(raw: &str) -> Option<String> {
    let mut bytes = raw.bytes();
    let mut out = Vec::with_capacity(raw.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_judged_parameter_is_sent_plainly_and_others_stay() {
        let mut query = Query::parse(Some("$filter=a+eq%20'b'&$top=5&x=%2b+y")).unwrap();
        assert_eq!(query.judged("$filter").unwrap().as_deref(), Some("a eq 'b'"));
        assert_eq!(query.judged("$orderby"), Ok(None));
        query.set("until", "2026-10-01T00:00:00Z");
        assert_eq!(
            query.render().as_deref(),
            Some("$filter=a%20eq%20%27b%27&$top=5&x=%2b+y&until=2026-10-01T00:00:00Z")
        );
        assert_eq!(Query::parse(None).unwrap().render(), None);
    }

    #[test]
    fn a_parameter_without_a_single_meaning_is_refused() {
        for (raw, problem) in [
            ("id=1&id=2", Unclear::Repeated),
            ("id=1&%69d=2", Unclear::Repeated),
            ("ID=1", Unclear::Lookalike),
            ("id=1&Id=2", Unclear::Lookalike),
            ("id[]=1", Unclear::Lookalike),
            ("$id=1", Unclear::Lookalike),
            ("id=%ff", Unclear::Undecodable),
            ("id=%4", Unclear::Undecodable),
        ] {
            assert_eq!(Query::parse(Some(raw)).unwrap().judged("id"), Err(problem), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn what_is_set_is_what_is_read(value in any::<String>(), other in "[a-z]{1,5}=[a-z%20+]{0,5}") {
            let mut query = Query::parse(Some(&other)).unwrap();
            query.set("$filter", &value);
            let sent = query.render().unwrap();
            let read = url::form_urlencoded::parse(sent.as_bytes()).find(|(name, _)| name == "$filter").unwrap();
            prop_assert_eq!(read.1.as_ref(), value.as_str());
            prop_assert_eq!(Query::parse(Some(&sent)).unwrap().judged("$filter"), Ok(Some(value)));
            prop_assert!(sent.is_ascii() && !sent.contains(['\'', ' ', '#']));
        }
    }
}
