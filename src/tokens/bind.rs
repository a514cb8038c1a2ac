//! To what the tokens of a request are bound: the key of its proof (RFC 9449), the client certificate of its
//! connection (RFC 8705).

use std::time::Duration;

use url::Url;

use crate::agents::Authenticated;
use crate::model::agent::Agent;
use crate::model::token::Binding;
use crate::tokens::dpop::{Problem, Proof, ShownProof, Spending, Target, Unproven};
use crate::tokens::{RequestInfo, TokenError, Tokens};

impl Tokens {
    /// Checks the proof beside a request of an authenticated agent for a token, and says what the token is bound
    /// to.
    ///
    /// # Errors
    /// `invalid_dpop_proof`, also where the agent's tokens have to be bound and there is nothing to bind this one
    /// to, or `use_dpop_nonce`.
    pub async fn bind(
        &self,
        agent: &Authenticated<Agent>,
        shown: ShownProof<'_>,
        path: &str,
        info: RequestInfo,
    ) -> Result<RequestInfo, TokenError> {
        let required = agent.entry.sender_constrained;
        // Some clients show a certificate to whoever asks; it binds where it is known to be the agent's way.
        let is_usual = required || agent.sign_in.certificates.is_some();
        let certificate = agent.certificate().filter(|_| is_usual).map(str::to_owned);
        let jkt = match shown {
            ShownProof::Missing if required && certificate.is_none() => {
                let words =
                    "this agent's tokens have to be bound: send a DPoP proof, or show a client certificate";
                return Err(TokenError::new("invalid_dpop_proof", words));
            }
            ShownProof::Missing => None,
            shown => Some(self.held(shown, path).await?),
        };
        let bound_only = required || jkt.is_some();
        let binding = Some(Binding { jkt, certificate }).filter(|binding| *binding != Binding::default());
        Ok(RequestInfo { binding, bound_only, ..info })
    }

    async fn held(&self, shown: ShownProof<'_>, path: &str) -> Result<String, Unproven> {
        let proof = Proof::parse(shown.text()?)?;
        let url = Url::parse(&self.at(path)).map_err(|_| Problem::Address)?;
        proof.check(&Target { method: "POST", url: &url, token: None }, self.clock.now())?;
        let held = self.proofs.spend(proof, Spending::Everywhere).await?;
        Ok(held.thumbprint().to_owned())
    }
}

impl From<Unproven> for TokenError {
    fn from(error: Unproven) -> Self {
        match error {
            Unproven::Bad(problem) => Self::new("invalid_dpop_proof", problem.to_string()),
            Unproven::Nonce => Self::new("use_dpop_nonce", error.to_string()),
            Unproven::Crowded => Self::unavailable(error.to_string(), Duration::from_secs(2)),
            Unproven::Store(error) => error.into(),
        }
    }
}
