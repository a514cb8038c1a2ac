//! Classes of data: what a scope opens, in a few words that are the same at every provider.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a scope that names no class counts as. Nobody can list it: an agent that is restricted to certain
/// classes holds nothing of which it is not known what it opens.
pub const UNCLASSIFIED: &str = "unclassified";

/// A class of data, as templates say it of their scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataClass {
    /// The person's own account: name, picture, own entry in the directory, what they have allowed.
    Profile,
    /// Colleagues, groups and departments of the company.
    Directory,
    /// People that somebody has noted for themselves: address books, customers.
    Contacts,
    /// Mail, with attachments and folders.
    Mail,
    /// Calendars, events, who is free, who shares them.
    Calendar,
    /// Chats and channels, with who is in them.
    Messages,
    /// Drives, documents, sheets, tables, wikis and sites, with who can open them.
    Files,
    /// To-dos and plans.
    Tasks,
    /// Applications of the company, and who uses them.
    Apps,
    /// Records of who signed in and who changed what.
    Logs,
}

impl DataClass {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Profile,
        Self::Directory,
        Self::Contacts,
        Self::Mail,
        Self::Calendar,
        Self::Messages,
        Self::Files,
        Self::Tasks,
        Self::Apps,
        Self::Logs,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Directory => "directory",
            Self::Contacts => "contacts",
            Self::Mail => "mail",
            Self::Calendar => "calendar",
            Self::Messages => "messages",
            Self::Files => "files",
            Self::Tasks => "tasks",
            Self::Apps => "apps",
            Self::Logs => "logs",
        }
    }

    /// The class that somebody meant who wrote its name in another case.
    pub fn meant_by(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for DataClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a word cannot stand in a list of classes, whose own words are allowed beside the known ones.
///
/// # Errors
/// What to write instead.
pub fn check(word: &str) -> Result<(), String> {
    match DataClass::meant_by(word) {
        Some(class) if class.as_str() != word => Err(format!("write `{class}` in lower case")),
        _ if word.eq_ignore_ascii_case(UNCLASSIFIED) => {
            Err(format!("`{UNCLASSIFIED}` is what has no class: name a class, or leave the list empty"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_one_name_in_files_and_in_words() {
        for class in DataClass::ALL {
            assert_eq!(serde_json::to_string(&class).unwrap(), format!("\"{class}\""));
            assert!(check(class.as_str()).is_ok());
        }
        assert_eq!(check("Mail"), Err("write `mail` in lower case".to_owned()));
        assert!(check("Unclassified").is_err() && check("salaries").is_ok() && check("mails").is_ok());
    }
}
