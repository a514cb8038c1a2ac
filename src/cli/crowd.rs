//! `valetkey crowd`: what `scripts/scale` measures with. Not listed, and refused where real accounts may be.

use std::fs::OpenOptions;
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;

use crate::app;
use crate::app::demo::crowd;
use crate::config::Settings;
use crate::kernel::secret::SecretString;

/// Fill an empty deployment that is set up against a sandbox with made-up people.
#[derive(Debug, Args)]
pub struct Crowd {
    /// The settings file; no broker may run on it.
    #[arg(long)]
    config: PathBuf,
    /// What `valetkey sandbox --info` wrote.
    #[arg(long)]
    sandbox: PathBuf,
    /// How many people, each with an agent.
    #[arg(long)]
    people: u64,
    /// Accounts per person, each at another provider.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=5))]
    each: u8,
    /// The provider that the agents may use.
    #[arg(long)]
    first: String,
    /// Refresh tokens that the sandbox has issued, as its control endpoint answers them.
    #[arg(long)]
    issued: Option<PathBuf>,
    /// Seconds until the first access token ends.
    #[arg(long, default_value_t = 30 * 86_400)]
    ends_in: u64,
    /// Seconds over which the others end after it.
    #[arg(long, default_value_t = 0)]
    ends_over: u64,
    /// Where to write the agents with their secrets, as lines of JSON (mode 0600).
    #[arg(long)]
    out: PathBuf,
}

#[derive(Deserialize)]
struct SandboxInfo {
    client_id: String,
    client_secret: String,
}

impl Crowd {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let settings = Settings::load(&self.config, std::env::vars())?;
        anyhow::ensure!(settings.allow_sandbox, "only where `allow_sandbox` is on");
        app::block_on(self.enter(&settings))
    }

    async fn enter(self, settings: &Settings) -> anyhow::Result<()> {
        let sandbox: SandboxInfo = serde_json::from_slice(&read(&self.sandbox)?)?;
        let issued = match &self.issued {
            Some(path) => serde_json::from_slice(&read(path)?)?,
            None => Vec::new(),
        };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.out);
        let mut out = BufWriter::new(file.with_context(|| self.out.display().to_string())?);
        let crowd = crowd::Crowd {
            people: self.people,
            each: usize::from(self.each),
            first: self.first,
            client: (sandbox.client_id, SecretString::new(sandbox.client_secret)),
            issued,
            ends: (self.ends_in, self.ends_over),
        };
        crowd::enter(app::open(settings).await?, &crowd, &mut out).await
    }
}

fn read(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| path.display().to_string())
}
