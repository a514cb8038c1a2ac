//! How a renewal treats the refresh token that it is given.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// How a vendor's renewal treats the refresh token it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// The same token comes back.
    Same,
    /// A new token comes back and the old one stays good.
    OldStays,
    /// The old token stays good for a while, in seconds; used later than that, the whole family is revoked.
    Grace(#[serde(deserialize_with = "seconds")] Duration),
    /// The old token is dead at once.
    SingleUse,
    /// The old token is dead at once; used again, the whole family is revoked (RFC 9700, section 4.14.2).
    EndsFamily,
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_secs)
}

/// What the control endpoint sets in place of the vendor's own rule.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What happens to the old token.
    pub rotation: Rotation,
}

/// How a renewal goes.
#[derive(Clone, Copy, Debug)]
pub struct Renewal {
    /// What happens to the old token, where no rule was set in its place.
    pub rotation: Rotation,
    /// The new token's lifetime; `None` inherits the old one's end.
    pub lifetime: Option<Duration>,
    /// Whether a new token is returned at all; without, the old one is spent all the same.
    pub returns_token: bool,
    /// What the new token's text starts with.
    pub prefix: &'static str,
}

/// Why a refresh token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshRefusal {
    /// Never issued here.
    Unknown,
    /// Too old.
    Expired,
    /// Issued to another client.
    OtherClient,
    /// It was spent before.
    Used,
    /// Its family was revoked.
    Revoked,
}
