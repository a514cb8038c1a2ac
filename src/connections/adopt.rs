//! Storing what a consent brought: held while the store takes nothing, and given back at the end.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::connections::complete::{CompleteError, Completed, refusal, takes_away};
use crate::connections::discard::consents_are_apart;
use crate::connections::revoke::Revocation;
use crate::connections::save::SAVE_TRIES;
use crate::connections::{Inner, is_disconnected, judge};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ConnectionId, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::connection::{Backoff, Connection, ConnectionState, ReauthReason};
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::session::{Purpose, Transaction};
use crate::providers::Configured;
use crate::providers::dialect::TokenHint;
use crate::store::{Committed, StoreError, Stored, Tx};
use crate::upstream::Redeemed;

/// The same once this process is about to end: it waits for no more than 25 s.
const LAST_TRIES: u32 = 10;

/// What a consent brought.
pub(super) struct Consent {
    pub configured: Arc<Configured>,
    pub transaction: Transaction,
    /// Who consented.
    pub user: UserId,
    pub redeemed: Redeemed,
    /// When the answer arrived.
    pub at: Timestamp,
}

impl Consent {
    /// The connection that it is to renew.
    fn renewed(&self) -> Option<&ConnectionId> {
        match &self.transaction.purpose {
            Purpose::Reconnect { connection } => Some(connection),
            Purpose::Connect { connection, .. } => connection.as_ref(),
            Purpose::SignIn { .. } => None,
        }
    }

    /// In the index of accounts.
    fn account(&self) -> String {
        Connection::account_index(&self.user, &self.configured.slug, &self.redeemed.account)
    }

    fn completed(&self, connection: Connection) -> Completed {
        Completed {
            purpose: self.transaction.purpose.clone(),
            connection: Some(connection),
            id_claims: self.redeemed.id_claims.clone(),
        }
    }

    /// Whether the user has consented anew, or disconnected the account, since the answer arrived. What a clock says
    /// that was ahead does not count.
    fn is_overtaken_by(&self, held: &Connection, now: Timestamp) -> bool {
        let since = match held.state {
            ConnectionState::Disconnected { at } => Some(at),
            _ => held.consented_at,
        };
        since.is_some_and(|since| self.at < since && since <= now)
    }
}

impl Inner {
    /// Stores what a consent brought. While the store takes nothing it is held and tried again, and whoever waits is told
    /// through `held_up`; at the end it is given back.
    pub(super) async fn adopt(
        self: &Arc<Self>,
        consent: &Consent,
        held_up: oneshot::Sender<StoreError>,
    ) -> Result<Completed, CompleteError> {
        let (mut held_up, mut tries) = (Some(held_up), 0);
        loop {
            let error = match self.adopted(consent).await {
                // What the disk holds is not known any more: the tokens may be there after the next start.
                Err(CompleteError::Store(StoreError::Failed)) => return Err(StoreError::Failed.into()),
                Err(CompleteError::Store(error)) => error,
                done => return done,
            };
            tries += 1;
            let most = if self.flights.is_closing() { LAST_TRIES } else { SAVE_TRIES };
            if !may_pass(&error) || tries >= most {
                let provider = &consent.configured.slug;
                tracing::error!(%provider, "what a consent brought could not be stored: {error}");
                self.part_with(consent).await;
                return Err(error.into());
            }
            if let Some(held_up) = held_up.take() {
                let _ = held_up.send(error);
            }
            tokio::time::sleep(self.waits.again).await;
        }
    }

    async fn adopted(self: &Arc<Self>, consent: &Consent) -> Result<Completed, CompleteError> {
        let Consent { configured, transaction, redeemed, .. } = consent;
        for _ in 0..self.tries() {
            let existing = self.store.find_unique::<Connection>("account", &consent.account()).await?;
            let is_connected = existing.as_ref().is_some_and(|existing| !is_disconnected(existing));
            let refusal = match refusal(configured, transaction, consent.renewed(), existing.as_deref()) {
                Some(refusal) if !is_connected || consents_are_apart(configured) => {
                    if let Some(of) = existing.as_ref().map(|existing| &existing.id).or(consent.renewed()) {
                        self.give_back(configured, of, &redeemed.tokens).await?;
                    }
                    return Err(refusal);
                }
                // INVARIANT: what may be the account's only live token by now is kept. Where nothing is known of
                // former consents, this one may have ended the token that we hold.
                refusal => refusal,
            };
            if let Some(held) = &existing
                && consent.is_overtaken_by(held, self.clock.now())
            {
                return self.overtaken(consent, held, refusal).await;
            }
            let connection = self.connected(consent, existing.as_ref()).await?;
            let mut tx = Tx::new();
            match &existing {
                Some(existing) => tx.update(existing, &connection),
                None => tx.insert(&connection),
            };
            let former = existing.as_ref().and_then(|held| self.former(configured, held, &redeemed.tokens));
            if let Some(former) = &former {
                tx.insert(former);
            }
            // INVARIANT: the new refresh token is durable before anything depends on it; only then is it told.
            if self.written(self.store.commit(tx)).await? == Committed::Done {
                self.audit.record(connected_event(&connection, existing.is_some(), transaction)).await?;
                return refusal.map_or_else(|| Ok(consent.completed(connection)), Err);
            }
        }
        Err(StoreError::Contended { key: configured.slug.to_string() }.into())
    }

    /// The user has done something else with the account while the store took nothing: that stands.
    async fn overtaken(
        self: &Arc<Self>,
        consent: &Consent,
        held: &Connection,
        refusal: Option<CompleteError>,
    ) -> Result<Completed, CompleteError> {
        if is_disconnected(held) || consents_are_apart(&consent.configured) {
            self.give_back(&consent.configured, &held.id, &consent.redeemed.tokens).await?;
        }
        match refusal {
            Some(refusal) => Err(refusal),
            None if is_disconnected(held) => {
                Err(CompleteError::Disconnected { purpose: consent.transaction.purpose.clone() })
            }
            None => Ok(consent.completed(held.clone())),
        }
    }

    /// Revokes tokens that could not even be noted, unless that could end a consent that is in use.
    async fn part_with(&self, consent: &Consent) {
        let slug = &consent.configured.slug;
        let Some(token) = &consent.redeemed.tokens.refresh_token else { return };
        if !consents_are_apart(&consent.configured) {
            let held = self.store.find_unique::<Connection>("account", &consent.account()).await;
            if held.map_or(true, |held| held.is_some_and(|held| !is_disconnected(&held))) {
                tracing::warn!(provider = %slug, "its refresh token lives on at the provider, unused");
                return;
            }
        }
        if self.revoke_upstream(slug, token, TokenHint::RefreshToken).await != Revocation::Done {
            tracing::warn!(provider = %slug, "its refresh token could not be given back");
        }
    }

    async fn connected(
        &self,
        consent: &Consent,
        existing: Option<&Stored<Connection>>,
    ) -> Result<Connection, CompleteError> {
        let Consent { configured, transaction, user, redeemed, at } = consent;
        let template = &configured.loaded.template;
        let mut connection = match existing {
            Some(existing) => existing.record().clone(),
            None => Connection {
                id: ConnectionId::generate(&*self.entropy),
                user: user.clone(),
                provider: configured.slug.clone(),
                account: redeemed.account.clone(),
                state: ConnectionState::Active,
                is_default: false,
                scopes: ScopeSet::new(),
                generation: 0,
                refresh_token: None,
                access: None,
                refresh_expires_at: None,
                consented_at: None,
                consent_expires_at: None,
                intent: None,
                lease: None,
                backoff: Backoff::default(),
                created_at: *at,
                refreshed_at: *at,
            },
        };
        let mut held = existing.map(|existing| existing.scopes.clone());
        if is_disconnected(&connection) {
            // Connected anew: nothing of what it was counts.
            held = None;
            connection.refresh_token = None;
            connection.access = None;
        }
        connection.state = ConnectionState::Active;
        connection.scopes = judge::scopes_after_consent(
            template,
            held.as_ref(),
            &transaction.scopes,
            redeemed.tokens.scopes.as_ref(),
        );
        connection.account = redeemed.account.clone();
        connection.refresh_expires_at = None;
        connection.consented_at = Some(*at);
        connection.consent_expires_at = judge::consent_end(template, *at);
        let others = self.of_user_at(user, &configured.slug).await?;
        connection.is_default = !others.iter().any(|other| other.id != connection.id && other.is_default);
        self.take_tokens(&mut connection, template, &redeemed.tokens, true, *at)?;
        match existing.filter(|held| takes_away(configured, held, &transaction.scopes)) {
            // Agents that use the account would be refused by the provider, and nobody would learn why.
            Some(held) => {
                connection.scopes = connection.scopes.union(&held.scopes);
                Ok(judge::needs_reauth(&connection, ReauthReason::ScopesLeftOut, self.clock.now()))
            }
            None => Ok(connection),
        }
    }
}

/// Whether waiting may help. Nothing was written in any of these cases.
const fn may_pass(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Unreachable { .. }
            | StoreError::Full
            | StoreError::Busy
            | StoreError::TooSlow
            | StoreError::Contended { .. }
    )
}

fn connected_event(connection: &Connection, renewed: bool, transaction: &Transaction) -> EventDraft {
    let action = if renewed { "connection.renewed" } else { "connection.made" };
    let mut event = EventDraft::new(EventKind::Connection, action);
    event.user = Some(connection.user.clone());
    event.provider = Some(connection.provider.clone());
    event.connection = Some(connection.id.clone());
    event.scopes = Some(connection.scopes.clone());
    event.outcome = Some(Outcome::Done);
    if let Purpose::Connect { interaction, .. } = &transaction.purpose {
        event.interaction = Some(interaction.clone());
    }
    event
}
