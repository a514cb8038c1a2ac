//! How a call is decided: one function, for calls that are made and for calls that are only explained. What
//! differs between the two is their manner; so they cannot drift apart.
//!
//! Path → route → decision (`policy`) → general bounds → users pinned → limits → look-ups → budgets. All that
//! needs no dialling comes before what does, and counting comes last: a call that is denied is not counted.

use std::sync::Arc;

use bytes::Bytes;

use crate::gateway::budget::Tab;
use crate::gateway::call::RawCall;
use crate::gateway::denial::Denial;
use crate::gateway::enforce::{OutboundCall, Permitted, looks_into_body, outbound_url};
use crate::gateway::limits::judge::{self, Asked, Check, Plan};
use crate::gateway::limits::{self, Lookups};
use crate::gateway::path::{CanonicalPath, check_query};
use crate::gateway::{Gateway, RequestBody, find_route, general, headers, pin};
use crate::kernel::ids::ProviderSlug;
use crate::kernel::said::Said;
use crate::model::connection::Connection;
use crate::model::explanation::StepVerdict;
use crate::model::limit::Limit;
use crate::model::token::GatewayClaims;
use crate::net::http::HeaderValue;
use crate::policy::Terms;
use crate::providers::Configured;
use crate::providers::routes::{CompiledRoute, RouteMatch};

/// In earnest, or to explain it.
pub(super) trait Manner {
    /// What permits the call.
    type Leave: AsRef<Terms>;

    /// Where the call may go.
    fn provider(&self) -> &ProviderSlug;

    /// Whose token it is made with.
    fn claims(&self) -> Option<&GatewayClaims>;

    /// What is looked at from now on: a stage, or a limit's kind.
    fn at(&mut self, subject: &'static str);

    /// Something was looked at, and did not refuse.
    fn step(&mut self, verdict: StepVerdict, said: impl FnOnce() -> Said);

    /// The call is known now.
    fn found(&mut self, route: &CompiledRoute);

    /// The pipeline decides.
    async fn decide(
        &self,
        gateway: &Gateway,
        configured: &Configured,
        route: &CompiledRoute,
    ) -> Result<Self::Leave, Denial>;

    /// Looks whether that still holds, unless it was decided a moment ago.
    async fn confirm(&self, leave: &Self::Leave) -> Result<(), Denial>;

    /// Decides anew, unless that was done a moment ago.
    async fn renewed(&self, leave: Self::Leave) -> Result<Self::Leave, Denial>;

    /// Something has to be asked about before the call is made.
    async fn ask(&self, lookups: &mut Lookups, check: &Check, limit: &Limit) -> Result<(), Denial>;

    /// The call is counted.
    async fn count(&self, tab: &Tab) -> Result<(), Denial>;
}

/// A call that may be made.
pub(super) struct Weighed<P> {
    pub(super) permitted: Permitted<OutboundCall, P>,
    /// What it is charged to.
    pub(super) tab: Option<Tab>,
    /// What else was checked, for the decision's event.
    pub(super) reasons: Vec<Said>,
}

impl Gateway {
    /// Judges a call by everything that can refuse it.
    ///
    /// # Errors
    /// The first refusal.
    pub(super) async fn weigh<M: Manner>(
        &self,
        call: &RawCall,
        body: RequestBody,
        manner: &mut M,
    ) -> Result<Weighed<M::Leave>, Denial> {
        manner.at("path");
        if call.provider != manner.provider().as_str() {
            return Err(Denial::route(Said::of("other_provider").and(manner.provider().as_str())));
        }
        let configured = self.connections.configured(manner.provider()).await?;
        self.upstream.admit(&configured);
        let path = CanonicalPath::parse(&call.path).map_err(Denial::ambiguous)?;
        check_query(call.query.as_deref().unwrap_or_default()).map_err(Denial::ambiguous)?;
        manner.step(StepVerdict::Allowed, || Said::of("read_as").and(path.as_str()).and(call.api.as_str()));
        // What one server passes over another reads (RFC 9110, section 9.3.1).
        if matches!(call.method.as_str(), "GET" | "HEAD") && !body.is_none() {
            return Err(Denial::bad_request(400, "this method takes no body: leave it out"));
        }
        manner.at("route");
        let found = find_route(&configured, call, &path)?;
        manner.found(found.route);
        manner.at("standing");
        let leave = manner.decide(self, &configured, found.route).await?;
        let terms = leave.as_ref();
        for reason in terms.reasons() {
            manner.step(StepVerdict::Allowed, || Said::plain(reason.as_str()));
        }
        self.hold_generally(terms, found.route, manner)?;
        for limit in terms.limits().iter().filter(|limit| limit.kind().is_general()) {
            manner.at(limit.kind().as_str());
            manner.step(StepVerdict::Allowed, || Said::of("stands_aside"));
        }
        let connection = self.store.get::<Connection>(terms.connection().as_str()).await?;
        let connection = connection.ok_or_else(Denial::invalid_token)?;
        let (configured, found, path) = (&configured, &found, &path);
        let on = On { configured, found, path, leave: &leave, terms, connection: &connection };
        let outbound = self.outbound(&on, call, body, manner).await?;
        // The body, or what was asked about, may have taken its time.
        manner.at("standing");
        let leave = manner.renewed(leave).await?;
        let terms = leave.as_ref();
        self.hold_generally(terms, found.route, manner)?;
        let tab = Tab::of(self, terms, manner.claims());
        if let Some(tab) = &tab {
            manner.at("budget");
            manner.count(tab).await?;
            manner.step(StepVerdict::Allowed, || Said::of("enough_left"));
        }
        let reasons = limits::reasons(terms.limits(), found.route);
        Ok(Weighed { permitted: Permitted { value: outbound, leave }, tab, reasons })
    }

    /// Holds a call against the limits that bound every call alike.
    fn hold_generally<M: Manner>(
        &self,
        terms: &Terms,
        route: &CompiledRoute,
        manner: &mut M,
    ) -> Result<(), Denial> {
        let now = self.clock.now();
        for limit in terms.limits().iter().filter(|limit| limit.kind().is_general()) {
            manner.at(limit.kind().as_str());
            general::check(limit, route, now)?;
        }
        Ok(())
    }

    /// The call as it is sent, held inside the limits in force.
    async fn outbound<M: Manner>(
        &self,
        on: &On<'_, M::Leave>,
        call: &RawCall,
        mut body: RequestBody,
        manner: &mut M,
    ) -> Result<OutboundCall, Denial> {
        let On { configured, found, path, terms, connection, leave } = on;
        let (template, limits) = (&configured.loaded.template, terms.limits());
        manner.at("request");
        let api = template.api.get(&call.api).ok_or_else(|| Denial::route(Said::of("no_such_api")))?;
        let pins = &connection.account.pins;
        let content_type = call.headers.get("content-type").and_then(|value| value.to_str().ok());
        let mut whole = Bytes::new();
        let mut changed = None;
        if judge::looks_into_body(template, found.route, limits) || looks_into_body(found.route) {
            whole = body.inspect().await.map_err(Denial::unreadable)?;
            manner.confirm(leave).await?;
            changed = pin::body(found.route, &whole, content_type, pins)?;
        }
        let query = pin::query(found.route, api, call.query.as_deref(), pins)?;
        let pinned_path = pin::path(found, path, pins)?;
        let judged = judge::judge(&Asked {
            template,
            routes: &configured.loaded.routes,
            route: found.route,
            params: &found.params,
            limits,
            scopes: terms.scopes(),
            method: &call.method,
            query: query.as_deref(),
            body: changed.as_deref().unwrap_or(&whole),
            content_type,
        });
        for step in judged.steps {
            manner.at(step.limit);
            manner.step(step.verdict.into(), || step.said);
        }
        if let Err(denial) = &judged.outcome
            && let Some(kind) = limits::kind_named(limits, denial)
        {
            manner.at(kind);
        }
        let mut plan = judged.outcome?;
        manner.at("request");
        changed = plan.body.take().or(changed);
        let mut sent = headers::outbound(&call.headers, api)?;
        if changed.is_some() {
            sent.insert("content-type", HeaderValue::from_static("application/json"));
        }
        let url = outbound_url(&api.base, &pinned_path, plan.query.as_deref())?;
        let method = call.method.parse();
        let method = method.map_err(|_| Denial::bad_request(405, "this method is not supported"))?;
        let inspect = self.asked_about(on, &call.method, plan, manner).await?;
        if inspect.is_some() {
            headers::ask_for_json(&mut sent);
        }
        let body = match changed {
            Some(changed) => crate::gateway::body::OutboundBody::Whole(changed.into()),
            None => body.outbound().await.map_err(Denial::unreadable)?,
        };
        Ok(OutboundCall {
            provider: configured.slug.clone(),
            is_safe: matches!(call.method.as_str(), "GET" | "HEAD"),
            method,
            url,
            headers: sent,
            body,
            api: call.api.clone(),
            follow: found.route.follow,
            inspect,
            token: found.route.token,
            send: api.send.clone(),
            gives: found.route.terms.gives.clone(),
            loaded: Arc::clone(&configured.loaded),
        })
    }

    /// Asks about what the call names, and says how its answer is held.
    async fn asked_about<M: Manner>(
        &self,
        on: &On<'_, M::Leave>,
        method: &str,
        plan: Plan,
        manner: &mut M,
    ) -> Result<Option<crate::gateway::forward::Inspect>, Denial> {
        let (route, limits) = (on.found.route, on.terms.limits());
        let looks_into_answer = method != "HEAD"
            && (!plan.answer.is_empty() || limits::has_addresses(&on.configured.loaded.template, route));
        if plan.checks.is_empty() && !looks_into_answer {
            return Ok(None);
        }
        let mut lookups = Lookups::new(self, on.configured, &on.connection.id, &on.connection.account.pins);
        for check in &plan.checks {
            if let Some(limit) = limits.get(check.limit) {
                manner.at(limit.kind().as_str());
                manner.confirm(on.leave).await?;
                manner.ask(&mut lookups, check, limit).await?;
            }
        }
        Ok(looks_into_answer.then(|| self.inspection(route, limits, plan.answer, lookups)))
    }
}

/// What a call is judged against.
struct On<'a, L> {
    configured: &'a Arc<Configured>,
    found: &'a RouteMatch<'a>,
    path: &'a CanonicalPath<'a>,
    leave: &'a L,
    terms: &'a Terms,
    connection: &'a Connection,
}
