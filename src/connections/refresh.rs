//! The refresh protocol: claim, dial, save.
//!
//! Two numbers: the lease's epoch decides who may dial, the generation alone conditions the save. A new
//! refresh token is durable before anybody is answered, and is never dropped because a lease was lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connections::configured::text_of;
use crate::connections::figures::Ended;
use crate::connections::judge::{self, Doubt, Failure, Fate, Freshness};
use crate::connections::save::Obtained;
use crate::connections::spool::{Slot, Ticket};
use crate::connections::spooled::Found;
use crate::connections::{Inner, LeaseError, killpoint};
use crate::kernel::clock::Timestamp;
use crate::kernel::encode;
use crate::kernel::entropy;
use crate::kernel::ids::ConnectionId;
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::model::connection::{Connection, ConnectionState, Lease, ReauthReason};
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::restored::Restored;
use crate::model::sealed::{SealError, Sealer as _};
use crate::net;
use crate::providers::Configured;
use crate::providers::dialect::TokenSet;
use crate::providers::template::{ErrorClass, IdentitySource, Refresh, Rotation};
use crate::store::{Committed, StoreError, Stored, Tx, UpdateError};
use crate::upstream::Upstream;

/// What a refresh is for.
#[derive(Debug)]
pub(super) enum Want {
    /// A usable access token with all that the connection holds.
    Access,
    /// An access token with no more than these scopes.
    Narrowed(ScopeSet),
    /// A new refresh token, before the one there is ends from lack of use.
    Alive,
    /// To learn what became of an earlier attempt.
    Resolve,
}

/// How a refresh ended well.
#[derive(Debug)]
pub(super) enum Refreshed {
    /// There was nothing to do.
    Already(Connection),
    /// New tokens were obtained and are durable.
    Saved {
        /// The connection as it was stored.
        connection: Connection,
        /// What the provider gave.
        tokens: TokenSet,
        /// The generation after the one that was spent. The connection's own is another one when it has moved
        /// meanwhile, for example by a consent.
        generation: u64,
    },
}

/// What to do after a dial that brought no tokens.
enum Next {
    /// Read the record again and go on: it has moved, or the answer was lost and grace remains.
    Again,
    /// Tell the callers.
    Fail(LeaseError),
}

/// How often another process's lease is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// When to look again at an answer that cannot be read: somebody has to mend the template first.
const HOLD: Duration = Duration::from_secs(60);

impl Inner {
    /// Runs the protocol once for a connection. Call it from a flight: it must not be dropped half-way.
    pub(super) async fn refresh(
        self: &Arc<Self>,
        id: &ConnectionId,
        want: &Want,
    ) -> Result<Refreshed, LeaseError> {
        let turn = self.flights.turn(id.as_str());
        let _turn = turn.lock().await;
        let mut at_once = true;
        let mut whole = !matches!(want, Want::Narrowed(_));
        loop {
            let stored = self.store.get::<Connection>(id.as_str()).await?;
            let stored = stored.ok_or(LeaseError::UnknownConnection)?;
            if let Some(done) = self.already_done(&stored, want)? {
                return Ok(Refreshed::Already(done));
            }
            let configured = self.configured(&stored.provider).await?;
            let Some((refresh, token)) = self.spendable(&configured, &stored)? else {
                return self.without_refresh_token(&configured, &stored).await;
            };
            let now = self.clock.now();
            if self.is_elsewhere(&stored, want, now) {
                if self.flights.is_closing() {
                    return Err(LeaseError::StillRefreshing);
                }
                self.figures.conflicts.inc();
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            let found = self.look_in_spool(&stored).await?;
            if found == Found::Stored {
                continue;
            }
            match judge::doubt(&stored, refresh, now, self.is_sole_holder(&stored), found == Found::Unread) {
                Doubt::None | Doubt::Retry => {}
                Doubt::Hold => return Err(LeaseError::RetryLater { after: HOLD }),
                Doubt::GiveUp => return Err(self.give_up(&stored, now).await?),
            }
            if self.is_held_back(&stored, refresh).await? {
                return Err(LeaseError::HeldBack);
            }
            let gate = self.gates.of(&stored.provider);
            if at_once {
                self.may_dial(&stored, want, now)?;
                gate.admit(now).map_err(|after| LeaseError::RetryLater { after })?;
            }
            // Closed semaphores do not exist here; without a permit the dial would go ahead all the same.
            let _permit = gate.permits.acquire().await.ok();
            if at_once {
                // While others were waited for, an orderly stop may have begun: it waits for dials, and cannot wait
                // for a queue.
                if self.flights.is_closing() {
                    return Err(LeaseError::StillRefreshing);
                }
                // The provider may have asked for a pause, too.
                gate.still_admits(self.clock.now()).map_err(|after| LeaseError::RetryLater { after })?;
            }
            let attempt = encode::hex(&entropy::bytes::<16>(&*self.entropy));
            let (connection, generation) = (id.clone(), stored.generation);
            // Room for the answer first: where there is none, nothing is dialled.
            let ticket = Ticket { connection, generation, attempt: attempt.clone() };
            let mut slot = self.written(self.spool.prepare(ticket)).await?;
            killpoint::reach("after_room", id);
            let claim = self.claim(&stored, attempt).await;
            let Ok(Some(claimed)) = claim else {
                slot.done().await;
                claim?;
                self.figures.conflicts.inc();
                continue;
            };
            killpoint::reach("after_intent", id);
            if claimed.lease.as_ref().is_some_and(|lease| lease.until <= self.clock.now()) {
                // This process was stopped for that long, and somebody else may be dialling by now.
                slot.done().await;
                continue;
            }
            let asked = if whole { &Want::Access } else { want };
            match self.dial(&configured, refresh, &claimed, &token, asked, &mut slot).await {
                Ok(obtained) => {
                    gate.worked();
                    let saved = self.save(&configured, id, obtained).await?;
                    slot.done().await;
                    killpoint::reach("before_release", id);
                    return Ok(match (want, saved) {
                        // Its token belongs to the connection, and must not pass for one of a grant.
                        (Want::Narrowed(_), Refreshed::Saved { connection, .. }) if whole => {
                            Refreshed::Already(connection)
                        }
                        (_, saved) => saved,
                    });
                }
                Err(failure) if !whole && judge::may_be_the_scope(failure) => {
                    slot.done().await;
                    let failure = Failure { class: ErrorClass::Request, ..failure };
                    self.settle(&claimed, refresh, failure, &mut at_once).await?;
                    (whole, at_once) = (true, false);
                }
                Err(failure) => {
                    if !failure.is_unread {
                        slot.done().await;
                    }
                    gate.heard(failure, self.clock.now());
                    match self.settle(&claimed, refresh, failure, &mut at_once).await? {
                        Next::Again => {}
                        Next::Fail(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// Whether the record says that there is nothing to do, or nothing that can be done.
    fn already_done(
        &self,
        stored: &Stored<Connection>,
        want: &Want,
    ) -> Result<Option<Connection>, LeaseError> {
        match &stored.state {
            ConnectionState::Active | ConnectionState::InDoubt { .. } => {}
            ConnectionState::Disconnected { .. } => return Err(LeaseError::Disconnected),
            ConnectionState::NeedsReauth { reason, .. } => return Err(LeaseError::NeedsReauth(*reason)),
        }
        let done = match want {
            Want::Access => {
                let is_fresh = matches!(self.usable(stored), Some((Freshness::Fresh, _)));
                is_fresh && stored.intent.is_none()
            }
            Want::Narrowed(_) => false,
            Want::Alive => !self.is_fading(stored),
            Want::Resolve => stored.intent.is_none(),
        };
        Ok(done.then(|| stored.record().clone()))
    }

    fn spendable<'t>(
        &self,
        configured: &'t Configured,
        stored: &Stored<Connection>,
    ) -> Result<Option<(&'t Refresh, SecretString)>, SealError> {
        let Some(refresh) = &configured.loaded.template.refresh else { return Ok(None) };
        let Some(sealed) = &stored.refresh_token else { return Ok(None) };
        let opened = self.vault.open(Connection::refresh_context(&stored.id, stored.generation), sealed)?;
        Ok(Some((refresh, text_of(opened).ok_or(SealError::DoesNotOpen)?)))
    }

    async fn without_refresh_token(
        &self,
        configured: &Configured,
        stored: &Stored<Connection>,
    ) -> Result<Refreshed, LeaseError> {
        if configured.loaded.template.identity.source == IdentitySource::Code {
            return Err(LeaseError::NoToken);
        }
        if matches!(self.usable(stored), Some((Freshness::Fresh | Freshness::Ending, _))) {
            return Ok(Refreshed::Already(stored.record().clone()));
        }
        let reason = ReauthReason::NoRefreshToken;
        self.change(stored, &judge::needs_reauth(stored, reason, self.clock.now())).await?;
        let words = "the provider issued no refresh token, and the access token is over";
        self.tell(stored, Outcome::Failed, words).await;
        Err(LeaseError::NeedsReauth(reason))
    }

    /// Whether this token came out of a backup, and may have been spent since by the deployment that the backup
    /// was taken from: shown to a provider that takes it once, it could end the family that is alive there.
    async fn is_held_back(&self, stored: &Stored<Connection>, refresh: &Refresh) -> Result<bool, StoreError> {
        if refresh.rotation == Rotation::KeepsOld {
            return Ok(false);
        }
        let restored = self.store.get::<Restored>(Restored::KEY).await?;
        // What was obtained here since then is nobody else's.
        Ok(restored.is_some_and(|restored| stored.refreshed_at <= restored.restored_at))
    }

    /// Whether another process is dialling. When resolving at start there is none on this node: a lease of ours
    /// that is still running then belongs to a process that died, and the provider's grace does not wait for it.
    /// Other nodes are alive until their lease says otherwise.
    fn is_elsewhere(&self, stored: &Stored<Connection>, want: &Want, now: Timestamp) -> bool {
        let Some(lease) = stored.lease.as_ref().filter(|lease| now < lease.until) else { return false };
        if self.is_of_this_node(lease) {
            lease.owner != self.process && !matches!(want, Want::Resolve)
        } else {
            true
        }
    }

    /// Whether nobody else can hold the next refresh token. What the embedded store does not hold is nowhere:
    /// it admits one process. On a shared store another node may have received it and be stopped, or cut off
    /// from the database, before it could store it; unless it has told itself how its dial ended, and with that
    /// let go of the lease.
    fn is_sole_holder(&self, stored: &Stored<Connection>) -> bool {
        stored.lease.as_ref().is_none_or(|lease| self.is_of_this_node(lease))
    }

    /// Of this process, or of one that had this node's data folder before it: only one can have it at a time.
    pub(super) fn is_of_this_node(&self, lease: &Lease) -> bool {
        let of_node =
            |owner: &str, node: &str| owner.strip_prefix(node).is_some_and(|rest| rest.starts_with('/'));
        self.node.as_deref().is_none_or(|node| of_node(&lease.owner, node))
    }

    fn may_dial(&self, stored: &Stored<Connection>, want: &Want, now: Timestamp) -> Result<(), LeaseError> {
        match judge::still_waits(&stored.backoff, now) {
            Some(after) if !matches!(want, Want::Resolve) => Err(LeaseError::RetryLater { after }),
            _ => Ok(()),
        }
    }

    /// Writes down, durably, that the token of this generation is about to be spent. This also proves
    /// that the store takes writes: where it does not, nothing is dialled.
    async fn claim(
        &self,
        stored: &Stored<Connection>,
        attempt: String,
    ) -> Result<Option<Connection>, StoreError> {
        let now = self.clock.now();
        let mut claimed = stored.record().clone();
        claimed.intent = Some(judge::intent(stored, attempt, now));
        claimed.lease = Some(Lease {
            owner: self.process.clone(),
            epoch: stored.lease.as_ref().map_or(1, |lease| lease.epoch.saturating_add(1)),
            until: now.plus(self.waits.lease),
        });
        Ok(self.change(stored, &claimed).await?.then_some(claimed))
    }

    /// Spends the token, and makes the answer durable before anything is done with it.
    async fn dial(
        &self,
        configured: &Configured,
        refresh: &Refresh,
        claimed: &Connection,
        token: &SecretString,
        want: &Want,
        slot: &mut Slot,
    ) -> Result<Obtained, Failure> {
        let scopes = match want {
            Want::Narrowed(asked) => Some(asked),
            Want::Access | Want::Alive | Want::Resolve => refresh.send_scope.then_some(&claimed.scopes),
        };
        let whole = !matches!(want, Want::Narrowed(_));
        killpoint::reach("before_dial", &claimed.id);
        let begun = Instant::now();
        let dial = net::in_time(self.waits.dial, self.dialer.refresh(configured, token, scopes)).await;
        let answer = dial.map_err(|_| Failure::TOO_SLOW)?.map_err(|error| Failure::from(&error))?;
        killpoint::reach("after_answer", &claimed.id);
        let at = self.clock.now();
        if answer.is_success()
            && let Err(error) = self.written(slot.keep(&answer, whole, at)).await
        {
            self.figures.unspooled.inc();
            // The store is the second place for it, and the answer is still in hand.
            tracing::error!(connection.id = %claimed.id, "an answer could not be spooled, it is stored at once: {error}");
        }
        self.figures.durable_after(begun.elapsed());
        killpoint::reach("after_spool", &claimed.id);
        let tokens = Upstream::read(configured, &answer).map_err(|error| Failure {
            is_unread: answer.is_success() && judge::may_hold_tokens(&answer.body),
            ..Failure::from(&error)
        })?;
        let attempt = claimed.intent.as_ref().map(|intent| intent.attempt.clone()).unwrap_or_default();
        Ok(Obtained { tokens, at, whole, generation: claimed.generation, attempt })
    }

    /// Writes down what a failed dial means. After a refusal the record is read again before it is
    /// judged: losing a race is not death.
    async fn settle(
        &self,
        claimed: &Connection,
        refresh: &Refresh,
        failure: Failure,
        at_once: &mut bool,
    ) -> Result<Next, LeaseError> {
        let jitter = u32::from(u16::from_be_bytes(entropy::bytes::<2>(&*self.entropy)) % 1001);
        let update = self.store.update::<Connection, Moved>(claimed.id.as_str(), |connection| {
            if connection.generation != claimed.generation || connection.intent != claimed.intent {
                return Err(Moved);
            }
            Ok(Some(judge::after_failure(connection, failure, self.clock.now(), jitter)))
        });
        let updated = self.written(update).await;
        let after = match updated {
            Ok(updated) => updated.stored().ok_or(LeaseError::UnknownConnection)?,
            Err(UpdateError::Store(error)) => return Err(error.into()),
            Err(UpdateError::Refused(Moved)) => {
                // Once: a record that keeps moving is somebody else's to tell about.
                let again = std::mem::replace(at_once, false);
                return Ok(if again { Next::Again } else { Next::Fail(LeaseError::StillRefreshing) });
            }
        };
        let fate = judge::fate(failure);
        let words = match fate {
            Fate::Kept => "the provider could not or would not renew; the refresh token is still good",
            Fate::InDoubt => {
                "the provider's answer was lost; whether the refresh token was spent is not known"
            }
            Fate::Refused(_) => "the provider refused the refresh token; the user has to consent again",
        };
        let outcome = if fate == Fate::InDoubt { Outcome::Unknown } else { Outcome::Failed };
        self.figures.ended(&after.provider, ended(fate, &after.state));
        self.tell(&after, outcome, words).await;
        if let ConnectionState::NeedsReauth { reason, .. } = after.state {
            return Ok(Next::Fail(LeaseError::NeedsReauth(reason)));
        }
        let intent = claimed.intent.as_ref().filter(|_| fate == Fate::InDoubt && *at_once);
        if intent.is_some_and(|intent| judge::retries_at_once(refresh, intent, self.clock.now())) {
            *at_once = false;
            return Ok(Next::Again);
        }
        Ok(Next::Fail(self.refusal(&after, failure)))
    }

    fn refusal(&self, after: &Connection, failure: Failure) -> LeaseError {
        use crate::providers::template::ErrorClass::{Admin, Config};
        if matches!(failure.class, Admin | Config) {
            return LeaseError::Refused { class: failure.class };
        }
        let after = after.backoff.not_before.map_or(LOOK_AGAIN, |until| self.clock.now().until(until));
        LeaseError::RetryLater { after }
    }

    async fn give_up(&self, stored: &Stored<Connection>, now: Timestamp) -> Result<LeaseError, LeaseError> {
        let reason = ReauthReason::AnswerLost;
        self.figures.ended(&stored.provider, Ended::Lost);
        self.change(stored, &judge::needs_reauth(stored, reason, now)).await?;
        self.tell(
            stored,
            Outcome::Failed,
            "the answer to a refresh was lost, and asking again could do harm",
        )
        .await;
        Ok(LeaseError::NeedsReauth(reason))
    }

    /// Replaces a record if it is still as it was read; says whether it did.
    pub(super) async fn change(
        &self,
        stored: &Stored<Connection>,
        record: &Connection,
    ) -> Result<bool, StoreError> {
        let mut tx = Tx::new();
        tx.update(stored, record);
        Ok(self.written(self.store.commit(tx)).await? == Committed::Done)
    }

    /// Writes the outcome of a refresh into the log. The tokens are stored by then: a log that cannot be
    /// written stops whoever wants to release something, not this.
    pub(super) async fn tell(&self, connection: &Connection, outcome: Outcome, words: &str) {
        let mut event = EventDraft::new(EventKind::Refresh, "connection.refreshed");
        event.user = Some(connection.user.clone());
        event.provider = Some(connection.provider.clone());
        event.connection = Some(connection.id.clone());
        event.outcome = Some(outcome);
        event.reasons = vec![words.to_owned()];
        if let Err(error) = self.audit.record(event).await {
            tracing::error!(connection.id = %connection.id, "the outcome of a refresh is not logged: {error}");
        }
    }
}

const fn ended(fate: Fate, after: &ConnectionState) -> Ended {
    match (fate, after) {
        (_, ConnectionState::NeedsReauth { reason: ReauthReason::AnswerLost, .. }) => Ended::Lost,
        (Fate::Refused(_), _) => Ended::Refused,
        (Fate::InDoubt, _) => Ended::InDoubt,
        (Fate::Kept, _) => Ended::Failed,
    }
}

/// The record is not the one that was claimed any more.
#[derive(Debug)]
struct Moved;
