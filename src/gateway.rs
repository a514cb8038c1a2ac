//! The enforcing reverse proxy in front of provider APIs.
//!
//! A call's way: read strictly (`call`) → token → judged (`weigh`, in earnest: `enforce`, or only to say how it
//! would come out: `explain`) → forward (`forward`) → answer. What was judged is the object that is sent.

mod answer;
mod body;
mod budget;
mod call;
mod denial;
mod dial;
mod echo;
mod enforce;
mod explain;
mod forward;
mod general;
mod headers;
mod hosts;
mod http;
#[cfg(not(fuzzing))]
mod limits;
#[cfg(fuzzing)]
pub mod limits;
mod links;
mod path;
mod pin;
mod redirect;
mod standing;
mod stream;
mod teach;
mod weigh;

pub use body::RequestBody;
pub use call::{RawCall, Unreadable};
pub use denial::{Denial, DenialCode};
pub use hosts::Hosts;
pub use http::{handle, may_send_body};
pub use limits::Recent;
pub use path::{Ambiguous, CanonicalPath, check_query};

use std::net::IpAddr;
use std::sync::Arc;

use crate::audit::AuditLog;
use crate::connections::Connections;
use crate::gateway::answer::GatewayAnswer;
use crate::gateway::enforce::{Charged, InEarnest};
use crate::gateway::standing::Moment;
use crate::kernel::clock::Clock;
use crate::kernel::ids::ProviderSlug;
use crate::kernel::said::Said;
use crate::model::event::{EventDraft, EventKind, Verdict};
use crate::model::token::GatewayClaims;
use crate::net::HttpClient;
use crate::policy::{CallContext, Decider, RefusalCode};
use crate::providers::Configured;
use crate::server::metrics::SyncWaits;
use crate::store::Store;
use crate::tokens::{ShownToken, Tokens, VerifiedToken};
use crate::upstream::Upstream;

/// The rooms that the gateway works with.
#[derive(Clone)]
pub struct Gateway {
    /// The store.
    pub store: Store,
    /// The log.
    pub audit: AuditLog,
    /// Checks gateway tokens.
    pub tokens: Tokens,
    /// Provider tokens.
    pub connections: Connections,
    /// The pipeline.
    pub decider: Decider,
    /// Knows which hosts a provider has.
    pub upstream: Upstream,
    /// Dials.
    pub net: HttpClient,
    /// What is known of the hosts that calls go to.
    pub hosts: Arc<Hosts>,
    /// What was looked up a moment ago, for limits.
    pub recent: Recent,
    /// How long answers wait for the log.
    pub sync_waits: SyncWaits,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl Gateway {
    /// Checks the token of a call.
    ///
    /// # Errors
    /// When it does not work, or that cannot be known now.
    pub async fn authenticate(&self, shown: &ShownToken<'_>) -> Result<VerifiedToken, Denial> {
        Ok(self.tokens.verify(shown).await?)
    }

    /// Whether there is any point in reading on after a token: who holds it is asked with the call.
    ///
    /// # Errors
    /// When it does not work, or that cannot be known now.
    pub async fn is_worth_reading(&self, token: &str) -> Result<(), Denial> {
        self.tokens.standing(token).await?;
        Ok(())
    }

    /// Judges a call and, if it is permitted, forwards it.
    ///
    /// # Errors
    /// The denial, with what the agent can do about it.
    pub async fn serve(
        &self,
        verified: &Arc<VerifiedToken>,
        mut call: RawCall,
    ) -> Result<GatewayAnswer, Denial> {
        let begun = Moment::now(self);
        let mut context = context(verified, &call.path, call.client_address);
        context.traceparent.clone_from(&call.traceparent);
        let body = std::mem::take(&mut call.body);
        let mut manner = InEarnest { verified, context: &mut context, begun };
        match self.weigh(&call, body, &mut manner).await {
            Ok(weighed) => match self.forward(Charged::of(weighed), &context).await {
                Ok(answer) => Ok(answer),
                Err(denial) => Err(self.teach(denial, verified, &call.api, context.route.as_deref()).await),
            },
            Err(denial) => {
                let denial = self.teach(denial, verified, &call.api, context.route.as_deref()).await;
                Err(self.record_denial(denial, &verified.claims, &context).await)
            }
        }
    }

    /// The denial of a call that cannot be read, by a caller whose token works.
    pub async fn unreadable(
        &self,
        verified: &VerifiedToken,
        unreadable: Unreadable,
        path: &str,
        from: IpAddr,
    ) -> Denial {
        let context = context(verified, path, Some(from));
        self.record_denial(Denial::unreadable(unreadable), &verified.claims, &context).await
    }

    /// Where an API is at the gateway.
    fn base(&self, provider: &ProviderSlug, api: &str) -> String {
        format!("{}/gateway/{provider}/{api}", self.tokens.issuer.as_str().trim_end_matches('/'))
    }

    /// Writes a denial down before it is answered, and gives it the event's id.
    async fn record_denial(&self, denial: Denial, claims: &GatewayClaims, context: &CallContext) -> Denial {
        let draft = EventDraft {
            agent: Some(claims.agent.clone()),
            user: Some(claims.user.clone()),
            provider: Some(claims.provider.clone()),
            grant: Some(claims.grant.clone()),
            verdict: Some(Verdict::Deny),
            reasons: denial.reasons(),
            said: denial.told(),
            scopes: Some(claims.scopes.clone()),
            status: Some(denial.status),
            interaction: denial.remedy.as_ref().map(|remedy| remedy.interaction.clone()),
            ..context.draft()
        };
        match self.audit.record(draft).await {
            Ok(event) => denial.with_event(event),
            Err(error) => error.into(),
        }
    }
}

fn context(verified: &VerifiedToken, path: &str, from: Option<IpAddr>) -> CallContext {
    CallContext {
        task: verified.claims.task.clone(),
        client_address: from,
        path: Some(crate::kernel::text::clean(path, 512)),
        ..CallContext::new(EventKind::GatewayDecision, "gateway.call")
    }
}

fn find_route<'t>(
    configured: &'t Configured,
    call: &RawCall,
    path: &CanonicalPath<'_>,
) -> Result<crate::providers::routes::RouteMatch<'t>, Denial> {
    // HEAD is GET without the body (RFC 9110, section 9.3.2).
    let method = if call.method == "HEAD" { "GET" } else { call.method.as_str() };
    let found = configured.loaded.routes.find(&call.api, method, &path.segments());
    found.filter(|found| found.params.values().all(|id| is_plain_id(id))).ok_or_else(|| {
        let apis = &configured.loaded.template.api;
        if let Some(first) = apis.keys().next().filter(|_| !apis.contains_key(&call.api)) {
            return Denial::route(without_api(call, path, apis.keys(), first));
        }
        let said = Said::of("no_scope_opens").and(call.method.as_str());
        Denial::route(said.and(path.as_str()).and(call.api.as_str()))
    })
}

/// Whoever leaves the API out has the vendor's own path begin in its place.
fn without_api<'a>(
    call: &RawCall,
    path: &CanonicalPath<'_>,
    apis: impl Iterator<Item = &'a String>,
    first: &str,
) -> Said {
    let listed: Vec<String> = apis.map(|api| format!("`{api}`")).collect();
    let whole = format!("/gateway/{}/{first}/{}{}", call.provider, call.api, path.as_str());
    Said::of("no_api_of").and(call.api.as_str()).and(call.provider.as_str()).and(listed.join(", ")).and(whole)
}

/// Whether a segment can only be an id. In OData, `$count`, `$ref` or `delta()` in an id's place is
/// another call.
fn is_plain_id(segment: &str) -> bool {
    let decoded: String = segment.replace("%24", "$").replace("%28", "(").replace("%29", ")");
    !decoded.starts_with('$') && !decoded.contains(['(', ')'])
}

impl From<RefusalCode> for DenialCode {
    fn from(code: RefusalCode) -> Self {
        match code {
            RefusalCode::InsufficientScope | RefusalCode::InvalidScope => Self::InsufficientScope,
            RefusalCode::InvalidTarget => Self::RouteNotAllowed,
            RefusalCode::AgentNotActive
            | RefusalCode::Stopped
            | RefusalCode::UserNotAllowed
            | RefusalCode::GrantEnded
            | RefusalCode::ConnectionNotUsable => Self::InvalidToken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_plain_id;

    #[test]
    fn calls_in_the_place_of_an_id_are_told_from_ids() {
        for id in ["AAMkAD=", "19:x@thread.v2", "b!x", "a.b_c-d~e", "%E9%92%A5"] {
            assert!(is_plain_id(id), "{id}");
        }
        for call in ["$count", "%24count", "delta()", "delta%28%29", "search(q='x')"] {
            assert!(!is_plain_id(call), "{call}");
        }
    }
}
