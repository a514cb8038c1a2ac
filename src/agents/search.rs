//! Finding agents in the register.

use crate::agents::{Agents, Flag, Owners};
use crate::kernel::ids::AgentId;
use crate::model::agent::{Agent, AgentKind, AgentState, Owner};
use crate::store::{StoreError, Stored};

const PAGE: usize = 200;

/// What is looked for; what is left out is not asked about.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Part of the name, purpose or id; case does not matter.
    pub text: Option<String>,
    /// Kind.
    pub kind: Option<AgentKind>,
    /// State, as it is stored.
    pub state: Option<AgentState>,
    /// Who answers for it.
    pub owner: Option<Owner>,
    /// A label, platform or environment; case does not matter.
    pub label: Option<String>,
    /// A class of data that it may touch.
    pub data_class: Option<String>,
    /// What an admin should look at.
    pub flagged: Option<Flagged>,
}

/// Which flags are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flagged {
    /// Any.
    Any,
    /// This one.
    With(Flag),
}

impl Flagged {
    /// Reads `true`, or the name of a flag.
    pub fn parse(text: &str) -> Option<Self> {
        let flags = [Flag::NoActiveOwner, Flag::Expired, Flag::ReviewDue];
        match text {
            "true" => Some(Self::Any),
            _ => flags.into_iter().find(|flag| flag.as_str() == text).map(Self::With),
        }
    }
}

/// An agent that was found, and what an admin should look at.
#[derive(Debug)]
pub struct Found {
    /// The agent.
    pub agent: Stored<Agent>,
    /// Its flags.
    pub flags: Vec<Flag>,
}

impl Agents {
    /// The agents that fit, in the order of their ids: at most `limit`, and where to read on.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn search(
        &self,
        search: &Search,
        after: Option<&AgentId>,
        limit: usize,
    ) -> Result<(Vec<Found>, Option<AgentId>), StoreError> {
        let (mut found, mut owners) = (Vec::new(), Owners::default());
        let mut after = after.cloned();
        loop {
            let page = self.list(after.as_ref(), PAGE).await?;
            for agent in &page {
                if !search.fits(agent) {
                    continue;
                }
                let flags = self.flags(agent, &mut owners).await?;
                if search.flagged.is_some_and(|wanted| !wanted.fits(&flags)) {
                    continue;
                }
                found.push(Found { agent: agent.clone(), flags });
                if found.len() == limit {
                    return Ok((found, Some(agent.id.clone())));
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
                _ => return Ok((found, None)),
            }
        }
    }
}

impl Flagged {
    fn fits(self, flags: &[Flag]) -> bool {
        match self {
            Self::Any => !flags.is_empty(),
            Self::With(flag) => flags.contains(&flag),
        }
    }
}

impl Search {
    fn fits(&self, agent: &Agent) -> bool {
        let entry = &agent.entry;
        let text_fits = self.text.as_deref().is_none_or(|text| {
            let text = text.to_lowercase();
            [agent.name.as_str(), &agent.purpose, agent.id.as_str()]
                .iter()
                .any(|value| value.to_lowercase().contains(&text))
        });
        let label_fits = self.label.as_deref().is_none_or(|wanted| {
            let is_it = |value: &String| value.to_lowercase() == wanted.to_lowercase();
            entry.platform.iter().chain(&entry.environment).chain(&entry.labels).any(is_it)
        });
        text_fits
            && label_fits
            && self.kind.is_none_or(|kind| kind == agent.kind)
            && self.state.is_none_or(|state| state == agent.state)
            && self.owner.as_ref().is_none_or(|owner| owner == &agent.owner)
            && self.data_class.as_ref().is_none_or(|class| entry.data_classes.contains(class))
    }
}
