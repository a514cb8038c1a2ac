//! Dialling the provider: with a token, within the bounds of the host, and once more where the token was stale.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tracing::Instrument as _;

use crate::connections::ProviderAccess;
use crate::gateway::answer::OutcomeOnDrop;
use crate::gateway::body::{OutboundBody, Sending};
use crate::gateway::denial::Denial;
use crate::gateway::enforce::OutboundCall;
use crate::gateway::hosts::Pass;
use crate::gateway::standing::Standing;
use crate::gateway::stream::Chunks;
use crate::gateway::{Gateway, echo, headers};
use crate::kernel::ids::{AgentId, ConnectionId};
use crate::kernel::secret::SecretString;
use crate::kernel::trace;
use crate::net::http::HeaderMap;
use crate::net::http::header::{CONTENT_LENGTH, WWW_AUTHENTICATE};
use crate::net::{Call, CallBody, NetError, StreamingAnswer};
use crate::providers::dialect;
use crate::providers::template::{ErrorClass, RouteToken};

/// How long the provider may take to answer, from the last chunk of the body on.
pub(super) const HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// The longest answer that passes.
pub(super) const LARGEST_ANSWER: usize = 5 * 1024 * 1024 * 1024;
/// How much of an answer is read to recognise an error in it.
const PEEK: usize = 16 * 1024;
/// When to come again after a renewal.
const SOON: Duration = Duration::from_secs(1);

/// An answer whose beginning was read.
pub(super) struct Peeked {
    pub(super) answer: StreamingAnswer,
    /// What the provider reports, be it inside HTTP 200.
    pub(super) error: Option<ErrorClass>,
    /// What the answer must not repeat.
    pub(super) token: Arc<SecretString>,
    head: Vec<Bytes>,
    /// Held while the answer is read: the body may still be on its way.
    sending: Option<Sending>,
    pass: Pass,
}

impl Peeked {
    /// The body, without the token. When the stream is dropped, so is the connection.
    pub(super) fn into_stream(self) -> Chunks {
        let held = (self.sending, self.pass);
        let answer = self.answer.inspect(move |_| {
            let _ = &held;
        });
        let whole = stream::iter(self.head.into_iter().map(Ok)).chain(answer).boxed();
        echo::masked(whole, self.token)
    }

    /// The same call's answer from another place, under the same place at the host.
    pub(super) fn replaced_by(self, answer: StreamingAnswer) -> Self {
        Self { answer, head: Vec::new(), error: None, ..self }
    }
}

impl Gateway {
    /// Dials; where the provider says that the token is stale, obtains another one, once, and dials
    /// again. What was streamed is gone and cannot be sent again, but the next call finds the new token.
    pub(super) async fn dial_with_renewal(
        &self,
        call: &OutboundCall,
        body: OutboundBody,
        connection: &ConnectionId,
        (standing, outcome): (&mut Standing, &mut OutcomeOnDrop),
    ) -> Result<Peeked, Denial> {
        let access = self.access(call, connection).await?;
        // A renewal may have taken its time.
        standing.renew().await?;
        let (first, again) = match body {
            OutboundBody::Whole(bytes) => (
                self.dial(
                    call,
                    whole(&bytes),
                    None,
                    (connection, &access),
                    (standing.agent(), &mut *outcome),
                )
                .await?,
                Some(bytes),
            ),
            OutboundBody::Streamed(arriving) => {
                let upload = arriving.pass_on(standing.clone());
                let sent = (CallBody::Stream(upload.chunks), upload.length);
                (
                    self.dial(
                        call,
                        sent,
                        Some(upload.sending),
                        (connection, &access),
                        (standing.agent(), &mut *outcome),
                    )
                    .await?,
                    None,
                )
            }
        };
        if first.error != Some(ErrorClass::StaleToken) {
            return Ok(first);
        }
        let _ = match call.token {
            RouteToken::User => self.connections.invalidate_access(connection, access.generation).await?,
            RouteToken::App => {
                self.connections.invalidate_app_token(&call.provider, access.generation).await?
            }
        };
        let renewed = self.access(call, connection).await?;
        // The same token would fare no better, and the call may be one that changes something.
        if renewed.generation == access.generation {
            return Ok(first);
        }
        drop(first);
        match again {
            Some(bytes) => {
                standing.renew().await?;
                self.dial(
                    call,
                    whole(&bytes),
                    None,
                    (connection, &renewed),
                    (standing.agent(), &mut *outcome),
                )
                .await
            }
            None => Err(Denial::unavailable(
                "the provider refused its token, which has been renewed; a long body is not kept, so send it again",
                SOON,
            )),
        }
    }

    async fn access(&self, call: &OutboundCall, connection: &ConnectionId) -> Result<ProviderAccess, Denial> {
        Ok(match call.token {
            RouteToken::User => self.connections.lease(connection).await?,
            RouteToken::App => self.connections.app_access(&call.provider).await?,
        })
    }

    async fn dial(
        &self,
        call: &OutboundCall,
        (body, length): (CallBody, Option<u64>),
        sending: Option<Sending>,
        (connection, access): (&ConnectionId, &ProviderAccess),
        (agent, outcome): (&AgentId, &mut OutcomeOnDrop),
    ) -> Result<Peeked, Denial> {
        let token = access.token.expose_str();
        let mut url = call.url.clone();
        if let Some(parameter) = &call.send.query {
            url.query_pairs_mut().append_pair(parameter, token);
        }
        let mut sent = call.headers.clone();
        if let Some((name, value)) = headers::token(&call.send, token) {
            sent.insert(name, value);
        }
        if let Some(length) = length {
            sent.insert(CONTENT_LENGTH, length.into());
        }
        let mut pass = self.hosts.admit(url.host_str().unwrap_or_default(), agent)?;
        let opened = self.net.open(Call {
            method: call.method.clone(),
            url,
            headers: sent,
            body,
            deadline: HEAD_DEADLINE,
            max_body: LARGEST_ANSWER,
            alone: false,
        });
        outcome.sending();
        let span = tracing::trace_span!(target: trace::TARGET, trace::PROVIDER, provider = %call.provider);
        let answer = match opened.instrument(span).await {
            Ok(answer) => answer,
            Err(error) => {
                if !error.may_have_been_delivered() {
                    outcome.not_delivered();
                }
                let fault = sending.as_ref().and_then(Sending::fault);
                if fault.is_none() && says_something_of_the_host(&error) {
                    pass.failed();
                }
                return Err(fault.unwrap_or_else(|| error.into()));
            }
        };
        pass.answered();
        outcome.answered(answer.status, (answer.status >= 400).then_some(ErrorClass::Unknown));
        if answer.status == 401 && is_claims_challenge(&answer.headers) {
            if call.token == RouteToken::User {
                self.connections.needs_sign_in(connection, access.generation).await?;
            }
            return Err(Denial::needs_person(&["the provider wants the user to sign in again".to_owned()]));
        }
        if let Some(sending) = sending.as_ref().filter(|_| answer.status >= 400) {
            sending.stop();
        }
        peek(
            call,
            Peeked { answer, error: None, token: Arc::clone(&access.token), head: Vec::new(), sending, pass },
        )
        .await
    }
}

fn whole(bytes: &Bytes) -> (CallBody, Option<u64>) {
    (if bytes.is_empty() { CallBody::Empty } else { CallBody::Bytes(bytes.clone()) }, None)
}

fn says_something_of_the_host(error: &NetError) -> bool {
    match error {
        NetError::NotSent | NetError::Tls | NetError::AnswerLost | NetError::TooSlow { .. } => true,
        NetError::Refused { .. } | NetError::TooLarge => false,
    }
}

/// Whether the provider demands what only a fresh sign-in brings (continuous access evaluation): a token
/// obtained by refreshing would be refused in the same words.
fn is_claims_challenge(headers: &HeaderMap) -> bool {
    let challenges = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    challenges.map(str::to_ascii_lowercase).any(|text| {
        text.contains("insufficient_claims") || text.contains("claims=") || text.contains("claims =")
    })
}

/// Reads the beginning of an answer that may hold an error: a failure status, or an API that reports
/// errors inside HTTP 200.
async fn peek(call: &OutboundCall, mut peeked: Peeked) -> Result<Peeked, Denial> {
    let Peeked { answer, head, .. } = &mut peeked;
    let reports_inside = call.template().api.values().any(|api| api.ok.is_some());
    let content_type = answer.headers.get("content-type").and_then(|value| value.to_str().ok());
    let is_json = content_type.is_some_and(|kind| kind.contains("json"));
    if answer.status >= 400 || (reports_inside && is_json) {
        let mut read = 0;
        while read < PEEK
            && let Some(chunk) = answer.next().await
        {
            let chunk = chunk?;
            read += chunk.len();
            head.push(chunk);
        }
    }
    let beginning = match head.as_slice() {
        [only] => only.clone(),
        several => Bytes::from(several.concat()),
    };
    peeked.error = dialect::classify_api(call.template(), &call.api, peeked.answer.status, &beginning);
    Ok(peeked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::http::HeaderValue;

    #[test]
    fn a_challenge_for_claims_is_told_from_a_stale_token() {
        for (challenge, is_one) in [
            (r#"Bearer realm="", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ==""#, true),
            (r#"Bearer error="invalid_token", Claims="eyJ9""#, true),
            (r#"Bearer realm="", authorization_uri="https://login.example/authorize", client_id="1""#, false),
            (r#"Bearer error="invalid_token", error_description="expired""#, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"x\""));
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            assert_eq!(is_claims_challenge(&headers), is_one, "{challenge}");
        }
    }
}
