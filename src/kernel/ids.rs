//! Identifiers: a prefix that names the kind, and 128 random bits. Never bare strings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};

/// A text is not an identifier of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier of the form `{prefix}_…`")]
pub struct InvalidId {
    prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The prefix of this kind of identifier, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A fresh identifier.
            pub fn generate(entropy: &dyn Entropy) -> Self {
                let random = entropy::identifier::<16>(entropy);
                Self(format!(concat!($prefix, "_{}"), encode::hex(&random)))
            }

            /// The text form.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                let random = text.strip_prefix(concat!($prefix, "_")).unwrap_or_default();
                let is_hex = random.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                if random.len() == 32 && is_hex { Ok(Self(text)) } else { Err(InvalidId { prefix: $prefix }) }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// An employee, or an admin who signs in with a password.
    UserId = "usr";
    /// A non-human identity.
    AgentId = "agt";
    /// One upstream account of one user at one provider.
    ConnectionId = "con";
    /// A user's permission for one agent to use one connection.
    GrantId = "gnt";
    /// Something only a person can do.
    InteractionId = "int";
    /// One entry of the audit log.
    EventId = "evt";
    /// A use of the kill switch.
    StopId = "stp";
    /// An admin's API token.
    AdminTokenId = "tok";
    /// An internal back end.
    AudienceId = "aud";
    /// One installation of Valetkey; part of what every sealed record is bound to.
    DeploymentId = "dep";
}

/// The short name of a provider, which is also its template's file name: `[a-z][a-z0-9-]{0,31}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ProviderSlug(String);

impl ProviderSlug {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProviderSlug {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase());
        let is_plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if starts_well && is_plain && text.len() <= 32 {
            Ok(Self(text.to_owned()))
        } else {
            Err(
                "a provider's name is 1 to 32 lower-case letters, digits or hyphens, and starts with a letter",
            )
        }
    }
}

impl TryFrom<String> for ProviderSlug {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl Serialize for ProviderSlug {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl From<ProviderSlug> for String {
    fn from(slug: ProviderSlug) -> String {
        slug.0
    }
}

impl fmt::Display for ProviderSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProviderSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::entropy::SeededEntropy;

    #[test]
    fn an_identifier_reads_back_and_another_kind_is_refused() {
        let agent = AgentId::generate(&SeededEntropy::new(7));
        assert_eq!(agent.as_str().parse::<AgentId>(), Ok(agent.clone()));
        assert!(agent.as_str().parse::<UserId>().is_err());
        assert!("agt_../../etc/passwd".parse::<AgentId>().is_err());
        assert!(agent.as_str().to_uppercase().parse::<AgentId>().is_err());
    }
}
