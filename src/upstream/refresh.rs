//! Spending refresh tokens, and tokens of the app itself.

use std::time::Duration;

use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::{SecretBytes, SecretString};
use crate::providers::Configured;
use crate::providers::dialect::{TokenGrant, TokenSet, parse_token_answer, token_call};
use crate::providers::template::TokenEndpoint;
use crate::upstream::Upstream;
use crate::upstream::dial::{DEADLINE, REFRESH_DEADLINE};
use crate::upstream::failure::{self, UpstreamError};

/// What a token endpoint has answered, as it came. The body is wiped when dropped.
#[derive(Debug)]
pub struct RawAnswer {
    /// HTTP status.
    pub status: u16,
    /// When the provider wants to be asked again.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: SecretBytes,
}

impl RawAnswer {
    /// Whether the status is 2xx: only such an answer can hold tokens.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Upstream {
    /// Spends a refresh token; with scopes, for an access token that holds only those where the provider
    /// can narrow. The answer is not looked at: it can be made durable before [`Upstream::read`] reads it.
    ///
    /// # Errors
    /// The error's `delivered` says whether the token may have been spent.
    pub async fn refresh(
        &self,
        configured: &Configured,
        token: &SecretString,
        scopes: Option<&ScopeSet>,
    ) -> Result<RawAnswer, UpstreamError> {
        if configured.loaded.template.refresh.is_none() {
            return Err(UpstreamError::not_offered("this provider has no refresh tokens"));
        }
        let endpoint = self.token_endpoint(configured).await?;
        let grant = TokenGrant::RefreshToken { token, scopes };
        self.answer_to(configured, &endpoint, &grant, REFRESH_DEADLINE).await
    }

    /// Reads what [`Upstream::refresh`] brought.
    ///
    /// # Errors
    /// When it holds no usable tokens.
    pub fn read(configured: &Configured, answer: &RawAnswer) -> Result<TokenSet, UpstreamError> {
        let template = &configured.loaded.template;
        let format = template.token.as_ref().map(|endpoint| endpoint.answer.clone()).unwrap_or_default();
        parse_token_answer(&format, template, answer.status, &answer.body)
            .map_err(|failure| UpstreamError::token(failure, answer.retry_after))
    }

    /// Obtains a token of the app itself.
    ///
    /// # Errors
    /// When the provider gives none.
    pub async fn app_token(&self, configured: &Configured) -> Result<TokenSet, UpstreamError> {
        self.admit(configured);
        let endpoint = configured.loaded.template.app_token.as_ref();
        let endpoint =
            endpoint.ok_or_else(|| UpstreamError::not_offered("this provider has no tokens for apps"))?;
        self.obtain(configured, endpoint, &TokenGrant::ClientCredentials, DEADLINE).await
    }

    pub(super) async fn token_endpoint(
        &self,
        configured: &Configured,
    ) -> Result<TokenEndpoint, UpstreamError> {
        let endpoint = self.endpoints(configured).await?.token;
        endpoint.ok_or_else(|| UpstreamError::not_offered("this provider has no tokens for users"))
    }

    pub(super) async fn obtain(
        &self,
        configured: &Configured,
        endpoint: &TokenEndpoint,
        grant: &TokenGrant<'_>,
        deadline: Duration,
    ) -> Result<TokenSet, UpstreamError> {
        let answer = self.answer_to(configured, endpoint, grant, deadline).await?;
        parse_token_answer(&endpoint.answer, &configured.loaded.template, answer.status, &answer.body)
            .map_err(|failure| UpstreamError::token(failure, answer.retry_after))
    }

    async fn answer_to(
        &self,
        configured: &Configured,
        endpoint: &TokenEndpoint,
        grant: &TokenGrant<'_>,
        deadline: Duration,
    ) -> Result<RawAnswer, UpstreamError> {
        let answer = self.dial_token(token_call(endpoint, configured, grant), deadline).await?;
        let retry_after = failure::retry_after(&answer.headers, self.now());
        Ok(RawAnswer { status: answer.status, retry_after, body: answer.body })
    }
}
