//! From a permit to the one call that it allows.

use std::sync::Arc;

use bytes::Bytes;
use url::Url;

use crate::gateway::body::{OutboundBody, RequestBody};
use crate::gateway::call::RawCall;
use crate::gateway::denial::Denial;
use crate::gateway::forward::Inspect;
use crate::gateway::limits::judge::{self, Asked};
use crate::gateway::path::CanonicalPath;
use crate::gateway::{Gateway, general, headers, pin};
use crate::kernel::ids::ProviderSlug;
use crate::model::connection::Connection;
use crate::net::http::{HeaderMap, Method};
use crate::policy::Permit;
use crate::providers::Configured;
use crate::providers::routes::{CompiledRoute, RouteMatch};
use crate::providers::template::{ObjectPlace, RouteToken, SendToken, Template};

/// A value that the enforcement has made under a permit. Only what carries this can be forwarded.
pub struct Permitted<T> {
    pub(super) value: T,
    pub(super) permit: Permit,
}

/// The call that is sent, complete but for the token.
pub struct OutboundCall {
    pub(super) provider: ProviderSlug,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: OutboundBody,
    pub(super) api: String,
    /// The route's pattern, as the template writes it.
    pub(super) route: String,
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

impl Gateway {
    pub(super) async fn enforce(
        &self,
        permit: Permit,
        configured: &Arc<Configured>,
        found: &RouteMatch<'_>,
        call: &RawCall,
        mut body: RequestBody,
        path: &CanonicalPath<'_>,
    ) -> Result<Permitted<OutboundCall>, Denial> {
        let template = &configured.loaded.template;
        let limits = permit.limits();
        let now = self.clock.now();
        limits.iter().try_for_each(|limit| general::check(limit, found.route, now))?;
        let api = template.api.get(&call.api).ok_or_else(|| Denial::route("there is no such API"))?;
        let connection = self
            .store
            .get::<Connection>(permit.connection().as_str())
            .await?
            .ok_or_else(Denial::invalid_token)?;
        let pins = &connection.account.pins;
        let content_type = call.headers.get("content-type").and_then(|value| value.to_str().ok());
        let limits_look = judge::looks_into_body(template, found.route, limits);
        let mut whole = Bytes::new();
        let mut changed = None;
        if limits_look || looks_into_body(found.route) {
            whole = body.inspect().await.map_err(Denial::unreadable)?;
            changed = pin::body(found.route, &whole, content_type, pins)?;
        }
        let query = pin::query(found.route, api, call.query.as_deref(), pins)?;
        let asked = Asked {
            template,
            routes: &configured.loaded.routes,
            route: found.route,
            params: &found.params,
            limits,
            scopes: permit.scopes(),
            method: &call.method,
            query: query.as_deref(),
            body: changed.as_deref().unwrap_or(&whole),
            content_type,
        };
        let held = self.hold(&asked, configured, &connection).await?;
        changed = held.body.or(changed);
        let mut sent_headers = headers::outbound(&call.headers, api)?;
        if changed.is_some() {
            sent_headers
                .insert("content-type", crate::net::http::HeaderValue::from_static("application/json"));
        }
        if held.inspect.is_some() {
            headers::ask_for_json(&mut sent_headers);
        }
        let url = outbound_url(&api.base, &pin::path(found, path, pins)?, held.query.as_deref())?;
        let method =
            call.method.parse().map_err(|_| Denial::bad_request(405, "this method is not supported"))?;
        let body = match changed {
            Some(changed) => OutboundBody::Whole(changed.into()),
            None => body.outbound().await.map_err(Denial::unreadable)?,
        };
        let outbound = OutboundCall {
            provider: configured.slug.clone(),
            is_safe: matches!(call.method.as_str(), "GET" | "HEAD"),
            method,
            url,
            headers: sent_headers,
            body,
            api: call.api.clone(),
            route: found.route.pattern.clone(),
            follow: found.route.follow,
            inspect: held.inspect,
            token: found.route.token,
            send: api.send.clone(),
            gives: found.route.terms.gives.clone(),
            loaded: Arc::clone(&configured.loaded),
        };
        Ok(Permitted { value: outbound, permit: permit.because(held.reasons) })
    }
}

/// Whether anything in a call's body has to be judged. Where not, the body is passed on while it arrives.
pub(super) fn looks_into_body(route: &CompiledRoute) -> bool {
    !(route.pin_body.is_empty() && route.refuse_body.is_empty())
}

/// Builds the URL once and reads it back: what the library will send must be what was judged. (It
/// rewrites some bytes: `'` to `%27` in queries, `\` to `/`.)
pub(super) fn outbound_url(base: &str, path: &str, query: Option<&str>) -> Result<Url, Denial> {
    let mut url = Url::parse(base).map_err(|_| Denial::route("the API has no usable address"))?;
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
