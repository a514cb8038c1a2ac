//! Where the root key comes from.

use std::path::PathBuf;

use url::Url;

use crate::config::raw::{RawRootKey, RawSeal, RawTransit};
use crate::config::settings::{ConfigError, invalid};

/// Where the root key comes from.
#[derive(Clone, Debug)]
pub enum RootKeySetting {
    /// A key file with mode 0600.
    File(PathBuf),
    /// A file that holds a passphrase, with mode 0600.
    PassphraseFile(PathBuf),
    /// An environment variable that holds a passphrase.
    PassphraseEnv(String),
    /// The transit engine of OpenBao or Vault.
    Transit(Box<TransitSetting>),
}

/// The transit engine, and the key in it.
#[derive(Clone, Debug)]
pub struct TransitSetting {
    /// The service's address.
    pub address: Url,
    /// Where the engine is mounted.
    pub mount: String,
    /// The key's name.
    pub key: String,
    /// The namespace, where there are such.
    pub namespace: Option<String>,
    /// A file that holds the token.
    pub token_file: Option<PathBuf>,
    /// An environment variable that holds the token.
    pub token_env: Option<String>,
    /// A further certificate authority, PEM.
    pub ca: Option<PathBuf>,
}

/// Exactly one source of the root key.
pub(super) fn checked(
    root: RawRootKey,
    seal: RawSeal,
    at: impl Fn(PathBuf) -> PathBuf,
) -> Result<RootKeySetting, ConfigError> {
    match (root.file, root.passphrase_file, root.passphrase_env, seal.transit) {
        (Some(file), None, None, None) => Ok(RootKeySetting::File(at(file))),
        (None, Some(file), None, None) => Ok(RootKeySetting::PassphraseFile(at(file))),
        (None, None, Some(name), None) => Ok(RootKeySetting::PassphraseEnv(name)),
        (None, None, None, Some(transit)) => {
            transit_checked(transit, at).map(|transit| RootKeySetting::Transit(Box::new(transit)))
        }
        (None, None, None, None) => Err(ConfigError::Missing {
            key: "root_key",
            advice: "state one of root_key.file, root_key.passphrase_file, root_key.passphrase_env, seal.transit",
        }),
        _ => Err(invalid(
            "root_key",
            "state exactly one of file, passphrase_file, passphrase_env, and seal.transit",
        )),
    }
}

fn transit_checked(raw: RawTransit, at: impl Fn(PathBuf) -> PathBuf) -> Result<TransitSetting, ConfigError> {
    let address =
        Url::parse(&raw.address).map_err(|error| invalid("seal.transit.address", error.to_string()))?;
    let is_loopback = matches!(address.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    if !(address.scheme() == "https" || (address.scheme() == "http" && is_loopback)) {
        return Err(invalid(
            "seal.transit.address",
            "must be https, except on loopback: a token travels over it",
        ));
    }
    if address.path() != "/" || address.query().is_some() || !address.username().is_empty() {
        return Err(invalid("seal.transit.address", "write an origin, such as https://bao.example.com:8200"));
    }
    let mount = raw.mount.unwrap_or_else(|| "transit".to_owned());
    for (key, text) in [("seal.transit.mount", &mount), ("seal.transit.key", &raw.key)] {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if text.is_empty() || !text.split('/').all(|part| !part.is_empty() && part.chars().all(is_name)) {
            return Err(invalid(key, format!("`{text}` is no name: letters, digits, `-` and `_`")));
        }
    }
    if raw.token_file.is_some() == raw.token_env.is_some() {
        return Err(invalid("seal.transit", "state exactly one of token_file and token_env"));
    }
    Ok(TransitSetting {
        address,
        mount,
        key: raw.key,
        namespace: raw.namespace,
        token_file: raw.token_file.map(&at),
        token_env: raw.token_env,
        ca: raw.ca.map(at),
    })
}
