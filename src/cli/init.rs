//! `valetkey init`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use url::Url;

use crate::app;
use crate::app::init::Keeper;
use crate::cli::output;
use crate::config::StorageEngine;
use crate::kernel::secret::SecretString;

/// Set up a deployment in a folder.
#[derive(Debug, Args)]
pub struct Init {
    /// The folder; made if it is not there.
    #[arg(long)]
    data: PathBuf,
    /// The base URL that people and agents will use.
    #[arg(long)]
    issuer: Url,
    /// Protect the root key with a passphrase from VALETKEY_PASSPHRASE instead of a key file.
    #[arg(long)]
    passphrase: bool,
    /// What keeps the records: sled or redb.
    #[arg(long, default_value = "sled")]
    engine: StorageEngine,
    /// Keep the records of several nodes in PostgreSQL: a file, mode 0600, that holds its URL.
    #[arg(long, conflicts_with = "engine")]
    postgres_file: Option<PathBuf>,
}

impl Init {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let passphrase = if self.passphrase {
            let text = std::env::var("VALETKEY_PASSPHRASE")
                .context("set VALETKEY_PASSPHRASE, at least 12 characters")?;
            anyhow::ensure!(text.chars().count() >= 12, "VALETKEY_PASSPHRASE is shorter than 12 characters");
            Some(SecretString::new(text))
        } else {
            None
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let keeper = self.postgres_file.map_or(Keeper::Embedded(self.engine), Keeper::Database);
        let made = runtime.block_on(app::init::init(&self.data, &self.issuer, passphrase, &keeper))?;
        let config = made.config.display();
        output::line(if made.existed { format!("kept {config}") } else { format!("wrote {config}") });
        match made.link {
            Some(link) => {
                output::line(
                    "Start the broker, then open this link within 15 minutes to make the first admin:",
                );
                output::line(format!("  {}", link.expose()));
            }
            None => output::line("There is an admin already, so no link was made."),
        }
        output::line(format!("Start with: valetkey serve --config {config}"));
        Ok(())
    }
}
