//! Checked settings.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::config::bounds::{log_filter, within};
use crate::config::environment;
use crate::config::raw::{RawClientCertificates, RawPlace, RawSecret, RawSettings};
use crate::config::seal::{self, RootKeySetting};
use crate::config::telemetry::{self, TelemetrySetting};
use crate::config::transport::{check_transport, issuer};
use crate::kernel::ids::ProviderSlug;
use crate::kernel::offset::UtcOffset;
use crate::kernel::secret::SecretString;

const MOST_WORKERS: usize = 1024;
/// Longer than load balancers take to notice.
const LONGEST_DRAIN_S: u64 = 600;

/// Everything that `serve` needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Our own base URL, as agents and browsers see it.
    pub issuer: Url,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where data lies.
    pub data_dir: PathBuf,
    /// Log filter, as `tracing` writes it.
    pub log: String,
    /// Worker threads of the listener.
    pub workers: usize,
    /// How long a broker that was told to end goes on answering, and says that it is not ready.
    pub drain: Duration,
    /// Where the company is: days and hours of limits are read there.
    pub utc_offset: UtcOffset,
    /// Whether origins may be rewritten to the sandbox; shows a banner on every page.
    pub allow_sandbox: bool,
    /// TLS by ourselves.
    pub tls: Option<Tls>,
    /// Proxies in front of us whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Client certificates of agents.
    pub client_certificates: ClientCertificates,
    /// Where the root key comes from.
    pub root_key: RootKeySetting,
    /// The provider that employees sign in with.
    pub sign_in: Option<ProviderSlug>,
    /// Origins that providers' sign-in redirects to at once, such as a company's own federation service.
    pub sign_in_redirects_to: Vec<String>,
    /// What keeps the records, unless a database does.
    pub engine: StorageEngine,
    /// The URL of the database that keeps the records of several nodes.
    pub postgres: Option<SecretSetting>,
    /// Whether agents that nobody active answers for are suspended, and not only flagged.
    pub suspend_without_owner: bool,
    /// Disk space that is kept free, in bytes.
    pub reserve_bytes: u64,
    /// An outbound proxy.
    pub proxy: Option<Url>,
    /// Files with further CA certificates, PEM.
    pub extra_ca: Vec<PathBuf>,
    /// Private networks that may be dialled all the same.
    pub allow_private: Vec<IpNet>,
    /// Origins rewritten to the sandbox.
    pub origins: Vec<(String, String)>,
    /// A folder with further templates.
    pub templates_folder: Option<PathBuf>,
    /// Where traces go, if anywhere.
    pub telemetry: Option<TelemetrySetting>,
    /// Variables that begin as settings do, and that nobody reads.
    pub unread_variables: Vec<String>,
}

/// Client certificates of agents (RFC 8705).
#[derive(Clone, Debug, Default)]
pub struct ClientCertificates {
    /// Whether our own TLS listener asks for one. Browsers that have some may then ask people which to show.
    pub ask: bool,
    /// The header in which proxies forward one, in lower case, and the proxies that may.
    pub forwarded: Option<(String, Vec<IpNet>)>,
}

/// TLS by ourselves.
#[derive(Debug)]
pub struct Tls {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// An engine that keeps the records in files of this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StorageEngine {
    /// sled.
    #[default]
    Sled,
    /// redb.
    Redb,
}

impl StorageEngine {
    /// Its name in the settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
        }
    }
}

impl std::str::FromStr for StorageEngine {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "sled" => Ok(Self::Sled),
            "redb" => Ok(Self::Redb),
            _ => Err("write \"sled\" or \"redb\""),
        }
    }
}

/// Where a secret comes from.
#[derive(Debug)]
pub enum SecretSetting {
    /// It stands in the settings.
    Inline(SecretString),
    /// A file with mode 0600.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
}

/// What is wrong with the settings. Every message names the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("`{path}` cannot be read: {error}; make a first one with `valetkey init`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Not TOML, an unknown key, or a wrong type.
    #[error("`{path}`: {error}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// A variable does not fit.
    #[error("variable {names}: {problem}")]
    Variable {
        /// Which, or which of them together.
        names: String,
        /// Why.
        problem: String,
    },
    /// A key is missing.
    #[error("`{key}` is missing: {advice}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What to write.
        advice: &'static str,
    },
    /// A value cannot be used.
    #[error("`{key}`: {problem}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// What is wrong and what to write.
        problem: String,
    },
}

pub(super) fn invalid(key: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { key, problem: problem.into() }
}

impl Settings {
    /// Reads the file, lays the environment over it, and checks everything.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(
        path: &Path,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        let malformed =
            |error: toml::de::Error| ConfigError::Malformed { path: path.to_owned(), error: Box::new(error) };
        // Read once as it stands, so that an error has its line; then again with the environment.
        toml::from_str::<RawSettings>(&text).map_err(malformed)?;
        let table: toml::Table = toml::from_str(&text).map_err(malformed)?;
        let variables = environment::Variables::among(environment);
        let raw = variables.over(&table)?;
        let named: Vec<String> = raw.variables().map(str::to_owned).collect();
        let base = path.parent().unwrap_or(Path::new("."));
        let settings = Self::check(raw, base).map_err(|error| variables.blamed(error))?;
        Ok(Self { unread_variables: variables.unread(&named), ..settings })
    }

    fn check(raw: RawSettings, base: &Path) -> Result<Self, ConfigError> {
        let at = |path: PathBuf| if path.is_absolute() { path } else { base.join(path) };
        let issuer = issuer(&raw.issuer.ok_or(ConfigError::Missing {
            key: "issuer",
            advice: "the base URL that people and agents use, such as https://valetkey.example.com",
        })?)?;
        let listen = raw.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 8443)));
        let trusted_proxies = networks("trusted_proxies", &raw.trusted_proxies)?;
        if let Some(open) = trusted_proxies.iter().find(|network| network.prefix_len() == 0) {
            return Err(invalid(
                "trusted_proxies",
                format!("`{open}` trusts everybody: list the proxy's own address"),
            ));
        }
        check_transport(&issuer, listen, raw.tls.is_some(), &trusted_proxies)?;
        let client_certificates = client_certificates(&raw.client_certificates, raw.tls.is_some())?;
        let sign_in = match raw.sign_in.provider {
            None => None,
            Some(slug) => Some(slug.parse().map_err(|problem: &str| invalid("sign_in.provider", problem))?),
        };
        let proxy = match raw.outbound.proxy {
            None => None,
            Some(text) => {
                let url = Url::parse(&text).map_err(|error| invalid("outbound.proxy", error.to_string()))?;
                if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
                    return Err(invalid("outbound.proxy", "takes an http:// or https:// URL with a host"));
                }
                Some(url)
            }
        };
        let origins: Vec<(String, String)> = raw.outbound.origins.into_iter().collect();
        if !origins.is_empty() && !raw.allow_sandbox {
            return Err(invalid(
                "outbound.origins",
                "needs `allow_sandbox = true`: it sends tokens to a sandbox",
            ));
        }
        if raw.storage.postgres.is_some() && raw.storage.engine.is_some() {
            return Err(invalid("storage.postgres", "stands beside `engine`: state the one that is meant"));
        }
        let postgres = raw.storage.postgres.map(|secret| match secret {
            RawSecret::Inline(text) => SecretSetting::Inline(SecretString::new(text)),
            RawSecret::Elsewhere(RawPlace::File(path)) => SecretSetting::File(at(path)),
            RawSecret::Elsewhere(RawPlace::Env(name)) => SecretSetting::Env(name),
        });
        let utc_offset = match raw.utc_offset {
            None => UtcOffset::default(),
            Some(text) => text.parse().map_err(|problem: &str| invalid("utc_offset", problem))?,
        };
        Ok(Self {
            issuer,
            listen,
            data_dir: raw.data_dir.map(at).ok_or(ConfigError::Missing {
                key: "data_dir",
                advice: "the folder that `valetkey init` made",
            })?,
            log: log_filter(raw.log)?,
            workers: within("workers", raw.workers, 1..=MOST_WORKERS)?
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from)),
            drain: Duration::from_secs(within("drain_s", raw.drain_s, 0..=LONGEST_DRAIN_S)?.unwrap_or(0)),
            utc_offset,
            allow_sandbox: raw.allow_sandbox,
            tls: raw.tls.map(|tls| Tls { certificate: at(tls.certificate), key: at(tls.key) }),
            trusted_proxies,
            client_certificates,
            root_key: seal::checked(raw.root_key, raw.seal, at)?,
            sign_in,
            sign_in_redirects_to: origins_of("sign_in.redirects_to", &raw.sign_in.redirects_to)?,
            engine: match raw.storage.engine {
                None => StorageEngine::default(),
                Some(name) => name.parse().map_err(|problem: &str| invalid("storage.engine", problem))?,
            },
            postgres,
            suspend_without_owner: raw.agents.suspend_without_owner,
            reserve_bytes: raw.storage.reserve_mib.unwrap_or(64).saturating_mul(1024 * 1024),
            proxy,
            extra_ca: raw.outbound.extra_ca.into_iter().map(at).collect(),
            allow_private: networks("outbound.allow_private", &raw.outbound.allow_private)?,
            origins,
            templates_folder: raw.templates.folder.map(at),
            telemetry: telemetry::checked(&raw.telemetry)?,
            unread_variables: Vec::new(),
        })
    }
}

fn client_certificates(
    raw: &RawClientCertificates,
    has_tls: bool,
) -> Result<ClientCertificates, ConfigError> {
    const HEADER: &str = "client_certificates.header";
    const FROM: &str = "client_certificates.from";
    if raw.ask && !has_tls {
        return Err(invalid(
            "client_certificates.ask",
            "needs `tls`: a proxy in front ends the connection, so it must ask",
        ));
    }
    let from = networks(FROM, &raw.from)?;
    if from.iter().any(|network| network.prefix_len() == 0) {
        return Err(invalid(FROM, "trusts everybody: list the proxy's own address"));
    }
    let forwarded = match (&raw.header, from.is_empty()) {
        (None, true) => None,
        (Some(name), false) => {
            let name = name.to_ascii_lowercase();
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !is_name || matches!(name.as_str(), "authorization" | "cookie" | "host") {
                return Err(invalid(HEADER, "write the name of the proxy's header, such as Client-Cert"));
            }
            Some((name, from))
        }
        (Some(_), true) => {
            return Err(ConfigError::Missing { key: FROM, advice: "list the proxies that write the header" });
        }
        (None, false) => {
            return Err(ConfigError::Missing { key: HEADER, advice: "name the header, such as Client-Cert" });
        }
    };
    Ok(ClientCertificates { ask: raw.ask, forwarded })
}

fn networks(key: &'static str, texts: &[String]) -> Result<Vec<IpNet>, ConfigError> {
    texts
        .iter()
        .map(|text| {
            let network =
                text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
            network
                .map_err(|_| invalid(key, format!("`{text}` is no address or network, such as 10.0.0.1/32")))
        })
        .collect()
}

/// Origins with TLS, for the content policy of pages.
fn origins_of(key: &'static str, texts: &[String]) -> Result<Vec<String>, ConfigError> {
    let origin = |text: &String| {
        let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.path() == "/");
        let origin = url.map(|url| url.origin().ascii_serialization());
        origin
            .filter(|origin| origin == text.trim_end_matches('/'))
            .ok_or_else(|| invalid(key, format!("`{text}` is no origin, such as https://sts.example.com")))
    };
    texts.iter().map(origin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Settings, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("valetkey.toml");
        std::fs::write(&path, text).unwrap();
        Settings::load(&path, std::iter::empty())
    }

    const VALID: &str = "issuer = \"https://v.example\"\ndata_dir = \"data\"\n\
        trusted_proxies = [\"10.0.0.1\"]\n[root_key]\nfile = \"root.key\"\n";

    #[test]
    fn the_least_file_is_enough() {
        let settings = load(VALID).unwrap();
        assert!(settings.data_dir.is_absolute());
        assert_eq!(settings.reserve_bytes, 64 * 1024 * 1024);
    }

    #[test]
    fn every_mistake_is_named_with_its_key() {
        let table = [
            ("issuer = \"https://v.example\"", "", "issuer"),
            ("https://v.example", "http://v.example", "issuer"),
            ("https://v.example", "https://v.example/path", "issuer"),
            ("trusted_proxies = [\"10.0.0.1\"]\n", "", "tls"),
            ("10.0.0.1", "0.0.0.0/0", "trusted_proxies"),
            ("10.0.0.1", "proxy", "trusted_proxies"),
            ("[root_key]", "[client_certificates]\nask = true\n[root_key]", "client_certificates.ask"),
            (
                "[root_key]",
                "[client_certificates]\nheader = \"Client-Cert\"\n[root_key]",
                "client_certificates.from",
            ),
            (
                "[root_key]",
                "[client_certificates]\nfrom = [\"10.0.0.1\"]\n[root_key]",
                "client_certificates.header",
            ),
            (
                "[root_key]",
                "[client_certificates]\nheader = \"Cookie\"\nfrom = [\"10.0.0.1\"]\n[root_key]",
                "client_certificates.header",
            ),
            (
                "[root_key]",
                "[client_certificates]\nheader = \"Client-Cert\"\nfrom = [\"::/0\"]\n[root_key]",
                "client_certificates.from",
            ),
            ("data_dir = \"data\"\n", "", "data_dir"),
            ("file = \"root.key\"", "", "root_key"),
            ("file = \"root.key\"", "file = \"a\"\npassphrase_env = \"B\"", "root_key"),
            ("[root_key]", "surprise = 1\n[root_key]", "surprise"),
            (
                "[root_key]",
                "[outbound.origins]\n\"https://a.example\" = \"http://localhost:1\"\n[root_key]",
                "origins",
            ),
            ("[root_key]", "utc_offset = \"8\"\n[root_key]", "utc_offset"),
            ("[root_key]", "[storage]\nengine = \"sqlite\"\n[root_key]", "storage.engine"),
            ("[root_key]", "[storage]\nengine = \"redb\"\npostgres = \"x\"\n[root_key]", "storage.postgres"),
            ("[root_key]", "[storage]\npostgres = { path = \"x\" }\n[root_key]", "postgres"),
            ("[root_key]", "[sign_in]\nprovider = \"Bad Name\"\n[root_key]", "sign_in"),
            ("[root_key]", "[sign_in]\nredirects_to = [\"https:\"]\n[root_key]", "sign_in.redirects_to"),
            ("[root_key]", "[sign_in]\nredirects_to = [\"https://a.example/x\"]\n[root_key]", "redirects_to"),
            ("[root_key]", "[sign_in]\nredirects_to = [\"http://a.example\"]\n[root_key]", "redirects_to"),
        ];
        for (from, to, named) in table {
            let error = load(&VALID.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(named), "{named}: {error}");
        }
    }
}
