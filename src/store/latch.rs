//! A switch that goes one way: once a write or a sync has failed, nothing is trusted any more.

use tokio::sync::watch;

/// Set once, never reset; can be waited for.
#[derive(Debug)]
pub struct Latch(watch::Sender<bool>);

impl Default for Latch {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Latch {
    /// Sets it.
    pub fn set(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when it is set.
    pub async fn wait(&self) {
        let mut seen = self.0.subscribe();
        // INVARIANT: the sender lives as long as `self`, so waiting cannot fail.
        let _ = seen.wait_for(|set| *set).await;
    }
}
