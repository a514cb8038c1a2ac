//! Connections: how a user's account at a provider comes to be, and how its tokens are kept usable.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `configured` | providers as an admin set them up |
//! | `begin`, `complete` | sending a browser to a provider, and what comes back |
//! | `adopt` | what a consent brought: stored, or given back |
//! | `discard` | refresh tokens that nobody needs any more |
//! | `lease` | a usable access token of a connection |
//! | `flight` | one piece of work at a time per connection, on a task of its own |
//! | `refresh`, `save` | the protocol: claim, dial, save |
//! | `spool`, `spooled` | answers that are durable before they are read, and what becomes of them after a crash |
//! | `figures` | what became of refreshes, counted |
//! | `judge` | pure: what an outcome does to a connection's record |
//! | `alive` | renewing what would end from lack of use |
//! | `recover` | refreshes whose outcome is not known |
//! | `stall` | what callers are told when our own disk hangs |
//! | `killpoint` | where `scripts/torture` kills a debug build |
//! | `gate` | how much a provider may be dialled |
//! | `narrow` | provider tokens that may leave, minted per grant |
//! | `app_token` | tokens of the app itself |
//! | `challenge` | an API that demands a fresh sign-in |
//! | `grants`, `tighten`, `revoke` | permissions, made narrower, and their end |

mod adopt;
mod alive;
mod app_token;
mod begin;
mod challenge;
mod complete;
mod configured;
mod dialer;
mod discard;
mod figures;
mod flight;
mod gate;
mod grants;
mod judge;
mod killpoint;
mod lease;
mod narrow;
mod opened;
mod recover;
mod refresh;
mod revoke;
mod save;
mod spool;
mod spooled;
mod stall;
#[cfg(test)]
mod tests;
mod tighten;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::audit::AuditLog;
use crate::kernel::clock::Clock;
use crate::kernel::encode;
use crate::kernel::entropy::{self, Entropy};
use crate::kernel::ids::{ConnectionId, ProviderSlug, UserId};
use crate::model::connection::{Connection, ConnectionState};
use crate::providers::Templates;
use crate::store::{Committed, Store, StoreError, Stored, Tx};
use crate::upstream::Upstream;
use crate::vault::Vault;

pub use begin::{Begin, BeginError};
pub use complete::{CompleteError, Completed};
pub use configured::{ConnectionError, NewProvider};
pub use dialer::Dialer;
pub use grants::{GrantError, NewGrant, RevokedGrant};
pub use lease::{LeaseError, ProviderAccess};
pub use narrow::{LiveToken, ReleasableToken};
pub use recover::Recovered;
pub use revoke::{DisconnectError, Disconnected};
pub use spool::{Spool, SpoolError};
pub use tighten::Tightened;

/// How long things may take. The real values are the default; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// How long a caller waits for a refresh that goes on without it.
    pub caller: Duration,
    /// How long one dial may take in all: a backstop behind the deadlines of `upstream`, discovery included.
    pub dial: Duration,
    /// How long a lease lasts: longer than any dial.
    pub lease: Duration,
    /// How long a write of ours may take before those who wait for it are told (invariant 8: our
    /// own parts answer within 2 s).
    pub write: Duration,
    /// How long the renewal of idle connections rests after each one.
    pub pace: Duration,
    /// How long a person waits for a revocation upstream that goes on without them.
    pub revocation: Duration,
    /// How long new tokens are held before the store is tried again.
    pub again: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            caller: Duration::from_secs(10),
            dial: Duration::from_secs(30),
            lease: Duration::from_secs(60),
            write: Duration::from_millis(1500),
            pace: alive::PACE,
            revocation: Duration::from_secs(5),
            again: Duration::from_secs(1),
        }
    }
}

/// The connections of all users, and the only place that dials providers with their tokens.
#[derive(Clone)]
pub struct Connections {
    inner: Arc<Inner>,
}

struct Inner {
    /// Waits for a write as long as it takes: for what must not be given up.
    store: Store,
    /// Gives up waiting in time, while the write goes on: for what ends with it.
    patient: Store,
    vault: Arc<Vault>,
    audit: AuditLog,
    spool: Spool,
    upstream: Upstream,
    dialer: Arc<dyn Dialer>,
    templates: Arc<Templates>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    issuer: Url,
    waits: Waits,
    /// Names this process in leases: with its node first, where several share the store.
    process: String,
    /// This node's name, where several share the store.
    node: Option<String>,
    configured: configured::Cache,
    figures: figures::Figures,
    flights: flight::Flights,
    stalls: stall::Stalls,
    opened: opened::OpenedTokens,
    gates: gate::Gates,
    refused_mints: narrow::RefusedMints,
}

impl Connections {
    /// Connections over a store, dialling through `upstream`.
    #[expect(clippy::too_many_arguments, reason = "the composition root names every room once")]
    pub fn new(
        store: Store,
        vault: Arc<Vault>,
        audit: AuditLog,
        spool: Spool,
        upstream: Upstream,
        templates: Arc<Templates>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        issuer: Url,
    ) -> Self {
        let process = encode::hex(&entropy::bytes::<8>(&*entropy));
        let waits = Waits::default();
        let inner = Inner {
            patient: store.patient_for(waits.write),
            store,
            vault,
            audit,
            spool,
            dialer: Arc::new(upstream.clone()),
            upstream,
            templates,
            clock,
            entropy,
            issuer,
            waits,
            process,
            node: None,
            configured: configured::Cache::default(),
            figures: figures::Figures::default(),
            flights: flight::Flights::default(),
            stalls: stall::Stalls::default(),
            opened: opened::OpenedTokens::default(),
            gates: gate::Gates::default(),
            refused_mints: narrow::RefusedMints::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The same on a store that other nodes share. Call it before anything else.
    #[must_use]
    pub fn of_node(mut self, node: Option<String>) -> Self {
        if let (Some(inner), Some(node)) = (Arc::get_mut(&mut self.inner), node) {
            inner.process = format!("{node}/{}", inner.process);
            inner.node = Some(node);
        }
        self
    }

    /// Names what this room counts.
    pub fn register_figures(&self, registry: &mut prometheus_client::registry::Registry) {
        self.inner.figures.register(registry);
    }

    /// One connection.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn get(&self, id: &ConnectionId) -> Result<Option<Stored<Connection>>, StoreError> {
        self.inner.store.get::<Connection>(id.as_str()).await
    }

    /// The connections of a user that were not disconnected.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of_user(&self, user: &UserId) -> Result<Vec<Stored<Connection>>, StoreError> {
        let mut all = self.inner.store.find::<Connection>("user", user.as_str()).await?;
        all.retain(|connection| !is_disconnected(connection));
        Ok(all)
    }

    /// The connections of a user at one provider that were not disconnected.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of_user_at(
        &self,
        user: &UserId,
        provider: &ProviderSlug,
    ) -> Result<Vec<Stored<Connection>>, StoreError> {
        self.inner.of_user_at(user, provider).await
    }

    /// Makes one account the user's default at its provider. `false` when it is not theirs.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn set_default(&self, user: &UserId, id: &ConnectionId) -> Result<bool, StoreError> {
        let inner = &self.inner;
        for _ in 0..inner.tries() {
            let Some(chosen) = self.get(id).await? else { return Ok(false) };
            if &chosen.user != user || is_disconnected(&chosen) {
                return Ok(false);
            }
            let mut tx = Tx::new();
            for stored in inner.of_user_at(user, &chosen.provider).await? {
                let is_default = stored.id == chosen.id;
                if stored.is_default != is_default {
                    tx.update(&stored, &Connection { is_default, ..stored.record().clone() });
                }
            }
            if inner.patient.commit(tx).await? == Committed::Done {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Inner {
    async fn of_user_at(
        &self,
        user: &UserId,
        provider: &ProviderSlug,
    ) -> Result<Vec<Stored<Connection>>, StoreError> {
        let value = Connection::user_provider_index(user, provider);
        let mut all = self.store.find::<Connection>("user_provider", &value).await?;
        all.retain(|connection| !is_disconnected(connection));
        Ok(all)
    }

    /// How often a write that met another one is tried again before giving up.
    const fn tries(&self) -> usize {
        16
    }
}

fn is_disconnected(connection: &Connection) -> bool {
    matches!(connection.state, ConnectionState::Disconnected { .. })
}
