//! The protocol against a model of a provider, with faults on both sides.

mod adopting;
mod alive;
mod clock;
mod consent;
mod discarding;
mod grants;
mod narrowing;
mod provider;
mod refreshing;
mod spooling;
mod stopping;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::kernel::clock::{ManualClock, Timestamp};
use crate::kernel::entropy::SeededEntropy;
use crate::kernel::ids::{AgentId, InteractionId};
use crate::kernel::scope::ScopeSet;
use crate::kernel::secret::SecretString;
use crate::model::connection::{Account, Backoff, CachedToken};
use crate::model::grant::Grant;
use crate::model::sealed::Sealer as _;
use crate::net::{HttpClient, NetSettings};
use crate::store::{Backend, MemoryBackend};
use provider::ModelProvider;

/// Everything that one installation needs, on a clock that stands still.
struct World {
    connections: Connections,
    provider: Arc<ModelProvider>,
    backend: Arc<dyn Backend>,
    vault: Arc<Vault>,
    audit: AuditLog,
    clock: Arc<ManualClock>,
    entropy: Arc<SeededEntropy>,
    templates: Arc<Templates>,
    spool: Spool,
    disk: Arc<spooling::FaultyDisk>,
    user: UserId,
    slug: ProviderSlug,
    dir: tempfile::TempDir,
}

const START: Timestamp = Timestamp::from_secs(1_700_000_000);

fn template(refresh: &str) -> String {
    let apart = refresh.contains("apart");
    format!(
        r#"
schema = 1
name = {{ en = "Example", zh = "示例" }}
docs = "https://docs.example.com/"
[authorize]
url = "https://login.example.com/authorize"
consent = "replaces"
[token]
url = "https://login.example.com/token"
[refresh]
{refresh}
[revoke]
url = "https://login.example.com/revoke"
access_tokens = true
apart = {apart}
[app_token]
url = "https://login.example.com/app"
[identity]
source = "userinfo"
url = "https://api.example.com/me"
subject = "id"
company = "config"
label = ["name"]
[api.main]
base = "https://api.example.com"
[[scope]]
name = "mail.read"
title = {{ en = "Read mail", zh = "读取邮件" }}
description = {{ en = "Reads your mail.", zh = "读取你的邮件。" }}
access = "read"
risk = "medium"
routes = [{{ api = "main", call = "GET /mail" }}]
[[scope]]
name = "files.read"
title = {{ en = "Read files", zh = "读取文件" }}
description = {{ en = "Reads your files.", zh = "读取你的文件。" }}
access = "read"
risk = "medium"
routes = [{{ api = "main", call = "GET /files" }}]
[[scope]]
name = "all.read"
title = {{ en = "Read all", zh = "读取全部" }}
description = {{ en = "Reads everything.", zh = "读取全部内容。" }}
access = "read"
risk = "high"
leaky = true
routes = [{{ api = "main", call = "GET /all" }}]
[[scope]]
name = "offline_access"
title = {{ en = "Stay connected", zh = "保持连接" }}
description = {{ en = "Keeps the account connected.", zh = "保持账号连接。" }}
access = "read"
risk = "low"
bookkeeping = true
"#
    )
}

const STRICT: &str =
    "rotation = \"strict\"\nreuse_detection = true\nnarrowing = \"narrows\"\nalways = [\"offline_access\"]";
/// The same, where a consent's tokens can be revoked without those of another one.
const APART: &str =
    "rotation = \"strict\"\nreuse_detection = true\nnarrowing = \"narrows\"\n# consents are apart";
const GRACE: &str = "rotation = \"grace\"\ngrace_s = 30\nreuse_detection = true\nnarrowing = \"narrows\"";
const KEEPS_OLD: &str = "rotation = \"keeps_old\"\nreuse_detection = false\nnarrowing = \"ignored\"";

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).unwrap()
}

impl World {
    async fn new(refresh: &str) -> Self {
        Self::over(refresh, Arc::new(MemoryBackend::new())).await
    }

    async fn over(refresh: &str, backend: Arc<dyn Backend>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(START));
        let entropy = Arc::new(SeededEntropy::new(11));
        let vault = Arc::new(Vault::ephemeral(entropy.clone()));
        let deployment = vault.deployment().clone();
        let folder = dir.path().join("audit");
        std::fs::create_dir(&folder).unwrap();
        let audit =
            AuditLog::open(&folder, vault.audit_signer(), deployment, clock.clone(), entropy.clone(), 0)
                .unwrap();
        let folder = dir.path().join("templates");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("example.toml"), template(refresh)).unwrap();
        let templates = Arc::new(Templates::default().with_folder(&folder).unwrap());
        let provider = Arc::new(ModelProvider::new(refresh));
        let user = UserId::generate(&*entropy);
        let slug: ProviderSlug = "example".parse().unwrap();
        let store = Store::new(backend.clone(), vault.clone());
        let disk = Arc::new(spooling::FaultyDisk::default());
        let spool = Spool::open_on(disk.clone(), dir.path(), vault.clone()).unwrap();
        let connections =
            assembled(&store, &vault, &audit, &spool, &templates, clock.clone(), entropy.clone(), &provider);
        let world = Self {
            connections,
            provider,
            backend,
            vault,
            audit,
            clock,
            entropy,
            templates,
            spool,
            disk,
            user,
            slug,
            dir,
        };
        let new = NewProvider {
            slug: world.slug.clone(),
            template: "example".to_owned(),
            client_id: "client".to_owned(),
            client_secret: SecretString::new("client secret".to_owned()),
            company: BTreeMap::new(),
        };
        world.connections.add_provider(new, "admin@example.com").await.unwrap();
        world
    }

    /// The process dies, and another one starts over what was durable in `backend`.
    fn restarted(&mut self, backend: Arc<dyn Backend>) {
        self.backend = backend;
        let store = Store::new(self.backend.clone(), self.vault.clone());
        self.connections = assembled(
            &store,
            &self.vault,
            &self.audit,
            &self.spool,
            &self.templates,
            self.clock.clone(),
            self.entropy.clone(),
            &self.provider,
        );
    }

    fn store(&self) -> &Store {
        &self.connections.inner.store
    }

    /// A connection whose access token has expired, and whose refresh token the provider knows.
    async fn connection(&self) -> ConnectionId {
        let id = ConnectionId::generate(&*self.entropy);
        let refresh = self.provider.issue();
        let connection = Connection {
            id: id.clone(),
            user: self.user.clone(),
            provider: self.slug.clone(),
            account: Account {
                company: "example".to_owned(),
                subject: id.to_string(),
                label: "alice".to_owned(),
                pins: BTreeMap::new(),
            },
            state: ConnectionState::Active,
            is_default: false,
            scopes: scopes("mail.read files.read all.read"),
            generation: 1,
            refresh_token: Some(self.vault.seal(Connection::refresh_context(&id, 1), refresh.as_bytes())),
            access: Some(CachedToken {
                token: self.vault.seal(Connection::access_context(&id, 1), b"access-0"),
                scopes: scopes("mail.read files.read all.read"),
                scopes_stated: true,
                expires_at: START,
                generation: 1,
            }),
            refresh_expires_at: None,
            consented_at: None,
            consent_expires_at: None,
            intent: None,
            lease: None,
            backoff: Backoff::default(),
            created_at: START,
            refreshed_at: START.minus(Duration::from_secs(3600)),
        };
        let mut tx = Tx::new();
        tx.insert(&connection);
        assert_eq!(self.store().commit(tx).await.unwrap(), Committed::Done);
        id
    }

    async fn record(&self, id: &ConnectionId) -> Connection {
        self.connections.get(id).await.unwrap().unwrap().record().clone()
    }

    async fn refresh_token(&self, id: &ConnectionId) -> String {
        let record = self.record(id).await;
        let context = Connection::refresh_context(id, record.generation);
        let opened = self.vault.open(context, record.refresh_token.as_ref().unwrap()).unwrap();
        String::from_utf8(opened.expose().clone()).unwrap()
    }

    async fn grant(&self, connection: &ConnectionId, held: &str) -> Grant {
        let new = NewGrant {
            user: self.user.clone(),
            agent: AgentId::generate(&SeededEntropy::new(99)),
            connection: connection.clone(),
            picked_at: None,
            scopes: scopes(held),
            kept: BTreeMap::new(),
            limits: Vec::new(),
            expires_at: self.connections.inner.clock.now().plus(Duration::from_secs(24 * 3600)),
            reason: None,
            task: None,
            interaction: InteractionId::generate(&*self.entropy),
        };
        self.connections.activate(new, |_, _| {}).await.unwrap()
    }

    fn pass(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }
}

#[expect(clippy::too_many_arguments, reason = "what a process stands on")]
fn assembled(
    store: &Store,
    vault: &Arc<Vault>,
    audit: &AuditLog,
    spool: &Spool,
    templates: &Arc<Templates>,
    clock: Arc<ManualClock>,
    entropy: Arc<SeededEntropy>,
    provider: &Arc<ModelProvider>,
) -> Connections {
    let net = HttpClient::new(NetSettings::default()).unwrap();
    let upstream = Upstream::new(net, clock.clone(), entropy.clone());
    let mut connections = Connections::new(
        store.clone(),
        vault.clone(),
        audit.clone(),
        spool.clone(),
        upstream,
        templates.clone(),
        clock,
        entropy,
        Url::parse("https://valetkey.example.com/").unwrap(),
    );
    let inner = Arc::get_mut(&mut connections.inner).unwrap();
    inner.dialer = provider.clone();
    inner.waits.pace = Duration::ZERO;
    inner.waits.caller = Duration::from_millis(1500);
    inner.waits.dial = Duration::from_secs(5);
    connections
}
