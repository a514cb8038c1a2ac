//! How a call would be decided: the gateway's one function, without a token, without counting and without
//! dialling.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use crate::gateway::body::OutboundBody;
use crate::gateway::budget::Tab;
use crate::gateway::call::{self, RawCall};
use crate::gateway::denial::Denial;
use crate::gateway::enforce::permitted;
use crate::gateway::limits::Lookups;
use crate::gateway::limits::judge::{Check, Verdict};
use crate::gateway::path::CanonicalPath;
use crate::gateway::weigh::Manner;
use crate::gateway::{Gateway, RequestBody, find_route};
use crate::kernel::ids::{GrantId, ProviderSlug};
use crate::kernel::said::Said;
use crate::model::agent::Agent;
use crate::model::explanation::{Explanation, Probe, Sent, Step, StepVerdict};
use crate::model::grant::Grant;
use crate::model::limit::Limit;
use crate::model::token::GatewayClaims;
use crate::net::http::HeaderMap;
use crate::net::http::header::{CONTENT_TYPE, HeaderValue};
use crate::policy::{Action, Explain, Terms};
use crate::providers::Configured;
use crate::providers::routes::CompiledRoute;
use crate::store::{StoreError, Stored};

/// The call is not made: the steps so far, and what they are about now.
struct Rehearsal<'a> {
    grant: &'a Stored<Grant>,
    /// Limits that a token would have beside the grant's.
    limits: &'a [Limit],
    subject: &'static str,
    steps: Vec<Step>,
}

impl Manner for Rehearsal<'_> {
    type Leave = Terms;

    fn provider(&self) -> &ProviderSlug {
        &self.grant.provider
    }

    /// A new token, of which nothing is used yet.
    fn claims(&self) -> Option<&GatewayClaims> {
        None
    }

    fn at(&mut self, subject: &'static str) {
        self.subject = subject;
    }

    fn step(&mut self, verdict: StepVerdict, said: impl FnOnce() -> Said) {
        self.steps.push(Step::new(self.subject, verdict, vec![said()]));
    }

    fn found(&mut self, route: &CompiledRoute) {
        self.step(StepVerdict::Allowed, || Said::of("is_the_call").and(route.pattern.as_str()));
        self.at("scopes");
        let openers: Vec<&str> = route.opened_by.iter().map(|by| by.scope.as_str()).collect();
        self.step(StepVerdict::Allowed, || Said::of("openers").and(openers.join(", ")));
    }

    async fn decide(
        &self,
        gateway: &Gateway,
        configured: &Configured,
        route: &CompiledRoute,
    ) -> Result<Terms, Denial> {
        let grant = self.grant;
        let agent = gateway.store.get::<Agent>(grant.agent.as_str()).await?;
        let agent = agent.ok_or_else(Denial::invalid_token)?;
        let action =
            Action::Call { grant: &grant.id, token_scopes: &grant.scopes, token_limits: self.limits, route };
        permitted(gateway.decider.rehearse(&agent, &grant.user, configured, &action).await?)
    }

    /// What was decided a moment ago stands.
    async fn confirm(&self, _: &Terms) -> Result<(), Denial> {
        Ok(())
    }

    async fn renewed(&self, leave: Terms) -> Result<Terms, Denial> {
        Ok(leave)
    }

    /// That it would be asked about is a step of its own already.
    async fn ask(&self, _: &mut Lookups, _: &Check, _: &Limit) -> Result<(), Denial> {
        Ok(())
    }

    async fn count(&self, tab: &Tab) -> Result<(), Denial> {
        tab.look().await
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
            let mut rehearsal =
                Rehearsal { grant: &grant, limits: &probe.limits, subject: "path", steps: Vec::new() };
            let sent = self.rehearse(probe, &mut rehearsal).await;
            let Rehearsal { subject, mut steps, .. } = rehearsal;
            if let Err(denial) = &sent {
                steps.push(Step::new(subject, StepVerdict::Refused, denial.said.clone()));
            }
            let permitted = sent.is_ok();
            Ok(Some(Explanation { permitted, steps, sent: sent.ok() }))
        }
        .boxed_local()
    }
}

impl Gateway {
    async fn rehearse(&self, probe: &Probe, rehearsal: &mut Rehearsal<'_>) -> Result<Sent, Denial> {
        let configured = self.connections.configured(&rehearsal.grant.provider).await?;
        let call = read(&rehearsal.grant.provider, &configured, probe)?;
        let data = probe.data.clone().unwrap_or_default();
        let weighed = self.weigh(&call, RequestBody::whole(data.into()), rehearsal).await?;
        let sent = weighed.permitted.value;
        let body = match &sent.body {
            OutboundBody::Whole(bytes) if !bytes.is_empty() => {
                Some(String::from_utf8_lossy(bytes).into_owned())
            }
            _ => None,
        };
        Ok(Sent { method: call.method, url: sent.url.to_string(), body })
    }
}

/// Reads `GET /v1/me`, or an address of ours from `/gateway/` on.
fn read(provider: &ProviderSlug, configured: &Configured, probe: &Probe) -> Result<RawCall, Denial> {
    let method = probe.method.to_ascii_uppercase();
    call::check_method(&method).map_err(Denial::unreadable)?;
    let (whole, query) = match probe.path.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (probe.path.as_str(), None),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let make = |provider: &str, api: &str, path: &str| RawCall {
        provider: provider.to_owned(),
        api: api.to_owned(),
        method: method.clone(),
        path: path.to_owned(),
        query: query.clone(),
        headers: headers.clone(),
        body: RequestBody::default(),
        traceparent: None,
        client_address: None,
    };
    if whole.starts_with("/gateway/") {
        let (provider, api, path) = call::split(whole).map_err(Denial::unreadable)?;
        return Ok(make(provider, api, path));
    }
    // Without the API in it the path is that of the first API that knows it.
    let apis: BTreeMap<&String, _> = configured.loaded.template.api.iter().collect();
    let mut calls = apis.keys().map(|api| make(provider.as_str(), api, whole));
    let knows = |call: &RawCall| {
        CanonicalPath::parse(&call.path).is_ok_and(|path| find_route(configured, call, &path).is_ok())
    };
    let first = calls.next().ok_or_else(|| Denial::route(Said::of("no_such_api")))?;
    Ok(if knows(&first) { first } else { calls.find(knows).unwrap_or(first) })
}

impl From<Verdict> for StepVerdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Passes => Self::Allowed,
            Verdict::Changed => Self::Changed,
            Verdict::LooksUp => Self::WillBeLookedUp,
            Verdict::TestsAnswer => Self::WillBeTested,
        }
    }
}
