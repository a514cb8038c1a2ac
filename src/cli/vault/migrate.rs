//! `valetkey vault migrate`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use serde_json::json;

use crate::app;
use crate::cli::output;
use crate::cli::vault::progress::Bar;
use crate::config::{Settings, StorageEngine};
use crate::custody::migrate;
use crate::store::content;

/// Copy all records to another engine. The broker must not run; what is copied from is left as it is.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Where to: `sled:FOLDER` or `redb:FOLDER`, a data folder that does not exist or is empty.
    #[arg(long)]
    to: Place,
    /// The settings file, as it is now.
    #[arg(long, env = "VALETKEY_CONFIG", default_value = "valetkey.toml")]
    config: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug)]
enum Place {
    Folder(StorageEngine, PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((engine @ ("sled" | "redb"), folder)) if !folder.is_empty() => {
                Ok(Self::Folder(engine.parse().map_err(str::to_owned)?, folder.into()))
            }
            _ => Err("write sled:FOLDER or redb:FOLDER".to_owned()),
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
        let bar = Bar::new("copying", self.json);
        let from = app::embedded(settings.engine, &settings.data_dir, settings.reserve_bytes)?;
        // Read once before, for the bar and to see that all of it can be read.
        let all = content(from.as_ref()).await?.entries();
        let mut progress = |done| bar.at(done, all);
        let Place::Folder(engine, folder) = &self.to;
        let target = |dir: &Path| app::embedded(*engine, dir, settings.reserve_bytes);
        let folder = std::path::absolute(folder)?;
        let copied =
            migrate::into_folder(from.as_ref(), &settings.data_dir, &folder, &target, &mut progress).await?;
        bar.end();
        let write = format!("data_dir = {:?}\n[storage]\nengine = \"{}\"", folder, engine.name());
        if self.json {
            output::line(json!({"entries": copied.entries(), "settings": write}).to_string());
        } else {
            output::line(format!(
                "{} entries were copied, read back and compared. Write into {}:\n{write}",
                copied.entries(),
                self.config.display()
            ));
        }
        Ok(())
    }
}
