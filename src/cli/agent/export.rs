//! `valetkey agent export`.

use clap::Args;
use serde_json::Value;

use crate::cli::agent::statement;
use crate::cli::output;
use crate::cli::remote::Remote;

/// Print the register as TOML.
#[derive(Debug, Args)]
pub struct Export {
    /// Retired agents as well.
    #[arg(long)]
    retired: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Export {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let agents = self.remote.all("/api/v1/agents?limit=200")?;
        let items = agents.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let is_wanted = |agent: &&Value| self.retired || agent.get("state").is_none_or(|s| s != "retired");
        let wanted: Vec<&Value> = items.iter().filter(is_wanted).collect();
        if self.remote.json {
            output::line(serde_json::json!({ "items": wanted, "next_cursor": null }).to_string());
            return Ok(());
        }
        let texts: Vec<String> = wanted.into_iter().map(statement::write).collect();
        output::line(texts.join("\n").trim_end());
        Ok(())
    }
}
