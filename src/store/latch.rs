//! A switch that goes one way: once a write or a sync has failed, nothing is trusted any more.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Set once, never reset; can be waited for.
#[derive(Debug)]
pub struct Latch {
    /// Looked at for every read.
    is_set: AtomicBool,
    told: watch::Sender<bool>,
}

impl Default for Latch {
    fn default() -> Self {
        Self { is_set: AtomicBool::new(false), told: watch::Sender::new(false) }
    }
}

impl Latch {
    /// Sets it.
    pub fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        self.told.send_replace(true);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::SeqCst)
    }

    /// Ends when it is set.
    pub async fn wait(&self) {
        let mut seen = self.told.subscribe();
        // INVARIANT: the sender lives as long as `self`, so waiting cannot fail.
        let _ = seen.wait_for(|set| *set).await;
    }
}
