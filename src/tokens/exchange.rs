//! Token exchange (RFC 8693): an agent asks for a token to act for a user.

use std::sync::Arc;
use std::time::Duration;

use crate::agents::Authenticated;
use crate::interactions::{LINK_LIFE, Wording};
use crate::kernel::ids::{ConnectionId, EventId, ProviderSlug, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::agent::{Agent, AgentKind};
use crate::model::event::{EventDraft, EventKind, Verdict};
use crate::model::interaction::{Question, RequestedToken};
use crate::model::limit::Limit;
use crate::model::provider::Provider;
use crate::policy::{Action, CallContext, Decision, NeedsPerson, Refusal, Request};
use crate::providers::Configured;
use crate::providers::template::Template;
use crate::tokens::answer::{Interaction, TokenAnswer};
use crate::tokens::mint::Unminted;
use crate::tokens::{Params, RequestInfo, TYPE_ACCESS, TYPE_GATEWAY, TokenError, Tokens};

/// When to ask again where nothing has to be waited for.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A request that was read completely before anything is looked up.
pub(super) struct Asked {
    pub provider: ProviderSlug,
    pub connection: Option<ConnectionId>,
    pub scopes: Option<ScopeSet>,
    pub limits: Vec<Limit>,
    pub token: RequestedToken,
    pub wording: Wording,
}

/// A request about a user that the agent may act for, at a provider that is configured.
pub(super) struct Inquiry {
    pub asked: Asked,
    pub user: UserId,
    pub configured: Arc<Configured>,
    pub context: CallContext,
}

impl Inquiry {
    /// What the pipeline judges.
    pub fn request<'i>(&'i self, agent: &'i Authenticated<Agent>) -> Request<'i> {
        Request {
            agent,
            user: &self.user,
            provider: &self.configured,
            action: Action::Exchange {
                asked: self.asked.scopes.as_ref(),
                connection: self.asked.connection.as_ref(),
                limits: &self.asked.limits,
            },
        }
    }

    /// What a person is asked, frozen, and the agent's words beside it.
    pub fn question(self, agent: &Authenticated<Agent>, scopes: ScopeSet) -> (Question, Wording) {
        let asked = self.asked;
        let question = Question {
            agent: agent.id.clone(),
            user: self.user,
            provider: asked.provider,
            connection: asked.connection,
            scopes,
            limits: asked.limits,
            token: asked.token,
            widens: None,
        };
        (question, asked.wording)
    }
}

impl Tokens {
    /// Answers a token exchange of an authenticated agent.
    ///
    /// # Errors
    /// An RFC 6749 error.
    pub async fn exchange(
        &self,
        agent: &Authenticated<Agent>,
        params: Params<'_>,
        info: &RequestInfo,
    ) -> Result<TokenAnswer, TokenError> {
        let inquiry = self.inquiry(agent, params, "token.exchange", info).await?;
        let request = inquiry.request(agent);
        let mut decision = self.decider.decide(&request).await?;
        if let Decision::Permit(permit) = decision {
            let permit = permit.record(&self.audit, &inquiry.context).await?;
            match self.mint(permit, inquiry.asked.token, inquiry.asked.wording.task.clone(), info).await {
                Ok(answer) => return Ok(answer),
                Err(Unminted::Error(error)) => return Err(error),
                Err(Unminted::NeedsPerson) => decision = self.decider.decide(&request).await?,
            }
        }
        match decision {
            // Repaired meanwhile.
            Decision::Permit(_) => {
                Err(TokenError::unavailable("the account is being connected: try again", AT_ONCE))
            }
            Decision::Refusal(refusal) => Err(self.inquiry_refused(agent, &inquiry, &refusal).await?),
            Decision::NeedsPerson(needs) => Err(self.ask_person(agent, inquiry, needs).await?),
        }
    }

    /// Refuses a provider's bare name where a back end is named: whoever forgets `provider:` is told so. Which
    /// providers there are is no secret, unlike which back ends.
    ///
    /// # Errors
    /// `invalid_target`, or when the store cannot be read.
    pub async fn refuse_bare_provider(&self, params: Params<'_>) -> Result<(), TokenError> {
        let Some(slug) = params.get("audience").and_then(|text| text.parse::<ProviderSlug>().ok()) else {
            return Ok(());
        };
        match self.store.get::<Provider>(slug.as_str()).await? {
            None => Ok(()),
            Some(_) => {
                let words = format!("this is a provider and no back end: did you mean `provider:{slug}`?");
                Err(TokenError::new("invalid_target", words))
            }
        }
    }

    /// Reads a request for a token to act for a user, and finds out who that is.
    pub(super) async fn inquiry(
        &self,
        agent: &Authenticated<Agent>,
        params: Params<'_>,
        action: &'static str,
        info: &RequestInfo,
    ) -> Result<Inquiry, TokenError> {
        let asked = read(params)?;
        if agent.kind == AgentKind::Autonomous {
            return Err(TokenError::new("unauthorized_client", "an autonomous agent does not act for users"));
        }
        let context = context(&asked, action, info);
        let user = match self.subject(agent, params, info).await {
            Ok(subject) => subject.user,
            Err(error) if error.status == 400 => {
                return Err(self.record_stranger(agent, &asked.provider, error, &context).await?);
            }
            Err(error) => return Err(error),
        };
        let configured = self.connections.configured(&asked.provider).await?;
        offered(&configured.loaded.template, &asked.limits)?;
        Ok(Inquiry { asked, user, configured, context })
    }

    pub(super) async fn inquiry_refused(
        &self,
        agent: &Authenticated<Agent>,
        inquiry: &Inquiry,
        refusal: &Refusal,
    ) -> Result<TokenError, TokenError> {
        let Inquiry { asked, user, context, .. } = inquiry;
        self.record_refusal(agent, user, &asked.provider, refusal, context).await
    }

    /// Writes down that an agent has named a user that it may not act for, or shown no proof of one. Whom it
    /// named is not kept: the text is the agent's.
    async fn record_stranger(
        &self,
        agent: &Authenticated<Agent>,
        provider: &ProviderSlug,
        error: TokenError,
        context: &CallContext,
    ) -> Result<TokenError, TokenError> {
        let draft = EventDraft {
            agent: Some(agent.id.clone()),
            provider: Some(provider.clone()),
            verdict: Some(Verdict::Deny),
            reasons: vec![error.description.clone()],
            ..context.draft()
        };
        let event = self.audit.record(draft).await?;
        Ok(error.with_event(event))
    }

    /// Writes a refusal down, and makes its answer.
    pub(super) async fn record_refusal(
        &self,
        agent: &Authenticated<Agent>,
        user: &UserId,
        provider: &ProviderSlug,
        refusal: &Refusal,
        context: &CallContext,
    ) -> Result<TokenError, TokenError> {
        let draft = EventDraft {
            agent: Some(agent.id.clone()),
            user: Some(user.clone()),
            provider: Some(provider.clone()),
            verdict: Some(Verdict::Deny),
            reasons: refusal.reasons.clone(),
            ..context.draft()
        };
        let event = self.audit.record(draft).await?;
        Ok(TokenError::refused(refusal).with_event(event))
    }

    async fn ask_person(
        &self,
        agent: &Authenticated<Agent>,
        inquiry: Inquiry,
        needs: NeedsPerson,
    ) -> Result<TokenError, TokenError> {
        let description = if needs.missing.is_empty() {
            needs.reasons.join("; ")
        } else {
            format!("the user has to agree first; missing: {}", needs.missing)
        };
        let (interaction, event) = self.open_question(agent, inquiry, needs).await?;
        Ok(TokenError::interaction_required(description, interaction).with_event(event))
    }

    /// Opens the question to the person, or finds it open.
    pub(super) async fn open_question(
        &self,
        agent: &Authenticated<Agent>,
        inquiry: Inquiry,
        needs: NeedsPerson,
    ) -> Result<(Interaction, EventId), TokenError> {
        let draft = EventDraft {
            agent: Some(agent.id.clone()),
            user: Some(inquiry.user.clone()),
            provider: Some(inquiry.asked.provider.clone()),
            verdict: Some(Verdict::NeedsPerson),
            reasons: needs.reasons,
            scopes: Some(needs.asked.clone()),
            ..inquiry.context.draft()
        };
        let event = self.audit.record(draft).await?;
        let (question, wording) = inquiry.question(agent, needs.asked);
        let opened = self.interactions.open(question, &needs.missing, wording).await;
        let opened = opened.map_err(|error| TokenError::from(error).with_event(event.clone()))?;
        let left = self.clock.now().until(opened.interaction.expires_at).min(LINK_LIFE);
        let interaction = Interaction {
            interaction: "consent",
            interaction_uri: self.at(&format!("/i/{}", opened.interaction.id)),
            auth_req_id: Some(opened.auth_req_id),
            expires_in: left.as_secs(),
            interval: u64::from(opened.interaction.interval_s),
        };
        Ok((interaction, event))
    }
}

fn read(params: Params<'_>) -> Result<Asked, TokenError> {
    params.refuse(&["actor_token", "actor_token_type", "resource"])?;
    let audience = params.require("audience")?;
    let provider =
        audience.strip_prefix("provider:").and_then(|slug| slug.parse().ok()).ok_or_else(|| {
            TokenError::new("invalid_target", "audience names no provider; write provider:<name>")
        })?;
    let connection = match params.get("connection") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| {
            TokenError::new("invalid_target", "there is no such connection of this user at this provider")
        })?),
    };
    let scopes = ScopeSet::parse(params.get("scope").unwrap_or_default())
        .map_err(|error| TokenError::new("invalid_scope", error.to_string()))?;
    let token = match params.get("requested_token_type") {
        None | Some(TYPE_GATEWAY) => RequestedToken::Gateway,
        Some(TYPE_ACCESS) => RequestedToken::Provider,
        Some(_) => return Err(TokenError::invalid_request("this requested_token_type is not supported")),
    };
    let limits = read_details(params)?;
    let wording =
        Wording { binding_message: short(params, "binding_message", 200)?, task: short(params, "task", 64)? };
    Ok(Asked { provider, connection, scopes: (!scopes.is_empty()).then_some(scopes), limits, token, wording })
}

fn read_details(params: Params<'_>) -> Result<Vec<Limit>, TokenError> {
    let Some(text) = params.get("authorization_details") else { return Ok(Vec::new()) };
    Limit::parse_all(text)
        .map_err(|problem| TokenError::new("invalid_authorization_details", problem.to_string()))
}

/// Passing over a limit that nothing enforces would issue a token that is broader than what was asked for.
fn offered(template: &Template, limits: &[Limit]) -> Result<(), TokenError> {
    match limits.iter().find(|limit| !template.offers(limit)) {
        None => Ok(()),
        Some(limit) => Err(TokenError::new(
            "invalid_authorization_details",
            format!(
                "this provider offers no limit `{}` at the api `{}`",
                limit.kind().as_str(),
                limit.api.as_deref().unwrap_or_default()
            ),
        )),
    }
}

pub(super) fn short(
    params: Params<'_>,
    name: &'static str,
    most: usize,
) -> Result<Option<String>, TokenError> {
    match params.get(name) {
        Some(text) if text.chars().count() > most => {
            Err(TokenError::invalid_request(format!("{name} is longer than {most} characters")))
        }
        text => Ok(text.map(|text| crate::kernel::text::clean(text, most))),
    }
}

fn context(asked: &Asked, action: &'static str, info: &RequestInfo) -> CallContext {
    CallContext {
        task: asked.wording.task.clone(),
        binding_message: asked.wording.binding_message.clone(),
        traceparent: info.traceparent.clone(),
        client_address: info.client_address,
        ..CallContext::new(EventKind::TokenDecision, action)
    }
}
