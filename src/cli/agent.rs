//! `valetkey agent`.

use std::collections::BTreeMap;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::output;
use crate::cli::remote::Remote;
use crate::net::http::Method;

/// The registry of agents.
#[derive(Debug, Subcommand)]
pub enum Agent {
    /// Register an agent; prints its secret once.
    Create(Create),
    /// List agents.
    List(Everything),
    /// Show one agent.
    Show(One),
    /// Refuse everything from an agent until it is resumed.
    Suspend(One),
    /// Let a suspended agent act again.
    Resume(One),
    /// Make a new secret; the former one works for another 24 hours.
    RotateSecret(One),
    /// End an agent for ever.
    Retire(One),
}

/// Register an agent.
#[derive(Debug, Args)]
pub struct Create {
    /// personal, assistant or autonomous.
    #[arg(long)]
    kind: String,
    /// Name to show.
    #[arg(long)]
    name: String,
    /// What it is for, shown to employees when it asks.
    #[arg(long)]
    purpose: String,
    /// The owner: a user's id, or their e-mail.
    #[arg(long)]
    owner: String,
    /// The most it can be granted: PROVIDER="scope scope"; repeat for more providers.
    #[arg(long = "ceiling", value_name = "PROVIDER=SCOPES", value_parser = pair)]
    ceiling: Vec<(String, String)>,
    /// What it asks for when it names nothing: PROVIDER="scope scope".
    #[arg(long = "default-scopes", value_name = "PROVIDER=SCOPES", value_parser = pair)]
    default_scopes: Vec<(String, String)>,
    /// An `aud` value of ID tokens that an assistant may show; repeat for more.
    #[arg(long = "subject-audience")]
    subject_audiences: Vec<String>,
    #[command(flatten)]
    remote: Remote,
}

/// No agent in particular.
#[derive(Debug, Args)]
pub struct Everything {
    #[command(flatten)]
    remote: Remote,
}

/// One agent.
#[derive(Debug, Args)]
pub struct One {
    /// The agent's id.
    id: String,
    #[command(flatten)]
    remote: Remote,
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "write NAME=VALUE".to_owned())
}

impl Agent {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(command) => command.run(),
            Self::List(command) => {
                let agents = command.remote.call(Method::GET, "/api/v1/agents", None)?;
                output::list(&agents, command.remote.json, &["id", "kind", "state", "name", "owner"]);
                Ok(())
            }
            Self::Show(one) => one.call(Method::GET, ""),
            Self::Suspend(one) => one.call(Method::POST, "/suspend"),
            Self::Resume(one) => one.call(Method::POST, "/resume"),
            Self::RotateSecret(one) => one.call(Method::POST, "/rotate-secret"),
            Self::Retire(one) => one.call(Method::POST, "/retire"),
        }
    }
}

impl Create {
    fn run(self) -> anyhow::Result<()> {
        let map = |pairs: Vec<(String, String)>| pairs.into_iter().collect::<BTreeMap<_, _>>();
        let body = json!({
            "kind": self.kind,
            "name": self.name,
            "purpose": self.purpose,
            "owner": self.owner,
            "ceiling": map(self.ceiling),
            "default_scopes": map(self.default_scopes),
            "subject_audiences": self.subject_audiences,
        });
        let made = self.remote.call(Method::POST, "/api/v1/agents", Some(&body))?;
        if !self.remote.json {
            let secret =
                made.get("client_secret").and_then(Value::as_str).context("no secret in the answer")?;
            output::line(format!("The secret, shown this once: {secret}"));
        }
        output::object(&made, self.remote.json);
        Ok(())
    }
}

impl One {
    fn call(self, method: Method, action: &str) -> anyhow::Result<()> {
        let agent = self.remote.call(method, &format!("/api/v1/agents/{}{action}", self.id), None)?;
        output::object(&agent, self.remote.json);
        Ok(())
    }
}
