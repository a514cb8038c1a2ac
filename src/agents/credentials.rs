//! Client secrets: 256 random bits, known to the store by a keyed digest.

use std::time::Duration;

use crate::agents::{AgentError, Agents};
use crate::kernel::bearer::{self, BearerKind};
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::AgentId;
use crate::kernel::secret::SecretString;
use crate::model::agent::{Agent, AgentIsRetired, AgentSecret, AgentState};

/// How long the former secret goes on working after a rotation.
pub const SECRET_OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// No more secrets than these are live at once: the newest, and the one that it replaces.
pub(super) const LIVE_SECRETS: usize = 2;

impl Agents {
    pub(super) fn new_secret(&self, now: Timestamp) -> (AgentSecret, SecretString) {
        let plain = bearer::generate(BearerKind::AgentSecret, &*self.entropy);
        let digest = self.vault.digest(BearerKind::AgentSecret, plain.expose_str());
        (AgentSecret { digest, created_at: now, expires_at: None }, plain)
    }

    /// Makes a new secret, shown this once. The newest former one works for [`SECRET_OVERLAP`] more,
    /// any older one ends now.
    ///
    /// # Errors
    /// When there is no such agent, it is retired, or nothing can be written.
    pub async fn rotate_secret(&self, id: &AgentId, by: &str) -> Result<SecretString, AgentError> {
        let before = self.get(id).await?.ok_or_else(|| AgentError::NotFound(id.clone()))?;
        refuse_retired(&before)?;
        let now = self.clock.now();
        let (secret, plain) = self.new_secret(now);
        let change = |agent: &Agent| {
            refuse_retired(agent)?;
            Ok(Agent { secrets: rotated(&agent.secrets, secret.clone(), now), ..agent.clone() })
        };
        let after = self.edit(id, "agent.secret_rotated", by, change).await?;
        self.forget_ended(&before, &after).await?;
        Ok(plain)
    }

    /// Ends one secret now, by its short name: the former one before its overlap is over, or the last one of
    /// an agent that signs in without.
    ///
    /// # Errors
    /// When there is no such agent or secret, or nothing can be written.
    pub async fn end_secret(&self, id: &AgentId, name: &str, by: &str) -> Result<Agent, AgentError> {
        let before = self.get(id).await?.ok_or_else(|| AgentError::NotFound(id.clone()))?;
        if !before.secrets.iter().any(|secret| secret_name(secret) == name) {
            let problem = "the agent has no secret of that name; list them with its credentials".to_owned();
            return Err(AgentError::Invalid { field: "secret", problem });
        }
        let change = |agent: &Agent| {
            let mut agent = agent.clone();
            agent.secrets.retain(|secret| secret_name(secret) != name);
            Ok(agent)
        };
        let after = self.edit(id, "agent.secret_ended", by, change).await?;
        self.forget_ended(&before, &after).await?;
        Ok(after)
    }

    async fn forget_ended(&self, before: &Agent, after: &Agent) -> Result<(), AgentError> {
        let names: Vec<String> = after.secrets.iter().map(secret_name).collect();
        for ended in before.secrets.iter().map(secret_name).filter(|name| !names.contains(name)) {
            self.forget_use(&before.id, &ended).await?;
        }
        Ok(())
    }
}

fn refuse_retired(agent: &Agent) -> Result<(), AgentIsRetired> {
    if agent.state == AgentState::Retired { Err(AgentIsRetired) } else { Ok(()) }
}

fn rotated(former: &[AgentSecret], newest: AgentSecret, now: Timestamp) -> Vec<AgentSecret> {
    let latest = former.iter().filter(|secret| is_live(secret, now)).max_by_key(|secret| secret.created_at);
    let kept = latest.map(|secret| {
        let ends = now.plus(SECRET_OVERLAP);
        AgentSecret { expires_at: Some(secret.expires_at.map_or(ends, |at| at.min(ends))), ..secret.clone() }
    });
    kept.into_iter().chain([newest]).collect()
}

/// A secret's short name: eight digits of a keyed digest tell two of them apart, and help nobody to guess.
pub fn secret_name(secret: &AgentSecret) -> String {
    secret.digest.hex().get(..8).unwrap_or_default().to_owned()
}

pub(super) fn is_live(secret: &AgentSecret, now: Timestamp) -> bool {
    secret.expires_at.is_none_or(|ends| now < ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::bearer::TokenDigest;

    fn secret(digest: u8, created: i64) -> AgentSecret {
        let digest = TokenDigest::from_bytes([digest; 32]);
        AgentSecret { digest, created_at: Timestamp::from_secs(created), expires_at: None }
    }

    #[test]
    fn only_the_newest_former_secret_survives_a_rotation_and_only_for_the_overlap() {
        let first = rotated(&[secret(1, 0)], secret(2, 10), Timestamp::from_secs(10));
        let second = rotated(&first, secret(3, 20), Timestamp::from_secs(20));
        assert_eq!(second.len(), LIVE_SECRETS);
        assert_eq!(second[0].digest, secret(2, 0).digest);
        let ends = Timestamp::from_secs(20).plus(SECRET_OVERLAP);
        assert!(is_live(&second[0], Timestamp::from_secs(21)));
        assert!(!is_live(&second[0], ends));
        assert!(is_live(&second[1], ends));
    }
}
