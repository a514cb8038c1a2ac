//! What the pages work with.

use std::sync::Arc;

use crate::agents::Agents;
use crate::audiences::Audiences;
use crate::audit::AuditLog;
use crate::connections::Connections;
use crate::interactions::Interactions;
use crate::kernel::clock::Clock;
use crate::kernel::entropy::Entropy;
use crate::kernel::ids::ProviderSlug;
use crate::kernel::offset::UtcOffset;
use crate::policy::{Departures, Explain, KillSwitch, Reports};
use crate::providers::Templates;
use crate::store::Store;
use crate::upstream::Upstream;
use crate::vault::Vault;
use crate::web::local_login::LocalLogin;

/// The rooms that pages work with. Kept as `web::Data<WebState>`.
#[derive(Clone)]
pub struct WebState {
    /// Records.
    pub store: Store,
    /// Keys.
    pub vault: Arc<Vault>,
    /// The log.
    pub audit: AuditLog,
    /// Agents.
    pub agents: Agents,
    /// Internal back ends.
    pub audiences: Audiences,
    /// Providers, connections and grants.
    pub connections: Connections,
    /// Providers' own endpoints, for tests of a registration.
    pub upstream: Upstream,
    /// Interactions.
    pub interactions: Interactions,
    /// Says how gateway calls would be decided.
    pub explain: Arc<dyn Explain>,
    /// The kill switch.
    pub kill_switch: KillSwitch,
    /// Ends what can act as a person.
    pub departures: Departures,
    /// What can still act as a person, and what an agent can still do.
    pub reports: Reports,
    /// Templates.
    pub templates: Arc<Templates>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The provider that employees sign in with.
    pub sign_in: Option<ProviderSlug>,
    /// Where the company is: days and hours of limits are read there.
    pub utc_offset: UtcOffset,
    /// Whether simulated providers are allowed, which every page then says.
    pub sandbox_banner: bool,
    /// Origins that the company's sign-in redirects to at once, so that forms may lead there.
    pub form_targets: Vec<String>,
    /// Passwords, and how often they may be tried.
    pub local_login: LocalLogin,
}
