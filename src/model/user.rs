//! People: employees, and admins who sign in with a password.

use serde::{Deserialize, Serialize};

use crate::kernel::bearer::TokenDigest;
use crate::kernel::clock::Timestamp;
use crate::kernel::ids::{AdminTokenId, UserId};
use crate::model::record::Record;

/// An employee, keyed by the sign-in provider's issuer and subject. The e-mail is a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Identifier.
    pub id: UserId,
    /// The sign-in provider's issuer.
    pub issuer: String,
    /// The subject there: stable, never re-used.
    pub subject: String,
    /// E-mail as the sign-in provider last stated it; not a key.
    pub email: Option<String>,
    /// Name to show.
    pub name: String,
    /// Department, as an admin or the sign-in provider states it; back ends filter rows by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub department: Option<String>,
    /// Groups, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Whether the user may act at all.
    pub state: UserState,
    /// First seen.
    pub created_at: Timestamp,
    /// Last sign-in in a browser.
    pub last_sign_in: Option<Timestamp>,
    /// What the directory states, and what a departure has left.
    #[serde(default)]
    pub lifecycle: Lifecycle,
}

/// How a person came and went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lifecycle {
    /// When the person was signed out everywhere: whatever was proven up to then proves nothing any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_out_at: Option<Timestamp>,
    /// Since when connections and grants are to be ended; nothing once they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub farewell: Option<Timestamp>,
    /// Up to when the person's own page has told them of new grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told_until: Option<Timestamp>,
    /// What the company's directory states, once it has spoken of the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectoryEntry>,
}

/// A person as the company's directory knows them (RFC 7643).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// Its name for them, unique there.
    pub user_name: String,
    /// Its identifier for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Given name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_name: Option<String>,
    /// Family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family_name: Option<String>,
    /// Whether the directory has deleted them; it sees them no more.
    #[serde(default)]
    pub removed: bool,
    /// When it last changed something.
    pub changed_at: Timestamp,
}

/// In how many groups a user is at most.
pub const MOST_GROUPS: usize = 200;

impl User {
    /// Whether what was proven or begun at that moment counts no more.
    pub fn was_signed_out_since(&self, at: Timestamp) -> bool {
        self.lifecycle.signed_out_at.is_some_and(|signed_out| at <= signed_out)
    }

    /// Whether the directory has deleted the person.
    pub fn is_removed(&self) -> bool {
        self.lifecycle.directory.as_ref().is_some_and(|entry| entry.removed)
    }
}

/// Whether a user may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserState {
    /// May sign in, and agents may act for them.
    Active,
    /// Refused everywhere.
    Disabled,
}

impl Record for User {
    const KIND: &'static str = "user";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        let mut indexes: Vec<_> = self.email.iter().map(|email| ("email", email_index(email))).collect();
        if let Some(entry) = &self.lifecycle.directory {
            indexes.push(("user_name", email_index(&entry.user_name)));
            indexes.extend(entry.external_id.iter().map(|id| ("external_id", id.clone())));
        }
        indexes.extend(self.groups.iter().map(|group| ("group", group.clone())));
        indexes.extend(self.lifecycle.farewell.map(|_| ("farewell", "due".to_owned())));
        indexes
    }

    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("subject", subject_index(&self.issuer, &self.subject))]
    }
}

/// The index value for (issuer, subject): length-prefixed, so that no pair can pass for another.
pub fn subject_index(issuer: &str, subject: &str) -> String {
    format!("{}:{issuer}{subject}", issuer.len())
}

/// The index value for an e-mail: ASCII letters in lower case, the rest as it is.
pub fn email_index(email: &str) -> String {
    email.trim().to_ascii_lowercase()
}

/// What an admin may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads and changes.
    Admin,
    /// Reads.
    Auditor,
    /// Creates, changes and removes people as the company's directory has them, and nothing else.
    Provisioner,
}

/// An admin who signs in with a password.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalAdmin {
    /// Who signs in, by e-mail.
    pub email: String,
    /// Argon2id in PHC form: what people type is hashed slowly.
    pub password_hash: String,
    /// What they may do.
    pub role: Role,
    /// When the account was made.
    pub created_at: Timestamp,
}

impl Record for LocalAdmin {
    const KIND: &'static str = "local_admin";

    fn key(&self) -> String {
        email_index(&self.email)
    }
}

/// An admin's API token; only its digest is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdminToken {
    /// Identifier, shown in lists.
    pub id: AdminTokenId,
    /// Digest of the token.
    pub digest: TokenDigest,
    /// What it is for, in its maker's words.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working; `None` until it is revoked.
    pub expires_at: Option<Timestamp>,
}

impl Record for AdminToken {
    const KIND: &'static str = "admin_token";

    fn key(&self) -> String {
        self.id.to_string()
    }

    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("digest", self.digest.hex())]
    }
}

/// The one-time link with which the first admin is made (`valetkey init`), or one beside those there are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetupLink {
    /// Digest of the link's secret.
    pub digest: TokenDigest,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// Whether it works beside admins that there are, and for one who has lost their password.
    #[serde(default)]
    pub another: bool,
}

impl SetupLink {
    /// The record's only key.
    pub const KEY: &'static str = "first_admin";
}

impl Record for SetupLink {
    const KIND: &'static str = "setup_link";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}
