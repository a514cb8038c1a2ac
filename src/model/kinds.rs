//! All kinds of records, for work that walks whatever is stored.

use crate::model::agent::{Agent, PastChange};
use crate::model::audience::{Audience, OptOut};
use crate::model::audit_head::AuditHead;
use crate::model::connection::{Connection, GrantToken, StrayToken};
use crate::model::credential::{CredentialUse, TrustSource, UsedAssertion};
use crate::model::grant::Grant;
use crate::model::group::Group;
use crate::model::interaction::Interaction;
use crate::model::provider::{AppToken, Provider};
use crate::model::record::{Record, SealedField};
use crate::model::restored::Restored;
use crate::model::rotation::Rotation;
use crate::model::session::{Session, Transaction};
use crate::model::signing_key::SigningKey;
use crate::model::stop::Stops;
use crate::model::token::{DelegatedTokens, RevokedToken};
use crate::model::transmitter::{SpentEvent, Transmitter};
use crate::model::upgrade::Upgrades;
use crate::model::usage::Usage;
use crate::model::user::{AdminToken, LocalAdmin, SetupLink, User};

/// A kind, as far as it matters to who does not know the type.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name in keys.
    pub name: &'static str,
    /// What is sealed within its records.
    pub sealed: &'static [SealedField],
}

impl Kind {
    const fn of<R: Record>() -> Self {
        Self { name: R::KIND, sealed: R::SEALED }
    }
}

/// Every kind; a test holds this list against the sources.
pub const KINDS: [Kind; 32] = [
    Kind::of::<AdminToken>(),
    Kind::of::<Agent>(),
    Kind::of::<AppToken>(),
    Kind::of::<Audience>(),
    Kind::of::<AuditHead>(),
    Kind::of::<Connection>(),
    Kind::of::<CredentialUse>(),
    Kind::of::<DelegatedTokens>(),
    Kind::of::<Grant>(),
    Kind::of::<GrantToken>(),
    Kind::of::<Group>(),
    Kind::of::<Interaction>(),
    Kind::of::<LocalAdmin>(),
    Kind::of::<OptOut>(),
    Kind::of::<PastChange>(),
    Kind::of::<Provider>(),
    Kind::of::<Restored>(),
    Kind::of::<RevokedToken>(),
    Kind::of::<Rotation>(),
    Kind::of::<Session>(),
    Kind::of::<SetupLink>(),
    Kind::of::<SigningKey>(),
    Kind::of::<SpentEvent>(),
    Kind::of::<Stops>(),
    Kind::of::<StrayToken>(),
    Kind::of::<Transaction>(),
    Kind::of::<Transmitter>(),
    Kind::of::<TrustSource>(),
    Kind::of::<Upgrades>(),
    Kind::of::<Usage>(),
    Kind::of::<UsedAssertion>(),
    Kind::of::<User>(),
];

/// What is sealed within records of a kind.
pub fn sealed_fields(kind: &str) -> &'static [SealedField] {
    KINDS.iter().find(|known| known.name == kind).map_or(&[], |known| known.sealed)
}
