//! When our own disk hangs: whoever waits is told in time, and the write goes on.
//!
//! A write of this room is never given up half-way, since a new refresh token may hang on it. So work that
//! writes runs on a task of its own, and its callers wait for it only while the disk keeps up
//! (invariant 8). One disk serves all writes, so one write that hangs speaks for all.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::watch;

use crate::connections::Inner;
use crate::store::StoreError;

/// How many writes hang at present.
pub(super) struct Stalls(watch::Sender<usize>);

impl Default for Stalls {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

/// One write that hangs, until it does not any more.
struct Stall<'s>(&'s Stalls);

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|hanging| *hanging = hanging.saturating_sub(1));
    }
}

impl Inner {
    /// Waits for a write as long as it takes, and lets everyone who waits for it know when that is too long.
    pub(super) async fn written<T>(&self, write: impl Future<Output = T>) -> T {
        let mut write = pin!(write);
        if let Ok(done) = tokio::time::timeout(self.waits.write, &mut write).await {
            return done;
        }
        self.stalls.0.send_modify(|hanging| *hanging += 1);
        let _stall = Stall(&self.stalls);
        write.await
    }

    /// Waits for something while the disk keeps up.
    pub(super) async fn unless_stalled<T>(&self, wanted: impl Future<Output = T>) -> Result<T, StoreError> {
        let mut hanging = self.stalls.0.subscribe();
        tokio::select! {
            biased;
            done = wanted => Ok(done),
            _ = hanging.wait_for(|hanging| *hanging > 0) => Err(StoreError::TooSlow),
        }
    }

    /// Does something on a task of its own, which goes on when the caller has waited long enough or has gone, and which an
    /// orderly end waits for.
    pub(super) async fn outlasting<T, E>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match self.unless_stalled(self.spawn_awaited(work)).await {
            Ok(Ok(done)) => done,
            // A panic: what was written is not known here.
            Ok(Err(_)) => Err(StoreError::TooSlow.into()),
            Err(stalled) => Err(stalled.into()),
        }
    }
}
