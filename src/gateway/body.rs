//! The body of a call: read where something has to look into it, else passed on as it arrives.
//!
//! actix's payload belongs to one thread, and what the outbound client sends may move between threads. So a
//! task on the payload's thread hands chunks over through a short channel: nothing is read from the client
//! before the provider has taken what came before.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::web;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, timeout_at};

use crate::gateway::call::Unreadable;
use crate::gateway::denial::Denial;
use crate::gateway::standing::{RECHECK, Standing};
use crate::kernel::said::Said;

/// The longest body that something looks into.
const LARGEST_INSPECTED: usize = 10 * 1024 * 1024;
/// The longest body that passes.
pub(super) const LARGEST: u64 = 5 * 1024 * 1024 * 1024;
/// What is kept, so that the call can be sent again with a fresh token.
const KEPT: usize = 64 * 1024;
/// How long a client may pause.
const IDLE: Duration = Duration::from_secs(20);
/// How long what is read before the call is made may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(60);
/// What a client has to send in a second, on average, of what is passed on as it arrives; the first minute is
/// free. Without it a few bytes now and then would hold a place at the provider for days.
const SLOWEST: u64 = 16 * 1024;
/// How many chunks wait between the client and the provider; one is 64 KiB at most.
const WAITING: usize = 2;

/// A body that nobody has read yet, or that is there as a whole.
pub struct RequestBody(Source);

enum Source {
    Whole(Bytes),
    Arriving(Arriving),
}

/// A body on its way in.
pub(super) struct Arriving {
    payload: web::Payload,
    announced: Option<u64>,
    /// What was read ahead.
    begun: BytesMut,
}

/// No body.
impl Default for RequestBody {
    fn default() -> Self {
        Self::whole(Bytes::new())
    }
}

impl RequestBody {
    /// A body that is there.
    pub fn whole(bytes: Bytes) -> Self {
        Self(Source::Whole(bytes))
    }

    /// A body on its way in, with the length that was announced. Nothing of it is read here.
    ///
    /// # Errors
    /// When it is announced to be longer than what passes.
    pub fn arriving(payload: web::Payload, announced: Option<u64>) -> Result<Self, Unreadable> {
        if announced.is_some_and(|length| length > LARGEST) {
            return Err(Unreadable::TooLong);
        }
        Ok(Self(Source::Arriving(Arriving { payload, announced, begun: BytesMut::new() })))
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        matches!(&self.0, Source::Whole(bytes) if bytes.is_empty())
    }

    /// The whole body, for whoever has to look into it. A body that was read is sent from memory, and may
    /// be sent again.
    ///
    /// # Errors
    /// When it is longer than 10 MiB, late or broken.
    pub async fn inspect(&mut self) -> Result<Bytes, Unreadable> {
        if let Source::Arriving(arriving) = &mut self.0 {
            let too_long = |length: u64| length > LARGEST_INSPECTED as u64;
            if arriving.announced.is_some_and(too_long) || !arriving.read_up_to(LARGEST_INSPECTED).await? {
                return Err(Unreadable::TooLarge);
            }
            let bytes = std::mem::take(&mut arriving.begun).freeze();
            self.0 = Source::Whole(bytes);
        }
        match &self.0 {
            Source::Whole(bytes) => Ok(bytes.clone()),
            Source::Arriving(_) => Err(Unreadable::Body),
        }
    }

    /// The body as it is sent: a short one from memory, any other as it arrives.
    ///
    /// # Errors
    /// When its beginning is late or broken.
    pub(super) async fn outbound(self) -> Result<OutboundBody, Unreadable> {
        match self.0 {
            Source::Whole(bytes) => Ok(OutboundBody::Whole(bytes)),
            Source::Arriving(mut arriving) => {
                let is_long = arriving.announced.is_some_and(|length| length > KEPT as u64);
                if !is_long && arriving.read_up_to(KEPT).await? {
                    return Ok(OutboundBody::Whole(arriving.begun.freeze()));
                }
                Ok(OutboundBody::Streamed(arriving))
            }
        }
    }
}

impl Arriving {
    /// Reads ahead; whether the body ended within that many bytes.
    async fn read_up_to(&mut self, limit: usize) -> Result<bool, Unreadable> {
        let until = Instant::now() + ARRIVAL;
        while let Some(chunk) = next(&mut self.payload, until).await? {
            self.begun.extend_from_slice(&chunk);
            if self.begun.len() > limit {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Begins to read on, for as long as the call may be made.
    pub(super) fn pass_on(self, standing: Standing) -> Upload {
        let (parts, arrived) = mpsc::channel(WAITING);
        let (phase, seen) = watch::channel(Phase::Sending);
        let fate = Fate::default();
        let incoming = Incoming { payload: self.payload, begun: self.begun.freeze(), standing };
        actix_web::rt::spawn(pump(incoming, parts, seen.clone(), fate.clone()));
        let chunks = stream::unfold((arrived, seen), |(mut arrived, mut seen)| async move {
            let part = match arrived.recv().await {
                Some(Part::Chunk(chunk)) => Ok(chunk),
                Some(Part::End) => return None,
                // A body that breaks off must not look like one that has ended. After an early answer the
                // connection is needed until that has been read, so the break is told afterwards.
                None => {
                    while *seen.borrow_and_update() == Phase::Refused && seen.changed().await.is_ok() {}
                    Err(io::Error::other("the body broke off"))
                }
            };
            Some((part, (arrived, seen)))
        });
        Upload { chunks: chunks.boxed(), length: self.announced, sending: Sending { phase, fate } }
    }
}

async fn next(payload: &mut web::Payload, until: Instant) -> Result<Option<Bytes>, Unreadable> {
    match timeout_at(until.min(Instant::now() + IDLE), payload.next()).await {
        Err(_) => Err(Unreadable::Late),
        Ok(None) => Ok(None),
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(_))) => Err(Unreadable::Body),
    }
}

enum Part {
    Chunk(Bytes),
    End,
}

/// How far a call with a streamed body has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Sending,
    /// The provider has answered without reading on.
    Refused,
}

/// Why a streamed body ended early, where that was not the provider's doing.
#[derive(Clone, Default)]
struct Fate(Arc<OnceLock<Denial>>);

/// The rest of a body, and whether it may still be sent.
struct Incoming {
    payload: web::Payload,
    begun: Bytes,
    standing: Standing,
}

/// Hands chunks on until the body ends, the provider no longer takes them, or has answered. Whatever else ends
/// it leaves the body broken off: the provider must not take it for a whole one.
async fn pump(incoming: Incoming, parts: mpsc::Sender<Part>, mut seen: watch::Receiver<Phase>, fate: Fate) {
    let handed_on = tokio::select! {
        biased;
        () = parts.closed() => return,
        _ = seen.changed() => return,
        handed_on = incoming.hand_on(&parts) => handed_on,
    };
    if let Err(denial) = handed_on {
        let _ = fate.0.set(denial);
    }
}

impl Incoming {
    async fn hand_on(self, parts: &mpsc::Sender<Part>) -> Result<(), Denial> {
        let Self { mut payload, begun, mut standing } = self;
        let mut passed = begun.len() as u64;
        if !begun.is_empty() && parts.send(Part::Chunk(begun)).await.is_err() {
            return Ok(());
        }
        let mut tick = interval(RECHECK);
        tick.reset();
        let mut waited = Duration::ZERO;
        // Nothing is read from the client before there is a place for it.
        while let Ok(place) = parts.reserve().await {
            let asked = standing.now();
            let mut arrived = std::pin::pin!(next(&mut payload, Instant::now() + IDLE));
            let arrived = loop {
                tokio::select! {
                    biased;
                    arrived = &mut arrived => break arrived.map_err(Denial::unreadable)?,
                    _ = tick.tick() => standing.check().await.map_err(ended)?,
                }
            };
            if standing.is_due() {
                standing.check().await.map_err(ended)?;
            }
            let Some(chunk) = arrived else {
                place.send(Part::End);
                break;
            };
            passed = passed.saturating_add(chunk.len() as u64);
            waited = waited.saturating_add(standing.since(asked));
            if waited > ARRIVAL + Duration::from_secs(passed / SLOWEST) {
                return Err(Denial::unreadable(Unreadable::Late));
            }
            if passed > LARGEST {
                return Err(Denial::unreadable(Unreadable::TooLong));
            }
            place.send(Part::Chunk(chunk));
        }
        Ok(())
    }
}

/// The permission to send a body has ended in its midst.
fn ended(denial: Denial) -> Denial {
    denial.adding(Said::plain("the body was broken off on its way to the provider"))
}

/// A body as it is sent.
pub(super) enum OutboundBody {
    /// Kept in memory: it can be sent again.
    Whole(Bytes),
    /// Sent once, while it arrives.
    Streamed(Arriving),
}

/// A body that is sent while it arrives.
pub(super) struct Upload {
    pub(super) chunks: BoxStream<'static, io::Result<Bytes>>,
    pub(super) length: Option<u64>,
    pub(super) sending: Sending,
}

/// Held as long as the call lasts: when it is dropped, nothing more of the body is read or sent.
pub(super) struct Sending {
    phase: watch::Sender<Phase>,
    fate: Fate,
}

impl Sending {
    /// Stops reading from the client: the provider has answered that it does not want the body.
    pub(super) fn stop(&self) {
        self.phase.send_replace(Phase::Refused);
    }

    /// What was wrong with the body on the client's side, or what has become of the permission to send it.
    pub(super) fn fault(&self) -> Option<Denial> {
        self.fate.0.get().cloned()
    }
}
