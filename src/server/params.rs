//! Strict reading of `application/x-www-form-urlencoded` text, in bodies and in queries.

use zeroize::Zeroizing;

/// The most parameters that one request may hold.
const MAX_PARAMS: usize = 256;

/// Parameters that were read strictly. Values are wiped when dropped: they may be secrets.
#[derive(Default)]
pub struct Params {
    pairs: Vec<(String, Zeroizing<String>)>,
}

/// The text is not what a well-behaved client sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// The same name twice (RFC 6749, section 3.2: parameters must not be repeated).
    #[error("a parameter is repeated: `{name}`")]
    Repeated {
        /// Its name, shortened and made ASCII.
        name: String,
    },
    /// A percent sign without two hexadecimal digits.
    #[error("a percent sign is not followed by two hexadecimal digits")]
    BadEscape,
    /// Not UTF-8, or with NUL in it.
    #[error("a parameter is not UTF-8 text")]
    NotText,
    /// Too many of them.
    #[error("there are more than 256 parameters")]
    TooMany,
    /// Neither `true` nor `false`.
    #[error("`{name}` is true or false")]
    NotBoolean {
        /// The parameter.
        name: &'static str,
    },
}

impl Params {
    /// Reads a body or a query. Names in `repeatable` may come more than once (checkboxes).
    ///
    /// # Errors
    /// When anything about the text is unclear; nothing is guessed.
    pub fn parse(text: &[u8], repeatable: &[&str]) -> Result<Self, ParamError> {
        let mut pairs: Vec<(String, Zeroizing<String>)> = Vec::with_capacity(8);
        for part in text.split(|b| *b == b'&').filter(|part| !part.is_empty()) {
            if pairs.len() == MAX_PARAMS {
                return Err(ParamError::TooMany);
            }
            let split = part.iter().position(|b| *b == b'=').unwrap_or(part.len());
            let (name, value) = part.split_at_checked(split).unwrap_or((part, &[]));
            let name = decode(name)?.to_string();
            let value = decode(value.strip_prefix(b"=").unwrap_or_default())?;
            let is_known = pairs.iter().any(|(known, _)| *known == name);
            if is_known && !repeatable.contains(&name.as_str()) {
                let name = crate::kernel::text::ascii(&name).chars().take(40).collect();
                return Err(ParamError::Repeated { name });
            }
            pairs.push((name, value));
        }
        Ok(Self { pairs })
    }

    /// A parameter's value. A parameter without a value counts as left out (RFC 6749, section 3.1).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// A truth value; left out, it is false.
    ///
    /// # Errors
    /// When it is anything else, also without a value: passing over it would hide a mistake.
    pub fn flag(&self, name: &'static str) -> Result<bool, ParamError> {
        match self.all(name).next() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ParamError::NotBoolean { name }),
        }
    }

    /// Whether the parameter is there at all, also without a value.
    pub fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(known, _)| known == name)
    }

    /// All values of a parameter that may be repeated.
    pub fn all<'p>(&'p self, name: &str) -> impl Iterator<Item = &'p str> {
        self.pairs.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The names, in the order in which they came.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| name.as_str())
    }

    /// All pairs as plain text, for callback parameters.
    pub fn into_pairs(self) -> Vec<(String, String)> {
        self.pairs.into_iter().map(|(name, mut value)| (name, std::mem::take(&mut *value))).collect()
    }
}

fn decode(text: &[u8]) -> Result<Zeroizing<String>, ParamError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'+' | b'%')) {
        let (plain, escaped) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        bytes.extend_from_slice(plain);
        rest = match escaped {
            [b'%', high, low, after @ ..] => {
                bytes.push(hex_digit(*high)? << 4 | hex_digit(*low)?);
                after
            }
            [b'+', after @ ..] => {
                bytes.push(b' ');
                after
            }
            _ => return Err(ParamError::BadEscape),
        };
    }
    bytes.extend_from_slice(rest);
    if bytes.contains(&0) {
        return Err(ParamError::NotText);
    }
    // The buffer was sized for the whole text, so it never moved and becomes the text itself.
    String::from_utf8(std::mem::take(&mut *bytes)).map(Zeroizing::new).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        ParamError::NotText
    })
}

fn hex_digit(byte: u8) -> Result<u8, ParamError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(ParamError::BadEscape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Params, ParamError> {
        Params::parse(text, &[])
    }

    #[test]
    fn well_formed_text_is_read() {
        let params = parse("a=1+2%20%E9%92%A5&b&c=&&d=x=y".as_bytes()).unwrap();
        assert_eq!(params.get("a"), Some("1 2 钥"));
        assert_eq!(params.get("b"), None);
        assert!(params.has("b") && params.has("c"));
        assert_eq!(params.get("d"), Some("x=y"));
        assert_eq!(params.names().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert!(parse(b"").unwrap().into_pairs().is_empty());
    }

    #[test]
    fn repeated_parameters_are_refused_however_they_are_written() {
        for text in ["a=1&a=1", "a=1&%61=2", "a&a=", "scope=x&b=1&scope=y"] {
            assert!(matches!(parse(text.as_bytes()), Err(ParamError::Repeated { .. })), "{text}");
        }
        let boxes = Params::parse(b"scope=x&scope=y&a=1", &["scope"]).unwrap();
        assert_eq!(boxes.all("scope").collect::<Vec<_>>(), ["x", "y"]);
        assert!(Params::parse(b"scope=x&a=1&a=1", &["scope"]).is_err());
    }

    #[test]
    fn broken_escapes_and_bytes_that_are_no_text_are_refused() {
        for text in ["a=%", "a=%4", "a=%zz", "%=1", "a=%+1"] {
            assert_eq!(parse(text.as_bytes()).err(), Some(ParamError::BadEscape), "{text}");
        }
        for text in [&b"a=%ff"[..], b"a=\xff", b"a=%c0%80", b"a=%ed%a0%80", b"a=%00"] {
            assert_eq!(parse(text).err(), Some(ParamError::NotText), "{text:?}");
        }
    }

    #[test]
    fn the_number_of_parameters_is_limited() {
        let text: String = (0..300).map(|n| format!("p{n}=1&")).collect();
        assert_eq!(parse(text.as_bytes()).err(), Some(ParamError::TooMany));
    }
}
