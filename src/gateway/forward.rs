//! Sending a permitted call, and holding its answer until the decision is durable.

use bytes::{Bytes, BytesMut};
use futures_util::future::{self, LocalBoxFuture};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::gateway::answer::{GatewayAnswer, OutcomeOnDrop};
use crate::gateway::body::OutboundBody;
use crate::gateway::denial::Denial;
use crate::gateway::dial::Peeked;
use crate::gateway::enforce::{Charged, OutboundCall, Permitted};
use crate::gateway::standing::{self, Standing};
use crate::gateway::stream::ReleasedBody;
use crate::gateway::{Gateway, headers, links};
use crate::kernel::ids::ConnectionId;
use crate::policy::{CallContext, Permit, Recorded, Recording};

/// The longest answer that is looked into before it is released.
const LARGEST_INSPECTED: usize = 8 * 1024 * 1024;

/// A whole answer, for whoever has to look into it before it is released.
pub(super) struct WholeAnswer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Bytes,
}

/// Looks into a whole answer: gives back what of it may be released, or refuses it.
pub(super) struct Inspect {
    /// Whether an answer that cannot be looked into is withheld; otherwise it passes as it is.
    pub(super) is_binding: bool,
    pub(super) look: Look,
}

pub(super) type Look = Box<dyn FnOnce(WholeAnswer) -> LocalBoxFuture<'static, Result<WholeAnswer, Denial>>>;

impl Gateway {
    pub(super) async fn forward(
        &self,
        charged: Charged<OutboundCall>,
        context: &CallContext,
    ) -> Result<GatewayAnswer, Denial> {
        let Charged { permitted: Permitted { value: mut call, leave: permit }, tab, mut standing } = charged;
        let body = std::mem::replace(&mut call.body, OutboundBody::Whole(Bytes::new()));
        let inspect = call.inspect.take();
        if inspect.is_some() {
            // A part of an answer could not be judged, and neither could "not modified".
            headers::ask_for_all(&mut call.headers);
        }
        let connection = permit.connection().clone();
        let recording = permit.begin_recording(&self.audit, context);
        let event = recording.event().clone();
        let mut outcome = OutcomeOnDrop::new(self.audit.clone(), event.clone());
        let sent = self.send((&call, body), (&connection, recording), (&mut standing, &mut outcome)).await;
        let (recorded, answer) = match sent {
            Ok(sent) => sent,
            Err(denial) => {
                outcome.refused(&denial);
                return Err(denial);
            }
        };
        let released = match answer {
            Ok(peeked) => self.answer(&call, peeked, inspect, (&mut standing, &mut outcome)).await,
            Err(denial) => Err(denial),
        };
        let released = match (released, &tab) {
            (Ok(answer), Some(tab)) => tab.pay(&call, answer).await,
            (released, _) => released,
        };
        match released {
            Ok((status, headers, chunks)) => Ok(GatewayAnswer {
                status,
                headers,
                body: ReleasedBody::new(chunks, standing, outcome),
                event: recorded.event().clone(),
            }),
            Err(denial) => {
                outcome.refused(&denial);
                Err(denial.with_event(event))
            }
        }
    }

    /// Writes the decision down, and sends. A safe read may be dialled while its decision is being synced; its
    /// answer waits. Anything that changes something waits first.
    ///
    /// # Errors
    /// When the decision cannot be written down.
    async fn send(
        &self,
        (call, body): (&OutboundCall, OutboundBody),
        (connection, recording): (&ConnectionId, Recording<Permit>),
        watched: (&mut Standing, &mut OutcomeOnDrop),
    ) -> Result<(Recorded<Permit>, Result<Peeked, Denial>), Denial> {
        if !call.is_safe {
            let begun = Instant::now();
            let recorded = recording.durable().await?;
            self.sync_waits.waited(begun.elapsed().as_secs_f64());
            return Ok((recorded, self.dial_with_renewal(call, body, connection, watched).await));
        }
        let durable = async {
            recording.durable().await.map(|recorded| (recorded, Instant::now())).map_err(Denial::from)
        };
        let dialled =
            async { Ok((self.dial_with_renewal(call, body, connection, watched).await, Instant::now())) };
        // A log that fails is told at once: the provider may take its time.
        let ((recorded, synced), (answer, answered)) = future::try_join(durable, dialled).await?;
        self.sync_waits.waited(synced.saturating_duration_since(answered).as_secs_f64());
        Ok((recorded, answer))
    }

    /// What becomes of the provider's answer.
    async fn answer(
        &self,
        call: &OutboundCall,
        mut peeked: Peeked,
        inspect: Option<Inspect>,
        (standing, outcome): (&mut Standing, &mut OutcomeOnDrop),
    ) -> Result<Released, Denial> {
        let ended = |denial| standing::withheld(denial, call.is_safe);
        if (300..400).contains(&peeked.answer.status) && peeked.answer.status != 304 {
            standing.renew().await.map_err(ended)?;
            peeked = self.follow(call, peeked).await?;
            outcome.add_reason("fetched from the provider's storage");
        }
        outcome.answered(peeked.answer.status, peeked.error);
        let next_page = self.next_page(call, &peeked);
        let (status, mut headers, chunks) = release(peeked, inspect).await?;
        headers.extend(next_page);
        // The provider may have taken its time.
        standing.renew().await.map_err(ended)?;
        Ok((status, headers, chunks))
    }

    /// The header that names the next page, at the gateway: following it is a call like any other.
    fn next_page(&self, call: &OutboundCall, peeked: &Peeked) -> Option<(String, Vec<u8>)> {
        let api = call.template().api.get(&call.api)?;
        let base = self.base(&call.provider, &call.api);
        let link = links::next(&peeked.answer.headers, &call.url, &peeked.token, (&api.base, &base))?;
        Some(("link".to_owned(), link.into_bytes()))
    }
}

/// Status, headers and body as they go out.
type Released = (u16, Vec<(String, Vec<u8>)>, crate::gateway::stream::Chunks);

/// An answer as it goes out: as it comes in, or looked into as a whole first.
async fn release(peeked: Peeked, inspect: Option<Inspect>) -> Result<Released, Denial> {
    let status = peeked.answer.status;
    let passed = headers::inbound(&peeked.answer.headers, &peeked.token);
    let Some(inspect) = inspect else { return Ok((status, passed, peeked.into_stream())) };
    if headers::is_encoded(&peeked.answer.headers) {
        if !inspect.is_binding {
            return Ok((status, passed, peeked.into_stream()));
        }
        let words = "the provider's answer is compressed, so it cannot be checked against the grant's limits";
        return Err(Denial::upstream(502, words));
    }
    let mut chunks = peeked.into_stream();
    let mut body = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk?);
        if body.len() > LARGEST_INSPECTED {
            if !inspect.is_binding {
                return Ok((status, passed, stream::iter([Ok(body.freeze())]).chain(chunks).boxed()));
            }
            let words = "the provider's answer is longer than can be checked against the grant's limits: ask for less";
            return Err(Denial::upstream(502, words));
        }
    }
    let whole = WholeAnswer { status, headers: passed, body: body.freeze() };
    let WholeAnswer { status, mut headers, body } = (inspect.look)(whole).await?;
    headers.retain(|(name, _)| name != "content-length");
    headers.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
    Ok((status, headers, stream::iter([Ok(body)]).boxed()))
}
