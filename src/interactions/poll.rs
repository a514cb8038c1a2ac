//! The agent's side: polling an interaction by its handle (the shape of CIBA).

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::agents::Authenticated;
use crate::interactions::Interactions;
use crate::kernel::bearer::{self, BearerKind};
use crate::kernel::ids::GrantId;
use crate::model::agent::Agent;
use crate::model::interaction::{Interaction, InteractionState};
use crate::store::{Committed, Store, StoreError, Stored, Tx, UpdateError};

/// How long an agent waits for its token to be marked as collected (invariant 8).
const PATIENCE: Duration = Duration::from_millis(1500);
/// Longer than any disk takes that does not fail.
const UNTIL_DONE: Duration = Duration::from_secs(3600);

/// How many seconds more an agent waits each time that it has asked too soon.
const SLOWER_BY: u32 = 5;

/// Where an interaction stands, for the agent that asked.
#[derive(Debug)]
pub enum Poll {
    /// Nobody has answered yet.
    Pending(Box<Interaction>),
    /// Nobody has answered yet, and the agent asks too often.
    SlowDown {
        /// How long to wait between polls from now on: five seconds more than before (RFC 8628, 3.5).
        interval: Duration,
    },
    /// The person said no.
    Denied,
    /// The link is too old.
    Expired,
    /// Granted: the token may be collected, once.
    Granted(Collectable),
}

/// A granted interaction whose token has not been collected.
#[derive(Debug)]
pub struct Collectable {
    interaction: Stored<Interaction>,
    grant: GrantId,
}

impl Collectable {
    /// The grant.
    pub fn grant(&self) -> &GrantId {
        &self.grant
    }

    /// The interaction.
    pub fn interaction(&self) -> &Interaction {
        &self.interaction
    }
}

/// Why a handle cannot be polled.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// Unknown, another agent's, or collected already: the same answer for all.
    #[error("this handle is unknown, was used already, or belongs to another agent")]
    InvalidGrant,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Interactions {
    /// Where the interaction behind a handle stands.
    ///
    /// # Errors
    /// When the handle is not this agent's, or its token was collected.
    pub async fn poll(&self, auth_req_id: &str, agent: &Authenticated<Agent>) -> Result<Poll, PollError> {
        if !bearer::is_well_formed(BearerKind::AuthReqId, auth_req_id) {
            return Err(PollError::InvalidGrant);
        }
        let digest = self.vault.digest(BearerKind::AuthReqId, auth_req_id);
        let found = self.store.find_unique::<Interaction>("auth_req_id", &digest.hex()).await?;
        let interaction = found
            .filter(|interaction| interaction.question.agent == agent.id)
            .ok_or(PollError::InvalidGrant)?;
        match &interaction.state {
            InteractionState::Granted { collected: true, .. } => Err(PollError::InvalidGrant),
            // Nobody has answered anything, so what is left is the time that the agent was told.
            InteractionState::Granted { before: true, .. } if self.clock.now() >= interaction.expires_at => {
                Ok(Poll::Expired)
            }
            InteractionState::Granted { grant, collected: false, .. } => {
                let grant = grant.clone();
                Ok(Poll::Granted(Collectable { interaction, grant }))
            }
            InteractionState::Refused { .. } => Ok(Poll::Denied),
            _ if !interaction.is_open(self.clock.now()) => Ok(Poll::Expired),
            InteractionState::Pending
            | InteractionState::AtProvider { .. }
            | InteractionState::Choosing { .. } => self.note_poll(interaction).await,
        }
    }

    /// Marks a token as collected. `false` when another request was faster.
    ///
    /// A request that has waited too long for this gets nothing; the write goes on behind it, and is taken
    /// back when it is done, so that the token can still be collected.
    ///
    /// # Errors
    /// When the store fails, or is too slow: then nothing may be released.
    pub async fn collect(&self, collectable: Collectable) -> Result<bool, StoreError> {
        let (told, mut done) = oneshot::channel();
        let store = self.store.patient_for(UNTIL_DONE);
        tokio::spawn(async move {
            let marked = mark(&store, &collectable).await;
            let taken = matches!(marked, Ok(true));
            if told.send(marked).is_err() && taken {
                take_back(&store, &collectable).await;
            }
        });
        match tokio::time::timeout(PATIENCE, &mut done).await {
            Ok(marked) => marked.unwrap_or(Err(StoreError::TooSlow)),
            Err(_) => {
                // From here on the other side knows that nobody listens; what was sent before still counts.
                done.close();
                done.try_recv().unwrap_or(Err(StoreError::TooSlow))
            }
        }
    }

    async fn note_poll(&self, interaction: Stored<Interaction>) -> Result<Poll, PollError> {
        let now = self.clock.now();
        let asked = Duration::from_secs(u64::from(interaction.interval_s));
        let too_soon = interaction.polled_at.is_some_and(|last| now.since(last) < asked);
        let interval_s = interaction.interval_s.saturating_add(if too_soon { SLOWER_BY } else { 0 });
        let noted = Interaction { polled_at: Some(now), interval_s, ..interaction.record().clone() };
        let mut tx = Tx::new();
        tx.update(&interaction, &noted);
        // A conflict means that the person answers at this moment: the next poll will see it.
        let _ = self.store.commit(tx).await?;
        let interval = Duration::from_secs(u64::from(interval_s));
        Ok(if too_soon { Poll::SlowDown { interval } } else { Poll::Pending(Box::new(noted)) })
    }
}

async fn mark(store: &Store, collectable: &Collectable) -> Result<bool, StoreError> {
    let marked = collectable.interaction.clone_collected(true);
    let mut tx = Tx::new();
    tx.update(&collectable.interaction, &marked);
    Ok(store.commit(tx).await? == Committed::Done)
}

async fn take_back(store: &Store, collectable: &Collectable) {
    let id = &collectable.interaction.id;
    let taken_back = store
        .update::<Interaction, Infallible>(id.as_str(), |interaction| {
            Ok(Some(interaction.clone_collected(false)))
        })
        .await;
    if let Err(UpdateError::Store(error)) = taken_back {
        tracing::error!(interaction.id = %id, "a token that nobody got counts as collected: {error}");
    }
}
