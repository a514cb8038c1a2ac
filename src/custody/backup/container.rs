//! The sealed form of a backup: under the vault's own key, or for an age recipient.
//!
//! Under the vault's own key: `valetkey-backup 1`, the header, then chunks of 64 KiB, each a sealed value that is
//! bound to the header's hash, its number, and whether it is the last. So no chunk can be left out, moved,
//! repeated or taken from another backup, and a header that was changed opens nothing.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use age::x25519::{Identity, Recipient};
use aws_lc_rs::digest;

use crate::custody::backup::BackupError;
use crate::custody::backup::frame::{Header, bad};
use crate::kernel::encode;
use crate::model::sealed::{Context, Sealed, Sealer};

const MAGIC: &[u8] = b"valetkey-backup 1\n";
const AGE: &[u8] = b"age-encryption.org/v1";
pub(super) const FORMAT: u32 = 1;
const CHUNK: usize = 64 * 1024;
/// A sealed chunk is about a hundred bytes longer than a plain one.
const MAX_CHUNK: u32 = 80 * 1024;
const MAX_HEADER: usize = 2 << 20;

/// How a backup is sealed.
#[derive(Clone, Debug)]
pub enum Sealing {
    /// Under the vault's own key: the root key opens it.
    Vault,
    /// For an age recipient as well: opened by its key, and then by the root key.
    Age(String),
}

/// What a sealed backup's bytes are collected in, until somebody takes them.
#[derive(Clone, Default)]
pub(super) struct Collected(Arc<Mutex<Vec<u8>>>);

impl Collected {
    pub(super) fn taken(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Seals what is written.
pub(super) enum SealedWriter {
    Vault(ChunkWriter),
    Age(age::stream::StreamWriter<Collected>),
}

impl SealedWriter {
    pub(super) fn begin(
        sealing: &Sealing,
        header: &Header,
        sealer: Arc<dyn Sealer>,
        mut to: Collected,
    ) -> Result<Self, BackupError> {
        let failed = |e: io::Error| BackupError::Sealing(e.to_string());
        let mut line = serde_json::to_vec(header).map_err(|e| BackupError::Sealing(e.to_string()))?;
        line.push(b'\n');
        match sealing {
            Sealing::Vault => {
                to.write_all(MAGIC).and_then(|()| to.write_all(&line)).map_err(failed)?;
                let binding = Binding::of(&line);
                Ok(Self::Vault(ChunkWriter { sealer, binding, number: 0, plain: Vec::new(), to }))
            }
            Sealing::Age(recipient) => {
                let to_whom: Recipient =
                    recipient.parse().map_err(|_| BackupError::Recipient(recipient.clone()))?;
                let encryptor =
                    age::Encryptor::with_recipients(std::iter::once(&to_whom as &dyn age::Recipient))
                        .map_err(|e| BackupError::Sealing(e.to_string()))?;
                let mut writer = encryptor.wrap_output(to).map_err(failed)?;
                writer.write_all(MAGIC).and_then(|()| writer.write_all(&line)).map_err(failed)?;
                Ok(Self::Age(writer))
            }
        }
    }

    pub(super) fn end(self) -> Result<(), BackupError> {
        let ended = match self {
            Self::Vault(mut writer) => writer.seal(true),
            Self::Age(writer) => writer.finish().map(drop),
        };
        ended.map_err(|e| BackupError::Sealing(e.to_string()))
    }
}

impl Write for SealedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Vault(writer) => writer.write(bytes),
            Self::Age(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What all chunks of one backup are bound to.
struct Binding(String);

impl Binding {
    fn of(header: &[u8]) -> Self {
        Self(encode::hex(digest::digest(&digest::SHA256, header).as_ref()))
    }

    fn context(&self, number: u64, is_last: bool) -> Context<'_> {
        let field = if is_last { "last" } else { "chunk" };
        Context { kind: "backup", id: &self.0, field, generation: number }
    }
}

pub(super) struct ChunkWriter {
    sealer: Arc<dyn Sealer>,
    binding: Binding,
    number: u64,
    plain: Vec<u8>,
    to: Collected,
}

impl ChunkWriter {
    fn seal(&mut self, is_last: bool) -> io::Result<()> {
        let sealed = self.sealer.seal(self.binding.context(self.number, is_last), &self.plain);
        let length = u32::try_from(sealed.as_bytes().len()).map_err(io::Error::other)?;
        self.to.write_all(&length.to_be_bytes())?;
        self.to.write_all(sealed.as_bytes())?;
        self.number += 1;
        self.plain.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK.saturating_sub(self.plain.len()).min(bytes.len());
        self.plain.extend_from_slice(bytes.get(..room).unwrap_or_default());
        if self.plain.len() == CHUNK {
            self.seal(false)?;
        }
        Ok(room)
    }
}

/// A backup being read: its header, then its frames.
pub struct Opening {
    pub(super) header: Header,
    line: Vec<u8>,
    body: Box<dyn Read>,
    is_sealed: bool,
}

impl Opening {
    /// Reads the beginning; `identities` are texts of age keys, for a backup that needs one.
    ///
    /// # Errors
    /// When it is no backup, or none of the identities opens it.
    pub fn new(mut from: Box<dyn Read>, identities: &[String]) -> Result<Self, BackupError> {
        let damaged = |e: io::Error| BackupError::Damaged(e.to_string());
        let mut first = vec![0; AGE.len()];
        from.read_exact(&mut first).map_err(|_| BackupError::Damaged("it is far too short".to_owned()))?;
        let is_sealed = first != AGE;
        let whole = io::Cursor::new(first).chain(from);
        let mut body: Box<dyn Read> =
            if is_sealed { Box::new(whole) } else { opened_by_age(whole, identities)? };
        let mut magic = vec![0; MAGIC.len()];
        body.read_exact(&mut magic).map_err(damaged)?;
        if magic != MAGIC {
            return Err(BackupError::Damaged("it does not begin like one".to_owned()));
        }
        let line = read_line(&mut body).map_err(damaged)?;
        let header: Header = serde_json::from_slice(&line)
            .map_err(|_| BackupError::Damaged("its header is none".to_owned()))?;
        if header.format != FORMAT {
            return Err(BackupError::Damaged(format!(
                "its format {} is newer than this version",
                header.format
            )));
        }
        Ok(Self { header, line, body, is_sealed })
    }

    /// What its frames are read from.
    pub(super) fn frames(self, sealer: Arc<dyn Sealer>) -> Box<dyn Read> {
        if !self.is_sealed {
            return self.body;
        }
        let binding = Binding::of(&self.line);
        let plain = io::Cursor::new(Vec::new());
        Box::new(ChunkReader { sealer, binding, number: 0, plain, is_over: false, from: self.body })
    }
}

fn opened_by_age(from: impl Read + 'static, identities: &[String]) -> Result<Box<dyn Read>, BackupError> {
    let keys: Vec<Identity> = identities
        .iter()
        .flat_map(|text| text.lines())
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.parse().map_err(|_| BackupError::Identity("one is not an age key".to_owned())))
        .collect::<Result<_, _>>()?;
    let opening = age::Decryptor::new_buffered(io::BufReader::new(from))
        .map_err(|e| BackupError::Damaged(e.to_string()))?;
    let opened = opening.decrypt(keys.iter().map(|key| key as &dyn age::Identity)).map_err(|e| match e {
        age::DecryptError::NoMatchingKeys => BackupError::Identity("none of the keys fits".to_owned()),
        other => BackupError::Damaged(other.to_string()),
    })?;
    Ok(Box::new(opened))
}

fn read_line(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        from.read_exact(&mut byte)?;
        line.extend_from_slice(&byte);
        if byte == [b'\n'] {
            return Ok(line);
        }
        if line.len() > MAX_HEADER {
            return Err(bad("its header is far too long"));
        }
    }
}

struct ChunkReader {
    sealer: Arc<dyn Sealer>,
    binding: Binding,
    number: u64,
    plain: io::Cursor<Vec<u8>>,
    is_over: bool,
    from: Box<dyn Read>,
}

impl ChunkReader {
    fn next(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        self.from.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > MAX_CHUNK {
            return Err(bad("a chunk is far too long"));
        }
        let mut sealed = vec![0; usize::try_from(length).unwrap_or(0)];
        self.from.read_exact(&mut sealed)?;
        let sealed = Sealed::from_bytes(sealed);
        let opened = match self.sealer.open(self.binding.context(self.number, false), &sealed) {
            Ok(opened) => opened,
            Err(_) => {
                self.is_over = true;
                self.sealer
                    .open(self.binding.context(self.number, true), &sealed)
                    .map_err(|_| bad("a chunk does not open: it was changed, moved or exchanged"))?
            }
        };
        self.number += 1;
        self.plain = io::Cursor::new(opened.expose().clone());
        if self.is_over && self.from.read(&mut [0])? != 0 {
            return Err(bad("something follows its last chunk"));
        }
        Ok(())
    }
}

impl Read for ChunkReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.plain.read(out)?;
            if read > 0 || out.is_empty() || self.is_over {
                return Ok(read);
            }
            self.next()?;
        }
    }
}
