//! Sealing anew what was sealed under older key terms, whatever kind of record it is in.
//!
//! The walk goes by key space, so no kind can be forgotten: a record is opened and sealed as a whole, and the
//! values within it that are sealed by themselves are found by what [`crate::model::kinds`] says of the kind.
//! What it does not say is found all the same when the rest is counted, and is counted as left over.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use crate::kernel::encode;
use crate::kernel::secret::{Secret, SecretBytes};
use crate::model::kinds;
use crate::model::record::SealedField;
use crate::model::sealed::{Context, Sealed, Sealer};
use crate::store::backend::{Batch, Committed, Expect};
use crate::store::tx::record_context;
use crate::store::{Store, StoreError, key};

/// How often a record that is being changed by others is read again before the next walk has to find it.
const ATTEMPTS: usize = 16;

/// What one step of a walk did.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Where the next step begins; `None` at the end.
    pub next: Option<Bytes>,
    /// How many records it looked at.
    pub seen: u64,
    /// How many values were sealed anew.
    pub resealed: u64,
}

/// What a walk over everything has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Records.
    pub records: u64,
    /// Sealed values by term, records and what is sealed within them.
    pub values: BTreeMap<u32, u64>,
    /// Of those that are not under the active term: how many, by kind.
    pub left: BTreeMap<String, u64>,
    /// Records that do not open.
    pub unreadable: u64,
}

impl Census {
    /// How many values are not under the active term, records that do not open included: nobody can say what
    /// those need.
    pub fn remaining(&self) -> u64 {
        self.left.values().sum::<u64>() + self.unreadable
    }
}

/// A record that was sealed anew, and how many values that were.
struct Resealed {
    raw: Bytes,
    values: u64,
}

impl Store {
    /// Seals anew what needs it among up to `limit` records after a key. Each changes only if nobody else
    /// changed it meanwhile: who did has sealed it under the active term.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn reseal(&self, after: Option<&[u8]>, limit: usize) -> Result<Step, StoreError> {
        let page = self.backend().scan(key::RECORDS, after, limit).await?;
        let mut step = Step { seen: page.len() as u64, ..Step::default() };
        let mut batch = Batch::default();
        let mut values = 0;
        for (key, raw) in &page {
            if let Some(resealed) = resealed(self.sealer(), key, raw) {
                batch.expect.push((key.clone(), Expect::Is(raw.clone())));
                batch.write.push((key.clone(), Some(resealed.raw)));
                values += resealed.values;
            }
        }
        if !batch.write.is_empty() {
            let keys: Vec<Bytes> = batch.write.iter().map(|(key, _)| key.clone()).collect();
            step.resealed = match self.write(batch).await? {
                Committed::Done => values,
                Committed::Conflict => self.reseal_each(keys).await?,
            };
        }
        if page.len() == limit {
            step.next = page.into_iter().next_back().map(|(key, _)| key);
        }
        Ok(step)
    }

    async fn reseal_each(&self, keys: Vec<Bytes>) -> Result<u64, StoreError> {
        let mut values = 0;
        for key in keys {
            for _ in 0..ATTEMPTS {
                let Some(raw) = self.backend().get(&key).await? else { break };
                let Some(resealed) = resealed(self.sealer(), &key, &raw) else { break };
                let expect = vec![(key.clone(), Expect::Is(raw))];
                let write = vec![(key.clone(), Some(resealed.raw))];
                if self.write(Batch { expect, write }).await? == Committed::Done {
                    values += resealed.values;
                    break;
                }
            }
        }
        Ok(values)
    }

    /// Counts up to `limit` records after a key; returns where to go on.
    ///
    /// # Errors
    /// When the backend fails.
    pub async fn count(
        &self,
        after: Option<&[u8]>,
        limit: usize,
        census: &mut Census,
    ) -> Result<Option<Bytes>, StoreError> {
        let page = self.backend().scan(key::RECORDS, after, limit).await?;
        for (key, raw) in &page {
            count(self.sealer(), key, raw, census);
        }
        Ok(if page.len() == limit { page.into_iter().next_back().map(|(key, _)| key) } else { None })
    }
}

/// A record as it is written, under the active term throughout.
///
/// INVARIANT: nothing within a record was sealed under an older term than the record itself: a term that no
/// commit takes any more is in nothing that is committed.
pub(super) fn seal_record(sealer: &dyn Sealer, kind: &str, id: &str, plain: &SecretBytes) -> Bytes {
    sealed_throughout(sealer, kind, id, plain).raw
}

/// The record, and how many values within it were under other terms.
fn sealed_throughout(sealer: &dyn Sealer, kind: &str, id: &str, plain: &SecretBytes) -> Resealed {
    loop {
        let term = sealer.active_term();
        let within = if sealer.has_other_terms() { reseal_within(sealer, kind, id, plain) } else { None };
        let values = within.as_ref().map_or(0, |(_, values)| *values);
        let plain = within.as_ref().map_or(plain, |(plain, _)| plain);
        let sealed = sealer.seal(record_context(kind, id), plain.expose());
        // Another term may have become the active one in between.
        if sealer.active_term() == term {
            return Resealed { raw: Bytes::copy_from_slice(sealed.as_bytes()), values };
        }
    }
}

/// What a record becomes when it is sealed under the active term throughout; `None` when it is so already, or
/// does not open.
pub fn sealed_anew(sealer: &dyn Sealer, key: &[u8], raw: &[u8]) -> Option<Bytes> {
    resealed(sealer, key, raw).map(|resealed| resealed.raw)
}

/// The record sealed under the active term throughout; `None` when it is so already, or does not open.
fn resealed(sealer: &dyn Sealer, key: &[u8], raw: &[u8]) -> Option<Resealed> {
    let (kind, id) = key::parse_record(key)?;
    let context = record_context(kind, id);
    let sealed = Sealed::from_bytes(raw.to_vec());
    let is_old = sealer.term_of(raw).is_some_and(|term| term != sealer.active_term());
    let plain = match sealer.open(context, &sealed) {
        Ok(plain) => plain,
        Err(error) => {
            tracing::error!(record = %format!("{kind}/{id}"), %error, "a record does not open and is left as it is");
            return None;
        }
    };
    if !is_old && !has_old_within(sealer, kind, &plain) {
        return None;
    }
    let mut resealed = sealed_throughout(sealer, kind, id, &plain);
    resealed.values += u64::from(is_old);
    Some(resealed)
}

fn has_old_within(sealer: &dyn Sealer, kind: &str, plain: &SecretBytes) -> bool {
    let fields = kinds::sealed_fields(kind);
    !fields.is_empty()
        && serde_json::from_slice(plain.expose())
            .is_ok_and(|record| fields.iter().any(|field| old_value(sealer, &record, field).is_some()))
}

/// The record's JSON with every value in it under the active term; `None` when that is so already.
fn reseal_within(
    sealer: &dyn Sealer,
    kind: &str,
    id: &str,
    plain: &SecretBytes,
) -> Option<(SecretBytes, u64)> {
    let fields = kinds::sealed_fields(kind);
    if fields.is_empty() {
        return None;
    }
    let mut record: Value = serde_json::from_slice(plain.expose()).ok()?;
    let mut values = 0;
    for field in fields {
        let generation = match field.generation {
            None => 0,
            Some(path) => at(&record, path).and_then(Value::as_u64).unwrap_or(0),
        };
        let context = Context { kind, id, field: field.field, generation };
        let Some(old) = old_value(sealer, &record, field) else { continue };
        let Ok(opened) = sealer.open(context, &old) else { continue };
        if let Some(place) = at_mut(&mut record, field.path) {
            *place = Value::String(sealer.seal(context, opened.expose()).into());
            values += 1;
        }
    }
    if values == 0 {
        return None;
    }
    serde_json::to_vec(&record).ok().map(|plain| (Secret::new(plain), values))
}

fn old_value(sealer: &dyn Sealer, record: &Value, field: &SealedField) -> Option<Sealed> {
    let bytes = encode::from_base64url(at(record, field.path)?.as_str()?)?;
    let is_old = sealer.term_of(&bytes).is_some_and(|term| term != sealer.active_term());
    is_old.then(|| Sealed::from_bytes(bytes))
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

fn at_mut<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, name| value.get_mut(name))
}

fn count(sealer: &dyn Sealer, key: &[u8], raw: &[u8], census: &mut Census) {
    census.records += 1;
    let opened = key::parse_record(key).and_then(|(kind, id)| {
        let plain = sealer.open(record_context(kind, id), &Sealed::from_bytes(raw.to_vec())).ok()?;
        Some((kind, plain, sealer.term_of(raw)?))
    });
    let Some((kind, plain, term)) = opened else {
        census.unreadable += 1;
        return;
    };
    let mut terms = vec![term];
    match serde_json::from_slice(plain.expose()) {
        Ok(record) => terms_within(sealer, &record, &mut terms),
        Err(_) => census.unreadable += 1,
    }
    for term in terms {
        *census.values.entry(term).or_default() += 1;
        if term != sealer.active_term() {
            *census.left.entry(kind.to_owned()).or_default() += 1;
        }
    }
}

/// The terms of everything in there that was sealed here, named as a field or not. Nobody outside can make a text
/// that passes for such a value, so none can keep a term from being retired.
fn terms_within(sealer: &dyn Sealer, value: &Value, terms: &mut Vec<u32>) {
    match value {
        Value::String(text) => {
            terms.extend(encode::from_base64url(text).and_then(|bytes| sealer.term_of(&bytes)));
        }
        Value::Array(items) => items.iter().for_each(|item| terms_within(sealer, item, terms)),
        Value::Object(members) => members.values().for_each(|item| terms_within(sealer, item, terms)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
