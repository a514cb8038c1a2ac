//! Delegation JWTs (RFC 9068) for internal back ends: by token exchange for a user, by client credentials
//! for an agent that acts as itself, and for a sub-agent that its parent has sent.

use serde_json::{Map, Value, json};

use crate::agents::Authenticated;
use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::kernel::entropy;
use crate::kernel::ids::{AgentId, UserId};
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::model::agent::{Agent, AgentKind, AgentState};
use crate::model::audience::{Algorithm, Audience, UserClaim};
use crate::model::event::{EventDraft, EventKind, Verdict};
use crate::model::token::Binding;
use crate::model::user::User;
use crate::policy::{CallContext, Delegation, DelegationPermit, Recorded, Refusal};
use crate::store::Stored;
use crate::tokens::exchange::short;
use crate::tokens::{Params, RequestInfo, TYPE_ACCESS, TYPE_JWT, TokenError, Tokens};

/// How many agents may stand behind one another.
const DEEPEST: usize = 4;

/// A delegation JWT that leaves.
#[derive(Debug)]
pub struct DelegationAnswer {
    /// The JWT.
    pub token: SecretString,
    /// How it is shown: `Bearer`, or `DPoP`.
    pub token_type: &'static str,
    /// Seconds that it lives.
    pub expires_in: u64,
    /// What it holds.
    pub scope: ScopeSet,
    /// The decision's event.
    pub event: crate::kernel::ids::EventId,
}

/// For whom an agent acts, and who sent it.
#[derive(Default)]
pub(super) struct OnBehalf {
    /// The user; `None` = the agent itself.
    pub user: Option<UserId>,
    /// The `act` claim of the token that a parent agent gave along.
    pub chain: Option<Value>,
    /// What that token holds.
    pub at_most: Option<ScopeSet>,
    /// Whether that token was bound to a key or a certificate.
    pub was_bound: bool,
}

impl OnBehalf {
    /// The agents that stand behind, the nearest first.
    fn behind(&self) -> Vec<AgentId> {
        actors(self.chain.as_ref())
    }
}

impl Tokens {
    /// `client_credentials`: an agent acts as itself at an internal back end.
    ///
    /// # Errors
    /// An RFC 6749 error.
    pub async fn client_credentials(
        &self,
        agent: &Authenticated<Agent>,
        params: Params<'_>,
        info: &RequestInfo,
    ) -> Result<DelegationAnswer, TokenError> {
        params.refuse(&[
            "subject_token",
            "actor_token",
            "resource",
            "connection",
            "authorization_details",
        ])?;
        let audience = params.require("audience")?;
        if audience.starts_with("provider:") {
            return Err(TokenError::new("invalid_target", "at a provider an agent acts for users only"));
        }
        self.delegate(agent, audience, OnBehalf::default(), params, info).await
    }

    /// Issues a delegation JWT for an audience that is no provider.
    pub(super) async fn delegate(
        &self,
        agent: &Authenticated<Agent>,
        identifier: &str,
        on_behalf: OnBehalf,
        params: Params<'_>,
        info: &RequestInfo,
    ) -> Result<DelegationAnswer, TokenError> {
        let asked = ScopeSet::parse(params.get("scope").unwrap_or_default())
            .map_err(|error| TokenError::new("invalid_scope", error.to_string()))?;
        let context = CallContext {
            task: short(params, "task", 64)?,
            binding_message: short(params, "binding_message", 200)?,
            traceparent: info.traceparent.clone(),
            client_address: info.client_address,
            ..CallContext::new(EventKind::TokenDecision, "token.delegation")
        };
        let audience = self.audiences.named(identifier).await?.ok_or_else(closed)?;
        let behind = on_behalf.behind();
        let request = Delegation {
            user: on_behalf.user.as_ref(),
            audience: &audience,
            asked: (!asked.is_empty()).then_some(&asked),
            at_most: on_behalf.at_most.as_ref(),
            behind: &behind,
        };
        match self.decider.delegate(agent, &request).await? {
            Ok(permit) => {
                let permit = permit.record(&self.audit, &context).await?;
                self.delegation_answer(permit, on_behalf.chain, info.binding.as_ref()).await
            }
            Err(refusal) => Err(self.record_refused(agent, &on_behalf, &audience, refusal, &context).await?),
        }
    }

    async fn delegation_answer(
        &self,
        permit: Recorded<DelegationPermit>,
        chain: Option<Value>,
        binding: Option<&Binding>,
    ) -> Result<DelegationAnswer, TokenError> {
        let audience = permit.audience();
        let now = self.clock.now().secs();
        let life = audience.token_life_s;
        let mut claims = json!({
            "iss": self.issuer.as_str().trim_end_matches('/'),
            "aud": audience.identifier,
            "sub": permit.user().map_or_else(|| permit.agent().to_string(), |user| user.id.to_string()),
            "client_id": permit.agent(),
            "scope": permit.scopes().to_string(),
            "jti": encode::hex(&entropy::identifier::<16>(self.entropy.as_ref())),
            "iat": now,
            "exp": now.saturating_add(i64::try_from(life).unwrap_or(0)),
        });
        if let (Some(claims), Some(user)) = (claims.as_object_mut(), permit.user()) {
            claims.insert("act".to_owned(), actor(permit.agent(), chain));
            about(user, &audience.claims, claims);
        }
        confirm(&mut claims, binding);
        let token = self.keys.sign(audience.algorithm, &claims).await?;
        Ok(DelegationAnswer {
            token: SecretString::new(token),
            token_type: Binding::token_type(binding),
            expires_in: life,
            scope: permit.scopes().clone(),
            event: permit.event().clone(),
        })
    }

    async fn record_refused(
        &self,
        agent: &Authenticated<Agent>,
        on_behalf: &OnBehalf,
        audience: &Stored<Audience>,
        refusal: Refusal,
        context: &CallContext,
    ) -> Result<TokenError, TokenError> {
        let draft = EventDraft {
            agent: Some(agent.id.clone()),
            user: on_behalf.user.clone(),
            audience: Some(audience.id.clone()),
            verdict: Some(Verdict::Deny),
            reasons: refusal.reasons.clone(),
            ..context.draft()
        };
        let event = self.audit.record(draft).await?;
        Ok(TokenError::refused(&refusal).with_event(event))
    }

    /// A token with which an agent sends a sub-agent: our own issuer is its audience, `may_act` names the
    /// one agent that may use it (RFC 8693, section 4.4), and it opens no back end by itself.
    pub(super) async fn send_sub_agent(
        &self,
        agent: &Authenticated<Agent>,
        on_behalf: OnBehalf,
        params: Params<'_>,
        info: &RequestInfo,
    ) -> Result<DelegationAnswer, TokenError> {
        const LIFE: u64 = 300;
        let sub_agent: AgentId = params
            .require("may_act")?
            .parse()
            .map_err(|_| TokenError::invalid_request("may_act names no agent: write its id"))?;
        let user = on_behalf.user.clone().ok_or_else(closed)?;
        let scopes = ScopeSet::parse(params.get("scope").unwrap_or_default())
            .map_err(|error| TokenError::new("invalid_scope", error.to_string()))?;
        if scopes.is_empty() {
            return Err(TokenError::new("invalid_scope", "name the scopes that the sub-agent may use"));
        }
        if on_behalf.at_most.as_ref().is_some_and(|most| !scopes.is_subset(most)) {
            return Err(TokenError::new(
                "invalid_scope",
                "more than the token that this agent was sent with",
            ));
        }
        if on_behalf.behind().len() + 2 > DEEPEST {
            return Err(TokenError::invalid_request("too many agents stand behind one another"));
        }
        let context = CallContext {
            task: short(params, "task", 64)?,
            traceparent: info.traceparent.clone(),
            client_address: info.client_address,
            ..CallContext::new(EventKind::TokenDecision, "token.sub_agent")
        };
        let draft = EventDraft {
            agent: Some(agent.id.clone()),
            user: Some(user.clone()),
            verdict: Some(Verdict::Permit),
            reasons: vec![format!("a token for the sub-agent {sub_agent} to show")],
            scopes: Some(scopes.clone()),
            ..context.draft()
        };
        let event = self.audit.record(draft).await?;
        let issuer = self.issuer.as_str().trim_end_matches('/');
        let now = self.clock.now().secs();
        let mut claims = json!({
            "iss": issuer,
            "aud": issuer,
            "sub": user,
            "client_id": agent.id,
            "scope": scopes.to_string(),
            "may_act": { "sub": sub_agent },
            "act": actor(&agent.id, on_behalf.chain),
            "jti": encode::hex(&entropy::identifier::<16>(self.entropy.as_ref())),
            "iat": now,
            "exp": now + 300,
        });
        confirm(&mut claims, info.binding.as_ref());
        let token = self.keys.sign(Algorithm::EdDsa, &claims).await?;
        Ok(DelegationAnswer {
            token: SecretString::new(token),
            token_type: Binding::token_type(info.binding.as_ref()),
            expires_in: LIFE,
            scope: scopes,
            event,
        })
    }

    /// Reads the token that a parent agent has given along; `None` when it is not one, or not for this agent.
    pub(super) async fn sent_by_parent(
        &self,
        agent: &Authenticated<Agent>,
        token: &str,
    ) -> Result<Option<OnBehalf>, TokenError> {
        let Some(claims) = self.keys.open(token).await? else { return Ok(None) };
        let issuer = self.issuer.as_str().trim_end_matches('/');
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let is_for_us = text("iss") == issuer && text("aud") == issuer;
        let is_alive =
            claims.get("exp").and_then(Value::as_i64).is_some_and(|end| self.clock.now().secs() < end);
        let may_act = claims.pointer("/may_act/sub").and_then(Value::as_str);
        // A token for a back end has another audience: it says nothing here, whoever shows it.
        if !is_for_us || !is_alive || may_act != Some(agent.id.as_str()) {
            return Ok(None);
        }
        let (Ok(user), Ok(scopes)) = (text("sub").parse(), ScopeSet::parse(text("scope"))) else {
            return Ok(None);
        };
        let issued = claims.get("iat").and_then(Value::as_i64).map(Timestamp::from_secs);
        if !self.still_signed_in(Some(&user), issued).await? {
            return Ok(None);
        }
        let chain = claims.get("act").cloned();
        if !self.all_active(&actors(chain.as_ref())).await? {
            return Ok(None);
        }
        let was_bound = claims.get("cnf").is_some();
        Ok(Some(OnBehalf { user: Some(user), chain, at_most: Some(scopes), was_bound }))
    }

    /// Whether a token of that moment still counts for its user: not after they were signed out everywhere.
    async fn still_signed_in(
        &self,
        user: Option<&UserId>,
        issued: Option<Timestamp>,
    ) -> Result<bool, TokenError> {
        let (Some(user), Some(issued)) = (user, issued) else { return Ok(user.is_none()) };
        let user = self.store.get::<User>(user.as_str()).await?;
        Ok(user.is_some_and(|user| !user.was_signed_out_since(issued)))
    }

    /// Whether all of those who stand behind an agent may still act.
    async fn all_active(&self, behind: &[AgentId]) -> Result<bool, TokenError> {
        for parent in behind {
            if self
                .agents
                .get(parent)
                .await?
                .is_none_or(|parent| parent.state_at(self.clock.now()) != AgentState::Active)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Token exchange for an internal back end.
    ///
    /// # Errors
    /// An RFC 6749 error.
    pub async fn exchange_delegation(
        &self,
        agent: &Authenticated<Agent>,
        params: Params<'_>,
        info: &RequestInfo,
    ) -> Result<DelegationAnswer, TokenError> {
        params.refuse(&["actor_token", "actor_token_type", "resource", "connection"])?;
        let audience = params.require("audience")?;
        if !matches!(params.get("requested_token_type"), None | Some(TYPE_ACCESS)) {
            let words = "an internal back end takes an access token: leave requested_token_type out";
            return Err(TokenError::invalid_request(words));
        }
        if params.get("authorization_details").is_some_and(|details| details != "[]") {
            let words = "limits are enforced at the gateway: an internal back end has none";
            return Err(TokenError::new("invalid_authorization_details", words));
        }
        if agent.kind == AgentKind::Autonomous {
            let words = "an autonomous agent does not act for users: use client_credentials";
            return Err(TokenError::new("unauthorized_client", words));
        }
        let token = params.require("subject_token")?;
        let sent = match params.get("subject_token_type") {
            Some(TYPE_JWT | TYPE_ACCESS) => self.sent_by_parent(agent, token).await?,
            _ => None,
        };
        let on_behalf = match sent {
            Some(sent) => sent,
            None => OnBehalf { user: Some(self.subject(agent, params).await?), ..OnBehalf::default() },
        };
        // Not the same key, which is the parent's; but what was bound does not become anybody's.
        if on_behalf.was_bound && info.binding.is_none() {
            let words = "the token that this agent was sent with is bound: show a proof of a key of its own";
            return Err(TokenError::new("invalid_dpop_proof", words));
        }
        if audience == self.issuer.as_str().trim_end_matches('/') {
            self.send_sub_agent(agent, on_behalf, params, info).await
        } else {
            self.delegate(agent, audience, on_behalf, params, info).await
        }
    }

    /// What a delegation JWT says, if it is ours, alive, and would still be issued; `None` for anything else.
    pub(super) async fn standing_delegation(&self, token: &str) -> Result<Option<Value>, TokenError> {
        let Some(claims) = self.keys.open(token).await? else { return Ok(None) };
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let is_alive =
            claims.get("exp").and_then(Value::as_i64).is_some_and(|end| self.clock.now().secs() < end);
        let (Ok(client), Ok(scopes), Some(audience)) = (
            text("client_id").parse::<AgentId>(),
            ScopeSet::parse(text("scope")),
            self.audiences.named(text("aud")).await?,
        ) else {
            return Ok(None);
        };
        let Some(agent) = self.agents.get(&client).await?.filter(|_| is_alive) else { return Ok(None) };
        if agent.entry.sender_constrained && claims.get("cnf").is_none() {
            return Ok(None);
        }
        let user = text("sub").parse::<UserId>().ok();
        let issued = claims.get("iat").and_then(Value::as_i64).map(Timestamp::from_secs);
        if !self.still_signed_in(user.as_ref(), issued).await? {
            return Ok(None);
        }
        let behind: Vec<AgentId> =
            actors(claims.get("act")).into_iter().filter(|actor| *actor != client).collect();
        if !self.all_active(&behind).await? {
            return Ok(None);
        }
        let request = Delegation {
            user: user.as_ref(),
            audience: &audience,
            asked: Some(&scopes),
            at_most: None,
            behind: &behind,
        };
        let stands = self.decider.still_delegated(&agent, &request).await?;
        Ok(stands.then_some(claims))
    }
}

/// One answer for an audience that does not exist and one that is not open: nobody can probe which there are.
pub(super) fn closed() -> TokenError {
    TokenError::new("invalid_target", "this audience is not open to this agent for this user")
}

/// The current actor outermost, those before it inside (RFC 8693, section 4.1).
fn actor(agent: &AgentId, chain: Option<Value>) -> Value {
    let mut act = json!({ "sub": agent });
    if let (Some(act), Some(chain)) = (act.as_object_mut(), chain) {
        act.insert("act".to_owned(), chain);
    }
    act
}

/// The agents of an `act` claim of ours, the outermost first.
fn actors(chain: Option<&Value>) -> Vec<AgentId> {
    let acts = std::iter::successors(chain, |act| act.get("act")).take(DEEPEST + 1);
    acts.filter_map(|act| act.get("sub")?.as_str()?.parse().ok()).collect()
}

/// Says what a token is bound to (RFC 7800).
fn confirm(claims: &mut Value, binding: Option<&Binding>) {
    if let (Some(claims), Some(binding)) = (claims.as_object_mut(), binding) {
        claims.insert("cnf".to_owned(), json!(binding));
    }
}

fn about(user: &User, wanted: &[UserClaim], claims: &mut Map<String, Value>) {
    for claim in wanted {
        let (name, value) = match claim {
            UserClaim::Email => ("email", user.email.clone().map(Value::from)),
            UserClaim::Name => ("name", Some(Value::from(user.name.clone()))),
            UserClaim::Department => ("department", user.department.clone().map(Value::from)),
            UserClaim::Groups => ("groups", Some(json!(user.groups))),
        };
        if let Some(value) = value {
            claims.insert(name.to_owned(), value);
        }
    }
}
