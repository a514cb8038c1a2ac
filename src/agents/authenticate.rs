//! Who an agent proves to be: the only maker of [`Authenticated`].

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Deref;

use crate::agents::certificate::ShownCertificate;
use crate::agents::credentials::{LIVE_SECRETS, is_live, secret_name};
use crate::agents::{Agents, assertion};
use crate::kernel::bearer::{BearerKind, TokenDigest};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::AgentId;
use crate::model::agent::{Agent, AgentSecret, AgentState};
use crate::model::event::{EventDraft, EventKind, Verdict};
use crate::model::token::GatewayClaims;
use crate::store::{StoreError, Stored};
use crate::vault::OpenedToken;

/// Proof that somebody is who they say; made in this module only. Shares the record that the store has
/// decoded: an agent's ceiling alone is dozens of texts, too many to copy for every request.
#[derive(Debug)]
pub struct Authenticated<T> {
    record: Stored<T>,
    certificate: Option<String>,
}

impl<T> Authenticated<T> {
    /// The thumbprint (`x5t#S256`) of the certificate whose key the caller has proven to hold, whatever it
    /// signed in with: what a token can be bound to (RFC 8705, section 3).
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }
}

impl<T> Deref for Authenticated<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.record
    }
}

/// With what somebody wants to prove who they are.
pub enum Proof<'a> {
    /// A client secret.
    Secret(&'a str),
    /// A signed assertion, by the agent's own key or by the platform that it runs on (RFC 7523).
    Assertion(&'a str),
    /// The client certificate of the connection (RFC 8705).
    Certificate,
}

/// Somebody at the door.
pub struct Attempt<'a> {
    /// Who they say they are; an agent's own assertion may say it alone.
    pub client_id: Option<&'a str>,
    /// How they prove it.
    pub proof: Proof<'a>,
    /// The connection's client certificate, whether or not it is the proof.
    pub certificate: Option<&'a ShownCertificate>,
    /// Where they call from.
    pub address: Option<IpAddr>,
}

/// Why a proof is not accepted. The words go into the log; the caller hears the same for all.
#[derive(Debug)]
pub(super) enum Refused {
    Because(Cow<'static, str>),
    Store(StoreError),
}

impl Refused {
    pub(super) const fn because(words: &'static str) -> Self {
        Self::Because(Cow::Borrowed(words))
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<crate::jose::Problem> for Refused {
    fn from(problem: crate::jose::Problem) -> Self {
        Self::Because(problem.to_string().into())
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
    /// No such agent, or no good proof: deliberately one answer.
    #[error("the agent is not known, or its proof is not accepted")]
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
    /// # Errors
    /// See [`AuthError`].
    pub async fn authenticate(
        &self,
        client_id: &str,
        secret: &str,
    ) -> Result<Authenticated<Agent>, AuthError> {
        let proof = Proof::Secret(secret);
        self.sign_in(&Attempt { client_id: Some(client_id), proof, certificate: None, address: None }).await
    }

    /// Checks whatever somebody proves themselves with.
    ///
    /// An unknown id and a wrong secret take the same path and the same time: one keyed hash, the same
    /// number of constant-time comparisons. Only failures are charged to the throttle, so that nobody can
    /// lock an agent out by guessing in its name.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn sign_in(&self, attempt: &Attempt<'_>) -> Result<Authenticated<Agent>, AuthError> {
        let own = match attempt.proof {
            Proof::Assertion(token) if attempt.client_id.is_none() => assertion::claimed_client(token),
            _ => None,
        };
        let client_id = attempt.client_id.or(own.as_deref()).unwrap_or_default();
        let found = match client_id.parse::<AgentId>() {
            Ok(id) => self.get(&id).await?,
            Err(_) => None,
        };
        let checked = match attempt.proof {
            Proof::Secret(secret) => self.check_secret(found.as_ref(), secret),
            Proof::Assertion(token) => self.check_assertion(found.as_ref(), token).await,
            Proof::Certificate => match (found.as_ref(), attempt.certificate) {
                (None, _) => Err(UNKNOWN),
                (_, None) => Err(Refused::because("the connection has no client certificate")),
                (Some(agent), Some(shown)) => {
                    self.check_certificate(agent, shown).await.map(|()| "certificate".to_owned())
                }
            },
        };
        match (checked, found) {
            (Ok(credential), Some(agent)) => {
                let certificate = attempt.certificate.map(|shown| shown.thumbprint().to_owned());
                let agent = Authenticated { certificate, ..active(agent, self.clock.now())? };
                self.note_use(&agent.id, &credential);
                Ok(agent)
            }
            (Err(Refused::Store(error)), _) => Err(error.into()),
            (Err(Refused::Because(words)), found) => {
                let waits = self.throttle.charge(&self.vault.digest(BearerKind::AgentSecret, client_id));
                if let Some(agent) = found {
                    self.tell_of_refusal(&agent.id, &words, attempt.address);
                }
                Err(waits.map_or(AuthError::Unknown, AuthError::Throttled))
            }
            (Ok(_), None) => Err(AuthError::Unknown),
        }
    }

    /// The name of the secret that was shown.
    fn check_secret(&self, found: Option<&Stored<Agent>>, secret: &str) -> Result<String, Refused> {
        let presented = self.vault.digest(BearerKind::AgentSecret, secret);
        let secrets = found.map(|agent| agent.secrets.as_slice()).unwrap_or_default();
        match matching(secrets, &presented, self.clock.now()) {
            Some(secret) => Ok(secret_name(secret)),
            None if found.is_none() => Err(UNKNOWN),
            None => Err(Refused::because("the secret is wrong, or has ended")),
        }
    }

    /// Writes down why an agent was not let in, as long as nobody floods the log with it.
    fn tell_of_refusal(&self, agent: &AgentId, words: &str, address: Option<IpAddr>) {
        if !self.throttle.may_tell() {
            tracing::info!(agent.id = %agent, reason = words, "an agent was not let in");
            return;
        }
        let mut event = EventDraft::new(EventKind::SignIn, "agent.sign_in_refused");
        event.agent = Some(agent.clone());
        event.verdict = Some(Verdict::Deny);
        event.reasons = vec![words.to_owned()];
        event.client_address = address;
        // Nothing is released, so nothing waits for it.
        self.audit.record_soon(event);
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
        AgentState::Active => Ok(Authenticated { record: agent, certificate: None }),
        state => Err(AuthError::NotActive(state)),
    }
}

const UNKNOWN: Refused = Refused::because("no agent has this id");

fn matching<'a>(
    secrets: &'a [AgentSecret],
    presented: &TokenDigest,
    now: Timestamp,
) -> Option<&'a AgentSecret> {
    // Random bytes that no secret hashes to: what an empty slot is compared with.
    const NOBODY: TokenDigest = TokenDigest::from_bytes([0x5a; 32]);
    let mut matched = None;
    for slot in 0..LIVE_SECRETS {
        let live = secrets.get(slot).filter(|secret| is_live(secret, now));
        let expected = live.map_or(&NOBODY, |secret| &secret.digest);
        // No early exit: the time must not tell which slot matched, or whether there was one.
        if expected.matches(presented) & live.is_some() {
            matched = live;
        }
    }
    matched
}
