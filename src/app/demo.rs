//! The demo: everything on loopback in one process, with a throwaway data folder.

mod backend;
pub mod bench;
pub mod cast;
pub mod crowd;
mod folder;
pub mod headless;
pub mod people;

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use url::Url;

use crate::app::demo::cast::Cast;
use crate::app::demo::folder::ThrowawayFolder;
use crate::app::demo::people::Passwords;
use crate::app::serve::{self, Listening};
use crate::app::services::{Foundation, Services};
use crate::audit::{AuditLog, Reserve};
use crate::connections::Spool;
use crate::kernel::clock::OffsetClock;
use crate::kernel::entropy::{Entropy, SystemEntropy};
use crate::kernel::offset::UtcOffset;
use crate::net::{HttpClient, NetSettings};
use crate::providers::load::Templates;
use crate::sandbox::{ASSISTANT_CLIENT, Running as SandboxRunning, Sandbox, SandboxSettings};
use crate::server::Inbound;
use crate::store::disk::{Disk, RealDisk};
use crate::store::measured::Measured;
use crate::store::{SledBackend, Store};
use crate::vault::{self, RootKey, Vault};

const RESERVE: u64 = 16 * 1024 * 1024;

/// How the demo is run.
pub struct DemoOptions {
    /// Where the broker listens.
    pub listen: SocketAddr,
    /// Where to write URLs and secrets.
    pub info: Option<PathBuf>,
    /// What the broker stands on.
    pub ground: Ground,
}

/// What the demo's broker stands on; tests put something weaker in its place.
pub struct Ground {
    /// The disk that the audit log is written to.
    pub audit_disk: Arc<dyn Disk>,
    /// The disk that records are written to.
    pub store_disk: Arc<dyn Disk>,
    /// Providers' origins that are dialled elsewhere than at the sandbox.
    pub origins: Vec<(String, String)>,
    /// A folder of templates that take the place of shipped ones.
    pub templates: Option<std::path::PathBuf>,
    /// Worker threads of the broker.
    pub workers: usize,
    /// Whether the handler that measurements compare with answers too.
    pub bench: bool,
    /// Whether agents that nobody active answers for are suspended.
    pub suspend_without_owner: bool,
}

impl Default for Ground {
    fn default() -> Self {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let (audit_disk, store_disk) = (Arc::clone(&disk), disk);
        Self {
            audit_disk,
            store_disk,
            origins: Vec::new(),
            templates: None,
            workers: 2,
            bench: false,
            suspend_without_owner: false,
        }
    }
}

/// A running demo.
pub struct Demo {
    /// The broker's base URL.
    pub issuer: Url,
    /// The sandbox.
    pub sandbox: SandboxRunning,
    /// The sample internal back end's base URL.
    pub backend: String,
    /// Who takes part.
    pub cast: Cast,
    /// Their passwords.
    pub passwords: Passwords,
    /// The time of the sandbox and the broker.
    pub clock: Arc<OffsetClock>,
    /// The broker's rooms.
    pub services: Services,
    broker: serve::Running,
    backend_server: backend::Backend,
    bare: Option<bench::Bare>,
    sandbox_threads: Vec<u32>,
    folder: ThrowawayFolder,
}

/// Starts the sandbox, the broker and the sample back end, and enters people, providers and agents.
///
/// # Errors
/// When an address is taken or the temporary folder cannot be written.
pub async fn start(options: DemoOptions) -> anyhow::Result<Demo> {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
    let clock = Arc::new(OffsetClock::default());
    let passwords = Passwords::generate(entropy.as_ref());
    let client_secret = people::password(entropy.as_ref());
    let for_providers = client_secret.expose().clone();
    let settings =
        SandboxSettings::local(Arc::clone(&clock), Arc::clone(&entropy), client_secret, passwords.accounts());
    let sandbox = Sandbox::start(settings).await?;
    let folder = ThrowawayFolder::create(entropy.as_ref())?;
    let socket =
        TcpListener::bind(options.listen).with_context(|| format!("cannot listen on {}", options.listen))?;
    let issuer = Url::parse(&format!("http://{}", socket.local_addr()?))?;
    let services = services(&folder, &sandbox, &issuer, &clock, &entropy, &options.ground)?;
    let cast = cast::enter(&services, &sandbox, &passwords, &for_providers).await?;
    let sandbox_threads = bench::listener_threads();
    let listening = Listening { socket, workers: options.ground.workers, tls: None };
    let broker = serve::start(services.clone(), listening).await?;
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let backend_server = backend::start(loopback, &issuer, clock.clone())?;
    let demo = Demo {
        issuer,
        backend: backend_server.url.clone(),
        sandbox,
        cast,
        passwords,
        clock,
        services,
        broker,
        backend_server,
        bare: options.ground.bench.then(bench::Bare::start).transpose()?,
        sandbox_threads,
        folder,
    };
    std::fs::write(demo.ca_file(), &demo.sandbox.ca_pem)?;
    if let Some(path) = &options.info {
        write_private(path, &demo.info()?)?;
    }
    Ok(demo)
}

fn services(
    folder: &ThrowawayFolder,
    sandbox: &SandboxRunning,
    issuer: &Url,
    clock: &Arc<OffsetClock>,
    entropy: &Arc<dyn Entropy>,
    ground: &Ground,
) -> anyhow::Result<Services> {
    let key_file = folder.path().join("root.key");
    vault::create_key_file(&key_file, entropy.as_ref())?;
    let data = folder.path().join("data");
    let vault = Arc::new(Vault::create(&data, &RootKey::KeyFile(key_file), Arc::clone(entropy))?);
    let backend = SledBackend::open_on(Arc::clone(&ground.store_disk), &data, RESERVE)?;
    let measured = Measured::default();
    let audit = AuditLog::open_on(
        Reserve { disk: Arc::clone(&ground.audit_disk), bytes: RESERVE },
        &data.join("audit"),
        vault.audit_signer(),
        vault.deployment().clone(),
        clock.clone(),
        Arc::clone(entropy),
    )?;
    let mut origins = sandbox.origins();
    origins.retain(|(origin, _)| ground.origins.iter().all(|(moved, _)| moved != origin));
    origins.extend(ground.origins.iter().cloned());
    let templates = match &ground.templates {
        Some(folder) => Templates::embedded()?.with_folder(folder)?,
        None => Templates::embedded()?,
    };
    let net = HttpClient::new(NetSettings { origins, ..NetSettings::default() })?;
    Ok(Services::assemble(Foundation {
        clock: clock.clone(),
        entropy: Arc::clone(entropy),
        store: Store::new(measured.engine(Arc::new(backend)), measured.sealer(vault.clone())),
        measured,
        spool: Spool::open_on(Arc::clone(&ground.store_disk), &data, vault.clone())?,
        node: None,
        keys: None,
        vault,
        audit,
        net,
        templates: Arc::new(templates),
        inbound: Inbound::direct(issuer.clone()),
        sign_in: Some(cast::SIGN_IN.parse().map_err(anyhow::Error::msg)?),
        utc_offset: UtcOffset::default(),
        suspend_without_owner: ground.suspend_without_owner,
        sandbox_banner: true,
        form_targets: Vec::new(),
        data_dir: data,
    }))
}

impl Demo {
    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("sandbox-ca.pem")
    }

    /// What `--info` writes.
    ///
    /// # Errors
    /// When a fresh ID token cannot be made.
    pub fn info(&self) -> anyhow::Result<serde_json::Value> {
        let mut users = Vec::new();
        for (email, password) in self.passwords.employees() {
            let id_token = self.sandbox.id_token(email, ASSISTANT_CLIENT).context("no ID token")?;
            users.push(json!({ "email": email, "password": password, "id_token": id_token }));
        }
        let base = self.issuer.as_str().trim_end_matches('/');
        let bench = self.bare.as_ref();
        let bench = bench.map(|bare| {
            let token = self.sandbox.access_token(
                bench::MEASURED,
                people::ALICE,
                "valetkey-sandbox",
                cast::default_scopes(bench::MEASURED),
            );
            json!({
                "bare": bare.url,
                "form": bare.form_url,
                "sandbox_threads": self.sandbox_threads,
                // The sandbox's own, for a plain reverse proxy beside the gateway.
                "access_token": token,
            })
        });
        let mut info = json!({
            "issuer": base,
            "sandbox": self.sandbox.url,
            "proxy": self.sandbox.proxy_url,
            "ca_file": self.ca_file(),
            "backend": self.backend,
            "data_dir": self.data_dir(),
            "pid": std::process::id(),
            "admin": {
                "token": self.cast.admin_token.expose(),
                "user": people::ADMIN,
                "password": self.passwords.admin.expose(),
            },
            "users": users,
            "agents": self.cast.agents_info(),
            "providers": cast::PROVIDERS,
        });
        if let (Some(members), Some(bench)) = (info.as_object_mut(), bench) {
            members.insert("bench".to_owned(), bench);
        }
        Ok(info)
    }

    /// What a person needs to begin.
    pub fn greeting(&self) -> String {
        let base = self.issuer.as_str().trim_end_matches('/');
        let mut text = format!(
            "Valetkey's demo is running: made-up people, sandbox providers, a throwaway folder.\n\n\
             Open {base}/ and sign in as an employee:\n"
        );
        for (email, password) in self.passwords.employees() {
            text.push_str(&format!("  {email}   {password}\n"));
        }
        let agent = &self.cast.personal;
        let alice = people::ALICE;
        let exchange = format!(
            "\x20 curl -s -u {}:{} {base}/oauth2/token \\\n\
             \x20   -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \\\n\
             \x20   -d subject_token={alice} -d subject_token_type=urn:valetkey:token-type:user \\\n",
            agent.id,
            agent.secret.expose(),
        );
        let show = "curl -s -H \"Authorization: Bearer $access_token\"";
        text.push_str(&format!(
            "The providers' pages take the same passwords.\n\n\
             The admin's page is {base}/login?local=1\n  {}   {}\n\n\
             Be the personal agent of {alice}: ask for Microsoft 365 mail, open the interaction_uri of the answer, \
             and agree.\n\
             {exchange}\
             \x20   -d audience=provider:entra -d 'binding_message=Summarise this week in my inbox'\n\
             Run the same line again: now it brings the token. Call the provider's own API with it:\n\
             \x20 access_token=…\n\
             \x20 {show} {base}/gateway/entra/graph/v1.0/me/messages\n\n\
             Be it at the internal back end, and watch that at {}\n\
             {exchange}\
             \x20   -d audience={} -d scope=leave.read\n\
             \x20 access_token=…\n\
             \x20 {show} {}/leave\n\n\
             Sandbox {} · its proxy {}\nStop with Ctrl-C; everything is deleted.",
            people::ADMIN,
            self.passwords.admin.expose(),
            self.backend,
            backend::AUDIENCE,
            self.backend,
            self.sandbox.url,
            self.sandbox.proxy_url,
        ));
        text
    }

    /// Waits until the broker's storage has failed.
    pub async fn broker_failed(&self) {
        self.broker.failed().await;
    }

    /// Moves the time of the sandbox and the broker.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Moves the time of the sandbox and the broker back, as when a clock that was ahead is set right.
    pub fn turn_back(&self, by: Duration) {
        self.clock.turn_back(by);
    }

    /// Stops everything and deletes the folder.
    pub async fn stop(self) {
        self.broker.stop().await;
        self.backend_server.stop().await;
        if let Some(bare) = self.bare {
            bare.stop().await;
        }
        self.sandbox.stop().await;
        self.folder.delete();
    }
}

/// Writes a file of secrets whole: mode 0600, then renamed into place.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, value: &serde_json::Value) -> anyhow::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let _ = std::fs::remove_file(&partial);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .with_context(|| partial.display().to_string())?;
    file.write_all(serde_json::to_string_pretty(value)?.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&partial, path).with_context(|| path.display().to_string())?;
    Ok(())
}
