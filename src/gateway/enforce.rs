//! From a permit to the one call that it allows: judging in earnest.

use std::sync::Arc;

use url::Url;

use crate::gateway::Gateway;
use crate::gateway::body::OutboundBody;
use crate::gateway::budget::Tab;
use crate::gateway::denial::Denial;
use crate::gateway::forward::Inspect;
use crate::gateway::limits::judge::Check;
use crate::gateway::limits::{self, Lookups};
use crate::gateway::standing::{Leave, Moment, Standing};
use crate::gateway::weigh::{Manner, Weighed};
use crate::kernel::ids::ProviderSlug;
use crate::kernel::said::Said;
use crate::model::explanation::StepVerdict;
use crate::model::limit::Limit;
use crate::model::token::GatewayClaims;
use crate::net::http::{HeaderMap, Method};
use crate::policy::{Action, CallContext, Decision, Permit, Request};
use crate::providers::Configured;
use crate::providers::routes::CompiledRoute;
use crate::providers::template::{ObjectPlace, RouteToken, SendToken, Template};
use crate::tokens::VerifiedToken;

/// A value that was judged. Only what carries a [`Permit`] can be forwarded: an explanation has the terms only.
pub struct Permitted<T, P = Permit> {
    pub(super) value: T,
    pub(super) leave: P,
}

/// A call that is paid for. Only such a call is forwarded.
pub(super) struct Charged<T> {
    pub(super) permitted: Permitted<T>,
    pub(super) tab: Option<Tab>,
    /// Whether it may still be made.
    pub(super) standing: Standing,
}

impl Charged<OutboundCall> {
    /// A call that was weighed in earnest.
    pub(super) fn of(weighed: Weighed<Leave>) -> Self {
        let Weighed { permitted: Permitted { value, leave: Leave { permit, standing } }, tab, reasons } =
            weighed;
        Self { permitted: Permitted { value, leave: permit.because(reasons) }, tab, standing }
    }
}

/// The call that is sent, complete but for the token.
pub struct OutboundCall {
    pub(super) provider: ProviderSlug,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: OutboundBody,
    pub(super) api: String,
    /// Whether a redirect to storage is followed.
    pub(super) follow: bool,
    /// Looks into the whole answer before it is released.
    pub(super) inspect: Option<Inspect>,
    pub(super) token: RouteToken,
    pub(super) send: SendToken,
    pub(super) is_safe: bool,
    /// Where the things are that the answer gives.
    pub(super) gives: Vec<ObjectPlace>,
    pub(super) loaded: Arc<crate::providers::load::LoadedTemplate>,
}

impl OutboundCall {
    pub(super) fn template(&self) -> &Template {
        &self.loaded.template
    }

    /// The hosts that a redirect may lead to.
    pub(super) fn storage(&self) -> &[String] {
        self.template().api.get(&self.api).map(|api| api.storage_hosts.as_slice()).unwrap_or_default()
    }
}

/// The call is made.
pub(super) struct InEarnest<'a> {
    pub(super) verified: &'a Arc<VerifiedToken>,
    pub(super) context: &'a mut CallContext,
    /// Nothing that is decided on was read much earlier.
    pub(super) begun: Moment,
}

impl Manner for InEarnest<'_> {
    type Leave = Leave;

    fn provider(&self) -> &ProviderSlug {
        &self.verified.claims.provider
    }

    fn claims(&self) -> Option<&GatewayClaims> {
        Some(&self.verified.claims)
    }

    fn at(&mut self, _: &'static str) {}

    fn step(&mut self, _: StepVerdict, _: impl FnOnce() -> Said) {}

    fn found(&mut self, route: &CompiledRoute) {
        self.context.route = Some(route.pattern.clone());
    }

    async fn decide(
        &self,
        gateway: &Gateway,
        configured: &Configured,
        route: &CompiledRoute,
    ) -> Result<Leave, Denial> {
        let VerifiedToken { claims, agent } = &**self.verified;
        let action = Action::Call {
            grant: &claims.grant,
            token_scopes: &claims.scopes,
            token_limits: &claims.limits,
            route,
        };
        let request = Request { agent, user: &claims.user, provider: configured, action };
        let permit = permitted(gateway.decider.decide(&request).await?)?;
        let standing = Standing::new(gateway, self.verified, route, (permit.as_ref(), self.begun));
        Ok(Leave { permit, standing })
    }

    async fn confirm(&self, leave: &Leave) -> Result<(), Denial> {
        leave.standing.confirmed().await.map(drop)
    }

    async fn renewed(&self, leave: Leave) -> Result<Leave, Denial> {
        leave.renewed().await
    }

    async fn ask(&self, lookups: &mut Lookups, check: &Check, limit: &Limit) -> Result<(), Denial> {
        limits::require_inside(lookups, check, limit).await
    }

    async fn count(&self, tab: &Tab) -> Result<(), Denial> {
        tab.charge_call().await
    }
}

/// What the pipeline permits, or its refusal.
pub(super) fn permitted<P>(decision: Decision<P>) -> Result<P, Denial> {
    match decision {
        Decision::Permit(leave) => Ok(leave),
        Decision::Refusal(refusal) => Err(Denial::refused(&refusal)),
        Decision::NeedsPerson(needs) => Err(Denial::needs_person(&needs.reasons)),
    }
}

/// Whether anything in a call's body has to be judged. Where not, the body is passed on while it arrives.
pub(super) fn looks_into_body(route: &CompiledRoute) -> bool {
    !(route.pin_body.is_empty() && route.refuse_body.is_empty())
}

/// Builds the URL once and reads it back: what the library will send must be what was judged. (It
/// rewrites some bytes: `'` to `%27` in queries, `\` to `/`.)
pub(super) fn outbound_url(base: &str, path: &str, query: Option<&str>) -> Result<Url, Denial> {
    let mut url = Url::parse(base).map_err(|_| Denial::route(Said::of("no_such_api")))?;
    url.set_path(path);
    url.set_query(query);
    if url.path() != path {
        return Err(Denial::bad_request(400, "the path would be sent in another form than it was judged"));
    }
    let same_query = match (url.query(), query) {
        (None, None) => true,
        (Some(sent), Some(judged)) => sent == judged || sent == judged.replace('\'', "%27"),
        _ => false,
    };
    if same_query {
        Ok(url)
    } else {
        Err(Denial::bad_request(400, "the query would be sent in another form"))
    }
}
