//! Identity assertion authorization grants (draft-ietf-oauth-identity-assertion-authz-grant): an enterprise's
//! identity provider vouches for a user to us. It takes the place of the user's own token; whether the agent may
//! act for them, and with what, stays the pipeline's to say.

use std::time::Duration;

use crate::agents::Authenticated;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::UserId;
use crate::kernel::scope::ScopeSet;
use crate::model::agent::{Agent, AgentKind};
use crate::model::credential::UsedAssertion;
use crate::model::event::{EventDraft, EventKind, Verdict};
use crate::model::token::Binding;
use crate::model::user::{User, subject_index};
use crate::providers::template::ErrorClass;
use crate::store::{Committed, Tx};
use crate::tokens::{
    GRANT_EXCHANGE, GRANT_JWT_BEARER, Params, RequestInfo, SUBJECT_TOKEN_AGE, TYPE_ID_JAG, TokenError, Tokens,
};
use crate::upstream::{BadAssertion, IdJag};

/// What the assertion stands in for.
const REPLACED: [&str; 5] = ["subject_token", "subject_token_type", "assertion", "audience", "scope"];

/// A user for whom the identity provider has vouched. Made here only.
#[derive(Clone, Debug)]
pub struct Vouched {
    user: UserId,
    auth_time: Timestamp,
}

impl Vouched {
    /// The user.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// When they last proved who they are.
    pub fn auth_time(&self) -> Timestamp {
        self.auth_time
    }
}

/// A request with an assertion, as it reads with what the assertion says in the assertion's place.
pub struct VouchedRequest {
    /// Who is meant.
    pub user: Vouched,
    /// Its parameters; audience and scope no wider than the assertion's.
    pub pairs: Vec<(String, String)>,
}

/// How refusals of a request with an assertion are answered.
#[derive(Clone, Copy)]
struct Shown<'a> {
    text: &'a str,
    code: &'static str,
}

impl Shown<'_> {
    fn refuse(self, words: &'static str) -> TokenError {
        TokenError::new(self.code, words)
    }
}

impl Tokens {
    /// Reads the assertion of a request; `None` where there is none.
    ///
    /// # Errors
    /// `invalid_grant` (RFC 7521, section 4.1.1), or `invalid_request` where it is a `subject_token`; and what
    /// goes beyond it.
    pub async fn vouched(
        &self,
        agent: &Authenticated<Agent>,
        params: Params<'_>,
        info: &RequestInfo,
    ) -> Result<Option<VouchedRequest>, TokenError> {
        let shown = match (params.get("grant_type"), params.get("subject_token_type")) {
            (Some(GRANT_JWT_BEARER), _) => {
                params.refuse(&["subject_token", "subject_token_type"])?;
                Shown { text: params.require("assertion")?, code: "invalid_grant" }
            }
            (Some(GRANT_EXCHANGE), Some(TYPE_ID_JAG)) => {
                Shown { text: params.require("subject_token")?, code: "invalid_request" }
            }
            _ => return Ok(None),
        };
        match self.read_assertion(agent, shown, params, info).await {
            Ok(request) => Ok(Some(request)),
            Err(error) if error.status == 400 => {
                let draft = EventDraft {
                    agent: Some(agent.id.clone()),
                    verdict: Some(Verdict::Deny),
                    reasons: vec![error.description.clone()],
                    client_address: info.client_address,
                    traceparent: info.traceparent.clone(),
                    ..EventDraft::new(EventKind::TokenDecision, "token.id_jag")
                };
                let event = self.audit.record(draft).await?;
                Err(error.with_event(event))
            }
            Err(error) => Err(error),
        }
    }

    async fn read_assertion(
        &self,
        agent: &Authenticated<Agent>,
        shown: Shown<'_>,
        params: Params<'_>,
        info: &RequestInfo,
    ) -> Result<VouchedRequest, TokenError> {
        if agent.kind == AgentKind::Autonomous {
            return Err(TokenError::new("unauthorized_client", "an autonomous agent does not act for users"));
        }
        let jag = self.checked(agent, shown).await?;
        if self.clock.now().since(jag.auth_time) > SUBJECT_TOKEN_AGE {
            return Err(
                shown.refuse("the user signed in too long ago: let them sign in again, for a new assertion")
            );
        }
        if !is_held(jag.binding.as_ref(), info.binding.as_ref()) {
            return Err(TokenError::new("invalid_dpop_proof", "the assertion is bound to another key"));
        }
        let index = subject_index(&jag.issuer, &jag.subject);
        let user = self.store.find_unique::<User>("subject", &index).await?;
        let user = user.ok_or_else(|| shown.refuse("the assertion is about no user that is known here"))?;
        if user.was_signed_out_since(jag.auth_time) {
            return Err(
                shown.refuse("the user was signed out since: let them sign in again, for a new assertion")
            );
        }
        if agent.kind == AgentKind::Personal && !agent.owner.is(&user.id) {
            return Err(shown.refuse("the assertion is about no user that is known here"));
        }
        let audience = self.target(params.get("audience"), &jag.resources)?;
        let scope = within(params.get("scope"), jag.scope.as_deref(), shown)?;
        // Last: a request that is refused for another reason may be put right and sent again.
        self.spend(&jag, shown).await?;
        let kept = params.0.iter().filter(|(name, _)| !REPLACED.contains(&name.as_str())).cloned();
        let replaced = [("audience".to_owned(), audience), ("scope".to_owned(), scope)];
        let user = Vouched { user: user.id.clone(), auth_time: jag.auth_time };
        Ok(VouchedRequest { user, pairs: kept.chain(replaced).collect() })
    }

    async fn checked(&self, agent: &Authenticated<Agent>, shown: Shown<'_>) -> Result<IdJag, TokenError> {
        let Some(sign_in) = &self.sign_in else {
            return Err(shown.refuse("no identity provider is trusted here"));
        };
        let configured = self.connections.configured(sign_in).await?;
        let issuer = self.issuer.as_str().trim_end_matches('/');
        let checked = self.upstream.verify_id_jag(&configured, shown.text, issuer, agent.id.as_str()).await;
        checked.map_err(|bad| match bad {
            BadAssertion::Keys(error) if error.class == ErrorClass::Retry => TokenError::unavailable(
                "the identity provider's keys cannot be fetched at present: try again shortly",
                error.retry_after.unwrap_or(Duration::from_secs(5)),
            ),
            BadAssertion::Keys(_) => shown.refuse("the assertion cannot be checked"),
            BadAssertion::Because(words) => shown.refuse(words),
        })
    }

    /// What the request is for: what it says itself, if that is among the assertion's resources.
    fn target(&self, asked: Option<&str>, resources: &[String]) -> Result<String, TokenError> {
        let gateway = self.at("/gateway/");
        let named = |resource: &String| match resource.strip_prefix(&gateway) {
            Some(provider) => format!("provider:{}", provider.trim_end_matches('/')),
            None => resource.clone(),
        };
        let allowed: Vec<String> = resources.iter().map(named).collect();
        match (asked, allowed.as_slice()) {
            (Some(asked), []) => Ok(asked.to_owned()),
            (None, []) => Err(TokenError::invalid_request("the parameter audience is missing")),
            (None, [only]) => Ok(only.clone()),
            (Some(asked), allowed) if allowed.iter().any(|one| one == asked) => Ok(asked.to_owned()),
            _ => Err(TokenError::new("invalid_target", "the assertion is for another resource")),
        }
    }

    /// Uses an assertion up, for every node and across restarts.
    async fn spend(&self, jag: &IdJag, shown: Shown<'_>) -> Result<(), TokenError> {
        let digest = self.vault.state_digest("id-jag", &format!("{} {}", jag.issuer, jag.id)).hex();
        let stretch = UsedAssertion::stretch_of(jag.usable_until);
        // An hour is several stretches: the same name under another `exp` is the same name.
        let others: Vec<String> = (-4..=4)
            .filter(|step| *step != 0)
            .map(|step: i64| UsedAssertion::key_of(&digest, stretch.saturating_add(step)))
            .collect();
        let mut tx = Tx::new();
        tx.insert(&UsedAssertion { digest, expires_at: jag.usable_until });
        for other in &others {
            tx.require_absent::<UsedAssertion>(other);
        }
        match self.store.commit(tx).await? {
            Committed::Done => Ok(()),
            Committed::Conflict => Err(shown.refuse("the assertion was used before")),
        }
    }
}

/// Whether whoever shows an assertion holds what it is bound to.
fn is_held(wanted: Option<&Binding>, held: Option<&Binding>) -> bool {
    let Some(wanted) = wanted else { return true };
    let Some(held) = held else { return false };
    let fits = |wanted: &Option<String>, held: &Option<String>| wanted.is_none() || wanted == held;
    fits(&wanted.jkt, &held.jkt) && fits(&wanted.certificate, &held.certificate)
}

/// What was asked for, if the assertion allows it; all that it allows, if nothing was.
fn within(asked: Option<&str>, allowed: Option<&str>, shown: Shown<'_>) -> Result<String, TokenError> {
    let Some(allowed) = allowed else { return Ok(asked.unwrap_or_default().to_owned()) };
    let allowed =
        ScopeSet::parse(allowed).map_err(|_| shown.refuse("the assertion's `scope` cannot be read"))?;
    let asked = ScopeSet::parse(asked.unwrap_or_default())
        .map_err(|error| TokenError::new("invalid_scope", error.to_string()))?;
    if allowed.is_empty() {
        return Err(TokenError::new("invalid_scope", "the assertion allows no scope"));
    }
    if !asked.is_subset(&allowed) {
        return Err(TokenError::new("invalid_scope", "more than the assertion allows"));
    }
    Ok(if asked.is_empty() { allowed } else { asked }.to_string())
}
