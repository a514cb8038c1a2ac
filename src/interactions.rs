//! Interactions: what only a person can do. For now, consent.
//!
//! A question is frozen when it is created; what comes out is what was asked and agreed. A grant is
//! active only when the last step is confirmed; leaving early grants nothing.

mod answer;
mod choice;
mod limits;
mod open;
mod picker;
mod poll;
mod shelf;
mod view;

pub use answer::{AnswerError, Next, starts_ticked};
pub use choice::{AccountChoice, Choice};
pub use limits::{LimitChoice, Offer, offers};
pub use open::{OpenError, Opened, Wording};
pub use picker::{PickError, Picker};
pub use poll::{Collectable, Poll, PollError};
pub use shelf::{Listing, Picked, Shelf, Suggested};
pub use view::{ConsentView, ScopeChoice, Standing, ViewError};

use std::sync::Arc;
use std::time::Duration;

use crate::audit::AuditLog;
use crate::connections::Connections;
use crate::kernel::clock::Clock;
use crate::kernel::entropy::Entropy;
use crate::kernel::secret::SecretString;
use crate::kernel::{bearer, ids::InteractionId};
use crate::policy::Decider;
use crate::store::Store;
use crate::upstream::Upstream;
use crate::vault::Vault;

/// How long a link lives.
pub const LINK_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long a handle can be polled that nobody has to be asked for.
pub const STANDING_LIFE: Duration = Duration::from_secs(600);
/// How long a browser has from opening the page to the last step.
pub const BROWSER_LIFE: Duration = Duration::from_secs(600);
/// How long a refusal stands: the same agent is not asked for again.
pub const REFUSAL_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How many interactions may be open per agent and user.
pub const OPEN_PER_ASKER: usize = 5;

/// Opens, shows, answers and polls interactions.
#[derive(Clone)]
pub struct Interactions {
    store: Store,
    vault: Arc<Vault>,
    audit: AuditLog,
    connections: Connections,
    decider: Decider,
    upstream: Upstream,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Interactions {
    /// Wires the room.
    #[expect(clippy::too_many_arguments, reason = "the composition root names every room once")]
    pub fn new(
        store: Store,
        vault: Arc<Vault>,
        audit: AuditLog,
        connections: Connections,
        decider: Decider,
        upstream: Upstream,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { store, vault, audit, connections, decider, upstream, clock, entropy }
    }

    /// The handle with which the agent polls: derived from the interaction's random id under a key
    /// that never leaves the vault, so that asking again gives the same one and none is stored.
    fn auth_req_id(&self, id: &InteractionId) -> SecretString {
        let random = self.vault.mac("auth_req_id", &[id.as_str().as_bytes()]);
        bearer::with_checksum(bearer::BearerKind::AuthReqId, &random)
    }
}
