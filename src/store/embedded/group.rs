//! What is committed together, and who waits for it.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::store::StoreError;
use crate::store::backend::{Batch, Committed};

/// How many may wait for the committer.
pub(super) const QUEUE: usize = 4096;
const JOBS: usize = 512;
const BYTES: usize = 4 << 20;

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

pub(super) enum Job {
    Commit(Batch, Reply<Committed>),
    Sync(Reply<()>),
}

#[derive(Default)]
pub(super) struct Group {
    pub(super) commits: Vec<(Batch, Reply<Committed>)>,
    pub(super) syncs: Vec<Reply<()>>,
    jobs: usize,
    pub(super) bytes: usize,
}

impl Group {
    pub(super) fn has_room(&self) -> bool {
        self.jobs < JOBS && self.bytes < BYTES
    }

    pub(super) fn add(&mut self, job: Job) {
        self.jobs += 1;
        match job {
            Job::Commit(batch, reply) => {
                let size =
                    |(key, value): &(Bytes, Option<Bytes>)| key.len() + value.as_ref().map_or(0, Bytes::len);
                self.bytes += batch.write.iter().map(size).sum::<usize>();
                self.commits.push((batch, reply));
            }
            Job::Sync(reply) => self.syncs.push(reply),
        }
    }

    /// Callers that have gone away are no failure: what they asked for is done all the same.
    pub(super) fn answer(self, result: &Result<Vec<Committed>, StoreError>) {
        for (at, (_, reply)) in self.commits.into_iter().enumerate() {
            let outcome = match result {
                Ok(outcomes) => outcomes.get(at).copied().ok_or(StoreError::Failed),
                Err(error) => Err(error.clone()),
            };
            let _ = reply.send(outcome);
        }
        for reply in self.syncs {
            let _ = reply.send(result.as_ref().map(|_| ()).map_err(Clone::clone));
        }
    }
}
