//! Refreshes whose outcome is not known: the process died, or could not write, after it had dialled.

use std::sync::Arc;

use futures_util::StreamExt as _;

use crate::connections::flight::Landed;
use crate::connections::refresh::Want;
use crate::connections::{Connections, Inner, LeaseError};
use crate::kernel::ids::ConnectionId;
use crate::model::connection::Connection;
use crate::model::upgrade::Upgrades;
use crate::store::{StoreError, Stored, Tx};

/// What became of the refreshes that were open at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// How many answers were received and not stored: they are now.
    pub from_spool: usize,
    /// How many were open beside those.
    pub open: usize,
    /// How many connections work again.
    pub resolved: usize,
    /// How many need their user.
    pub needs_reauth: usize,
    /// How many are still open: the provider cannot be reached.
    pub in_doubt: usize,
}

const PAGE: usize = 500;
const AT_ONCE: usize = 16;

impl Connections {
    /// Finds every refresh without a known outcome and settles it. Call it before anything is served: a
    /// provider's grace is counted in seconds. First comes what the spool holds: where an answer was received
    /// there is nothing to ask. Disconnections that were cut short are finished too.
    ///
    /// # Errors
    /// When the store or the spool cannot be read.
    pub async fn recover_at_start(&self) -> Result<Recovered, LeaseError> {
        let from_spool = self.empty_spool().await?;
        let (open, half_disconnected) = self.inner.unfinished().await?;
        let mut recovered = Recovered { from_spool, open: open.len(), ..Recovered::default() };
        let mut settled = futures_util::stream::iter(open)
            .map(|id| {
                let inner = Arc::clone(&self.inner);
                async move { inner.fly(format!("resolve/{id}"), |inner| resolve(inner, id)).await }
            })
            .buffer_unordered(AT_ONCE);
        while let Some(landing) = settled.next().await {
            match landing {
                Ok(_) => recovered.resolved += 1,
                Err(LeaseError::NeedsReauth(_)) => recovered.needs_reauth += 1,
                Err(_) => recovered.in_doubt += 1,
            }
        }
        for id in half_disconnected {
            self.inner.spawn_farewell(id);
        }
        Ok(recovered)
    }
}

async fn resolve(inner: Arc<Inner>, id: ConnectionId) -> Result<Landed, LeaseError> {
    inner.refresh(&id, &Want::Resolve).await.map(|_| Landed::Settled)
}

impl Inner {
    /// What another node has begun is its own to settle: it may be at it, or hold the answer. Whoever needs the
    /// connection meanwhile settles it after the lease.
    fn is_ours_to_settle(&self, connection: &Connection) -> bool {
        connection.lease.as_ref().is_none_or(|lease| self.is_of_this_node(lease))
    }

    async fn unfinished(&self) -> Result<(Vec<ConnectionId>, Vec<ConnectionId>), StoreError> {
        self.index_unsettled().await?;
        let find = |what| self.store.find::<Connection>(Connection::UNSETTLED, what);
        let ours = |open: &Stored<Connection>| self.is_ours_to_settle(open).then(|| open.id.clone());
        let open = find(Connection::REFRESH).await?.iter().filter_map(ours).collect();
        let half_disconnected =
            find(Connection::FAREWELL).await?.iter().map(|connection| connection.id.clone()).collect();
        Ok((open, half_disconnected))
    }

    /// Earlier versions kept no index of what a start has to finish: once, everything is looked at. Later starts
    /// do not read every connection, of which there may be a million.
    async fn index_unsettled(&self) -> Result<(), StoreError> {
        let upgrades = self.store.get::<Upgrades>(Upgrades::KEY).await?;
        if upgrades.is_some_and(|upgrades| upgrades.unsettled_indexed) {
            return Ok(());
        }
        let mut after: Option<ConnectionId> = None;
        loop {
            let page = self.store.page::<Connection>(after.as_ref().map(ConnectionId::as_str), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            for connection in page.iter().filter(|connection| connection.unsettled().is_some()) {
                let mut tx = Tx::new();
                tx.update(connection, connection.record());
                // A conflict means that another node changes it now, which writes the entry as well.
                let _ = self.store.commit(tx).await?;
            }
        }
        self.store.upgraded(|done| Upgrades { unsettled_indexed: true, ..done }).await
    }
}
