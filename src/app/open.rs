//! From settings to a foundation: root key, vault, store, log, network, templates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::app::services::Foundation;
use crate::app::shared;
use crate::audit::{self, AuditError, AuditLog};
use crate::config::{RootKeySetting, SecretSetting, Settings, StorageEngine, TransitSetting};
use crate::connections::{Spool, SpoolError};
use crate::custody::transit::{TokenSource, TransitSeal};
use crate::kernel::clock::{Clock, SystemClock};
use crate::kernel::entropy::{Entropy, SystemEntropy};
use crate::kernel::secret::SecretString;
use crate::net::{HttpClient, NetSettings, SettingsError};
use crate::providers::load::{LoadError, Templates};
use crate::server::Inbound;
use crate::server::peer::ForwardedCertificates;
use crate::store::measured::Measured;
use crate::store::{Backend, RedbBackend, SledBackend, Store, StoreError};
use crate::vault::seal::RootKeyError;
use crate::vault::{RootKey, Vault, VaultError};

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A secret's file cannot be read.
    #[error("`{path}` cannot be read: {source}")]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The variable that should hold the passphrase is not set.
    #[error("the environment variable `{0}` is not set; it should hold the passphrase")]
    Passphrase(String),
    /// The variable that should hold a secret is not set.
    #[error("the environment variable `{0}` is not set; the settings name it")]
    Variable(String),
    /// The database's keyring is not this node's, or there is none.
    #[error("{0}")]
    Keyring(String),
    /// A file is readable by others.
    #[error("`{0}` can be read by others: set its mode to 0600")]
    Mode(PathBuf),
    /// The root key.
    #[error(transparent)]
    RootKey(#[from] RootKeyError),
    /// Keys.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Records.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The outbound client.
    #[error(transparent)]
    Net(#[from] SettingsError),
    /// Templates.
    #[error(transparent)]
    Templates(#[from] LoadError),
}

/// Opens everything that a deployment consists of. A wrong root key fails here.
///
/// # Errors
/// The first thing that does not open, with what to do.
pub async fn open(settings: &Settings) -> Result<Foundation, OpenError> {
    open_with(settings, Arc::new(SystemClock), Arc::new(SystemEntropy::default())).await
}

/// Like [`open`], with another clock and randomness.
///
/// # Errors
/// The first thing that does not open, with what to do.
pub async fn open_with(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Foundation, OpenError> {
    let root = root_key(&settings.root_key)?;
    let (vault, backend, node, keys) = match &settings.postgres {
        Some(url) => {
            let joined = shared::join(&secret(url)?, &settings.data_dir, &root, &entropy).await?;
            let backend: Arc<dyn Backend> = joined.keys.clone();
            (joined.vault, backend, Some(joined.node), Some(joined.keys))
        }
        None => {
            let vault = Arc::new(Vault::open(&settings.data_dir, &root, Arc::clone(&entropy))?);
            (vault, embedded(settings.engine, &settings.data_dir, settings.reserve_bytes)?, None, None)
        }
    };
    let measured = Measured::default();
    let store = Store::new(measured.engine(backend), measured.sealer(vault.clone()));
    let log = settings.data_dir.join("audit");
    // A log that was a node's goes on under its name when the records have left the database.
    let signer = match node.clone().or_else(|| audit::node_of(&log)) {
        Some(node) => vault.audit_signer().of_node(&node),
        None => vault.audit_signer(),
    };
    let audit = AuditLog::open(
        &log,
        signer,
        vault.deployment().clone(),
        Arc::clone(&clock),
        Arc::clone(&entropy),
        settings.reserve_bytes,
    )?;
    let templates = templates(settings)?;
    Ok(Foundation {
        net: outbound(settings)?,
        spool: Spool::open(&settings.data_dir, vault.clone())?,
        clock,
        entropy,
        vault,
        store,
        node,
        keys,
        measured,
        audit,
        templates: Arc::new(templates),
        inbound: inbound(settings),
        sign_in: settings.sign_in.clone(),
        utc_offset: settings.utc_offset,
        suspend_without_owner: settings.suspend_without_owner,
        sandbox_banner: settings.allow_sandbox,
        form_targets: settings.sign_in_redirects_to.clone(),
        data_dir: settings.data_dir.clone(),
    })
}

/// The templates that we come with, and those of the settings' folder.
///
/// # Errors
/// When one is not what it should be.
pub(super) fn templates(settings: &Settings) -> Result<Templates, LoadError> {
    let templates = Templates::embedded()?;
    match &settings.templates_folder {
        Some(folder) => templates.with_folder(folder),
        None => Ok(templates),
    }
}

fn inbound(settings: &Settings) -> Inbound {
    let certificates = &settings.client_certificates;
    // INVARIANT: the settings hold names that a header can have.
    let forwarded = certificates.forwarded.as_ref().and_then(|(name, from)| {
        Some(ForwardedCertificates { header: name.parse().ok()?, from: from.clone() })
    });
    Inbound {
        trusted_proxies: settings.trusted_proxies.clone(),
        forwarded_certificates: forwarded,
        asks_for_certificates: certificates.ask,
        ..Inbound::direct(settings.issuer.clone())
    }
}

/// The store in a data folder.
///
/// # Errors
/// When the engine does not open it.
pub fn embedded(engine: StorageEngine, dir: &Path, reserve: u64) -> Result<Arc<dyn Backend>, StoreError> {
    Ok(match engine {
        StorageEngine::Sled => Arc::new(SledBackend::open(dir, reserve)?),
        StorageEngine::Redb => Arc::new(RedbBackend::open(dir, reserve)?),
    })
}

/// The client for calls to providers.
///
/// # Errors
/// When the settings make none.
pub fn outbound(settings: &Settings) -> Result<HttpClient, OpenError> {
    let mut extra_ca_pem = Vec::new();
    for path in &settings.extra_ca {
        extra_ca_pem
            .push(std::fs::read(path).map_err(|source| OpenError::Secret { path: path.clone(), source })?);
    }
    Ok(HttpClient::new(NetSettings {
        origins: settings.origins.clone(),
        proxy: settings.proxy.clone(),
        extra_ca_pem,
        allow_private: settings.allow_private.clone(),
        allow_localhost: false,
    })?)
}

/// A secret that the settings name.
///
/// # Errors
/// When it cannot be read, or others can read it.
pub fn secret(setting: &SecretSetting) -> Result<SecretString, OpenError> {
    match setting {
        SecretSetting::Inline(text) => Ok(SecretString::new(text.expose().clone())),
        SecretSetting::File(path) => {
            private(path)?;
            let text = std::fs::read_to_string(path)
                .map_err(|source| OpenError::Secret { path: path.clone(), source })?;
            let whole = SecretString::new(text);
            Ok(SecretString::new(whole.expose().trim_end_matches(['\r', '\n']).to_owned()))
        }
        SecretSetting::Env(name) => {
            std::env::var(name).map(SecretString::new).map_err(|_| OpenError::Variable(name.clone()))
        }
    }
}

/// The root key that the settings name.
///
/// # Errors
/// When it cannot be read, or others can read it.
pub fn root_key(setting: &RootKeySetting) -> Result<RootKey, OpenError> {
    match setting {
        RootKeySetting::File(path) => Ok(RootKey::KeyFile(path.clone())),
        RootKeySetting::PassphraseFile(path) => {
            private(path)?;
            let text = std::fs::read_to_string(path)
                .map_err(|source| OpenError::Secret { path: path.clone(), source })?;
            let whole = SecretString::new(text);
            Ok(RootKey::passphrase(SecretString::new(
                whole.expose().trim_end_matches(['\r', '\n']).to_owned(),
            )))
        }
        RootKeySetting::PassphraseEnv(name) => {
            let text = std::env::var(name).map_err(|_| OpenError::Passphrase(name.clone()))?;
            Ok(RootKey::passphrase(SecretString::new(text)))
        }
        RootKeySetting::Transit(setting) => transit(setting),
    }
}

fn transit(setting: &TransitSetting) -> Result<RootKey, OpenError> {
    let token = match (&setting.token_file, &setting.token_env) {
        (Some(path), _) => {
            private(path)?;
            TokenSource::File(path.clone())
        }
        (None, name) => TokenSource::Env(name.clone().unwrap_or_default()),
    };
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| OpenError::Secret { path: path.clone(), source })
    };
    Ok(RootKey::External(Arc::new(TransitSeal {
        address: setting.address.clone(),
        mount: setting.mount.clone(),
        key: setting.key.clone(),
        namespace: setting.namespace.clone(),
        token,
        extra_ca_pem: setting.ca.iter().map(read).collect::<Result<_, _>>()?,
    })))
}

fn private(path: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata =
        std::fs::metadata(path).map_err(|source| OpenError::Secret { path: path.to_owned(), source })?;
    if metadata.permissions().mode() & 0o077 == 0 { Ok(()) } else { Err(OpenError::Mode(path.to_owned())) }
}
