//! Disconnecting an account: its grants end, its tokens are revoked upstream and wiped here.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::AuditError;
use crate::connections::configured::text_of;
use crate::connections::grants;
use crate::connections::{ConnectionError, Connections, Inner, LiveToken, is_disconnected, judge};
use crate::kernel::ids::{ConnectionId, GrantId, ProviderSlug, UserId};
use crate::kernel::secret::SecretString;
use crate::model::agent::{Agent, AgentState};
use crate::model::connection::{Connection, ConnectionState, GrantToken};
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::grant::{Grant, GrantState, RevokedBy};
use crate::model::record::Record as _;
use crate::model::sealed::Sealer as _;
use crate::model::stop::StopTarget;
use crate::providers::dialect::{TokenHint, TokenSet};
use crate::store::{Committed, StoreError, Tx, UpdateError};
use crate::upstream::{Cause, Revoked, UpstreamError};

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

/// How long the revocation of a disconnected account's token waits before it is tried once more.
const AGAIN: Duration = Duration::from_secs(2);

/// What came of asking a provider to revoke a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revocation {
    /// The token is dead.
    Done,
    /// Asking again does not revoke it either.
    Never,
    /// Asking again may; not before that time, where the provider names one.
    Later(Option<Duration>),
}

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

    /// Revokes the provider tokens of agents that may not act: those that have come to their end, and those whose
    /// suspension was interrupted before their tokens were. Run it every minute.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn revoke_tokens_of_inactive_agents(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let (mut agents, mut after) = (BTreeSet::new(), None::<String>);
        loop {
            let page = inner.store.page::<GrantToken>(after.as_deref(), 200).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key());
            for token in page.iter().filter(|token| now < token.ends_at()) {
                if let Some(grant) = inner.store.get::<Grant>(token.grant.as_str()).await? {
                    agents.insert(grant.agent.clone());
                }
            }
        }
        for id in agents {
            let agent = inner.store.get::<Agent>(id.as_str()).await?;
            if agent.is_some_and(|agent| agent.state_at(now) != AgentState::Active) {
                self.revoke_tokens_under(&StopTarget::Agent(id)).await?;
            }
        }
        Ok(())
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
            match inner.farewell_in_turn(&id).await {
                Ok(revoked) => revoked,
                Err(error) => {
                    tracing::warn!(connection.id = %id, "a disconnected account is not wiped yet: {error}");
                    false
                }
            }
        })
    }

    async fn farewell_in_turn(&self, id: &ConnectionId) -> Result<bool, StoreError> {
        let (revoked, let_go) = {
            // A refresh under way ends first, so that the token it brings is the one that is revoked.
            let turn = self.flights.turn(id.as_str());
            let _turn = turn.lock().await;
            self.farewell(id).await?
        };
        Ok(self.discard_all(&let_go).await? && revoked)
    }

    /// Whether the connection's own refresh token is dead, and the notes of those that lie beside it.
    async fn farewell(&self, id: &ConnectionId) -> Result<(bool, Vec<String>), StoreError> {
        let mut let_go = Vec::new();
        for _ in 0..self.tries() {
            let stored = self.store.get::<Connection>(id.as_str()).await?;
            // Connected again meanwhile: those tokens are not ours to wipe.
            let Some(stored) = stored.filter(|stored| is_disconnected(stored)) else { break };
            // Before the wiping: until then a start goes on with this.
            let_go.extend(self.let_go(id).await?);
            let mut revocation = self.revoke_tokens(&stored).await;
            if matches!(revocation, Revocation::Later(_)) {
                tokio::time::sleep(AGAIN).await;
                revocation = self.revoke_tokens(&stored).await;
            }
            let wiped = Connection {
                refresh_token: None,
                access: None,
                intent: None,
                lease: None,
                generation: stored.generation.saturating_add(1),
                ..stored.record().clone()
            };
            let mut tx = Tx::new();
            tx.update(&stored, &wiped);
            if matches!(revocation, Revocation::Later(_))
                && let Some(token) = self.refresh_token_of(&stored)
            {
                // The provider does not answer: a sweep goes on.
                tx.insert(&self.unneeded(id, format!("left-{}", stored.generation), &token));
            }
            if self.store.commit(tx).await? == Committed::Done {
                return Ok((revocation == Revocation::Done, let_go));
            }
            // A refresh of another node has stored its token meanwhile: that one is to be revoked, too.
        }
        Ok((false, let_go))
    }

    /// Revokes tokens that came for a connection when it had been disconnected. What cannot be revoked yet is tried
    /// again by a sweep.
    pub(super) async fn revoke_stray(
        &self,
        connection: &Connection,
        tokens: &TokenSet,
    ) -> Result<(), StoreError> {
        self.revoke_upstream(&connection.provider, &tokens.access_token, TokenHint::AccessToken).await;
        let let_go = self.let_go(&connection.id).await?;
        self.discard_all(&let_go).await.map(|_| ())
    }

    async fn revoke_tokens(&self, connection: &Connection) -> Revocation {
        let id = &connection.id;
        if let Some(access) = &connection.access {
            let context = Connection::access_context(id, access.generation);
            if let Some(token) = self.vault.open(context, &access.token).ok().and_then(text_of) {
                self.revoke_upstream(&connection.provider, &token, TokenHint::AccessToken).await;
            }
        }
        match self.refresh_token_of(connection) {
            Some(token) => self.revoke_upstream(&connection.provider, &token, TokenHint::RefreshToken).await,
            None => Revocation::Never,
        }
    }

    pub(super) fn refresh_token_of(&self, connection: &Connection) -> Option<SecretString> {
        let context = Connection::refresh_context(&connection.id, connection.generation);
        self.vault.open(context, connection.refresh_token.as_ref()?).ok().and_then(text_of)
    }

    /// Revokes a token at its provider.
    pub(super) async fn revoke_upstream(
        &self,
        provider: &ProviderSlug,
        token: &SecretString,
        hint: TokenHint,
    ) -> Revocation {
        let configured = match self.configured_even_if_off(provider).await {
            Ok((configured, _)) => configured,
            Err(ConnectionError::UnknownProvider(_)) => return Revocation::Never,
            Err(_) => return Revocation::Later(None),
        };
        let dial = self.dialer.revoke(&configured, token, hint);
        match tokio::time::timeout(self.waits.dial, dial).await {
            Ok(Ok(Revoked::Done)) => Revocation::Done,
            Ok(Ok(Revoked::NotOffered)) => Revocation::Never,
            Ok(Err(error)) => {
                let class = judge::class_word(error.class);
                tracing::warn!(provider = %provider, class, "a token could not be revoked at the provider");
                if is_final(&error) { Revocation::Never } else { Revocation::Later(error.retry_after) }
            }
            Err(_) => Revocation::Later(None),
        }
    }
}

/// Whether asking again gets the same answer: the provider knows no such token or account any more, or does not
/// take the request. What people can mend there (our registration, its settings) is asked for again.
fn is_final(error: &UpstreamError) -> bool {
    use crate::providers::template::ErrorClass::{Gone, Reauth, Request};
    // RFC 7009, section 2.2.1.
    let unsupported = error.code.as_deref() == Some("unsupported_token_type");
    error.cause == Cause::Provider && (unsupported || matches!(error.class, Gone | Reauth | Request))
}
