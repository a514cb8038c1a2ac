//! All rooms, wired.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use url::Url;

use crate::agents::Agents;
use crate::app::traces::Figures;
use crate::audiences::Audiences;
use crate::audit::AuditLog;
use crate::connections::{Connections, Spool};
use crate::custody::Custody;
use crate::custody::shared_keys::SharedKeys;
use crate::gateway::{Gateway, Hosts, Recent};
use crate::interactions::Interactions;
use crate::kernel::clock::Clock;
use crate::kernel::entropy::Entropy;
use crate::kernel::ids::ProviderSlug;
use crate::kernel::offset::UtcOffset;
use crate::net::HttpClient;
use crate::policy::{Decider, Departures, KillSwitch, Reports};
use crate::providers::load::Templates;
use crate::server::Inbound;
use crate::server::metrics::SyncWaits;
use crate::store::Store;
use crate::store::measured::Measured;
use crate::tokens::dpop::Proofs;
use crate::tokens::{SigningKeys, Tokens};
use crate::upstream::Upstream;
use crate::vault::Vault;
use crate::web::api::ApiState;
use crate::web::local_login::LocalLogin;
use crate::web::state::WebState;

/// What the rooms stand on.
pub struct Foundation {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Keys.
    pub vault: Arc<Vault>,
    /// Records.
    pub store: Store,
    /// This node's name, where several share the store.
    pub node: Option<String>,
    /// The keyring that they share.
    pub keys: Option<Arc<SharedKeys>>,
    /// The log.
    pub audit: AuditLog,
    /// What is measured at the store.
    pub measured: Measured,
    /// Where this node keeps providers' answers until their tokens are stored.
    pub spool: Spool,
    /// The outbound client.
    pub net: HttpClient,
    /// Templates.
    pub templates: Arc<Templates>,
    /// How we are reached.
    pub inbound: Inbound,
    /// The provider that employees sign in with.
    pub sign_in: Option<ProviderSlug>,
    /// Where the company is.
    pub utc_offset: UtcOffset,
    /// Whether agents that nobody active answers for are suspended.
    pub suspend_without_owner: bool,
    /// Whether pages carry the sandbox banner.
    pub sandbox_banner: bool,
    /// Origins that the company's sign-in redirects to at once.
    pub form_targets: Vec<String>,
    /// Where keyring, log and spool lie.
    pub data_dir: PathBuf,
}

/// Custody of the keys and data that these rooms hold.
pub fn custody(on: &Foundation) -> Custody {
    Custody::new(
        on.store.clone(),
        Arc::clone(&on.vault),
        on.audit.clone(),
        Arc::clone(&on.clock),
        Arc::clone(&on.entropy),
        on.data_dir.clone(),
        on.keys.clone(),
    )
}

/// How long a request waits for a write of ours (invariant 8: within 2 s there is an answer).
const PATIENCE: Duration = Duration::from_millis(1500);

/// All rooms.
#[derive(Clone)]
pub struct Services {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Keys.
    pub vault: Arc<Vault>,
    /// Records.
    pub store: Store,
    /// This node's name, where several share the store.
    pub node: Option<String>,
    /// The keyring that they share.
    pub shared_keys: Option<Arc<SharedKeys>>,
    /// Where keyring, log and spool lie.
    pub data_dir: PathBuf,
    /// The log.
    pub audit: AuditLog,
    /// What is measured at the store.
    pub measured: Measured,
    /// What becomes of traces, where there are any.
    pub traces: Option<Figures>,
    /// How we are reached.
    pub inbound: Inbound,
    /// Agents.
    pub agents: Agents,
    /// Internal back ends.
    pub audiences: Audiences,
    /// Providers, connections and grants.
    pub connections: Connections,
    /// The kill switch.
    pub kill_switch: KillSwitch,
    /// Ends what can act as a person.
    pub departures: Departures,
    /// Interactions.
    pub interactions: Interactions,
    /// The OAuth endpoints.
    pub tokens: Tokens,
    /// The gateway.
    pub gateway: Gateway,
    /// Rotation of keys.
    pub custody: Custody,
    /// The admin API.
    pub api: ApiState,
    /// The pages.
    pub pages: WebState,
}

impl Services {
    /// Names everything that is counted and measured.
    pub fn register_figures(&self, registry: &mut Registry) {
        self.connections.register_figures(registry);
        self.audit.register_figures(registry);
        self.measured.register(registry);
        if let Some(traces) = &self.traces {
            traces.register(registry);
        }
    }

    /// Asks the provider that employees sign in with for its keys, so that a clock that is off shows now.
    pub async fn greet_sign_in(&self) {
        let Some(slug) = &self.tokens.sign_in else { return };
        let Ok(configured) = self.connections.configured(slug).await else { return };
        if let Err(error) = self.tokens.upstream.greet(&configured).await {
            tracing::warn!(provider = %slug, error = %error, "the sign-in provider's keys cannot be fetched now");
        }
    }

    /// Wires all rooms.
    pub fn assemble(on: Foundation) -> Self {
        let custody = custody(&on);
        let Foundation {
            clock,
            entropy,
            vault,
            store,
            node,
            audit,
            spool,
            net,
            templates,
            inbound,
            sign_in,
            ..
        } = on;
        let issuer: Url = inbound.issuer.clone();
        let upstream = Upstream::new(net.clone(), Arc::clone(&clock), Arc::clone(&entropy));
        let agents = Agents::new(
            store.patient_for(PATIENCE),
            Arc::clone(&vault),
            audit.clone(),
            upstream.clone(),
            &issuer,
            Arc::clone(&clock),
            Arc::clone(&entropy),
        )
        .suspending_ownerless(on.suspend_without_owner);
        let connections = Connections::new(
            store.clone(),
            Arc::clone(&vault),
            audit.clone(),
            spool,
            upstream.clone(),
            Arc::clone(&templates),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            issuer.clone(),
        )
        .of_node(node.clone());
        // Connections keep the store as it is and tell their callers in time themselves: a new refresh token
        // is waited for.
        let store = store.patient_for(PATIENCE);
        let decider = Decider::new(store.clone(), Arc::clone(&clock));
        let kill_switch = KillSwitch::new(
            store.clone(),
            audit.clone(),
            connections.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
        );
        let audiences = Audiences::new(
            store.clone(),
            Arc::clone(&vault),
            audit.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
        );
        let departures = Departures::new(
            store.clone(),
            audit.clone(),
            connections.clone(),
            audiences.clone(),
            agents.clone(),
            Arc::clone(&clock),
        );
        let interactions = Interactions::new(
            store.clone(),
            Arc::clone(&vault),
            audit.clone(),
            connections.clone(),
            decider.clone(),
            upstream.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
        );
        let keys =
            SigningKeys::new(store.clone(), Arc::clone(&vault), Arc::clone(&clock), Arc::clone(&entropy));
        let tokens = Tokens {
            audiences: audiences.clone(),
            keys,
            store: store.clone(),
            vault: Arc::clone(&vault),
            audit: audit.clone(),
            agents: agents.clone(),
            connections: connections.clone(),
            interactions: interactions.clone(),
            decider: decider.clone(),
            upstream: upstream.clone(),
            sign_in: sign_in.clone(),
            proofs: Proofs::new(store.clone(), Arc::clone(&vault), Arc::clone(&clock)),
            issuer,
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        };
        let gateway = Gateway {
            store: store.clone(),
            audit: audit.clone(),
            tokens: tokens.clone(),
            connections: connections.clone(),
            decider,
            upstream: upstream.clone(),
            net,
            hosts: Arc::new(Hosts::new(Arc::clone(&clock))),
            recent: Recent::default(),
            sync_waits: SyncWaits::default(),
            clock: Arc::clone(&clock),
        };
        let reports = Reports::new(store.clone(), connections.clone(), audiences.clone(), Arc::clone(&clock));
        let api = ApiState {
            store: store.clone(),
            vault: Arc::clone(&vault),
            custody: custody.clone(),
            audit: audit.clone(),
            agents: agents.clone(),
            audiences: audiences.clone(),
            keys: tokens.keys.clone(),
            connections: connections.clone(),
            templates: Arc::clone(&templates),
            explain: Arc::new(gateway.clone()),
            kill_switch: kill_switch.clone(),
            upstream: upstream.clone(),
            departures: departures.clone(),
            reports: reports.clone(),
            sign_in: sign_in.clone(),
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
        };
        let pages = WebState {
            store: store.clone(),
            vault: Arc::clone(&vault),
            audit: audit.clone(),
            agents: agents.clone(),
            audiences: audiences.clone(),
            connections: connections.clone(),
            upstream: upstream.clone(),
            interactions: interactions.clone(),
            explain: Arc::new(gateway.clone()),
            kill_switch: kill_switch.clone(),
            departures: departures.clone(),
            reports,
            templates,
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            sign_in,
            utc_offset: on.utc_offset,
            sandbox_banner: on.sandbox_banner,
            form_targets: on.form_targets,
            local_login: LocalLogin::default(),
        };
        Self {
            clock,
            entropy,
            vault,
            store,
            node,
            shared_keys: on.keys,
            data_dir: on.data_dir,
            audit,
            measured: on.measured,
            traces: None,
            inbound,
            agents,
            audiences,
            connections,
            kill_switch,
            departures,
            interactions,
            tokens,
            gateway,
            custody,
            api,
            pages,
        }
    }
}
