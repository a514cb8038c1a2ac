//! First set-up: root key, folders, configuration file, and the one-time link for the first admin.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::app::open::{self, OpenError, embedded, secret};
use crate::app::shared;
use crate::config::{SecretSetting, Settings, StorageEngine};
use crate::kernel::bearer::{self, BearerKind};
use crate::kernel::clock::{Clock, SystemClock};
use crate::kernel::entropy::{Entropy, SystemEntropy};
use crate::kernel::secret::SecretString;
use crate::model::event::{EventDraft, EventKind, Outcome};
use crate::model::user::{LocalAdmin, SetupLink};
use crate::store::{Backend, PostgresBackend, Store, Tx};
use crate::vault::{self, RootKey, Vault};

/// How long the first admin's link lives.
pub const SETUP_LINK_LIFE: Duration = Duration::from_secs(15 * 60);
const RESERVE: u64 = 64 * 1024 * 1024;

/// What `init` made.
pub struct Initialised {
    /// The configuration file.
    pub config: PathBuf,
    /// Whether it was there already.
    pub existed: bool,
    /// The link for the first admin; `None` once there is one.
    pub link: Option<SecretString>,
}

/// What keeps the records of a new deployment.
#[derive(Debug)]
pub enum Keeper {
    /// Files of this machine.
    Embedded(StorageEngine),
    /// The database whose URL is in that file.
    Database(PathBuf),
}

/// Makes a deployment in a folder. Run again, it keeps what is there, and only makes a new link while
/// no admin exists.
///
/// # Errors
/// When something cannot be written or opened.
pub async fn init(
    folder: &Path,
    issuer: &Url,
    passphrase: Option<SecretString>,
    keeper: &Keeper,
) -> Result<Initialised, OpenError> {
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Secret { path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(wrong(folder))?;
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
    let config = folder.join("valetkey.toml");
    let existed = config.exists();
    let with_passphrase = passphrase.is_some();
    let data = folder.join("data");
    let (engine, url) = match keeper {
        Keeper::Embedded(engine) => (*engine, None),
        Keeper::Database(path) => {
            (StorageEngine::default(), Some(secret(&SecretSetting::File(path.clone()))?))
        }
    };
    let database = url.as_ref().map(|url| PostgresBackend::open(url, Arc::clone(&entropy))).transpose()?;
    if let Some(database) = &database {
        shared::fetch(database, &data).await?;
    }
    // The keyring is what a root key belongs to: once there is one, no other key is made beside it, and a
    // set-up that broke off after this point is taken up again.
    let has_keyring = data.join(vault::KEYRING_FILE).exists();
    let root = match passphrase {
        Some(passphrase) => RootKey::passphrase(passphrase),
        None => {
            let path = folder.join("root.key");
            if !has_keyring && !path.exists() {
                vault::create_key_file(&path, entropy.as_ref())?;
            }
            RootKey::KeyFile(path)
        }
    };
    let opened = if has_keyring {
        Vault::open(&data, &root, Arc::clone(&entropy))?
    } else {
        Vault::create(&data, &root, Arc::clone(&entropy))?
    };
    if let Some(database) = database {
        shared::publish(&database, &data).await?;
    }
    let (vault, backend): (_, Arc<dyn Backend>) = match &url {
        Some(url) => {
            let joined = shared::join(url, &data, &root, &entropy).await?;
            (joined.vault, joined.keys)
        }
        None => (Arc::new(opened), embedded(engine, &data, RESERVE)?),
    };
    let store = Store::new(backend, vault.clone());
    let link = first_admin_link(&store, &vault, entropy.as_ref(), issuer).await?;
    store.sync().await?;
    if !existed {
        write_config(&config, issuer, with_passphrase, keeper).map_err(wrong(&config))?;
    }
    Ok(Initialised { config, existed, link })
}

/// Makes the link for the first admin, while there is none. Only its digest is stored.
async fn first_admin_link(
    store: &Store,
    vault: &Vault,
    entropy: &dyn Entropy,
    issuer: &Url,
) -> Result<Option<SecretString>, OpenError> {
    if !store.page::<LocalAdmin>(None, 1).await?.is_empty() {
        return Ok(None);
    }
    link(store, vault, entropy, issuer, false).await.map(Some)
}

async fn link(
    store: &Store,
    vault: &Vault,
    entropy: &dyn Entropy,
    issuer: &Url,
    another: bool,
) -> Result<SecretString, OpenError> {
    let secret = bearer::generate(BearerKind::SetupLink, entropy);
    let mut tx = Tx::new();
    tx.put(&SetupLink {
        digest: vault.digest(BearerKind::SetupLink, secret.expose()),
        expires_at: SystemClock.now().plus(SETUP_LINK_LIFE),
        another,
    });
    // Unconditional: a new link takes the place of an older one.
    let _ = store.commit(tx).await?;
    let base = issuer.as_str().trim_end_matches('/');
    Ok(SecretString::new(format!("{base}/setup?token={}", secret.expose())))
}

/// Makes a link for another admin, or for one who has lost their password, in a deployment that none uses at
/// the moment. The log keeps that it was made.
///
/// # Errors
/// When the deployment cannot be opened, or something cannot be written.
pub async fn another_admin(settings: &Settings) -> Result<SecretString, OpenError> {
    let foundation = open::open(settings).await?;
    let event = EventDraft {
        admin: Some("the command line".to_owned()),
        outcome: Some(Outcome::Done),
        ..EventDraft::new(EventKind::Admin, "admin.link_made")
    };
    foundation.audit.record(event).await?;
    let (store, entropy) = (&foundation.store, foundation.entropy.as_ref());
    let link = link(store, &foundation.vault, entropy, &settings.issuer, true).await?;
    store.sync().await?;
    foundation.audit.close().await;
    Ok(link)
}

fn write_config(path: &Path, issuer: &Url, with_passphrase: bool, keeper: &Keeper) -> std::io::Result<()> {
    let storage = match keeper {
        Keeper::Embedded(StorageEngine::Sled) => String::new(),
        Keeper::Embedded(other) => format!("[storage]\nengine = \"{}\"\n\n", other.name()),
        Keeper::Database(file) => {
            let file = file.canonicalize()?;
            format!("[storage]\npostgres = {{ file = \"{}\" }}\n\n", file.display())
        }
    };
    let root_key = if with_passphrase {
        "# The passphrase is read from this variable at every start.\npassphrase_env = \"VALETKEY_PASSPHRASE\""
    } else {
        "file = \"root.key\""
    };
    let port = issuer.port_or_known_default().unwrap_or(8443);
    let listen =
        if issuer.scheme() == "http" { format!("127.0.0.1:{port}") } else { "127.0.0.1:8443".to_owned() };
    let text = format!(
        "# Valetkey's settings. Paths are relative to this file. Environment variables override them:\n\
         # VALETKEY_LISTEN, VALETKEY_OUTBOUND__PROXY and so on.\n\
         issuer = \"{issuer}\"\n\
         listen = \"{listen}\"\n\
         data_dir = \"data\"\n\
         # Beyond loopback, state a certificate and key:\n\
         # tls = {{ certificate = \"tls.crt\", key = \"tls.key\" }}\n\
         # or the address of the TLS proxy in front:\n\
         # trusted_proxies = [\"127.0.0.1\"]\n\
         \n\
         [root_key]\n\
         {root_key}\n\
         \n\
         {storage}\
         [sign_in]\n\
         # The configured provider that employees sign in with, once it is added:\n\
         # provider = \"my-sign-in\"\n",
        issuer = issuer.as_str().trim_end_matches('/'),
    );
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
