//! Who answers for an agent.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::kernel::ids::UserId;

/// Who answers for an agent: a person, or a team.
///
/// Stored as the person's id alone, or as `{"team": name}`: records from before there were teams read as
/// they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Owner {
    /// A person.
    User(UserId),
    /// The members of a group, as the users' records name it.
    Team {
        /// The group's name.
        team: String,
    },
}

impl Owner {
    /// The person, unless it is a team.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::Team { .. } => None,
        }
    }

    /// The team, unless it is a person.
    pub fn team(&self) -> Option<&str> {
        match self {
            Self::User(_) => None,
            Self::Team { team } => Some(team),
        }
    }

    /// Whether it is that person, and not merely a team of theirs: a personal agent acts for one.
    pub fn is(&self, user: &UserId) -> bool {
        self.user() == Some(user)
    }
}

impl From<UserId> for Owner {
    fn from(user: UserId) -> Self {
        Self::User(user)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Team { team } => write!(f, "team:{team}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_stored_by_their_id_alone_and_a_team_by_its_name() {
        let person = r#""usr_0123456789abcdef0123456789abcdef""#;
        let owner: Owner = serde_json::from_str(person).unwrap();
        assert!(owner.user().is_some_and(|user| owner.is(user)) && owner.team().is_none());
        assert_eq!(serde_json::to_string(&owner).unwrap(), person);
        let team: Owner = serde_json::from_str(r#"{"team":"Sales"}"#).unwrap();
        assert_eq!(
            (team.team(), team.user(), team.to_string().as_str()),
            (Some("Sales"), None, "team:Sales")
        );
        assert!(serde_json::from_str::<Owner>(r#""nobody""#).is_err());
    }
}
