//! Whether a broker was told to end.

use std::sync::atomic::{AtomicBool, Ordering};

/// What a broker that was told to end tells those who call it: what comes is still answered, and every connection
/// closed after its answer, so that load balancers go elsewhere before it is gone.
#[derive(Debug, Default)]
pub struct Ending(AtomicBool);

impl Ending {
    /// It was told to end.
    pub fn announce(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was.
    pub fn is_announced(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
