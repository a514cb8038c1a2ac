//! What an admin should look at: agents without an owner who could answer for them, expired ones, and those
//! whose review is due.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::agents::{AgentChange, AgentError, Agents};
use crate::kernel::ids::UserId;
use crate::model::agent::{Agent, AgentState, Owner};
use crate::model::user::{User, UserState};
use crate::store::StoreError;

const PAGE: usize = 200;
/// Who suspends an agent for want of an owner, in its history.
const SWEEP: &str = "valetkey";

/// Something about an agent that an admin should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// The owner has left or was disabled, or nobody active is in the team.
    NoActiveOwner,
    /// Its time is over: it is refused.
    Expired,
    /// Somebody should look whether it is still needed.
    ReviewDue,
}

impl Flag {
    /// Its name in answers and texts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoActiveOwner => "no_active_owner",
            Self::Expired => "expired",
            Self::ReviewDue => "review_due",
        }
    }
}

/// Who is active, read once for many agents.
#[derive(Default)]
pub struct Owners {
    users: HashMap<UserId, bool>,
    teams: Option<HashSet<String>>,
}

impl Agents {
    /// What an admin should look at about an agent. A retired one is at rest.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn flags(&self, agent: &Agent, owners: &mut Owners) -> Result<Vec<Flag>, StoreError> {
        if agent.state == AgentState::Retired {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let mut flags = Vec::new();
        if !self.is_active(&agent.owner, owners).await? {
            flags.push(Flag::NoActiveOwner);
        }
        if agent.is_expired(now) {
            flags.push(Flag::Expired);
        }
        if agent.entry.review_at.is_some_and(|due| due <= now) {
            flags.push(Flag::ReviewDue);
        }
        Ok(flags)
    }

    /// Suspends the active agents that nobody answers for, where the deployment is set to do so. Returns them.
    ///
    /// # Errors
    /// When the store or the log cannot be used.
    pub async fn suspend_ownerless(&self) -> Result<Vec<Agent>, AgentError> {
        let mut suspended = Vec::new();
        if !self.suspends_ownerless {
            return Ok(suspended);
        }
        let (mut owners, mut after) = (Owners::default(), None);
        loop {
            let page = self.list(after.as_ref(), PAGE).await?;
            for agent in page.iter().filter(|agent| agent.state == AgentState::Active) {
                if !self.is_active(&agent.owner, &mut owners).await? {
                    suspended.push(self.set_state(&agent.id, AgentChange::Suspend, SWEEP).await?);
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
                _ => return Ok(suspended),
            }
        }
    }

    pub(super) async fn check_owner(&self, owner: &Owner) -> Result<(), AgentError> {
        if self.is_active(owner, &mut Owners::default()).await? {
            return Ok(());
        }
        Err(AgentError::UnknownOwner(owner.to_string()))
    }

    async fn is_active(&self, owner: &Owner, owners: &mut Owners) -> Result<bool, StoreError> {
        match owner {
            Owner::User(user) => match owners.users.get(user) {
                Some(known) => Ok(*known),
                None => {
                    let found = self.store.get::<User>(user.as_str()).await?;
                    let active = found.is_some_and(|user| user.state == UserState::Active);
                    owners.users.insert(user.clone(), active);
                    Ok(active)
                }
            },
            Owner::Team { team } => {
                if owners.teams.is_none() {
                    owners.teams = Some(self.active_teams().await?);
                }
                Ok(owners.teams.as_ref().is_some_and(|teams| teams.contains(team)))
            }
        }
    }

    /// The groups that somebody active is in. Reads all users: only where a team owns an agent.
    async fn active_teams(&self) -> Result<HashSet<String>, StoreError> {
        let (mut teams, mut after) = (HashSet::new(), None::<UserId>);
        loop {
            let page = self.store.page::<User>(after.as_ref().map(UserId::as_str), PAGE).await?;
            for user in page.iter().filter(|user| user.state == UserState::Active) {
                teams.extend(user.groups.iter().cloned());
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
                _ => return Ok(teams),
            }
        }
    }
}
