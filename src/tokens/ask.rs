//! Asking before needing (the shape of OpenID CIBA): the person is asked now, the token is collected later.

use crate::agents::Authenticated;
use crate::kernel::ids::EventId;
use crate::kernel::secret::SecretString;
use crate::model::agent::Agent;
use crate::model::interaction::first_interval;
use crate::policy::Decision;
use crate::tokens::{Params, RequestInfo, TokenError, Tokens};

/// A question that was asked, or did not have to be.
#[derive(Debug)]
pub struct AskAnswer {
    /// The handle to poll with.
    pub auth_req_id: SecretString,
    /// Seconds that it can be polled.
    pub expires_in: u64,
    /// Seconds between polls.
    pub interval: u64,
    /// The kind of interaction and its page; `None` when everything is granted already.
    pub page: Option<(&'static str, String)>,
    /// The decision's event.
    pub event: EventId,
}

impl Tokens {
    /// Answers a backchannel authentication request of an authenticated agent.
    ///
    /// # Errors
    /// An RFC 6749 error.
    pub async fn ask(
        &self,
        agent: &Authenticated<Agent>,
        params: Params<'_>,
        info: &RequestInfo,
    ) -> Result<AskAnswer, TokenError> {
        // A hint says who is meant without any proof: an agent could ask everybody. What is left of CIBA's
        // parameters would be passed over although it asks for something else.
        params.refuse(&[
            "login_hint",
            "login_hint_token",
            "id_token_hint",
            "client_notification_token",
            "user_code",
            "request",
        ])?;
        if params.get("audience").is_some_and(|audience| !audience.starts_with("provider:")) {
            let words = "nobody has to be asked about an internal back end: ask for the token";
            return Err(TokenError::new("invalid_target", words));
        }
        let inquiry = self.inquiry(agent, params, "token.ask", info).await?;
        match self.decider.decide(&inquiry.request(agent)).await? {
            Decision::Refusal(refusal) => Err(self.inquiry_refused(agent, &inquiry, &refusal).await?),
            Decision::NeedsPerson(needs) => {
                let (interaction, event) = self.open_question(agent, inquiry, needs).await?;
                let auth_req_id = interaction.auth_req_id.ok_or_else(TokenError::invalid_client)?;
                Ok(AskAnswer {
                    auth_req_id,
                    expires_in: interaction.expires_in,
                    interval: interaction.interval,
                    page: Some((interaction.interaction, interaction.interaction_uri)),
                    event,
                })
            }
            Decision::Permit(permit) => {
                let permit = permit.record(&self.audit, &inquiry.context).await?;
                let grant = permit.grant_id().clone();
                let (question, wording) = inquiry.question(agent, permit.scopes().clone());
                let answered = self.interactions.answered_before(question, grant, wording).await?;
                Ok(AskAnswer {
                    auth_req_id: answered.auth_req_id,
                    expires_in: self.clock.now().until(answered.interaction.expires_at).as_secs(),
                    interval: u64::from(first_interval()),
                    page: None,
                    event: permit.event().clone(),
                })
            }
        }
    }
}
