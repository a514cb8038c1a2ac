//! How a call would be decided: the gateway's own parts in the gateway's order, without a token, without
//! counting and without dialling.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use crate::gateway::budget::Tab;
use crate::gateway::call::{self, RawCall};
use crate::gateway::denial::Denial;
use crate::gateway::enforce::{looks_into_body, outbound_url};
use crate::gateway::limits::judge::{self, Asked, Verdict};
use crate::gateway::path::{CanonicalPath, check_query};
use crate::gateway::{Gateway, RequestBody, find_route, general, pin};
use crate::kernel::ids::GrantId;
use crate::model::agent::Agent;
use crate::model::connection::Connection;
use crate::model::explanation::{Explanation, Probe, Sent, Step, StepVerdict};
use crate::model::grant::Grant;
use crate::net::http::HeaderMap;
use crate::policy::{Action, Decision, Explain, Terms};
use crate::providers::Configured;
use crate::providers::routes::RouteMatch;
use crate::store::{StoreError, Stored};

const JSON: &str = "application/json";

/// The steps so far, and what they are about now.
struct Trace {
    subject: String,
    steps: Vec<Step>,
}

impl Trace {
    fn at(&mut self, subject: &str) {
        subject.clone_into(&mut self.subject);
    }

    fn step(&mut self, verdict: StepVerdict, words: impl Into<String>) {
        self.steps.push(Step { subject: self.subject.clone(), verdict, words: words.into() });
    }
}

impl Explain for Gateway {
    fn explain<'a>(
        &'a self,
        grant: &'a GrantId,
        probe: &'a Probe,
    ) -> LocalBoxFuture<'a, Result<Option<Explanation>, StoreError>> {
        async move {
            let Some(grant) = self.store.get::<Grant>(grant.as_str()).await? else { return Ok(None) };
            let mut trace = Trace { subject: "path".to_owned(), steps: Vec::new() };
            let sent = self.rehearse(&grant, probe, &mut trace).await;
            if let Err(denial) = &sent {
                // What a limit has refused is in its own steps already.
                if trace.steps.last().is_none_or(|step| step.verdict != StepVerdict::Refused) {
                    trace.step(StepVerdict::Refused, denial.description.clone());
                }
            }
            let permitted = sent.is_ok();
            Ok(Some(Explanation { permitted, steps: trace.steps, sent: sent.ok() }))
        }
        .boxed_local()
    }
}

impl Gateway {
    async fn rehearse(
        &self,
        grant: &Stored<Grant>,
        probe: &Probe,
        trace: &mut Trace,
    ) -> Result<Sent, Denial> {
        let configured = self.connections.configured(&grant.provider).await?;
        let call = read(grant, &configured, probe)?;
        let path = CanonicalPath::parse(&call.path).map_err(Denial::ambiguous)?;
        check_query(call.query.as_deref().unwrap_or_default()).map_err(Denial::ambiguous)?;
        trace.step(StepVerdict::Allowed, format!("read as `{}` at the api `{}`", path.as_str(), call.api));
        trace.at("route");
        let found = find_route(&configured, &call, &path)?;
        trace.step(StepVerdict::Allowed, format!("it is the call `{}`", found.route.pattern));
        trace.at("scopes");
        let openers: Vec<&str> = found.route.opened_by.iter().map(|by| by.scope.as_str()).collect();
        trace.step(StepVerdict::Allowed, format!("scopes that open it: {}", openers.join(", ")));
        trace.at("standing");
        let terms = self.terms(grant, &configured, &found).await?;
        trace.step(StepVerdict::Allowed, terms.reasons().join("; "));
        let sent = self.hold_against(&terms, &configured, (&found, &path), &call, probe, trace).await?;
        if let Some(tab) = Tab::of(self, &terms, None) {
            trace.at("budget");
            tab.look().await?;
            trace.step(StepVerdict::Allowed, "there is enough left for one more call");
        }
        Ok(sent)
    }

    async fn terms(
        &self,
        grant: &Grant,
        configured: &Configured,
        found: &RouteMatch<'_>,
    ) -> Result<Terms, Denial> {
        let agent = self.store.get::<Agent>(grant.agent.as_str()).await?.ok_or_else(Denial::invalid_token)?;
        let action = Action::Call {
            grant: &grant.id,
            token_scopes: &grant.scopes,
            token_limits: &[],
            route: found.route,
        };
        match self.decider.rehearse(&agent, &grant.user, configured, &action).await? {
            Decision::Permit(terms) => Ok(terms),
            Decision::Refusal(refusal) => Err(Denial::refused(&refusal)),
            Decision::NeedsPerson(needs) => Err(Denial::needs_person(&needs.reasons)),
        }
    }

    async fn hold_against(
        &self,
        terms: &Terms,
        configured: &Configured,
        (found, path): (&RouteMatch<'_>, &CanonicalPath<'_>),
        call: &RawCall,
        probe: &Probe,
        trace: &mut Trace,
    ) -> Result<Sent, Denial> {
        let template = &configured.loaded.template;
        let limits = terms.limits();
        let now = self.clock.now();
        for limit in limits.iter().filter(|limit| limit.kind().is_general()) {
            trace.at(limit.kind().as_str());
            general::check(limit, found.route, now)?;
            trace.step(StepVerdict::Allowed, "it does not stand against this call now");
        }
        trace.at("request");
        let api = template.api.get(&call.api).ok_or_else(|| Denial::route("there is no such API"))?;
        let connection = self.store.get::<Connection>(terms.connection().as_str()).await?;
        let connection = connection.ok_or_else(Denial::invalid_token)?;
        let pins = &connection.account.pins;
        let whole = probe.data.as_deref().unwrap_or_default().as_bytes();
        let mut changed = None;
        if judge::looks_into_body(template, found.route, limits) || looks_into_body(found.route) {
            changed = pin::body(found.route, whole, Some(JSON), pins)?;
        }
        let query = pin::query(found.route, api, call.query.as_deref(), pins)?;
        let judged = judge::judge(&Asked {
            template,
            routes: &configured.loaded.routes,
            route: found.route,
            params: &found.params,
            limits,
            scopes: terms.scopes(),
            method: &call.method,
            query: query.as_deref(),
            body: changed.as_deref().unwrap_or(whole),
            content_type: Some(JSON),
        });
        for step in judged.steps {
            trace.at(if step.limit.is_empty() { "request" } else { step.limit });
            trace.step(verdict(step.verdict), step.words);
        }
        let plan = judged.outcome?;
        trace.at("request");
        let url = outbound_url(&api.base, &pin::path(found, path, pins)?, plan.query.as_deref())?;
        let body = plan.body.or(changed).map(|body| String::from_utf8_lossy(&body).into_owned());
        Ok(Sent { method: call.method.clone(), url: url.to_string(), body })
    }
}

/// Reads `GET /v1/me`, or an address of ours from `/gateway/` on.
fn read(grant: &Grant, configured: &Configured, probe: &Probe) -> Result<RawCall, Denial> {
    let method = probe.method.to_ascii_uppercase();
    call::check_method(&method).map_err(Denial::unreadable)?;
    let (whole, query) = match probe.path.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (probe.path.as_str(), None),
    };
    let make = |provider: &str, api: &str, path: &str| RawCall {
        provider: provider.to_owned(),
        api: api.to_owned(),
        method: method.clone(),
        path: path.to_owned(),
        query: query.clone(),
        headers: HeaderMap::new(),
        body: RequestBody::default(),
        traceparent: None,
        client_address: None,
    };
    if whole.starts_with("/gateway/") {
        let (provider, api, path) = call::split(whole).map_err(Denial::unreadable)?;
        if provider != grant.provider.as_str() {
            return Err(Denial::route(format!("this grant works at `{}` only", grant.provider)));
        }
        return Ok(make(provider, api, path));
    }
    // Without the API in it the path is that of the first API that knows it.
    let apis = configured.loaded.template.api.keys();
    let mut calls = apis.map(|api| make(grant.provider.as_str(), api, whole));
    let knows = |call: &RawCall| {
        CanonicalPath::parse(&call.path).is_ok_and(|path| find_route(configured, call, &path).is_ok())
    };
    let first = calls.next().ok_or_else(|| Denial::route("there is no such API"))?;
    Ok(if knows(&first) { first } else { calls.find(knows).unwrap_or(first) })
}

const fn verdict(verdict: Verdict) -> StepVerdict {
    match verdict {
        Verdict::Passes => StepVerdict::Allowed,
        Verdict::Changed => StepVerdict::Changed,
        Verdict::LooksUp => StepVerdict::WillBeLookedUp,
        Verdict::TestsAnswer => StepVerdict::WillBeTested,
        Verdict::Refused => StepVerdict::Refused,
    }
}
