//! Tokens of the app itself (client credentials), for routes that take no user token.

use std::sync::Arc;
use std::time::Duration;

use crate::connections::flight::Landed;
use crate::connections::judge::{self, Failure, Freshness};
use crate::connections::{Connections, Inner, LeaseError, ProviderAccess};
use crate::kernel::ids::ProviderSlug;
use crate::kernel::scope::ScopeSet;
use crate::model::provider::AppToken;
use crate::model::sealed::Sealer as _;
use crate::providers::template::ErrorClass;
use crate::store::{Committed, StoreError, Stored, Tx};

impl Connections {
    /// The provider's app token, for use at the gateway only.
    ///
    /// # Errors
    /// See [`LeaseError`].
    pub async fn app_access(&self, slug: &ProviderSlug) -> Result<ProviderAccess, LeaseError> {
        let inner = &self.inner;
        if let Some(stored) = inner.store.get::<AppToken>(slug.as_str()).await?
            && inner.app_freshness(&stored) == Freshness::Fresh
        {
            return inner.app_access_of(&stored);
        }
        let slug = slug.clone();
        match inner.fly(format!("app/{slug}"), |inner| fetch(inner, slug)).await? {
            Landed::Access(access) => Ok(access),
            Landed::Minted(_) | Landed::Settled => Err(LeaseError::StillRefreshing),
        }
    }

    /// Says that a provider's API has refused this app token: the next caller obtains another. Returns
    /// whether another one will be obtained.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn invalidate_app_token(
        &self,
        slug: &ProviderSlug,
        generation: u64,
    ) -> Result<bool, StoreError> {
        let inner = &self.inner;
        let Some(stored) = inner.store.get::<AppToken>(slug.as_str()).await? else { return Ok(false) };
        let now = inner.clock.now();
        if stored.generation != generation || judge::is_just_obtained(stored.obtained_at, now) {
            return Ok(false);
        }
        // Over, not deleted: the count of generations goes on.
        let mut tx = Tx::new();
        tx.update(&stored, &AppToken { expires_at: now, ..stored.record().clone() });
        // A conflict means that someone has obtained another one already.
        Ok(inner.patient.commit(tx).await? == Committed::Done)
    }
}

async fn fetch(inner: Arc<Inner>, slug: ProviderSlug) -> Result<Landed, LeaseError> {
    let configured = inner.configured(&slug).await?;
    if configured.loaded.template.app_token.is_none() {
        return Err(LeaseError::NoToken);
    }
    let former = inner.store.get::<AppToken>(slug.as_str()).await?;
    if let Some(stored) = &former
        && inner.app_freshness(stored) == Freshness::Fresh
    {
        return inner.app_access_of(stored).map(Landed::Access);
    }
    let gate = inner.gates.of(&slug);
    gate.admit(inner.clock.now()).map_err(|after| LeaseError::RetryLater { after })?;
    let dialled = tokio::time::timeout(inner.waits.dial, inner.dialer.app_token(&configured)).await;
    let failure = match dialled {
        Ok(Ok(tokens)) => {
            gate.worked();
            let now = inner.clock.now();
            let generation = former.as_ref().map_or(1, |stored| stored.generation.saturating_add(1));
            let context = AppToken::context(&slug, generation);
            let token = AppToken {
                provider: slug.clone(),
                token: inner.vault.seal(context, tokens.access_token.expose_str().as_bytes()),
                obtained_at: now,
                expires_at: now.plus(tokens.expires_in),
                generation,
            };
            let mut tx = Tx::new();
            // Without a condition, so there is nothing that it could conflict with.
            tx.put(&token);
            let _ = inner.written(inner.store.commit(tx)).await?;
            return inner.app_access_of(&token).map(Landed::Access);
        }
        Ok(Err(error)) => Failure::from(&error),
        Err(_) => Failure::TOO_SLOW,
    };
    if failure.is_trouble() {
        gate.failed(inner.clock.now());
    }
    // The old one may still do for a moment.
    if let Some(stored) = former.filter(|stored| inner.app_freshness(stored) == Freshness::Ending) {
        return inner.app_access_of(&stored).map(Landed::Access);
    }
    match failure.class {
        ErrorClass::Retry | ErrorClass::Unknown | ErrorClass::StaleToken => {
            let after = failure.retry_after.unwrap_or(Duration::from_secs(2));
            Err(LeaseError::RetryLater { after })
        }
        // There is no user in this: whatever the provider refuses, an administrator has to see to it.
        class => Err(LeaseError::Refused { class }),
    }
}

impl Inner {
    fn app_freshness(&self, token: &Stored<AppToken>) -> Freshness {
        judge::freshness(token.expires_at, token.obtained_at, self.clock.now(), 0)
    }

    fn app_access_of(&self, token: &AppToken) -> Result<ProviderAccess, LeaseError> {
        let context = AppToken::context(&token.provider, token.generation);
        Ok(ProviderAccess {
            token: self.opened_token(token.provider.as_str(), context, &token.token)?,
            scopes: ScopeSet::new(),
            expires_at: token.expires_at,
            generation: token.generation,
        })
    }
}
