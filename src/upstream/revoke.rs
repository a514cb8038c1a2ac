//! Revoking tokens (RFC 7009).

use crate::kernel::secret::SecretString;
use crate::providers::Configured;
use crate::providers::dialect::{TokenHint, explain, revoke_call};
use crate::providers::template::{ErrorClass, ErrorPlace};
use crate::upstream::Upstream;
use crate::upstream::dial::DEADLINE;
use crate::upstream::failure::{self, Cause, UpstreamError};

/// What came of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The token no longer works.
    Done,
    /// The provider cannot revoke such a token; it lives out its time.
    NotOffered,
}

impl Upstream {
    /// Revokes a token.
    ///
    /// # Errors
    /// When the provider could not be asked or said no; trying again is safe.
    pub async fn revoke(
        &self,
        configured: &Configured,
        token: &SecretString,
        hint: TokenHint,
    ) -> Result<Revoked, UpstreamError> {
        let Some(mut call) = revoke_call(configured, token, hint) else { return Ok(Revoked::NotOffered) };
        let url = self.endpoints(configured).await?.revoke;
        if url.is_empty() {
            return Ok(Revoked::NotOffered);
        }
        call.url = SecretString::new(url);
        let answer = self.dial_token(call, DEADLINE).await?;
        let template = &configured.loaded.template;
        let ok = template.revoke.as_ref().and_then(|revoke| revoke.ok.as_ref());
        let found = explain(template, ErrorPlace::Token, answer.status, answer.body.expose(), ok);
        if found.is_none() && answer.is_success() {
            return Ok(Revoked::Done);
        }
        let class = found.as_ref().map_or(ErrorClass::Unknown, |found| found.class);
        let mut error = UpstreamError::new(class, Cause::Provider, "the provider did not revoke the token");
        error.code = found.and_then(|found| found.code);
        error.retry_after = failure::retry_after(&answer.headers, self.now());
        Err(error)
    }
}
