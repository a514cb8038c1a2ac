//! A root key from a file.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::kernel::entropy::Entropy;
use crate::vault::file::{sync_folder, write_private};
use crate::vault::seal::{RootBytes, RootKeyError, key_file_error};

/// Makes a key file with mode 0600: 64 hexadecimal digits and a line end.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn create_key_file(path: &Path, entropy: &dyn Entropy) -> Result<(), RootKeyError> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut key = Zeroizing::new([0u8; 32]);
    entropy.fill(key.as_mut_slice());
    let mut text = Zeroizing::new(Vec::with_capacity(65));
    for byte in key.iter() {
        for nibble in [byte >> 4, byte & 0x0f] {
            text.push(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
        }
    }
    text.push(b'\n');
    write_private(path, &text)
        .and_then(|()| sync_folder(path.parent().unwrap_or(Path::new("."))))
        .map_err(|e| key_file_error(path, e.to_string()))
}

pub(super) fn read(path: &Path) -> Result<RootBytes, RootKeyError> {
    let failed = |e: std::io::Error| key_file_error(path, e.to_string());
    let mut file = File::open(path).map_err(failed)?;
    // Asked of the opened file, so that it cannot be exchanged between the check and the read.
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(key_file_error(path, "it is not a file"));
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let problem = format!("others may read it (mode {mode:04o}); run `chmod 600` on it");
        return Err(key_file_error(path, problem));
    }
    let mut text = Zeroizing::new([0u8; 80]);
    let mut length = 0;
    while let Some(rest) = text.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).map_err(failed)? {
            0 => break,
            read => length += read,
        }
    }
    parse(text.get(..length).unwrap_or_default().trim_ascii_end())
        .ok_or_else(|| key_file_error(path, "it does not hold exactly 64 hexadecimal digits"))
}

fn parse(text: &[u8]) -> Option<RootBytes> {
    if text.len() != 64 {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut key = Zeroizing::new([0u8; 32]);
    for (to, pair) in key.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *to = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(key)
}
