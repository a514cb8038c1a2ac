//! `valetkey audit`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::audit::verify::Report;
use crate::audit::{export, join};
use crate::cli::output;
use crate::cli::remote::Remote;
use crate::kernel::encode;
use crate::net::http::Method;

/// The audit log.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Check a log, offline: a data folder's `audit` folder, or an export.
    Verify(Verify),
    /// Write the whole log into one file.
    Export(Export),
    /// Show the newest events of a running broker.
    Tail(Tail),
}

/// Check a log.
#[derive(Debug, Args)]
pub struct Verify {
    /// The folder or export; those of several nodes are held against each other.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The public key that must have signed it, in hexadecimal (from /api/v1/keys). Without it, the key that
    /// the log itself names is used, which shows that the log is whole, not whose it is.
    #[arg(long)]
    public_key: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Write the whole log into one file.
#[derive(Debug, Args)]
pub struct Export {
    /// The `audit` folder.
    path: PathBuf,
    /// The file to write; it must not exist.
    #[arg(long)]
    to: PathBuf,
}

/// Show the newest events.
#[derive(Debug, Args)]
pub struct Tail {
    /// How many.
    #[arg(long, default_value_t = 20)]
    limit: u16,
    #[command(flatten)]
    remote: Remote,
}

impl Audit {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Verify(command) => command.run(),
            Self::Export(command) => {
                let export::Exported { entries, heads } = export::export(&command.path, &command.to)?;
                let to = command.to.display();
                output::line(format!("wrote {entries} entries and {heads} signed heads to {to}"));
                Ok(())
            }
            Self::Tail(command) => {
                let path = format!("/api/v1/events?limit={}", command.limit.clamp(1, 200));
                let events = command.remote.call(Method::GET, &path, None)?;
                let columns = ["seq", "action", "agent", "user", "provider", "verdict", "outcome"];
                output::list(&events, command.remote.json, &columns);
                Ok(())
            }
        }
    }
}

impl Verify {
    fn run(self) -> anyhow::Result<()> {
        let key = match &self.public_key {
            None => None,
            Some(text) => {
                let bytes = encode::from_hex(text).context("--public-key is 64 hexadecimal digits")?;
                Some(<[u8; 32]>::try_from(bytes).ok().context("--public-key is 64 hexadecimal digits")?)
            }
        };
        let joint = join::verify_all(&self.paths, key)?;
        if self.json {
            let logs: Vec<_> = joint.logs.iter().map(shown).collect();
            let shown = match logs.as_slice() {
                [only] => only.clone(),
                _ => json!({ "logs": logs, "witnessed": joint.witnessed, "absent_nodes": joint.absent }),
            };
            output::line(shown.to_string());
            return Ok(());
        }
        for report in &joint.logs {
            output::line(report.to_string());
        }
        if joint.logs.len() > 1 {
            output::line(format!("{} heads of one log were found in another", joint.witnessed));
        }
        for node in &joint.absent {
            output::line(format!("the log of node {node} was not given, though others have seen its heads"));
        }
        Ok(())
    }
}

fn shown(report: &Report) -> serde_json::Value {
    json!({
        "deployment": report.deployment,
        "node": report.node,
        "entries": report.entries,
        "heads": report.heads,
        "last_signed_seq": report.last_signed_seq,
        "unprotected_tail": report.unprotected_tail,
        "torn_bytes": report.torn_bytes,
        "public_key": report.public_key.map(|key| encode::hex(&key)),
        "key_given": report.key_given,
    })
}
