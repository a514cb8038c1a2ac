//! Storing what a provider gave: under the generation alone, and never dropped.

use std::time::Duration;

use crate::connections::refresh::{Refreshed, Want};
use crate::connections::{Inner, LeaseError, judge, killpoint};
use crate::model::connection::{Backoff, CachedToken, Connection, ConnectionState, StrayToken};
use crate::model::event::Outcome;
use crate::model::sealed::{SealError, Sealer as _};
use crate::providers::Configured;
use crate::providers::dialect::TokenSet;
use crate::providers::template::Template;
use crate::store::{StoreError, Tx, UpdateError};

/// How long new tokens are held in memory while the disk is full, before they are given up.
const SAVE_TRIES: u32 = 60;

impl Inner {
    /// Stores new tokens under the condition that the generation is still the one that was spent, and
    /// under no other. While the disk is full they are held and tried again.
    pub(super) async fn save(
        &self,
        configured: &Configured,
        claimed: &Connection,
        tokens: TokenSet,
        want: &Want,
    ) -> Result<Refreshed, LeaseError> {
        let template = &configured.loaded.template;
        let narrowed = matches!(want, Want::Narrowed(_));
        let mut tries = 0;
        let saved = loop {
            let update = self.store.update::<Connection, Unsaved>(claimed.id.as_str(), |connection| {
                if connection.generation != claimed.generation {
                    return Err(Unsaved::Moved);
                }
                let mut next = connection.clone();
                if !narrowed {
                    next.scopes = judge::scopes_after_refresh(template, &next.scopes, tokens.scopes.as_ref());
                }
                self.take_tokens(&mut next, template, &tokens, !narrowed).map_err(Unsaved::Sealed)?;
                Ok(Some(next))
            });
            match self.written(update).await {
                Ok(updated) => break updated.stored().ok_or(LeaseError::UnknownConnection)?,
                Err(UpdateError::Refused(Unsaved::Sealed(error))) => return Err(error.into()),
                Err(UpdateError::Refused(Unsaved::Moved)) => {
                    self.keep_stray(claimed, &tokens).await?;
                    let moved = self.store.get::<Connection>(claimed.id.as_str()).await?;
                    let connection = moved.ok_or(LeaseError::UnknownConnection)?.record().clone();
                    return Ok(Refreshed::Saved { connection, tokens });
                }
                Err(UpdateError::Store(error)) => {
                    tries += 1;
                    if matches!(error, StoreError::Failed) || tries >= SAVE_TRIES {
                        tracing::error!(connection.id = %claimed.id, "new tokens could not be stored: {error}");
                        return Err(error.into());
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        };
        killpoint::reach("after_save", &saved.id);
        self.tell(&saved, Outcome::Done, if narrowed { "a narrowed token was obtained" } else { "renewed" })
            .await;
        Ok(Refreshed::Saved { connection: saved.record().clone(), tokens })
    }

    /// Puts a provider's answer into the record, under the next generation. `whole` says that the access
    /// token holds all that the connection does, and is to be kept with it.
    pub(super) fn take_tokens(
        &self,
        connection: &mut Connection,
        template: &Template,
        tokens: &TokenSet,
        whole: bool,
    ) -> Result<(), SealError> {
        let now = self.clock.now();
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
                connection.refresh_expires_at = life.map(|life| now.plus(life));
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
    async fn keep_stray(&self, claimed: &Connection, tokens: &TokenSet) -> Result<(), LeaseError> {
        let (Some(token), Some(intent)) = (&tokens.refresh_token, &claimed.intent) else { return Ok(()) };
        let key = format!("{}/{}", claimed.id, intent.attempt);
        let stray = StrayToken {
            connection: claimed.id.clone(),
            attempt: intent.attempt.clone(),
            refresh_token: self.vault.seal(StrayToken::context(&key), token.expose_str().as_bytes()),
            at: self.clock.now(),
        };
        let mut tx = Tx::new();
        tx.insert(&stray);
        // A conflict means that this very attempt is kept already.
        let _ = self.written(self.store.commit(tx)).await?;
        self.tell(claimed, Outcome::Done, "another token set was stored first; this one is kept aside").await;
        Ok(())
    }
}

/// Why an update of ours did not happen.
#[derive(Debug)]
enum Unsaved {
    Moved,
    Sealed(SealError),
}
