//! Polling an interaction by `auth_req_id`: the token comes once, when the person has agreed.

use crate::agents::Authenticated;
use crate::interactions::{Collectable, Poll};
use crate::model::agent::Agent;
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::interaction::Interaction;
use crate::policy::{Action, CallContext, Decision, Request};
use crate::tokens::answer::TokenAnswer;
use crate::tokens::mint::Unminted;
use crate::tokens::{Params, RequestInfo, TokenError, Tokens};

impl Tokens {
    /// Answers a poll of an authenticated agent.
    ///
    /// # Errors
    /// An RFC 6749 or CIBA error.
    pub async fn poll(
        &self,
        agent: &Authenticated<Agent>,
        params: Params<'_>,
        info: &RequestInfo,
    ) -> Result<TokenAnswer, TokenError> {
        let auth_req_id = params.require("auth_req_id")?;
        match self.interactions.poll(auth_req_id, agent).await? {
            Poll::Pending(interaction) => Err(self.pending(agent, &interaction, info).await?),
            Poll::SlowDown { interval } => Err(TokenError::new(
                "slow_down",
                format!("poll at most every {} seconds from now on", interval.as_secs()),
            )),
            Poll::Denied => Err(TokenError::new("access_denied", "the user has refused")),
            Poll::Expired => {
                Err(TokenError::new("expired_token", "nobody answered in time: ask again by token exchange"))
            }
            Poll::Granted(collectable) => self.collect(agent, collectable, info).await,
        }
    }

    /// What an agent is told that has to wait. Where a stop is in force waiting leads nowhere, so polls go
    /// through the pipeline like every other request.
    async fn pending(
        &self,
        agent: &Authenticated<Agent>,
        interaction: &Interaction,
        info: &RequestInfo,
    ) -> Result<TokenError, TokenError> {
        let question = &interaction.question;
        let configured = self.connections.configured(&question.provider).await?;
        let judged =
            self.decider.may_be_granted(agent, &question.user, &configured, &question.scopes).await?;
        let Err(refusal) = judged else {
            return Ok(TokenError::new(
                "authorization_pending",
                "the user has not answered yet: poll again later",
            ));
        };
        let context = context(interaction.task.clone(), "token.poll", info);
        self.record_refusal(agent, &question.user, &question.provider, &refusal, &context).await
    }

    async fn collect(
        &self,
        agent: &Authenticated<Agent>,
        collectable: Collectable,
        info: &RequestInfo,
    ) -> Result<TokenAnswer, TokenError> {
        let question = collectable.interaction().question.clone();
        let task = collectable.interaction().task.clone();
        let configured = self.connections.configured(&question.provider).await?;
        // A grant that came of this question holds its limits; one that was there before does not.
        let before = collectable.interaction().was_granted_before();
        let limits = if before { question.limits.as_slice() } else { &[] };
        let request = Request {
            agent,
            user: &question.user,
            provider: &configured,
            action: Action::Collect { grant: collectable.grant(), limits },
        };
        let context = context(task.clone(), "token.collect", info);
        let permit = match self.decider.decide(&request).await? {
            Decision::Permit(permit) => permit.narrowed_to(&question.scopes),
            Decision::Refusal(refusal) => {
                let provider = &question.provider;
                return Err(self.record_refusal(agent, &question.user, provider, &refusal, &context).await?);
            }
            Decision::NeedsPerson(_) => {
                return Err(TokenError::new(
                    "invalid_grant",
                    "the grant has ended: ask again by token exchange",
                ));
            }
        };
        let permit = permit.record(&self.audit, &context).await?;
        // INVARIANT: it counts as collected only when there is a token to hand over, and is handed over only
        // when it counts as collected: a failure in between leaves it to the next poll.
        let event = permit.event().clone();
        let answer = match self.mint(permit, question.token, task, info).await {
            Ok(answer) => answer,
            Err(Unminted::Error(error)) => return Err(error),
            Err(Unminted::NeedsPerson) => {
                let words = "the account has to be connected again: ask again by token exchange";
                return Err(TokenError::new("invalid_grant", words).with_event(event));
            }
        };
        let refused = match self.interactions.collect(collectable).await {
            Ok(true) => return Ok(answer),
            Ok(false) => TokenError::new("invalid_grant", "this auth_req_id was used already"),
            Err(error) => error.into(),
        };
        self.withheld(agent, &answer);
        Err(refused.with_event(answer.event))
    }
}

impl Tokens {
    /// Says that a token which was made has not left.
    fn withheld(&self, agent: &Authenticated<Agent>, answer: &TokenAnswer) {
        self.audit.record_soon(EventDraft {
            agent: Some(agent.id.clone()),
            grant: Some(answer.grant.clone()),
            refers_to: Some(answer.event.clone()),
            outcome: Some(Outcome::Failed),
            ..EventDraft::new(EventKind::TokenOutcome, "token.withheld")
        });
    }
}

fn context(task: Option<String>, action: &'static str, info: &RequestInfo) -> CallContext {
    CallContext {
        task,
        traceparent: info.traceparent.clone(),
        client_address: info.client_address,
        ..CallContext::new(EventKind::TokenDecision, action)
    }
}
