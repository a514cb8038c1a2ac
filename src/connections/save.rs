//! Storing what a provider gave: under the generation alone, and never dropped.

use std::time::Duration;

use crate::connections::figures::Ended;
use crate::connections::refresh::Refreshed;
use crate::connections::{Inner, LeaseError, is_disconnected, judge, killpoint};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::ConnectionId;
use crate::kernel::secret::SecretString;
use crate::model::connection::{Backoff, CachedToken, Connection, ConnectionState, StrayToken};
use crate::model::event::Outcome;
use crate::model::sealed::{SealError, Sealer as _};
use crate::providers::Configured;
use crate::providers::dialect::TokenSet;
use crate::providers::template::Template;
use crate::store::{StoreError, Tx, UpdateError};

/// How often the store is tried, a second apart, before new tokens are given up that it does not take.
pub(super) const SAVE_TRIES: u32 = 60;

/// Tokens that a provider gave for a refresh token.
#[derive(Debug)]
pub(super) struct Obtained {
    pub tokens: TokenSet,
    /// When the answer arrived.
    pub at: Timestamp,
    /// Whether the access token holds all that the connection does, and is to be kept with it.
    pub whole: bool,
    /// The generation that was spent.
    pub generation: u64,
    pub attempt: String,
}

impl Inner {
    /// Stores new tokens under the condition that the generation is still the one that was spent, and
    /// under no other. While the disk is full they are held and tried again.
    pub(super) async fn save(
        &self,
        configured: &Configured,
        id: &ConnectionId,
        obtained: Obtained,
    ) -> Result<Refreshed, LeaseError> {
        let template = &configured.loaded.template;
        let generation = obtained.generation.saturating_add(1);
        let mut tries = 0;
        let saved = loop {
            let update = self.store.update::<Connection, Unsaved>(id.as_str(), |connection| {
                if connection.generation != obtained.generation {
                    return Err(Unsaved::Moved);
                }
                let mut next = connection.clone();
                let Obtained { tokens, at, whole, .. } = &obtained;
                if *whole {
                    next.scopes = judge::scopes_after_refresh(template, &next.scopes, tokens.scopes.as_ref());
                }
                self.take_tokens(&mut next, template, tokens, *whole, *at).map_err(Unsaved::Sealed)?;
                Ok(Some(next))
            });
            match self.written(update).await {
                Ok(updated) => break updated.stored().ok_or(LeaseError::UnknownConnection)?,
                Err(UpdateError::Refused(Unsaved::Sealed(error))) => return Err(error.into()),
                Err(UpdateError::Refused(Unsaved::Moved)) => {
                    let moved = self.store.get::<Connection>(id.as_str()).await?;
                    let connection = moved.ok_or(LeaseError::UnknownConnection)?.record().clone();
                    self.keep_stray(&connection, &obtained).await?;
                    return Ok(Refreshed::Saved { connection, tokens: obtained.tokens, generation });
                }
                Err(UpdateError::Store(error)) => {
                    tries += 1;
                    if matches!(error, StoreError::Failed) || tries >= SAVE_TRIES {
                        tracing::error!(connection.id = %id, "new tokens could not be stored: {error}");
                        return Err(error.into());
                    }
                    tokio::time::sleep(self.waits.again).await;
                }
            }
        };
        killpoint::reach("after_save", &saved.id);
        let ended = if obtained.whole { Ended::Renewed } else { Ended::Narrowed };
        self.figures.ended(&saved.provider, ended);
        let words = if obtained.whole { "renewed" } else { "a narrowed token was obtained" };
        self.tell(&saved, Outcome::Done, words).await;
        Ok(Refreshed::Saved { connection: saved.record().clone(), tokens: obtained.tokens, generation })
    }

    /// Puts a provider's answer into the record, under the next generation. `whole` says that the access
    /// token holds all that the connection does, and is to be kept with it; `now` is when the answer
    /// arrived.
    pub(super) fn take_tokens(
        &self,
        connection: &mut Connection,
        template: &Template,
        tokens: &TokenSet,
        whole: bool,
        now: Timestamp,
    ) -> Result<(), SealError> {
        let id = connection.id.clone();
        let former = connection.generation;
        let generation = former.saturating_add(1);
        let context = Connection::refresh_context(&id, generation);
        match (&tokens.refresh_token, &connection.refresh_token) {
            (Some(new), _) => {
                connection.refresh_token = Some(self.vault.seal(context, new.expose_str().as_bytes()));
                let stated = tokens.refresh_expires_in.filter(|life| !life.is_zero());
                let usual =
                    template.refresh.as_ref().map(|refresh| refresh.lifetime_s).filter(|life| *life > 0);
                let life = stated.or(usual.map(Duration::from_secs));
                let inherits = template.refresh.as_ref().is_some_and(|refresh| refresh.fixed_life);
                let former_end = connection.refresh_expires_at.filter(|_| inherits && stated.is_none());
                connection.refresh_expires_at = former_end.or_else(|| life.map(|life| now.plus(life)));
            }
            // No new one came: the old one goes on, bound to the new generation.
            (None, Some(sealed)) => {
                let old = self.vault.open(Connection::refresh_context(&id, former), sealed)?;
                connection.refresh_token = Some(self.vault.seal(context, old.expose()));
            }
            (None, None) => {}
        }
        // Where a provider issues no tokens for users, the access token is empty.
        if whole && !tokens.access_token.expose().is_empty() {
            let context = Connection::access_context(&id, generation);
            connection.access = Some(CachedToken {
                token: self.vault.seal(context, tokens.access_token.expose_str().as_bytes()),
                scopes: tokens.scopes.clone().unwrap_or_else(|| connection.scopes.clone()),
                scopes_stated: tokens.scopes.is_some(),
                expires_at: now.plus(tokens.expires_in),
                generation,
            });
            connection.refreshed_at = now;
        }
        connection.generation = generation;
        connection.intent = None;
        connection.lease = None;
        connection.backoff = Backoff::default();
        if !matches!(connection.state, ConnectionState::Disconnected { .. }) {
            connection.state = ConnectionState::Active;
        }
        Ok(())
    }

    /// The generation has moved on, by a new consent or another process: the extra token is kept aside.
    async fn keep_stray(&self, moved: &Connection, obtained: &Obtained) -> Result<(), LeaseError> {
        let Some(token) = &obtained.tokens.refresh_token else { return Ok(()) };
        if self.holds(moved, token) {
            // Stored before, by the process that had obtained it.
            return Ok(());
        }
        let attempt = obtained.attempt.clone();
        let key = StrayToken::key_of(&moved.id, &attempt);
        let is_former = self.is_former(&moved.id, obtained.generation).await?;
        let stray = StrayToken {
            connection: moved.id.clone(),
            attempt,
            refresh_token: self.vault.seal(StrayToken::context(&key), token.expose_str().as_bytes()),
            at: obtained.at,
            // Of a consent that another one has taken the place of: it ends as that one's last token does.
            revoke_at: is_former.then(|| self.dials_have_ended()),
            former: is_former.then_some(obtained.generation),
        };
        let mut tx = Tx::new();
        tx.insert(&stray);
        // A conflict means that this very attempt is kept already.
        let _ = self.written(self.store.commit(tx)).await?;
        // Read after the token was kept: whoever disconnects the account later finds it.
        let present = self.store.get::<Connection>(moved.id.as_str()).await?;
        if present.is_some_and(|present| is_disconnected(&present)) {
            // Its farewell was on another node, and could not wait for this token.
            return Ok(self.revoke_stray(moved, &obtained.tokens).await?);
        }
        self.figures.strays.inc();
        self.tell(moved, Outcome::Done, "another token set was stored first; this one is kept aside").await;
        Ok(())
    }

    fn holds(&self, connection: &Connection, token: &SecretString) -> bool {
        let context = Connection::refresh_context(&connection.id, connection.generation);
        let held = connection.refresh_token.as_ref().and_then(|sealed| self.vault.open(context, sealed).ok());
        held.is_some_and(|held| held.expose().as_slice() == token.expose_str().as_bytes())
    }
}

/// Why an update of ours did not happen.
#[derive(Debug)]
enum Unsaved {
    Moved,
    Sealed(SealError),
}
