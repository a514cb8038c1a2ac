//! Who the user is (`subject_token`), and whether this agent may act for them (invariant 3).

use std::time::Duration;

use crate::agents::Authenticated;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::model::agent::{Agent, AgentKind};
use crate::model::user::{User, email_index, subject_index};
use crate::providers::template::ErrorClass;
use crate::tokens::{
    Params, RequestInfo, SUBJECT_TOKEN_AGE, TYPE_ID_TOKEN, TYPE_JWT, TYPE_USER, TokenError, Tokens,
};

/// One body for every refused user, existing or not: an agent cannot probe who works here.
fn not_this_user() -> TokenError {
    TokenError::invalid_request("subject_token does not name a user that this agent may act for")
}

/// One body for every refused proof of presence.
fn not_this_token() -> TokenError {
    TokenError::invalid_request(
        "subject_token is not a fresh token of a trusted issuer for a known user, made for this agent's audience",
    )
}

/// Who a request is for.
pub(super) struct Subject {
    /// The user.
    pub user: UserId,
    /// When they last proved who they are, as far as somebody says so.
    pub auth_time: Option<Timestamp>,
}

impl Tokens {
    /// The user that the request is for.
    pub(super) async fn subject(
        &self,
        agent: &Authenticated<Agent>,
        params: Params<'_>,
        info: &RequestInfo,
    ) -> Result<Subject, TokenError> {
        if let Some(vouched) = &info.vouched {
            return Ok(Subject { user: vouched.user().clone(), auth_time: Some(vouched.auth_time()) });
        }
        let token = params.require("subject_token")?;
        let subject = match params.require("subject_token_type")? {
            TYPE_USER if agent.kind == AgentKind::Personal => {
                Subject { user: self.owner_by_name(agent, token).await?, auth_time: None }
            }
            TYPE_USER => {
                return Err(TokenError::invalid_request(
                    "only a personal agent may name its user; show the user's ID token instead",
                ));
            }
            TYPE_ID_TOKEN | TYPE_JWT => self.user_by_token(agent, token).await?,
            _ => return Err(TokenError::invalid_request("this subject_token_type is not supported")),
        };
        // Only a token can have named another user here; the answer is that of a token which names nobody.
        if agent.kind == AgentKind::Personal && !agent.owner.is(&subject.user) {
            return Err(not_this_token());
        }
        Ok(subject)
    }

    async fn owner_by_name(&self, agent: &Authenticated<Agent>, name: &str) -> Result<UserId, TokenError> {
        let Some(owner) = agent.owner.user() else { return Err(not_this_user()) };
        if name == owner.as_str() {
            return Ok(owner.clone());
        }
        // Two users may show the same e-mail; then it names neither.
        let sharing = self.store.find::<User>("email", &email_index(name)).await?;
        match sharing.as_slice() {
            [only] if &only.id == owner => Ok(owner.clone()),
            _ => Err(not_this_user()),
        }
    }

    async fn user_by_token(&self, agent: &Authenticated<Agent>, token: &str) -> Result<Subject, TokenError> {
        let Some(sign_in) = &self.sign_in else { return Err(not_this_token()) };
        if agent.subject_audiences.is_empty() {
            return Err(not_this_token());
        }
        let configured = self.connections.configured(sign_in).await?;
        let claims =
            self.upstream.verify_id_token(&configured, token, &agent.subject_audiences, None).await.map_err(
                |error| match error.class {
                    ErrorClass::Retry => TokenError::unavailable(
                        "the sign-in provider's keys cannot be fetched at present: try again shortly",
                        error.retry_after.unwrap_or(Duration::from_secs(5)),
                    ),
                    _ => not_this_token(),
                },
            )?;
        let proven_at = claims.auth_time.unwrap_or(claims.issued_at);
        if self.clock.now().since(proven_at) > SUBJECT_TOKEN_AGE {
            return Err(TokenError::invalid_request(
                "subject_token is too old: let the user sign in again and show the new one",
            ));
        }
        let index = subject_index(&claims.issuer, &claims.subject);
        let user = self.store.find_unique::<User>("subject", &index).await?.ok_or_else(not_this_token)?;
        if user.was_signed_out_since(proven_at) {
            return Err(not_this_token());
        }
        Ok(Subject { user: user.id.clone(), auth_time: claims.auth_time })
    }
}
