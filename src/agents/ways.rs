//! Registering how an agent may sign in without a secret.

use crate::agents::presets::{Place, preset};
use crate::agents::{AgentError, Agents, certificate};
use crate::jose::KeySet;
use crate::kernel::encode;
use crate::kernel::ids::AgentId;
use crate::model::agent::{Agent, AgentIsRetired, AgentState};
use crate::model::credential::{Certificates, ClientKeys, SignIn, Vouches, Workload};
use crate::upstream::is_key_url;

/// More keys than an agent has while it replaces one.
const KEYS_MAX: usize = 10;
/// More places than an agent runs in.
const WORKLOADS_MAX: usize = 10;
/// A certificate, its successor, and the same for a second instance.
const THUMBPRINTS_MAX: usize = 4;

fn invalid(field: &'static str, problem: impl Into<String>) -> AgentError {
    AgentError::Invalid { field, problem: problem.into() }
}

impl Agents {
    /// States anew how an agent may sign in; in force on the next request. Its secrets stay as they are.
    ///
    /// # Errors
    /// When a value cannot be taken, the agent is not there or retired, or nothing can be written.
    pub async fn set_sign_in(&self, id: &AgentId, ways: SignIn, by: &str) -> Result<Agent, AgentError> {
        let before = self.get(id).await?.ok_or_else(|| AgentError::NotFound(id.clone()))?;
        refuse_retired(&before)?;
        let ways = self.checked_ways(ways).await?;
        self.change_sign_in(id, by, |_| Ok(ways.clone())).await
    }

    /// Adds to how an agent may sign in, or takes away from it; what others change meanwhile stays.
    ///
    /// # Errors
    /// As [`Agents::set_sign_in`], and those of `change`.
    pub async fn alter_sign_in(
        &self,
        id: &AgentId,
        by: &str,
        change: impl Fn(SignIn) -> Result<SignIn, AgentError>,
    ) -> Result<Agent, AgentError> {
        let before = self.get(id).await?.ok_or_else(|| AgentError::NotFound(id.clone()))?;
        refuse_retired(&before)?;
        let wanted = change(before.sign_in.clone())?;
        let checked = self.checked_ways(wanted.clone()).await?;
        let change = |now: &SignIn| match change(now.clone())? {
            ways if ways == wanted => Ok(checked.clone()),
            _ => Err(invalid("sign_in", "somebody else has changed it at this moment; look at it again")),
        };
        self.change_sign_in(id, by, change).await
    }

    async fn change_sign_in(
        &self,
        id: &AgentId,
        by: &str,
        change: impl Fn(&SignIn) -> Result<SignIn, AgentError>,
    ) -> Result<Agent, AgentError> {
        let change = |agent: &Agent| {
            refuse_retired(agent)?;
            Ok(Agent { sign_in: change(&agent.sign_in)?, ..agent.clone() })
        };
        self.edit(id, "agent.sign_in_changed", by, change).await
    }

    /// Whether those ways can be registered; thumbprints come back in one form.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub async fn checked_ways(&self, mut ways: SignIn) -> Result<SignIn, AgentError> {
        match &ways.keys {
            None => {}
            Some(ClientKeys::Inline(set)) => check_keys(set)?,
            Some(ClientKeys::Remote(url)) if is_key_url(url) => {}
            Some(ClientKeys::Remote(_)) => {
                return Err(invalid("keys.jwks_uri", "write an https URL without port, query or fragment"));
            }
        }
        if ways.workloads.len() > WORKLOADS_MAX {
            return Err(invalid("workloads", format!("list at most {WORKLOADS_MAX}")));
        }
        for workload in &ways.workloads {
            self.check_registered(workload).await?;
        }
        match &mut ways.certificates {
            None => {}
            Some(Certificates::SelfSigned { thumbprints }) => {
                if thumbprints.is_empty() || thumbprints.len() > THUMBPRINTS_MAX {
                    return Err(invalid("certificates", format!("list 1 to {THUMBPRINTS_MAX} thumbprints")));
                }
                for thumbprint in thumbprints {
                    *thumbprint = plain_thumbprint(thumbprint).ok_or_else(|| {
                        invalid(
                            "certificates",
                            "a thumbprint is the SHA-256 of the certificate, in base64url or hex",
                        )
                    })?;
                }
            }
            Some(Certificates::Issued { authority, name }) => {
                let source = self.trust_source(authority).await?;
                let vouches = source.as_ref().map(|source| &source.vouches);
                if !matches!(vouches, Some(Vouches::Certificates { .. })) {
                    return Err(invalid(
                        "certificates.authority",
                        "no trust source of that id holds an authority",
                    ));
                }
                certificate::check_name(name).map_err(|problem| invalid("certificates.name", problem))?;
            }
        }
        Ok(ways)
    }

    async fn check_registered(&self, workload: &Workload) -> Result<(), AgentError> {
        let source = self.trust_source(&workload.trust_source).await?;
        let Some(Vouches::Tokens(issuer)) = source.as_ref().map(|source| &source.vouches) else {
            return Err(invalid("workloads.trust_source", "no trust source of that id vouches with tokens"));
        };
        let known = preset(&issuer.preset)
            .ok_or_else(|| invalid("workloads.trust_source", "this version has no such preset any more"))?;
        known.check_pins(Place::Agent, &workload.pins).map_err(|problem| invalid("workloads.pins", problem))
    }
}

fn check_keys(set: &serde_json::Value) -> Result<(), AgentError> {
    let keys = KeySet::registered(set).map_err(|problem| invalid("keys.jwks", problem.to_string()))?;
    if keys.len() > KEYS_MAX {
        return Err(invalid("keys.jwks", format!("register at most {KEYS_MAX} keys")));
    }
    if !keys.has_distinct_ids() {
        return Err(invalid("keys.jwks", "give each of several keys a `kid` of its own"));
    }
    Ok(())
}

/// Base64url, or hex with or without colons as tools print it, as base64url.
fn plain_thumbprint(text: &str) -> Option<String> {
    let is_digest = |bytes: &Vec<u8>| bytes.len() == 32;
    let from_hex = || encode::from_hex(&text.replace(':', ""));
    let bytes = encode::from_base64url(text).filter(is_digest).or_else(|| from_hex().filter(is_digest))?;
    Some(encode::base64url(&bytes))
}

fn refuse_retired(agent: &Agent) -> Result<(), AgentIsRetired> {
    if agent.state == AgentState::Retired { Err(AgentIsRetired) } else { Ok(()) }
}
