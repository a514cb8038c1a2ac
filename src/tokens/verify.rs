//! Reading a gateway token back.

use std::time::Duration;

use url::Url;

use crate::agents::{AuthError, Authenticated, Presented};
use crate::model::agent::Agent;
use crate::model::token::{GatewayClaims, RevokedToken};
use crate::store::StoreError;
use crate::tokens::dpop::{Problem, Proof, ShownProof, Spending, Target, Unproven};
use crate::tokens::{GATEWAY_TOKEN_LIFE, Tokens};

/// How far the clocks of nodes may differ.
const SKEW: Duration = Duration::from_secs(60);

/// A gateway token that is ours, alive, and whose agent may act. Whether whoever shows it holds what it is
/// bound to was not asked: good for saying things about it, not for calls.
#[derive(Debug)]
pub struct StandingToken {
    /// What it says.
    pub claims: GatewayClaims,
    /// Whose it is.
    pub agent: Authenticated<Agent>,
}

/// A token with which a call may be made: a standing one, shown by its holder.
#[derive(Debug)]
pub struct VerifiedToken {
    /// What it says.
    pub claims: GatewayClaims,
    /// Who holds it: proven by the token, and by what it is bound to.
    pub agent: Authenticated<Agent>,
}

/// The scheme of an `Authorization` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 9449, section 7.1.
    Dpop,
}

/// A token as a call shows it.
#[derive(Clone, Copy, Debug)]
pub struct ShownToken<'a> {
    /// How.
    pub scheme: Scheme,
    /// The token.
    pub token: &'a str,
    /// The proof beside it.
    pub proof: ShownProof<'a>,
    /// The call's method.
    pub method: &'a str,
    /// The call's path, as it came.
    pub path: &'a str,
    /// The thumbprint of the connection's client certificate.
    pub certificate: Option<&'a str>,
}

/// Why a token does not work.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Not ours, changed, expired, revoked, or its agent may not act: the same words for all.
    #[error("the token is missing, unknown, expired or revoked: obtain a new one by token exchange")]
    Invalid,
    /// It is bound to a key, and shown as if it were not.
    #[error("the token is bound to a key: send it as Authorization: DPoP, with a DPoP proof for this call")]
    Bound,
    /// It is bound to a client certificate, and the connection has another one, or none.
    #[error("the token is bound to a client certificate: call over TLS with that certificate")]
    OtherCertificate,
    /// It is bound to nothing, and its agent's tokens have to be.
    #[error(
        "this agent's tokens have to be bound: obtain one with a DPoP proof, or with a client certificate"
    )]
    Loose,
    /// It is shown with a proof, and bound to no key.
    #[error("the token is bound to no key: send it as Authorization: Bearer")]
    Unbound,
    /// Whoever shows it has not shown that they hold its key.
    #[error(transparent)]
    Unproven(Unproven),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Unproven> for VerifyError {
    fn from(error: Unproven) -> Self {
        match error {
            Unproven::Store(error) => Self::Store(error),
            other => Self::Unproven(other),
        }
    }
}

impl Tokens {
    /// Checks the gateway token of a call, and that the caller holds what it is bound to. Whether its grant still
    /// holds is the pipeline's to say.
    ///
    /// # Errors
    /// When it does not work, is not the caller's, or the store cannot be read.
    pub async fn verify(&self, shown: &ShownToken<'_>) -> Result<VerifiedToken, VerifyError> {
        let StandingToken { claims, agent } = self.standing(shown.token).await?;
        // The switch may have been turned after the token was issued.
        if agent.entry.sender_constrained && claims.binding.is_none() {
            return Err(VerifyError::Loose);
        }
        let certificate = claims.binding.as_ref().and_then(|binding| binding.certificate.as_deref());
        if certificate.is_some() && certificate != shown.certificate {
            return Err(VerifyError::OtherCertificate);
        }
        let jkt = claims.binding.as_ref().and_then(|binding| binding.jkt.as_deref());
        match (shown.scheme, jkt) {
            (Scheme::Bearer, None) => {}
            (Scheme::Bearer, Some(_)) => return Err(VerifyError::Bound),
            (Scheme::Dpop, None) => return Err(VerifyError::Unbound),
            (Scheme::Dpop, Some(jkt)) => self.holds(jkt, shown).await?,
        }
        Ok(VerifiedToken { claims, agent })
    }

    /// Whether the caller holds the key with that thumbprint.
    async fn holds(&self, jkt: &str, shown: &ShownToken<'_>) -> Result<(), Unproven> {
        let proof = Proof::parse(shown.proof.text()?)?;
        let url = Url::parse(&self.at(shown.path)).map_err(|_| Problem::Address)?;
        let target = Target { method: shown.method, url: &url, token: Some(shown.token) };
        proof.check(&target, self.clock.now())?;
        if proof.thumbprint() != jkt {
            return Err(Problem::OtherKey.into());
        }
        // What only reads may be remembered by each node for itself: the store is not written for it.
        let reads = matches!(shown.method, "GET" | "HEAD");
        self.proofs.spend(proof, if reads { Spending::Here } else { Spending::Everywhere }).await?;
        Ok(())
    }

    /// Checks a gateway token by itself.
    ///
    /// # Errors
    /// When it does not work, or the store cannot be read.
    pub async fn standing(&self, token: &str) -> Result<StandingToken, VerifyError> {
        let opened = self.vault.open_token(token).ok_or(VerifyError::Invalid)?;
        let presented = Presented::read(&opened).ok_or(VerifyError::Invalid)?;
        let claims = presented.claims();
        let now = self.clock.now();
        // One that was issued while a clock was ahead, or made by whoever has read the keyring, would live for longer than
        // any token may.
        let end = claims.expires_at.min(claims.issued_at.plus(GATEWAY_TOKEN_LIFE));
        if now >= end || claims.issued_at > now.plus(SKEW) {
            return Err(VerifyError::Invalid);
        }
        if self.store.get::<RevokedToken>(&claims.token).await?.is_some() {
            return Err(VerifyError::Invalid);
        }
        match self.agents.authenticate_by_token(&presented).await {
            Ok(agent) => Ok(StandingToken { claims: presented.into_claims(), agent }),
            Err(AuthError::Store(error)) => Err(error.into()),
            Err(_) => Err(VerifyError::Invalid),
        }
    }

    /// Whether what a token has begun may go on: it was not revoked, and its agent may act. That it has
    /// expired meanwhile does not matter. Whether its grant still holds is the pipeline's to say.
    ///
    /// # Errors
    /// When it may not go on, or the store cannot be read.
    pub async fn still_holds(&self, verified: &VerifiedToken) -> Result<Authenticated<Agent>, VerifyError> {
        if self.store.get::<RevokedToken>(&verified.claims.token).await?.is_some() {
            return Err(VerifyError::Invalid);
        }
        match self.agents.still_authenticated(&verified.agent).await {
            Ok(agent) => Ok(agent),
            Err(AuthError::Store(error)) => Err(error.into()),
            Err(_) => Err(VerifyError::Invalid),
        }
    }
}
