//! `valetkey stop` and `valetkey resume`.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::output;
use crate::cli::remote::Remote;
use crate::net::http::Method;

/// Refuse an agent, a provider, a user or everything until resumed. Without a target: list the stops in force.
#[derive(Debug, Args)]
pub struct Stop {
    #[command(flatten)]
    target: Target,
    /// Why; kept in the log.
    #[arg(long, requires = "stopped")]
    reason: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Args)]
#[group(id = "stopped", multiple = false, requires = "reason")]
struct Target {
    /// An agent's id.
    #[arg(long)]
    agent: Option<String>,
    /// A provider's name.
    #[arg(long)]
    provider: Option<String>,
    /// A user's id or e-mail.
    #[arg(long)]
    user: Option<String>,
    /// Everything.
    #[arg(long)]
    all: bool,
}

impl Stop {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let Some(reason) = &self.reason else {
            let stops = self.remote.call(Method::GET, "/api/v1/stops", None)?;
            let is_none = stops.get("items").and_then(Value::as_array).is_some_and(Vec::is_empty);
            if is_none && !self.remote.json {
                output::line("no stop is in force");
            } else {
                output::list(&stops, self.remote.json, &["id", "target", "target_id", "at", "reason"]);
            }
            return Ok(());
        };
        let body = json!({
            "agent": self.target.agent,
            "provider": self.target.provider,
            "user": self.target.user,
            "all": self.target.all,
            "reason": reason,
        });
        let stop = self.remote.call(Method::POST, "/api/v1/stops", Some(&body))?;
        output::object(&stop, self.remote.json);
        Ok(())
    }
}

/// Lift a stop.
#[derive(Debug, Args)]
pub struct Resume {
    /// The stop's id.
    id: String,
    #[command(flatten)]
    remote: Remote,
}

impl Resume {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let path = format!("/api/v1/stops/{}/resume", self.id);
        let stop = self.remote.call(Method::POST, &path, None)?;
        output::object(&stop, self.remote.json);
        Ok(())
    }
}
