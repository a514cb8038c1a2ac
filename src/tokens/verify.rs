//! Reading a gateway token back.

use crate::agents::{AuthError, Authenticated, Presented};
use crate::model::agent::Agent;
use crate::model::token::{GatewayClaims, RevokedToken};
use crate::store::StoreError;
use crate::tokens::Tokens;

/// A gateway token that is ours, alive, and whose agent may act.
#[derive(Debug)]
pub struct VerifiedToken {
    /// What it says.
    pub claims: GatewayClaims,
    /// Who holds it: proven by the token.
    pub agent: Authenticated<Agent>,
}

/// Why a token does not work.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Not ours, changed, expired, revoked, or its agent may not act: the same words for all.
    #[error("the token is missing, unknown, expired or revoked: obtain a new one by token exchange")]
    Invalid,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Tokens {
    /// Checks a gateway token. Whether its grant still holds is the pipeline's to say.
    ///
    /// # Errors
    /// When it does not work, or the store cannot be read.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let opened = self.vault.open_token(token).ok_or(VerifyError::Invalid)?;
        let presented = Presented::read(&opened).ok_or(VerifyError::Invalid)?;
        let claims = presented.claims();
        if self.clock.now() >= claims.expires_at {
            return Err(VerifyError::Invalid);
        }
        if self.store.get::<RevokedToken>(&claims.token).await?.is_some() {
            return Err(VerifyError::Invalid);
        }
        match self.agents.authenticate_by_token(&presented).await {
            Ok(agent) => Ok(VerifiedToken { claims: presented.into_claims(), agent }),
            Err(AuthError::Store(error)) => Err(error.into()),
            Err(_) => Err(VerifyError::Invalid),
        }
    }

    /// Whether what a token has begun may go on: it was not revoked, and its agent may act. That it has
    /// expired meanwhile does not matter. Whether its grant still holds is the pipeline's to say.
    ///
    /// # Errors
    /// When it may not go on, or the store cannot be read.
    pub async fn still_holds(&self, verified: &VerifiedToken) -> Result<Authenticated<Agent>, VerifyError> {
        if self.store.get::<RevokedToken>(&verified.claims.token).await?.is_some() {
            return Err(VerifyError::Invalid);
        }
        match self.agents.still_authenticated(&verified.agent).await {
            Ok(agent) => Ok(agent),
            Err(AuthError::Store(error)) => Err(error.into()),
            Err(_) => Err(VerifyError::Invalid),
        }
    }
}
