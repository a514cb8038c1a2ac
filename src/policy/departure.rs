//! A person leaves, or is signed out everywhere: what can act as them ends.
//!
//! The door closes with one durable write to the user's record, which every decision and every page reads.
//! What lies behind it (questions, connections, grants, tokens at providers) is ended after that, on a task
//! of its own; a mark in the record lets it go on should this process die.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::agents::{AgentError, Agents};
use crate::audiences::Audiences;
use crate::audit::{AuditError, AuditLog};
use crate::connections::{Connections, DisconnectError, LiveToken};
use crate::kernel::clock::{Clock, Timestamp};
use crate::kernel::ids::UserId;
use crate::kernel::text::clean;
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::interaction::Interaction;
use crate::model::stop::StopTarget;
use crate::model::user::{Lifecycle, User, UserState};
use crate::policy::report::{LeftLine, left_lines};
use crate::store::{Store, StoreError, UpdateError, Updated};

/// How long whoever asks waits for the rest (invariant 8: an answer within 2 s).
const PATIENCE: Duration = Duration::from_millis(1500);

/// Ends what can act as a person.
#[derive(Clone)]
pub struct Departures {
    store: Store,
    audit: AuditLog,
    connections: Connections,
    audiences: Audiences,
    agents: Agents,
    clock: Arc<dyn Clock>,
}

/// What was ended.
#[derive(Debug)]
pub struct Departed {
    /// The user now.
    pub user: User,
    /// How many grants held.
    pub grants: usize,
    /// How many accounts were connected.
    pub connections: usize,
    /// Provider tokens that have left and could not be revoked yet: they end by themselves.
    pub still_alive: Vec<LiveToken>,
    /// Delegation JWTs that have left: back ends that check them by keys alone take them until they end.
    pub delegated: Vec<LeftLine>,
    /// Whether all of it is done; otherwise it goes on.
    pub finished: bool,
}

/// Why nobody's access was ended.
#[derive(Debug, thiserror::Error)]
pub enum DepartureError {
    /// There is no such user.
    #[error("there is no such user")]
    NotFound,
    /// The store could not be used.
    #[error("the store could not be used")]
    Store(#[from] StoreError),
    /// It is done, but the log could not be written.
    #[error("the audit log could not be written")]
    Audit(#[from] AuditError),
    /// An account could not be disconnected.
    #[error("an account could not be disconnected")]
    Disconnect(#[from] DisconnectError),
    /// An agent could not be suspended.
    #[error("an agent could not be suspended")]
    Agent(#[from] AgentError),
}

impl Departures {
    /// Wires it.
    pub fn new(
        store: Store,
        audit: AuditLog,
        connections: Connections,
        audiences: Audiences,
        agents: Agents,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, audit, connections, audiences, agents, clock }
    }

    /// The person has left: disabled, and everything of theirs ends. In force on the next request.
    ///
    /// # Errors
    /// When there is no such user, or it cannot be made durable.
    pub async fn depart(&self, user: &UserId, by: &str) -> Result<Departed, DepartureError> {
        self.end(user, Some(UserState::Disabled), "user.departed", by).await
    }

    /// The person stays, and has to begin anew: browsers, grants and accounts end.
    ///
    /// # Errors
    /// When there is no such user, or it cannot be made durable.
    pub async fn sign_out(&self, user: &UserId, by: &str) -> Result<Departed, DepartureError> {
        self.end(user, None, "user.signed_out", by).await
    }

    /// The person is back: may sign in and grant anew. What has ended stays ended.
    ///
    /// # Errors
    /// When there is no such user, or it cannot be made durable.
    pub async fn restore(&self, user: &UserId, by: &str) -> Result<User, DepartureError> {
        let found = self.store.get::<User>(user.as_str()).await?.ok_or(DepartureError::NotFound)?;
        if found.state == UserState::Active {
            return Ok(found.record().clone());
        }
        self.audit.record(event("user.restored", user, by)).await?;
        self.update(user, |user| User { state: UserState::Active, ..user.clone() }).await
    }

    /// Goes on with what was interrupted.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn go_on(&self) -> Result<(), StoreError> {
        for user in self.store.find::<User>("farewell", "due").await? {
            if let Some(since) = user.lifecycle.farewell
                && let Err(error) = self.farewell(&user.id, since).await
            {
                tracing::warn!(user.id = %user.id, "a departure is not finished yet: {error}");
            }
        }
        Ok(())
    }

    /// On a task of its own: whoever asks may go away, and what is ended must be in the log.
    async fn end(
        &self,
        id: &UserId,
        state: Option<UserState>,
        action: &'static str,
        by: &str,
    ) -> Result<Departed, DepartureError> {
        let (this, id, by) = (self.clone(), id.clone(), by.to_owned());
        let ending = tokio::spawn(async move { this.end_now(&id, state, action, &by).await });
        ending.await.unwrap_or(Err(DepartureError::Store(StoreError::TooSlow)))
    }

    /// Ends what there is; the state changes only where one is given, so that a departure at the same moment holds.
    async fn end_now(
        &self,
        id: &UserId,
        state: Option<UserState>,
        action: &str,
        by: &str,
    ) -> Result<Departed, DepartureError> {
        let now = self.clock.now();
        let live = self.connections.grants_of_user(id).await?;
        let grants = live.iter().filter(|grant| grant.is_live(now)).count();
        let connections = self.connections.of_user(id).await?.len();
        // It comes first: it must not wait for a log whose disk is full.
        let user = self
            .update(id, |user| User {
                state: state.unwrap_or(user.state),
                lifecycle: Lifecycle {
                    signed_out_at: Some(now),
                    farewell: Some(now),
                    ..user.lifecycle.clone()
                },
                ..user.clone()
            })
            .await?;
        let logged = self.audit.record(event(action, id, by)).await;
        let (this, whose) = (self.clone(), id.clone());
        let rest = tokio::spawn(async move { this.farewell(&whose, now).await });
        let finished = match tokio::time::timeout(PATIENCE, rest).await {
            Ok(Ok(Ok(()))) => true,
            Ok(Ok(Err(error))) => {
                tracing::warn!(user.id = %id, "a departure is not finished yet: {error}");
                false
            }
            Ok(Err(_)) | Err(_) => false,
        };
        logged?;
        let mut still_alive = Vec::new();
        for grant in &live {
            still_alive.extend(self.connections.live_tokens(&grant.id).await?);
        }
        let left = self.audiences.handed_out_for(id).await?;
        let delegated = left_lines(&self.store, &self.audiences, left).await?;
        Ok(Departed { user, grants, connections, still_alive, delegated, finished })
    }

    /// Ends what was there at that moment; what has come since stays.
    async fn farewell(&self, id: &UserId, since: Timestamp) -> Result<(), DepartureError> {
        // A log that cannot be written keeps questions open for a while, but no account.
        let withdrawn = self.withdraw_questions(id, since).await;
        let connections = self.connections.of_user(id).await?;
        let old = connections.iter().filter(|connection| connection.created_at <= since);
        let endings = join_all(old.map(|connection| self.connections.disconnect(id, &connection.id))).await;
        for ending in endings {
            match ending {
                Ok(_) | Err(DisconnectError::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for agent in self.agents.suspend_ownerless().await? {
            self.connections.revoke_tokens_under(&StopTarget::Agent(agent.id)).await?;
        }
        withdrawn?;
        self.update(id, |user| {
            let farewell = user.lifecycle.farewell.filter(|other| *other != since);
            User { lifecycle: Lifecycle { farewell, ..user.lifecycle.clone() }, ..user.clone() }
        })
        .await
        .map(|_| ())
    }

    /// Questions end as if nobody had answered in time: it was not the person who said no, so the same may be
    /// asked again at once.
    async fn withdraw_questions(&self, id: &UserId, since: Timestamp) -> Result<(), DepartureError> {
        let now = self.clock.now();
        let is_meant = |asked: &Interaction| asked.is_open(now) && asked.created_at <= since;
        for asked in self.store.find::<Interaction>("user", id.as_str()).await? {
            if !is_meant(&asked) {
                continue;
            }
            self.audit.record(withdrawal(&asked)).await?;
            // Looked at again when the agent polls at this moment. One that was answered meanwhile stays; its
            // grant ends with its account.
            let ended = self
                .store
                .update::<Interaction, Infallible>(asked.id.as_str(), |asked| {
                    Ok(is_meant(asked).then(|| Interaction { expires_at: since, ..asked.clone() }))
                })
                .await;
            match ended {
                Ok(_) => {}
                Err(UpdateError::Store(error)) => return Err(error.into()),
                Err(UpdateError::Refused(never)) => match never {},
            }
        }
        Ok(())
    }

    async fn update(&self, id: &UserId, change: impl Fn(&User) -> User) -> Result<User, DepartureError> {
        let updated = self.store.update::<User, Infallible>(id.as_str(), |user| Ok(Some(change(user)))).await;
        match updated {
            Ok(Updated::Missing) => Err(DepartureError::NotFound),
            Ok(Updated::Changed(user) | Updated::Unchanged(user)) => Ok(user.record().clone()),
            Err(UpdateError::Store(error)) => Err(error.into()),
            Err(UpdateError::Refused(never)) => match never {},
        }
    }
}

fn withdrawal(asked: &Interaction) -> EventDraft {
    EventDraft {
        agent: Some(asked.question.agent.clone()),
        user: Some(asked.question.user.clone()),
        provider: Some(asked.question.provider.clone()),
        interaction: Some(asked.id.clone()),
        outcome: Some(Outcome::Done),
        scopes: Some(asked.question.scopes.clone()),
        task: asked.task.clone(),
        ..EventDraft::new(EventKind::Interaction, "interaction.withdrawn")
    }
}

fn event(action: &str, user: &UserId, by: &str) -> EventDraft {
    EventDraft {
        user: Some(user.clone()),
        admin: Some(clean(by, 200)),
        outcome: Some(Outcome::Done),
        ..EventDraft::new(EventKind::Admin, action)
    }
}
