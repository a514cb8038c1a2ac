//! Revocation (RFC 7009) of tokens that we issued or handed on, by the agent that holds them.

use crate::agents::Authenticated;
use crate::connections::GrantError;
use crate::model::agent::Agent;
use crate::model::event::{EventDraft, EventKind};
use crate::model::token::RevokedToken;
use crate::store::Tx;
use crate::tokens::{Params, TokenError, Tokens, VerifyError};

impl Tokens {
    /// Revokes a token. A token that is not the caller's, or not ours, is answered in the same way:
    /// there is nothing to revoke.
    ///
    /// # Errors
    /// `invalid_request` without a token, or that it cannot be made durable.
    pub async fn revoke(&self, agent: &Authenticated<Agent>, params: Params<'_>) -> Result<(), TokenError> {
        let token = params.require("token")?;
        let verified = match self.standing(token).await {
            Ok(verified) if verified.agent.id == agent.id => verified,
            Ok(_) => return Ok(()),
            Err(VerifyError::Store(error)) => return Err(error.into()),
            Err(_) => {
                return match self.connections.give_back(&agent.id, token).await {
                    // A token that is nobody's, or another agent's, is answered in the same way.
                    Ok(_) => Ok(()),
                    Err(GrantError::Store(error)) => Err(error.into()),
                    Err(GrantError::Audit(error)) => Err(error.into()),
                    Err(
                        GrantError::NotFound
                        | GrantError::UnknownConnection
                        | GrantError::Empty
                        | GrantError::TooManyLimits,
                    ) => Ok(()),
                };
            }
        };
        let claims = verified.claims;
        self.audit
            .record(EventDraft {
                agent: Some(claims.agent),
                user: Some(claims.user),
                provider: Some(claims.provider),
                grant: Some(claims.grant),
                ..EventDraft::new(EventKind::Revocation, "token.revoked")
            })
            .await?;
        let mut tx = Tx::new();
        tx.put(&RevokedToken { token: claims.token, expires_at: claims.expires_at });
        // Unconditional: there is nothing that it could conflict with.
        let _ = self.store.commit(tx).await?;
        Ok(())
    }
}
