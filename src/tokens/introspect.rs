//! Introspection (RFC 7662) of tokens that we issued, for the agent that holds them.

use serde::Serialize;

use crate::agents::Authenticated;
use crate::model::agent::Agent;
use crate::model::grant::Grant;
use crate::tokens::{Params, TokenError, Tokens, VerifyError};

/// An introspection answer. For any token that is not the caller's own it says `active: false` only.
#[derive(Debug, Default, Serialize)]
pub struct Introspection {
    /// Whether the token works now.
    pub active: bool,
    /// What it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// Where it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// Who issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// When it ends, in seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// When it was issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// Its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<&'static str>,
    /// The grant that it stands on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<String>,
}

impl Tokens {
    /// Says whether a token of the calling agent works.
    ///
    /// # Errors
    /// `invalid_request` without a token, or that the store does not answer.
    pub async fn introspect(
        &self,
        agent: &Authenticated<Agent>,
        params: Params<'_>,
    ) -> Result<Introspection, TokenError> {
        let verified = match self.verify(params.require("token")?).await {
            Ok(verified) if verified.agent.id == agent.id => verified,
            Ok(_) | Err(VerifyError::Invalid) => return Ok(Introspection::default()),
            Err(VerifyError::Store(error)) => return Err(error.into()),
        };
        let claims = verified.claims;
        let grant = self.store.get::<Grant>(claims.grant.as_str()).await?;
        let Some(grant) = grant.filter(|grant| grant.is_live(self.clock.now())) else {
            return Ok(Introspection::default());
        };
        let stops = self.store.get::<crate::model::stop::Stops>(crate::model::stop::Stops::KEY).await?;
        let stopped = stops.is_some_and(|stops| {
            stops.refusing(&agent.id, Some(&claims.user), Some(&claims.provider)).is_some()
        });
        if stopped {
            return Ok(Introspection::default());
        }
        Ok(Introspection {
            active: true,
            scope: Some(claims.scopes.intersection(&grant.scopes).to_string()),
            client_id: Some(claims.agent.to_string()),
            sub: Some(claims.user.to_string()),
            aud: Some(self.at(&format!("/gateway/{}", claims.provider))),
            iss: Some(self.issuer.as_str().trim_end_matches('/').to_owned()),
            exp: Some(claims.expires_at.secs()),
            iat: Some(claims.issued_at.secs()),
            token_type: Some("Bearer"),
            grant_id: Some(claims.grant.to_string()),
        })
    }
}
