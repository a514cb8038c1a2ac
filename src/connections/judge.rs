//! What an outcome does to a connection's record. Pure: the protocol around it is in `refresh`.

use std::time::Duration;

use crate::kernel::clock::Timestamp;
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretBytes;
use crate::model::connection::{Backoff, Connection, ConnectionState, ReauthReason, RefreshIntent};
use crate::providers::template::{ConsentSemantics, ErrorClass, Refresh, Rotation, Template};
use crate::upstream::{Delivered, UpstreamError};

/// A dial that brought no tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    /// What it asks for.
    pub class: ErrorClass,
    /// Whether it reached the provider.
    pub delivered: Delivered,
    /// When the provider wants to be asked again.
    pub retry_after: Option<Duration>,
    /// Whether its answer is kept in the spool because it may hold tokens that could not be read.
    pub is_unread: bool,
}

impl Failure {
    /// No answer in time: the request may have been carried out.
    pub(super) const TOO_SLOW: Self =
        Self { class: ErrorClass::Retry, delivered: Delivered::Unknown, retry_after: None, is_unread: false };

    /// Whether it speaks against the provider as a whole, and not against this one account.
    pub(super) fn is_trouble(self) -> bool {
        self.delivered != Delivered::Yes || matches!(self.class, ErrorClass::Retry | ErrorClass::Unknown)
    }

    /// How long the provider as a whole wants to be left alone: it has answered, and asks for a pause.
    pub(super) fn pause(self) -> Option<Duration> {
        let asks = self.delivered == Delivered::Yes && self.class == ErrorClass::Retry;
        self.retry_after.filter(|_| asks)
    }
}

impl From<&UpstreamError> for Failure {
    fn from(error: &UpstreamError) -> Self {
        let UpstreamError { class, delivered, retry_after, .. } = *error;
        Self { class, delivered, retry_after, is_unread: false }
    }
}

/// What became of the refresh token that a failed dial presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was not spent.
    Kept,
    /// It is of no use any more.
    Refused(ReauthReason),
    /// Not known.
    InDoubt,
}

pub(super) fn fate(failure: Failure) -> Fate {
    match (failure.delivered, failure.class) {
        (Delivered::No, _) => Fate::Kept,
        (Delivered::Unknown, _) => Fate::InDoubt,
        (Delivered::Yes, ErrorClass::Reauth) => Fate::Refused(ReauthReason::RefreshTokenRefused),
        (Delivered::Yes, ErrorClass::StepUp) => Fate::Refused(ReauthReason::StepUp),
        (Delivered::Yes, ErrorClass::Gone) => Fate::Refused(ReauthReason::AccountGone),
        (Delivered::Yes, _) => Fate::Kept,
    }
}

/// Whether a narrowed refresh may have been refused for what it asked, and not for the token that it
/// showed: some vendors answer both with one code. Asking for everything tells them apart, and a scope
/// that the vendor has withdrawn does not cost the connection.
pub(super) fn may_be_the_scope(failure: Failure) -> bool {
    fate(failure) == Fate::Refused(ReauthReason::RefreshTokenRefused)
}

/// Whether an answer with a success status could hold tokens in a form that the template does not know: a JSON
/// object. A page of a proxy in between is none.
pub(super) fn may_hold_tokens(body: &SecretBytes) -> bool {
    body.expose().iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// The record after a failed dial. `jitter` is 0 to 1000.
pub(super) fn after_failure(
    before: &Connection,
    failure: Failure,
    now: Timestamp,
    jitter: u32,
) -> Connection {
    let mut after = before.clone();
    after.lease = None;
    let was_retry = before.intent.as_ref().is_some_and(|intent| intent.lost > 0);
    let since = match before.state {
        ConnectionState::InDoubt { since } => since,
        _ => now,
    };
    match fate(failure) {
        Fate::Kept if was_retry => {
            // This attempt did no harm; the one before it is still in doubt.
            after.state = ConnectionState::InDoubt { since };
            if let Some(intent) = &mut after.intent {
                intent.lost = intent.lost.saturating_sub(1);
            }
            after.backoff = backed_off(&before.backoff, failure, now, jitter);
        }
        Fate::Kept => {
            after.intent = None;
            after.backoff = backed_off(&before.backoff, failure, now, jitter);
        }
        Fate::InDoubt => {
            after.state = ConnectionState::InDoubt { since };
            if let Some(intent) = &mut after.intent {
                intent.unread |= failure.is_unread;
            }
            after.backoff = backed_off(&before.backoff, failure, now, jitter);
        }
        Fate::Refused(reason) => {
            let consent_over = before.consent_expires_at.is_some_and(|end| end <= now);
            let reason = match reason {
                ReauthReason::RefreshTokenRefused if was_retry => ReauthReason::AnswerLost,
                ReauthReason::RefreshTokenRefused if consent_over => ReauthReason::ConsentExpired,
                reason => reason,
            };
            after = needs_reauth(&after, reason, now);
        }
    }
    if matches!(before.state, ConnectionState::Disconnected { .. }) {
        after.state = before.state.clone();
    }
    after
}

/// The record of a connection that only its user can repair. Nothing is deleted.
pub(super) fn needs_reauth(before: &Connection, reason: ReauthReason, now: Timestamp) -> Connection {
    Connection {
        state: ConnectionState::NeedsReauth { reason, since: now },
        intent: None,
        lease: None,
        backoff: Backoff::default(),
        ..before.clone()
    }
}

/// How much longer to wait. A moment that is further away than any wait was written while a clock was wrong.
pub(super) fn still_waits(backoff: &Backoff, now: Timestamp) -> Option<Duration> {
    let is_for_people = [ErrorClass::Admin, ErrorClass::Config]
        .into_iter()
        .any(|class| backoff.last_error.as_deref() == Some(class_word(class)));
    let longest = if is_for_people { FOR_PEOPLE } else { LONGEST_PAUSE };
    let wait = now.until(backoff.not_before?);
    (!wait.is_zero() && wait <= longest + SKEW).then_some(wait)
}

/// The longest wait where people have to act first: asking often helps nobody.
const FOR_PEOPLE: Duration = Duration::from_secs(6 * 3600);
/// The longest pause that a provider is given.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

fn backed_off(former: &Backoff, failure: Failure, now: Timestamp, jitter: u32) -> Backoff {
    let (base, cap): (u64, u64) = match failure.class {
        ErrorClass::Admin | ErrorClass::Config => (300, FOR_PEOPLE.as_secs()),
        _ => (2, 900),
    };
    let failures = former.failures.saturating_add(1);
    let doubled = base.saturating_mul(1_u64 << failures.saturating_sub(1).min(16)).min(cap) * 1000;
    let half = doubled / 2;
    let delay = Duration::from_millis(half + half * u64::from(jitter.min(1000)) / 1000);
    let asked = failure.retry_after.unwrap_or_default().min(LONGEST_PAUSE);
    Backoff {
        failures,
        not_before: Some(now.plus(delay.max(asked))),
        last_error: Some(class_word(failure.class).to_owned()),
    }
}

/// The template's word for an error class.
pub(super) const fn class_word(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Retry => "retry",
        ErrorClass::Reauth => "reauth",
        ErrorClass::StepUp => "step_up",
        ErrorClass::Admin => "admin",
        ErrorClass::Config => "config",
        ErrorClass::Gone => "gone",
        ErrorClass::StaleToken => "stale_token",
        ErrorClass::Request => "request",
        ErrorClass::Unknown => "unknown",
    }
}

/// What to do about a refresh whose outcome was never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// There is none.
    None,
    /// Spend the old token again.
    Retry,
    /// Do nothing for now: the next token may lie in the spool, in a form that cannot be read yet.
    Hold,
    /// Ask the user.
    GiveUp,
}

/// How long answers may go on being lost before the user is asked.
const DOUBT_LIMIT: Duration = Duration::from_secs(3600);

/// Judges an open intent. `sole_holder` says that nobody else can hold the next refresh token: then a
/// retry can only win. If the provider has rotated, the next token is lost either way; if it has not, the
/// retry saves the connection. Where another node may hold it, a retry at a provider that detects re-use
/// would kill the live family. `unread` says that the spool holds an answer that could not be read, and the
/// intent says so of another node's spool: a vendor that changes its format must not cost every connection.
pub(super) fn doubt(
    connection: &Connection,
    refresh: &Refresh,
    now: Timestamp,
    sole_holder: bool,
    unread: bool,
) -> Doubt {
    let intent = connection.intent.as_ref().filter(|intent| intent.generation == connection.generation);
    let Some(intent) = intent else {
        // An older store was put in place, and the spool knows of a later answer.
        return if unread && refresh.rotation != Rotation::KeepsOld { Doubt::Hold } else { Doubt::None };
    };
    let unread = unread || intent.unread;
    let age = now.since(intent.started_at);
    match refresh.rotation {
        Rotation::KeepsOld => Doubt::Retry,
        Rotation::Grace if age < Duration::from_secs(refresh.grace_s) => Doubt::Retry,
        _ if unread && age < DOUBT_LIMIT => Doubt::Hold,
        _ if unread => Doubt::GiveUp,
        _ if refresh.reuse_detection && !sole_holder => Doubt::GiveUp,
        _ if intent.lost >= 2 && age > DOUBT_LIMIT => Doubt::GiveUp,
        _ => Doubt::Retry,
    }
}

/// Whether a lost answer may be followed by another dial at once, within the same flight.
pub(super) fn retries_at_once(refresh: &Refresh, intent: &RefreshIntent, now: Timestamp) -> bool {
    match refresh.rotation {
        Rotation::KeepsOld => true,
        Rotation::Grace => now.since(intent.started_at) < Duration::from_secs(refresh.grace_s),
        Rotation::Strict => false,
    }
}

/// The intent of a new attempt: it inherits the doubts of one that was never settled.
pub(super) fn intent(before: &Connection, attempt: String, now: Timestamp) -> RefreshIntent {
    let open = before.intent.as_ref().filter(|intent| intent.generation == before.generation);
    RefreshIntent {
        attempt,
        generation: before.generation,
        started_at: open.map_or(now, |open| open.started_at),
        lost: open.map_or(0, |open| open.lost.saturating_add(1)),
        unread: open.is_some_and(|open| open.unread),
    }
}

/// How far an access token is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Use it.
    Fresh,
    /// It still works; obtain another meanwhile.
    Ending,
    /// It is over, or as good as.
    Over,
}

/// No token is handed on with less life than this: the call must arrive while it holds.
const LAST_MINUTE: Duration = Duration::from_secs(60);

/// How far the clocks of nodes may differ. What was obtained later than this from now was obtained while a clock
/// was wrong: when it really ends is not known.
const SKEW: Duration = Duration::from_secs(60);
/// A token that was obtained this recently is not obtained again because an API dislikes it: some providers give
/// the same one back, others count.
const JUST_OBTAINED: Duration = Duration::from_secs(30);

/// Whether a token is so new that another one would hardly fare better.
pub(super) fn is_just_obtained(obtained_at: Timestamp, now: Timestamp) -> bool {
    obtained_at <= now.plus(SKEW) && now.since(obtained_at) <= JUST_OBTAINED
}

/// `spread` is a part of 1,024 that differs from one connection to the next: tokens that were obtained together
/// are not renewed together.
pub(super) fn freshness(
    expires_at: Timestamp,
    obtained_at: Timestamp,
    now: Timestamp,
    spread: u32,
) -> Freshness {
    if obtained_at > now.plus(SKEW) {
        return Freshness::Over;
    }
    let life = expires_at.since(obtained_at);
    let left = now.until(expires_at);
    // Five to seven minutes before its end, or at four fifths of a short life.
    let margin = Duration::from_secs(300).min(life / 5);
    let margin = margin + margin / 1024 * (spread / 2).min(400);
    if left > margin {
        Freshness::Fresh
    } else if left > LAST_MINUTE.min(life / 10) {
        Freshness::Ending
    } else {
        Freshness::Over
    }
}

/// What a connection holds after a consent.
pub(super) fn scopes_after_consent(
    template: &Template,
    held: Option<&ScopeSet>,
    asked: &ScopeSet,
    stated: Option<&ScopeSet>,
) -> ScopeSet {
    let semantics = template.authorize.as_ref().map(|authorize| authorize.consent).unwrap_or_default();
    // Not stated means as asked (RFC 6749, section 5.1).
    let given = stated.unwrap_or(asked).difference(&template.bookkeeping());
    match semantics {
        ConsentSemantics::Replaces => given,
        ConsentSemantics::Accumulates => held.map_or_else(|| given.clone(), |held| held.union(&given)),
        ConsentSemantics::Whole => template.grantable(),
    }
}

/// What a connection holds after a refresh that asked for everything.
pub(super) fn scopes_after_refresh(
    template: &Template,
    held: &ScopeSet,
    stated: Option<&ScopeSet>,
) -> ScopeSet {
    let semantics = template.authorize.as_ref().map(|authorize| authorize.consent).unwrap_or_default();
    match stated {
        Some(stated) if !stated.is_empty() && semantics != ConsentSemantics::Whole => {
            stated.difference(&template.bookkeeping())
        }
        _ => held.clone(),
    }
}

/// When the consent itself ends, where the provider has such a limit.
pub(super) fn consent_end(template: &Template, now: Timestamp) -> Option<Timestamp> {
    let days = template.refresh.as_ref().map_or(0, |refresh| refresh.consent_days);
    (days > 0).then(|| now.plus(Duration::from_secs(u64::from(days) * 24 * 3600)))
}
