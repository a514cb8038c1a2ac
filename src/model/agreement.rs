//! What a person agreed to before the last step is confirmed, and the limits that come of it. Pure.

use serde::{Deserialize, Serialize};

use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::ConnectionId;
use crate::kernel::scope::ScopeSet;
use crate::model::limit::{Bound, Limit, LimitKind, Named};

/// What the person agreed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// The scopes left ticked: a subset of the question's.
    pub scopes: ScopeSet,
    /// For how long, in seconds.
    pub duration_s: u64,
    /// The account picked, where the user has several.
    pub connection: Option<ConnectionId>,
    /// The browser session that agreed; the provider's answer must come back to it.
    pub browser: TokenDigest,
    /// When.
    pub at: Timestamp,
    /// Until when the last step has to be confirmed: ten minutes after the page was opened.
    #[serde(default = "over")]
    pub ends_at: Timestamp,
    /// The limits that are settled: the agent's suggestions, what the person added, and what was picked.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// Marks of limits of the former grant that the person has lifted.
    #[serde(default)]
    pub lifted: Vec<String>,
    /// What is still to be picked from the provider's own lists.
    #[serde(default)]
    pub picks: Vec<Pick>,
}

/// An agreement that was stored before it knew its own end cannot be confirmed by picking.
const fn over() -> Timestamp {
    Timestamp::from_secs(0)
}

/// Things to be picked from a provider's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pick {
    /// The API.
    pub api: String,
    /// Which limit comes of it.
    pub kind: LimitKind,
    /// What the agent has named; empty when the person chooses freely.
    #[serde(default)]
    pub suggested: Vec<Named>,
}

impl Agreement {
    /// Whether that browser may still take the last step.
    pub fn is_open_to(&self, browser: &TokenDigest, now: Timestamp) -> bool {
        &self.browser == browser && now < self.ends_at
    }

    /// The agreement with the first pick settled. `existing` is what of the agent's suggestion exists. None
    /// when there is nothing to pick, or nothing was.
    #[must_use]
    pub fn with_picked(&self, existing: &[Named], chosen: Vec<Named>) -> Option<Self> {
        let (pick, rest) = self.picks.split_first()?;
        let is_among = |item: &Named| existing.iter().any(|other| other.id == item.id);
        let mut settled = Self { picks: rest.to_vec(), ..self.clone() };
        // Both limits apply: what was picked inside of what the agent named narrows, and what was picked
        // beside it opens nothing.
        if !pick.suggested.is_empty() && !chosen.iter().all(is_among) {
            settled.add(pick.limit(existing.to_vec())?);
        }
        settled.add(pick.limit(chosen)?);
        Some(settled)
    }

    /// Adds a limit unless it is there.
    pub fn add(&mut self, limit: Limit) {
        if !self.limits.contains(&limit) {
            self.limits.push(limit);
        }
    }

    /// The limits of the grant that comes of it. A new consent keeps those of the grant whose place it takes,
    /// but for what the person has lifted.
    pub fn limits_over(&self, former: &[Limit]) -> Vec<Limit> {
        let mut limits = self.limits.clone();
        for limit in former {
            if !limits.contains(limit) && !self.lifted.contains(&limit.mark()) {
                limits.push(limit.clone());
            }
        }
        limits
    }
}

impl Pick {
    /// The limit to what the agent has named, as it named it.
    pub fn as_suggested(&self) -> Option<Limit> {
        self.limit(self.suggested.clone())
    }

    /// The limit to those things. None for an empty list.
    pub fn limit(&self, items: Vec<Named>) -> Option<Limit> {
        if items.is_empty() {
            return None;
        }
        Bound::naming(self.kind, items).map(|bound| Limit::at(&self.api, bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &str) -> Named {
        Named { id: id.to_owned(), name: Some(id.to_uppercase()) }
    }

    fn folders(ids: &[&str]) -> Limit {
        Limit::at("graph", Bound::Folders { items: ids.iter().map(|id| named(id)).collect() })
    }

    fn agreement(suggested: &[&str]) -> Agreement {
        Agreement {
            scopes: ScopeSet::parse("Files.Read").unwrap(),
            duration_s: 3600,
            connection: None,
            browser: TokenDigest::from_bytes([1; 32]),
            at: Timestamp::from_secs(1_000),
            ends_at: Timestamp::from_secs(1_600),
            limits: vec![Limit::general(Bound::ReadOnly {})],
            lifted: Vec::new(),
            picks: vec![
                Pick {
                    api: "graph".to_owned(),
                    kind: LimitKind::Folders,
                    suggested: suggested.iter().map(|id| named(id)).collect(),
                },
                Pick { api: "graph".to_owned(), kind: LimitKind::Chats, suggested: Vec::new() },
            ],
        }
    }

    #[test]
    fn the_last_step_belongs_to_one_browser_for_ten_minutes() {
        let agreement = agreement(&[]);
        let now = Timestamp::from_secs(1_599);
        assert!(agreement.is_open_to(&TokenDigest::from_bytes([1; 32]), now));
        assert!(!agreement.is_open_to(&TokenDigest::from_bytes([2; 32]), now));
        assert!(!agreement.is_open_to(&TokenDigest::from_bytes([1; 32]), Timestamp::from_secs(1_600)));
    }

    #[test]
    fn picks_are_settled_one_after_the_other() {
        let first = agreement(&[]).with_picked(&[], vec![named("a"), named("b")]).unwrap();
        assert_eq!(first.limits, [Limit::general(Bound::ReadOnly {}), folders(&["a", "b"])]);
        assert_eq!(first.picks.len(), 1);
        let second = first.with_picked(&[], vec![named("c")]).unwrap();
        assert!(second.picks.is_empty() && second.limits.len() == 3);
        assert!(second.with_picked(&[], vec![named("d")]).is_none(), "nothing is left to pick");
        assert!(first.with_picked(&[], Vec::new()).is_none(), "nothing was picked");
    }

    #[test]
    fn what_the_agent_named_can_be_narrowed_and_never_widened() {
        let existing = [named("a"), named("b")];
        let fewer = agreement(&["a", "b"]).with_picked(&existing, vec![named("a")]).unwrap();
        assert_eq!(fewer.limits[1..], [folders(&["a"])]);
        let beside = agreement(&["a", "b"]).with_picked(&existing, vec![named("x")]).unwrap();
        assert_eq!(beside.limits[1..], [folders(&["a", "b"]), folders(&["x"])], "both apply");
    }

    #[test]
    fn a_new_consent_keeps_what_it_does_not_lift() {
        let mut agreement = agreement(&[]);
        let former = [folders(&["a"]), Limit::general(Bound::ReadOnly {}), Limit::general(Bound::Once {})];
        agreement.lifted = vec![former[2].mark()];
        assert_eq!(agreement.limits_over(&former), [former[1].clone(), former[0].clone()]);
    }
}
