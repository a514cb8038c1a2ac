//! The kill switch: setting and lifting stops. In force on the next request that reads them.

use std::sync::Arc;

use crate::audit::{AuditError, AuditLog};
use crate::connections::Connections;
use crate::kernel::clock::Clock;
use crate::kernel::entropy::Entropy;
use crate::kernel::ids::StopId;
use crate::kernel::text;
use crate::model::agent::Agent;
use crate::model::event::{EventDraft, EventKind};
use crate::model::provider::Provider;
use crate::model::stop::{Stop, StopTarget, Stops};
use crate::model::user::User;
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

/// A target is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The stop in force.
    pub stop: Stop,
    /// Whether it was in force before: a target is stopped once, with its first reason.
    pub was_in_force: bool,
}

/// Why a stop was not set or lifted.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// No reason was stated.
    #[error("state a reason: it is kept and shown to whoever lifts the stop")]
    NoReason,
    /// What is to be stopped does not exist: a mistyped id must not look like a stop.
    #[error("there is no {0}")]
    NoTarget(&'static str),
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

    /// Stops a target. It takes effect on the next request. One that is stopped already stays so.
    ///
    /// # Errors
    /// Without a reason, when there is no such target, or when it cannot be made durable.
    pub async fn stop(&self, target: StopTarget, reason: &str, by: &str) -> Result<Stopped, StopError> {
        let reason = text::clean(reason.trim(), 500);
        if reason.is_empty() {
            return Err(StopError::NoReason);
        }
        self.must_exist(&target).await?;
        if let Some(stop) = self.active().await?.into_iter().find(|stop| stop.target == target) {
            // What the vendors did not revoke the first time is tried again.
            self.revoke_tokens_under(target);
            return Ok(Stopped { stop, was_in_force: true });
        }
        let stop = Stop { id: StopId::generate(self.entropy.as_ref()), target, reason, at: self.clock.now() };
        self.audit.record(draft("stop.set", &stop, by)).await?;
        let stopped = self
            .change(|active| match active.iter().find(|other| other.target == stop.target) {
                // Somebody else was quicker.
                Some(other) => Ok(Stopped { stop: other.clone(), was_in_force: true }),
                None => {
                    active.push(stop.clone());
                    Ok(Stopped { stop: stop.clone(), was_in_force: false })
                }
            })
            .await?;
        self.revoke_tokens_under(stop.target);
        Ok(stopped)
    }

    async fn must_exist(&self, target: &StopTarget) -> Result<(), StopError> {
        let (is_there, what) = match target {
            StopTarget::All => return Ok(()),
            StopTarget::Agent(id) => {
                (self.store.get::<Agent>(id.as_str()).await?.is_some(), "agent with that id")
            }
            StopTarget::Provider(slug) => {
                (self.store.get::<Provider>(slug.as_str()).await?.is_some(), "provider with that name")
            }
            StopTarget::User(id) => {
                (self.store.get::<User>(id.as_str()).await?.is_some(), "user with that id")
            }
        };
        if is_there { Ok(()) } else { Err(StopError::NoTarget(what)) }
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

    async fn change<T>(
        &self,
        change: impl Fn(&mut Vec<Stop>) -> Result<T, StopError>,
    ) -> Result<T, StopError> {
        loop {
            let stored = self.store.get::<Stops>(Stops::KEY).await?;
            let mut stops = stored.as_ref().map(|stored| stored.record().clone()).unwrap_or_default();
            let told = change(&mut stops.active)?;
            let mut tx = Tx::new();
            match &stored {
                Some(stored) => tx.update(stored, &stops),
                None => tx.insert(&stops),
            };
            if matches!(self.store.commit(tx).await?, Committed::Done) {
                return Ok(told);
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
