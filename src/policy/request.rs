//! What is asked of the pipeline.

use crate::agents::Authenticated;
use crate::kernel::ids::{ConnectionId, GrantId, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::agent::Agent;
use crate::model::limit::Limit;
use crate::policy::reach::reach;
use crate::providers::Configured;
use crate::providers::routes::CompiledRoute;

/// An agent wants to act for a user at a provider.
pub struct Request<'a> {
    /// Who acts: proven.
    pub agent: &'a Authenticated<Agent>,
    /// For whom.
    pub user: &'a UserId,
    /// At which provider.
    pub provider: &'a Configured,
    /// What is wanted.
    pub action: Action<'a>,
}

/// Who would act, for whom, and where: what the first stages look at.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub agent: &'a Agent,
    pub user: &'a UserId,
    pub provider: &'a Configured,
}

impl Subject<'_> {
    /// The most that the agent can hold there now.
    pub(super) fn reach(&self) -> ScopeSet {
        reach(self.agent, self.provider)
    }
}

impl<'a> Request<'a> {
    pub(super) fn subject(&self) -> Subject<'a> {
        Subject { agent: self.agent, user: self.user, provider: self.provider }
    }
}

/// What is wanted.
pub enum Action<'a> {
    /// A token.
    Exchange {
        /// The scopes asked for; `None` = all that the grant holds, or the agent's default scopes.
        asked: Option<&'a ScopeSet>,
        /// The connection, if the agent named one.
        connection: Option<&'a ConnectionId>,
        /// Limits that the token is to have beside the grant's.
        limits: &'a [Limit],
    },
    /// All that a grant holds for the agent now, whatever was asked at first: for a token that a person has
    /// just agreed to, and for telling what a token is worth.
    Collect {
        /// The grant that came of the interaction.
        grant: &'a GrantId,
        /// Limits that the token has beside the grant's.
        limits: &'a [Limit],
    },
    /// A gateway call with a token of ours.
    Call {
        /// The grant that the token was issued for.
        grant: &'a GrantId,
        /// The scopes that the token holds.
        token_scopes: &'a ScopeSet,
        /// The limits that the token has beside the grant's.
        token_limits: &'a [Limit],
        /// The route that the call matched.
        route: &'a CompiledRoute,
    },
}
