//! Revocation (RFC 7009) of tokens that we issued or handed on, by the agent that holds them.

use serde_json::Value;

use crate::agents::Authenticated;
use crate::connections::GrantError;
use crate::kernel::clock::Timestamp;
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
            Err(_) if self.revoke_delegation(agent, token).await? => return Ok(()),
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
        let event = EventDraft {
            agent: Some(claims.agent),
            user: Some(claims.user),
            provider: Some(claims.provider),
            grant: Some(claims.grant),
            ..EventDraft::new(EventKind::Revocation, "token.revoked")
        };
        self.end_token(event, RevokedToken { token: claims.token, expires_at: claims.expires_at }).await
    }

    /// Revokes a delegation JWT of this agent, for whoever asks us about it: a back end that introspects, and
    /// this endpoint where a sub-agent shows it. Says whether it was one.
    async fn revoke_delegation(&self, agent: &Authenticated<Agent>, token: &str) -> Result<bool, TokenError> {
        let Some(claims) = self.keys.open(token).await? else { return Ok(false) };
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let (Some(jti), Some(end)) = (text("jti"), claims.get("exp").and_then(Value::as_i64)) else {
            return Ok(false);
        };
        if text("client_id") != Some(agent.id.as_str()) {
            return Ok(false);
        }
        let event = EventDraft {
            agent: Some(agent.id.clone()),
            user: text("sub").and_then(|sub| sub.parse().ok()),
            ..EventDraft::new(EventKind::Revocation, "token.revoked")
        };
        let ended = RevokedToken { token: jti.to_owned(), expires_at: Timestamp::from_secs(end) };
        self.end_token(event, ended).await?;
        Ok(true)
    }

    async fn end_token(&self, event: EventDraft, ended: RevokedToken) -> Result<(), TokenError> {
        self.audit.record(event).await?;
        let mut tx = Tx::new();
        tx.put(&ended);
        // Unconditional: there is nothing that it could conflict with.
        let _ = self.store.commit(tx).await?;
        Ok(())
    }
}
