//! Who a back end proves to be: its credentials work at introspection only.

use std::ops::Deref;

use crate::audiences::Audiences;
use crate::kernel::bearer::{BearerKind, TokenDigest};
use crate::kernel::ids::AudienceId;
use crate::model::audience::{Audience, AudienceState};
use crate::store::{StoreError, Stored};

/// Proof that a back end is who it says; made here only.
#[derive(Debug)]
pub struct AuthenticatedAudience(Stored<Audience>);

impl Deref for AuthenticatedAudience {
    type Target = Audience;

    fn deref(&self) -> &Audience {
        &self.0
    }
}

/// Why a back end was not let in.
#[derive(Debug, thiserror::Error)]
pub enum AudienceAuthError {
    /// No such back end, a wrong secret, or a disabled one: deliberately one answer.
    #[error("the back end is not known, or its secret is wrong")]
    Unknown,
    /// Too many wrong attempts; seconds to wait.
    #[error("too many wrong attempts; try again in {0} s")]
    Throttled(u64),
    /// The store could not be used.
    #[error("the store could not be used")]
    Store(#[from] StoreError),
}

impl Audiences {
    /// Checks a client id and secret.
    ///
    /// # Errors
    /// One for an unknown id, a wrong secret and a disabled audience alike; after too many of those, a time to
    /// wait. Only failures are charged, so that nobody can lock a back end out by guessing in its name.
    pub async fn authenticate(
        &self,
        id: &AudienceId,
        secret: &str,
    ) -> Result<AuthenticatedAudience, AudienceAuthError> {
        // What an unknown id is compared with, so that it takes the same time.
        const NOBODY: TokenDigest = TokenDigest::from_bytes([0x5a; 32]);
        let presented = self.vault.digest(BearerKind::AudienceSecret, secret);
        let found = self.get(id).await?;
        let expected = found.as_ref().map_or(&NOBODY, |audience| &audience.secret);
        let matches = expected.matches(&presented) & found.is_some();
        let proven = found.filter(|audience| matches && audience.state == AudienceState::Active);
        proven.map(AuthenticatedAudience).ok_or_else(|| {
            match self.throttle.charge(&self.vault.digest(BearerKind::AudienceSecret, id.as_str())) {
                Some(wait) => AudienceAuthError::Throttled(wait),
                None => AudienceAuthError::Unknown,
            }
        })
    }
}
