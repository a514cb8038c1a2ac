//! The chain, pure: canonical bytes, hashes and lines.
//!
//! `{"segment":{…}}` begins a file, `{"entry":<canonical>,"hash":"<64 hex>"}` is an entry,
//! `{"head":"<signed note>"}` a signed head. The hash covers the entry's bytes exactly as they stand in
//! the file, so that no two readers can disagree on what was hashed.

use std::io::Write as _;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::kernel::ids::{DeploymentId, EventId};

const ENTRY: &[u8] = b"{\"entry\":";
const HASH: &[u8] = b",\"hash\":\"";
const END: &[u8] = b"\"}";

/// A link of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link(pub [u8; 32]);

impl Link {
    /// What the first entry follows.
    pub fn genesis(deployment: &DeploymentId) -> Link {
        sha256(&[b"valetkey audit v1\n", deployment.as_str().as_bytes()])
    }

    /// The link of the entry that follows.
    #[must_use]
    pub fn next(&self, canonical: &[u8]) -> Link {
        sha256(&[&self.0, canonical])
    }

    /// 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        encode::hex(&self.0)
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub fn from_hex(text: &[u8]) -> Option<Link> {
        let text = std::str::from_utf8(text).ok()?;
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        Some(Link(encode::from_hex(text)?.try_into().ok()?))
    }
}

fn sha256(parts: &[&[u8]]) -> Link {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    Link(out)
}

/// The first line of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentStart {
    /// The format of everything that follows.
    pub format: u32,
    /// Whose log it is.
    pub deployment: DeploymentId,
    /// The position of the first entry in it.
    pub first: u64,
    /// The link that the first entry follows, in hexadecimal.
    pub prev: String,
}

/// The only format so far.
pub const FORMAT: u32 = 1;

/// One line of the log.
#[derive(Debug)]
pub enum Line<'a> {
    /// A segment begins.
    Segment(SegmentStart),
    /// An entry: its canonical bytes, and the link that is claimed for it.
    Entry {
        /// The bytes that are hashed.
        canonical: &'a [u8],
        /// The link.
        link: Link,
    },
    /// A signed note.
    Head(String),
}

/// Reads a line without its line end; `None` when it is none of the three.
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    if let Some(rest) = line.strip_prefix(ENTRY) {
        let (canonical, hash) = rest.strip_suffix(END)?.split_at_checked(rest.len().checked_sub(2 + 64)?)?;
        let canonical = canonical.strip_suffix(HASH)?;
        return Some(Line::Entry { canonical, link: Link::from_hex(hash)? });
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "snake_case")]
    enum Other {
        Segment(SegmentStart),
        Head(String),
    }
    match serde_json::from_slice(line).ok()? {
        Other::Segment(start) => Some(Line::Segment(start)),
        Other::Head(note) => Some(Line::Head(note)),
    }
}

/// What every entry begins with.
#[derive(Debug, Deserialize)]
pub struct Position {
    /// Position in the log.
    pub seq: u64,
}

/// The position that an entry claims.
pub fn position(canonical: &[u8]) -> Option<Position> {
    serde_json::from_slice(canonical).ok()
}

/// Appends an entry's line and returns its link. `draft` is the draft's JSON object; its fields follow
/// `seq`, `id` and `at`, in the order in which the model declares them.
pub fn append_entry(
    out: &mut Vec<u8>,
    prev: &Link,
    seq: u64,
    id: &EventId,
    at: Timestamp,
    draft: &[u8],
) -> Link {
    out.extend_from_slice(ENTRY);
    let start = out.len();
    // Writing into a vector cannot fail.
    let _ = write!(out, "{{\"seq\":{seq},\"id\":\"{id}\",\"at\":{},", at.millis());
    out.extend_from_slice(draft.strip_prefix(b"{").unwrap_or(draft));
    let link = prev.next(out.get(start..).unwrap_or_default());
    out.extend_from_slice(HASH);
    out.extend_from_slice(link.hex().as_bytes());
    out.extend_from_slice(END);
    out.push(b'\n');
    link
}

/// The line that begins a segment.
pub fn segment_line(deployment: &DeploymentId, first: u64, prev: &Link) -> Vec<u8> {
    let start = SegmentStart { format: FORMAT, deployment: deployment.clone(), first, prev: prev.hex() };
    json_line("segment", &start)
}

/// The line that holds a signed note.
pub fn head_line(note: &str) -> Vec<u8> {
    json_line("head", &note)
}

fn json_line(name: &str, value: &impl Serialize) -> Vec<u8> {
    // INVARIANT: plain structs of texts and numbers always have a JSON form.
    let json = serde_json::to_string(value).unwrap_or_default();
    format!("{{\"{name}\":{json}}}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::entropy::SeededEntropy;
    use crate::model::event::{Event, EventDraft, EventKind};

    #[test]
    fn an_entry_is_the_event_as_the_model_writes_it() {
        let entropy = SeededEntropy::new(2);
        let mut draft = EventDraft::new(EventKind::Grant, "grant.revoked");
        draft.reasons.push("a \"quoted\" reason\n说明".to_owned());
        draft.status = Some(200);
        let event = Event {
            seq: 7,
            id: EventId::generate(&entropy),
            at: Timestamp::from_secs(9),
            draft: draft.clone(),
        };
        let mut line = Vec::new();
        let genesis = Link::genesis(&DeploymentId::generate(&entropy));
        let draft = serde_json::to_vec(&draft).unwrap();
        let link = append_entry(&mut line, &genesis, 7, &event.id, event.at, &draft);
        let Some(Line::Entry { canonical, link: read }) = parse(line.strip_suffix(b"\n").unwrap()) else {
            panic!("not an entry")
        };
        assert_eq!(read, link);
        assert_eq!(canonical, serde_json::to_vec(&event).unwrap());
        assert_eq!(genesis.next(canonical), link);
        assert_eq!(position(canonical).unwrap().seq, 7);
        let back: Event = serde_json::from_slice(canonical).unwrap();
        assert_eq!(back.draft.reasons, event.draft.reasons);
    }
}
