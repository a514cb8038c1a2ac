//! Refresh tokens that nobody needs any more and that would live on at the provider: noted, and revoked.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::connections::configured::text_of;
use crate::connections::revoke::Revocation;
use crate::connections::{Connections, Inner, is_disconnected};
use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::kernel::entropy;
use crate::kernel::ids::{ConnectionId, ProviderSlug};
use crate::kernel::secret::SecretString;
use crate::model::connection::{Connection, GrantToken, StrayToken};
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::record::Record as _;
use crate::model::restored::Restored;
use crate::model::sealed::Sealer as _;
use crate::providers::Configured;
use crate::providers::dialect::{TokenHint, TokenSet};
use crate::store::{Committed, StoreError, Stored, Tx, UpdateError, Updated};

/// How long a revocation that failed waits before it is tried again, at least and at most. In between it is as long
/// as the note is old.
const AGAIN: Duration = Duration::from_secs(600);
const AGAIN_MAX: Duration = Duration::from_secs(6 * 3600);
/// For how long it is tried: what is not revoked by then ends by itself.
const TRIED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
const PAGE: usize = 200;
/// How the attempts are named of tokens that were not kept.
const UNNEEDED: &str = "unneeded-";

/// Providers that a round has found not to revoke. They are left alone until the next one: each try may take as long
/// as a dial, and the notes of other providers wait behind it.
type Failing = BTreeSet<ProviderSlug>;

/// What is to be done about a note now.
enum Turn {
    /// Revoke the token.
    Revoke,
    /// Nothing before that moment.
    Wait(Timestamp),
    /// Keep the token aside.
    Keep,
    /// Forget it.
    Forget,
}

impl Connections {
    /// Revokes what is due of the refresh tokens that nobody needs any more. Run it every minute. Returns how many
    /// were revoked.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn sweep_discarded(&self) -> Result<usize, StoreError> {
        let (mut revoked, mut after, mut failing) = (0, None::<String>, Failing::new());
        loop {
            let page = self.inner.store.page::<StrayToken>(after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(revoked) };
            after = Some(last.key());
            for stray in page.iter().filter(|stray| stray.revoke_at.is_some()) {
                revoked += usize::from(self.inner.discard(&stray.key(), &mut failing).await?);
            }
        }
    }
}

impl Inner {
    /// The note that the refresh token of a former consent is to be revoked, for the commit that puts another one in
    /// its place. None where that token goes on, or cannot be revoked alone.
    pub(super) fn former(
        &self,
        configured: &Configured,
        former: &Connection,
        tokens: &TokenSet,
    ) -> Option<StrayToken> {
        let new = tokens.refresh_token.as_ref().filter(|_| consents_are_apart(configured))?;
        let token = self.refresh_token_of(former)?;
        let note = || StrayToken {
            revoke_at: Some(self.dials_have_ended()),
            former: Some(former.generation),
            ..self.unneeded(&former.id, former_attempt(former.generation), &token)
        };
        (new.expose() != token.expose()).then(note)
    }

    /// When what is being dialled now has ended, here or on another node, and is filed: an agent's token that hangs
    /// on a former refresh token is known by then.
    pub(super) fn dials_have_ended(&self) -> Timestamp {
        // A dial begins before its lease lapses.
        self.clock.now().plus(self.waits.lease + self.waits.dial)
    }

    /// Whether a consent has taken the place of the one whose refresh token had that generation last, and that one
    /// is to be revoked.
    pub(super) async fn is_former(&self, id: &ConnectionId, generation: u64) -> Result<bool, StoreError> {
        let key = StrayToken::key_of(id, &former_attempt(generation));
        Ok(self.store.get::<StrayToken>(&key).await?.is_some())
    }

    /// Revokes tokens that will not be kept, as far as the provider offers it. Where consents are apart, it goes on
    /// without the caller when the provider is slow.
    pub(super) async fn give_back(
        self: &Arc<Self>,
        configured: &Configured,
        of: &ConnectionId,
        tokens: &TokenSet,
    ) -> Result<(), StoreError> {
        let offered = configured.loaded.template.revoke.is_some();
        let Some(token) = tokens.refresh_token.as_ref().filter(|_| offered) else { return Ok(()) };
        if !consents_are_apart(configured) {
            return self.give_back_now(&configured.slug, of, token).await;
        }
        let attempt = format!("{UNNEEDED}{}", encode::hex(&entropy::bytes::<16>(&*self.entropy)));
        let note = self.unneeded(of, attempt, token);
        let mut tx = Tx::new();
        tx.insert(&note);
        let _ = self.written(self.store.commit(tx)).await?;
        let _ = tokio::time::timeout(self.waits.revocation, self.spawn_discard(note.key())).await;
        Ok(())
    }

    /// INVARIANT: where one revocation may end all tokens of an account, those of a consent that was refused are
    /// revoked at once or not at all. Later it might end the tokens of a consent that has come since.
    async fn give_back_now(
        &self,
        provider: &ProviderSlug,
        of: &ConnectionId,
        token: &SecretString,
    ) -> Result<(), StoreError> {
        let asked = self.revoke_upstream(provider, token, TokenHint::RefreshToken);
        let revocation = tokio::time::timeout(self.waits.revocation, asked).await;
        if let Some(connection) = self.store.get::<Connection>(of.as_str()).await? {
            self.tell_discarded(&connection, revocation == Ok(Revocation::Done));
        }
        Ok(())
    }

    /// The note that a token is to be revoked now.
    pub(super) fn unneeded(&self, of: &ConnectionId, attempt: String, token: &SecretString) -> StrayToken {
        let now = self.clock.now();
        let key = StrayToken::key_of(of, &attempt);
        StrayToken {
            connection: of.clone(),
            attempt,
            refresh_token: self.vault.seal(StrayToken::context(&key), token.expose_str().as_bytes()),
            at: now,
            revoke_at: Some(now),
            former: None,
        }
    }

    /// Makes all tokens due that lie beside that of a disconnected connection: those that were kept for it, and those
    /// that agents' tokens hung on. Returns their keys.
    pub(super) async fn let_go(&self, id: &ConnectionId) -> Result<Vec<String>, StoreError> {
        let (mut due, mut after) = (Vec::new(), StrayToken::key_of(id, ""));
        loop {
            let page = self.store.page::<StrayToken>(Some(&after), PAGE).await?;
            for stray in page.iter().take_while(|stray| &stray.connection == id) {
                let now = self.clock.now();
                let key = stray.key();
                let changed = self.change_note(&key, |note| {
                    let is_spared = note.revoke_at.is_none() || note.former.is_some();
                    let due = || StrayToken { at: now, revoke_at: Some(now), former: None, ..note.clone() };
                    is_spared.then(due)
                });
                if changed.await? {
                    due.push(key);
                }
            }
            match page.last().filter(|last| &last.connection == id) {
                Some(last) => after = last.key(),
                None => return Ok(due),
            }
        }
    }

    /// Revokes noted tokens; says whether all of them are dead.
    pub(super) async fn discard_all(&self, keys: &[String]) -> Result<bool, StoreError> {
        let (mut all, mut failing) = (true, Failing::new());
        for key in keys {
            all &= self.discard(key, &mut failing).await?;
        }
        Ok(all)
    }

    /// Revokes a noted token, on a task of its own. Should the process die, a sweep goes on.
    fn spawn_discard(self: &Arc<Self>, key: String) -> JoinHandle<()> {
        let inner = Arc::clone(self);
        self.spawn(async move {
            if let Err(error) = inner.discard(&key, &mut Failing::new()).await {
                tracing::warn!("a token that is not needed any more is not revoked yet: {error}");
            }
        })
    }

    /// Whether a noted token was revoked; its note is gone then.
    async fn discard(&self, key: &str, failing: &mut Failing) -> Result<bool, StoreError> {
        let Some(note) = self.store.get::<StrayToken>(key).await? else { return Ok(false) };
        let now = self.clock.now();
        if note.revoke_at.is_none_or(|due| now < due) || self.is_of_a_backup(&note).await? {
            return Ok(false);
        }
        let Some(connection) = self.store.get::<Connection>(note.connection.as_str()).await? else {
            return self.forget(key).await.map(|_| false);
        };
        if failing.contains(&connection.provider) {
            return Ok(false);
        }
        match self.turn_of(&note, &connection).await? {
            Turn::Revoke => self.revoke_noted(&note, &connection, failing).await,
            Turn::Wait(until) => self.put_off(&note, &connection, Some(until)).await,
            Turn::Keep => self.put_off(&note, &connection, None).await,
            Turn::Forget => {
                if self.forget(key).await? {
                    self.tell_discarded(&connection, false);
                }
                Ok(false)
            }
        }
    }

    /// Whether a note came out of a backup, and the deployment that this was taken from may still run: the token is
    /// that one's to revoke.
    async fn is_of_a_backup(&self, note: &StrayToken) -> Result<bool, StoreError> {
        let restored = self.store.get::<Restored>(Restored::KEY).await?;
        Ok(restored.is_some_and(|restored| note.at <= restored.restored_at))
    }

    async fn turn_of(&self, note: &StrayToken, connection: &Connection) -> Result<Turn, StoreError> {
        let now = self.clock.now();
        if let Some(end) = self.spared_until(note).await?.filter(|end| now < *end) {
            return Ok(Turn::Wait(end));
        }
        let Ok((configured, _)) = self.configured_even_if_off(&connection.provider).await else {
            // What its template says is not known until somebody has mended it.
            return Ok(if now.since(note.at) < TRIED_FOR {
                Turn::Wait(now.plus(AGAIN))
            } else {
                Turn::Forget
            });
        };
        if consents_are_apart(&configured) {
            return Ok(Turn::Revoke);
        }
        // INVARIANT: where one revocation may end all tokens of an account, none is sent late that could meet those
        // in use. Such a note is of an earlier release, and its account may have been connected since.
        if note.attempt.starts_with(UNNEEDED) {
            return Ok(Turn::Forget);
        }
        Ok(if is_disconnected(connection) { Turn::Revoke } else { Turn::Keep })
    }

    /// Until when agents hold provider tokens that would end with that refresh token.
    async fn spared_until(&self, note: &StrayToken) -> Result<Option<Timestamp>, StoreError> {
        let Some(last) = note.former else { return Ok(None) };
        let tokens = self.store.find::<GrantToken>("connection", note.connection.as_str()).await?;
        // A token bears the generation after the refresh token that it was obtained with. That is the new consent's own
        // where it was obtained while the user consented; those of the new consent come after it.
        let last = last.saturating_add(1);
        let under_it = tokens.iter().filter(|token| token.token.generation <= last);
        Ok(under_it.map(|token| token.token.expires_at).max())
    }

    async fn revoke_noted(
        &self,
        note: &Stored<StrayToken>,
        connection: &Stored<Connection>,
        failing: &mut Failing,
    ) -> Result<bool, StoreError> {
        let (key, now) = (note.key(), self.clock.now());
        // Of several nodes, and of several tasks here, the one dials that claims the note. Should it die, the note is
        // due again when no dial of its can be under way. An account that was connected meanwhile is judged anew.
        let claimed = StrayToken { revoke_at: Some(now.plus(self.waits.lease)), ..note.record().clone() };
        let mut tx = Tx::new();
        tx.update(note, &claimed).require_unchanged(connection);
        if self.store.commit(tx).await? != Committed::Done {
            return Ok(false);
        }
        let token = self.vault.open(StrayToken::context(&key), &note.refresh_token).ok().and_then(text_of);
        let revocation = match &token {
            Some(token) => self.revoke_upstream(&connection.provider, token, TokenHint::RefreshToken).await,
            // This node may not have the key yet that another one has sealed it with.
            None => Revocation::Later(None),
        };
        let age = now.since(note.at);
        if let Revocation::Later(asked) = revocation
            && age < TRIED_FOR
        {
            failing.insert(connection.provider.clone());
            let wait = age.clamp(AGAIN, AGAIN_MAX).max(asked.unwrap_or_default());
            let until = Some(now.plus(wait));
            self.change_note(&key, |note| Some(StrayToken { revoke_at: until, ..note.clone() })).await?;
            return Ok(false);
        }
        let is_done = revocation == Revocation::Done;
        // Whoever ends the note tells of it: this one may have taken so long that another has claimed it.
        let ended = self.forget(&key).await?;
        if ended {
            self.tell_discarded(connection, is_done);
        }
        Ok(ended && is_done)
    }

    /// Says that a token is to be revoked later, or kept, while neither it nor its account has changed. Never `true`:
    /// it has not been revoked.
    async fn put_off(
        &self,
        note: &Stored<StrayToken>,
        connection: &Stored<Connection>,
        until: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let mut tx = Tx::new();
        tx.update(note, &StrayToken { revoke_at: until, ..note.record().clone() });
        tx.require_unchanged(connection);
        // Changed meanwhile: the next sweep finds it again.
        let _ = self.store.commit(tx).await?;
        Ok(false)
    }

    /// Whether a note was changed.
    async fn change_note(
        &self,
        key: &str,
        change: impl Fn(&StrayToken) -> Option<StrayToken>,
    ) -> Result<bool, StoreError> {
        let changed = self.store.update::<StrayToken, Infallible>(key, |note| Ok(change(note)));
        match changed.await {
            Ok(updated) => Ok(matches!(updated, Updated::Changed(_))),
            Err(UpdateError::Store(error)) => Err(error),
            Err(UpdateError::Refused(never)) => match never {},
        }
    }

    /// Deletes a note; `false` when another has.
    async fn forget(&self, key: &str) -> Result<bool, StoreError> {
        for _ in 0..self.tries() {
            let Some(note) = self.store.get::<StrayToken>(key).await? else { return Ok(false) };
            let mut tx = Tx::new();
            tx.delete(&note);
            if self.store.commit(tx).await? == Committed::Done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn tell_discarded(&self, connection: &Connection, revoked: bool) {
        let mut event = EventDraft::new(EventKind::Revocation, "refresh_token.revoked");
        event.user = Some(connection.user.clone());
        event.provider = Some(connection.provider.clone());
        event.connection = Some(connection.id.clone());
        event.outcome = Some(if revoked { Outcome::Done } else { Outcome::Failed });
        event.reasons = vec!["it is not needed any more".to_owned()];
        self.audit.record_soon(event);
    }
}

fn former_attempt(generation: u64) -> String {
    format!("former-{generation}")
}

/// Whether the tokens of one consent can be revoked without those of another one.
pub(super) fn consents_are_apart(configured: &Configured) -> bool {
    configured.loaded.template.revoke.as_ref().is_some_and(|revoke| revoke.apart)
}
