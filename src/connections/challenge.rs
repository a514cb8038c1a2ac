//! A provider's API demands a fresh sign-in: no refresh helps, only the user.

use crate::connections::{Connections, judge};
use crate::kernel::ids::ConnectionId;
use crate::model::connection::{Connection, ConnectionState, ReauthReason};
use crate::model::event::Outcome;
use crate::store::StoreError;

impl Connections {
    /// Notes that the provider's API has refused this access token until the user signs in again. Does
    /// nothing when another token has taken its place meanwhile.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn needs_sign_in(&self, id: &ConnectionId, generation: u64) -> Result<(), StoreError> {
        let inner = &self.inner;
        let Some(stored) = inner.store.get::<Connection>(id.as_str()).await? else { return Ok(()) };
        let is_it = stored.access.as_ref().is_some_and(|access| access.generation == generation);
        if !is_it || stored.state != ConnectionState::Active || stored.intent.is_some() {
            return Ok(());
        }
        let after = judge::needs_reauth(&stored, ReauthReason::StepUp, inner.clock.now());
        if inner.change(&stored, &after).await? {
            let words = "the provider's API wants the user to sign in again";
            inner.tell(&stored, Outcome::Failed, words).await;
        }
        Ok(())
    }
}
