//! Sending a permitted call, and holding its answer until the decision is durable.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, future, stream};

use crate::connections::ProviderAccess;
use crate::gateway::answer::{GatewayAnswer, OutcomeOnDrop, ReleasedBody};
use crate::gateway::body::{OutboundBody, Sending};
use crate::gateway::denial::Denial;
use crate::gateway::enforce::{OutboundCall, Permitted};
use crate::gateway::{Gateway, echo, headers};
use crate::kernel::ids::ConnectionId;
use crate::kernel::secret::SecretString;
use crate::net::http::header::CONTENT_LENGTH;
use crate::net::{Call, CallBody, StreamingAnswer};
use crate::policy::CallContext;
use crate::providers::dialect;
use crate::providers::template::{ErrorClass, ErrorPlace, RouteToken};

const HEAD_DEADLINE: Duration = Duration::from_secs(30);
const LARGEST_ANSWER: usize = 5 * 1024 * 1024 * 1024;
/// When to come again after a renewal.
const SOON: Duration = Duration::from_secs(1);
/// How much of an answer is read to recognise an error in it.
const PEEK: usize = 16 * 1024;

/// An answer whose beginning was read.
struct Peeked {
    answer: StreamingAnswer,
    head: Vec<Bytes>,
    /// Held while the answer is read: the body may still be on its way.
    sending: Option<Sending>,
    /// What the answer must not repeat.
    token: Arc<SecretString>,
}

impl Gateway {
    pub(super) async fn forward(
        &self,
        permitted: Permitted<OutboundCall>,
        context: &CallContext,
    ) -> Result<GatewayAnswer, Denial> {
        let Permitted { value: mut call, permit } = permitted;
        let body = std::mem::replace(&mut call.body, OutboundBody::Whole(Bytes::new()));
        let connection = permit.connection().clone();
        let recording = permit.begin_recording(&self.audit, context);
        let event = recording.event().clone();
        let mut outcome = OutcomeOnDrop::new(self.audit.clone(), event.clone());
        // A safe read may be dialled while its decision is being synced; its answer waits. Anything
        // that changes something waits first.
        let (recorded, answer) = if call.is_safe {
            let durable = async { recording.durable().await.map_err(Denial::from) };
            let dialled = async { Ok(self.dial_with_renewal(&call, body, &connection).await) };
            // A log that fails is told at once: the provider may take its time.
            future::try_join(durable, dialled).await?
        } else {
            let recorded = recording.durable().await?;
            (recorded, self.dial_with_renewal(&call, body, &connection).await)
        };
        let peeked = answer.map_err(|denial| denial.with_event(event.clone()))?;
        if (300..400).contains(&peeked.answer.status) && peeked.answer.status != 304 {
            let words = "the provider answered with a redirect, which the gateway does not follow";
            return Err(Denial::upstream(502, words).with_event(event));
        }
        outcome.answered(peeked.answer.status);
        Ok(GatewayAnswer {
            status: peeked.answer.status,
            headers: headers::inbound(&peeked.answer.headers, &peeked.token),
            body: ReleasedBody::new(peeked.into_stream(), outcome),
            event: recorded.event().clone(),
        })
    }

    /// Dials; where the provider says that the token is stale, obtains another one, once, and dials
    /// again. What was streamed is gone and cannot be sent again, but the next call finds the new token.
    async fn dial_with_renewal(
        &self,
        call: &OutboundCall,
        body: OutboundBody,
        connection: &ConnectionId,
    ) -> Result<Peeked, Denial> {
        let access = self.access(call, connection).await?;
        let (first, again) = match body {
            OutboundBody::Whole(bytes) => (self.dial(call, whole(&bytes), None, &access).await?, Some(bytes)),
            OutboundBody::Streamed(upload) => {
                let sent = CallBody::Stream(upload.chunks);
                (self.dial(call, (sent, upload.length), Some(upload.sending), &access).await?, None)
            }
        };
        if self.meaning(call, &first) != Some(ErrorClass::StaleToken) {
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
        match again {
            Some(bytes) => self.dial(call, whole(&bytes), None, &renewed).await,
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
        access: &ProviderAccess,
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
        let answer = self
            .net
            .open(Call {
                method: call.method.clone(),
                url,
                headers: sent,
                body,
                deadline: HEAD_DEADLINE,
                max_body: LARGEST_ANSWER,
            })
            .await
            .map_err(|error| match sending.as_ref().and_then(Sending::fault) {
                Some(fault) => Denial::unreadable(fault),
                None => error.into(),
            })?;
        if let Some(sending) = sending.as_ref().filter(|_| answer.status >= 400) {
            sending.stop();
        }
        self.peek(call, answer, sending, Arc::clone(&access.token)).await
    }

    /// Reads the beginning of an answer that may hold an error: a failure status, or an API that
    /// reports errors inside HTTP 200.
    async fn peek(
        &self,
        call: &OutboundCall,
        mut answer: StreamingAnswer,
        sending: Option<Sending>,
        token: Arc<SecretString>,
    ) -> Result<Peeked, Denial> {
        let mut head = Vec::new();
        let reports_inside = call.template().api.values().any(|api| api.ok.is_some());
        let is_json = answer
            .headers
            .get("content-type")
            .and_then(|value| value.to_str().ok())
            .is_some_and(|kind| kind.contains("json"));
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
        Ok(Peeked { answer, head, sending, token })
    }

    fn meaning(&self, call: &OutboundCall, peeked: &Peeked) -> Option<ErrorClass> {
        let head = peeked.head.concat();
        dialect::classify(call.template(), ErrorPlace::Api, peeked.answer.status, &head)
    }
}

impl Peeked {
    fn into_stream(self) -> stream::BoxStream<'static, Result<Bytes, crate::net::NetError>> {
        let sending = self.sending;
        let answer = self.answer.inspect(move |_| {
            let _ = &sending;
        });
        let whole = stream::iter(self.head.into_iter().map(Ok)).chain(answer).boxed();
        echo::masked(whole, self.token)
    }
}

fn whole(bytes: &Bytes) -> (CallBody, Option<u64>) {
    (if bytes.is_empty() { CallBody::Empty } else { CallBody::Bytes(bytes.clone()) }, None)
}
