//! What is unsafe or doubtful about an installation, and what to do about it. The same checks run at start.
//!
//! Unsafe is what gives secrets or decisions to others, or makes a promise of durability untrue: start is refused.
//! Doubtful is what a careful operator would mend, or what cannot be told from here.

mod clocks;
mod files;
mod machine;
mod start;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use url::Url;

use crate::app::open::{self, OpenError};
use crate::app::shared;
use crate::config::{ConfigError, SecretSetting, Settings};
use crate::kernel::clock::{Clock as _, SystemClock};
use crate::kernel::entropy::{Entropy, SystemEntropy};
use crate::store::PostgresBackend;
use crate::store::postgres::{Doubt, Examined};
use crate::vault::{KEYRING_FILE, Vault};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Good,
    /// Worth mending, or not to be told from here.
    Doubtful,
    /// Start is refused.
    Unsafe,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, a stable word.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do; empty when it is as it should be.
    pub remedy: String,
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Good, found: found.into(), remedy: String::new() }
    }

    fn doubtful(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Doubtful, found: found.into(), remedy: remedy.into() }
    }

    fn harmful(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Unsafe, found: found.into(), remedy: remedy.into() }
    }
}

/// Looks at everything that can be told without the store: a running broker has that to itself.
pub fn examine(config: &Path, settings: &Settings) -> Vec<Finding> {
    let mut findings = files::examine(config, settings);
    findings.extend(transport(settings));
    findings.extend(machine::examine(settings, SystemClock.now()));
    findings.extend(start::examine(settings));
    findings.push(logging(settings));
    findings.extend(settings.unread_variables.iter().map(|name| unread(name)));
    findings.extend(parameters(settings));
    findings
}

/// Looks at what answers over the network: the database, where one keeps the records, and its clock.
pub fn examine_services(settings: &Settings) -> Vec<Finding> {
    let Some(url) = &settings.postgres else { return Vec::new() };
    let examined = open::secret(url).and_then(|url| Ok(PostgresBackend::examine(&url)?));
    match examined {
        Err(error) => {
            let remedy = "start it, or mend `[storage] postgres`: no broker starts without it";
            vec![Finding::harmful("postgres", error.to_string(), remedy)]
        }
        Ok(examined) => {
            let skew = clocks::between(examined.clock, SystemClock.now());
            database(&examined).into_iter().chain([clocks::judge(&examined.shown, skew)]).collect()
        }
    }
}

fn database(examined: &Examined) -> Vec<Finding> {
    let shown = &examined.shown;
    if examined.doubts.is_empty() {
        return vec![Finding::good("postgres", format!("`{shown}` keeps what it acknowledges"))];
    }
    let finding = |Doubt { is_unsafe, problem, remedy }: &Doubt| {
        let (found, remedy) = (format!("`{shown}`: {problem}"), remedy.clone());
        if *is_unsafe {
            Finding::harmful("postgres", found, remedy)
        } else {
            Finding::doubtful("postgres", found, remedy)
        }
    };
    examined.doubts.iter().map(finding).collect()
}

/// Compares this machine's clock with the `Date` of an address, such as the sign-in provider's.
pub async fn examine_clock(settings: &Settings, address: &Url) -> Finding {
    match clocks::ask(settings, address).await {
        Ok(skew) => clocks::judge(&address.origin().ascii_serialization(), skew),
        Err(problem) => Finding::doubtful(
            "clock_skew",
            format!("{} does not tell the time: {problem}", address.origin().ascii_serialization()),
            "name an address that answers over HTTP, such as the sign-in provider's issuer",
        ),
    }
}

/// Whether the root key opens the keyring, which also judges how hard a passphrase is stretched. At start the
/// service finds out by itself.
pub fn examine_seal(settings: &Settings) -> Finding {
    if let Some(url) = &settings.postgres {
        return shared_seal(settings, url);
    }
    let path = settings.data_dir.join(KEYRING_FILE);
    let opened = open::root_key(&settings.root_key).and_then(|root| {
        let text = std::fs::read_to_string(&path)
            .map_err(|source| OpenError::Secret { path: path.clone(), source })?;
        // Only looked at: a running broker may be changing its root key at this moment.
        Vault::open_text(&path, &text, &root, Arc::new(SystemEntropy::default())).map_err(OpenError::from)
    });
    match opened {
        Ok(_) => Finding::good("seal", "the root key opens the keyring"),
        Err(error) => {
            let other = "bring the root key that this data folder was made with; after `valetkey vault rekey`, name the new \
                 one in `[root_key]`; or restore a backup of the keyring";
            Finding::harmful("seal", error.to_string(), seal_remedy(&error, other))
        }
    }
}

/// The keyring that counts is the one in the database: a start puts it in the place of the node's own copy.
fn shared_seal(settings: &Settings, url: &SecretSetting) -> Finding {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
    let opened = open::root_key(&settings.root_key).and_then(|root| {
        let url = open::secret(url)?;
        shared::examine(&url, &settings.data_dir, &root, &entropy)
    });
    match opened {
        Ok(()) => Finding::good("seal", "the root key opens the keyring in the database"),
        // The check of the database itself refuses the start for it.
        Err(OpenError::Store(error)) => {
            let found = format!("the keyring in the database cannot be read: {error}");
            Finding::doubtful("seal", found, "make the database answer, and ask again")
        }
        Err(error @ OpenError::Keyring(_)) => {
            let remedy = "docs/cluster.md has how a database and its nodes are set up";
            Finding::harmful("seal", error.to_string(), remedy)
        }
        Err(error) => {
            let other = "bring the root key that the other nodes run with; after `valetkey vault rekey` it is the new one";
            Finding::harmful("seal", error.to_string(), seal_remedy(&error, other))
        }
    }
}

fn seal_remedy(error: &OpenError, other: &str) -> String {
    match error {
        OpenError::Passphrase(name) | OpenError::Variable(name) => format!("set `{name}`"),
        _ => other.to_owned(),
    }
}

/// A slip in a setting's name would leave the setting as it was; what is meant for others is harmless.
fn unread(name: &str) -> Finding {
    Finding::doubtful(
        "environment",
        format!("`{name}` is set, and no setting is called so"),
        "docs/operating.md has the settings' names; leave it where it is meant for something else",
    )
}

/// What is wrong with settings that cannot be read.
pub fn unreadable(error: &ConfigError) -> Finding {
    Finding::harmful("settings", error.to_string(), "see docs/operating.md for every key and what it takes")
}

fn transport(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Settings that send secrets over plain HTTP beyond loopback do not load at all.
    let how = match (&settings.tls, settings.issuer.scheme()) {
        (Some(_), _) => "TLS by itself",
        (None, "https") => "plain HTTP behind the TLS proxies that are listed",
        (None, _) => "plain HTTP on loopback only",
    };
    findings.push(Finding::good("transport", how));
    if settings.tls.is_none() && settings.issuer.scheme() == "https" && !settings.listen.ip().is_loopback() {
        findings.push(Finding::doubtful(
            "transport",
            format!(
                "{} takes plain HTTP from other machines: tokens cross that network in the clear",
                settings.listen
            ),
            "listen on loopback beside the proxy, or state `tls`, or keep that network to the proxy alone",
        ));
    }
    for network in &settings.trusted_proxies {
        let (wide, all) = if network.addr().is_ipv4() { (24, 32) } else { (64, 128) };
        if network.prefix_len() < wide {
            findings.push(Finding::doubtful(
                "trusted_proxies",
                format!(
                    "`{network}` believes what {} bits of addresses say about their callers",
                    all - network.prefix_len()
                ),
                "list the proxies' own addresses",
            ));
        }
    }
    if settings.allow_sandbox {
        findings.push(Finding::doubtful(
            "sandbox",
            "`allow_sandbox` is on: providers may be a sandbox",
            "remove it and `outbound.origins` where real accounts are connected",
        ));
    }
    findings
}

/// What can be set lower than it should be, and is taken all the same.
fn parameters(settings: &Settings) -> Option<Finding> {
    const LEAST_RESERVE: u64 = 16 * 1024 * 1024;
    (settings.reserve_bytes < LEAST_RESERVE).then(|| {
        Finding::doubtful(
            "parameters",
            "`storage.reserve_mib` is below 16: a full disk may stop the log before the store",
            "leave it out (64), or set 16 or more",
        )
    })
}

fn logging(settings: &Settings) -> Finding {
    let is_loud = ["debug", "trace"].iter().any(|level| settings.log.contains(level));
    if is_loud {
        return Finding::doubtful(
            "logging",
            format!("`log = \"{}\"` writes down more than operating needs", settings.log),
            "set `log = \"info\"`",
        );
    }
    Finding::good("logging", format!("`{}`", settings.log))
}
