//! Introspection (RFC 7662) of tokens that we issued, for the agent that holds them.

use serde::Serialize;
use serde_json::{Value, json};

use crate::agents::Authenticated;
use crate::audiences::AuthenticatedAudience;
use crate::connections::ConnectionError;
use crate::model::agent::Agent;
use crate::model::limit::Limit;
use crate::model::token::Binding;
use crate::policy::{Action, Decision, Request};
use crate::tokens::{Params, TokenError, Tokens, VerifyError, dpop};

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
    /// What it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Binding>,
    /// The grant that it stands on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_id: Option<String>,
    /// The limits in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<Limit>,
}

/// Who asks about a token: proven.
pub enum Introspector<'a> {
    /// The agent that holds it.
    Agent(&'a Authenticated<Agent>),
    /// The back end that was shown it.
    Audience(&'a AuthenticatedAudience),
}

impl Tokens {
    /// Says to a back end, or to the agent that holds it, whether a delegation JWT is worth anything now.
    /// Anybody else is told that it is not.
    ///
    /// # Errors
    /// `invalid_request` without a token, or that the store does not answer.
    pub async fn introspect_delegation(
        &self,
        caller: &Introspector<'_>,
        params: Params<'_>,
    ) -> Result<Value, TokenError> {
        let claims = self.standing_delegation(params.require("token")?).await?;
        let is_theirs = |claims: &Value| match caller {
            Introspector::Agent(agent) => {
                claims.get("client_id").and_then(Value::as_str) == Some(agent.id.as_str())
            }
            Introspector::Audience(audience) => {
                claims.get("aud").and_then(Value::as_str) == Some(audience.identifier.as_str())
            }
        };
        let Some(Value::Object(mut members)) = claims.filter(is_theirs) else {
            return Ok(json!({ "active": false }));
        };
        members.insert("active".to_owned(), true.into());
        let is_dpop = members.get("cnf").is_some_and(|binding| binding.get("jkt").is_some());
        let token_type = if is_dpop { dpop::SCHEME } else { "Bearer" };
        members.insert("token_type".to_owned(), token_type.into());
        Ok(members.into())
    }

    /// Says whether a token of the calling agent works.
    ///
    /// # Errors
    /// `invalid_request` without a token, or that the store does not answer.
    pub async fn introspect(
        &self,
        agent: &Authenticated<Agent>,
        params: Params<'_>,
    ) -> Result<Introspection, TokenError> {
        let verified = match self.standing(params.require("token")?).await {
            Ok(verified) if verified.agent.id == agent.id => verified,
            Err(VerifyError::Store(error)) => return Err(error.into()),
            Ok(_) | Err(_) => return Ok(Introspection::default()),
        };
        let claims = verified.claims;
        if verified.agent.entry.sender_constrained && claims.binding.is_none() {
            return Ok(Introspection::default());
        }
        let configured = match self.connections.configured(&claims.provider).await {
            Ok(configured) => configured,
            Err(ConnectionError::Store(error)) => return Err(error.into()),
            Err(_) => return Ok(Introspection::default()),
        };
        // What the token is worth is the pipeline's to say; nothing is released on this permit.
        let request = Request {
            agent: &verified.agent,
            user: &claims.user,
            provider: &configured,
            action: Action::Collect { grant: &claims.grant, limits: &claims.limits },
        };
        let Decision::Permit(permit) = self.decider.decide(&request).await? else {
            return Ok(Introspection::default());
        };
        let permit = permit.narrowed_to(&claims.scopes);
        if permit.scopes().is_empty() {
            return Ok(Introspection::default());
        }
        Ok(Introspection {
            active: true,
            scope: Some(permit.scopes().to_string()),
            client_id: Some(claims.agent.to_string()),
            sub: Some(claims.user.to_string()),
            aud: Some(self.at(&format!("/gateway/{}", claims.provider))),
            iss: Some(self.issuer.as_str().trim_end_matches('/').to_owned()),
            exp: Some(claims.expires_at.secs()),
            iat: Some(claims.issued_at.secs()),
            token_type: Some(Binding::token_type(claims.binding.as_ref())),
            cnf: claims.binding,
            grant_id: Some(claims.grant.to_string()),
            authorization_details: permit.limits().to_vec(),
        })
    }
}
