//! Disconnecting an account: its grants end, its tokens are revoked upstream and wiped here.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::AuditError;
use crate::connections::configured::text_of;
use crate::connections::grants;
use crate::connections::{Connections, Inner, LeaseError, LiveToken, is_disconnected};
use crate::kernel::ids::{ConnectionId, GrantId, UserId};
use crate::model::connection::{Connection, ConnectionState, GrantToken, StrayToken};
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::grant::{Grant, GrantState, RevokedBy};
use crate::model::record::Record as _;
use crate::model::sealed::Sealer as _;
use crate::model::stop::StopTarget;
use crate::providers::dialect::{TokenHint, TokenSet};
use crate::store::{Committed, StoreError, Tx, UpdateError, Updated};

/// An account that was disconnected.
#[derive(Debug)]
pub struct Disconnected {
    /// The grants that ended with it.
    pub grants: Vec<GrantId>,
    /// Whether the provider has confirmed that the refresh token is dead. `false` when it offers no
    /// revocation, or has not answered yet.
    pub revoked_upstream: bool,
    /// Provider tokens that have left and could not be revoked: they end by themselves.
    pub still_alive: Vec<LiveToken>,
}

/// Why an account could not be disconnected.
#[derive(Debug, thiserror::Error)]
pub enum DisconnectError {
    /// No such connection of that user.
    #[error("there is no such connection")]
    NotFound,
    /// The store could not be used.
    #[error("the store could not be used")]
    Store(#[from] StoreError),
    /// The account is disconnected, but the audit log could not be written.
    #[error("the audit log could not be written")]
    Audit(#[from] AuditError),
}

/// How long a refused revocation waits before it is tried once more.
const AGAIN: Duration = Duration::from_secs(2);

impl Connections {
    /// Disconnects an account of a user. In force on return; the provider is told meanwhile.
    ///
    /// # Errors
    /// When it is not the user's, or nothing can be written.
    pub async fn disconnect(
        &self,
        user: &UserId,
        id: &ConnectionId,
    ) -> Result<Disconnected, DisconnectError> {
        let (connections, user, id) = (self.clone(), user.clone(), id.clone());
        self.inner.outlasting(async move { connections.cut_off(&user, &id).await }).await
    }

    async fn cut_off(&self, user: &UserId, id: &ConnectionId) -> Result<Disconnected, DisconnectError> {
        let inner = &self.inner;
        for _ in 0..inner.tries() {
            let stored = inner.owned(id, user).await?.ok_or(DisconnectError::NotFound)?;
            let now = inner.clock.now();
            let mut tx = Tx::new();
            let state = ConnectionState::Disconnected { at: now };
            // The tokens stay for the farewell, which wipes them; until then the state refuses their use.
            tx.update(&stored, &Connection { state, is_default: false, ..stored.record().clone() });
            let mut ended = Vec::new();
            for grant in inner.store.find::<Grant>("connection", id.as_str()).await? {
                if grant.state == GrantState::Active {
                    grants::end(&mut tx, &inner.store, &grant, RevokedBy::Disconnected, now).await?;
                    ended.push(grant.id.clone());
                }
            }
            if inner.written(inner.store.commit(tx)).await? == Committed::Done {
                inner.opened.forget(id.as_str());
                return self.disconnected(&stored, ended).await;
            }
        }
        Err(DisconnectError::Store(StoreError::Contended { key: id.to_string() }))
    }

    /// Revokes the provider tokens that have left for one agent, user or provider, or all of them: for a
    /// stop, or a suspension. Grants and connections stay. Returns those that live on.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn revoke_tokens_under(&self, target: &StopTarget) -> Result<Vec<LiveToken>, StoreError> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let (mut grants, mut after) = (BTreeSet::new(), None::<String>);
        loop {
            let page = inner.store.page::<GrantToken>(after.as_deref(), 200).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key());
            for token in page {
                let Some(grant) = inner.store.get::<Grant>(token.grant.as_str()).await? else { continue };
                if !is_under(&grant, target) {
                    continue;
                }
                // Durable first: should the provider not answer, or this process die, a sweep goes on.
                let due = |token: &GrantToken| {
                    let due = token.revoke_at.map_or(now, |at| at.min(now));
                    Ok::<_, Infallible>(Some(GrantToken { revoke_at: Some(due), ..token.clone() }))
                };
                match inner.store.update(&token.key(), due).await {
                    Ok(_) => grants.insert(grant.id.clone()),
                    Err(UpdateError::Store(error)) => return Err(error),
                    Err(UpdateError::Refused(never)) => match never {},
                };
            }
        }
        let endings: Vec<_> = grants.iter().map(|grant| inner.spawn_ending(grant.clone())).collect();
        let all = futures_util::future::join_all(endings);
        let _ = tokio::time::timeout(inner.waits.revocation, all).await;
        let mut alive = Vec::new();
        for grant in &grants {
            alive.extend(self.live_tokens(grant).await?);
        }
        Ok(alive)
    }

    async fn disconnected(
        &self,
        connection: &Connection,
        ended: Vec<GrantId>,
    ) -> Result<Disconnected, DisconnectError> {
        let inner = &self.inner;
        let mut event = EventDraft::new(EventKind::Connection, "connection.disconnected");
        event.user = Some(connection.user.clone());
        event.provider = Some(connection.provider.clone());
        event.connection = Some(connection.id.clone());
        event.outcome = Some(Outcome::Done);
        let logged = inner.audit.record(event).await;
        let endings: Vec<_> = ended.iter().map(|grant| inner.spawn_ending(grant.clone())).collect();
        let farewell = inner.spawn_farewell(connection.id.clone());
        let all = async {
            for ending in endings {
                let _ = ending.await;
            }
            farewell.await.unwrap_or(false)
        };
        let revoked_upstream = tokio::time::timeout(inner.waits.revocation, all).await.unwrap_or(false);
        logged?;
        let mut still_alive = Vec::new();
        for grant in &ended {
            still_alive.extend(self.live_tokens(grant).await?);
        }
        Ok(Disconnected { grants: ended, revoked_upstream, still_alive })
    }
}

fn is_under(grant: &Grant, target: &StopTarget) -> bool {
    match target {
        StopTarget::Agent(agent) => agent == &grant.agent,
        StopTarget::User(user) => user == &grant.user,
        StopTarget::Provider(provider) => provider == &grant.provider,
        StopTarget::All => true,
    }
}

impl Inner {
    /// Revokes what a disconnected connection still holds and wipes it, on a task of its own.
    pub(super) fn spawn_farewell(self: &Arc<Self>, id: ConnectionId) -> tokio::task::JoinHandle<bool> {
        let inner = Arc::clone(self);
        self.spawn(async move {
            // A refresh under way ends first, so that the token it brings is the one that is revoked.
            let turn = inner.flights.turn(id.as_str());
            let _turn = turn.lock().await;
            match inner.farewell(&id).await {
                Ok(revoked) => revoked,
                Err(error) => {
                    tracing::warn!(connection.id = %id, "a disconnected account is not wiped yet: {error}");
                    false
                }
            }
        })
    }

    async fn farewell(&self, id: &ConnectionId) -> Result<bool, StoreError> {
        for _ in 0..self.tries() {
            let Some(stored) = self.store.get::<Connection>(id.as_str()).await? else { return Ok(false) };
            if !is_disconnected(&stored) {
                // Connected again meanwhile: those tokens are not ours to wipe.
                return Ok(false);
            }
            let mut revoked = self.revoke_tokens(&stored).await;
            if !revoked && self.offers_revocation(&stored).await {
                tokio::time::sleep(AGAIN).await;
                revoked = self.revoke_tokens(&stored).await;
            }
            let wiped = self.store.update::<Connection, Infallible>(id.as_str(), |connection| {
                let is_same = is_disconnected(connection) && connection.generation == stored.generation;
                Ok(is_same.then(|| Connection {
                    refresh_token: None,
                    access: None,
                    intent: None,
                    lease: None,
                    generation: connection.generation.saturating_add(1),
                    ..connection.clone()
                }))
            });
            match wiped.await {
                // A refresh of another node has stored its token meanwhile: that one is to be revoked, too.
                Ok(Updated::Unchanged(_)) => {}
                Ok(Updated::Changed(_) | Updated::Missing) => return Ok(revoked),
                Err(UpdateError::Store(error)) => return Err(error),
                Err(UpdateError::Refused(never)) => match never {},
            }
        }
        Ok(false)
    }

    /// Revokes tokens that came for a connection when it had been disconnected and wiped. What cannot be revoked
    /// stays aside.
    pub(super) async fn revoke_stray(
        &self,
        connection: &Connection,
        stray: &StrayToken,
        tokens: &TokenSet,
    ) -> Result<(), LeaseError> {
        let Some(refresh) = &tokens.refresh_token else { return Ok(()) };
        let slug = &connection.provider;
        self.revoke_upstream(slug, &tokens.access_token, TokenHint::AccessToken).await;
        let mut revoked = self.revoke_upstream(slug, refresh, TokenHint::RefreshToken).await;
        if !revoked && self.offers_revocation(connection).await {
            tokio::time::sleep(AGAIN).await;
            revoked = self.revoke_upstream(slug, refresh, TokenHint::RefreshToken).await;
        }
        if !revoked {
            return Ok(());
        }
        if let Some(stored) = self.store.get::<StrayToken>(&stray.key()).await? {
            let mut tx = Tx::new();
            tx.delete(&stored);
            let _ = self.written(self.store.commit(tx)).await?;
        }
        Ok(())
    }

    async fn offers_revocation(&self, connection: &Connection) -> bool {
        let configured = self.configured_even_if_off(&connection.provider).await;
        configured.is_ok_and(|(configured, _)| configured.loaded.template.revoke.is_some())
    }

    async fn revoke_tokens(&self, connection: &Connection) -> bool {
        let id = &connection.id;
        if let Some(access) = &connection.access {
            let context = Connection::access_context(id, access.generation);
            if let Some(token) = self.vault.open(context, &access.token).ok().and_then(text_of) {
                self.revoke_upstream(&connection.provider, &token, TokenHint::AccessToken).await;
            }
        }
        let Some(sealed) = &connection.refresh_token else { return false };
        let context = Connection::refresh_context(id, connection.generation);
        let Some(token) = self.vault.open(context, sealed).ok().and_then(text_of) else { return false };
        self.revoke_upstream(&connection.provider, &token, TokenHint::RefreshToken).await
    }
}
