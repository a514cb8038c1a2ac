//! One strict canonical path. What could be read in two ways is refused on the raw bytes, never
//! repaired: "normalise and hope" is how proxies and the servers behind them come to disagree.

/// A path that can be read in one way only: `/` and non-empty segments of RFC 3986 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    raw: &'a str,
}

/// Why a path or query is refused, in words for the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguous {
    /// Longer than any call needs.
    #[error("the path or query is longer than 8192 bytes")]
    TooLong,
    /// No slash at the start.
    #[error("the path has to begin with `/`")]
    NoSlash,
    /// Two slashes in a row, or a slash at the end.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// `.` or `..`, encoded or not.
    #[error("the path has a dot segment")]
    DotSegment,
    /// `;` starts matrix parameters in some servers.
    #[error("the path has a `;`: matrix parameters are not allowed")]
    MatrixParameter,
    /// A backslash is a slash to some servers.
    #[error("the path has a backslash")]
    Backslash,
    /// `%` that is not followed by two hexadecimal digits.
    #[error("the path or query has a `%` that encodes nothing")]
    BadEncoding,
    /// An encoded character that must not be hidden: slash, backslash, percent, dot, control.
    #[error("the path or query hides a special or control character by percent-encoding")]
    HiddenCharacter,
    /// An encoded letter, digit, `-`, `_` or `~`: there is a plain way to write it.
    #[error("the path encodes a character that is written plain")]
    NeedlessEncoding,
    /// A character that a URL must encode.
    #[error("the path or query has a character that must be percent-encoded")]
    Unencoded,
    /// The decoded bytes are no text.
    #[error("the path is not UTF-8")]
    NotUtf8,
}

const LONGEST: usize = 8192;

impl<'a> CanonicalPath<'a> {
    /// Accepts a raw path, or says why it could be read in more than one way.
    ///
    /// # Errors
    /// The first ambiguity.
    pub fn parse(raw: &'a str) -> Result<Self, Ambiguous> {
        if raw.len() > LONGEST {
            return Err(Ambiguous::TooLong);
        }
        let rest = raw.strip_prefix('/').ok_or(Ambiguous::NoSlash)?;
        for segment in rest.split('/') {
            check_segment(segment)?;
        }
        Ok(Self { raw })
    }

    /// The path, byte for byte as it came.
    pub fn as_str(&self) -> &'a str {
        self.raw
    }

    /// Its segments, still encoded.
    pub fn segments(&self) -> Vec<&'a str> {
        self.raw.trim_start_matches('/').split('/').collect()
    }
}

fn check_segment(segment: &str) -> Result<(), Ambiguous> {
    if segment.is_empty() {
        return Err(Ambiguous::EmptySegment);
    }
    if segment == "." || segment == ".." {
        return Err(Ambiguous::DotSegment);
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => decoded.push(encoded_byte(bytes.next(), bytes.next())?),
            b'\\' => return Err(Ambiguous::Backslash),
            b';' => return Err(Ambiguous::MatrixParameter),
            _ if is_path_character(byte) => decoded.push(byte),
            _ => return Err(Ambiguous::Unencoded),
        }
    }
    std::str::from_utf8(&decoded).map_err(|_| Ambiguous::NotUtf8)?;
    Ok(())
}

/// Unreserved, sub-delims without `;`, `:` and `@` (RFC 3986, section 3.3).
fn is_path_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b'='
                | b':'
                | b'@'
        )
}

fn encoded_byte(high: Option<u8>, low: Option<u8>) -> Result<u8, Ambiguous> {
    let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
    let (Some(high), Some(low)) = (digit(high), digit(low)) else { return Err(Ambiguous::BadEncoding) };
    let byte = u8::try_from(high * 16 + low).map_err(|_| Ambiguous::BadEncoding)?;
    match byte {
        0..=0x1f | 0x7f | b'/' | b'\\' | b'%' | b'.' | b';' | b'?' | b'#' => Err(Ambiguous::HiddenCharacter),
        b'-' | b'_' | b'~' => Err(Ambiguous::NeedlessEncoding),
        _ if byte.is_ascii_alphanumeric() => Err(Ambiguous::NeedlessEncoding),
        _ => Ok(byte),
    }
}

/// Checks a raw query: printable ASCII, no fragment, every `%` encodes a byte that is no control
/// character. What the parameters mean is judged on the serialisation that is sent.
///
/// # Errors
/// The first ambiguity.
pub fn check_query(raw: &str) -> Result<(), Ambiguous> {
    if raw.len() > LONGEST {
        return Err(Ambiguous::TooLong);
    }
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
                match (digit(bytes.next()), digit(bytes.next())) {
                    (Some(high), Some(low)) if high * 16 + low < 0x20 || high * 16 + low == 0x7f => {
                        return Err(Ambiguous::HiddenCharacter);
                    }
                    (Some(_), Some(_)) => {}
                    _ => return Err(Ambiguous::BadEncoding),
                }
            }
            b'\\' | b'#' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'^' => {
                return Err(Ambiguous::Unencoded);
            }
            0x21..=0x7e => {}
            _ => return Err(Ambiguous::Unencoded),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_vendor_paths_pass_unchanged() {
        for path in [
            "/v1.0/me/messages",
            "/v1.0/me/mailFolders('Inbox')/messages",
            "/v1.0/me/drive/root:/A%20B:",
            "/api/v1/users/me",
            "/v1.0/me/messages/AAMkAD=",
            "/x/%E9%92%A5",
        ] {
            assert_eq!(CanonicalPath::parse(path).map(|p| p.as_str()), Ok(path));
        }
    }

    #[test]
    fn every_ambiguity_is_named() {
        let table = [
            ("", Ambiguous::NoSlash),
            ("v1", Ambiguous::NoSlash),
            ("/a//b", Ambiguous::EmptySegment),
            ("/a/", Ambiguous::EmptySegment),
            ("/a/./b", Ambiguous::DotSegment),
            ("/a/../b", Ambiguous::DotSegment),
            ("/a/%2e%2e/b", Ambiguous::HiddenCharacter),
            ("/a/%2E/b", Ambiguous::HiddenCharacter),
            ("/a%2fb", Ambiguous::HiddenCharacter),
            ("/a%5cb", Ambiguous::HiddenCharacter),
            ("/a\\b", Ambiguous::Backslash),
            ("/a%252e", Ambiguous::HiddenCharacter),
            ("/a%00", Ambiguous::HiddenCharacter),
            ("/a;x=y", Ambiguous::MatrixParameter),
            ("/a%3bx", Ambiguous::HiddenCharacter),
            ("/%6d%65", Ambiguous::NeedlessEncoding),
            ("/a%", Ambiguous::BadEncoding),
            ("/a%zz", Ambiguous::BadEncoding),
            ("/a b", Ambiguous::Unencoded),
            ("/a\tb", Ambiguous::Unencoded),
            ("/a#b", Ambiguous::Unencoded),
            ("/钥", Ambiguous::Unencoded),
            ("/%c0%af", Ambiguous::NotUtf8),
        ];
        for (path, expected) in table {
            assert_eq!(CanonicalPath::parse(path).err(), Some(expected), "{path}");
        }
    }

    proptest! {
        #[test]
        fn what_passes_is_sent_as_it_was_judged(path in "[ -~]{0,60}") {
            if CanonicalPath::parse(&path).is_ok() {
                let mut url = url::Url::parse("https://api.example.com").unwrap();
                url.set_path(&path);
                prop_assert_eq!(url.path(), path.as_str());
            }
        }

        #[test]
        fn no_input_panics(path in any::<String>(), query in any::<String>()) {
            let _ = CanonicalPath::parse(&path);
            let _ = check_query(&query);
        }
    }
}
