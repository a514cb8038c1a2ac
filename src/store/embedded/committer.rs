//! The one thread that writes.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLockWriteGuard};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::store::StoreError;
use crate::store::backend::Committed;
use crate::store::disk::Disk;
use crate::store::embedded::group::{Group, Job};
use crate::store::embedded::tally::{self, HighWater, Tally};
use crate::store::embedded::{Before, Change, Engine, EngineError, Shared};

pub(super) struct Committer<E> {
    shared: Arc<Shared<E>>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    reserve: u64,
    tally: Tally,
    high_water: HighWater,
}

/// A group that is ready to be written.
struct Planned {
    outcomes: Vec<Committed>,
    former: Before,
    changes: Vec<Change>,
    tally: Tally,
}

impl<E: Engine> Committer<E> {
    pub(super) fn new(
        shared: Arc<Shared<E>>,
        disk: Arc<dyn Disk>,
        dir: &Path,
        reserve: u64,
        tally: Tally,
        high_water: HighWater,
    ) -> Self {
        Self { shared, disk, dir: dir.to_owned(), reserve, tally, high_water }
    }

    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let shared = Arc::clone(&self.shared);
        if catch_unwind(AssertUnwindSafe(|| self.serve(&mut queue))).is_err() {
            shared.give_up("a write", "the engine gave up on what it found");
        }
    }

    fn serve(&mut self, queue: &mut mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = Group::default();
            group.add(first);
            while group.has_room() {
                let Ok(job) = queue.try_recv() else { break };
                group.add(job);
            }
            let result = self.commit(&group);
            group.answer(&result);
        }
    }

    /// The outcome of each commit of the group, or one error for all.
    fn commit(&mut self, group: &Group) -> Result<Vec<Committed>, StoreError> {
        if self.shared.latch.is_set() {
            return Err(StoreError::Failed);
        }
        match self.disk.free_bytes(&self.dir) {
            Ok(free) if free.saturating_sub(group.bytes as u64) < self.reserve => {
                return Err(StoreError::Full);
            }
            Ok(_) => {}
            Err(e) => return Err(self.fail(&e.into())),
        }
        self.write(group).map_err(|e| self.fail(&e))
    }

    fn write(&mut self, group: &Group) -> Result<Vec<Committed>, EngineError> {
        let planned = self.plan(group)?;
        if planned.changes.is_empty() && group.syncs.is_empty() {
            return Ok(planned.outcomes);
        }
        *self.before() = planned.former;
        self.shared.engine.apply(&planned.changes)?;
        // Only a success makes new values visible; after a failure nobody knows what is durable.
        self.publish();
        self.tally = planned.tally;
        self.high_water.raise(&self.tally)?;
        Ok(planned.outcomes)
    }

    fn plan(&self, group: &Group) -> Result<Planned, EngineError> {
        let engine = &self.shared.engine;
        let mut after: HashMap<Bytes, Option<Bytes>> = HashMap::new();
        let mut outcomes = Vec::with_capacity(group.commits.len());
        for (batch, _) in &group.commits {
            let mut holds = true;
            for (key, expect) in &batch.expect {
                holds = match after.get(key) {
                    Some(value) => expect.holds(value.as_deref()),
                    None => expect.holds(engine.get(key)?.as_deref()),
                };
                if !holds {
                    break;
                }
            }
            if holds {
                after.extend(batch.write.iter().cloned());
            }
            outcomes.push(if holds { Committed::Done } else { Committed::Conflict });
        }
        let mut former = Before::with_capacity(after.len() + 1);
        let mut tally = self.tally;
        for (key, value) in &after {
            let old = engine.get(key)?;
            tally.replace(key, old.as_deref(), value.as_deref());
            former.insert(key.clone(), old);
        }
        let mut changes: Vec<Change> = after.into_iter().collect();
        if !changes.is_empty() {
            tally.next();
            former.insert(tally::KEY, Some(self.tally.encode()));
            changes.push((tally::KEY, Some(tally.encode())));
        }
        Ok(Planned { outcomes, former, changes, tally })
    }

    /// Makes the group visible. Who has read the version before, and the old value after it, keeps that value
    /// under a version that is over; between the two steps there is no version.
    fn publish(&self) {
        let mut before = self.before();
        self.shared.version.fetch_add(1, Ordering::SeqCst);
        before.clear();
        drop(before);
        self.shared.version.fetch_add(1, Ordering::SeqCst);
    }

    fn before(&self) -> RwLockWriteGuard<'_, Before> {
        self.shared.before.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: &EngineError) -> StoreError {
        self.shared.give_up("a write or sync", &error.to_string())
    }
}
