//! Who an agent proves to be: the only maker of [`Authenticated`].

use std::ops::Deref;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::agents::Agents;
use crate::agents::credentials::{LIVE_SECRETS, is_live};
use crate::kernel::bearer::{BearerKind, TokenDigest};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::AgentId;
use crate::model::agent::{Agent, AgentState};
use crate::model::token::GatewayClaims;
use crate::store::{StoreError, Stored};
use crate::vault::OpenedToken;

/// Proof that somebody is who they say; made in this module only. Shares the record that the store has
/// decoded: an agent's ceiling alone is dozens of texts, too many to copy for every request.
#[derive(Debug)]
pub struct Authenticated<T>(Stored<T>);

impl<T> Deref for Authenticated<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// What a token of ours says: proof of what it names, since only the vault opens one and only this makes
/// claims of what it has opened.
#[derive(Debug)]
pub struct Presented(GatewayClaims);

impl Presented {
    /// Reads an opened token. Nothing when it holds no claims.
    pub fn read(opened: &OpenedToken) -> Option<Self> {
        serde_json::from_slice(opened.payload()).ok().map(Self)
    }

    /// The claims.
    pub fn claims(&self) -> &GatewayClaims {
        &self.0
    }

    /// The claims alone: proof of nothing any more.
    pub fn into_claims(self) -> GatewayClaims {
        self.0
    }
}

/// Why an agent was not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No such agent, or a wrong secret: deliberately one answer.
    #[error("the agent is not known, or its secret is wrong")]
    Unknown,
    /// The agent proved who it is, but may not act.
    #[error("the agent may not act: it is {}", state_word(.0))]
    NotActive(AgentState),
    /// Too many wrong attempts; seconds to wait.
    #[error("too many wrong attempts; try again in {0} s")]
    Throttled(u64),
    /// The store could not be used.
    #[error("the store could not be used")]
    Store(#[from] StoreError),
}

const fn state_word(state: &AgentState) -> &'static str {
    match state {
        AgentState::Active => "active",
        AgentState::Suspended => "suspended",
        AgentState::Retired => "retired",
    }
}

impl Agents {
    /// Checks a client id and secret.
    ///
    /// An unknown id and a wrong secret take the same path and the same time: one keyed hash, the same
    /// number of constant-time comparisons. Only failures are charged to the throttle, so that nobody can
    /// lock an agent out by guessing in its name.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn authenticate(
        &self,
        client_id: &str,
        secret: &str,
    ) -> Result<Authenticated<Agent>, AuthError> {
        let presented = self.vault.digest(BearerKind::AgentSecret, secret);
        let found = match client_id.parse::<AgentId>() {
            Ok(id) => self.get(&id).await?,
            Err(_) => None,
        };
        match verified(found, &presented, self.clock.now()) {
            Some(agent) => active(agent, self.clock.now()),
            None => Err(self.throttle.charge(&self.vault.digest(BearerKind::AgentSecret, client_id))),
        }
    }

    /// The agent that a token of ours was issued to.
    ///
    /// # Errors
    /// When the agent is gone or may not act.
    pub async fn authenticate_by_token(&self, token: &Presented) -> Result<Authenticated<Agent>, AuthError> {
        active(self.get(&token.0.agent).await?.ok_or(AuthError::Unknown)?, self.clock.now())
    }

    /// Whoever has proven who they are, as the register has them now: for what goes on for longer than a
    /// request.
    ///
    /// # Errors
    /// When the agent is gone or may not act any more.
    pub async fn still_authenticated(
        &self,
        agent: &Authenticated<Agent>,
    ) -> Result<Authenticated<Agent>, AuthError> {
        active(self.get(&agent.id).await?.ok_or(AuthError::Unknown)?, self.clock.now())
    }
}

fn active(agent: Stored<Agent>, now: Timestamp) -> Result<Authenticated<Agent>, AuthError> {
    match agent.state_at(now) {
        AgentState::Active => Ok(Authenticated(agent)),
        state => Err(AuthError::NotActive(state)),
    }
}

fn verified(found: Option<Stored<Agent>>, presented: &TokenDigest, now: Timestamp) -> Option<Stored<Agent>> {
    // Random bytes that no secret hashes to: what an empty slot is compared with.
    const NOBODY: TokenDigest = TokenDigest::from_bytes([0x5a; 32]);
    let mut matched = false;
    for slot in 0..LIVE_SECRETS {
        let secret = found.as_ref().and_then(|agent| agent.secrets.get(slot));
        let live = secret.filter(|secret| is_live(secret, now));
        let expected = live.map_or(&NOBODY, |secret| &secret.digest);
        // No early exit: the time must not tell which slot matched, or whether there was one.
        matched |= expected.matches(presented) & live.is_some();
    }
    found.filter(|_| matched)
}

/// Slows guessing down, per claimed client id and over all.
pub(super) struct Throttle {
    per_client: DefaultKeyedRateLimiter<u16>,
    overall: DefaultDirectRateLimiter,
    clock: DefaultClock,
}

impl Default for Throttle {
    fn default() -> Self {
        use nonzero::{OVERALL_SECOND, PER_CLIENT_MINUTE};
        Self {
            per_client: RateLimiter::keyed(Quota::per_minute(PER_CLIENT_MINUTE)),
            overall: RateLimiter::direct(Quota::per_second(OVERALL_SECOND)),
            clock: DefaultClock::default(),
        }
    }
}

mod nonzero {
    use std::num::NonZeroU32;

    pub(super) const PER_CLIENT_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);
    pub(super) const OVERALL_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(199);
}

impl Throttle {
    /// Charges a failure: the answer while there is patience left, or how long to wait.
    fn charge(&self, client: &TokenDigest) -> AuthError {
        // 65,536 buckets of a keyed hash: memory stays bounded whatever ids are tried, and nobody can
        // choose an id that shares a bucket with another agent's.
        let bucket = client.hex().get(..4).and_then(|hex| u16::from_str_radix(hex, 16).ok()).unwrap_or(0);
        let now = self.clock.now();
        let refused = [
            self.per_client.check_key(&bucket).err().map(|until| until.wait_time_from(now)),
            self.overall.check().err().map(|until| until.wait_time_from(now)),
        ];
        match refused.into_iter().flatten().max() {
            Some(wait) => AuthError::Throttled(wait.max(Duration::from_secs(1)).as_secs()),
            None => AuthError::Unknown,
        }
    }
}
