//! Identifiers: a prefix that names the kind, and 128 random bits. Never bare strings.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};

/// Three letters, an underscore, and 32 hexadecimal digits. Held in place: identifiers are copied several
/// times for every request and event.
const LENGTH: usize = 36;
/// The longest name of a provider.
const LONGEST_SLUG: usize = 32;

/// Reads a value from its text form without a copy of the text.
struct FromText<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an identifier")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// A text is not an identifier of the expected kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier of the form `{prefix}_…`")]
pub struct InvalidId {
    prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; LENGTH]);

        impl $name {
            /// The prefix of this kind of identifier, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A fresh identifier.
            pub fn generate(entropy: &dyn Entropy) -> Self {
                let random = entropy::identifier::<16>(entropy);
                let mut text = [0; LENGTH];
                let (prefix, digits) = text.split_at_mut(LENGTH - 2 * random.len());
                prefix.copy_from_slice(concat!($prefix, "_").as_bytes());
                encode::hex_into(&random, digits);
                Self(text)
            }

            /// The text form.
            pub fn as_str(&self) -> &str {
                // INVARIANT: only ASCII is ever put in.
                std::str::from_utf8(&self.0).unwrap_or_default()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                match (text.strip_prefix(concat!($prefix, "_")), text.as_bytes().try_into()) {
                    (Some(random), Ok(held)) if random.bytes().all(is_digit) => Ok(Self(held)),
                    _ => Err(InvalidId { prefix: $prefix }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.as_str().to_owned()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(FromText(PhantomData))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
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
    /// A group of the company's directory.
    GroupId = "grp";
    /// A use of the kill switch.
    StopId = "stp";
    /// An admin's API token.
    AdminTokenId = "tok";
    /// An internal back end.
    AudienceId = "aud";
    /// Whoever vouches for workloads.
    TrustSourceId = "tru";
    /// A transmitter of security events.
    TransmitterId = "trm";
    /// One installation of Valetkey; part of what every sealed record is bound to.
    DeploymentId = "dep";
}

/// The short name of a provider, which is also its template's file name: `[a-z][a-z0-9-]{0,31}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderSlug {
    /// Filled up with zeros, so that the order is that of the texts.
    text: [u8; LONGEST_SLUG],
    length: u8,
}

impl ProviderSlug {
    /// The text form.
    pub fn as_str(&self) -> &str {
        // INVARIANT: only ASCII is ever put in.
        let text = self.text.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl FromStr for ProviderSlug {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase());
        let is_plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let mut held = [0; LONGEST_SLUG];
        match (held.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) if starts_well && is_plain => {
                place.copy_from_slice(text.as_bytes());
                Ok(Self { text: held, length })
            }
            _ => Err(
                "a provider's name is 1 to 32 lower-case letters, digits or hyphens, and starts with a letter",
            ),
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
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ProviderSlug {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(FromText(PhantomData))
    }
}

impl From<ProviderSlug> for String {
    fn from(slug: ProviderSlug) -> String {
        slug.as_str().to_owned()
    }
}

impl fmt::Display for ProviderSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ProviderSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
        for wrong in ["", "agt_", "agt_0", &format!("{agent}0"), &agent.as_str()[..35]] {
            assert!(wrong.parse::<AgentId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_identifier_is_the_same_in_json() {
        let agent = AgentId::generate(&SeededEntropy::new(7));
        let json = serde_json::to_string(&agent).unwrap();
        assert_eq!(json, format!("\"{agent}\""));
        assert_eq!(serde_json::from_str::<AgentId>(&json).unwrap(), agent);
        assert!(serde_json::from_str::<UserId>(&json).is_err());
    }

    #[test]
    fn providers_names_are_told_apart_and_ordered_as_texts() {
        let slug = |text: &str| text.parse::<ProviderSlug>();
        let longest = "a".repeat(32);
        assert_eq!(slug(&longest).unwrap().as_str(), longest);
        for wrong in ["", "A", "1a", "-a", "a_b", "a\0", &"a".repeat(33), &"a".repeat(300)] {
            assert!(slug(wrong).is_err(), "{wrong:?}");
        }
        let texts = ["a", "a-", "a0", "aa", "ab", "b"];
        let mut slugs: Vec<ProviderSlug> = texts.iter().rev().map(|text| slug(text).unwrap()).collect();
        slugs.sort();
        assert_eq!(slugs.iter().map(ProviderSlug::as_str).collect::<Vec<_>>(), texts);
    }
}
