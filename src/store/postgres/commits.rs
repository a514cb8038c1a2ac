//! Committing: many batches in one transaction, and the truth about it also when the answer was lost.
//!
//! Rows are locked, then judged, then written: at `READ COMMITTED`, with row locks and the unique key as the
//! only things asked of the engine. Each transaction notes a random id. Where the answer to its COMMIT does not
//! arrive, that id is looked for; not finding it is made final by a note that keeps the transaction from ever
//! committing, should it still be under way somewhere.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join4;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::kernel::entropy::{self, Entropy};
use crate::store::StoreError;
use crate::store::backend::{Batch, Committed};
use crate::store::postgres::address::Address;
use crate::store::postgres::name;
use crate::store::postgres::plan::{Held, Plan, keys, looked_at, plan};
use crate::store::postgres::session::{Broken, Writer, in_time};

const GROUP: usize = 128;
const GROUP_BYTES: usize = 4 << 20;
/// How long it is tried to write what was surely not written yet. Callers have an answer within 2 s.
const TRYING: Duration = Duration::from_millis(1400);
/// After that a session that has not answered is given up.
const STEP: Duration = Duration::from_secs(3);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A batch, and who waits for it.
pub(super) struct Commit {
    pub(super) batch: Batch,
    pub(super) reply: oneshot::Sender<Result<Committed, StoreError>>,
}

/// Serves one queue of commits over one session at a time.
pub(super) struct Lane {
    pub(super) address: Address,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) session: Option<Writer>,
    /// A note that has served its purpose.
    pub(super) settled: Vec<u8>,
}

/// How an attempt ended that did not end well.
enum Failed {
    /// Nothing was written.
    Before(Broken),
    /// Perhaps.
    Unknown(Plan, String),
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Self {
        Self::Before(broken)
    }
}

impl Lane {
    pub(super) async fn serve(mut self, mut queue: mpsc::Receiver<Commit>) {
        while let Some(first) = queue.recv().await {
            let mut bytes = size(&first.batch);
            let mut group = vec![first];
            while group.len() < GROUP && bytes < GROUP_BYTES {
                let Ok(next) = queue.try_recv() else { break };
                bytes += size(&next.batch);
                group.push(next);
            }
            let result = self.commit(&group).await;
            for (at, commit) in group.into_iter().enumerate() {
                let outcome = match &result {
                    Ok(outcomes) => outcomes.get(at).copied().ok_or(StoreError::Failed),
                    Err(error) => Err(error.clone()),
                };
                // A caller that has gone away is no failure: what it asked for is done all the same.
                drop(commit.reply.send(outcome));
            }
        }
    }

    /// The outcome of each batch, or one error for all, and then nothing was written.
    async fn commit(&mut self, group: &[Commit]) -> Result<Vec<Committed>, StoreError> {
        let deadline = Instant::now() + TRYING;
        let mut tries = 0;
        loop {
            let id = entropy::bytes::<16>(&*self.entropy).to_vec();
            let broken = match self.attempt(&id, group).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(Failed::Before(broken)) => broken,
                Err(Failed::Unknown(plan, problem)) => {
                    tracing::warn!(%problem, "the answer to a commit was lost; looking it up");
                    self.session = None;
                    if self.was_committed(&id).await {
                        self.settled = id;
                        return Ok(plan.outcomes);
                    }
                    Broken::Session(problem)
                }
            };
            if matches!(broken, Broken::Session(_)) {
                self.session = None;
            }
            tries += 1;
            let pause = self.pause(tries);
            if matches!(broken, Broken::Full | Broken::Refused(_)) || Instant::now() + pause >= deadline {
                return Err(broken.into_error());
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&mut self, id: &[u8], group: &[Commit]) -> Result<Vec<Committed>, Failed> {
        let writer = match self.session.take() {
            Some(writer) if !writer.on.client.is_closed() => writer,
            _ => Writer::open(&self.address).await?,
        };
        let writer = self.session.insert(writer);
        let client = &writer.on.client;
        let keys = keys(group.iter().map(|commit| &commit.batch));
        let looks = looked_at(group.iter().map(|commit| &commit.batch));
        let settled = &self.settled;
        let look = async {
            if looks.is_empty() { Ok(Vec::new()) } else { client.query(&writer.look, &[&looks]).await }
        };
        // Joined, so that all of them travel together; what is looked at is read when the locks are held.
        let opening = async {
            Ok(join4(
                client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
                client.execute(&writer.note, &[&id, settled]),
                client.query(&writer.lock, &[&keys]),
                look,
            )
            .await)
        };
        let (begun, noted, locked, looked) = in_time(STEP, opening).await?;
        let opened =
            begun.and(noted).and(locked.and_then(|locked| Ok((looked?, locked)))).map_err(Broken::from);
        let (looked, locked) = match opened {
            Ok(rows) => rows,
            Err(broken) => {
                // Without it the session would go on in a transaction that has failed.
                in_time(STEP, client.batch_execute("ROLLBACK")).await.map_err(|_| broken.clone())?;
                return Err(broken.into());
            }
        };
        let mut held = Held::with_capacity(looked.len() + locked.len());
        // A key that is written too was read again under its lock, and that counts.
        for row in looked.into_iter().chain(locked) {
            let value: Vec<u8> = row.try_get(1).map_err(Broken::from)?;
            held.insert(row.try_get(0).map_err(Broken::from)?, Bytes::from(value));
        }
        let plan = plan(group.iter().map(|commit| &commit.batch), &held);
        if plan.is_empty() {
            in_time(STEP, client.batch_execute("ROLLBACK")).await?;
            return Ok(plan.outcomes);
        }
        write(writer, plan).await.inspect(|_| self.settled = id.to_vec())
    }

    /// Whether a transaction was committed. Asks until there is an answer: a false one in either direction
    /// would cost a token, or a revocation.
    async fn was_committed(&mut self, id: &[u8]) -> bool {
        let mut tries = 0;
        loop {
            match self.look_up(id).await {
                Ok(committed) => return committed,
                Err(broken) => {
                    self.session = None;
                    tries += 1;
                    if tries % 10 == 0 {
                        tracing::warn!(?broken, "whether a commit was carried out is still not known");
                    }
                    tokio::time::sleep(self.pause(tries + 3)).await;
                }
            }
        }
    }

    async fn look_up(&mut self, id: &[u8]) -> Result<bool, Broken> {
        let writer = match self.session.take() {
            Some(writer) => writer,
            None => Writer::open(&self.address).await?,
        };
        let writer = self.session.insert(writer);
        // Waits while the transaction is still under way; afterwards it can no longer note its id.
        in_time(STEP, writer.on.client.execute(&writer.fence, &[&id])).await?;
        let row = in_time(STEP, writer.on.client.query_one(&writer.fenced, &[&id])).await?;
        Ok(!row.try_get::<_, bool>(0)?)
    }

    /// Longer with every try, and never the same for two nodes.
    fn pause(&self, tries: u32) -> Duration {
        let longest = Duration::from_millis(5 << tries.min(8)).min(LONGEST_PAUSE);
        let share = u32::from(u16::from_be_bytes(entropy::bytes::<2>(&*self.entropy)));
        longest / 2 + longest.saturating_mul(share) / (2 * 65_536)
    }
}

/// Writes what was planned, and commits.
async fn write(writer: &Writer, plan: Plan) -> Result<Vec<Committed>, Failed> {
    let client = &writer.on.client;
    let insert_keys: Vec<_> = plan.insert.iter().map(|(key, _)| name::stored(key)).collect();
    let insert_values: Vec<_> = plan.insert.iter().map(|(_, value)| value.as_ref()).collect();
    let insert_whole: Vec<_> = plan.insert.iter().map(|(key, _)| name::whole(key)).collect();
    let update_keys: Vec<_> = plan.update.iter().map(|(key, _)| name::stored(key)).collect();
    let update_values: Vec<_> = plan.update.iter().map(|(_, value)| value.as_ref()).collect();
    let delete_keys: Vec<_> = plan.delete.iter().map(|key| name::stored(key)).collect();
    let insert = async {
        if insert_keys.is_empty() {
            return Ok(0);
        }
        client.execute(&writer.insert, &[&insert_keys, &insert_values, &insert_whole]).await
    };
    let update = async {
        if update_keys.is_empty() {
            return Ok(0);
        }
        client.execute(&writer.update, &[&update_keys, &update_values]).await
    };
    let delete = async {
        if delete_keys.is_empty() {
            return Ok(0);
        }
        client.execute(&writer.delete, &[&delete_keys]).await
    };
    // Joined, so that all of them travel together. When one fails, the COMMIT behind it rolls back.
    let writing = async { Ok(join4(insert, update, delete, client.batch_execute("COMMIT")).await) };
    let (inserted, updated, deleted, committed) = match in_time(STEP, writing).await {
        Ok(done) => done,
        Err(_) => return Err(Failed::Unknown(plan, "no answer in time".to_owned())),
    };
    let refused = [inserted, updated, deleted].into_iter().filter_map(Result::err);
    if let Some(error) = refused.into_iter().find(|error| error.as_db_error().is_some()) {
        return Err(Failed::Before(error.into()));
    }
    match committed {
        Ok(()) => Ok(plan.outcomes),
        Err(error) => match Broken::from(error) {
            again @ Broken::Again(_) => Err(Failed::Before(again)),
            Broken::Full => Err(Failed::Unknown(plan, "the disk of the database is full".to_owned())),
            Broken::Session(problem) | Broken::Refused(problem) => Err(Failed::Unknown(plan, problem)),
        },
    }
}

fn size(batch: &Batch) -> usize {
    batch.write.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum()
}
