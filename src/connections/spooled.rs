//! Answers that were made durable and never stored: found at the next start, and before any further dial.

use std::sync::Arc;

use crate::connections::refresh::Refreshed;
use crate::connections::save::Obtained;
use crate::connections::spool::{Content, Kept, SpoolError, Ticket};
use crate::connections::{Connections, Inner, LeaseError, killpoint};
use crate::kernel::ids::ConnectionId;
use crate::model::connection::Connection;
use crate::providers::Configured;
use crate::store::Stored;
use crate::upstream::Upstream;

/// What the spool holds for a connection whose last outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// Tokens, and they are stored now.
    Stored,
    /// An answer that the template does not know how to read, or that no key of ours opens. It may be the only
    /// copy of the next refresh token.
    Unread,
}

impl Connections {
    /// Stores what the spool holds, and clears away what is of no use any more. Returns how many answers were
    /// stored. Leaves connections alone that are being refreshed at this moment.
    ///
    /// # Errors
    /// When the spool or the store cannot be read.
    pub async fn empty_spool(&self) -> Result<usize, LeaseError> {
        let mut stored = 0;
        for ticket in self.inner.spool.tickets().await? {
            let turn = self.inner.flights.turn(ticket.connection.as_str());
            let Ok(_turn) = turn.try_lock() else { continue };
            // One answer that cannot be stored must not keep the others waiting.
            match self.inner.settle_ticket(&ticket).await {
                Ok(Found::Stored) => stored += 1,
                Ok(Found::Nothing | Found::Unread) => {}
                Err(error) => {
                    tracing::warn!(connection.id = %ticket.connection, "a spooled answer is not stored yet: {error}");
                }
            }
        }
        Ok(stored)
    }
}

impl Inner {
    /// Looks for an answer that the record does not hold yet: to an attempt that was never settled, or to a later
    /// one where an older store was put in place. Call it with the connection's turn.
    pub(super) async fn look_in_spool(
        self: &Arc<Self>,
        stored: &Stored<Connection>,
    ) -> Result<Found, LeaseError> {
        let mut found = Found::Nothing;
        for ticket in self.spool.tickets().await? {
            if ticket.connection == stored.id && ticket.generation >= stored.generation {
                match self.settle_ticket(&ticket).await? {
                    Found::Stored => return Ok(Found::Stored),
                    Found::Unread => found = Found::Unread,
                    Found::Nothing => {}
                }
            }
        }
        Ok(found)
    }

    async fn settle_ticket(self: &Arc<Self>, ticket: &Ticket) -> Result<Found, LeaseError> {
        let content = self.spool.read(ticket).await?;
        let stored = self.store.get::<Connection>(ticket.connection.as_str()).await?;
        let (stored, kept) = match (stored, content) {
            (_, Content::Empty) => {
                self.spool.remove(ticket).await;
                return Ok(Found::Nothing);
            }
            (Some(stored), Content::Answer(kept)) => (stored, kept),
            (Some(stored), Content::Closed) if stored.generation <= ticket.generation => {
                return Ok(Found::Unread);
            }
            (_, Content::Torn | Content::Closed) | (None, Content::Answer(_)) => {
                self.spool.set_aside(ticket).await;
                return Ok(Found::Nothing);
            }
        };
        killpoint::reach("spool_read", &stored.id);
        if stored.generation < ticket.generation {
            // An older store was put in place of the one that this belongs to.
            tracing::error!(connection.id = %stored.id, "the spool holds a later answer than the store knows of");
            if kept.received_at <= stored.refreshed_at {
                // Its user has consented anew since.
                self.spool.set_aside(ticket).await;
                return Ok(Found::Nothing);
            }
        }
        let (configured, _) = self.configured_even_if_off(&stored.provider).await?;
        let generation = ticket.generation.min(stored.generation);
        let found = self.store_kept(&configured, &stored.id, ticket, generation, kept).await?;
        let superseded = found == Found::Unread && stored.generation > ticket.generation;
        if found == Found::Stored || superseded {
            self.spool.remove(ticket).await;
        }
        Ok(found)
    }

    async fn store_kept(
        self: &Arc<Self>,
        configured: &Configured,
        id: &ConnectionId,
        ticket: &Ticket,
        generation: u64,
        kept: Kept,
    ) -> Result<Found, LeaseError> {
        let Ok(tokens) = Upstream::read(configured, &kept.answer) else { return Ok(Found::Unread) };
        let obtained = Obtained {
            tokens,
            at: kept.received_at,
            whole: kept.whole,
            generation,
            attempt: ticket.attempt.clone(),
        };
        let Refreshed::Saved { connection, .. } = self.save(configured, id, obtained).await? else {
            return Ok(Found::Nothing);
        };
        self.figures.from_spool.inc();
        tracing::warn!(connection.id = %connection.id, "an answer that a former process had received is stored");
        Ok(Found::Stored)
    }
}

impl From<SpoolError> for LeaseError {
    fn from(error: SpoolError) -> Self {
        use crate::store::StoreError;
        if matches!(error, SpoolError::Io { .. }) {
            tracing::error!("{error}");
        }
        // Either way nothing was dialled, and trying again is safe.
        Self::from(StoreError::Full)
    }
}
