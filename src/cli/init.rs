//! `valetkey init`.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use clap::Args;
use url::Url;

use crate::app;
use crate::app::init::Keeper;
use crate::cli::output;
use crate::config::{self, ConfigError, Settings, StorageEngine};
use crate::kernel::secret::SecretString;
use crate::vault::LEAST_PASSPHRASE;

/// Set up a deployment in a folder.
#[derive(Debug, Args)]
pub struct Init {
    /// The folder; made if it is not there.
    #[arg(long)]
    data: PathBuf,
    /// The base URL that people and agents will use.
    #[arg(long, value_parser = issuer, required_unless_present = "another_admin")]
    issuer: Option<Url>,
    /// Protect the root key with a passphrase from VALETKEY_PASSPHRASE instead of a key file.
    #[arg(long)]
    passphrase: bool,
    /// What keeps the records: sled or redb.
    #[arg(long, default_value = "sled")]
    engine: StorageEngine,
    /// Keep the records of several nodes in PostgreSQL: a file, mode 0600, that holds its URL.
    #[arg(long, conflicts_with = "engine")]
    postgres_file: Option<PathBuf>,
    /// In a deployment that is there and does not run: make a link for another admin, or for one who has lost
    /// their password.
    #[arg(long, conflicts_with_all = ["issuer", "passphrase", "engine", "postgres_file"])]
    another_admin: bool,
}

fn issuer(text: &str) -> Result<Url, ConfigError> {
    config::issuer(text)
}

impl Init {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Some(issuer) = self.issuer.filter(|_| !self.another_admin) else {
            let settings = Settings::load(&self.data.join("valetkey.toml"), std::env::vars())?;
            let link = runtime.block_on(app::init::another_admin(&settings))?;
            output::line("Start the broker, then open this link within 15 minutes to make another admin:");
            output::line(format!("  {}", link.expose()));
            return Ok(());
        };
        let passphrase = self.passphrase.then(passphrase).transpose()?;
        let keeper = self.postgres_file.map_or(Keeper::Embedded(self.engine), Keeper::Database);
        let made = runtime.block_on(app::init::init(&self.data, &issuer, passphrase, &keeper))?;
        let config = made.config.display();
        output::line(if made.existed { format!("kept {config}") } else { format!("wrote {config}") });
        match made.link {
            Some(link) => {
                output::line(
                    "Start the broker, then open this link within 15 minutes to make the first admin:",
                );
                output::line(format!("  {}", link.expose()));
            }
            None => output::line(
                "There is an admin already, so no link was made. --another-admin makes one all the same.",
            ),
        }
        if issuer.scheme() == "https" && !made.existed {
            output::line(format!(
                "First add `tls = …` or `trusted_proxies = […]` to {config}: it has both as comments."
            ));
        }
        output::line(format!("Start with: valetkey serve --config {config}"));
        Ok(())
    }
}

/// Judged before anything is made.
fn passphrase() -> anyhow::Result<SecretString> {
    let Ok(text) = std::env::var("VALETKEY_PASSPHRASE") else {
        bail!("set VALETKEY_PASSPHRASE, at least {LEAST_PASSPHRASE} characters");
    };
    let is_long = text.chars().count() >= LEAST_PASSPHRASE;
    ensure!(is_long, "VALETKEY_PASSPHRASE is shorter than {LEAST_PASSPHRASE} characters");
    Ok(SecretString::new(text))
}
