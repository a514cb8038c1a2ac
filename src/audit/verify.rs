//! Verifies a log offline: a folder of segments, or an export, with the public key alone.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Take};
use std::path::{Path, PathBuf};

use crate::audit::chain::Link;
use crate::audit::head;
use crate::audit::segment;
use crate::audit::walk::{Misfit, Step, Walk};
use crate::kernel::encode;
use crate::kernel::ids::DeploymentId;
use crate::model::event::{Event, WITNESSED};

/// The first entry that does not verify, and where it stands. Everything before it is as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEntry {
    /// Its position in the log; 0 where there is no log at all.
    pub seq: u64,
    /// The file.
    pub file: PathBuf,
    /// The line in that file, from 1; 0 where no line is to blame.
    pub line: u64,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for BadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seq > 0 {
            write!(f, "entry {}: ", self.seq)?;
        }
        write!(f, "{} (`{}`", self.problem, self.file.display())?;
        if self.line > 0 {
            write!(f, ", line {}", self.line)?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for BadEntry {}

/// What a log that verifies holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whose log it is.
    pub deployment: Option<DeploymentId>,
    /// Which node's, where several share a store.
    pub node: Option<String>,
    /// How many entries there are.
    pub entries: u64,
    /// How many signed heads.
    pub heads: u64,
    /// The last entry that a signed head covers.
    pub last_signed_seq: u64,
    /// Entries after it: chained, but whoever can write the files could replace them unnoticed.
    pub unprotected_tail: u64,
    /// Bytes of a last line that is not complete: being written, or torn by a power cut.
    pub torn_bytes: u64,
    /// The key that the heads were checked with.
    pub public_key: Option<[u8; 32]>,
    /// Whether that key was given, or only read from the log itself.
    pub key_given: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = &self.node {
            writeln!(f, "the log of node {node}")?;
        }
        writeln!(f, "{} entries and {} signed heads verify", self.entries, self.heads)?;
        match (&self.public_key, self.key_given) {
            (Some(key), true) => writeln!(f, "checked with the given public key {}", encode::hex(key))?,
            (Some(key), false) => writeln!(
                f,
                "checked with the public key {} that the log itself names: compare it with one from elsewhere",
                encode::hex(key)
            )?,
            (None, _) => writeln!(f, "no signed head: nothing proves who wrote this")?,
        }
        write!(
            f,
            "signed up to entry {}; unprotected tail: {} entries",
            self.last_signed_seq, self.unprotected_tail
        )?;
        if self.torn_bytes > 0 {
            write!(f, ", and {} bytes of an unfinished line", self.torn_bytes)?;
        }
        Ok(())
    }
}

/// Verifies a log folder or an export.
///
/// # Errors
/// Names the first bad entry.
pub fn verify(path: &Path, public_key: Option<[u8; 32]>) -> Result<Report, BadEntry> {
    trail(path, public_key).map(|trail| trail.report)
}

/// What is held against the logs of other nodes.
pub(super) struct Trail {
    pub(super) path: PathBuf,
    pub(super) report: Report,
    /// The links that signed heads in it state, by position.
    pub(super) heads: BTreeMap<u64, Link>,
    /// Heads of other nodes that it has seen, and where.
    pub(super) witnessed: Vec<(u64, String)>,
}

/// Verifies one log, and keeps what others can be held against.
pub(super) fn trail(path: &Path, public_key: Option<[u8; 32]>) -> Result<Trail, BadEntry> {
    let (mut heads, mut witnessed) = (BTreeMap::new(), Vec::new());
    let mut walk = Walk::new(public_key, false);
    let bad = |file: &Path, line, misfit: Misfit| BadEntry {
        seq: misfit.seq,
        file: file.to_owned(),
        line,
        problem: misfit.problem,
    };
    let unreadable = |file: &Path, seq, e: &io::Error| BadEntry {
        seq: if e.kind() == io::ErrorKind::NotFound { 0 } else { seq },
        file: file.to_owned(),
        line: 0,
        problem: format!("cannot be read: {e}"),
    };
    let files = if path.is_dir() {
        walk.expected = segment::read_head_file(path)
            .map_err(|e| unreadable(&path.join(segment::HEAD_FILE), 1, &e))?
            .map(|note| head::check(&note, public_key.as_ref()))
            .transpose()
            .map_err(|e| {
                bad(
                    &path.join(segment::HEAD_FILE),
                    1,
                    Misfit { seq: 1, problem: format!("the newest head: {e}") },
                )
            })?;
        segment::list(path).map_err(|e| unreadable(path, 1, &e))?
    } else {
        vec![path.to_owned()]
    };
    let mut torn_bytes = 0;
    let last = files.len().saturating_sub(1);
    for (at, file) in files.iter().enumerate() {
        let mut lines = Lines::open(file).map_err(|e| unreadable(file, walk.seq + 1, &e))?;
        loop {
            match lines.next().map_err(|e| unreadable(file, walk.seq + 1, &e))? {
                Next::Line(line, place) => {
                    match walk.step(line).map_err(|misfit| bad(file, place.number, misfit))? {
                        Step::Head => drop(heads.insert(walk.seq, walk.link)),
                        Step::Entry(canonical) => {
                            witnessed.extend(note_in(canonical).map(|note| (walk.seq, note)));
                        }
                        Step::Segment => {}
                    }
                }
                Next::Torn(bytes, _) if at == last => {
                    torn_bytes = bytes;
                    break;
                }
                Next::Torn(_, place) => {
                    let problem = "this line has no end, but the log goes on in another file".to_owned();
                    return Err(bad(file, place.number, Misfit { seq: walk.seq + 1, problem }));
                }
                Next::End => break,
            }
        }
    }
    if walk.deployment.is_none() {
        let problem = "there is no audit log here: name the data folder's `audit` folder, or an export";
        return Err(bad(path, 0, Misfit { seq: 0, problem: problem.to_owned() }));
    }
    walk.finish().map_err(|misfit| bad(path, 0, misfit))?;
    let origin = walk.origin.as_deref().unwrap_or_default();
    let report = Report {
        deployment: walk.deployment.clone(),
        node: origin.splitn(4, '/').nth(3).map(ToOwned::to_owned),
        entries: walk.entries,
        heads: walk.heads,
        last_signed_seq: walk.last_signed,
        unprotected_tail: walk.seq - walk.last_signed,
        torn_bytes,
        public_key: walk.key,
        key_given: walk.key_given,
    };
    Ok(Trail { path: path.to_owned(), report, heads, witnessed })
}

/// The head of another node that an entry tells of.
fn note_in(canonical: &[u8]) -> Option<String> {
    let told = format!("\"action\":\"{WITNESSED}\"");
    // Nearly all entries tell of something else, and need not be read for this.
    if !canonical.windows(told.len()).any(|window| window == told.as_bytes()) {
        return None;
    }
    let event: Event = serde_json::from_slice(canonical).ok()?;
    event.draft.reasons.into_iter().next().filter(|_| event.draft.action == WITNESSED)
}

/// Reads lines into one buffer.
pub(super) struct Lines {
    reader: BufReader<Take<File>>,
    buffer: Vec<u8>,
    number: u64,
    end: u64,
}

/// Where a line stands in its file.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Its number, from 1.
    pub(super) number: u64,
    /// The position of its first byte.
    pub(super) start: u64,
}

/// What comes next in a file.
pub(super) enum Next<'a> {
    /// A line, without its end.
    Line(&'a [u8], Place),
    /// The file ends within a line of that many bytes.
    Torn(u64, Place),
    /// The file ends.
    End,
}

impl Lines {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = segment::written(&mut file)?;
        let reader = BufReader::with_capacity(1 << 16, file.take(length));
        Ok(Self { reader, buffer: Vec::new(), number: 0, end: 0 })
    }

    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        self.buffer.clear();
        let read = self.reader.read_until(b'\n', &mut self.buffer)? as u64;
        if read == 0 {
            return Ok(Next::End);
        }
        self.number += 1;
        let place = Place { number: self.number, start: self.end };
        self.end += read;
        match self.buffer.strip_suffix(b"\n") {
            Some(line) => Ok(Next::Line(line, place)),
            None => Ok(Next::Torn(read, place)),
        }
    }
}
