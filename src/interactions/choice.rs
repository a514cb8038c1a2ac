//! What a person has chosen on the page of a question.

use std::time::Duration;

use crate::interactions::limits::LimitChoice;
use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::ConnectionId;
use crate::kernel::scope::ScopeSet;

/// What a person chose on the page.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The scopes left ticked.
    pub scopes: ScopeSet,
    /// For how long.
    pub duration: Duration,
    /// Which account.
    pub account: AccountChoice,
    /// The account whose permissions and limits the page has shown; `None` where it said that one is connected next.
    pub about: Option<ConnectionId>,
    /// Which limits.
    pub limits: LimitChoice,
    /// The browser session that answers.
    pub browser: TokenDigest,
    /// When it opened the page: the last step has to come within ten minutes of it.
    pub opened_at: Timestamp,
}

/// Which upstream account is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountChoice {
    /// The one that the page is about: that in the question, else the one that was picked for the agent before, else the
    /// default one, else a new one.
    Usual,
    /// One that is connected already.
    Existing(ConnectionId),
    /// Another one, to be connected now.
    New,
}
