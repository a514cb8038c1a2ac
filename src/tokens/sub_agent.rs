//! Sub-agents: a parent sends another agent on its way with a token that only that agent can use, and only here.

use std::time::Duration;

use serde_json::{Value, json};

use crate::agents::Authenticated;
use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::kernel::entropy;
use crate::kernel::ids::{AgentId, UserId};
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::model::agent::{Agent, AgentState};
use crate::model::audience::Algorithm;
use crate::model::event::{EventDraft, EventKind, Verdict};
use crate::model::token::{Binding, RevokedToken};
use crate::model::user::User;
use crate::policy::{CallContext, Refusal};
use crate::tokens::delegate::{ACCESS_TOKEN, DelegationAnswer, OnBehalf, confirm};
use crate::tokens::exchange::short;
use crate::tokens::{Params, RequestInfo, TYPE_ACCESS, TokenError, Tokens, details};

/// How many agents may stand behind one another.
const DEEPEST: usize = 4;
/// How long a token for a sub-agent lives at most.
const LIFE: Duration = Duration::from_secs(300);

impl Tokens {
    /// A token with which an agent sends a sub-agent: our own issuer is its audience, `may_act` names the
    /// one agent that may use it (RFC 8693, section 4.4), and it opens no back end by itself.
    pub(super) async fn send_sub_agent(
        &self,
        agent: &Authenticated<Agent>,
        on_behalf: OnBehalf,
        params: Params<'_>,
        info: &RequestInfo,
    ) -> Result<DelegationAnswer, TokenError> {
        let sub_agent: AgentId = params
            .require("may_act")?
            .parse()
            .map_err(|_| TokenError::invalid_request("may_act names no agent: write its id"))?;
        let user = on_behalf.user.clone().ok_or_else(|| TokenError::refused(&Refusal::closed_audience()))?;
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
        let standing = self.decider.may_delegate(agent, Some(&user), &on_behalf.behind()).await?;
        if let Err(refusal) = standing {
            return Err(self.record_refused(agent, &on_behalf, None, refusal, &context).await?);
        }
        let details = details::joined(on_behalf.details, details::read(params)?)?;
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
        let now = self.clock.now();
        // Never longer than the token that this agent was sent with: nobody lives on by sending themselves.
        let end = on_behalf.ends.map_or(now.plus(LIFE), |ends| ends.min(now.plus(LIFE)));
        let mut claims = json!({
            "iss": issuer,
            "aud": issuer,
            "sub": user,
            "client_id": agent.id,
            "scope": scopes.to_string(),
            "may_act": { "sub": sub_agent },
            "act": actor(&agent.id, on_behalf.chain),
            "jti": encode::hex(&entropy::identifier::<16>(self.entropy.as_ref())),
            "iat": now.secs(),
            "exp": end.secs(),
        });
        confirm(&mut claims, info.binding.as_ref(), &details);
        let token = self.keys.sign(ACCESS_TOKEN, Algorithm::EdDsa, &claims).await?;
        Ok(DelegationAnswer {
            token: SecretString::new(token),
            issued_type: TYPE_ACCESS,
            token_type: Binding::token_type(info.binding.as_ref()),
            details,
            expires_in: u64::try_from(end.secs() - now.secs()).unwrap_or_default(),
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
        if self.store.get::<RevokedToken>(text("jti")).await?.is_some() {
            return Ok(None);
        }
        let (Ok(user), Ok(scopes)) = (text("sub").parse(), ScopeSet::parse(text("scope"))) else {
            return Ok(None);
        };
        let moment = |name: &str| claims.get(name).and_then(Value::as_i64).map(Timestamp::from_secs);
        let (issued, ends) = (moment("iat"), moment("exp"));
        if !self.still_signed_in(Some(&user), issued).await? {
            return Ok(None);
        }
        let chain = claims.get("act").cloned();
        if !self.all_active(&actors(chain.as_ref())).await? {
            return Ok(None);
        }
        let was_bound = claims.get("cnf").is_some();
        let details = details::carried(&claims);
        Ok(Some(OnBehalf {
            user: Some(user),
            chain,
            at_most: Some(scopes),
            ends,
            was_bound,
            details,
            auth_time: None,
        }))
    }

    /// Whether a token of that moment still counts for its user: not after they were signed out everywhere.
    pub(super) async fn still_signed_in(
        &self,
        user: Option<&UserId>,
        issued: Option<Timestamp>,
    ) -> Result<bool, TokenError> {
        let (Some(user), Some(issued)) = (user, issued) else { return Ok(user.is_none()) };
        let user = self.store.get::<User>(user.as_str()).await?;
        Ok(user.is_some_and(|user| !user.was_signed_out_since(issued)))
    }

    /// Whether all of those who stand behind an agent may still act.
    pub(super) async fn all_active(&self, behind: &[AgentId]) -> Result<bool, TokenError> {
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
}

/// The current actor outermost, those before it inside (RFC 8693, section 4.1).
pub(super) fn actor(agent: &AgentId, chain: Option<Value>) -> Value {
    let mut act = json!({ "sub": agent });
    if let (Some(act), Some(chain)) = (act.as_object_mut(), chain) {
        act.insert("act".to_owned(), chain);
    }
    act
}

/// The agents of an `act` claim of ours, the outermost first.
pub(super) fn actors(chain: Option<&Value>) -> Vec<AgentId> {
    let acts = std::iter::successors(chain, |act| act.get("act")).take(DEEPEST + 1);
    acts.filter_map(|act| act.get("sub")?.as_str()?.parse().ok()).collect()
}
