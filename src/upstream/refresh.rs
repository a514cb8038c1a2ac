//! Spending refresh tokens, and tokens of the app itself.

use std::time::Duration;

use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::providers::Configured;
use crate::providers::dialect::{TokenGrant, TokenSet, parse_token_answer, token_call};
use crate::providers::template::TokenEndpoint;
use crate::upstream::Upstream;
use crate::upstream::dial::{DEADLINE, REFRESH_DEADLINE};
use crate::upstream::failure::UpstreamError;

impl Upstream {
    /// Spends a refresh token; with scopes, for an access token that holds only those where the provider
    /// can narrow.
    ///
    /// # Errors
    /// The error's `delivered` says whether the token may have been spent.
    pub async fn refresh(
        &self,
        configured: &Configured,
        token: &SecretString,
        scopes: Option<&ScopeSet>,
    ) -> Result<TokenSet, UpstreamError> {
        if configured.loaded.template.refresh.is_none() {
            return Err(UpstreamError::not_offered("this provider has no refresh tokens"));
        }
        let endpoint = self.token_endpoint(configured).await?;
        let grant = TokenGrant::RefreshToken { token, scopes };
        self.obtain(configured, &endpoint, &grant, REFRESH_DEADLINE).await
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
        let answer = self.dial_token(token_call(endpoint, configured, grant), deadline).await?;
        parse_token_answer(endpoint, &configured.loaded.template, answer.status, &answer.body)
            .map_err(|failure| UpstreamError::token(failure, &answer, self.now()))
    }
}
