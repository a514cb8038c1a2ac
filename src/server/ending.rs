//! Whether a broker was told to end, and whether it is still at work on a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What a broker that was told to end tells those who call it: what comes is still answered, and every connection
/// closed after its answer, so that load balancers go elsewhere before it is gone.
#[derive(Debug, Default)]
pub struct Ending {
    announced: AtomicBool,
    under_way: AtomicUsize,
}

impl Ending {
    /// It was told to end.
    pub fn announce(&self) {
        self.announced.store(true, Ordering::SeqCst);
    }

    /// Whether it was.
    pub fn is_announced(&self) -> bool {
        self.announced.load(Ordering::SeqCst)
    }

    /// A request has begun; it is under way for as long as what this returns lives.
    pub fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay(Arc::clone(self))
    }

    /// Whether a request is under way, at any worker.
    pub fn is_at_work(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) > 0
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct UnderWay(Arc<Ending>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}
