//! `valetkey vault rekey`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::app;
use crate::cli::output;
use crate::config::{RootKeySetting, Settings};
use crate::kernel::entropy::SystemEntropy;
use crate::vault::{KEYRING_FILE, create_key_file};

/// Wrap the keyring under another root key. Records are not touched: `valetkey vault rotate` seals those anew.
#[derive(Debug, Args)]
pub struct Rekey {
    /// The settings file, still with the old root key.
    #[arg(long, env = "VALETKEY_CONFIG", default_value = "valetkey.toml")]
    config: PathBuf,
    #[command(flatten)]
    to: To,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct To {
    /// A key file; made if it is not there.
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// A file with mode 0600 that holds a passphrase.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// An environment variable that holds a passphrase.
    #[arg(long)]
    passphrase_env: Option<String>,
    /// A copy of the settings file with the new `[root_key]` or `[seal]`.
    #[arg(long)]
    settings: Option<PathBuf>,
}

impl Rekey {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let settings = Settings::load(&self.config, std::env::vars())?;
        let (new, write) = self.to.setting()?;
        let copy = app::block_on(app::rekey(&settings, &app::root_key(&new)?))?;
        output::line("The keyring is wrapped under the new root key; the old one does not open it any more.");
        output::line(format!("Before the next start, write into {}:", self.config.display()));
        output::line(write);
        if settings.postgres.is_some() {
            output::line(
                "So for every other node: each runs on until it is started anew, and needs the new root key then.",
            );
            output::line("Start all of them anew before the next `valetkey vault rotate`.");
            output::line("One with answers in its spool says so then: run this command there, too.");
        }
        if copy == app::Rewrapped::Left {
            output::line(format!(
                "Neither of the two root keys opens this node's own copy, {}: it is under a third one, or damaged, and \
                 stays as it is.",
                settings.data_dir.join(KEYRING_FILE).display()
            ));
        }
        output::line("Backups from before still need the old root key.");
        Ok(())
    }
}

impl To {
    /// The new root key, and the lines that name it in the settings.
    fn setting(self) -> anyhow::Result<(RootKeySetting, String)> {
        let shown = |path: &PathBuf| path.display().to_string();
        if let Some(path) = self.key_file {
            let path = std::path::absolute(path)?;
            if !path.exists() {
                create_key_file(&path, &SystemEntropy::default())?;
            }
            let write = format!("[root_key]\nfile = {:?}", shown(&path));
            return Ok((RootKeySetting::File(path), write));
        }
        if let Some(path) = self.passphrase_file {
            let path = std::path::absolute(path)?;
            let write = format!("[root_key]\npassphrase_file = {:?}", shown(&path));
            return Ok((RootKeySetting::PassphraseFile(path), write));
        }
        if let Some(name) = self.passphrase_env {
            let write = format!("[root_key]\npassphrase_env = {name:?}");
            return Ok((RootKeySetting::PassphraseEnv(name), write));
        }
        let path = self.settings.context("state the new root key")?;
        let settings = Settings::load(&path, std::env::vars())?;
        Ok((settings.root_key, format!("what {} says in [root_key] or [seal]", path.display())))
    }
}
