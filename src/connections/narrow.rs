//! Provider tokens that may leave: minted for one grant and one scope set (invariant 2).

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::connections::flight::Landed;
use crate::connections::refresh::{Refreshed, Want};
use crate::connections::revoke::Revocation;
use crate::connections::{Connections, GrantError, Inner, LeaseError};
use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AgentId, GrantId};
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::model::agent::Agent;
use crate::model::connection::{CachedToken, Connection, GrantToken};
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::grant::Grant;
use crate::model::record::Record as _;
use crate::model::sealed::Sealer as _;
use crate::providers::dialect::{TokenHint, TokenSet};
use crate::providers::template::{Narrowing, Template};
use crate::store::{Committed, StoreError, Stored, Tx, UpdateError};

/// A provider token that may leave, by invariant 2.
#[derive(Clone, Debug)]
pub struct ReleasableToken {
    /// The token.
    pub token: Arc<SecretString>,
    /// What the provider stated that it opens, bookkeeping left out.
    pub scopes: ScopeSet,
    /// When it stops working, by itself or because it is revoked then: within the hour.
    pub expires_at: Timestamp,
}

/// A provider token that has left and still works.
#[derive(Clone, Debug)]
pub struct LiveToken {
    /// The grant that it was minted for.
    pub grant: GrantId,
    /// What it opens.
    pub scopes: ScopeSet,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// No token that only others check lives longer (invariant 7).
pub(super) const LONGEST: Duration = Duration::from_secs(3600);
/// A kept token with less life than this is not handed out again.
const LEAST: Duration = Duration::from_secs(60);
/// For how long a provider that answered too broadly is not asked again: each attempt spends a
/// refresh token.
const REFUSED_FOR: Duration = Duration::from_secs(600);
const REFUSED_MAX: usize = 4096;

/// Grants and scope sets for which the provider gave no token that may leave.
#[derive(Default)]
pub(super) struct RefusedMints(Mutex<HashMap<String, Timestamp>>);

impl RefusedMints {
    fn holds(&self, key: &str, now: Timestamp) -> bool {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(key).is_some_and(|until| now < *until)
    }

    fn add(&self, key: String, now: Timestamp) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= REFUSED_MAX {
            refused.clear();
        }
        refused.insert(key, now.plus(REFUSED_FOR));
    }
}

impl Connections {
    /// A provider token for one grant with no more than `asked`, or `None` where invariant 2 says that
    /// none may leave: then a gateway token has to do.
    ///
    /// # Errors
    /// See [`LeaseError`].
    pub async fn lease_for_grant(
        &self,
        grant: &Grant,
        asked: &ScopeSet,
    ) -> Result<Option<ReleasableToken>, LeaseError> {
        let inner = &self.inner;
        let configured = inner.configured(&grant.provider).await?;
        let now = inner.clock.now();
        if !grant.is_live(now) || !may_leave(&configured.loaded.template, grant, asked, now) {
            return Ok(None);
        }
        let key = GrantToken::key_of(&grant.id, asked);
        if inner.refused_mints.holds(&key, now) {
            return Ok(None);
        }
        if let Some(stored) = inner.store.get::<GrantToken>(&key).await?
            && now.until(stored.ends_at()) > LEAST
        {
            return inner.released(&key, &stored).map(Some);
        }
        let (grant, asked) = (grant.clone(), asked.clone());
        match inner.fly(format!("mint/{key}"), |inner| mint(inner, grant, asked)).await? {
            Landed::Minted(token) => Ok(token),
            Landed::Access(_) | Landed::Settled => Ok(None),
        }
    }

    /// The provider tokens of a grant that have left and still work.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn live_tokens(&self, grant: &GrantId) -> Result<Vec<LiveToken>, StoreError> {
        let now = self.inner.clock.now();
        let tokens = self.inner.store.find::<GrantToken>("grant", grant.as_str()).await?;
        let live = tokens.iter().filter(|token| now < token.token.expires_at);
        let told = live.map(|token| LiveToken {
            grant: token.grant.clone(),
            scopes: token.token.scopes.clone(),
            expires_at: token.token.expires_at,
        });
        Ok(told.collect())
    }

    /// Revokes a provider token that this agent was handed, at its provider where that is offered; it is not
    /// handed out again. `false` when it is no such token: unknown, over, or another agent's.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub async fn give_back(&self, agent: &AgentId, token: &str) -> Result<bool, GrantError> {
        let inner = &self.inner;
        let digest = inner.digest_of(token).hex();
        let mut given_back = false;
        for stored in inner.store.find::<GrantToken>("digest", &digest).await? {
            let grant = inner.store.get::<Grant>(stored.grant.as_str()).await?;
            let Some(grant) = grant.filter(|grant| &grant.agent == agent) else { continue };
            let mut event = EventDraft::new(EventKind::Revocation, "token.revoked");
            event.agent = Some(grant.agent.clone());
            event.user = Some(grant.user.clone());
            event.provider = Some(grant.provider.clone());
            event.connection = Some(grant.connection.clone());
            event.grant = Some(grant.id.clone());
            inner.audit.record(event).await?;
            // Durable first: should the provider not answer, a sweep goes on.
            let now = inner.clock.now();
            let due = |token: &GrantToken| {
                let due = token.revoke_at.map_or(now, |at| at.min(now));
                Ok::<_, Infallible>(Some(GrantToken { revoke_at: Some(due), ..token.clone() }))
            };
            let updated = match inner.patient.update(&stored.key(), due).await {
                Ok(updated) => updated,
                Err(UpdateError::Store(error)) => return Err(error.into()),
                Err(UpdateError::Refused(never)) => match never {},
            };
            given_back = true;
            let Some(stored) = updated.stored() else { continue };
            let task = Arc::clone(inner);
            let ending = inner.spawn(async move { task.end_token(&stored).await });
            // It goes on without us when the provider is slow.
            let _ = tokio::time::timeout(inner.waits.revocation, ending).await;
        }
        Ok(given_back)
    }

    /// Revokes upstream what is due and deletes what is over. Run it every few seconds. Returns how many
    /// were revoked.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn sweep_grant_tokens(&self) -> Result<usize, StoreError> {
        let inner = &self.inner;
        let mut revoked = 0;
        let mut after: Option<String> = None;
        loop {
            let page = inner.store.page::<GrantToken>(after.as_deref(), 200).await?;
            let Some(last) = page.last() else { return Ok(revoked) };
            after = Some(last.key());
            let now = inner.clock.now();
            for token in &page {
                if token.token.expires_at <= now {
                    inner.delete_token(token).await?;
                } else if token.revoke_at.is_some_and(|due| due <= now) && inner.end_token(token).await? {
                    revoked += 1;
                }
            }
        }
    }
}

/// What is known before any call: the provider narrows, no scope opens more there than its routes say,
/// and the grant has no bounds that the provider would not hold.
fn may_leave(template: &Template, grant: &Grant, asked: &ScopeSet, now: Timestamp) -> bool {
    let narrows = template.refresh.as_ref().is_some_and(|refresh| refresh.narrowing == Narrowing::Narrows);
    let is_tight =
        |scope| template.scope_entry(scope).is_some_and(|entry| !entry.leaky && !entry.bookkeeping);
    narrows
        && grant.limits.is_empty()
        && !asked.is_empty()
        && asked.is_subset(&grant.scopes_at(now))
        && asked.iter().all(is_tight)
}

async fn mint(inner: Arc<Inner>, grant: Grant, asked: ScopeSet) -> Result<Landed, LeaseError> {
    let key = GrantToken::key_of(&grant.id, &asked);
    let refreshed = inner.refresh(&grant.connection, &Want::Narrowed(asked.clone())).await?;
    let Refreshed::Saved { connection, tokens, generation } = refreshed else {
        inner.refused_mints.add(key, inner.clock.now());
        return Ok(Landed::Minted(None));
    };
    let configured = inner.configured(&grant.provider).await?;
    let template = &configured.loaded.template;
    let now = inner.clock.now();
    let stated = tokens.scopes.as_ref().map(|stated| stated.difference(&template.bookkeeping()));
    let Some(stated) = stated.filter(|stated| stated.is_subset(&asked)) else {
        inner
            .tell_unfit(
                &grant,
                &asked,
                "the provider's token was broader than asked, or did not say what it opens",
            )
            .await;
        inner.refused_mints.add(key, now);
        return Ok(Landed::Minted(None));
    };
    let expires_at = now.plus(tokens.expires_in);
    let limit = now.plus(LONGEST).min(grant.first_end_of(&asked));
    let agent = inner.store.get::<Agent>(grant.agent.as_str()).await?;
    let limit = agent.and_then(|agent| agent.entry.expires_at).map_or(limit, |end| limit.min(end));
    let can_end = template.revoke.as_ref().is_some_and(|revoke| revoke.access_tokens);
    // Such a token would work on at the vendor after the hour, or after the permission or the agent has ended.
    if !can_end && expires_at > limit {
        inner.tell_unfit(&grant, &asked, "the provider's token lives too long and cannot be revoked").await;
        inner.refused_mints.add(key, now);
        return Ok(Landed::Minted(None));
    }
    let revoke_at = (can_end && limit < expires_at).then_some(limit);
    let token = GrantToken {
        grant: grant.id.clone(),
        connection: connection.id.clone(),
        asked,
        token: CachedToken {
            token: inner.seal_grant_token(&key, generation, &tokens),
            scopes: stated,
            scopes_stated: true,
            expires_at,
            generation,
        },
        revoke_at,
        digest: Some(inner.digest_of(tokens.access_token.expose_str())),
        set_aside: false,
    };
    if !inner.keep_grant_token(&key, &grant, &token).await? {
        // The grant ended, or was made narrower, while its token was being minted.
        inner.revoke_upstream(&grant.provider, &tokens.access_token, TokenHint::AccessToken).await;
        return Ok(Landed::Minted(None));
    }
    Ok(Landed::Minted(Some(inner.released(&key, &token)?)))
}

impl Inner {
    fn seal_grant_token(
        &self,
        key: &str,
        generation: u64,
        tokens: &TokenSet,
    ) -> crate::model::sealed::Sealed {
        self.vault.seal(GrantToken::context(key, generation), tokens.access_token.expose_str().as_bytes())
    }

    fn digest_of(&self, token: &str) -> TokenDigest {
        self.vault.state_digest("provider-token", token)
    }

    fn released(&self, key: &str, token: &GrantToken) -> Result<ReleasableToken, LeaseError> {
        let context = GrantToken::context(key, token.token.generation);
        Ok(ReleasableToken {
            token: self.opened_token(key, context, &token.token.token)?,
            scopes: token.token.scopes.clone(),
            expires_at: token.ends_at(),
        })
    }

    /// Stores a minted token if its grant still holds as it was. A former one that is yet to be revoked is set
    /// aside, so that its revocation is not forgotten.
    async fn keep_grant_token(
        &self,
        key: &str,
        grant: &Grant,
        token: &GrantToken,
    ) -> Result<bool, LeaseError> {
        for _ in 0..self.tries() {
            let now = self.clock.now();
            let holds = self.store.get::<Grant>(grant.id.as_str()).await?;
            let holds = holds.filter(|present| present.is_live(now) && present.allows_as(grant));
            let Some(holds) = holds else { return Ok(false) };
            let mut tx = Tx::new();
            tx.require_unchanged(&holds);
            match self.store.get::<GrantToken>(key).await? {
                Some(former) => {
                    if former.revoke_at.is_some() && now < former.token.expires_at {
                        tx.insert(&self.set_aside(key, &former)?);
                    }
                    tx.update(&former, token);
                }
                None => {
                    tx.insert(token);
                }
            }
            if self.written(self.store.commit(tx)).await? == Committed::Done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn set_aside(&self, key: &str, former: &Stored<GrantToken>) -> Result<GrantToken, LeaseError> {
        let mut aside = former.record().clone();
        aside.set_aside = true;
        let generation = aside.token.generation;
        let opened = self.vault.open(GrantToken::context(key, generation), &aside.token.token)?;
        let new_key = aside.key();
        aside.token.token = self.vault.seal(GrantToken::context(&new_key, generation), opened.expose());
        Ok(aside)
    }

    /// Revokes one token upstream and deletes it. `false` when it could not be revoked: it stays listed,
    /// and is tried again until it expires.
    pub(super) async fn end_token(&self, token: &Stored<GrantToken>) -> Result<bool, StoreError> {
        let Some(connection) = self.store.get::<Connection>(token.connection.as_str()).await? else {
            return Ok(false);
        };
        let key = token.key();
        let context = GrantToken::context(&key, token.token.generation);
        let Ok(opened) = self.opened_token(&key, context, &token.token.token) else { return Ok(false) };
        let revocation = self.revoke_upstream(&connection.provider, &opened, TokenHint::AccessToken).await;
        let ended = revocation == Revocation::Done;
        if ended {
            self.delete_token(token).await?;
            let mut event = EventDraft::new(EventKind::Revocation, "provider_token.revoked");
            event.user = Some(connection.user.clone());
            event.provider = Some(connection.provider.clone());
            event.connection = Some(connection.id.clone());
            event.grant = Some(token.grant.clone());
            event.scopes = Some(token.token.scopes.clone());
            event.outcome = Some(Outcome::Done);
            self.audit.record_soon(event);
        }
        Ok(ended)
    }

    async fn delete_token(&self, token: &Stored<GrantToken>) -> Result<(), StoreError> {
        let mut tx = Tx::new();
        tx.delete(token);
        // Changed meanwhile: the next sweep finds it again.
        let _ = self.store.commit(tx).await?;
        self.opened.forget(&token.key());
        Ok(())
    }

    async fn tell_unfit(&self, grant: &Grant, asked: &ScopeSet, words: &str) {
        let mut event = EventDraft::new(EventKind::Refresh, "provider_token.unfit");
        event.agent = Some(grant.agent.clone());
        event.user = Some(grant.user.clone());
        event.provider = Some(grant.provider.clone());
        event.connection = Some(grant.connection.clone());
        event.grant = Some(grant.id.clone());
        event.scopes = Some(asked.clone());
        event.outcome = Some(Outcome::Failed);
        event.reasons = vec![words.to_owned()];
        self.audit.record_soon(event);
    }
}
