//! From a template's words to a call, and back.

use std::time::Duration;

use tokio::time::timeout;
use tracing::Instrument as _;
use url::Url;

use crate::kernel::secret::SecretString;
use crate::kernel::trace;
use crate::net::http::{HeaderName, HeaderValue, Method, header};
use crate::net::{Answer, Call, CallBody, secret_header};
use crate::providers::Configured;
use crate::providers::dialect::{Classified, TokenCall, explain};
use crate::providers::template::{ErrorClass, ErrorPlace, OkMember, SendToken};
use crate::upstream::Upstream;
use crate::upstream::failure::{self, Cause, UpstreamError};

/// How long a call may take, but for refreshes.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// How long a refresh may take: giving up early can cost a single-use token.
pub(super) const REFRESH_DEADLINE: Duration = Duration::from_secs(20);

/// Nothing that a token, identity or metadata endpoint says is longer.
const MAX_ANSWER: usize = 256 * 1024;

/// One deadline for all that is fetched for one caller.
pub(super) async fn in_time<T, E: From<UpstreamError>>(
    fetching: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(DEADLINE, fetching).await.unwrap_or_else(|_| Err(UpstreamError::too_slow().into()))
}

impl Upstream {
    /// Makes a call.
    pub(super) async fn dial(&self, mut call: Call, deadline: Duration) -> Result<Answer, UpstreamError> {
        call.deadline = deadline;
        call.max_body = MAX_ANSWER;
        call.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let host = call.url.host_str().unwrap_or_default().to_owned();
        let span = tracing::trace_span!(target: trace::TARGET, trace::PROVIDER, host);
        let answer = self.inner.net.fetch(call).instrument(span).await;
        let answer = answer.map_err(|error| UpstreamError::network(&error))?;
        if let Some(date) = answer.date() {
            self.inner.skew.saw(&host, date, self.now());
        }
        Ok(answer)
    }

    /// Calls a token or revocation endpoint.
    pub(super) async fn dial_token(
        &self,
        call: TokenCall,
        deadline: Duration,
    ) -> Result<Answer, UpstreamError> {
        let unusable = || UpstreamError::unsent(Cause::NotOffered, "the token endpoint is not a usable URL");
        let method = if call.method == "GET" { Method::GET } else { Method::POST };
        let url = Url::parse(call.url.expose_str()).map_err(|_| unusable())?;
        let mut out = Call::new(method, url);
        out.alone = true;
        if let Some(content_type) = call.content_type {
            out.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            out.body = CallBody::Secret(call.body);
        }
        if let Some(authorization) = &call.authorization {
            let value = secret_header("", authorization).ok_or_else(unusable)?;
            out.headers.insert(header::AUTHORIZATION, value);
        }
        self.dial(out, deadline).await
    }

    /// An answer that is no success, understood; `None` when it is one.
    pub(super) fn refused(
        &self,
        configured: &Configured,
        ok: Option<&OkMember>,
        answer: &Answer,
    ) -> Option<UpstreamError> {
        let body = answer.body.expose();
        let template = &configured.loaded.template;
        let found = explain(template, ErrorPlace::Api, answer.status, body, ok);
        // Redirects are not followed, so they are no success either.
        if found.is_none() && answer.is_success() {
            return None;
        }
        let found = found.unwrap_or(Classified { class: ErrorClass::Unknown, code: None, is_known: false });
        let words = "the provider does not say who the account belongs to";
        let mut error = UpstreamError::new(found.class, Cause::Provider, words);
        error.code = found.code;
        error.retry_after = failure::retry_after(&answer.headers, self.now());
        Some(error)
    }
}

/// Puts a token where an API takes it.
pub(super) fn put_token(
    call: &mut Call,
    send: &SendToken,
    token: &SecretString,
) -> Result<(), UpstreamError> {
    let unusable =
        || UpstreamError::unsent(Cause::NotOffered, "the token cannot be sent as the template says");
    match (&send.header, &send.query) {
        (Some(name), None) => {
            let prefix = if name.eq_ignore_ascii_case("authorization") { "Bearer " } else { "" };
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
            call.headers.insert(name, secret_header(prefix, token).ok_or_else(unusable)?);
            Ok(())
        }
        (None, Some(name)) => {
            call.url.query_pairs_mut().append_pair(name, token.expose_str());
            Ok(())
        }
        _ => Err(unusable()),
    }
}
