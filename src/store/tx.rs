//! A transaction: changes to records that happen together, if nobody else changed them first.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;

use crate::kernel::secret::{Secret, SecretBytes};
use crate::model::record::Record;
use crate::model::sealed::{Context, Sealer};
use crate::store::backend::{Batch, Expect};
use crate::store::repository::Stored;
use crate::store::reseal::seal_record;
use crate::store::{StoreError, key};

/// What is bound into the seal of a whole record.
pub(super) fn record_context<'a>(kind: &'a str, id: &'a str) -> Context<'a> {
    Context { kind, id, field: "record", generation: 0 }
}

enum Write {
    /// A record, still plain.
    Record {
        kind: &'static str,
        id: String,
        plain: SecretBytes,
    },
    /// An index entry: nothing, or the key of the record that has the unique value.
    Entry(Bytes),
    Remove,
}

/// Collects changes; [`crate::store::Store::commit`] checks and applies them as one.
#[derive(Default)]
pub struct Tx {
    expect: Vec<(Bytes, Expect)>,
    write: BTreeMap<Bytes, Write>,
    error: Option<StoreError>,
}

impl Tx {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a new record. A conflict if its key or one of its unique values is taken.
    pub fn insert<R: Record>(&mut self, record: &R) -> &mut Self {
        let id = record.key();
        self.expect_absent(key::record(R::KIND, &id));
        for (index, value) in record.unique() {
            self.expect_absent(key::unique(R::KIND, index, &value));
        }
        self.write_record(&id, record);
        self
    }

    /// Replaces a record. A conflict if it was changed since it was read, or if it takes a unique value
    /// that another record has.
    pub fn update<R: Record>(&mut self, stored: &Stored<R>, record: &R) -> &mut Self {
        let id = record.key();
        if id != stored.record().key() {
            self.fail(&id, "an update must not change its key: delete and insert");
            return self;
        }
        self.require_unchanged(stored);
        let before: Vec<_> = stored.record().unique();
        for (index, value) in record.unique() {
            if !before.contains(&(index, value.clone())) {
                self.expect_absent(key::unique(R::KIND, index, &value));
            }
        }
        self.remove_indexes(stored.record(), &id);
        self.write_record(&id, record);
        self
    }

    /// Removes a record. A conflict if it was changed since it was read.
    pub fn delete<R: Record>(&mut self, stored: &Stored<R>) -> &mut Self {
        let id = stored.record().key();
        self.require_unchanged(stored);
        self.remove_indexes(stored.record(), &id);
        self.write.insert(key::record(R::KIND, &id), Write::Remove);
        self
    }

    /// Makes the transaction depend on a record that it does not change.
    pub fn require_unchanged<R: Record>(&mut self, stored: &Stored<R>) -> &mut Self {
        let key = key::record(R::KIND, &stored.record().key());
        self.expect.push((key, Expect::Is(stored.raw().clone())));
        self
    }

    /// Makes the transaction depend on there being no such record.
    pub fn require_absent<R: Record>(&mut self, id: &str) -> &mut Self {
        self.expect.push((key::record(R::KIND, id), Expect::Absent));
        self
    }

    /// Writes a record whatever was there before. For records without indexes, which a blind write
    /// could not keep right.
    pub fn put<R: Record>(&mut self, record: &R) -> &mut Self {
        let id = record.key();
        if !record.indexes().is_empty() || !record.unique().is_empty() {
            self.fail(&id, "a record with indexes cannot be written blindly: insert or update it");
            return self;
        }
        self.write_record(&id, record);
        self
    }

    /// Whether nothing would be written.
    pub fn is_empty(&self) -> bool {
        self.write.is_empty()
    }

    /// Seals what is still plain.
    pub(super) fn into_batch(self, sealer: &dyn Sealer) -> Result<Batch, StoreError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let seal = |(key, write)| match write {
            Write::Remove => (key, None),
            Write::Entry(value) => (key, Some(value)),
            Write::Record { kind, id, plain } => {
                let sealed = seal_record(sealer, kind, &id, &plain);
                (key, Some(sealed))
            }
        };
        Ok(Batch { expect: self.expect, write: self.write.into_iter().map(seal).collect() })
    }

    fn expect_absent(&mut self, key: Bytes) {
        match self.write.entry(key) {
            // This very transaction frees the key; that it was there is expected already.
            Entry::Occupied(entry) if matches!(entry.get(), Write::Remove) => {}
            Entry::Occupied(entry) => {
                let name = String::from_utf8_lossy(entry.key()).into_owned();
                self.fail(&name, "it is written twice in one transaction");
            }
            Entry::Vacant(entry) => {
                let key = entry.into_key();
                self.expect.push((key, Expect::Absent));
            }
        }
    }

    fn write_record<R: Record>(&mut self, id: &str, record: &R) {
        let plain = match serde_json::to_vec(record) {
            Ok(plain) => Secret::new(plain),
            Err(e) => return self.fail(id, &e.to_string()),
        };
        for (index, value) in record.indexes() {
            self.write.insert(key::index(R::KIND, index, &value, id), Write::Entry(Bytes::new()));
        }
        for (index, value) in record.unique() {
            let entry = Write::Entry(Bytes::copy_from_slice(id.as_bytes()));
            self.write.insert(key::unique(R::KIND, index, &value), entry);
        }
        let write = Write::Record { kind: R::KIND, id: id.to_owned(), plain };
        self.write.insert(key::record(R::KIND, id), write);
    }

    fn remove_indexes<R: Record>(&mut self, record: &R, id: &str) {
        for (index, value) in record.indexes() {
            self.write.insert(key::index(R::KIND, index, &value, id), Write::Remove);
        }
        for (index, value) in record.unique() {
            self.write.insert(key::unique(R::KIND, index, &value), Write::Remove);
        }
    }

    /// Remembered until the commit, so that building a transaction reads as one chain.
    fn fail(&mut self, key: &str, problem: &str) {
        let error = StoreError::Codec { key: key.to_owned(), problem: problem.to_owned() };
        self.error.get_or_insert(error);
    }
}
