//! The file's shape, before anything is checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// `valetkey.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSettings {
    pub issuer: Option<String>,
    pub listen: Option<SocketAddr>,
    pub data_dir: Option<PathBuf>,
    pub log: Option<String>,
    pub workers: Option<usize>,
    pub drain_s: Option<u64>,
    pub utc_offset: Option<String>,
    pub allow_sandbox: bool,
    pub tls: Option<RawTls>,
    pub trusted_proxies: Vec<String>,
    pub client_certificates: RawClientCertificates,
    pub root_key: RawRootKey,
    pub seal: RawSeal,
    pub sign_in: RawSignIn,
    pub agents: RawAgents,
    pub storage: RawStorage,
    pub outbound: RawOutbound,
    pub templates: RawTemplates,
    pub telemetry: RawTelemetry,
}

/// The keys of [`RawSettings`].
pub const KEYS: [&str; 19] = [
    "issuer",
    "listen",
    "data_dir",
    "log",
    "workers",
    "drain_s",
    "utc_offset",
    "allow_sandbox",
    "tls",
    "trusted_proxies",
    "client_certificates",
    "root_key",
    "seal",
    "sign_in",
    "agents",
    "storage",
    "outbound",
    "templates",
    "telemetry",
];

impl RawSettings {
    /// The variables of the environment that it names.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let passphrase = self.root_key.passphrase_env.as_deref();
        let token = self.seal.transit.as_ref().and_then(|transit| transit.token_env.as_deref());
        let database = match &self.storage.postgres {
            Some(RawSecret::Elsewhere(RawPlace::Env(name))) => Some(name.as_str()),
            _ => None,
        };
        [passphrase, token, database].into_iter().flatten()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawClientCertificates {
    pub ask: bool,
    pub header: Option<String>,
    pub from: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRootKey {
    pub file: Option<PathBuf>,
    pub passphrase_file: Option<PathBuf>,
    pub passphrase_env: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSeal {
    pub transit: Option<RawTransit>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTransit {
    pub address: String,
    pub mount: Option<String>,
    pub key: String,
    pub namespace: Option<String>,
    pub token_file: Option<PathBuf>,
    pub token_env: Option<String>,
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSignIn {
    pub provider: Option<String>,
    pub redirects_to: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawAgents {
    pub suspend_without_owner: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawStorage {
    pub engine: Option<String>,
    pub postgres: Option<RawSecret>,
    pub reserve_mib: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawOutbound {
    pub proxy: Option<String>,
    pub extra_ca: Vec<PathBuf>,
    pub allow_private: Vec<String>,
    pub origins: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTemplates {
    pub folder: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTelemetry {
    pub otlp_endpoint: Option<String>,
    pub sample: Option<f64>,
}

/// A secret: inline, in a file, or in a variable of the environment.
#[derive(Deserialize)]
#[serde(untagged, expecting = "write a text, { file = \"…\" } or { env = \"…\" }")]
pub enum RawSecret {
    Inline(String),
    Elsewhere(RawPlace),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum RawPlace {
    File(PathBuf),
    Env(String),
}

impl std::fmt::Debug for RawSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RawSecret")
    }
}
