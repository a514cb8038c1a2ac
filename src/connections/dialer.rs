//! The calls to providers that spend or make tokens: where the world begins, so that tests can script it.

use futures_util::future::BoxFuture;

use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::providers::Configured;
use crate::providers::dialect::TokenSet;
use crate::upstream::{RawAnswer, Redeemed, Redemption, Revoked, TokenHint, Upstream, UpstreamError};

/// Dials a provider's token endpoints.
pub trait Dialer: Send + Sync + 'static {
    /// Redeems an authorization code and identifies the account.
    fn redeem<'a>(
        &'a self,
        provider: &'a Configured,
        redemption: &'a Redemption,
    ) -> BoxFuture<'a, Result<Redeemed, UpstreamError>>;

    /// Spends a refresh token. What comes back is for [`Upstream::read`].
    fn refresh<'a>(
        &'a self,
        provider: &'a Configured,
        token: &'a SecretString,
        scopes: Option<&'a ScopeSet>,
    ) -> BoxFuture<'a, Result<RawAnswer, UpstreamError>>;

    /// Obtains a token of the app itself.
    fn app_token<'a>(&'a self, provider: &'a Configured) -> BoxFuture<'a, Result<TokenSet, UpstreamError>>;

    /// Revokes a token.
    fn revoke<'a>(
        &'a self,
        provider: &'a Configured,
        token: &'a SecretString,
        hint: TokenHint,
    ) -> BoxFuture<'a, Result<Revoked, UpstreamError>>;
}

impl Dialer for Upstream {
    fn redeem<'a>(
        &'a self,
        provider: &'a Configured,
        redemption: &'a Redemption,
    ) -> BoxFuture<'a, Result<Redeemed, UpstreamError>> {
        Box::pin(Upstream::redeem(self, provider, redemption))
    }

    fn refresh<'a>(
        &'a self,
        provider: &'a Configured,
        token: &'a SecretString,
        scopes: Option<&'a ScopeSet>,
    ) -> BoxFuture<'a, Result<RawAnswer, UpstreamError>> {
        Box::pin(Upstream::refresh(self, provider, token, scopes))
    }

    fn app_token<'a>(&'a self, provider: &'a Configured) -> BoxFuture<'a, Result<TokenSet, UpstreamError>> {
        Box::pin(Upstream::app_token(self, provider))
    }

    fn revoke<'a>(
        &'a self,
        provider: &'a Configured,
        token: &'a SecretString,
        hint: TokenHint,
    ) -> BoxFuture<'a, Result<Revoked, UpstreamError>> {
        Box::pin(Upstream::revoke(self, provider, token, hint))
    }
}
