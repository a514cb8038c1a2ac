//! Text forms of bytes: base64url, hex and base62.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Base64url without padding (RFC 4648, section 5).
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Appends base64url without padding.
pub fn base64url_onto(text: &mut String, bytes: &[u8]) {
    URL_SAFE_NO_PAD.encode_string(bytes, text);
}

/// Reads base64url without padding; `None` when it is not.
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Standard base64 with padding, as HTTP Basic uses it.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads standard base64 with padding; `None` when it is not.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut digits = vec![0; bytes.len() * 2];
    hex_into(bytes, &mut digits);
    // INVARIANT: digits are ASCII.
    String::from_utf8(digits).unwrap_or_default()
}

/// Writes lower-case hexadecimal into a place that is twice as long.
pub fn hex_into(bytes: &[u8], digits: &mut [u8]) {
    let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0x0f)]);
    }
}

/// Reads hexadecimal of either case; `None` when it is not.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect()
}

/// Base62 (digits, upper case, lower case) of a byte string read as a big-endian number,
/// left-padded to the width that any value of that length fits in.
pub fn base62(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    // log(256) / log(62) = 1.3436, so 32 bytes take 43 characters.
    let width = (bytes.len() * 13437).div_ceil(10_000);
    let mut number = bytes.to_vec();
    let mut digits = Vec::with_capacity(width);
    for _ in 0..width {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = remainder * 256 + u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(0);
            remainder = value % 62;
        }
        digits.push(ALPHABET.get(remainder as usize).copied().unwrap_or(b'0'));
    }
    zeroize::Zeroize::zeroize(&mut number);
    digits.reverse();
    digits.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_base64url_read_back_what_they_wrote() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&hex(&bytes)), Some(bytes.clone()));
        assert_eq!(from_base64url(&base64url(&bytes)), Some(bytes));
        assert_eq!(from_hex("0g"), None);
    }

    #[test]
    fn base62_has_a_fixed_width_and_keeps_order() {
        assert_eq!(base62(&[0; 32]).len(), 43);
        assert_eq!(base62(&[255; 32]).len(), 43);
        assert!(base62(&[0, 1]) < base62(&[1, 0]));
    }
}
