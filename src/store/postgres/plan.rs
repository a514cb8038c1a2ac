//! What a group of batches comes to, given what the database holds under their keys. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use crate::store::backend::{Batch, Committed, Expect};
use crate::store::postgres::name;

/// The rows that were found: locked, but for those that are only looked at.
pub(super) type Held = HashMap<Vec<u8>, Bytes>;

/// The outcome of each batch, and the rows to write.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) outcomes: Vec<Committed>,
    pub(super) insert: Vec<(Bytes, Bytes)>,
    pub(super) update: Vec<(Bytes, Bytes)>,
    pub(super) delete: Vec<Bytes>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.insert.is_empty() && self.update.is_empty() && self.delete.is_empty()
    }
}

/// All keys that a group looks at or writes, in the order in which everybody locks them.
pub(super) fn keys<'b>(batches: impl Iterator<Item = &'b Batch>) -> Vec<Vec<u8>> {
    let mut keys = BTreeSet::new();
    for batch in batches {
        let held = batch.expect.iter().filter(|(_, expect)| !is_looked_at(expect));
        keys.extend(held.map(|(key, _)| name::stored(key)));
        keys.extend(batch.write.iter().map(|(key, _)| name::stored(key)));
    }
    keys.into_iter().collect()
}

/// The keys that a group looks at without locking them: all commits look at the same ones.
pub(super) fn looked_at<'b>(batches: impl Iterator<Item = &'b Batch>) -> Vec<Vec<u8>> {
    let looks = batches.flat_map(|batch| &batch.expect).filter(|(_, expect)| is_looked_at(expect));
    let keys: BTreeSet<_> = looks.map(|(key, _)| name::stored(key)).collect();
    keys.into_iter().collect()
}

fn is_looked_at(expect: &Expect) -> bool {
    matches!(expect, Expect::AtMost(_))
}

/// Applies the batches one after the other; one that does not hold leaves the others alone.
///
/// INVARIANT: a row that was found is locked (but for what is only looked at), so it is what it was until the end of the transaction. One that
/// was not found may appear meanwhile; so wherever an outcome rests on its absence, something is inserted
/// there, which fails if it has.
pub(super) fn plan<'b>(batches: impl Iterator<Item = &'b Batch>, held: &Held) -> Plan {
    let mut after: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
    let mut absent: BTreeSet<Bytes> = BTreeSet::new();
    let mut plan = Plan::default();
    for batch in batches {
        let holds = batch.expect.iter().all(|(key, expect)| match after.get(key) {
            Some(value) => expect.holds(value.as_deref()),
            None => expect.holds(held.get(&name::stored(key)).map(Bytes::as_ref)),
        });
        plan.outcomes.push(if holds { Committed::Done } else { Committed::Conflict });
        if !holds {
            continue;
        }
        after.extend(batch.write.iter().cloned());
        if !batch.write.is_empty() {
            let expected = batch.expect.iter().filter(|(_, expect)| *expect == Expect::Absent);
            absent.extend(expected.map(|(key, _)| key.clone()));
        }
    }
    for key in absent.iter().filter(|key| !held.contains_key(&name::stored(key))) {
        if !matches!(after.get(key), Some(Some(_))) {
            plan.insert.push((key.clone(), Bytes::new()));
            after.insert(key.clone(), None);
        }
    }
    for (key, value) in after {
        match (held.get(&name::stored(&key)), value) {
            (Some(before), Some(value)) if *before == value => {}
            (Some(_), Some(value)) => plan.update.push((key, value)),
            (None, Some(value)) => plan.insert.push((key, value)),
            (_, None) => plan.delete.push(key),
        }
    }
    // In one order everywhere: whoever inserts the same keys waits instead of locking each other out.
    plan.insert.sort_by(|(one, _), (other, _)| one.cmp(other));
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn take(key: &str, value: Option<&str>) -> Batch {
        Batch { expect: vec![(bytes(key), Expect::Absent)], write: vec![(bytes(key), value.map(bytes))] }
    }

    #[test]
    fn batches_of_a_group_see_what_those_before_them_did() {
        let change = Batch {
            expect: vec![(bytes("k"), Expect::Is(bytes("1")))],
            write: vec![(bytes("k"), Some(bytes("2")))],
        };
        let all = [take("k", Some("1")), take("k", Some("9")), change.clone(), change];
        let plan = plan(all.iter(), &Held::new());
        use Committed::{Conflict, Done};
        assert_eq!(plan.outcomes, [Done, Conflict, Done, Conflict]);
        assert_eq!(plan.insert, [(bytes("k"), bytes("2"))]);
        assert!(plan.update.is_empty() && plan.delete.is_empty());
    }

    #[test]
    fn an_absence_that_something_rests_on_is_held_by_a_row() {
        let batch = Batch {
            expect: vec![(bytes("none"), Expect::Absent)],
            write: vec![(bytes("k"), Some(bytes("1")))],
        };
        for (all, inserted) in [(vec![batch], vec!["k", "none"]), (vec![take("none", None)], vec!["none"])] {
            let plan = plan(all.iter(), &Held::new());
            let keys: Vec<_> = plan.insert.iter().map(|(key, _)| key.clone()).collect();
            assert_eq!(keys, inserted.iter().map(|key| bytes(key)).collect::<Vec<_>>());
            assert_eq!(plan.delete, [bytes("none")]);
        }
        let looked = Batch { expect: vec![(bytes("none"), Expect::Absent)], write: Vec::new() };
        assert!(plan([looked].iter(), &Held::new()).is_empty());
    }

    #[test]
    fn rows_that_are_there_are_changed_and_not_inserted() {
        let held = Held::from([(b"k".to_vec(), bytes("1")), (b"same".to_vec(), bytes("s"))]);
        let write = vec![
            (bytes("k"), Some(bytes("2"))),
            (bytes("same"), Some(bytes("s"))),
            (bytes("gone"), None),
            (bytes("new"), Some(bytes("n"))),
        ];
        let plan = plan([Batch { expect: Vec::new(), write }].iter(), &held);
        assert_eq!(plan.update, [(bytes("k"), bytes("2"))]);
        assert_eq!(plan.insert, [(bytes("new"), bytes("n"))]);
        assert_eq!(plan.delete, [bytes("gone")]);
    }
}
