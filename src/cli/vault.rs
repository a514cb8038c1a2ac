//! `valetkey vault`.

mod backup;
mod migrate;
mod progress;
mod rekey;

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::output;
use crate::cli::remote::Remote;
use crate::cli::vault::progress::Bar;
use crate::net::http::Method;

/// Keys and data.
#[derive(Debug, Subcommand)]
pub enum Vault {
    /// Show the seal, the key terms, and what is under way, of a running broker.
    Status(Status),
    /// Begin a new key term, and seal everything under it in the background.
    Rotate(Rotate),
    /// Wrap the keyring under another root key, passphrase or seal. The broker must not run.
    Rekey(rekey::Rekey),
    /// Take a backup, of a running broker or of a data folder that none uses.
    Backup(backup::Backup),
    /// Restore a backup into an empty data folder.
    Restore(backup::Restore),
    /// Copy all records to another engine.
    Migrate(migrate::Migrate),
    /// Say that the deployment from which a restored store's backup came runs no more, or that a store was restored.
    Restored(Restored),
}

/// Show where keys and data stand.
#[derive(Debug, Args)]
pub struct Status {
    /// Count what is sealed under each term, now.
    #[arg(long)]
    count: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Begin a new key term.
#[derive(Debug, Args)]
pub struct Rotate {
    /// Wait until the old term is retired.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Let a restored store refresh tokens again, or say that it is one.
#[derive(Debug, Args)]
pub struct Restored {
    #[command(flatten)]
    word: Word,
    /// With `--mark`: until when the store knows what happened, in RFC 3339; now, where nothing is stated.
    #[arg(long, value_name = "TIME", conflicts_with = "confirm")]
    taken_at: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Word {
    /// The former deployment runs no more, and will not run again.
    #[arg(long)]
    confirm: bool,
    /// The database was restored by its own means: stop everything, and spend no refresh token that it holds.
    #[arg(long)]
    mark: bool,
}

impl Vault {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Status(command) => command.run(),
            Self::Rotate(command) => command.run(),
            Self::Rekey(command) => command.run(),
            Self::Backup(command) => command.run(),
            Self::Restore(command) => command.run(),
            Self::Migrate(command) => command.run(),
            Self::Restored(command) => command.run(),
        }
    }
}

impl Restored {
    fn run(self) -> anyhow::Result<()> {
        let status = if self.word.mark {
            let body = json!({"taken_at": self.taken_at});
            self.remote.call(Method::POST, "/api/v1/keys/vault/restored/mark", Some(&body))?
        } else {
            self.remote.call(Method::POST, "/api/v1/keys/vault/restored/confirm", None)?
        };
        show(&status, self.remote.json);
        Ok(())
    }
}

impl Status {
    fn run(self) -> anyhow::Result<()> {
        let path = if self.count { "/api/v1/keys/vault?count=true" } else { "/api/v1/keys/vault" };
        show(&self.remote.call(Method::GET, path, None)?, self.remote.json);
        Ok(())
    }
}

impl Rotate {
    fn run(self) -> anyhow::Result<()> {
        let mut status = self.remote.call(Method::POST, "/api/v1/keys/vault/rotate", None)?;
        if self.wait {
            let bar = Bar::new("sealing anew", self.remote.json);
            while number(&status, "/terms/1/term").is_some() {
                bar.at(
                    number(&status, "/rotation/walked").unwrap_or(0),
                    number(&status, "/rotation/records").unwrap_or(0),
                );
                std::thread::sleep(Duration::from_millis(500));
                status = self.remote.call(Method::GET, "/api/v1/keys/vault", None)?;
            }
            bar.end();
        }
        show(&status, self.remote.json);
        Ok(())
    }
}

fn number(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer).and_then(Value::as_u64)
}

fn show(status: &Value, as_json: bool) {
    if as_json {
        output::line(status.to_string());
        return;
    }
    let text = |name: &str| status.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    output::line(format!("seal: {}", text("seal")));
    output::list(&json!({"items": status.get("terms")}), false, &["term", "active", "values", "sealed"]);
    match number(status, "/records") {
        Some(records) => output::line(format!("records: {records}, counted at {}", text("counted_at"))),
        None => output::line("records: not counted since the start (--count)"),
    }
    if let Some(rotation) = status.get("rotation").filter(|rotation| !rotation.is_null()) {
        output::line("rotation:");
        output::object(rotation, false);
    }
    if let Some(taken) = status.pointer("/restored/taken_at").and_then(Value::as_str) {
        output::line(format!(
            "restored from a backup of {taken}: strict providers are not asked for new tokens until \
             `valetkey vault restored --confirm`"
        ));
    }
}
