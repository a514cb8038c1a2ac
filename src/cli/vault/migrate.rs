//! `valetkey vault migrate`.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use crate::app;
use crate::cli::output;
use crate::cli::vault::progress::Bar;
use crate::config::{Settings, StorageEngine};
use crate::custody::migrate;
use crate::kernel::secret::SecretString;
use crate::store::folder::mark_moved;
use crate::store::{content, copy};

/// Copy all records to another engine. No broker may run on them; what is copied from keeps its records, and a mark
/// (`store.moved`) that keeps brokers from starting on them.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Where to: `sled:FOLDER` or `redb:FOLDER`, a data folder that does not exist or is empty; or `postgres://…`, a
    /// database that holds no deployment. A password is better left to `VALETKEY_MIGRATE_TO`.
    #[arg(long, env = "VALETKEY_MIGRATE_TO", hide_env_values = true)]
    to: Place,
    /// The settings file, as it is now.
    #[arg(long, env = "VALETKEY_CONFIG", default_value = "valetkey.toml")]
    config: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone)]
enum Place {
    Folder(StorageEngine, PathBuf),
    Database(Arc<SecretString>),
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Place")
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((engine @ ("sled" | "redb"), folder)) if !folder.is_empty() => {
                Ok(Self::Folder(engine.parse().map_err(str::to_owned)?, folder.into()))
            }
            Some(("postgres" | "postgresql", _)) => {
                Ok(Self::Database(Arc::new(SecretString::new(text.to_owned()))))
            }
            _ => Err("write sled:FOLDER, redb:FOLDER or postgres://…".to_owned()),
        }
    }
}

impl Migrate {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let settings = Settings::load(&self.config, std::env::vars())?;
        app::block_on(self.copy(&settings))
    }

    async fn copy(self, settings: &Settings) -> anyhow::Result<()> {
        let bar = Bar::new("copying and comparing", self.json);
        let from = app::records(settings).await?;
        // Read once before, for the bar and to see that all of it can be read.
        let all = content(from.as_ref()).await?.entries();
        let mut progress = |done| bar.at(done, all.saturating_mul(2));
        let data_dir = &settings.data_dir;
        let (copied, write, to) = match &self.to {
            Place::Folder(engine, folder) => {
                let target = |dir: &Path| app::embedded(*engine, dir, settings.reserve_bytes);
                let folder = std::path::absolute(folder)?;
                let copied =
                    migrate::into_folder(from.as_ref(), data_dir, &folder, &target, &mut progress).await?;
                let write = format!("data_dir = {folder:?}\n[storage]\nengine = \"{}\"", engine.name());
                (copied, write, format!("`{}` ({})", folder.display(), engine.name()))
            }
            Place::Database(url) => {
                let filling = app::Filling::begin(url).await?;
                let copied = copy(from.as_ref(), filling.backend().as_ref(), &mut progress).await?;
                let shown = filling.shown();
                filling.end(data_dir).await?;
                (copied, "[storage]\npostgres = …".to_owned(), format!("the database `{shown}`"))
            }
        };
        if settings.postgres.is_none() {
            mark_moved(data_dir, &to)?;
        }
        bar.end();
        if self.json {
            output::line(json!({"entries": copied.entries(), "settings": write}).to_string());
        } else {
            output::line(format!(
                "{} entries were copied and compared, one by one. Write into {}:\n{write}",
                copied.entries(),
                self.config.display()
            ));
        }
        Ok(())
    }
}
