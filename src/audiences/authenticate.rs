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

impl Audiences {
    /// Checks a client id and secret; `None` for an unknown id, a wrong secret and a disabled audience alike.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn authenticate(
        &self,
        id: &AudienceId,
        secret: &str,
    ) -> Result<Option<AuthenticatedAudience>, StoreError> {
        // What an unknown id is compared with, so that it takes the same time.
        const NOBODY: TokenDigest = TokenDigest::from_bytes([0x5a; 32]);
        let presented = self.vault.digest(BearerKind::AudienceSecret, secret);
        let found = self.get(id).await?;
        let expected = found.as_ref().map_or(&NOBODY, |audience| &audience.secret);
        let matches = expected.matches(&presented) & found.is_some();
        Ok(found
            .filter(|audience| matches && audience.state == AudienceState::Active)
            .map(AuthenticatedAudience))
    }
}
