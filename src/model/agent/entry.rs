//! What the register holds of an agent beyond who it is: where it runs, what it may touch, for whom, and
//! until when.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{ProviderSlug, UserId};
use crate::kernel::scope::ScopeSet;
use crate::model::limit::Limit;
use crate::model::user::User;

/// Platforms that agents commonly run on. Any other name may be written as well.
pub const KNOWN_PLATFORMS: [&str; 8] =
    ["Model Studio", "PAI", "AgentRun", "Bedrock", "Azure AI", "LangChain", "Dify", "self-built"];

/// What the register holds of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Where it was built or runs, such as one of [`KNOWN_PLATFORMS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Which environment it runs in, such as `production`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Further labels.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
    /// Classes of data that it may touch: those of [`DataClass`](crate::kernel::data_class::DataClass), and the
    /// organisation's own words for internal back ends. Empty = not restricted.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub data_classes: BTreeSet<String>,
    /// The most that it can hold at internal back ends, by their identifiers; one that is not listed is
    /// closed. `None` = whatever the back ends' own registrations give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audiences: Option<BTreeMap<String, ScopeSet>>,
    /// Limits that hold for all of its grants at a provider, beside the grants' own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<ProviderSlug, Vec<Limit>>,
    /// For whom an assistant may act; `None` = everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub people: Option<Circle>,
    /// When it ends: from then on it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When somebody should look whether it is still needed: from then on it is flagged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review_at: Option<Timestamp>,
    /// Whether its tokens work only for the holder of a key (RFC 9449) or of a certificate (RFC 8705).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sender_constrained: bool,
}

impl Entry {
    /// Whether the agent may act for that person.
    pub fn admits(&self, user: &User) -> bool {
        self.people.as_ref().is_none_or(|people| people.contains(user))
    }

    /// Whether it may touch what is of these classes, all of them. What has no class is closed to an agent
    /// that is restricted to some.
    pub fn may_touch<'c>(&self, classes: impl IntoIterator<Item = &'c str>) -> bool {
        if self.data_classes.is_empty() {
            return true;
        }
        let mut classes = classes.into_iter().peekable();
        classes.peek().is_some() && classes.all(|class| self.data_classes.contains(class))
    }
}

/// Certain people: those named, and the members of the groups named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Circle {
    /// These users.
    pub users: BTreeSet<UserId>,
    /// Members of any of these groups.
    pub groups: BTreeSet<String>,
}

impl Circle {
    /// Whether the person is one of them. An empty circle holds nobody.
    pub fn contains(&self, user: &User) -> bool {
        self.users.contains(&user.id) || user.groups.iter().any(|group| self.groups.contains(group))
    }
}
