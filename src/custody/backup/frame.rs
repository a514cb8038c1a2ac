//! What a backup is made of: entries of the store, pieces of files, and an end that says how many.

use std::io::{self, Read, Write};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

const ENTRY: u8 = 1;
const GONE: u8 = 2;
const FILE: u8 = 3;
const MORE: u8 = 4;
const END: u8 = 5;
/// Longer than the longest entry, and than any piece of a file.
const MAX: usize = 1 << 20;
/// Pieces that files are cut into.
pub(super) const PIECE: usize = 256 * 1024;

/// What stands before everything else, in the clear where the backup is under the vault's own key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub format: u32,
    pub deployment: String,
    /// Milliseconds since 1970.
    pub taken_at: i64,
    /// The version of the program that took it.
    pub version: String,
    /// `keyring.json`, as it lay there: wrapped under the root key.
    pub keyring: String,
    /// So that no two backups have the same chunks.
    pub nonce: String,
}

/// What stands at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub frames: u64,
    /// Entries and their sum, where the store knew them.
    pub content: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Entry(Bytes, Bytes),
    Gone(Bytes),
    /// The first piece of a file; it takes the place of an earlier one of that name.
    File(String, Bytes),
    /// The next piece of the same file.
    More(Bytes),
    End(End),
}

impl Frame {
    pub(super) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let end;
        let (kind, first, second): (u8, &[u8], &[u8]) = match self {
            Self::Entry(key, value) => (ENTRY, key, value),
            Self::Gone(key) => (GONE, key, &[]),
            Self::File(name, piece) => (FILE, name.as_bytes(), piece),
            Self::More(piece) => (MORE, &[], piece),
            Self::End(summary) => {
                end = serde_json::to_vec(summary)?;
                (END, &end, &[])
            }
        };
        let length = |part: &[u8]| u32::try_from(part.len()).map(u32::to_be_bytes).map_err(io::Error::other);
        to.write_all(&[kind])?;
        to.write_all(&length(first)?)?;
        to.write_all(&length(second)?)?;
        to.write_all(first)?;
        to.write_all(second)
    }

    /// The next frame; `None` at the end of the bytes.
    pub(super) fn read(from: &mut dyn Read) -> io::Result<Option<Self>> {
        let mut kind = [0];
        if from.read(&mut kind)? == 0 {
            return Ok(None);
        }
        let mut lengths = [[0; 4]; 2];
        for length in &mut lengths {
            from.read_exact(length)?;
        }
        let [first, second] =
            lengths.map(|length| usize::try_from(u32::from_be_bytes(length)).unwrap_or(MAX));
        let (first, second) = (take(from, first)?, take(from, second)?);
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).map_err(|_| bad("a name is not text"));
        match kind {
            [ENTRY] => Ok(Some(Self::Entry(first, second))),
            [GONE] => Ok(Some(Self::Gone(first))),
            [FILE] => Ok(Some(Self::File(text(&first)?, second))),
            [MORE] => Ok(Some(Self::More(second))),
            [END] => Ok(Some(Self::End(serde_json::from_slice(&first).map_err(|_| bad("its end is none"))?))),
            _ => Err(bad("it holds something that this version does not know")),
        }
    }
}

fn take(from: &mut dyn Read, length: usize) -> io::Result<Bytes> {
    if length >= MAX {
        return Err(bad("a part of it is far too long"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes.into())
}

pub(super) fn bad(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
