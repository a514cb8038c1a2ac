//! `valetkey vault backup` and `restore`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;

use crate::app;
use crate::cli::output;
use crate::cli::remote::Remote;
use crate::cli::vault::progress::Bar;
use crate::config::Settings;
use crate::custody::backup::{Opening, Restore as Restoring, Restored, Sealing};
use crate::kernel::clock::SystemClock;
use crate::kernel::entropy::SystemEntropy;
use crate::vault::RootKey;

/// Take a backup: the store at one version, the log, and the wrapped keyring; neither root key nor settings.
#[derive(Debug, Args)]
pub struct Backup {
    /// The file to write; it must not exist.
    #[arg(long)]
    to: PathBuf,
    /// Encrypt to this age recipient (`age1…`) as well; else it is sealed under the vault's own key.
    #[arg(long)]
    recipient: Option<String>,
    /// Take it from the data folder of these settings, while no broker runs.
    #[arg(long, value_name = "SETTINGS")]
    offline: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

/// Restore a backup into an empty data folder. What it holds is opened record by record first.
#[derive(Debug, Args)]
pub struct Restore {
    /// The backup.
    backup: PathBuf,
    /// The settings file of the deployment that is to be: its root key is that of the backup.
    #[arg(long, env = "VALETKEY_CONFIG", default_value = "valetkey.toml")]
    config: PathBuf,
    /// A file with the age key that it was encrypted to.
    #[arg(long)]
    identity: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Backup {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        ensure!(!self.to.exists(), "{} exists already, and is not written over", self.to.display());
        let partial = self.to.with_added_extension("partial");
        let written = self.write(&partial);
        if written.is_err() {
            let _ = std::fs::remove_file(&partial);
        }
        let bytes = written?;
        std::fs::rename(&partial, &self.to)?;
        sync_folder(&self.to)?;
        output::object(&json!({"backup": self.to.display().to_string(), "bytes": bytes}), self.remote.json);
        Ok(())
    }

    fn write(&self, partial: &Path) -> anyhow::Result<u64> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial)?;
        let bar = Bar::new("bytes", self.remote.json);
        let mut take = |bytes: &[u8], all: u64| -> anyhow::Result<()> {
            file.write_all(bytes)?;
            bar.at(all, all);
            Ok(())
        };
        let bytes = match &self.offline {
            None => {
                let body = json!({"recipient": self.recipient});
                self.remote.download("/api/v1/keys/vault/backup", &body, &mut take)?
            }
            Some(config) => {
                let settings = Settings::load(config, std::env::vars())?;
                app::block_on(offline(&settings, self.recipient.clone(), &mut take))?
            }
        };
        file.sync_all()?;
        bar.end();
        Ok(bytes)
    }
}

async fn offline(
    settings: &Settings,
    recipient: Option<String>,
    take: &mut dyn FnMut(&[u8], u64) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let foundation = app::open(settings).await?;
    let custody = app::services::custody(&foundation);
    let sealing = recipient.map_or(Sealing::Vault, Sealing::Age);
    let mut pieces = custody.backup(sealing, "the command line").await?;
    let mut all = 0;
    while let Some(piece) = pieces.recv().await {
        let piece = piece?;
        all += piece.len() as u64;
        take(&piece, all)?;
    }
    foundation.audit.close().await;
    Ok(all)
}

impl Restore {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let settings = Settings::load(&self.config, std::env::vars())?;
        let identities = match &self.identity {
            None => Vec::new(),
            Some(path) => {
                vec![std::fs::read_to_string(path).with_context(|| path.display().to_string())?]
            }
        };
        let file = File::open(&self.backup).with_context(|| self.backup.display().to_string())?;
        let backup = Opening::new(Box::new(std::io::BufReader::new(file)), &identities)?;
        let root = app::root_key(&settings.root_key)?;
        let bar = Bar::new("restoring", self.json);
        let restored = app::block_on(restored(&settings, &root, backup, &mut |done| bar.at(done, done)))?;
        bar.end();
        let told = json!({
            "taken_at": restored.taken_at.rfc3339(),
            "entries": restored.entries,
            "records": restored.records,
            "files": restored.files,
            "stop": restored.stop,
        });
        output::object(&told, self.json);
        if !self.json {
            output::line(format!(
                "Every record was opened. What was revoked, suspended or stopped after the backup is undone, so everything \
                 is stopped: make it again, then `valetkey resume {}`.",
                restored.stop
            ));
            output::line(
                "Until `valetkey vault restored --confirm`, providers whose refresh tokens work once are not asked for new \
                 ones: the former deployment may have spent them.",
            );
        }
        Ok(())
    }
}

/// Into the data folder, and where a database keeps the records, into that as well: its keyring comes last, so
/// that an attempt which broke off leaves nothing that a broker would start on.
async fn restored(
    settings: &Settings,
    root: &RootKey,
    backup: Opening,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<Restored> {
    let filling = match &settings.postgres {
        None => None,
        Some(url) => Some(app::Filling::begin(&app::secret(url)?).await?),
    };
    let target = |dir: &Path| match &filling {
        None => app::embedded(settings.engine, dir, settings.reserve_bytes),
        Some(filling) => Ok(filling.backend()),
    };
    let restoring = Restoring {
        data_dir: &settings.data_dir,
        root,
        target: &target,
        clock: &SystemClock,
        entropy: Arc::new(SystemEntropy::default()),
        progress,
    };
    let restored = restoring.run(backup).await?;
    if let Some(filling) = filling {
        filling.end(&settings.data_dir).await?;
    }
    Ok(restored)
}

fn sync_folder(file: &Path) -> std::io::Result<()> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
