//! Redeeming a code: tokens, and whose they are.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use crate::kernel::secret::SecretString;
use crate::model::connection::Account;
use crate::providers::Configured;
use crate::providers::dialect::{TokenGrant, TokenHint, TokenSet};
use crate::providers::template::IdentitySource;
use crate::upstream::Upstream;
use crate::upstream::dial::DEADLINE;
use crate::upstream::endpoints::Endpoints;
use crate::upstream::failure::{IdTokenProblem, UpstreamError};
use crate::upstream::id_token::IdClaims;
use crate::upstream::identity;

/// A code to be redeemed, with what its transaction remembers.
#[derive(Debug)]
pub struct Redemption {
    /// The code.
    pub code: SecretString,
    /// The redirect URI of the authorization request.
    pub redirect_uri: Url,
    /// The PKCE verifier, where PKCE was used.
    pub verifier: Option<SecretString>,
    /// The nonce, where an ID token is expected.
    pub nonce: Option<String>,
    /// Whether this is a sign-in to Valetkey.
    pub login: bool,
}

/// What a code was good for.
#[derive(Debug)]
pub struct Redeemed {
    /// The tokens. Where the provider issues none for users (`identity.source = "code"`), the access
    /// token is empty and has expired.
    pub tokens: TokenSet,
    /// Whose they are.
    pub account: Account,
    /// What the ID token says, where the identity comes from one.
    pub id_claims: Option<IdClaims>,
}

impl Upstream {
    /// Redeems a code and identifies the account.
    ///
    /// # Errors
    /// When the provider refuses the code, or the account cannot be identified, or it is another
    /// company's (`Cause::CompanyMismatch`). Tokens that were received by then are revoked, as far as the
    /// provider can, and dropped.
    pub async fn redeem(
        &self,
        configured: &Configured,
        redemption: &Redemption,
    ) -> Result<Redeemed, UpstreamError> {
        let template = &configured.loaded.template;
        let source = template.identity.source;
        if redemption.login && source != IdentitySource::IdToken {
            return Err(UpstreamError::not_offered(
                "this provider issues no ID tokens, so nobody can sign in with it",
            ));
        }
        let endpoints = self.endpoints(configured).await?;
        if source == IdentitySource::Code {
            let mut account = self.account_by_code(configured, &redemption.code).await?;
            self.look_up_pins(configured, &mut account).await?;
            return Ok(Redeemed { tokens: no_tokens(), account, id_claims: None });
        }
        let endpoint = endpoints.token.as_ref();
        let endpoint =
            endpoint.ok_or_else(|| UpstreamError::not_offered("this provider has no tokens for users"))?;
        let grant = TokenGrant::AuthorizationCode {
            code: &redemption.code,
            verifier: redemption.verifier.as_ref(),
            redirect_uri: redemption.redirect_uri.as_str(),
        };
        let tokens = self.obtain(configured, endpoint, &grant, DEADLINE).await?;
        match self.identify(configured, &endpoints, redemption, &tokens).await {
            Ok((account, id_claims)) => Ok(Redeemed { tokens, account, id_claims }),
            Err(error) => {
                self.give_back(configured, &tokens).await;
                Err(error)
            }
        }
    }

    async fn identify(
        &self,
        configured: &Configured,
        endpoints: &Endpoints,
        redemption: &Redemption,
        tokens: &TokenSet,
    ) -> Result<(Account, Option<IdClaims>), UpstreamError> {
        let (mut account, id_claims) =
            if configured.loaded.template.identity.source == IdentitySource::IdToken {
                let (account, claims) =
                    self.account_by_id_token(configured, endpoints, redemption, tokens).await?;
                (account, Some(claims))
            } else {
                (self.account_by_userinfo(configured, &endpoints.userinfo, tokens).await?, None)
            };
        if !redemption.login {
            self.look_up_pins(configured, &mut account).await?;
        }
        Ok((account, id_claims))
    }

    async fn account_by_id_token(
        &self,
        configured: &Configured,
        endpoints: &Endpoints,
        redemption: &Redemption,
        tokens: &TokenSet,
    ) -> Result<(Account, IdClaims), UpstreamError> {
        let missing = || UpstreamError::id_token(IdTokenProblem::Missing);
        let token = tokens.id_token.as_ref().ok_or_else(missing)?;
        // INVARIANT: an ID token is only ever taken with the nonce of its own transaction.
        let no_nonce = || UpstreamError::id_token(IdTokenProblem::Nonce);
        let nonce = redemption.nonce.as_deref().ok_or_else(no_nonce)?;
        let audience = [configured.client_id.clone()];
        let verified = self
            .check_id_token(
                configured,
                endpoints,
                token.expose_str(),
                &audience,
                Some(nonce),
                Some(&tokens.access_token),
            )
            .await?;
        let members = identity::read(&verified.payload)?;
        let account = identity::account(configured, &members, Some(tokens), &endpoints.issuer)?;
        Ok((account, verified.claims))
    }

    /// Revokes tokens that nobody will keep.
    async fn give_back(&self, configured: &Configured, tokens: &TokenSet) {
        let given_back = match &tokens.refresh_token {
            Some(token) => self.revoke(configured, token, TokenHint::RefreshToken).await,
            None => self.revoke(configured, &tokens.access_token, TokenHint::AccessToken).await,
        };
        if given_back.is_err() {
            tracing::warn!(provider = %configured.slug, "tokens of an account that was refused could not be revoked");
        }
    }
}

fn no_tokens() -> TokenSet {
    TokenSet {
        access_token: SecretString::new(String::new()),
        refresh_token: None,
        expires_in: Duration::ZERO,
        refresh_expires_in: None,
        scopes: None,
        id_token: None,
        extra: BTreeMap::new(),
    }
}
