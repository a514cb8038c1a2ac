//! Deadlines that do not run out while this process is stopped.
//!
//! A process that was suspended, or whose machine was, finds every deadline over when it goes on, while what
//! arrived meanwhile still lies in its sockets. A refresh token may be among it.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// Nobody wakes up that late who was running.
const OVERSLEPT: Duration = Duration::from_secs(2);
/// To read what has arrived.
const ANOTHER: Duration = Duration::from_secs(3);

/// Waits for something until a moment, or a little longer when it was us who did not look at the time.
pub(super) async fn until<F: Future>(mut until: Instant, mut work: Pin<&mut F>) -> Option<F::Output> {
    loop {
        if let Ok(done) = timeout_at(until, work.as_mut()).await {
            return Some(done);
        }
        let now = Instant::now();
        if now.saturating_duration_since(until) < OVERSLEPT {
            return None;
        }
        until = now + ANOTHER;
    }
}

/// Waits for something that long, or a little longer when this process was stopped meanwhile.
///
/// # Errors
/// When it took longer.
pub async fn in_time<F: Future>(patience: Duration, work: F) -> Result<F::Output, TooLong> {
    until(Instant::now() + patience, pin!(work)).await.ok_or(TooLong)
}

/// It took longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;
