//! Making the token that leaves. Takes a recorded permit: nothing is released before its decision is
//! durable (invariant 4).

use crate::connections::{LeaseError, ReleasableToken};
use crate::kernel::encode;
use crate::kernel::entropy;
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::interaction::RequestedToken;
use crate::model::stop::StopTarget;
use crate::model::token::{Binding, GatewayClaims};
use crate::policy::{Permit, Recorded};
use crate::tokens::answer::{IssuedToken, TokenAnswer};
use crate::tokens::{GATEWAY_TOKEN_LIFE, RequestInfo, TokenError, Tokens};

/// Why no token was made.
pub(super) enum Unminted {
    /// The provider has refused what it granted: only the person can repair the connection. The store knows
    /// it by now, so that deciding again says so.
    NeedsPerson,
    /// Anything else.
    Error(TokenError),
}

impl From<TokenError> for Unminted {
    fn from(error: TokenError) -> Self {
        Self::Error(error)
    }
}

impl Tokens {
    pub(super) async fn mint(
        &self,
        permit: Recorded<Permit>,
        wanted: RequestedToken,
        task: Option<String>,
        info: &RequestInfo,
    ) -> Result<TokenAnswer, Unminted> {
        // Invariant 2: with limits, nothing that the gateway does not see may leave. Nor where a token must be
        // bound to its holder: providers' tokens are not.
        if wanted == RequestedToken::Provider && permit.limits().is_empty() && !info.bound_only {
            match self.connections.lease_for_grant(permit.grant(), permit.scopes()).await {
                Ok(Some(token)) => {
                    self.still_standing(&permit).await?;
                    return Ok(self.provider_answer(&permit, token));
                }
                Ok(None) => {}
                Err(error) => {
                    self.outcome(&permit, "token.provider", Outcome::Failed);
                    if let LeaseError::NeedsReauth(_) = error {
                        return Err(Unminted::NeedsPerson);
                    }
                    return Err(TokenError::from(error).with_event(permit.event().clone()).into());
                }
            }
        }
        Ok(self.gateway_answer(&permit, task, info.binding.clone())?)
    }

    /// A provider token may have taken seconds to come, and nobody asks us again once it has left: a stop or a
    /// suspension that came meanwhile still counts (invariant 7). The grant itself is checked in
    /// the commit that keeps the token.
    async fn still_standing(&self, permit: &Recorded<Permit>) -> Result<(), TokenError> {
        let agent = self.agents.get(permit.agent()).await?.ok_or_else(TokenError::invalid_client)?;
        let configured = self.connections.configured(permit.provider()).await?;
        let judged = self.decider.may_be_granted(&agent, permit.user(), &configured, permit.scopes()).await?;
        let Err(refusal) = judged else { return Ok(()) };
        self.outcome(permit, "token.provider", Outcome::Failed);
        let target = StopTarget::Agent(permit.agent().clone());
        let connections = self.connections.clone();
        tokio::spawn(async move {
            if let Err(error) = connections.revoke_tokens_under(&target).await {
                tracing::warn!(%error, "a provider token that was not released lives on until it expires");
            }
        });
        Err(TokenError::refused(&refusal).with_event(permit.event().clone()))
    }

    fn provider_answer(&self, permit: &Recorded<Permit>, token: ReleasableToken) -> TokenAnswer {
        self.outcome(permit, "token.provider", Outcome::Done);
        TokenAnswer {
            expires_in: self.clock.now().until(token.expires_at),
            token: IssuedToken::Provider { token: token.token },
            token_type: Binding::token_type(None),
            scope: token.scopes,
            grant: permit.grant_id().clone(),
            limits: permit.limits().to_vec(),
            event: permit.event().clone(),
        }
    }

    fn gateway_answer(
        &self,
        permit: &Recorded<Permit>,
        task: Option<String>,
        binding: Option<Binding>,
    ) -> Result<TokenAnswer, TokenError> {
        let now = self.clock.now();
        let expires_at = now.plus(GATEWAY_TOKEN_LIFE).min(permit.grant().expires_at);
        let claims = GatewayClaims {
            token: encode::hex(&entropy::identifier::<16>(self.entropy.as_ref())),
            agent: permit.agent().clone(),
            user: permit.user().clone(),
            provider: permit.provider().clone(),
            grant: permit.grant_id().clone(),
            scopes: permit.scopes().clone(),
            limits: permit.limits_beside_grant(),
            issued_at: now,
            expires_at,
            task,
            binding,
        };
        let payload = serde_json::to_vec(&claims)
            .map_err(|_| TokenError::unavailable("the token could not be made", GATEWAY_TOKEN_LIFE))?;
        self.outcome(permit, "token.gateway", Outcome::Done);
        Ok(TokenAnswer {
            token: IssuedToken::Gateway {
                token: self.vault.seal_token(&payload),
                gateway: self.at(&format!("/gateway/{}", permit.provider())),
            },
            token_type: Binding::token_type(claims.binding.as_ref()),
            expires_in: now.until(expires_at),
            scope: permit.scopes().clone(),
            grant: permit.grant_id().clone(),
            limits: permit.limits().to_vec(),
            event: permit.event().clone(),
        })
    }

    fn outcome(&self, permit: &Recorded<Permit>, action: &str, outcome: Outcome) {
        self.audit.record_soon(EventDraft {
            agent: Some(permit.agent().clone()),
            grant: Some(permit.grant_id().clone()),
            refers_to: Some(permit.event().clone()),
            outcome: Some(outcome),
            ..EventDraft::new(EventKind::TokenOutcome, action)
        });
    }
}
