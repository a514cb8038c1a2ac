//! The kill switch: setting and lifting stops. In force on the next request that reads them.

use std::sync::Arc;

use crate::audit::{AuditError, AuditLog};
use crate::connections::Connections;
use crate::kernel::clock::Clock;
use crate::kernel::entropy::Entropy;
use crate::kernel::ids::StopId;
use crate::kernel::text;
use crate::model::event::{EventDraft, EventKind};
use crate::model::stop::{Stop, StopTarget, Stops};
use crate::store::{Committed, Store, StoreError, Tx};

/// Sets, lists and lifts stops.
#[derive(Clone)]
pub struct KillSwitch {
    store: Store,
    audit: AuditLog,
    connections: Connections,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// Why a stop was not set or lifted.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// No reason was stated.
    #[error("state a reason: it is kept and shown to whoever lifts the stop")]
    NoReason,
    /// No such stop is in force.
    #[error("no such stop is in force")]
    NotFound,
    /// The log cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl KillSwitch {
    /// Wires the switch.
    pub fn new(
        store: Store,
        audit: AuditLog,
        connections: Connections,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { store, audit, connections, clock, entropy }
    }

    /// The stops in force.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn active(&self) -> Result<Vec<Stop>, StoreError> {
        let stops = self.store.get::<Stops>(Stops::KEY).await?;
        Ok(stops.map(|stops| stops.active.clone()).unwrap_or_default())
    }

    /// Stops a target. It takes effect on the next request.
    ///
    /// # Errors
    /// Without a reason, or when it cannot be made durable.
    pub async fn stop(&self, target: StopTarget, reason: &str, by: &str) -> Result<Stop, StopError> {
        let reason = text::clean(reason.trim(), 500);
        if reason.is_empty() {
            return Err(StopError::NoReason);
        }
        let stop = Stop { id: StopId::generate(self.entropy.as_ref()), target, reason, at: self.clock.now() };
        self.audit.record(draft("stop.set", &stop, by)).await?;
        self.change(|active| {
            active.push(stop.clone());
            Ok(())
        })
        .await?;
        self.revoke_tokens_under(stop.target.clone());
        Ok(stop)
    }

    /// Has the provider tokens that were handed out under a target revoked upstream, where the vendor can.
    /// Our own doors are closed already, so nobody waits for the vendors.
    pub fn revoke_tokens_under(&self, target: StopTarget) {
        let connections = self.connections.clone();
        tokio::spawn(async move {
            if let Err(error) = connections.revoke_tokens_under(&target).await {
                tracing::warn!(error = %error, "provider tokens under a stop live on until they expire");
            }
        });
    }

    /// Lifts a stop.
    ///
    /// # Errors
    /// When it is not in force, or it cannot be made durable.
    pub async fn resume(&self, id: &StopId, by: &str) -> Result<Stop, StopError> {
        let stop = self.active().await?.into_iter().find(|stop| &stop.id == id).ok_or(StopError::NotFound)?;
        self.audit.record(draft("stop.lifted", &stop, by)).await?;
        self.change(|active| {
            let before = active.len();
            active.retain(|other| &other.id != id);
            if active.len() == before { Err(StopError::NotFound) } else { Ok(()) }
        })
        .await?;
        Ok(stop)
    }

    async fn change(
        &self,
        change: impl Fn(&mut Vec<Stop>) -> Result<(), StopError>,
    ) -> Result<(), StopError> {
        loop {
            let stored = self.store.get::<Stops>(Stops::KEY).await?;
            let mut stops = stored.as_ref().map(|stored| stored.record().clone()).unwrap_or_default();
            change(&mut stops.active)?;
            let mut tx = Tx::new();
            match &stored {
                Some(stored) => tx.update(stored, &stops),
                None => tx.insert(&stops),
            };
            if matches!(self.store.commit(tx).await?, Committed::Done) {
                return Ok(());
            }
        }
    }
}

fn draft(action: &str, stop: &Stop, by: &str) -> EventDraft {
    let (agent, user, provider) = match &stop.target {
        StopTarget::Agent(agent) => (Some(agent.clone()), None, None),
        StopTarget::User(user) => (None, Some(user.clone()), None),
        StopTarget::Provider(provider) => (None, None, Some(provider.clone())),
        StopTarget::All => (None, None, None),
    };
    EventDraft {
        agent,
        user,
        provider,
        stop: Some(stop.id.clone()),
        admin: Some(by.to_owned()),
        reasons: vec![stop.reason.clone()],
        ..EventDraft::new(EventKind::Stop, action)
    }
}
