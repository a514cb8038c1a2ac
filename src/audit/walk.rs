//! Walks a log line by line and says what does not fit. Used by the verifier and when a log is opened.

use crate::audit::chain::{self, FORMAT, Line, Link};
use crate::audit::head::{self, Head};
use crate::kernel::ids::DeploymentId;

/// Where a walk stands.
pub(super) struct Walk {
    pub(super) deployment: Option<DeploymentId>,
    /// The position of the last good entry.
    pub(super) seq: u64,
    pub(super) link: Link,
    pub(super) entries: u64,
    pub(super) heads: u64,
    pub(super) last_signed: u64,
    /// The key that heads are checked with; the first head's own if none was given.
    pub(super) key: Option<[u8; 32]>,
    pub(super) key_given: bool,
    /// Whose log it is, once a head has said so.
    pub(super) origin: Option<String>,
    /// A head that is kept outside the log and must be found in it.
    pub(super) expected: Option<Head>,
    /// Whether the walk may begin after the first entry.
    from_middle: bool,
}

/// What a line was.
pub(super) enum Step<'a> {
    Segment,
    Entry(&'a [u8]),
    Head,
}

/// What does not fit, and the first entry that it concerns.
pub(super) struct Misfit {
    pub(super) seq: u64,
    pub(super) problem: String,
}

impl Walk {
    pub(super) fn new(key: Option<[u8; 32]>, from_middle: bool) -> Self {
        Self {
            deployment: None,
            seq: 0,
            link: Link([0; 32]),
            entries: 0,
            heads: 0,
            last_signed: 0,
            key_given: key.is_some(),
            key,
            origin: None,
            expected: None,
            from_middle,
        }
    }

    /// Takes one line, without its line end.
    pub(super) fn step<'a>(&mut self, line: &'a [u8]) -> Result<Step<'a>, Misfit> {
        let next = self.seq + 1;
        let misfit = |problem: &str| Misfit { seq: next, problem: problem.to_owned() };
        let parsed = chain::parse(line).ok_or_else(|| misfit("this line is not a line of an audit log"))?;
        if self.deployment.is_none() && !matches!(parsed, Line::Segment(_)) {
            return Err(misfit("the log does not begin with the line that begins a segment"));
        }
        match parsed {
            Line::Segment(start) => self.segment(&start).map(|()| Step::Segment),
            Line::Entry { canonical, link } => self.entry(canonical, link).map(|()| Step::Entry(canonical)),
            Line::Head(note) => self.head(&note).map(|()| Step::Head),
        }
    }

    /// What can be said only at the end: whether a head that is kept outside was reached.
    pub(super) fn finish(&self) -> Result<(), Misfit> {
        match &self.expected {
            Some(head) if head.size > self.seq => Err(self.cut_off(head.size)),
            _ => Ok(()),
        }
    }

    fn segment(&mut self, start: &chain::SegmentStart) -> Result<(), Misfit> {
        let misfit = |seq, problem: String| Err(Misfit { seq, problem });
        let next = self.seq + 1;
        if start.format != FORMAT {
            let problem = format!("a segment has format {}, this version knows {FORMAT}", start.format);
            return misfit(next, problem);
        }
        let Some(prev) = Link::from_hex(start.prev.as_bytes()) else {
            return misfit(next, "a segment begins with a broken link".to_owned());
        };
        match &self.deployment {
            Some(deployment) => {
                if *deployment != start.deployment {
                    return misfit(next, format!("a segment of another log ({}) follows", start.deployment));
                }
                if start.first != next {
                    return misfit(next.min(start.first), missing_or_repeated(next, start.first));
                }
                if prev != self.link {
                    return misfit(next, "a segment does not follow the one before it".to_owned());
                }
            }
            None => {
                if start.first != 1 && !self.from_middle {
                    return misfit(1, missing_or_repeated(1, start.first));
                }
                if start.first == 1 && prev != Link::genesis(&start.deployment) {
                    return misfit(1, "the first segment does not begin as a log begins".to_owned());
                }
                self.deployment = Some(start.deployment.clone());
                self.seq = start.first.saturating_sub(1);
                self.last_signed = self.seq;
                self.link = prev;
            }
        }
        Ok(())
    }

    fn entry(&mut self, canonical: &[u8], link: Link) -> Result<(), Misfit> {
        let next = self.seq + 1;
        let misfit = |seq, problem: String| Err(Misfit { seq, problem });
        let Some(position) = chain::position(canonical) else {
            return misfit(next, "it cannot be read".to_owned());
        };
        if position.seq != next {
            return misfit(next, missing_or_repeated(next, position.seq));
        }
        if self.link.next(canonical) != link {
            return misfit(next, "its bytes do not fit its hash: it was edited, or put here".to_owned());
        }
        if let Some(head) = &self.expected
            && head.size == next
            && head.link != link
        {
            return misfit(self.last_signed + 1, self.rewritten(next));
        }
        self.seq = next;
        self.link = link;
        self.entries += 1;
        Ok(())
    }

    fn head(&mut self, note: &str) -> Result<(), Misfit> {
        let misfit = |seq, problem: String| Err(Misfit { seq, problem });
        // A head that cannot be trusted leaves everything since the last one unsigned.
        let first_open = self.last_signed + 1;
        let head = match head::check(note, self.key.as_ref()) {
            Ok(head) => head,
            Err(bad) => {
                return misfit(
                    first_open,
                    format!("the signed head after entry {} does not count: {bad}", self.seq),
                );
            }
        };
        if !self.may_be_of(&head.origin) {
            return misfit(first_open, format!("the head after entry {} is of another log", self.seq));
        }
        if head.size > self.seq {
            return Err(self.cut_off(head.size));
        }
        if head.size < self.seq {
            let problem = format!("the head of entry {} stands after entry {}", head.size, self.seq);
            return misfit(head.size + 1, problem);
        }
        if head.link != self.link {
            return misfit(first_open, self.rewritten(head.size));
        }
        self.key = Some(head.key);
        self.origin = Some(head.origin);
        self.heads += 1;
        self.last_signed = head.size;
        Ok(())
    }

    /// Whether a head with this origin belongs here: to this deployment, and to the one node that writes this
    /// log. A log may get a node's name when its store moves to a database, and keeps it then.
    fn may_be_of(&self, origin: &str) -> bool {
        let Some(deployment) = &self.deployment else { return false };
        let whole = format!("valetkey/audit/{deployment}");
        let node =
            |origin: &str| origin.strip_prefix(&whole).and_then(|rest| rest.strip_prefix('/')).is_some();
        match &self.origin {
            Some(known) if node(known) => known == origin,
            _ => origin == whole || node(origin),
        }
    }

    fn cut_off(&self, size: u64) -> Misfit {
        let problem =
            format!("a signed head counts {size} entries, but only {} are here: it was cut off", self.seq);
        Misfit { seq: self.seq + 1, problem }
    }

    fn rewritten(&self, size: u64) -> String {
        format!(
            "a signed head of entry {size} has another hash: something between this entry and that one was rewritten"
        )
    }
}

fn missing_or_repeated(expected: u64, found: u64) -> String {
    if found > expected {
        format!("it is missing, entry {found} stands in its place: something was deleted or reordered")
    } else {
        format!("entry {found} stands in its place again: something was duplicated, inserted or reordered")
    }
}
