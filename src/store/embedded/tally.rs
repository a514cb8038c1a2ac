//! A tally of everything that the store holds: so that a record that went missing, or came back in an older
//! version, is seen at the next start. It finds damage, not attackers: those cannot read or forge records,
//! and whoever can write here could write a fitting tally.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use bytes::Bytes;

/// Where the tally lies in the store itself.
pub(in crate::store) const KEY: Bytes = Bytes::from_static(b"m/tally");
/// In the store itself: that it was begun by us, and in which layout.
pub(super) const BEGUN: Bytes = Bytes::from_static(b"m/initialised");
pub(super) const LAYOUT: Bytes = Bytes::from_static(b"1");
const LENGTH: usize = 8 + 8 + 16;
const FILE: &str = "store.generation";

/// How many commits there were, how many entries there are, and the sum of the entries' hashes: an order-free
/// sum, so that a commit costs its own entries only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Tally {
    pub(in crate::store) generation: u64,
    pub(in crate::store) entries: u64,
    sum: u128,
}

impl Tally {
    /// Counts an entry that was read.
    pub(super) fn count(&mut self, key: &[u8], value: &[u8]) {
        if key != KEY {
            self.replace(key, None, Some(value));
        }
    }

    pub(in crate::store) fn replace(&mut self, key: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) {
        if let Some(old) = old {
            self.entries = self.entries.wrapping_sub(1);
            self.sum = self.sum.wrapping_sub(hash(key, old));
        }
        if let Some(new) = new {
            self.entries = self.entries.wrapping_add(1);
            self.sum = self.sum.wrapping_add(hash(key, new));
        }
    }

    /// The same without what the engine writes for itself when it begins a store.
    pub(in crate::store) fn without_own(mut self) -> Self {
        self.generation = 0;
        self.replace(&BEGUN, Some(&LAYOUT), None);
        self
    }

    pub(super) fn next(&mut self) {
        self.generation += 1;
    }

    /// Whether two tallies tell of the same entries.
    pub(super) fn agrees_with(&self, other: &Tally) -> bool {
        self.entries == other.entries && self.sum == other.sum
    }

    pub(in crate::store) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(LENGTH);
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&self.entries.to_be_bytes());
        out.extend_from_slice(&self.sum.to_be_bytes());
        out.into()
    }

    pub(in crate::store) fn decode(bytes: &[u8]) -> Option<Self> {
        let (generation, rest) = bytes.split_first_chunk()?;
        let (entries, rest) = rest.split_first_chunk()?;
        let sum = rest.try_into().ok()?;
        Some(Self {
            generation: u64::from_be_bytes(*generation),
            entries: u64::from_be_bytes(*entries),
            sum: u128::from_be_bytes(sum),
        })
    }
}

fn hash(key: &[u8], value: &[u8]) -> u128 {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&(key.len() as u64).to_be_bytes());
    context.update(key);
    context.update(value);
    let digest = context.finish();
    digest.as_ref().first_chunk().map_or(0, |first| u128::from_be_bytes(*first))
}

/// Beside the store: the last generation that was committed, written after each commit and not synced. It is
/// never ahead of what is durable, and after a killed process not behind it either. A store that is behind it
/// has lost commits.
#[derive(Debug)]
pub(super) struct HighWater(File);

impl HighWater {
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join(FILE)
    }

    /// The generation that was noted; `None` where there is no note.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when the note itself is damaged.
    pub(super) fn read(dir: &Path) -> io::Result<Option<u64>> {
        let text = match fs::read_to_string(Self::path(dir)) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let number = text.get(..20).and_then(|digits| digits.parse().ok());
        match number.filter(|number| line(*number) == text) {
            Some(number) => Ok(Some(number)),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Opens or makes the note, and syncs it once: afterwards it is only overwritten in place.
    pub(super) fn begin(dir: &Path, tally: &Tally) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(Self::path(dir))?;
        let note = Self(file);
        note.raise(tally)?;
        note.0.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(note)
    }

    pub(super) fn raise(&self, tally: &Tally) -> io::Result<()> {
        self.0.write_all_at(line(tally.generation).as_bytes(), 0)
    }
}

/// Always as long.
fn line(generation: u64) -> String {
    let digits = format!("{generation:020}");
    format!("{digits} {:08x}\n", crc32fast::hash(digits.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_kept_step_by_step_is_that_of_what_is_left() {
        let mut kept = Tally::default();
        kept.replace(b"a", None, Some(b"1"));
        kept.replace(b"b", None, Some(b"2"));
        kept.replace(b"a", Some(b"1"), Some(b"3"));
        kept.replace(b"b", Some(b"2"), None);
        kept.next();
        let mut counted = Tally::default();
        counted.count(b"a", b"3");
        counted.count(&KEY, b"does not count itself");
        assert!(kept.agrees_with(&counted));
        assert_eq!(Tally::decode(&kept.encode()), Some(kept));
        for (key, value) in [("a", "1"), ("b", "3"), ("a3", "")] {
            let mut other = Tally::default();
            other.count(key.as_bytes(), value.as_bytes());
            assert!(!kept.agrees_with(&other), "{key} {value}");
        }
        assert_eq!(Tally::decode(&kept.encode()[1..]), None);
    }

    #[test]
    fn a_damaged_note_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(HighWater::read(folder.path()).unwrap(), None);
        let mut tally = Tally { generation: 41, ..Tally::default() };
        let note = HighWater::begin(folder.path(), &tally).unwrap();
        tally.next();
        note.raise(&tally).unwrap();
        assert_eq!(HighWater::read(folder.path()).unwrap(), Some(42));
        let path = HighWater::path(folder.path());
        let whole = fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut bent = whole.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, bent).unwrap();
            assert!(HighWater::read(folder.path()).is_err(), "bit {bit}");
        }
    }
}
