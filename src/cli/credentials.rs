//! `valetkey agent credentials`, `sign-in` and `end-secret`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::Value;

use crate::cli::output;
use crate::cli::remote::Remote;
use crate::cli::trust::read;
use crate::net::http::Method;

/// State how an agent signs in without a secret.
#[derive(Debug, Args)]
pub struct SetSignIn {
    /// The agent's id.
    id: String,
    /// A file with keys, workloads and certificates, JSON or TOML; it replaces what was stated before.
    #[arg(long)]
    file: PathBuf,
    #[command(flatten)]
    remote: Remote,
}

/// End one secret of an agent now.
#[derive(Debug, Args)]
pub struct EndSecret {
    /// The agent's id.
    id: String,
    /// The secret's short name; `valetkey agent credentials` lists them.
    secret: String,
    #[command(flatten)]
    remote: Remote,
}

impl SetSignIn {
    /// Runs the command.
    ///
    /// # Errors
    /// When the file cannot be read, or the broker refuses.
    pub fn run(self) -> anyhow::Result<()> {
        let text = read(&self.file)?;
        let is_toml = self.file.extension().is_some_and(|extension| extension == "toml");
        let ways: Value = if is_toml {
            toml::from_str(&text).with_context(|| self.file.display().to_string())?
        } else {
            serde_json::from_str(&text).with_context(|| self.file.display().to_string())?
        };
        let path = format!("/api/v1/agents/{}/sign-in", self.id);
        output::object(&self.remote.call(Method::PUT, &path, Some(&ways))?, self.remote.json);
        Ok(())
    }
}

impl EndSecret {
    /// Runs the command.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn run(self) -> anyhow::Result<()> {
        let path = format!("/api/v1/agents/{}/secrets/{}/end", self.id, self.secret);
        output::object(&self.remote.call(Method::POST, &path, None)?, self.remote.json);
        Ok(())
    }
}
