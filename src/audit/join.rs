//! The logs of several nodes, held against each other: each has written down the signed heads of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::audit::head;
use crate::audit::verify::{self, BadEntry, Report, Trail};

/// What the logs of several nodes hold together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joint {
    /// Each log, in the order in which they were given.
    pub logs: Vec<Report>,
    /// Heads of one log that were found in another.
    pub witnessed: u64,
    /// Nodes whose heads were seen, and whose log was not given.
    pub absent: Vec<String>,
}

/// Verifies every log, and that each holds what others have seen of it.
///
/// # Errors
/// Names the first bad entry: for a log that was cut off or rewritten, the first that another log vouches for.
pub fn verify_all(paths: &[PathBuf], public_key: Option<[u8; 32]>) -> Result<Joint, BadEntry> {
    let mut trails = Vec::with_capacity(paths.len());
    for path in paths {
        trails.push(verify::trail(path, public_key)?);
    }
    let mut by_node: BTreeMap<&str, &Trail> = BTreeMap::new();
    for trail in &trails {
        let Some(node) = trail.report.node.as_deref() else { continue };
        if let Some(other) = by_node.insert(node, trail) {
            return Err(bad(trail, 1, format!("`{}` is of the same node {node}", other.path.display())));
        }
    }
    let (mut witnessed, mut absent) = (0, BTreeSet::new());
    for witness in &trails {
        for (at, note) in &witness.witnessed {
            let key = public_key.or(witness.report.public_key);
            let head = head::check(note, key.as_ref())
                .map_err(|e| bad(witness, *at, format!("the head of another node in it: {e}")))?;
            let node = head.origin.splitn(4, '/').nth(3).unwrap_or_default();
            match by_node.get(node) {
                None => drop(absent.insert(node.to_owned())),
                Some(trail) => {
                    holds(trail, &head, witness)?;
                    witnessed += 1;
                }
            }
        }
    }
    // Only heads name a node: a log that was cut off before its first one is nobody's.
    let nameless = trails.iter().find(|trail| trail.report.node.is_none());
    if let (Some(trail), Some(node)) = (nameless, absent.first()) {
        let problem = format!("it names no node, and others have seen heads of node {node}: it was cut off");
        return Err(bad(trail, trail.report.entries + 1, problem));
    }
    let absent = absent.into_iter().collect();
    Ok(Joint { logs: trails.into_iter().map(|trail| trail.report).collect(), witnessed, absent })
}

fn holds(trail: &Trail, head: &head::Head, witness: &Trail) -> Result<(), BadEntry> {
    let seen = format!("`{}` has seen a signed head of {} entries", witness.path.display(), head.size);
    match trail.heads.get(&head.size) {
        Some(link) if *link == head.link => Ok(()),
        Some(_) => Err(bad(trail, head.size, format!("{seen} with another hash: it was rewritten"))),
        None => {
            let here = trail.report.entries;
            let problem = format!("{seen}, but its own has {here} without that head: it was cut off");
            Err(bad(trail, here.min(head.size) + 1, problem))
        }
    }
}

fn bad(trail: &Trail, seq: u64, problem: String) -> BadEntry {
    BadEntry { seq, file: trail.path.clone(), line: 0, problem }
}
