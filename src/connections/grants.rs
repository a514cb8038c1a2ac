//! Grants: what a user permits one agent to do with one connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::audit::AuditError;
use crate::connections::{Connections, Inner, LiveToken, is_disconnected};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, ConnectionId, GrantId, InteractionId, ProviderSlug, UserId};
use crate::kernel::scope::{Scope, ScopeSet};
use crate::kernel::text::clean;
use crate::model::connection::{Connection, GrantToken};
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::grant::{Grant, GrantState, RevokedBy};
use crate::model::limit::Limit;
use crate::store::{Committed, Store, StoreError, Stored, Tx};

/// What a person agreed to, once the last step is confirmed.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// Who permits.
    pub user: UserId,
    /// Who may act.
    pub agent: AgentId,
    /// With which connection.
    pub connection: ConnectionId,
    /// When the person picked the account themselves, as the agent had named none.
    pub picked_at: Option<Timestamp>,
    /// What the person agreed to now.
    pub scopes: ScopeSet,
    /// What stays of the grant that this one takes the place of, and until when: agreeing to more prolongs
    /// none of it.
    pub kept: BTreeMap<Scope, Timestamp>,
    /// Bounds beyond scopes.
    pub limits: Vec<Limit>,
    /// When what was agreed to now ends by itself.
    pub expires_at: Timestamp,
    /// The agent's own words.
    pub reason: Option<String>,
    /// The agent's task.
    pub task: Option<String>,
    /// The consent that it comes from.
    pub interaction: InteractionId,
}

/// A grant that has ended, and what of it lives on for a while.
#[derive(Debug)]
pub struct RevokedGrant {
    /// The grant.
    pub grant: Grant,
    /// Provider tokens that have left and could not be revoked: they end by themselves.
    pub still_alive: Vec<LiveToken>,
}

/// Why a grant could not be made or ended.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// No such grant.
    #[error("there is no such grant")]
    NotFound,
    /// No such connection of that user.
    #[error("there is no such connection")]
    UnknownConnection,
    /// Nothing was agreed to.
    #[error("a grant needs at least one scope and an end in the future")]
    Empty,
    /// A grant cannot hold that many limits.
    #[error("there are too many limits")]
    TooManyLimits,
    /// The store could not be used.
    #[error("the store could not be used")]
    Store(#[from] StoreError),
    /// The audit log could not be written.
    #[error("the audit log could not be written")]
    Audit(#[from] AuditError),
}

impl Connections {
    /// One grant.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn grant(&self, id: &GrantId) -> Result<Option<Stored<Grant>>, StoreError> {
        self.inner.store.get::<Grant>(id.as_str()).await
    }

    /// All grants that a user ever gave.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn grants_of_user(&self, user: &UserId) -> Result<Vec<Stored<Grant>>, StoreError> {
        self.inner.store.find::<Grant>("user", user.as_str()).await
    }

    /// All grants that an agent ever had.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn grants_of_agent(&self, agent: &AgentId) -> Result<Vec<Stored<Grant>>, StoreError> {
        self.inner.store.find::<Grant>("agent", agent.as_str()).await
    }

    /// The grants that hold now for an agent, a user and a provider, on one connection if it is named.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn live_for(
        &self,
        agent: &AgentId,
        user: &UserId,
        provider: &ProviderSlug,
        connection: Option<&ConnectionId>,
    ) -> Result<Vec<Stored<Grant>>, StoreError> {
        let now = self.inner.clock.now();
        let value = Grant::holder_index(agent, user, provider);
        let mut grants = self.inner.store.find::<Grant>("holder", &value).await?;
        grants.retain(|grant| grant.is_live(now) && connection.is_none_or(|id| &grant.connection == id));
        Ok(grants)
    }

    /// Whether no other grant on its connection holds.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn is_last(&self, grant: &Grant) -> Result<bool, StoreError> {
        let now = self.inner.clock.now();
        let all = self.inner.store.find::<Grant>("connection", grant.connection.as_str()).await?;
        Ok(all.iter().all(|other| other.id == grant.id || !other.is_live(now)))
    }

    /// Puts a grant in force. An older one of the same agent and connection ends with it: what of it stays
    /// is part of the new one. `also` adds to the same commit what stands or falls with the grant.
    ///
    /// # Errors
    /// When the connection is not the user's, or nothing can be written.
    pub async fn activate(&self, new: NewGrant, also: impl Fn(&mut Tx, &Grant)) -> Result<Grant, GrantError> {
        let inner = &self.inner;
        let now = inner.clock.now();
        if new.scopes.is_empty() || new.expires_at <= now {
            return Err(GrantError::Empty);
        }
        // Two consents for the same agent take turns, so that one of them sees the other.
        let turn = inner.flights.turn(&format!("grants/{}", new.connection));
        let _turn = turn.lock().await;
        let connection =
            inner.owned(&new.connection, &new.user).await?.ok_or(GrantError::UnknownConnection)?;
        let grant = granted(new, &connection, GrantId::generate(&*inner.entropy), now);
        let mut event = grant_event("grant.activated", &grant);
        event.scopes = Some(grant.scopes.clone());
        event.task = grant.task.clone();
        inner.audit.record(event).await?;
        for _ in 0..inner.tries() {
            let owned = inner.owned(&grant.connection, &grant.user).await?;
            let connection = owned.ok_or(GrantError::UnknownConnection)?;
            let mut tx = Tx::new();
            // A disconnection meanwhile must not leave a live grant behind.
            tx.require_unchanged(&connection).insert(&grant);
            let mut replaced = Vec::new();
            for older in inner.store.find::<Grant>("connection", grant.connection.as_str()).await? {
                if older.agent == grant.agent && older.state == GrantState::Active {
                    end(&mut tx, &inner.store, &older, RevokedBy::NewConsent, now).await?;
                    replaced.push(older.id.clone());
                }
            }
            also(&mut tx, &grant);
            if inner.patient.commit(tx).await? == Committed::Done {
                for older in replaced {
                    inner.spawn_ending(older);
                }
                return Ok(grant);
            }
        }
        Err(GrantError::Store(StoreError::Contended { key: grant.connection.to_string() }))
    }

    /// Ends a grant: refused on the next request. Tokens that have left are revoked upstream where that
    /// is possible; the others are listed. Ending an ended grant changes nothing.
    ///
    /// # Errors
    /// When there is no such grant or nothing can be written.
    pub async fn revoke(&self, id: &GrantId, by: RevokedBy) -> Result<RevokedGrant, GrantError> {
        self.revoke_for(id, by, None).await
    }

    /// Ends a grant as an admin, whom the event then names.
    ///
    /// # Errors
    /// When there is no such grant or nothing can be written.
    pub async fn revoke_as_admin(&self, id: &GrantId, admin: &str) -> Result<RevokedGrant, GrantError> {
        self.revoke_for(id, RevokedBy::Admin, Some(clean(admin, 200))).await
    }

    async fn revoke_for(
        &self,
        id: &GrantId,
        by: RevokedBy,
        admin: Option<String>,
    ) -> Result<RevokedGrant, GrantError> {
        let (connections, id) = (self.clone(), id.clone());
        // On a task of its own: what is told and revoked upstream afterwards is not lost on a slow disk, nor by a stop
        // meanwhile.
        self.inner.outlasting(async move { connections.end_grant(&id, by, admin).await }).await
    }

    async fn end_grant(
        &self,
        id: &GrantId,
        by: RevokedBy,
        admin: Option<String>,
    ) -> Result<RevokedGrant, GrantError> {
        let inner = &self.inner;
        for _ in 0..inner.tries() {
            let stored = inner.store.get::<Grant>(id.as_str()).await?.ok_or(GrantError::NotFound)?;
            if stored.state != GrantState::Active {
                return self.revoked(stored.record().clone()).await;
            }
            let mut tx = Tx::new();
            let ended = end(&mut tx, &inner.store, &stored, by, inner.clock.now()).await?;
            // The end comes first: it must not wait for a log whose disk is full.
            if inner.written(inner.store.commit(tx)).await? == Committed::Done {
                let mut event = grant_event("grant.revoked", &ended);
                event.admin = admin;
                event.reasons = vec![by_word(by).to_owned()];
                event.outcome = Some(Outcome::Done);
                let logged = inner.audit.record(event).await;
                let ending = inner.spawn_ending(ended.id.clone());
                // It goes on without us when the provider is slow.
                let _ = tokio::time::timeout(inner.waits.revocation, ending).await;
                logged?;
                return self.revoked(ended).await;
            }
        }
        Err(GrantError::Store(StoreError::Contended { key: id.to_string() }))
    }

    /// Ends a grant for the user who gave it; another user's grant is not found.
    ///
    /// # Errors
    /// When there is no such grant of that user or nothing can be written.
    pub async fn revoke_own(&self, user: &UserId, id: &GrantId) -> Result<RevokedGrant, GrantError> {
        let stored = self.grant(id).await?.filter(|grant| &grant.user == user);
        self.revoke(&stored.ok_or(GrantError::NotFound)?.id, RevokedBy::User).await
    }

    async fn revoked(&self, grant: Grant) -> Result<RevokedGrant, GrantError> {
        let still_alive = self.live_tokens(&grant.id).await?;
        Ok(RevokedGrant { grant, still_alive })
    }
}

fn granted(new: NewGrant, connection: &Connection, id: GrantId, now: Timestamp) -> Grant {
    let mut ends = new.kept;
    ends.extend(new.scopes.into_iter().map(|scope| (scope, new.expires_at)));
    let expires_at = ends.values().copied().max().unwrap_or(new.expires_at);
    let scopes = ends.keys().cloned().collect();
    ends.retain(|_, end| *end < expires_at);
    Grant {
        id,
        user: new.user,
        agent: new.agent,
        connection: new.connection,
        picked_at: new.picked_at.filter(|_| !connection.is_default),
        provider: connection.provider.clone(),
        scopes,
        ends,
        limits: new.limits,
        expires_at,
        reason: new.reason,
        task: new.task,
        interaction: new.interaction,
        state: GrantState::Active,
        created_at: now,
    }
}

pub(super) fn grant_event(action: &str, grant: &Grant) -> EventDraft {
    let mut event = EventDraft::new(EventKind::Grant, action);
    event.agent = Some(grant.agent.clone());
    event.user = Some(grant.user.clone());
    event.provider = Some(grant.provider.clone());
    event.connection = Some(grant.connection.clone());
    event.grant = Some(grant.id.clone());
    event.interaction = Some(grant.interaction.clone());
    event
}

const fn by_word(by: RevokedBy) -> &'static str {
    match by {
        RevokedBy::User => "the user revoked it",
        RevokedBy::Admin => "an admin revoked it",
        RevokedBy::Agent => "the agent gave it back",
        RevokedBy::NewConsent => "a newer consent took its place",
        RevokedBy::Disconnected => "the account was disconnected",
    }
}

/// Adds the end of a grant to a transaction, with the note that its tokens are to be revoked: so that a
/// process that dies here revokes them when it is back.
pub(super) async fn end(
    tx: &mut Tx,
    store: &Store,
    stored: &Stored<Grant>,
    by: RevokedBy,
    now: Timestamp,
) -> Result<Grant, StoreError> {
    let ended = Grant { state: GrantState::Revoked { at: now, by }, ..stored.record().clone() };
    tx.update(stored, &ended);
    revoke_tokens(tx, store, &stored.id, now).await?;
    Ok(ended)
}

/// Adds to a transaction that the tokens of a grant are to be revoked now, and not handed out again.
pub(super) async fn revoke_tokens(
    tx: &mut Tx,
    store: &Store,
    grant: &GrantId,
    now: Timestamp,
) -> Result<(), StoreError> {
    for token in store.find::<GrantToken>("grant", grant.as_str()).await? {
        let due = token.revoke_at.map_or(now, |at| at.min(now));
        if token.revoke_at != Some(due) {
            tx.update(&token, &GrantToken { revoke_at: Some(due), ..token.record().clone() });
        }
    }
    Ok(())
}

impl Inner {
    pub(super) async fn owned(
        &self,
        id: &ConnectionId,
        user: &UserId,
    ) -> Result<Option<Stored<Connection>>, StoreError> {
        let found = self.store.get::<Connection>(id.as_str()).await?;
        Ok(found.filter(|connection| &connection.user == user && !is_disconnected(connection)))
    }

    /// Revokes the tokens of an ended grant upstream, on a task of its own.
    pub(super) fn spawn_ending(self: &Arc<Self>, grant: GrantId) -> tokio::task::JoinHandle<()> {
        let inner = Arc::clone(self);
        self.spawn(async move {
            let tokens = inner.store.find::<GrantToken>("grant", grant.as_str()).await;
            for token in tokens.unwrap_or_default() {
                if let Err(error) = inner.end_token(&token).await {
                    tracing::warn!(grant.id = %grant, "a provider token is not revoked yet: {error}");
                }
            }
        })
    }
}
