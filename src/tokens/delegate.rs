//! Delegation JWTs (RFC 9068) for internal back ends: by token exchange for a user, by client credentials
//! for an agent that acts as itself, and for a sub-agent that its parent has sent.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::agents::Authenticated;
use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::kernel::entropy;
use crate::kernel::ids::{AgentId, UserId};
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::model::agent::{Agent, AgentKind};
use crate::model::audience::{Audience, UserClaim};
use crate::model::event::{EventDraft, EventKind, Verdict};
use crate::model::token::{Binding, DelegatedTokens, RevokedToken};
use crate::model::user::{User, email_index};
use crate::policy::{CallContext, Delegation, DelegationPermit, Recorded, Refusal, RefusalCode};
use crate::store::Stored;
use crate::tokens::exchange::short;
use crate::tokens::sub_agent::{actor, actors};
use crate::tokens::{Params, RequestInfo, TYPE_ACCESS, TYPE_ID_JAG, TYPE_JWT, TokenError, Tokens, details};

/// The type of a delegation JWT (RFC 9068, section 2.1).
pub(super) const ACCESS_TOKEN: &str = "at+jwt";
/// The type of an identity assertion authorization grant.
const ID_JAG: &str = "oauth-id-jag+jwt";
/// How long such a grant lives at most: it is used at once.
const ID_JAG_LIFE: u64 = 300;

/// A delegation JWT that leaves.
#[derive(Debug)]
pub struct DelegationAnswer {
    /// The JWT.
    pub token: SecretString,
    /// What it is (RFC 8693, section 3).
    pub issued_type: &'static str,
    /// How it is shown: `Bearer`, `DPoP`, or `N_A` for what is no access token.
    pub token_type: &'static str,
    /// What the back end itself narrows by.
    pub details: Vec<Value>,
    /// Seconds that it lives.
    pub expires_in: u64,
    /// What it holds.
    pub scope: ScopeSet,
    /// The decision's event.
    pub event: crate::kernel::ids::EventId,
}

/// When a token begins and ends, in seconds.
#[derive(Clone, Copy)]
struct Times {
    begin: i64,
    end: i64,
    life: u64,
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
    /// When that token ends.
    pub ends: Option<Timestamp>,
    /// Whether that token was bound to a key or a certificate.
    pub was_bound: bool,
    /// The `authorization_details` of that token.
    pub details: Vec<Value>,
    /// When the user last proved who they are, as far as somebody says so.
    pub auth_time: Option<Timestamp>,
}

impl OnBehalf {
    /// The agents that stand behind, the nearest first.
    pub(super) fn behind(&self) -> Vec<AgentId> {
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
        params.refuse(&["subject_token", "actor_token", "resource", "connection"])?;
        let audience = params.require("audience")?;
        if audience.starts_with("provider:") {
            return Err(TokenError::new("invalid_target", "at a provider an agent acts for users only"));
        }
        self.delegate(agent, audience, OnBehalf::default(), Form::AccessToken, params, info).await
    }

    /// Issues a delegation JWT for an audience that is no provider.
    pub(super) async fn delegate(
        &self,
        agent: &Authenticated<Agent>,
        identifier: &str,
        on_behalf: OnBehalf,
        form: Form,
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
        let details = details::joined(on_behalf.details.clone(), details::read(params)?)?;
        let behind = on_behalf.behind();
        let Some(audience) = self.audiences.named(identifier).await? else {
            // Judged and written down like one that is closed: nobody can probe which there are.
            let standing = self.decider.may_delegate(agent, on_behalf.user.as_ref(), &behind).await?;
            let refusal = standing.err().unwrap_or_else(Refusal::closed_audience);
            return Err(self.record_refused(agent, &on_behalf, None, refusal, &context).await?);
        };
        let request = Delegation {
            user: on_behalf.user.as_ref(),
            audience: &audience,
            asked: (!asked.is_empty()).then_some(&asked),
            at_most: on_behalf.at_most.as_ref(),
            behind: &behind,
        };
        match self.decider.delegate(agent, &request).await? {
            Ok(permit) => {
                if let Some(error) = untaken(&form, &details, permit.audience()) {
                    let refusal = Refusal {
                        code: RefusalCode::InvalidTarget,
                        reasons: vec![error.description.clone()],
                    };
                    let recorded =
                        self.record_refused(agent, &on_behalf, Some(&audience), refusal, &context).await?;
                    return Err(TokenError { event: recorded.event, ..error });
                }
                let times = self.times(&form, permit.audience());
                let leaves = DelegatedTokens {
                    agent: permit.agent().clone(),
                    user: permit.user().map(|user| user.id.clone()),
                    audience: permit.audience().id.clone(),
                    end_by: Timestamp::from_secs(times.end),
                };
                // At the same time: one after the other they could take longer than our own parts may
                // (invariant 8). Nothing leaves before both are durable.
                let (permit, listed) = tokio::join!(
                    permit.record(&self.audit, &context),
                    self.audiences.note_handed_out(&leaves, Duration::from_secs(times.life)),
                );
                let permit = permit?;
                listed?;
                self.delegation_answer(permit, times, on_behalf, form, details, info.binding.as_ref()).await
            }
            Err(refusal) => {
                Err(self.record_refused(agent, &on_behalf, Some(&audience), refusal, &context).await?)
            }
        }
    }

    fn times(&self, form: &Form, audience: &Audience) -> Times {
        let life = match form {
            Form::AccessToken => audience.token_life_s,
            Form::IdJag { .. } => audience.token_life_s.min(ID_JAG_LIFE),
        };
        let begin = self.clock.now().secs();
        Times { begin, end: begin.saturating_add(i64::try_from(life).unwrap_or(0)), life }
    }

    async fn delegation_answer(
        &self,
        permit: Recorded<DelegationPermit>,
        times: Times,
        on_behalf: OnBehalf,
        form: Form,
        details: Vec<Value>,
        binding: Option<&Binding>,
    ) -> Result<DelegationAnswer, TokenError> {
        let audience = permit.audience();
        let (typ, issued_type) = match &form {
            Form::AccessToken => (ACCESS_TOKEN, TYPE_ACCESS),
            Form::IdJag { .. } => (ID_JAG, TYPE_ID_JAG),
        };
        let mut claims = json!({
            "iss": self.issuer.as_str().trim_end_matches('/'),
            "aud": audience.identifier,
            "sub": permit.user().map_or_else(|| permit.agent().to_string(), |user| user.id.to_string()),
            "client_id": permit.agent(),
            "scope": permit.scopes().to_string(),
            "jti": encode::hex(&entropy::identifier::<16>(self.entropy.as_ref())),
            "iat": times.begin,
            "exp": times.end,
        });
        if let (Some(claims), Some(user)) = (claims.as_object_mut(), permit.user()) {
            claims.insert("act".to_owned(), actor(permit.agent(), on_behalf.chain));
            about(user, &audience.claims, claims);
            if self.is_shared_address(user).await? {
                claims.remove("email");
            }
        }
        if let (Form::IdJag { resource }, Some(claims)) = (&form, claims.as_object_mut()) {
            let client = audience.id_jag.as_ref().and_then(|terms| terms.client_ids.get(permit.agent()));
            if let Some(client) = client {
                claims.insert("client_id".to_owned(), json!(client));
            }
            if let Some(resource) = resource {
                claims.insert("resource".to_owned(), json!(resource));
            }
            if let Some(at) = on_behalf.auth_time {
                claims.insert("auth_time".to_owned(), json!(at.secs()));
            }
        }
        confirm(&mut claims, binding, &details);
        let token = self.keys.sign(typ, audience.algorithm, &claims).await?;
        Ok(DelegationAnswer {
            token: SecretString::new(token),
            issued_type,
            token_type: match form {
                Form::AccessToken => Binding::token_type(binding),
                Form::IdJag { .. } => "N_A",
            },
            details,
            expires_in: times.life,
            scope: permit.scopes().clone(),
            event: permit.event().clone(),
        })
    }

    /// An address that two users show names neither: a back end that finds rows by it would show one the other's.
    async fn is_shared_address(&self, user: &User) -> Result<bool, TokenError> {
        let Some(email) = &user.email else { return Ok(false) };
        Ok(self.store.find::<User>("email", &email_index(email)).await?.len() > 1)
    }

    pub(super) async fn record_refused(
        &self,
        agent: &Authenticated<Agent>,
        on_behalf: &OnBehalf,
        audience: Option<&Stored<Audience>>,
        refusal: Refusal,
        context: &CallContext,
    ) -> Result<TokenError, TokenError> {
        let draft = EventDraft {
            agent: Some(agent.id.clone()),
            user: on_behalf.user.clone(),
            audience: audience.map(|audience| audience.id.clone()),
            verdict: Some(Verdict::Deny),
            reasons: refusal.reasons.clone(),
            ..context.draft()
        };
        let event = self.audit.record(draft).await?;
        Ok(TokenError::refused(&refusal).with_event(event))
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
        params.refuse(&["actor_token", "actor_token_type", "connection"])?;
        let audience = params.require("audience")?;
        let form = Form::read(params)?;
        if agent.kind == AgentKind::Autonomous {
            let words = "an autonomous agent does not act for users: use client_credentials";
            return Err(TokenError::new("unauthorized_client", words));
        }
        let sent = match params.get("subject_token_type") {
            Some(TYPE_JWT | TYPE_ACCESS) => {
                self.sent_by_parent(agent, params.require("subject_token")?).await?
            }
            _ => None,
        };
        let on_behalf = match sent {
            Some(sent) => sent,
            None => {
                let subject = self.subject(agent, params, info).await?;
                OnBehalf { user: Some(subject.user), auth_time: subject.auth_time, ..OnBehalf::default() }
            }
        };
        // Not the same key, which is the parent's; but what was bound does not become anybody's.
        if on_behalf.was_bound && info.binding.is_none() {
            let words = "the token that this agent was sent with is bound: show a proof of a key, or a certificate, of its own";
            return Err(TokenError::new("invalid_dpop_proof", words));
        }
        if audience == self.issuer.as_str().trim_end_matches('/') {
            return self.send_sub_agent(agent, on_behalf, params, info).await;
        }
        if matches!(form, Form::IdJag { .. }) && on_behalf.auth_time.is_none() {
            let words = "an assertion says when the user signed in: show their ID token, with auth_time";
            return Err(TokenError::invalid_request(words));
        }
        self.delegate(agent, audience, on_behalf, form, params, info).await
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
        if self.store.get::<RevokedToken>(text("jti")).await?.is_some() {
            return Ok(None);
        }
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
        if details::unknown(&details::carried(&claims), &audience.detail_types).is_some() {
            return Ok(None);
        }
        let stands = self.decider.still_delegated(&agent, &request).await?;
        Ok(stands.then_some(claims))
    }
}

/// What an agent asks for at a back end.
pub(super) enum Form {
    /// A delegation JWT.
    AccessToken,
    /// An identity assertion authorization grant, which the back end's own authorization server takes.
    IdJag {
        /// Which of its resources is meant (RFC 8707).
        resource: Option<String>,
    },
}

impl Form {
    fn read(params: Params<'_>) -> Result<Self, TokenError> {
        match params.get("requested_token_type") {
            None | Some(TYPE_ACCESS) => {
                params.refuse(&["resource"])?;
                Ok(Self::AccessToken)
            }
            Some(TYPE_ID_JAG) => {
                let resource = params.get("resource");
                if resource.is_some_and(|text| text.len() > 512 || url::Url::parse(text).is_err()) {
                    return Err(TokenError::new("invalid_target", "resource is no absolute URI"));
                }
                Ok(Self::IdJag { resource: resource.map(str::to_owned) })
            }
            Some(_) => {
                let words = "an internal back end takes an access token: leave requested_token_type out";
                Err(TokenError::invalid_request(words))
            }
        }
    }
}

/// What the back end does not take of what was asked for, although the agent may reach it.
fn untaken(form: &Form, details: &[Value], audience: &Audience) -> Option<TokenError> {
    if matches!(form, Form::IdJag { .. }) && audience.id_jag.is_none() {
        return Some(TokenError::new("invalid_target", "this back end takes no identity assertions"));
    }
    details::unknown(details, &audience.detail_types).map(details::refused)
}

/// Says what a token is bound to (RFC 7800), and what the back end narrows by (RFC 9396).
pub(super) fn confirm(claims: &mut Value, binding: Option<&Binding>, details: &[Value]) {
    let Some(claims) = claims.as_object_mut() else { return };
    if let Some(binding) = binding {
        claims.insert("cnf".to_owned(), json!(binding));
    }
    if !details.is_empty() {
        claims.insert("authorization_details".to_owned(), json!(details));
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
