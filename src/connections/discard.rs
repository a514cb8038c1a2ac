//! Refresh tokens that nobody needs any more and that would live on at the provider: noted, and revoked.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::connections::configured::text_of;
use crate::connections::{Connections, Inner};
use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::kernel::entropy;
use crate::kernel::ids::ConnectionId;
use crate::kernel::secret::SecretString;
use crate::model::connection::{Connection, GrantToken, StrayToken};
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::record::Record as _;
use crate::model::sealed::Sealer as _;
use crate::providers::Configured;
use crate::providers::dialect::{TokenHint, TokenSet};
use crate::store::{StoreError, Stored, Tx};

/// How long a refused revocation waits before it is tried again.
const AGAIN: Duration = Duration::from_secs(600);
/// For how long it is tried: what is not revoked by then ends by itself.
const TRIED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

impl Connections {
    /// Revokes what is due of the refresh tokens that nobody needs any more. Run it every minute. Returns how many
    /// were revoked.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn sweep_discarded(&self) -> Result<usize, StoreError> {
        let (mut revoked, mut after) = (0, None::<String>);
        loop {
            let page = self.inner.store.page::<StrayToken>(after.as_deref(), 200).await?;
            let Some(last) = page.last() else { return Ok(revoked) };
            after = Some(last.key());
            for stray in page.iter().filter(|stray| stray.revoke_at.is_some()) {
                revoked += usize::from(self.inner.discard(&stray.key()).await?);
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
        let sealed = former.refresh_token.as_ref().filter(|_| consents_are_apart(configured))?;
        let context = Connection::refresh_context(&former.id, former.generation);
        let token = self.vault.open(context, sealed).ok().and_then(text_of)?;
        let new = tokens.refresh_token.as_ref()?;
        let attempt = format!("former-{}", former.generation);
        let note = || StrayToken {
            revoke_at: Some(self.dials_have_ended()),
            former: Some(former.generation),
            ..self.unneeded(&former.id, attempt, &token)
        };
        (new.expose() != token.expose()).then(note)
    }

    /// When what is being dialled now has ended, here or on another node, and is filed: an agent's token that hangs
    /// on a former refresh token is known by then.
    fn dials_have_ended(&self) -> Timestamp {
        // A dial begins before its lease lapses.
        self.clock.now().plus(self.waits.lease + self.waits.dial)
    }

    /// Revokes tokens that will not be kept, as far as the provider offers it. It goes on without the caller when the
    /// provider is slow.
    pub(super) async fn give_back(
        self: &Arc<Self>,
        configured: &Configured,
        of: &ConnectionId,
        tokens: &TokenSet,
    ) -> Result<(), StoreError> {
        let offered = configured.loaded.template.revoke.is_some();
        let Some(token) = tokens.refresh_token.as_ref().filter(|_| offered) else { return Ok(()) };
        let attempt = format!("unneeded-{}", encode::hex(&entropy::bytes::<16>(&*self.entropy)));
        let note = self.unneeded(of, attempt, token);
        let mut tx = Tx::new();
        tx.insert(&note);
        let _ = self.written(self.store.commit(tx)).await?;
        let _ = tokio::time::timeout(self.waits.revocation, self.spawn_discard(note.key())).await;
        Ok(())
    }

    fn unneeded(&self, of: &ConnectionId, attempt: String, token: &SecretString) -> StrayToken {
        let now = self.clock.now();
        let key = format!("{of}/{attempt}");
        StrayToken {
            connection: of.clone(),
            attempt,
            refresh_token: self.vault.seal(StrayToken::context(&key), token.expose_str().as_bytes()),
            at: now,
            revoke_at: Some(now),
            former: None,
        }
    }

    /// Revokes a noted token, on a task of its own. Should the process die, a sweep goes on.
    pub(super) fn spawn_discard(self: &Arc<Self>, key: String) -> JoinHandle<()> {
        let inner = Arc::clone(self);
        self.spawn(async move {
            if let Err(error) = inner.discard(&key).await {
                tracing::warn!("a token that is not needed any more is not revoked yet: {error}");
            }
        })
    }

    /// Whether a noted token was revoked; its note is gone then.
    async fn discard(&self, key: &str) -> Result<bool, StoreError> {
        let turn = self.flights.turn(&format!("discard/{key}"));
        let _turn = turn.lock().await;
        let Some(note) = self.store.get::<StrayToken>(key).await? else { return Ok(false) };
        let now = self.clock.now();
        if note.revoke_at.is_none_or(|due| now < due) {
            return Ok(false);
        }
        if let Some(end) = self.spared_until(&note).await?.filter(|end| now < *end) {
            return self.put_off(&note, end).await;
        }
        let connection = self.store.get::<Connection>(note.connection.as_str()).await?;
        let token = self.vault.open(StrayToken::context(key), &note.refresh_token).ok().and_then(text_of);
        let revoked = match (&connection, &token) {
            (Some(connection), Some(token)) => {
                self.revoke_upstream(&connection.provider, token, TokenHint::RefreshToken).await
            }
            _ => false,
        };
        if !revoked && now.since(note.at) < TRIED_FOR {
            return self.put_off(&note, now.plus(AGAIN)).await;
        }
        let mut tx = Tx::new();
        tx.delete(&note);
        // Changed meanwhile: the next sweep finds it again.
        let _ = self.store.commit(tx).await?;
        if let Some(connection) = &connection {
            self.tell_discarded(connection, revoked);
        }
        Ok(revoked)
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

    async fn put_off(&self, note: &Stored<StrayToken>, until: Timestamp) -> Result<bool, StoreError> {
        let mut tx = Tx::new();
        tx.update(note, &StrayToken { revoke_at: Some(until), ..note.record().clone() });
        let _ = self.store.commit(tx).await?;
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

/// Whether the tokens of one consent can be revoked without those of another one.
pub(super) fn consents_are_apart(configured: &Configured) -> bool {
    configured.loaded.template.revoke.as_ref().is_some_and(|revoke| revoke.apart)
}
