//! Explaining decisions to rooms that do not know the gateway.

use futures_util::future::LocalBoxFuture;

use crate::kernel::ids::GrantId;
use crate::model::explanation::{Explanation, Probe};
use crate::store::StoreError;

/// Whoever can say how a call would be decided, without making it.
pub trait Explain: Send + Sync {
    /// How a call under that grant would be decided now; `None` when there is no such grant.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn explain<'a>(
        &'a self,
        grant: &'a GrantId,
        probe: &'a Probe,
    ) -> LocalBoxFuture<'a, Result<Option<Explanation>, StoreError>>;
}
